//! Panics: each ends what it happened in and nothing else. It is counted, and logged without what it says, which may be
//! anybody's text.

use std::panic::Location;

use tracing::error;

use crate::telemetry;

/// From now on a panic is logged by its place alone. For programs, not for tests, whose panics are to be read.
pub fn keep_quiet() {
    std::panic::set_hook(Box::new(|panic| {
        say(&format!("panicked at {}", panic.location().map(ToString::to_string).unwrap_or_default()));
    }));
}

#[expect(clippy::print_stderr, reason = "where no log has begun there is nowhere else")]
fn say(what: &str) {
    if tracing::dispatcher::has_been_set() {
        error!(thread = std::thread::current().name(), "{what}");
    } else {
        eprintln!("tokencast: {what}");
    }
}

/// Counts a panic of what it is dropped with.
#[derive(Debug)]
pub(crate) struct Witness(&'static str);

impl Witness {
    /// For the room of the code in which this place is, which is the label of the metric.
    pub(crate) fn at(place: &'static Location<'static>) -> Self {
        Self(room(place.file()))
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        if std::thread::panicking() {
            telemetry::panicked(self.0);
        }
    }
}

/// Ends the process with a panic of what it is dropped with: without that nothing can go on. It says why.
#[derive(Debug)]
pub(crate) struct Fatal(pub(crate) &'static str);

impl Drop for Fatal {
    fn drop(&mut self) {
        if std::thread::panicking() {
            say(self.0);
            std::process::abort();
        }
    }
}

/// `http` of `src/http/serve.rs`.
fn room(file: &str) -> &str {
    let behind = file.rsplit_once("src/").map_or(file, |(_, behind)| behind);
    behind.split(['/', '.']).next().unwrap_or(behind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rooms_are_directories_and_files_of_the_source() {
        for (file, want) in [
            ("src/http/serve.rs", "http"),
            ("src/server.rs", "server"),
            ("/a/src/b/src/cast/hub/mod.rs", "cast"),
        ] {
            assert_eq!(room(file), want);
        }
    }
}
