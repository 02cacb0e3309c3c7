//! Watching objects (rules.md 30, decision 0052).
//!
//! ```text
//! group's event table -> feed, one for each group -> board -> mailboxes of those whom an event concerns
//!                     \-> a watcher that is behind reads for itself, a page at a time
//! ```
//! A feed runs only while somebody watches, and asks a replica on this server where there is one. A
//! watcher that waits costs nothing but its memory; one that reads slowly loses its place in the
//! mailbox, never in the table.

mod board;
mod feed;
pub(crate) mod mailbox;
mod revision;
mod start;
mod warden;
mod watcher;

use std::sync::Arc;

use marram_metrics::Watchers;
use parking_lot::Mutex;
use tokio::sync::Semaphore;

pub(crate) use revision::{Revision, seal as seal_revision};
pub(crate) use start::{Watching, watch};

use board::Board;

/// Watchers of one server.
pub(crate) const WATCHERS_MAX: usize = marram_types::caps::WATCHERS_MAX;
/// Watchers that read the tables of groups for themselves at once.
const CATCHING_UP_MAX: usize = 8;

/// What the watchers of one server share.
pub(crate) struct Watch {
    board: Mutex<Board>,
    /// One starts the feeds, others wait for it.
    starting: tokio::sync::Mutex<()>,
    places: Arc<Semaphore>,
    catching_up: Semaphore,
    counts: Arc<Watchers>,
}

impl Watch {
    pub(crate) fn new(counts: Arc<Watchers>) -> Self {
        Self {
            board: Mutex::default(),
            starting: tokio::sync::Mutex::default(),
            places: Arc::new(Semaphore::new(WATCHERS_MAX)),
            catching_up: Semaphore::new(CATCHING_UP_MAX),
            counts,
        }
    }

    /// Takes the places of so many watchers, until what is returned is dropped.
    #[cfg(test)]
    pub(crate) fn take_places(&self, count: usize) -> tokio::sync::OwnedSemaphorePermit {
        let count = u32::try_from(count).expect("there are fewer");
        let taken = Arc::clone(&self.places).try_acquire_many_owned(count);
        taken.expect("they are free")
    }

    #[cfg(test)]
    pub(crate) fn watchers(&self) -> u64 {
        self.board.lock().watchers()
    }
}
