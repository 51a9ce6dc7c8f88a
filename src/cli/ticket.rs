//! `tokencast ticket`

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::{Settings, USAGE, fail, say};
use crate::auth::scope::Scope;
use crate::auth::ticket::Signer;
use crate::auth::{self, Only};
use crate::cast::id::Id;
use crate::config::Config;
use crate::{files, journal};

#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(flatten)]
    settings: Settings,
    /// Ids of the streams
    #[arg(required_unless_present = "prefix", conflicts_with = "prefix")]
    id: Vec<String>,
    /// Instead: how the ids begin, exactly
    #[arg(long)]
    prefix: Option<String>,
    /// Whose streams they are
    #[arg(long, default_value = auth::OPEN_TENANT)]
    tenant: String,
    /// Allow to stop them, beside watching
    #[arg(long)]
    stop: bool,
    /// How many seconds it lives
    #[arg(long, value_name = "SECONDS", default_value_t = 600, value_parser = clap::value_parser!(u64).range(1..))]
    ttl_s: u64,
    /// Sign as one of the gateway's auth.ticket_keys does, instead of with the secret of its database
    #[arg(long, requires = "key")]
    kid: Option<String>,
    /// The private key of that one (PEM), or the secret
    #[arg(long, value_name = "FILE", requires = "kid")]
    key: Option<PathBuf>,
}

pub(super) fn run(options: &Options) -> ExitCode {
    let config = match options.settings.beside().load() {
        Ok(config) => config,
        Err(problems) => return fail(USAGE, problems),
    };
    match mint(options, &config) {
        Ok(ticket) => {
            say(ticket);
            ExitCode::SUCCESS
        }
        Err(problem) => fail(1, problem),
    }
}

fn mint(options: &Options, config: &Config) -> Result<String, String> {
    let Options { id, prefix, tenant, stop, ttl_s, .. } = options;
    let parse = |text: &String| Id::parse(text).map_err(|error| format!("{text}: {error}"));
    let only = match prefix {
        Some(prefix) => Only::Prefix(parse(prefix)?),
        None => Only::Streams(id.iter().map(parse).collect::<Result<_, _>>()?),
    };
    let scopes = [Some(Scope::Read), stop.then_some(Scope::Stop)];
    let scopes = scopes.into_iter().flatten().collect();
    let (ticket, _) = signer(options, config)?.sign(tenant, &only, scopes, Duration::from_secs(*ttl_s));
    if let Some(kid) = &options.kid {
        let believed = auth::keys::believes(&config.auth, kid, &ticket, |name| std::env::var(name).ok());
        believed.map_err(|problem| format!("--kid {kid}: {problem}"))?;
    }
    if ticket.len() > auth::ticket::LEN_MAX {
        return Err(format!("{} ids are too many for one ticket: make several, or use --prefix", id.len()));
    }
    Ok(ticket)
}

fn signer(options: &Options, config: &Config) -> Result<Signer, String> {
    let auth::Config { audience, ticket_algorithm, .. } = &config.auth;
    let (Some(kid), Some(path)) = (&options.kid, &options.key) else {
        let secret = journal::secret(&config.journal).map_err(|error| error.to_string())?;
        return Ok(Signer::own(*ticket_algorithm, &secret, audience));
    };
    let key = files::secret(path).map_err(|error| format!("--key {}: {error}", path.display()))?;
    Signer::app(kid, &key, audience).map_err(|problem| format!("--key {}: {problem}", path.display()))
}
