//! Those who watch objects through this process: how many, what they were told, and why they stopped.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;

use crate::Source;
use crate::catalogue::{WATCH_EVENTS, WATCH_READS, WATCHERS, WATCHES_ENDED};
use crate::sheet::Sheet;

/// Why a watch ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The caller went away.
    Left,
    /// The server ended it, to be taken up again: it stops, or the watch had its time.
    Moved,
    /// The access key may not watch this any more.
    Denied,
    /// What the caller has not seen is not known any more.
    Compacted,
    /// The bucket was removed.
    Bucket,
    /// A group could not be read for too long.
    Failed,
}

/// In the order of [`Ended`].
const REASONS: [&str; 6] = ["left", "moved", "denied", "compacted", "bucket", "failed"];

/// The watchers of one process.
#[derive(Debug, Default)]
pub struct Watchers {
    now: AtomicU64,
    events: AtomicU64,
    reads: AtomicU64,
    ended: [AtomicU64; REASONS.len()],
}

impl Watchers {
    /// Pages that watchers have read for themselves.
    #[must_use]
    pub fn reads(&self) -> u64 {
        self.reads.load(Ordering::Relaxed)
    }

    /// One watches until the answer is dropped.
    #[must_use]
    pub fn begin(self: &Arc<Self>) -> Watching {
        self.now.fetch_add(1, Ordering::Relaxed);
        Watching {
            of: Arc::clone(self),
            ended: Ended::Left,
        }
    }
}

/// One that watches.
#[derive(Debug)]
pub struct Watching {
    of: Arc<Watchers>,
    ended: Ended,
}

impl Watching {
    /// It was told so many events.
    pub fn sent(&self, events: usize) {
        self.of.events.fetch_add(events as u64, Ordering::Relaxed);
    }

    /// It is behind, and reads a page of a group's table for itself.
    pub fn reads_for_itself(&self) {
        self.of.reads.fetch_add(1, Ordering::Relaxed);
    }

    /// It ends for another reason than that the caller went away.
    pub fn ended(&mut self, why: Ended) {
        self.ended = why;
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.of.now.fetch_sub(1, Ordering::Relaxed);
        self.of.ended[self.ended as usize].fetch_add(1, Ordering::Relaxed);
    }
}

#[async_trait]
impl Source for Watchers {
    async fn collect(&self, sheet: &mut Sheet) {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        sheet.set(&WATCHERS, &[], of(&self.now));
        sheet.set(&WATCH_EVENTS, &[], of(&self.events));
        sheet.set(&WATCH_READS, &[], of(&self.reads));
        for (reason, count) in REASONS.iter().zip(&self.ended) {
            sheet.set(&WATCHES_ENDED, &[reason], of(count));
        }
    }
}
