//! `tokencast export`

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, ValueEnum};

use super::file::NewFile;
use super::{Settings, USAGE, fail};
use crate::cast::end::Why;
use crate::cast::facts::{Facts, Whole};
use crate::cast::log::{Log, Read, Source};
use crate::journal::sqlite::export::{self, Stored};
use crate::journal::{Config, Mode};
use crate::view::View;

/// Exit codes of their own, for scripts.
const UNKNOWN: u8 = 3;
const GONE: u8 = 4;

/// What is written at once.
const PIECE_BYTES: usize = 256 * 1024;

#[derive(Debug, Args)]
pub(super) struct Options {
    /// The stream
    #[arg(value_name = "ID")]
    id: String,
    /// As what
    #[arg(long, value_enum, default_value_t = Format::Raw)]
    format: Format,
    /// Whose stream, if several tenants have one of this name
    #[arg(long)]
    tenant: Option<String>,
    /// A new file, instead of standard output
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Replace the file that is there
    #[arg(long, requires = "output")]
    force: bool,
    #[command(flatten)]
    settings: Settings,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// The provider's bytes, as `GET …/raw` has them
    Raw,
    /// The text of the first choice, as `GET …/text` has it
    Text,
    /// All that `GET /v1/streams/{id}` says
    Json,
}

/// What is said, and the exit code.
type Problem = (u8, String);

pub(super) fn run(options: &Options) -> ExitCode {
    let journal = match options.settings.beside().load() {
        Ok(config) => config.journal,
        Err(problems) => return fail(USAGE, problems),
    };
    match export(options, &journal) {
        Ok(()) => ExitCode::SUCCESS,
        Err((code, problem)) => fail(code, problem),
    }
}

fn export(options: &Options, journal: &Config) -> Result<(), Problem> {
    if journal.mode == Mode::Memory {
        return Err((USAGE, "journal.mode = \"memory\": there is no database to read".into()));
    }
    let id = &options.id;
    let file = |path: &PathBuf| NewFile::create(path, options.force).map_err(|problem| (1, problem));
    let file = options.output.as_ref().map(file).transpose()?;
    let (log, stored) = read(&journal.path, options.tenant.as_deref(), id)?;
    match log.end() {
        None => note(format_args!("{id}: has no end yet; this is what is durable of it")),
        Some(end) if end.why != Why::Completed => note(format_args!("{id}: {}", ending(end.why))),
        Some(_) => {}
    }
    match file {
        None => write(log, &stored, options.format, &mut io::stdout().lock())
            .map_err(|error| (1, format!("standard output: {error}"))),
        Some(file) => File::options()
            .write(true)
            .open(&file.path)
            .and_then(|mut out| write(log, &stored, options.format, &mut out))
            .map_err(|error| error.to_string())
            .and_then(|()| file.finish())
            .map_err(|problem| (1, problem)),
    }
}

/// Reads a stream, and sees to it that it is the one that its end tells of.
fn read(database: &Path, tenant: Option<&str>, id: &str) -> Result<(Log, Stored), Problem> {
    let stored = export::read(database, tenant, id);
    let mut stored = stored.map_err(|error| match error {
        export::Error::Open(_) => (1, error.to_string()),
        export::Error::Unknown => (UNKNOWN, format!("{id}: {error}")),
        export::Error::Gone => (GONE, format!("{id}: {error}")),
        _ => (1, format!("{id}: {error}")),
    })?;
    let mut log = Log::of(std::mem::take(&mut stored.frames));
    if let Some(ended) = &stored.ended {
        if log.hash() != ended.end.hash {
            return Err((1, format!("{id}: the stored content is damaged")));
        }
        log.finish(Arc::new(ended.end.clone()));
    }
    Ok((log, stored))
}

fn write(mut log: Log, stored: &Stored, format: Format, out: &mut impl Write) -> io::Result<()> {
    let view = match format {
        Format::Raw => View::Raw.source(),
        Format::Text => View::Text.source(),
        Format::Json => {
            let first_token_ms = stored.ended.as_ref().and_then(|ended| ended.first_token_ms);
            let facts = Facts::of_log(&stored.about, &log, log.fold(), first_token_ms);
            serde_json::to_writer(&mut *out, &Whole::of(facts, &log, log.fold()))?;
            out.write_all(b"\n")?;
            return out.flush();
        }
    };
    copy(&mut log, view, out)?;
    out.flush()
}

fn copy(log: &mut Log, view: Source, out: &mut impl Write) -> io::Result<()> {
    let mut after = 0;
    while let Read::Batch { bytes, upto, .. } = log.read(view, after, PIECE_BYTES) {
        out.write_all(&bytes)?;
        after = upto;
    }
    Ok(())
}

fn ending(why: Why) -> String {
    let (reason, code) = why.wire();
    format!("ended {reason}{}{}", code.map_or("", |_| "/"), code.unwrap_or_default())
}

#[expect(clippy::print_stderr, reason = "standard output has the stream")]
fn note(text: impl std::fmt::Display) {
    eprintln!("tokencast: {text}");
}
