//! A cast that was asleep.

use std::sync::{Arc, OnceLock};

use super::about::About;
use super::durable::{Content, Durable, Mark, StorageError};
use super::hub::asleep::Asleep;
use super::log::Log;
use super::memory::Budget;
use super::pages::Pages;
use super::{Cast, Ending, Shared};

impl Cast {
    /// A cast that has ended, and whose log is in the journal.
    pub(super) fn woken(
        asleep: &Asleep,
        content: Content,
        budget: &Arc<Budget>,
        journal: Arc<dyn Durable>,
    ) -> Result<Self, StorageError> {
        let (about, ended) = (&asleep.about, &asleep.ended);
        let blocks = ended.end.blocks;
        let (log, pages) = match content {
            Content::Pieces(mut marks) => {
                // Behind the end there may be frames whose commit came too late to be shown.
                marks.retain(|mark| mark.first <= blocks);
                if let Some(last) = marks.last_mut() {
                    last.last = last.last.min(blocks);
                }
                if !Mark::are_whole(&marks, blocks) {
                    return Err(damaged(about));
                }
                let pages = Pages::new(about, marks, journal.clone(), budget.clone());
                (Log::elsewhere(ended), Some(pages))
            }
            Content::Whole(mut frames) => {
                frames.retain(|frame| frame.last() <= blocks);
                let mut log = Log::of(frames);
                if log.hash() != ended.end.hash {
                    return Err(damaged(about));
                }
                log.finish(Arc::new(ended.end.clone()));
                (log, None)
            }
        };
        let end = log.end().expect("it has ended").clone();
        let mut share = budget.share();
        share.finish();
        let cast = Self(Arc::new(Shared {
            ending: Ending { end, expires: asleep.expires }.into(),
            content_type: asleep.content_type.clone().map_or_else(OnceLock::new, OnceLock::from),
            pages,
            ..Shared::new(about.clone(), log, asleep.stake.clone(), share, journal)
        }));
        let mut kept = cast.lock();
        kept.first_token_ms = ended.first_token_ms;
        cast.settle(&mut kept);
        drop(kept);
        Ok(cast)
    }
}

fn damaged(about: &About) -> StorageError {
    StorageError(format!("the stored content of stream {} is damaged", about.id))
}
