//! What is told of a body as a whole: once, or again when it changes.

use super::json::{self, Leaf};
use crate::cast::event::{Event, Usage};

#[derive(Debug, Default)]
pub(super) struct Told {
    introduced: bool,
    usage: Usage,
}

impl Told {
    /// Says which model answers and under which id, as soon as one of them is known.
    pub(super) fn introduce(&mut self, model: Leaf<'_>, id: Leaf<'_>, events: &mut Vec<Event>) {
        if self.introduced {
            return;
        }
        let (model, upstream_id) = (json::string(model), json::string(id));
        if model.is_some() || upstream_id.is_some() {
            self.introduced = true;
            events.push(Event::Meta { model, upstream_id });
        }
    }

    /// Counts are those of the whole body so far. One that is left out is still what it was.
    pub(super) fn usage(&mut self, input: Option<u64>, output: Option<u64>, events: &mut Vec<Event>) {
        let usage = Usage { input: input.or(self.usage.input), output: output.or(self.usage.output) };
        if usage != self.usage {
            self.usage = usage;
            events.push(Event::Usage(usage));
        }
    }
}
