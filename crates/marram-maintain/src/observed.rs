//! What the controller's steps are derived from.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use marram_meta::{BucketState, ClusterView};
use marram_types::{BucketId, GroupId, PoolId};

use crate::consensus::Members;

/// Which object groups are known to hold which records. Kept in memory by the leader; a new leader
/// begins with nothing and fences again, which changes nothing where it was done.
#[derive(Debug, Default)]
pub struct Fences {
    pools: BTreeSet<(GroupId, PoolId, u64)>,
    buckets: BTreeMap<(GroupId, BucketId), (u64, BucketState, u64)>,
}

impl Fences {
    /// Notes that the group holds the pool's table of this epoch.
    pub fn note_pool(&mut self, group: GroupId, pool: PoolId, epoch: u64) {
        self.pools.insert((group, pool, epoch));
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

    /// Forgets a bucket whose record needs no more fences.
    pub fn forget_bucket(&mut self, bucket: BucketId) {
        self.buckets.retain(|(_, b), _| *b != bucket);
    }

    pub(crate) fn has_pool(&self, group: GroupId, pool: PoolId, epoch: u64) -> bool {
        self.pools.contains(&(group, pool, epoch))
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
    /// How long no node has joined.
    pub quiet: Duration,
    /// Which groups hold which records.
    pub fences: &'a Fences,
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
