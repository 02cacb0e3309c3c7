//! What the state of the cluster means for the data.
//!
//! Judged from the worst placement group and the weakest metadata group: "any N nodes" is a promise
//! about every object, so one weak place decides it (rules.md 7).

mod sentences;
mod work;

use std::collections::{BTreeMap, BTreeSet};

use marram_meta::{
    BucketRecord, BucketState, ClusterView, DriveRecord, LiveExtent, NodeState, Usage,
};
use marram_object::narrow;
use marram_placement::{PgRow, PoolTable, pool_of};
use marram_proto::v1;
use marram_types::{DriveId, NodeId, Profile};

use crate::drives::{DriveHealth, DriveReport};
use crate::layout::{Standing, slots_of};

/// What is known.
pub(super) struct Facts<'a> {
    view: &'a ClusterView,
    nodes: BTreeMap<DriveId, NodeId>,
    away: BTreeSet<NodeId>,
    /// Drives that failed, or that their node is without though it answers.
    retired: BTreeSet<DriveId>,
    /// Those of them that their node is without.
    absent: BTreeSet<DriveId>,
    /// Drives that take no data.
    full: BTreeSet<DriveId>,
    /// The counters of all groups; nothing where one does not answer.
    usage: Option<Usage>,
    work: Work,
}

/// What has yet to be done.
#[derive(Debug, Clone, Copy, Default)]
struct Work {
    /// Placement groups with a move under way.
    moving: u64,
    /// Placement groups to move, those under way included.
    to_move: u64,
    /// Extents that wait for repair or for their place; nothing where a group does not answer.
    tickets: Option<u64>,
    /// Extents that wait to be encoded anew; nothing where a group does not answer.
    reencodings: Option<u64>,
}

impl<'a> Facts<'a> {
    pub(super) fn new(
        view: &'a ClusterView,
        reports: &BTreeMap<NodeId, Option<Vec<DriveReport>>>,
        usage: Option<Usage>,
        is_up: impl Fn(NodeId) -> bool,
    ) -> Self {
        let active = || {
            view.nodes
                .values()
                .filter(|node| node.state == NodeState::Active)
        };
        let with = |health: DriveHealth| -> BTreeSet<DriveId> {
            reports
                .values()
                .flatten()
                .flatten()
                .filter(|drive| drive.health == health)
                .map(|drive| drive.drive)
                .collect()
        };
        Self {
            view,
            nodes: view
                .nodes
                .values()
                .flat_map(|node| node.drives.iter().map(|drive| (drive.drive, node.node)))
                .collect(),
            away: active()
                .map(|node| node.node)
                .filter(|node| !is_up(*node))
                .collect(),
            retired: [
                with(DriveHealth::Retired),
                absent(view, reports),
                given_up(view, reports),
            ]
            .into_iter()
            .flatten()
            .collect(),
            absent: absent(view, reports),
            full: with(DriveHealth::Full),
            usage,
            work: Work::default(),
        }
    }

    /// Adds what is known of moves and repairs.
    pub(super) fn with_work(mut self, standing: &Standing, waiting: Option<(u64, u64)>) -> Self {
        self.work = Work {
            moving: standing.moving,
            to_move: standing.to_move,
            tickets: waiting.map(|(tickets, _)| tickets),
            reencodings: waiting.map(|(_, reencodings)| reencodings),
        };
        self
    }

    /// The answer.
    pub(super) fn redundancy(&self) -> v1::Redundancy {
        let usage = self.usage.unwrap_or_default();
        v1::Redundancy {
            tolerated_losses: self.tolerated(),
            writable: self.writable(),
            sentences: self.sentences(),
            narrowed_versions: usage.narrowed,
            under_protected_versions: usage.under_protected,
            fully_redundant: self.lacks().is_empty(),
            under_way: self.under_way(),
            repairs_waiting: self.work.tickets,
            reencodings_waiting: self.work.reencodings,
        }
    }

    /// How many more nodes may be lost with every object still readable; negative when some object
    /// may not be readable now.
    pub(super) fn tolerated(&self) -> i32 {
        let tolerated = self.metadata_tolerated().min(self.data_tolerated());
        if self.usage.is_some_and(|usage| usage.under_protected > 0) {
            // Such a version may have a single spare copy, and may have had it on a node that is
            // away.
            return tolerated.min(if self.away.is_empty() { 1 } else { 0 });
        }
        tolerated
    }

    /// The least over all groups of: voters that may still go with a majority left.
    pub(super) fn metadata_tolerated(&self) -> i32 {
        let group_margin = |voters: usize, up: usize| {
            let majority = voters / 2 + 1;
            count(up) - count(majority)
        };
        self.view
            .groups
            .values()
            .map(|group| group_margin(group.voters.len(), self.voters_up(&group.voters)))
            .min()
            .unwrap_or(-1)
    }

    fn voters_up(&self, voters: &[marram_types::ReplicaId]) -> usize {
        let up = self.view.nodes.values().filter(|node| {
            node.replica
                .is_some_and(|replica| voters.contains(&replica))
                && !self.away.contains(&node.node)
        });
        up.count()
    }

    /// The profiles in use: of buckets, and the default of the next one.
    fn profiles(&self) -> BTreeSet<Profile> {
        let of_buckets = self
            .view
            .buckets
            .values()
            .filter(|bucket| bucket.state != BucketState::Deleted)
            .flat_map(BucketRecord::profiles);
        let default = self.view.cluster.as_ref().and_then(|c| c.default_profile);
        of_buckets.chain(default).collect()
    }

