//! `tokencast backup`

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use super::file::NewFile;
use super::{Settings, USAGE, fail, say};
use crate::journal::{Mode, OpenError, sqlite};

/// What SQLite and the gateway put beside a database.
const BESIDE: [&str; 5] = ["", "-wal", "-shm", "-owed", ".lock"];

#[derive(Debug, Args)]
pub(super) struct Options {
    /// The copy; it is made
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Replace FILE if it is there
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    settings: Settings,
}

pub(super) fn run(options: &Options) -> ExitCode {
    let journal = match options.settings.beside().load() {
        Ok(config) => config.journal,
        Err(problems) => return fail(USAGE, problems),
    };
    if journal.mode == Mode::Memory {
        return fail(USAGE, "journal.mode = \"memory\": there is no database to copy");
    }
    match back_up(&journal.path, &options.file, options.force) {
        Ok(bytes) => {
            say(format_args!("{}: {bytes} bytes", options.file.display()));
            ExitCode::SUCCESS
        }
        Err(problem) => fail(1, problem),
    }
}

fn back_up(database: &Path, target: &Path, force: bool) -> Result<u64, String> {
    if BESIDE.iter().any(|suffix| same(&with(database, suffix), target)) {
        return Err(format!("{}: belongs to the database itself: write another name", target.display()));
    }
    // SQLite would apply what it finds there to the copy; and a gateway may run on what is to be replaced.
    for suffix in ["-wal", "-journal"] {
        let log = with(target, suffix);
        if log.symlink_metadata().is_ok() {
            return Err(format!("{}: belongs to a database of that name: write another", log.display()));
        }
    }
    let file = NewFile::create(target, force)?;
    sqlite::backup::copy(database, &file.path).map_err(|error| match error {
        // It may be the copy that found no room.
        OpenError::Storage { error, .. } => {
            format!("{} to {}: {error}", database.display(), target.display())
        }
        other => other.to_string(),
    })?;
    let bytes = file.path.metadata().map_or(0, |file| file.len());
    file.finish()?;
    Ok(bytes)
}

fn with(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

/// Whether both are one name, or names of one file.
fn same(one: &Path, other: &Path) -> bool {
    let place = |path: &Path| {
        let path = std::path::absolute(path).ok()?;
        Some((path.parent()?.canonicalize().ok()?, path.file_name()?.to_owned()))
    };
    let is_one_file =
        one.canonicalize().is_ok_and(|one| other.canonicalize().is_ok_and(|other| one == other));
    is_one_file || place(one).is_some_and(|one| Some(one) == place(other))
}
