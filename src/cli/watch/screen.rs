//! What a person sees. Standard output carries the text of choice 0 and nothing else, so that it can be piped; all the
//! rest is said on standard error. On a terminal both are the same screen, with a status line below the text. Choices
//! take turns token by token, so only choice 0 is shown as it comes; another one is shown when it is finished.

use std::borrow::Cow;
use std::io::{self, Write};

use crate::client::{Choice, Fold, Said};

const DIM: &str = "\x1b[2m";
const RED: &str = "\x1b[31m";
const CYAN: &str = "\x1b[36m";
const RESET: &str = "\x1b[0m";
/// Everything from the cursor on, where below the text there is only the status line.
const ERASE_BELOW: &str = "\x1b[J";
/// Makes sure that there is a line below, goes there without wrapping, and comes back afterwards.
const BELOW: &str = "\x1bD\x1bM\x1b7\x1bD\r\x1b[2K\x1b[?7l";
const BACK: &str = "\x1b[?7h\x1b8";

/// What the line on the screen belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Channel {
    /// The text of choice 0.
    Text,
    Reasoning,
    Refusal,
    Call(u32),
    Note,
}

/// Two places to write to, and where the last thing was written.
#[derive(Debug)]
pub(super) struct Screen<O, E> {
    out: O,
    err: E,
    colours: bool,
    live: bool,
    channel: Channel,
    /// The last character on either was no line end.
    midline: (bool, bool),
    has_status: bool,
    /// Choices beside the first that are not finished.
    others: Fold,
}

impl<O: Write, E: Write> Screen<O, E> {
    /// `live` says that both are one terminal.
    pub(super) fn new(out: O, err: E, colours: bool, live: bool) -> Self {
        let midline = (false, false);
        let (channel, others) = (Channel::Note, Fold::default());
        Self { out, err, colours, live, channel, midline, has_status: false, others }
    }

    pub(super) fn say(&mut self, said: &Said) -> io::Result<()> {
        match said {
            Said::Finish { choice, reason } if *choice != 0 => match self.others.choices.remove(choice) {
                Some(whole) => self.other(*choice, &whole, reason),
                None => Ok(()),
            },
            Said::Text { choice: 1.., .. }
            | Said::Reasoning { choice: 1.., .. }
            | Said::Refusal { choice: 1.., .. }
            | Said::ToolCall { choice: 1.., .. } => {
                self.others.apply(said);
                Ok(())
            }
            Said::Text { text, .. } => self.text(text),
            Said::Reasoning { text, .. } => self.aside(Channel::Reasoning, DIM, text),
            Said::Refusal { text, .. } => self.aside(Channel::Refusal, RED, text),
            Said::ToolCall { index, name, arguments, .. } => {
                let channel = Channel::Call(*index);
                if let Some(name) = name {
                    self.aside(channel, CYAN, &format!("{name} "))?;
                }
                self.aside(channel, CYAN, arguments)
            }
            Said::Error { code, message } => {
                let code = code.as_ref().map(|code| format!(" {code}")).unwrap_or_default();
                self.line(RED, &format!("the provider says: error{code}: {message}"))
            }
            Said::Meta { .. } | Said::Usage(_) | Said::Finish { .. } | Said::Unknown => Ok(()),
        }
    }

