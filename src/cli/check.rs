//! `tokencast check`

use std::process::ExitCode;

use clap::Args;

use super::{Settings, USAGE, fail, say};
use crate::auth::Keyring;
use crate::{http, logging, webtransport};

#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(flatten)]
    settings: Settings,
    /// Print the whole configuration, defaults included
    #[arg(long)]
    print: bool,
}

pub(super) fn run(options: &Options) -> ExitCode {
    let config = match options.settings.sources().load() {
        Ok(config) => config,
        Err(problems) => return fail(USAGE, problems),
    };
    if let Err(problem) = logging::check(&config.log) {
        return fail(USAGE, problem);
    }
    if let Err(problem) = http::check(&config.http) {
        return fail(USAGE, problem);
    }
    if let Err(problem) = webtransport::check(&config.webtransport) {
        return fail(USAGE, problem);
    }
    let keyring = match Keyring::open(&config.auth, |name| std::env::var(name).ok()) {
        Ok(keyring) => keyring,
        Err(problem) => return fail(USAGE, problem),
    };
    if options.print {
        say(toml::to_string(&config).unwrap_or_default().trim());
        return ExitCode::SUCCESS;
    }
    let unset = config.providers.iter().filter_map(|provider| {
        let variable = provider.api_key_env.as_ref()?;
        std::env::var(variable).is_err().then_some((&provider.name, variable))
    });
    for (provider, variable) in unset {
        say(format_args!(
            "note: provider {provider}: {variable} is not set; requests would go without a key"
        ));
    }
    say(format_args!(
        "the configuration is right: {} providers, {} keys",
        config.providers.len(),
        keyring.keys()
    ));
    ExitCode::SUCCESS
}
