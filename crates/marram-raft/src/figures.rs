//! What is counted of a replica, beside what its status says.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use marram_types::GroupId;

use crate::host::ProposeError;

/// Who hears of proposals that ended here.
pub trait Proposals: Send + Sync {
    /// One took so long, and ended so.
    fn ended(&self, group: GroupId, took: Duration, result: Result<(), &ProposeError>);
}

/// Nobody does.
impl Proposals for () {
    fn ended(&self, _group: GroupId, _took: Duration, _result: Result<(), &ProposeError>) {}
}

/// Pages of the groups' tables, of all groups together, since they were opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PageFigures {
    /// Those that were in memory when they were read.
    pub hits: u64,
    /// Those that were not.
    pub misses: u64,
    /// Bytes of those that are.
    pub bytes: u64,
}

/// Counted since the replica was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct GroupFigures {
    /// How often it heard of another leader than before.
    pub leader_changes: u64,
    /// States that were written to a file for replicas that are far behind.
    pub snapshots_built: u64,
    /// Those that a replica has installed.
    pub snapshots_sent: u64,
    /// Those of others that were installed here.
    pub snapshots_installed: u64,
    /// Bytes of pieces that were sent and taken.
    pub snapshot_sent_bytes: u64,
    /// Bytes of pieces that arrived.
    pub snapshot_received_bytes: u64,
}

/// The same while it is counted.
#[derive(Debug, Default)]
pub(crate) struct Counted {
    pub(crate) leader_changes: AtomicU64,
    pub(crate) snapshots_built: AtomicU64,
    pub(crate) snapshots_sent: AtomicU64,
    pub(crate) snapshots_installed: AtomicU64,
    pub(crate) snapshot_sent_bytes: AtomicU64,
    pub(crate) snapshot_received_bytes: AtomicU64,
}

impl Counted {
    pub(crate) fn figures(&self) -> GroupFigures {
        let now = |number: &AtomicU64| number.load(Ordering::Relaxed);
        GroupFigures {
            leader_changes: now(&self.leader_changes),
            snapshots_built: now(&self.snapshots_built),
            snapshots_sent: now(&self.snapshots_sent),
            snapshots_installed: now(&self.snapshots_installed),
            snapshot_sent_bytes: now(&self.snapshot_sent_bytes),
            snapshot_received_bytes: now(&self.snapshot_received_bytes),
        }
    }
}

pub(crate) fn add(number: &AtomicU64, more: u64) {
    number.fetch_add(more, Ordering::Relaxed);
}
