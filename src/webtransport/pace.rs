//! How far ahead of a client's acknowledgements a subscription may be. Without any, only QUIC says how fast it reads,
//! and browsers take megabytes before they do.

use std::collections::VecDeque;

use crate::cast::block::Seq;

/// What may be sent beyond the last acknowledgement.
pub(super) const ACK_BYTES: usize = 64 * 1024;

/// What is acknowledged together: less than this is added to the batch before it.
const BATCH_BYTES: usize = 1024;

/// What was sent and not acknowledged, oldest first, since the first acknowledgement.
#[derive(Debug, Default)]
pub(super) struct Pace {
    sent: VecDeque<(Seq, usize)>,
    bytes: usize,
    is_on: bool,
}

impl Pace {
    /// Something was sent, with `id` as the last id that the client has with it.
    pub(super) fn sent(&mut self, id: Seq, bytes: usize) {
        if !self.is_on {
            return;
        }
        self.bytes += bytes;
        match self.sent.back_mut().filter(|(_, bytes)| *bytes < BATCH_BYTES) {
            Some(newest) => *newest = (id, newest.1 + bytes),
            None => self.sent.push_back((id, bytes)),
        }
    }

    /// The client has read everything up to `seq`.
    pub(super) fn acknowledged(&mut self, seq: Seq) {
        self.is_on = true;
        while let Some((id, bytes)) = self.sent.front().copied()
            && id <= seq
        {
            self.sent.pop_front();
            self.bytes -= bytes;
        }
    }

    /// Whether nothing more is to be sent before the client acknowledges.
    pub(super) fn is_full(&self) -> bool {
        self.is_on && self.bytes >= ACK_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_acknowledgements_it_holds_nobody_back() {
        let mut pace = Pace::default();
        for upto in 1..10_000 {
            pace.sent(upto, ACK_BYTES);
        }
        assert!(!pace.is_full());
        pace.acknowledged(1);
        assert!(!pace.is_full(), "what came before the first one is forgiven");
        pace.sent(10_000, ACK_BYTES);
        assert!(pace.is_full(), "from the first one on it counts");
    }

    #[test]
    fn a_batch_counts_until_all_of_it_was_read() {
        let mut pace = Pace::default();
        pace.acknowledged(0);
        pace.sent(10, ACK_BYTES);
        pace.acknowledged(9);
        assert!(pace.is_full());
        pace.acknowledged(10);
        assert!(!pace.is_full());
    }

    #[test]
    fn what_is_kept_in_mind_is_bounded() {
        let mut pace = Pace::default();
        pace.acknowledged(0);
        let sent = (1..).take_while(|id| {
            pace.sent(*id, 100);
            !pace.is_full()
        });
        let last = sent.last().unwrap() + 1;
        assert_eq!(pace.bytes, last as usize * 100);
        assert!(pace.sent.len() <= ACK_BYTES / BATCH_BYTES + 1, "{}", pace.sent.len());
        pace.acknowledged(last);
        assert_eq!((pace.bytes, pace.sent.len()), (0, 0));
    }
}
