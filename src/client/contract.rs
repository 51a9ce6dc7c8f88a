//! What must be true of every event (docs/protocol.md), checked on each.

#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects))]

use super::item::{End, Event, Open};
use crate::cast::block::Seq;

/// The server, or something in between, broke the contract. There is no going on from it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    #[error("gap: an event begins at block {from}, and the last id was {cursor}")]
    Gap { cursor: Seq, from: Seq },
    #[error("duplicate: an event has id {id}, and the last id was {cursor}")]
    Duplicate { cursor: Seq, id: Seq },
    #[error("an event from block {from} has id {id}")]
    Backwards { from: Seq, id: Seq },
    #[error("the connection should begin after {cursor} and begins after {after}")]
    Elsewhere { cursor: Seq, after: Seq },
    #[error("the connection does not begin with `open`")]
    NoOpen,
    #[error("the end has id {id} and {blocks} blocks")]
    WrongEnd { id: Seq, blocks: Seq },
    #[error("the end comes after an event without id")]
    Unfinished,
    #[error("an event cannot be read: {0}")]
    Unreadable(String),
}

/// Where a follower stands.
#[derive(Debug)]
pub(super) struct Contract {
    cursor: Seq,
    /// Something came after the last id.
    provisional: bool,
}

impl Contract {
    pub(super) fn new(after: Seq) -> Self {
        Self { cursor: after, provisional: false }
    }

    /// The last id, behind which the stream goes on.
    pub(super) fn cursor(&self) -> Seq {
        self.cursor
    }

    pub(super) fn open(&mut self, id: Option<Seq>, open: &Open) -> Result<(), Violation> {
        self.provisional = false;
        if id != Some(self.cursor) || open.after != self.cursor {
            return Err(Violation::Elsewhere { cursor: self.cursor, after: open.after });
        }
        Ok(())
    }

    pub(super) fn event(&mut self, event: &Event) -> Result<(), Violation> {
        let (cursor, from) = (self.cursor, event.from);
        if from > cursor.saturating_add(1) {
            return Err(Violation::Gap { cursor, from });
        }
        self.provisional = event.id.is_none();
        if let Some(id) = event.id {
            if id <= cursor {
                return Err(Violation::Duplicate { cursor, id });
            }
            if id < from {
                return Err(Violation::Backwards { from, id });
            }
            self.cursor = id;
        }
        Ok(())
    }

    pub(super) fn end(&mut self, id: Option<Seq>, end: &End) -> Result<(), Violation> {
        let (cursor, id) = (self.cursor, id.unwrap_or(0));
        if id.checked_sub(1) != Some(end.blocks) {
            return Err(Violation::WrongEnd { id, blocks: end.blocks });
        }
        // A cursor at the end itself may get the end again (docs/protocol.md, recovered streams).
        if id < cursor {
            return Err(Violation::Duplicate { cursor, id });
        }
        if self.provisional {
            return Err(Violation::Unfinished);
        }
        self.cursor = id;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(from: Seq, id: Option<Seq>) -> Event {
        Event::read("usage".into(), id, format!(r#"{{"from":{from}}}"#)).unwrap()
    }

    fn end(blocks: Seq) -> End {
        let data = format!(
            r#"{{"reason":"completed","code":null,"message":null,"finish":null,"usage":null,"blocks":{blocks},"bytes":1,"hash":""}}"#
        );
        serde_json::from_str(&data).unwrap()
    }

    fn run(after: Seq, events: &[(Seq, Option<Seq>)]) -> Result<Seq, Violation> {
        let mut contract = Contract::new(after);
        for (from, id) in events {
            contract.event(&event(*from, *id))?;
        }
        Ok(contract.cursor())
    }

    #[test]
    fn runs() {
        assert_eq!(run(0, &[(1, Some(1)), (2, Some(7)), (8, None), (8, None), (8, Some(8))]), Ok(8));
        assert_eq!(run(0, &[(2, Some(2))]), Err(Violation::Gap { cursor: 0, from: 2 }));
        assert_eq!(run(4, &[(5, None), (6, Some(6))]), Err(Violation::Gap { cursor: 4, from: 6 }));
        assert_eq!(run(4, &[(5, Some(5)), (5, Some(5))]), Err(Violation::Duplicate { cursor: 5, id: 5 }));
        assert_eq!(run(4, &[(1, Some(4))]), Err(Violation::Duplicate { cursor: 4, id: 4 }));
    }

    #[test]
    fn ends() {
        let check = |after, id, blocks| Contract::new(after).end(id, &end(blocks));
        assert_eq!(check(3, Some(10), 9), Ok(()));
        assert_eq!(check(10, Some(10), 9), Ok(()));
        assert_eq!(check(3, Some(9), 9), Err(Violation::WrongEnd { id: 9, blocks: 9 }));
        assert_eq!(check(3, None, 9), Err(Violation::WrongEnd { id: 0, blocks: 9 }));
        assert_eq!(check(11, Some(10), 9), Err(Violation::Duplicate { cursor: 11, id: 10 }));
        let mut contract = Contract::new(8);
        contract.event(&event(9, None)).unwrap();
        assert_eq!(contract.end(Some(10), &end(9)), Err(Violation::Unfinished));
    }

    #[test]
    fn opens() {
        let open = |after| Open {
            stream: "s".into(),
            after,
            tail: 9,
            status: "running".into(),
            started_at: String::new(),
            data: String::new(),
            transport: "sse",
        };
        assert_eq!(Contract::new(4).open(Some(4), &open(4)), Ok(()));
        assert!(Contract::new(4).open(Some(5), &open(5)).is_err());
        assert!(Contract::new(4).open(None, &open(4)).is_err());
    }
}
