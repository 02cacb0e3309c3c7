//! What the controller's steps are derived from.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use marram_meta::{BucketState, ClusterView, Tombstone};
use marram_placement::{PgRow, PoolTable};
use marram_types::{BucketId, GroupId, NodeId, PoolId, ReplicaId};

use crate::consensus::Members;

/// Which object groups are known to hold which records. Kept in memory by the leader; a new leader
/// begins with nothing and fences again, which changes nothing where it was done.
#[derive(Debug, Default)]
pub struct Fences {
    /// By row, the epoch that the group is known to hold at least.
    rows: BTreeMap<(GroupId, PoolId), Vec<u64>>,
    buckets: BTreeMap<(GroupId, BucketId), (u64, BucketState, u64)>,
    /// The epoch of the last word on a node that the group has.
    tombstones: BTreeMap<(GroupId, NodeId), u64>,
    /// How long, and how many bytes of, events the group was told to keep.
    events: BTreeMap<GroupId, (u64, u64)>,
}

impl Fences {
    /// Notes that the group holds these rows of a pool, or newer ones: index and epoch.
    pub fn note_rows(&mut self, group: GroupId, pool: PoolId, rows: &[(u16, u64)]) {
        let held = self.rows.entry((group, pool)).or_default();
        for (index, epoch) in rows {
            let index = usize::from(*index);
            if held.len() <= index {
                held.resize(index + 1, 0);
            }
            held[index] = held[index].max(*epoch);
        }
    }

    /// Notes the group's copy of a bucket and how many objects it counted.
    pub fn note_bucket(
        &mut self,
        group: GroupId,
        bucket: BucketId,
        epoch: u64,
        state: BucketState,
        live: u64,
    ) {
        self.buckets.insert((group, bucket), (epoch, state, live));
    }

    /// Notes that the group was told of a tombstone, or that it was taken back.
    pub fn note_tombstone(&mut self, group: GroupId, node: NodeId, epoch: u64) {
        self.tombstones.insert((group, node), epoch);
    }

    /// Whether the group was told of the tombstone, or of a newer one.
    pub(crate) fn has_tombstone(&self, group: GroupId, stone: &Tombstone) -> bool {
        let told = self.tombstones.get(&(group, stone.node));
        told.is_some_and(|told| *told >= stone.epoch)
    }

    /// Notes how events are kept in the group.
    pub fn note_events(&mut self, group: GroupId, for_ms: u64, bytes: u64) {
        self.events.insert(group, (for_ms, bytes));
    }

    /// Whether the group was told to keep events so.
    pub(crate) fn keeps_events(&self, group: GroupId, for_ms: u64, bytes: u64) -> bool {
        self.events.get(&group) == Some(&(for_ms, bytes))
    }

    /// Forgets a bucket whose record needs no more fences.
    pub fn forget_bucket(&mut self, bucket: BucketId) {
        self.buckets.retain(|(_, b), _| *b != bucket);
    }

    /// Whether the group holds a row of this epoch, or a newer one.
    pub(crate) fn has_row(&self, group: GroupId, pool: PoolId, index: u16, epoch: u64) -> bool {
        let held = self.rows.get(&(group, pool));
        held.and_then(|held| held.get(usize::from(index)))
            .is_some_and(|held| *held >= epoch)
    }

    /// Whether the group is known to hold the row, at whatever epoch.
    pub(crate) fn knows_row(&self, group: GroupId, pool: PoolId, index: u16) -> bool {
        self.has_row(group, pool, index, 1)
    }

    /// The rows of a table that the group is not known to hold, by index.
    pub(crate) fn missing_rows(&self, group: GroupId, table: &PoolTable) -> Vec<(u16, PgRow)> {
        self.missing_rows_of(group, table, |_, _| true)
    }

    /// Those of them that `wanted` picks: looked at before anything is copied.
    pub(crate) fn missing_rows_of(
        &self,
        group: GroupId,
        table: &PoolTable,
        wanted: impl Fn(u16, &PgRow) -> bool,
    ) -> Vec<(u16, PgRow)> {
        let pool = table.pool();
        (0_u16..)
            .zip(&table.rows)
            .filter(|(index, row)| wanted(*index, row))
            .filter(|(index, row)| !self.has_row(group, pool, *index, row.epoch))
            .map(|(index, row)| (index, row.clone()))
            .collect()
    }

    /// Objects counted under exactly this record, when the group holds it.
    pub(crate) fn live(
        &self,
        group: GroupId,
        bucket: BucketId,
        epoch: u64,
        state: BucketState,
    ) -> Option<u64> {
        let (held_epoch, held_state, live) = self.buckets.get(&(group, bucket))?;
        (*held_epoch == epoch && *held_state == state).then_some(*live)
    }
}

/// Everything that the next step depends on.
#[derive(Debug)]
pub struct Observed<'a> {
    /// The root group's decisions.
    pub view: &'a ClusterView,
    /// The root group's members.
    pub root: &'a Members,
    /// This server's replica, which leads the root group.
    pub own: ReplicaId,
    /// Replicas whose node answers, this server's included.
    pub up: &'a BTreeSet<ReplicaId>,
    /// How long no node has joined.
    pub quiet: Duration,
    /// Which groups hold which records.
    pub fences: &'a Fences,
    /// How groups are to keep events.
    pub events: EventsKept,
}

/// What is kept for those who watch objects (rules.md 30).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventsKept {
    /// How long, in milliseconds.
    pub for_ms: u64,
    /// How many bytes of all groups together.
    pub bytes: u64,
}

impl Observed<'_> {
    /// The object groups that exist.
    pub(crate) fn object_groups(&self) -> impl Iterator<Item = GroupId> {
        self.view
            .groups
            .keys()
            .copied()
            .filter(|g| *g != GroupId::ROOT)
    }
}
