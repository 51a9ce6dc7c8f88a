//! `tokencast healthcheck`

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::{Settings, USAGE, fail};

const WITHIN: Duration = Duration::from_secs(3);

#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(flatten)]
    settings: Settings,
    /// Ask whether it takes new streams, too
    #[arg(long)]
    ready: bool,
}

pub(super) async fn run(options: &Options) -> ExitCode {
    let config = match options.settings.beside().load() {
        Ok(config) => config,
        Err(problems) => return fail(USAGE, problems),
    };
    let mut addr = config.ops.listen;
    if addr.ip().is_unspecified() {
        addr.set_ip(if addr.is_ipv4() {
            [127, 0, 0, 1].into()
        } else {
            std::net::Ipv6Addr::LOCALHOST.into()
        });
    }
    let path = if options.ready { "readyz" } else { "healthz" };
    let url = format!("http://{addr}/{path}");
    match super::client().get(&url).timeout(WITHIN).send().await {
        Ok(response) if response.status().is_success() => ExitCode::SUCCESS,
        Ok(response) => fail(1, format_args!("{url} answers {}", response.status())),
        Err(error) => fail(1, format_args!("{error}")),
    }
}
