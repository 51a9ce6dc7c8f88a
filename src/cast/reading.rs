//! What is read of a cast, wherever its log is.

use super::Cast;
use super::block::Seq;
use super::end::Why;
use super::fold::Fold;
use super::log::{Log, Read, Source};
use super::pages::{Page, Pages, Unread};
use crate::heavy;

/// A cast as it is at one moment.
#[derive(Debug)]
pub struct Now<'a> {
    pub log: &'a Log,
    /// What was said so far.
    pub fold: &'a Fold,
    /// From the `POST` to the first token.
    pub first_token_ms: Option<f64>,
}

impl Cast {
    /// What lies behind the cursor. A log in the journal is read piece by piece; `page` is the one that is read now.
    pub async fn read_on(
        &self,
        source: Source,
        after: Seq,
        bytes_max: usize,
        page: &mut Page,
    ) -> Result<Read, Unread> {
        let Some(pages) = self.pages() else { return Ok(self.read(source, after, bytes_max)) };
        if after < self.tail() {
            return pages.read(source, after, bytes_max, page).await;
        }
        if let Source::Rendered(rendering) = source
            && rendering.has_thread()
        {
            let thread = pages.thread(rendering, self.tail()).await?;
            self.lock().log.take_up(rendering, thread);
        }
        Ok(self.read(source, after, bytes_max))
    }

    /// The journal's pieces, unless their content was erased.
    fn pages(&self) -> Option<&Pages> {
        self.0.pages.as_ref().filter(|_| !self.lock().log.is_erased())
    }

    /// What lies behind the cursor in a log that is in memory, or at the end.
    pub fn read(&self, source: Source, after: Seq, bytes_max: usize) -> Read {
        loop {
            let mut kept = self.lock();
            let is_ready = kept.log.prepare(source, after, bytes_max);
            let read = is_ready.then(|| kept.log.read(source, after, bytes_max));
            self.settle(&mut kept);
            drop(kept);
            if matches!(read, Some(Read::Broken)) {
                self.stop(Why::Internal);
            }
            if let Some(read) = read {
                return read;
            }
            // Who waits for the log gets it now: the lock alone would be ours again before they are awake.
            std::thread::yield_now();
        }
    }

    /// Looks at everything at once, wherever it is. A log in memory stands still meanwhile; where there is much in it,
    /// for as long as it takes to copy what was said.
    pub async fn look<T>(&self, look: impl FnOnce(Now<'_>) -> T) -> Result<T, Unread> {
        let turn = heavy::turn(self.bytes()).await;
        let fold = match self.pages() {
            Some(pages) => Some(pages.fold().await?),
            None if turn.is_much() => None,
            None => return Ok(self.inspect(look)),
        };
        let (log, fold, first_token_ms) = {
            let kept = self.lock();
            (kept.log.outline(), fold.unwrap_or_else(|| kept.log.fold().clone()), kept.first_token_ms)
        };
        Ok(turn.take(|| look(Now { log: &log, fold: &fold, first_token_ms })))
    }

    /// Looks at a log that is in memory.
    pub(super) fn inspect<T>(&self, look: impl FnOnce(Now<'_>) -> T) -> T {
        let kept = self.lock();
        look(Now { log: &kept.log, fold: kept.log.fold(), first_token_ms: kept.first_token_ms })
    }

    /// All bytes so far.
    pub fn bytes(&self) -> u64 {
        self.lock().log.bytes()
    }

    /// The cursor before the block that holds a byte, and how far inside of it the byte lies; `None` beyond the tail.
    pub async fn at_offset(&self, offset: u64) -> Result<Option<(Seq, usize)>, Unread> {
        match self.pages().filter(|_| offset < self.bytes()) {
            Some(pages) => pages.at_offset(offset).await.map(Some),
            None => Ok(self.lock().log.at_offset(offset)),
        }
    }

    /// How many bytes lie before the block behind the cursor.
    pub async fn offset(&self, after: Seq) -> Result<u64, Unread> {
        match self.pages().filter(|_| after < self.tail()) {
            Some(pages) => pages.offset(after).await,
            None => Ok(self.lock().log.offset(after)),
        }
    }
}
