//! Load for a tokencast gateway: viewers that check every event. One violation, and the exit code is 1.
//!
//! Reading order: `preset` (what to do), `limits` (whether this machine can), `run` (all of it, once), `room` (the same by
//! flags); `provider`, `script` and `token` (what is said, and when); `fleet` and `crowd` (viewers, in processes of their
//! own), `viewer` (one of them, which knows nothing of the server's code), `http`, `sse` and `webtransport` (its wires);
//! `gateway` and `machine` (the process under test, and what the system says of it); `tally`, `report`, `progress`, `chart`
//! and `page` (what came out). `compare` puts other servers beside the gateway. Four more measure one thing each: `ttft`
//! with `instant` and `relay`, `late`, `idle`, and `sessions` with `bare`.

mod bare;
mod chart;
mod clock;
mod compare;
mod crowd;
mod fleet;
mod gateway;
mod hex;
mod http;
mod idle;
mod instant;
mod late;
mod limits;
mod machine;
mod page;
mod preset;
mod progress;
mod provider;
mod relay;
mod report;
mod room;
mod run;
mod script;
mod sessions;
mod sse;
mod tally;
mod token;
mod ttft;
mod viewer;
mod webtransport;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::preset::{Changes, Preset};
use crate::report::Report;
use crate::run::Against;

/// Load for a tokencast gateway: viewers that check every event
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a preset; every viewer checks gap, duplicate, order, end and text
    Run {
        /// One of those that `presets` lists
        #[arg(required_unless_present = "file")]
        preset: Option<String>,
        /// A preset of your own
        #[arg(long, value_name = "TOML", conflicts_with = "preset")]
        file: Option<PathBuf>,
        #[command(flatten)]
        changes: Changes,
        #[command(flatten)]
        against: Against,
    },
    /// List the presets, or print one
    Presets { preset: Option<String> },
    /// Put other servers beside the gateway, on this machine and in one run, and print ratios
    Compare(compare::Options),
    /// Run streams with many viewers each, by flags
    Room(room::Options),
    /// Time to the first token, through the gateway and directly, taking turns
    Ttft(ttft::Options),
    /// Memory of viewers that have nothing to read, and of viewers that never read
    Idle(idle::Options),
    /// How long whoever comes late waits for the last byte of a long stream that has ended
    Late(late::Options),
    /// CPU per frame over WebTransport, against a bare loop over the same library, taking turns
    Sessions(sessions::Options),
    /// The bare loop of `sessions`
    #[command(hide = true)]
    Bare(bare::Options),
    /// Viewers of `run` and `compare`
    #[command(hide = true)]
    Crowd,
    /// The floor of `compare`
    #[command(hide = true)]
    Floor,
    /// The floor of `ttft`
    #[command(hide = true)]
    Relay(relay::Options),
    /// A peer of `compare`
    #[command(hide = true)]
    NaiveAxum,
}

#[derive(Debug, Args)]
struct Common {
    /// Print JSON: a line for every moment, and the report as the last one
    #[arg(long, global = true)]
    json: bool,
    /// Write a page with charts, which needs nothing beside itself
    #[arg(long, global = true, value_name = "FILE")]
    html: Option<PathBuf>,
    /// The gateway's binary, instead of the one beside this program
    #[arg(long, global = true, value_name = "PATH")]
    server: Option<PathBuf>,
    /// A section of the gateway's configuration to add, as in `[coalesce]` and a line
    #[arg(long, global = true, value_name = "TOML")]
    config: Vec<String>,
    /// The core that the server may use, and nobody else; for figures per core
    #[arg(long, global = true, value_name = "N")]
    pin: Option<usize>,
}

/// What goes wrong outside of the thing that is measured.
type Fault = Box<dyn std::error::Error + Send + Sync>;

