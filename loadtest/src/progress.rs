//! How far it is: one line that renews itself on a terminal, and one now and then in a log.

use std::io::{IsTerminal as _, Write as _, stderr};
use std::time::{Duration, Instant};

const LOG_EVERY: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(crate) struct Progress {
    is_terminal: bool,
    last: Instant,
}

impl Progress {
    pub(crate) fn new() -> Self {
        Self { is_terminal: stderr().is_terminal(), last: Instant::now() }
    }

    pub(crate) fn show(&mut self, line: impl std::fmt::Display) {
        if self.is_terminal {
            // Nobody is helped by an error about progress.
            let _ = write!(stderr(), "\r\x1b[K{line}");
        } else if self.last.elapsed() >= LOG_EVERY {
            crate::say(line);
            self.last = Instant::now();
        }
    }

    /// Leaves the line, so that others may be written.
    pub(crate) fn clear(&self) {
        if self.is_terminal {
            let _ = write!(stderr(), "\r\x1b[K");
        }
    }
}
