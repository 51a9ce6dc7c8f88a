//! `tokencast serve`

use std::process::ExitCode;

use super::{USAGE, fail, told_to_stop};
use crate::config::Sources;
use crate::logging;
use crate::server::Server;

pub(super) async fn run(sources: &Sources) -> ExitCode {
    let config = match sources.load() {
        Ok(config) => config,
        Err(problems) => return fail(USAGE, problems),
    };
    if let Err(problem) = logging::init(&config.log) {
        return fail(USAGE, problem);
    }
    if config.providers.is_empty() {
        tracing::warn!(
            "no provider is configured: set OPENAI_API_KEY, pass --provider NAME=URL, or write [[providers]]"
        );
    }
    match Server::start(config, |name| std::env::var(name).ok()) {
        Ok(server) => server.run(told_to_stop(), told_to_stop()).await,
        Err(error) => return fail(1, error),
    }
    ExitCode::SUCCESS
}