fn main() -> ExitCode {
    let Cli { command, mut common } = Cli::parse();
    if let Command::Relay(options) = &command {
        return relay::run(options).map_or_else(|error| fail(&error), |()| ExitCode::SUCCESS);
    }
    if matches!(command, Command::Compare(_)) {
        common.pin = common.pin.or(Some(0));
    }
    // Before there are threads, so that all of them keep off that core.
    if let Some(core) = common.pin
        && let Err(error) = machine::leave(core)
    {
        return fail(&error.into());
    }
    let built = match command {
        // One thread, so that a process of viewers is one core's worth.
        Command::Crowd => tokio::runtime::Builder::new_current_thread().enable_all().build(),
        Command::Floor => {
            return compare::floor::run().map_or_else(|error| fail(&error), |()| ExitCode::SUCCESS);
        }
        _ => tokio::runtime::Builder::new_multi_thread().enable_all().build(),
    };
    let runtime = match built {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error.into()),
    };
    let report = runtime.block_on(async {
        tokio::select! {
            report = Box::pin(perform(command, &common)) => report,
            _ = tokio::signal::ctrl_c() => Err("interrupted".into()),
        }
    });
    // Viewers that are still waiting for something need not be waited for.
    runtime.shutdown_background();
    match report {
        Ok(Some(report)) => print(&report, common.json),
        Ok(None) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

async fn perform(command: Command, common: &Common) -> Result<Option<Report>, Fault> {
    let report = match command {
        Command::Run { preset, file, changes, against } => {
            let (name, text) = match (preset, file) {
                (Some(name), _) => (name.clone(), preset::named(&name)?.to_owned()),
                (None, file) => read(file.as_deref().unwrap_or(Path::new("")))?,
            };
            let preset = Preset::read(&text, &changes).map_err(|error| format!("{name}: {error}"))?;
            preset_run(&name, &preset, &against, common).await?
        }
        Command::Room(options) => {
            let preset = options.preset();
            preset.check()?;
            preset_run("room", &preset, &options.against, common).await?
        }
        Command::Presets { preset } => {
            presets(preset.as_deref())?;
            return Ok(None);
        }
        Command::Compare(options) => compare::run(&options, common).await?,
        Command::Ttft(options) => ttft::run(&options, common).await?,
        Command::Idle(options) => idle::run(&options, common).await?,
        Command::Late(options) => late::run(&options, common).await?,
        Command::Sessions(options) => sessions::run(&options, common).await?,
        Command::Bare(options) => {
            bare::run(options).await?;
            return Ok(None);
        }
        Command::Crowd => {
            crowd::run().await?;
            return Ok(None);
        }
        Command::NaiveAxum => {
            compare::naive::run().await?;
            return Ok(None);
        }
        Command::Floor | Command::Relay(_) => return Ok(None),
    };
    Ok(Some(report))
}

async fn preset_run(
    name: &str,
    preset: &Preset,
    against: &Against,
    common: &Common,
) -> Result<Report, Fault> {
    let outcome = run::run(name, preset, against, common).await?;
    if let Some(file) = &common.html {
        write(file, &page::of_run(name, preset, &outcome))?;
    }
    Ok(outcome.report)
}

fn read(file: &Path) -> Result<(String, String), Fault> {
    let text =
        std::fs::read_to_string(file).map_err(|error| format!("--file {}: {error}", file.display()))?;
    let name = file.file_stem().unwrap_or(file.as_os_str()).to_string_lossy().into_owned();
    Ok((name, text))
}

fn write(file: &Path, page: &str) -> Result<(), Fault> {
    Ok(std::fs::write(file, page).map_err(|error| format!("--html {}: {error}", file.display()))?)
}

#[expect(clippy::print_stdout, reason = "the list is the output")]
fn presets(name: Option<&str>) -> Result<(), Fault> {
    if let Some(name) = name {
        print!("{}", preset::named(name)?);
        return Ok(());
    }
    for (name, text) in preset::ALL {
        println!("{name:14} {}", Preset::read(text, &Changes::default())?.about);
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the report is the output")]
fn print(report: &Report, json: bool) -> ExitCode {
    if json {
        println!("{}", report.json());
    } else {
        print!("{report}");
    }
    if report.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// One of the lines before the report, if they are wanted.
#[expect(clippy::print_stdout, reason = "lines of JSON are the output")]
fn json_line(common: &Common, line: impl FnOnce() -> serde_json::Value) {
    if common.json {
        println!("{}", line());
    }
}

#[expect(clippy::print_stderr, reason = "the report alone goes to standard output")]
fn say(text: impl std::fmt::Display) {
    eprintln!("loadtest: {text}");
}

fn fail(error: &Fault) -> ExitCode {
    say(error);
    ExitCode::from(2)
}
