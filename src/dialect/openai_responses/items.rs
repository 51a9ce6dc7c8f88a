//! The items of one response, and which of them an event is about.

use std::borrow::Cow;

use super::chunk;
use super::item::{Channel, Item};
use super::mark::Mark;
use crate::cast::event::Event;
use crate::dialect::json::{self, Leaf};

/// Items of one response that are told apart. Those beyond get no events.
pub(super) const ITEMS_MAX: usize = 1024;

/// What is said of a part.
#[derive(Debug)]
pub(super) enum Said<'a> {
    More(Leaf<'a>),
    All(Cow<'a, str>),
}

/// What was spoken of so far, in the order of its first appearance.
#[derive(Debug, Default)]
pub(super) struct Items {
    list: Vec<Item>,
    calls: u32,
    asks: bool,
}

impl Items {
    /// Whether a call waits for an answer of whoever asked.
    pub(super) fn ask(&self) -> bool {
        self.asks
    }

    /// More of one part, or all of it. Without a place and with an id that nobody knows it is of what was spoken of
    /// last.
    pub(super) fn part(
        &mut self,
        mark: Mark,
        (channel, part): (Channel, u32),
        said: Said<'_>,
        events: &mut Vec<Event>,
    ) {
        let last = || self.list.len().checked_sub(1).filter(|_| mark.index.is_none());
        let Some(at) = self.find(mark).or_else(last).or_else(|| self.push(mark)) else { return };
        let Some(item) = self.list.get_mut(at) else { return };
        if channel == Channel::Arguments {
            item.announce(&mut self.calls, None, None, events);
        }
        match said {
            Said::More(delta) => item.delta(channel, part, delta, events),
            Said::All(whole) => item.complete(channel, part, &whole, events),
        }
    }

    /// An item begins. In another place it is another one, whatever it is called.
    pub(super) fn added(&mut self, mark: Mark, item: &chunk::Item<'_>, events: &mut Vec<Event>) {
        let same = |known: &Item| match mark.index {
            Some(_) => known.mark().same_index(mark),
            None => known.mark().same_id(mark),
        };
        if let Some(at) = self.list.iter().rposition(same).or_else(|| self.push(mark)) {
            self.announce(at, item, events);
        }
    }

    /// All of one item.
    pub(super) fn done(&mut self, mark: Mark, item: &chunk::Item<'_>, events: &mut Vec<Event>) {
        let last = || self.list.len().checked_sub(1).filter(|_| mark == Mark::default());
        if let Some(at) = self.find(mark).or_else(last).or_else(|| self.push(mark)) {
            self.complete(at, item, events);
        }
    }

    /// The whole output, at the end. An item in it that was never spoken of counts only where everything of its type
    /// is missing: a server that names its items otherwise at the end has said it already.
    pub(super) fn output(&mut self, output: &[chunk::Item<'_>], events: &mut Vec<Event>) {
        let spoken_of = self.list.len();
        for (index, item) in (0..).zip(output.iter().take(ITEMS_MAX)) {
            let mark = Mark { index: Some(index), ..Mark::new(item.id, None) };
            let kind = json::word(item.kind).unwrap_or_default();
            let said = |known: &Item| known.says_as(&kind);
            let list = self.list.get(..spoken_of).unwrap_or_default();
            let id = |known: &Item| known.mark().same_id(mark);
            let at = list.iter().rposition(|known| id(known) && known.mark().same_index(mark));
            let at = at.or_else(|| list.iter().rposition(id));
            let at =
                at.or_else(|| list.iter().rposition(|known| known.mark().same_index(mark) && said(known)));
            if at.is_none() && list.iter().any(said) {
                continue;
            }
            if let Some(at) = at.or_else(|| self.push(mark)) {
                self.complete(at, item, events);
            }
        }
    }

    /// Says what the items still hold back, because nothing more is read of them.
    pub(super) fn settle(&mut self, events: &mut Vec<Event>) {
        for item in &mut self.list {
            item.settle(events);
        }
    }

    fn complete(&mut self, at: usize, item: &chunk::Item<'_>, events: &mut Vec<Event>) {
        self.announce(at, item, events);
        if let Some(known) = self.list.get_mut(at) {
            known.complete_all(item, events);
        }
    }

    /// Says of an item that it is a call, if it is one.
    fn announce(&mut self, at: usize, item: &chunk::Item<'_>, events: &mut Vec<Event>) {
        let kind = json::word(item.kind).unwrap_or_default();
        let tool = kind.strip_suffix("_call");
        if tool.is_none() && kind != "mcp_approval_request" {
            return;
        }
        let call_id = json::string(item.call_id);
        // By this id its caller would name it in the answer; what the provider runs has none.
        self.asks |= call_id.is_some();
        let id = call_id.or_else(|| json::string(item.id));
        let name = json::string(item.name).or_else(|| Some(tool?.to_owned()));
        if let Some(known) = self.list.get_mut(at) {
            known.announce(&mut self.calls, id, name, events);
        }
    }

    fn find(&self, mark: Mark) -> Option<usize> {
        let id = |known: &Item| known.mark().same_id(mark);
        let index = |known: &Item| known.mark().same_index(mark);
        let at = self.list.iter().rposition(|known| id(known) && index(known));
        at.or_else(|| self.list.iter().rposition(id)).or_else(|| self.list.iter().rposition(index))
    }

    fn push(&mut self, mark: Mark) -> Option<usize> {
        let at = self.list.len();
        (at < ITEMS_MAX).then(|| {
            self.list.push(Item::new(mark));
            at
        })
    }
}
