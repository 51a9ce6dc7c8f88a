//! Load for a tokencast gateway: viewers that check every event. One violation, and the exit code is 1.
//!
//! Reading order: `room` (many viewers, each checked), `ttft` (what the gateway adds to the first token), `idle` (what a
//! viewer costs while nothing happens), `sessions` and `bare` (what a frame costs over WebTransport, and at least), and
//! what they share: `viewer`, `http` and `sse` (a viewer that knows nothing of
//! the server's code), `provider`, `instant` and `tap` (what is said, and when), `gateway` (the process under test), `limits`,
//! `histogram`, `report`.

mod bare;
mod gateway;
mod histogram;
mod http;
mod idle;
mod instant;
mod limits;
mod provider;
mod report;
mod room;
mod sessions;
mod sse;
mod tap;
mod ttft;
mod viewer;

use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::report::Report;

/// Load for a tokencast gateway: viewers that check every event
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    preset: Preset,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Subcommand)]
enum Preset {
    /// Streams with many viewers each; every viewer checks gap, duplicate, order, end and text
    Room(room::Options),
    /// Time to the first token, through the gateway and directly, taking turns
    Ttft(ttft::Options),
    /// Memory of viewers that have nothing to read, and of viewers that never read
    Idle(idle::Options),
    /// CPU per frame over WebTransport, against a bare loop over the same library, taking turns
    Sessions(sessions::Options),
    /// The bare loop of `sessions`
    #[command(hide = true)]
    Bare(bare::Options),
}

#[derive(Debug, Args)]
struct Common {
    /// Print the report as JSON
    #[arg(long, global = true)]
    json: bool,
    /// The gateway's binary, instead of the one beside this program
    #[arg(long, global = true, value_name = "PATH")]
    server: Option<std::path::PathBuf>,
    /// A section of the gateway's configuration to add, as in `[coalesce]` and a line
    #[arg(long, global = true, value_name = "TOML")]
    config: Vec<String>,
    /// The core that the gateway may use, for figures per core
    #[arg(long, global = true, value_name = "N")]
    pin: Option<u32>,
}

/// What goes wrong outside of the thing that is measured.
type Fault = Box<dyn std::error::Error + Send + Sync>;

fn main() -> ExitCode {
    let Cli { preset, common } = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error.into()),
    };
    let report = runtime.block_on(async {
        tokio::select! {
            report = async {
                match preset {
                    Preset::Room(options) => room::run(options, &common).await,
                    Preset::Ttft(options) => ttft::run(&options, &common).await,
                    Preset::Idle(options) => idle::run(&options, &common).await,
                    Preset::Sessions(options) => Box::pin(sessions::run(&options, &common)).await,
                    Preset::Bare(options) => bare::run(options).await.map(|()| Report::default()),
                }
            } => report,
            _ = tokio::signal::ctrl_c() => Err("interrupted".into()),
        }
    });
    // Viewers that are still waiting for something need not be waited for.
    runtime.shutdown_background();
    match report {
        Ok(report) => print(&report, common.json),
        Err(error) => fail(&error),
    }
}

#[expect(clippy::print_stdout, reason = "the report is the output")]
fn print(report: &Report, json: bool) -> ExitCode {
    if json {
        println!("{}", report.json());
    } else {
        print!("{report}");
    }
    if report.violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[expect(clippy::print_stderr, reason = "the report alone goes to standard output")]
fn say(text: impl std::fmt::Display) {
    eprintln!("loadtest: {text}");
}

fn fail(error: &Fault) -> ExitCode {
    say(error);
    ExitCode::from(2)
}