    /// What objects of a profile are kept as, each with its pool: large ones as it says, small ones as whole
    /// copies in a pool of their own, or in that of the large ones where it was never made.
    fn kept_as(&self, profile: Profile) -> [(Profile, Option<&'a PoolTable>); 2] {
        let pool = |profile: Profile| self.view.pools.get(&pool_of(profile.width()));
        let copies = profile.as_copies();
        let small = pool(copies).or_else(|| pool(profile));
        [(profile, pool(profile)), (copies, small)]
    }

    /// The same for all profiles in use.
    fn all_kept_as(&self) -> impl Iterator<Item = (Profile, Option<&'a PoolTable>)> {
        let profiles = self.profiles().into_iter();
        profiles.flat_map(|profile| self.kept_as(profile))
    }

    /// The least over all placement groups and profiles in use.
    pub(super) fn data_tolerated(&self) -> i32 {
        let per_profile = self.all_kept_as().map(|(profile, table)| {
            table.map_or(0, |table| self.pool_tolerated(table, profile.m()))
        });
        per_profile.min().unwrap_or(i32::MAX)
    }

    /// The least over the rows of one pool: `m` shards of a row may be lost; those on nodes that
    /// are away are counted as lost already.
    fn pool_tolerated(&self, table: &PoolTable, m: usize) -> i32 {
        let row = |row: &PgRow| {
            // No extent uses a slot without a drive.
            let drives = row.drives.iter().copied();
            let drives = drives.filter(|drive| !drive.is_vacant());
            self.shards_tolerated(drives.map(Some), m)
        };
        table.rows.iter().map(row).min().unwrap_or(0)
    }

    /// The same for one extent, by where its shards are and which are missing.
    pub(super) fn extent_tolerated(&self, live: &LiveExtent) -> i32 {
        let places = live.extent.shards().map(|(shard, _)| {
            let place = live.places.get(usize::from(shard)).copied();
            place.filter(|_| !live.extent.is_missing(shard))
        });
        self.shards_tolerated(places, live.extent.profile.m())
    }

    /// How many nodes may be lost, whichever, so that no more than `m` of these shards are; negative
    /// when more are already.
    fn shards_tolerated(&self, places: impl Iterator<Item = Option<DriveId>>, m: usize) -> i32 {
        let mut shards: BTreeMap<NodeId, usize> = BTreeMap::new();
        let mut lost = 0;
        for drive in places {
            let home = drive.and_then(|drive| Some((drive, self.nodes.get(&drive)?)));
            match home {
                Some((drive, node)) if !self.is_lost(drive, *node) => {
                    *shards.entry(*node).or_default() += 1;
                }
                _ => lost += 1,
            }
        }
        if lost > m {
            return count(m) - count(lost);
        }
        let mut spare = m - lost;
        let mut most_first: Vec<usize> = shards.into_values().collect();
        most_first.sort_unstable_by(|a, b| b.cmp(a));
        let losses = most_first.into_iter().take_while(|shards| {
            let fits = *shards <= spare;
            spare = spare.saturating_sub(*shards);
            fits
        });
        count(losses.count())
    }

    /// Slots of placement groups that are read from a drive.
    fn slots_on(&self, drive: DriveId) -> usize {
        slots_of(self.view).filter(|of| *of == drive).count()
    }

    fn is_lost(&self, drive: DriveId, node: NodeId) -> bool {
        self.away.contains(&node) || self.retired.contains(&drive)
    }

    /// The profile that a new object of a bucket of `profile` gets in the best row there is now;
    /// nothing when it cannot be written.
    fn written_as(&self, profile: Profile, table: Option<&PoolTable>) -> Option<Profile> {
        table?
            .rows
            .iter()
            .filter_map(|row| {
                let living: Vec<bool> = row
                    .drives
                    .iter()
                    .map(|drive| self.takes_data(*drive))
                    .collect();
                narrow(profile, &living).ok()
            })
            .map(|shape| shape.profile)
            .max_by_key(|shape| shape.width())
    }

    fn takes_data(&self, drive: DriveId) -> bool {
        self.nodes
            .get(&drive)
            .filter(|node| {
                self.view
                    .nodes
                    .get(*node)
                    .is_some_and(|node| node.drive_takes_data(drive))
            })
            .is_some_and(|node| !self.is_lost(drive, *node) && !self.full.contains(&drive))
    }

    pub(super) fn writable(&self) -> bool {
        self.metadata_tolerated() >= 0
            && self
                .all_kept_as()
                .all(|(profile, table)| self.written_as(profile, table).is_some())
    }
}

/// Drives of members with what each node told, where it answers.
fn told<'a>(
    view: &'a ClusterView,
    reports: &'a BTreeMap<NodeId, Option<Vec<DriveReport>>>,
) -> impl Iterator<Item = (&'a DriveRecord, Option<&'a Vec<DriveReport>>)> {
    let members = view.nodes.values();
    let members = members.filter(|node| node.state == NodeState::Active);
    members.flat_map(|node| {
        let report = reports.get(&node.node).and_then(Option::as_ref);
        node.present_drives().map(move |held| (held, report))
    })
}

/// Drives that their node does not tell of though it answers.
fn absent(
    view: &ClusterView,
    reports: &BTreeMap<NodeId, Option<Vec<DriveReport>>>,
) -> BTreeSet<DriveId> {
    let absent = told(view, reports).filter(|(held, report)| {
        report.is_some_and(|report| report.iter().all(|one| one.drive != held.drive))
    });
    absent.map(|(held, _)| held.drive).collect()
}

/// Drives that nobody waits for any more.
fn given_up(
    view: &ClusterView,
    reports: &BTreeMap<NodeId, Option<Vec<DriveReport>>>,
) -> BTreeSet<DriveId> {
    let gone = told(view, reports).filter(|(held, _)| held.duty.is_gone());
    gone.map(|(held, _)| held.drive).collect()
}

fn count(n: usize) -> i32 {
    i32::try_from(n).unwrap_or(i32::MAX)
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