    /// What is still to be said when nothing more comes.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        for (number, whole) in std::mem::take(&mut self.others.choices) {
            self.other(number, &whole, "unfinished")?;
        }
        Ok(())
    }

    fn other(&mut self, number: u32, whole: &Choice, finish: &str) -> io::Result<()> {
        self.line(DIM, &format!("[choice {number}, {finish}]"))?;
        for (colour, text) in [(DIM, &whole.reasoning), ("", &whole.text), (RED, &whole.refusal)] {
            if !text.is_empty() {
                self.line(colour, text)?;
            }
        }
        for (index, call) in &whole.tool_calls {
            let name = call.name.as_deref().unwrap_or_default();
            self.line(CYAN, &format!("[tool call {index}] {name} {}", call.arguments))?;
        }
        Ok(())
    }

    /// A line about the stream.
    pub(super) fn note(&mut self, text: &str) -> io::Result<()> {
        self.line(DIM, text)
    }

    /// Writes the status line anew.
    pub(super) fn status(&mut self, text: &str) -> io::Result<()> {
        if !self.live {
            return Ok(());
        }
        self.has_status = true;
        let text = clean(text).replace(['\n', '\t'], " ");
        write!(self.err, "{BELOW}{DIM}{text}{RESET}{BACK}")?;
        self.err.flush()
    }

    fn text(&mut self, text: &str) -> io::Result<()> {
        self.turn_to(Channel::Text)?;
        let text = clean(text);
        self.out.write_all(text.as_bytes())?;
        self.note_line(true, &text);
        self.out.flush()
    }

    fn aside(&mut self, channel: Channel, colour: &str, text: &str) -> io::Result<()> {
        if text.is_empty() {
            return Ok(());
        }
        let label = if self.turn_to(channel)? { label(channel) } else { String::new() };
        let text = clean(text);
        let (colour, reset) = self.colour(colour);
        write!(self.err, "{colour}{label}{text}{reset}")?;
        self.note_line(false, &text);
        self.err.flush()
    }

    fn line(&mut self, colour: &str, text: &str) -> io::Result<()> {
        self.turn_to(Channel::Note)?;
        let (colour, reset) = self.colour(colour);
        writeln!(self.err, "{colour}{}{reset}", clean(text))?;
        self.err.flush()
    }

    /// Takes the status line away, and begins a new line if something else was written last.
    fn turn_to(&mut self, channel: Channel) -> io::Result<bool> {
        if std::mem::take(&mut self.has_status) {
            self.err.write_all(ERASE_BELOW.as_bytes())?;
            self.err.flush()?;
        }
        if self.channel == channel && channel != Channel::Note {
            return Ok(false);
        }
        // A line of text that is piped away is ended only by the text itself, or by the end of everything.
        if self.midline.1 || (self.live && self.midline.0) {
            self.err.write_all(b"\n")?;
            self.err.flush()?;
            self.midline.1 = false;
            self.midline.0 &= !self.live;
        }
        self.channel = channel;
        Ok(true)
    }

    fn note_line(&mut self, out: bool, text: &str) {
        if let Some(last) = text.chars().next_back() {
            let midline = if out { &mut self.midline.0 } else { &mut self.midline.1 };
            *midline = last != '\n';
        }
    }

    fn colour<'a>(&self, colour: &'a str) -> (&'a str, &'a str) {
        if self.colours && !colour.is_empty() { (colour, RESET) } else { ("", "") }
    }
}

fn label(channel: Channel) -> String {
    match channel {
        Channel::Text | Channel::Note => String::new(),
        Channel::Reasoning => "[reasoning] ".into(),
        Channel::Refusal => "[refusal] ".into(),
        Channel::Call(index) => format!("[tool call {index}] "),
    }
}

/// The text without control characters but line ends and tabs: what a model says is not for the terminal to obey.
pub(super) fn clean(text: &str) -> Cow<'_, str> {
    let obeyed = |char: char| char.is_control() && !matches!(char, '\n' | '\t');
    if text.contains(obeyed) { Cow::Owned(text.replace(obeyed, "")) } else { Cow::Borrowed(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(live: bool, said: &[Said]) -> (String, String) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut screen = Screen::new(&mut out, &mut err, live, live);
        for said in said {
            screen.say(said).unwrap();
        }
        screen.note("done").unwrap();
        (String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
    }

    fn call(name: Option<&str>, arguments: &str) -> Said {
        let name = name.map(Into::into);
        Said::ToolCall { choice: 0, index: 0, id: None, name, arguments: arguments.into() }
    }

    #[test]
    fn the_text_alone_goes_to_standard_output() {
        let said = [
            Said::Reasoning { choice: 0, text: "hm".into() },
            Said::Reasoning { choice: 0, text: "m".into() },
            Said::Text { choice: 0, text: "Hel".into() },
            Said::Text { choice: 1, text: "Bye".into() },
            Said::Text { choice: 0, text: "lo".into() },
            call(Some("search"), ""),
            call(None, "{}"),
            Said::Text { choice: 1, text: "!".into() },
            Said::Error { code: None, message: "no\x1b[2J".into() },
            Said::Finish { choice: 1, reason: "stop".into() },
        ];
        let (out, err) = show(false, &said);
        assert_eq!(out, "Hello");
        let wanted = "[reasoning] hmm\n[tool call 0] search {}\nthe provider says: error: no[2J\n\
            [choice 1, stop]\nBye!\ndone\n";
        assert_eq!(err, wanted);
    }

    #[test]
    fn a_terminal_obeys_nothing_that_the_model_says() {
        let evil = "a\x1b]0;x\x07b\u{9b}31m\r\x08\x7fc\n\td";
        let (out, _) = show(true, &[Said::Text { choice: 0, text: evil.into() }]);
        assert_eq!(out, "a]0;xb31mc\n\td");
        let name = call(Some("\x1bc"), "\x1bc");
        let (_, err) = show(false, &[name]);
        assert!(!err.contains('\x1b'), "{err}");
    }

    #[test]
    fn on_a_terminal_lines_do_not_run_together() {
        let text = |text: &str| Said::Text { choice: 0, text: text.into() };
        let (_, err) = show(true, &[text("no line end")]);
        assert!(err.starts_with("\n"), "{err:?}");
        let (_, err) = show(true, &[text("line end\n")]);
        assert!(!err.starts_with("\n"), "{err:?}");
    }
}
