//! Choice 0's text, and nothing else.

use crate::cast::end::End;
use crate::cast::event::{Event, Prose};
use crate::cast::log::{Part, Rendering};
use crate::cast::thread::Thread;

#[derive(Debug)]
pub struct Text;

impl Rendering for Text {
    fn slot(&self) -> usize {
        2
    }

    fn frame(&self, part: &Part<'_>, _: &mut Thread, out: &mut Vec<u8>) {
        for (_, event) in part.events {
            if let Event::Prose { choice: 0, kind: Prose::Text, text } = event {
                out.extend_from_slice(text.as_bytes());
            }
        }
    }

    fn end(&self, _: &End, _: &mut Thread, _: &mut Vec<u8>) {}
}
