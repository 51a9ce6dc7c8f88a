//! The core against a model, in virtual time, and under load.

mod account;
mod broken;
mod hub;
mod interleaving;
mod load;
mod model;
mod pages;
mod producer;
pub(crate) mod script;

use std::sync::Arc;
use std::time::Duration;

use smallvec::SmallVec;

use super::about::About;
use super::account::Stake;
use super::block::Seq;
use super::durable::Durable;
use super::event::{Event, Prose};
use super::frame::Frame;
use super::id::Id;
use super::memory::Budget;
use super::{Cast, Producer};
use crate::journal::memory::Memory;

/// How long a journal may take for an end.
pub(crate) const STALL: Duration = Duration::from_secs(10);

pub(crate) fn about(id: &str) -> About {
    About {
        number: 1,
        id: Id::parse(id).unwrap(),
        tenant: "tenant".into(),
        provider: "provider".into(),
        metadata: None,
        ttl_s: 900,
        started_ms: 0,
        key: None,
        fingerprint: [0; 32],
    }
}

/// A cast over this journal, with a budget of its own that nothing exhausts.
pub(crate) fn cast_over(journal: Arc<dyn Durable>) -> (Cast, Producer) {
    let share = Budget::new(usize::MAX / 2).share();
    Cast::new(Arc::new(about("cast")), None, Stake::unlimited(), share, journal)
}

/// A cast whose frames are visible as soon as they are appended.
pub(crate) fn cast() -> (Cast, Producer) {
    cast_over(Arc::new(Memory))
}

pub(crate) fn text(text: &str) -> Event {
    Event::Prose { choice: 0, kind: Prose::Text, text: text.into() }
}

/// A frame of blocks whose bytes are their texts; an empty text is a comment, which means nothing.
pub(crate) fn frame(first: Seq, texts: &[&str]) -> Frame {
    let (mut bytes, mut ends, mut events) = (Vec::new(), SmallVec::new(), SmallVec::new());
    for (seq, said) in (first..).zip(texts) {
        bytes.extend_from_slice(if said.is_empty() { b":" } else { said.as_bytes() });
        ends.push(bytes.len() as u32);
        events.extend((!said.is_empty()).then(|| (seq, text(said))));
    }
    Frame { first, at_ms: 0, bytes: bytes.into(), ends, events }
}

/// What a future that is ready resolves to.
pub(crate) fn now<T>(future: impl Future<Output = T>) -> T {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match std::pin::pin!(future).poll(&mut context) {
        std::task::Poll::Ready(value) => value,
        std::task::Poll::Pending => panic!("this is not ready"),
    }
}
