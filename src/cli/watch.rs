//! `tokencast watch`: one stream, live in the terminal.

mod screen;
mod tally;

use std::io::{self, IsTerminal as _, Write as _};
use std::pin::pin;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use secrecy::SecretString;
use serde_json::json;
use tokio::time::interval;
use tokio_stream::StreamExt as _;

use self::screen::Screen;
use self::tally::Tally;
use super::{USAGE, fail};
use crate::client::{self, Error, Follow, Item, Target, Transport};

/// Exit codes of commands that were ended by SIGINT and SIGPIPE, as shells have them.
const INTERRUPTED: u8 = 130;
const NOBODY_READS: u8 = 141;
/// How often the status line is written anew.
const STATUS_EVERY: Duration = Duration::from_millis(200);

#[derive(Debug, Args)]
pub(super) struct Options {
    /// The stream: http://HOST/v1/streams/ID, or its /events; with ?ticket=… if you have one
    url: String,
    /// A key or a ticket, instead of the URL's ticket; TOKENCAST_KEY counts if there is neither
    #[arg(long)]
    key: Option<String>,
    /// Begin behind this block; 0 is the beginning
    #[arg(long, value_name = "N", default_value_t = 0)]
    after: u64,
    /// How to follow: WebTransport where it is there, else SSE; or one of them alone
    #[arg(long, value_enum, default_value_t = Way::Auto)]
    transport: Way,
    /// Print every event as a line of JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Way {
    Auto,
    Sse,
    Webtransport,
}

impl From<Way> for Transport {
    fn from(way: Way) -> Self {
        match way {
            Way::Auto => Self::Auto,
            Way::Sse => Self::Sse,
            Way::Webtransport => Self::WebTransport,
        }
    }
}

pub(super) async fn run(options: Options) -> ExitCode {
    let target = match Target::parse(&options.url) {
        Ok(target) => target,
        Err(error) => return fail(USAGE, error),
    };
    let variable = || std::env::var("TOKENCAST_KEY").ok().filter(|key| !key.is_empty());
    let key = options.key.or_else(|| if target.ticket().is_none() { variable() } else { None });
    let how = client::Options {
        after: options.after,
        credential: key.map(SecretString::from),
        transport: options.transport.into(),
        ..client::Options::default()
    };
    let follow = Follow::new(target, how);
    match show(follow, options.json, tokio::signal::ctrl_c()).await {
        Ok(code) => code,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::from(NOBODY_READS),
        Err(error) => fail(1, format_args!("standard output: {error}")),
    }
}

/// Shows everything until the end, the last attempt or an interrupt.
async fn show(
    follow: Follow,
    json: bool,
    interrupted: impl Future<Output = io::Result<()>>,
) -> io::Result<ExitCode> {
    let on_terminal = io::stderr().is_terminal();
    let live = on_terminal && io::stdout().is_terminal() && !json;
    let mut screen = Screen::new(io::stdout(), io::stderr(), on_terminal, live);
    let mut tally = Tally::new();
    let mut items = pin!(follow.into_stream());
    let mut interrupted = pin!(interrupted);
    let mut tick = interval(STATUS_EVERY);
    loop {
        tokio::select! {
            biased;
            _ = &mut interrupted => {
                screen.note(&tally.summary("interrupted"))?;
                return Ok(ExitCode::from(INTERRUPTED));
            }
            item = items.next() => match item {
                Some(Ok(item)) => {
                    tally.count(&item);
                    if json {
                        print(&item)?;
                    }
                    if let Some(code) = tell(&mut screen, &tally, &item, json)? {
                        return Ok(code);
                    }
                }
                Some(Err(error)) => {
                    screen.note(&format!("tokencast: {error}"))?;
                    let usage = matches!(error, Error::Refused { .. });
                    return Ok(ExitCode::from(if usage { USAGE } else { 1 }));
                }
                None => return Ok(ExitCode::FAILURE),
            },
            _ = tick.tick(), if live => screen.status(&tally.status())?,
        }
    }
}

/// Says an item to a person; the code if it is the last one.
fn tell(
    screen: &mut Screen<impl io::Write, impl io::Write>,
    tally: &Tally,
    item: &Item,
    json: bool,
) -> io::Result<Option<ExitCode>> {
    match item {
        Item::Open(_) => {}
        // Printed as JSON already.
        Item::Event(_) if json => {}
        Item::Event(event) => screen.say(&event.said)?,
        Item::Bye(bye) => screen.note(&format!("the gateway says bye: {}", bye.code))?,
        Item::Cut(cut) => {
            screen.note(&format!("{}: resuming in {:.1} s", cut.why, cut.pause.as_secs_f64()))?;
        }
        Item::Over => {
            screen.note("the stream is over, and there is nothing behind that cursor")?;
            return Ok(Some(ExitCode::SUCCESS));
        }
        Item::End(end) => {
            screen.finish()?;
            if let Some(message) = &end.message {
                screen.note(&format!("the stream ended: {message}"))?;
            }
            let code = end.code.as_ref().map(|code| format!("/{code}")).unwrap_or_default();
            screen.note(&tally.summary(&format!("{}{code}", end.reason)))?;
            return Ok(Some(if end.is_completed() { ExitCode::SUCCESS } else { ExitCode::FAILURE }));
        }
    }
    Ok(None)
}

/// One event as one line of JSON. What happens to connections stays out of it.
fn print(item: &Item) -> io::Result<()> {
    let (name, id, data) = match item {
        Item::Open(open) => ("open", Some(open.after), &open.data),
        Item::Event(event) => (event.name.as_str(), event.id, &event.data),
        Item::End(end) => ("end", Some(end.blocks + 1), &end.data),
        Item::Bye(bye) => ("bye", None, &bye.data),
        Item::Cut(_) | Item::Over => return Ok(()),
    };
    let mut out = io::stdout().lock();
    writeln!(out, "{{\"event\":{},\"id\":{},\"data\":{}}}", json!(name), json!(id), escape(data))?;
    out.flush()
}

/// JSON lets DEL and the C1 controls stand as they are; a terminal would obey them.
fn escape(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for char in json.chars() {
        match char {
            '\u{7f}'..='\u{9f}' => out.push_str(&format!("\\u{:04x}", u32::from(char))),
            _ => out.push(char),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::screen::clean;
    use super::*;

    #[test]
    fn json_lines_hold_no_control_characters() {
        let data = json!({ "text": "a\u{1b}[2J\u{9b}2J\u{7f}\nb" });
        let escaped = escape(&data.to_string());
        assert!(!escaped.chars().any(char::is_control), "{escaped}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&escaped).unwrap(), data);
        assert_eq!(clean("a\u{1b}[2J\u{9b}b\tc\nd\r"), "a[2Jb\tc\nd");
    }
}
