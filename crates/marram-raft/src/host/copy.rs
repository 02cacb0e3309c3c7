//! A group's state read in pieces by somebody who is not a replica of it: a backup.
//!
//! A copy is what a reader saw at one moment (MVCC), and applying goes on beside it. Its bytes are
//! written to a temporary file once; a reader that lost an answer asks for the same piece again.
//! One copy of each group at a time: who begins another one ends the first.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use marram_types::GroupId;

use super::RaftHost;
use super::group::Group;
use crate::machine::{MachineError, SnapshotData};
use crate::network::PIECE_BYTES;
use crate::types::LogId;

/// A copy that nobody has read for so long goes.
const COPY_KEPT: Duration = Duration::from_secs(60);
/// Makes the names of copies differ, also between two that show the same entry.
static COPIES: AtomicU64 = AtomicU64::new(0);

/// A copy that is being read.
pub(super) struct Copying {
    id: String,
    last: LogId,
    data: SnapshotData,
    read: Instant,
}

/// A piece of a copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyPiece {
    /// The copy's name.
    pub id: String,
    /// Bytes of all of it.
    pub total_bytes: u64,
    /// Term and index of the last entry that it shows.
    pub last: (u64, u64),
    /// The piece; empty behind the last one.
    pub bytes: Bytes,
}

/// Why there is no piece.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// This node has no replica of the group.
    #[error("this node has no replica of group {0}")]
    NoReplica(GroupId),
    /// This replica is not so far yet: ask another one, or later.
    #[error("this replica has applied entry {applied}, not yet {wanted}")]
    Behind {
        /// What it has applied.
        applied: u64,
        /// What was asked for.
        wanted: u64,
    },
    /// The copy of this name is gone: begin another one.
    #[error("the copy {0} is gone: it was not read for a minute, or another one was begun")]
    Gone(String),
    /// The state could not be read or written.
    #[error("the state could not be copied: {0}")]
    Machine(#[from] MachineError),
    /// The copy could not be read back.
    #[error("the copy could not be read: {0}")]
    Io(#[from] std::io::Error),
}

impl RaftHost {
    /// A piece of a copy of a group's state. An empty `id` begins one, which shows at least the
    /// entry `at_least`; the answer names it.
    ///
    /// # Errors
    /// See [`CopyError`].
    pub async fn copy_piece(
        &self,
        group: GroupId,
        id: &str,
        offset: u64,
        at_least: u64,
    ) -> Result<CopyPiece, CopyError> {
        let replica = self.group(group).ok_or(CopyError::NoReplica(group))?;
        let mut held = replica.copy.lock().await;
        if id.is_empty() {
            *held = Some(replica.begin_copy(at_least).await?);
        }
        let copy = held.as_mut().filter(|copy| id.is_empty() || copy.id == id);
        let copy = copy.ok_or_else(|| CopyError::Gone(id.to_owned()))?;
        let dump = copy.data.dump().await?;
        let left = dump.bytes.saturating_sub(offset);
        let bytes = dump.read(offset, left.min(PIECE_BYTES)).await?;
        copy.read = Instant::now();
        Ok(CopyPiece {
            id: copy.id.clone(),
            total_bytes: dump.bytes,
            last: (copy.last.leader_id.term, copy.last.index),
            bytes,
        })
    }
}

impl Group {
    async fn begin_copy(&self, at_least: u64) -> Result<Copying, CopyError> {
        let number = COPIES.fetch_add(1, Ordering::Relaxed);
        let id = format!("copy-{}-{number}", self.store.place().replica);
        let copied = self.store.copy(id.clone()).await?;
        let behind = |applied| CopyError::Behind {
            applied,
            wanted: at_least,
        };
        let (last, data) = copied.ok_or_else(|| behind(0))?;
        if last.index < at_least {
            return Err(behind(last.index));
        }
        Ok(Copying {
            id,
            last,
            data,
            read: Instant::now(),
        })
    }

    /// Lets a copy go that nobody reads: it keeps a file.
    pub(super) fn drop_old_copy(&self) {
        if let Ok(mut held) = self.copy.try_lock() {
            held.take_if(|copy| copy.read.elapsed() >= COPY_KEPT);
        }
    }
}
