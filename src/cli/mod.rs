//! The command line.

mod backup;
mod check;
mod demo;
mod export;
mod file;
mod healthcheck;
mod key;
mod serve;
pub mod simulate;
mod ticket;
mod watch;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};
use toml::Value;

use crate::config::Sources;

/// An AI token-stream fan-out gateway: one POST, one ordered log, any number of viewers
#[derive(Debug, Parser)]
#[command(version, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the gateway
    Serve(Settings),
    /// Run gateway and simulated provider in one, with streams to look at; needs no key and no file
    Demo(demo::Options),
    /// Follow a stream in the terminal
    Watch(watch::Options),
    /// Run the simulated provider alone: as OpenAI, Anthropic, Gemini and Ollama, with faults to choose
    #[command(after_help = simulate::STEERING)]
    Simulate(simulate::Options),
    /// Make an API key: prints it, and what to put into the configuration; or list, add and revoke those of a file
    Key(key::Options),
    /// Make a ticket: prints what lets somebody watch some streams for a while
    Ticket(ticket::Options),
    /// Validate a configuration without running it
    Check(check::Options),
    /// Copy the database to a new file, while a gateway runs or while none does
    Backup(backup::Options),
    /// Write one stream of the database to standard output or to a file
    Export(export::Options),
    /// Ask a running gateway whether it is well; for containers
    Healthcheck(healthcheck::Options),
}

/// The configuration, and what overrides it.
#[derive(Debug, Args)]
struct Settings {
    /// Configuration file (TOML)
    #[arg(long, short)]
    config: Option<PathBuf>,
    /// Address of the public listener
    #[arg(long, value_name = "ADDR")]
    listen: Option<String>,
    /// Address of the operations listener
    #[arg(long, value_name = "ADDR")]
    ops_listen: Option<String>,
    /// Address (UDP) of the WebTransport listener
    #[arg(long, value_name = "ADDR")]
    webtransport_listen: Option<String>,
    /// A provider that speaks as OpenAI does, as in local=http://127.0.0.1:11434/v1
    #[arg(long, value_name = "NAME=URL")]
    provider: Vec<String>,
    /// Listen beyond loopback although there are no keys
    #[arg(long)]
    insecure_open: bool,
    /// Log level, or levels by target
    #[arg(long, value_name = "LEVEL")]
    log: Option<String>,
}

impl Settings {
    fn sources(&self) -> Sources {
        let mut flags = Vec::new();
        let mut flag = |key, value: &Option<String>| {
            flags.extend(value.clone().map(|value| (key, Value::String(value))));
        };
        flag("http.listen", &self.listen);
        flag("ops.listen", &self.ops_listen);
        flag("webtransport.listen", &self.webtransport_listen);
        flag("log.level", &self.log);
        if self.insecure_open {
            flags.push(("auth.insecure_open", Value::Boolean(true)));
        }
        Sources { file: self.config.clone(), variables: variables(), flags, providers: self.provider.clone() }
    }

    /// The same for a command beside the gateway: it listens nowhere, so that nobody has to bring it the keys.
    fn beside(&self) -> Sources {
        let mut sources = self.sources();
        sources.flags.push(("auth.insecure_open", Value::Boolean(true)));
        sources
    }
}

/// The environment, as far as it is text.
fn variables() -> Vec<(String, String)> {
    let all = std::env::vars_os().map(|(name, value)| (name.into_string(), value.into_string()));
    all.filter_map(|(name, value)| Some((name.ok()?, value.ok()?))).collect()
}

/// Exit code of a command that was used wrongly, or a configuration that cannot be.
const USAGE: u8 = 2;

/// Runs the command that the arguments name.
pub fn main() -> ExitCode {
    let command = Cli::parse().command;
    crate::panics::keep_quiet();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(1, format!("the runtime does not start: {error}")),
    };
    runtime.block_on(async {
        match command {
            Command::Serve(settings) => serve::run(&settings.sources()).await,
            Command::Demo(options) => demo::run(options).await,
            Command::Watch(options) => watch::run(options).await,
            Command::Simulate(options) => simulate::run(options).await,
            Command::Key(options) => key::run(&options),
            Command::Ticket(options) => ticket::run(&options),
            Command::Check(options) => check::run(&options),
            Command::Backup(options) => backup::run(&options),
            Command::Export(options) => export::run(&options),
            Command::Healthcheck(options) => healthcheck::run(&options).await,
        }
    })
}

#[expect(clippy::print_stderr, reason = "what went wrong belongs on standard error")]
fn fail(code: u8, message: impl std::fmt::Display) -> ExitCode {
    eprintln!("tokencast: {message}");
    ExitCode::from(code)
}

#[expect(clippy::print_stdout, reason = "the output of a command")]
fn say(text: impl std::fmt::Display) {
    println!("{text}");
}

/// A client for gateways.
fn client() -> reqwest::Client {
    crate::outbound::client(|| reqwest::Client::builder().no_proxy())
}

/// Returns on the first SIGTERM or SIGINT since it was called, whenever it is awaited.
fn told_to_stop() -> impl Future<Output = ()> {
    let signals = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()));
    async {
        let (Ok(mut term), Ok(mut int)) = signals else { return std::future::pending().await };
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
    }
}
