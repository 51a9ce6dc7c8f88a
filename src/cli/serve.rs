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
    // Heard from now on: who stops a gateway that is still recovering wants it to drain, too.
    let stop = told_to_stop();
    match Server::start(&config, |name| std::env::var(name).ok()) {
        Ok(server) => server.run(stop, async { told_to_stop().await }).await,
        Err(error) => return fail(1, error),
    }
    ExitCode::SUCCESS
}
