//! How far choice 0 has got: what a rendering that opens and closes parts has to know of everything before a frame.
//!
//! A provider says how many tool calls there are and whose turn it is: nothing here is done for all of them again
//! whenever one is told of.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::value::RawValue;

use super::event::Prose;
use super::id::Id;
use crate::nesting::Nesting;

/// Goes from frame to frame with a rendering, and is its own business: the log only keeps it.
#[derive(Debug, Clone, Default)]
pub struct Thread {
    /// Of which stream, if it is one's.
    pub stream: Option<Id>,
    /// The prose that is being said.
    pub prose: Option<Prose>,
    /// How many runs of prose there were, this one included.
    pub runs: u32,
    /// Tool calls of which more may come, by their index.
    open: BTreeMap<u32, Call>,
    /// Those of which nothing is told any more.
    closed: BTreeSet<u32>,
    /// The one that was told of last.
    told: Option<u32>,
    /// What all of this holds.
    heap_bytes: usize,
}

/// One tool call.
#[derive(Debug, Clone, Default)]
pub struct Call {
    pub id: Option<String>,
    pub name: Option<String>,
    /// Whether anybody was told that it is there.
    pub has_begun: bool,
    arguments: String,
    nesting: Nesting,
    /// How long the arguments were when their brackets were closed for the first time. Nothing that comes behind it makes
    /// an object of them, or another one, so that this is looked at once.
    closed_at: Option<usize>,
}

impl Thread {
    /// Before the first frame.
    pub fn of(stream: Option<Id>) -> Self {
        Self { stream, ..Self::default() }
    }

    /// Whether any tool was called.
    pub fn has_calls(&self) -> bool {
        !self.open.is_empty() || !self.closed.is_empty()
    }

    /// Changes a call, of which more is told; not one that is closed.
    pub fn tell(&mut self, index: u32, change: impl FnOnce(&mut Call, Option<&Id>)) {
        if self.closed.contains(&index) {
            return;
        }
        self.told = Some(index);
        let before = self.open.get(&index).map_or(0, Call::memory);
        let call = self.open.entry(index).or_default();
        change(call, self.stream.as_ref());
        self.heap_bytes = (self.heap_bytes + call.memory()).saturating_sub(before);
    }

    /// Something else is said than more of the call that was told of last, unless it is the next one. Closes that call if
    /// it has all of its arguments: providers tell of one after the other, nearly all.
    pub fn leave(&mut self, next: Option<u32>) -> Option<Call> {
        if self.told == next {
            return None;
        }
        let index = self.told.take()?;
        let call = self.open.get_mut(&index)?;
        if !call.has_begun || !call.is_whole() {
            return None;
        }
        let call = self.open.remove(&index)?;
        self.closed.insert(index);
        self.heap_bytes = (self.heap_bytes + size_of::<u32>()).saturating_sub(call.memory());
        Some(call)
    }

    /// There is no more of any call. Gives those that were open.
    pub fn close_all(&mut self) -> BTreeMap<u32, Call> {
        let open = std::mem::take(&mut self.open);
        self.closed.extend(open.keys());
        self.told = None;
        self.heap_bytes = self.closed.len() * size_of::<u32>();
        open
    }

    /// Bytes of memory that this holds beyond its own size.
    pub(super) fn heap_bytes(&self) -> usize {
        self.heap_bytes
    }
}

impl Call {
    /// Everything so far.
    pub fn arguments(&self) -> &str {
        &self.arguments
    }

    pub fn push(&mut self, arguments: &str) {
        for (at, byte) in (self.arguments.len() + 1..).zip(arguments.bytes()) {
            if self.nesting.push(byte) == 0 && byte == b'}' {
                self.closed_at.get_or_insert(at);
            }
        }
        self.arguments.push_str(arguments);
    }

    /// Whether the arguments are an object, and whole.
    fn is_whole(&mut self) -> bool {
        let closed_at = self.closed_at.as_mut().map(std::mem::take);
        closed_at == Some(self.arguments.len()) && is_json(&self.arguments)
    }

    fn memory(&self) -> usize {
        let len = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        size_of::<(u32, Self)>() + len(&self.id) + len(&self.name) + self.arguments.len()
    }
}

fn is_json(text: &str) -> bool {
    #[cfg(test)]
    tests::READ.set(tests::READ.get() + text.len());
    serde_json::from_str::<&RawValue>(text).is_ok()
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    thread_local! {
        /// Bytes of arguments that were read as JSON.
        pub(super) static READ: Cell<usize> = const { Cell::new(0) };
    }

    const PARTS: [&str; 14] =
        ["{", "}", "{}", "{\"a\":", "1", "\"", "\\", "\"{\"", "[", "]", ",", " ", "\n}", "\"b\":{\"c\":2}"];

    #[test]
    fn a_call_is_whole_when_its_arguments_are_an_object_and_nothing_else() {
        let mut whole = 0;
        for seed in 0..20_000 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let mut call = Call::default();
            for _ in 0..rng.usize(1..8) {
                call.push(PARTS[rng.usize(..PARTS.len())]);
                let wanted = call.arguments.ends_with('}')
                    && serde_json::from_str::<&RawValue>(&call.arguments).is_ok();
                // It is asked now and then, and no more of one that is whole.
                if rng.bool() {
                    assert_eq!(call.is_whole(), wanted, "{:?}", call.arguments);
                    if wanted {
                        whole += 1;
                        break;
                    }
                }
            }
        }
        assert!(whole > 500, "there are some: {whole}");
    }

    /// However a provider goes from call to call, every byte is read once.
    #[test]
    fn calls_that_take_turns_are_not_read_again() {
        const CALLS: u32 = 100;
        let mut thread = Thread::default();
        let mut told = 0;
        for turn in 0..200 {
            for index in 0..CALLS {
                assert!(thread.leave(Some(index)).is_none());
                // What looks as if it were whole, and is not; and what never is.
                let part = match (index % 3, turn) {
                    (0, 0) => "{\"a\":}",
                    (1, 0) => "{\"a\":{}",
                    (2, _) => "{}}",
                    _ => ",",
                };
                told += part.len();
                thread.tell(index, |call, _| {
                    call.has_begun = true;
                    call.push(part);
                });
            }
        }
        assert!(READ.get() <= told, "{} bytes were read of {told}", READ.get());
        let memory = |calls: &BTreeMap<u32, Call>| calls.values().map(Call::memory).sum::<usize>();
        assert_eq!(thread.heap_bytes(), memory(&thread.open), "it is known without a look at all of them");
        assert_eq!(thread.close_all().len(), CALLS as usize);
        assert_eq!(thread.heap_bytes(), CALLS as usize * size_of::<u32>());
    }
}
