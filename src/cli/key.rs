//! `tokencast key`

use std::process::ExitCode;

use clap::Args;

use super::say;
use crate::auth::key::{Config, Digest, mint};

#[derive(Debug, Args)]
pub(super) struct Options {
    /// Whose key this is, for people
    #[arg(default_value = "app")]
    name: String,
    /// The tenant that it opens
    #[arg(long, default_value = crate::auth::OPEN_TENANT)]
    tenant: String,
}

pub(super) fn run(options: &Options) -> ExitCode {
    let key = mint();
    let config =
        Config { name: options.name.clone(), sha256: Digest::of(&key), tenant: options.tenant.clone() };
    let text = toml::to_string(&config).unwrap_or_default();
    say(format_args!(
        "# The key. It is shown this once: give it to the app.\n# {key}\n\n[[auth.keys]]\n{}",
        text.trim()
    ));
    ExitCode::SUCCESS
}
