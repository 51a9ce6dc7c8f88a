//! `tokencast key`

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::file::NewFile;
use super::{fail, say};
use crate::auth::key::{Config, Digest, mint};
use crate::auth::keys::Contents;
use crate::auth::scope::Scope;

/// In front of what is written.
const HEAD: &str = "# API keys of tokencast. `tokencast key new|revoke` rewrites this file, without comments of yours. A gateway\n\
                    # whose auth.keys_file it is reads it again within 2 s.\n\n";

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Options {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    new: New,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a key: prints it, and puts its hash into a file or prints what to put into the configuration
    New(New),
    /// List the keys of a file
    List(At),
    /// Take a key out of a file: it opens nothing any more within 2 s
    Revoke(Revoke),
}

#[derive(Debug, Args)]
struct New {
    /// Whose key this is, for people
    #[arg(default_value = "app")]
    name: String,
    /// The tenant that it opens
    #[arg(long, default_value = crate::auth::OPEN_TENANT)]
    tenant: String,
    /// What it may do: start, read, stop, admin; once for each. Without, everything
    #[arg(long, value_name = "SCOPE")]
    scope: Vec<Scope>,
    /// The auth.keys_file of the gateway; made, if it is not there
    #[arg(long)]
    file: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct At {
    /// The auth.keys_file of the gateway
    #[arg(long)]
    file: PathBuf,
}

#[derive(Debug, Args)]
struct Revoke {
    /// Which key
    name: String,
    #[command(flatten)]
    at: At,
}

pub(super) fn run(options: &Options) -> ExitCode {
    let done = match &options.command {
        None => new(&options.new),
        Some(Command::New(options)) => new(options),
        Some(Command::List(at)) => list(&at.file),
        Some(Command::Revoke(options)) => revoke(&options.name, &options.at.file),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => fail(1, problem),
    }
}

fn new(options: &New) -> Result<(), String> {
    let New { name, tenant, scope, file } = options;
    let key = mint();
    let scopes = if scope.is_empty() { &Scope::ALL } else { &scope[..] };
    let config = Config {
        name: name.clone(),
        sha256: Digest::of(&key),
        tenant: tenant.clone(),
        scopes: scopes.iter().copied().collect(),
    };
    config.check()?;
    let Some(file) = file else {
        let text = toml::to_string(&config).unwrap_or_default();
        say(format_args!(
            "# The key. It is shown this once: give it to the app.\n# {key}\n\n[[auth.keys]]\n{}",
            text.trim()
        ));
        return Ok(());
    };
    edit(file, |keys| {
        if keys.iter().any(|key| key.name == config.name) {
            return Err(format!("there is a key {name:?}: choose another name, or revoke that one first"));
        }
        keys.push(config);
        Ok(())
    })?;
    say(&key);
    Ok(())
}

fn list(file: &Path) -> Result<(), String> {
    let named = |problem| format!("{}: {problem}", file.display());
    let Contents { keys, ticket_keys } = Contents::read(file).map_err(named)?;
    let callers = keys.iter().map(|key| {
        let scopes: Vec<&str> = key.scopes.iter().map(Scope::name).collect();
        [&*key.name, &*key.tenant, &key.sha256.hex()[..16], &*scopes.join(",")].map(str::to_owned)
    });
    let apps = ticket_keys
        .iter()
        .map(|app| [&*app.kid, &*app.tenant, app.algorithm.name(), "signs tickets"].map(str::to_owned));
    let rows: Vec<[String; 4]> = callers.chain(apps).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let [name, tenant, hash] = [0, 1, 2].map(width);
    for [a, b, c, d] in &rows {
        say(format_args!("{a:name$}  {b:tenant$}  {c:hash$}  {d}"));
    }
    Ok(())
}

fn revoke(name: &str, file: &Path) -> Result<(), String> {
    edit(file, |keys| {
        let before = keys.len();
        keys.retain(|key| key.name != name);
        if keys.len() == before {
            return Err(format!("there is no key {name:?}: `tokencast key list` shows those that there are"));
        }
        Ok(())
    })?;
    say(format_args!("{name} is revoked"));
    Ok(())
}

/// Changes the keys of a file, whole or not at all, and one at a time. It stays its owner's.
fn edit(file: &Path, change: impl FnOnce(&mut Vec<Config>) -> Result<(), String>) -> Result<(), String> {
    let named = |problem: String| format!("{}: {problem}", file.display());
    let fail = |error: std::io::Error| named(error.to_string());
    // What a link leads to is replaced, and not the link.
    let target = if file.exists() {
        file.canonicalize().map_err(fail)?
    } else {
        std::path::absolute(file).map_err(fail)?
    };
    let directory = target.parent().ok_or_else(|| named("is no name of a file".into()))?;
    let lock = File::open(directory).map_err(fail)?;
    lock.lock().map_err(fail)?;
    let before = target.metadata().ok();
    let mut contents = match before {
        Some(_) => Contents::read(&target).map_err(named)?,
        None => Contents::default(),
    };
    change(&mut contents.keys).map_err(named)?;
    let text = toml::to_string(&contents).map_err(|error| named(error.to_string()))?;
    let new = NewFile::create(&target, true)?;
    fs::write(&new.path, format!("{HEAD}{text}")).map_err(fail)?;
    if let Some(before) = before {
        let is_same =
            fs::metadata(&new.path).is_ok_and(|now| (now.uid(), now.gid()) == (before.uid(), before.gid()));
        if !is_same {
            chown(&new.path, Some(before.uid()), Some(before.gid())).map_err(fail)?;
        }
        fs::set_permissions(&new.path, before.permissions()).map_err(fail)?;
    }
    new.finish()
}
