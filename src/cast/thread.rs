//! How far choice 0 has got: what a rendering that opens and closes parts has to know of everything before a frame.

use std::collections::BTreeMap;

use super::event::Prose;
use super::id::Id;

/// Goes from frame to frame with a rendering, and is its own business: the log only keeps it.
#[derive(Debug, Clone, Default)]
pub struct Thread {
    /// Of which stream, if it is one's.
    pub stream: Option<Id>,
    /// The prose that is being said.
    pub prose: Option<Prose>,
    /// How many runs of prose there were, this one included.
    pub runs: u32,
    /// Tool calls by their index.
    pub calls: BTreeMap<u32, Call>,
}

/// One tool call.
#[derive(Debug, Clone, Default)]
pub struct Call {
    pub id: Option<String>,
    pub name: Option<String>,
    /// Everything so far; nothing any more once it is closed.
    pub arguments: String,
    pub progress: Progress,
}

/// What of a tool call was rendered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Progress {
    #[default]
    Unsaid,
    Begun,
    Closed,
}

impl Thread {
    /// Before the first frame.
    pub fn of(stream: Option<Id>) -> Self {
        Self { stream, ..Self::default() }
    }

    /// Bytes of memory that this holds beyond its own size.
    pub(super) fn heap_bytes(&self) -> usize {
        let len = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        let held = |call: &Call| len(&call.id) + len(&call.name) + call.arguments.capacity();
        self.calls.values().map(|call| size_of::<(u32, Call)>() + held(call)).sum()
    }
}
