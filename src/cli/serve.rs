//! `tokencast serve`

use std::process::ExitCode;

use super::{USAGE, fail, told_to_stop};
use crate::config::Sources;
use crate::logging;
use crate::server::Server;

pub(super) async fn run(sources: &Sources) -> ExitCode {
    let hidden = hide();
    let config = match sources.load() {
        Ok(config) => config,
        Err(problems) => return fail(USAGE, problems),
    };
    if let Err(problem) = logging::init(&config.log) {
        return fail(USAGE, problem);
    }
    if let Err(error) = hidden {
        tracing::warn!(%error, "others may look into the memory of this process");
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

/// Keys and contents are in this memory: it is dumped nowhere, and no other process of the same user may look into it.
fn hide() -> std::io::Result<()> {
    #[cfg(target_os = "linux")]
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)?;
    Ok(())
}
