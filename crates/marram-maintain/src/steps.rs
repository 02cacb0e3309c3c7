//! From what is observed to the next steps: a pure function, so that every situation is a test.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use marram_meta::{
    BUCKET_ENDINGS_SINCE, BucketRecord, BucketState, ClusterView, DriveDuty, EVENTS_SINCE,
    GroupRecord, NodeRecord, NodeState, Quota, RootCommand, Tombstone,
};
use marram_placement::{
    DriveInfo, PgRow, PlanError, Topology, crowded_zone, deal_votes, default_profile, plan_pool,
    pool_of, relieves, voters_for, votes_in,
};
use marram_types::{BucketId, GroupId, NodeId, PoolId, Profile, ReplicaId};

use crate::observed::Observed;
use crate::voters::{keeps_vote, voters_wanted, zone_of};

/// Object groups start with this many nodes at the latest (rules.md 3).
const NODES_TO_START: usize = 5;
/// How long to wait for the rest of the expected nodes once enough are there.
const WAIT_FOR_THE_REST: Duration = Duration::from_secs(5);

/// One thing to do. Doing it twice does no harm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Let this replica follow the root group.
    AddRootLearner(ReplicaId),
    /// Make these the root group's voters.
    SetRootVoters(Vec<ReplicaId>),
    /// Let the root group decide something: the object groups, a pool, the default profile, who
    /// votes in the root group itself (written down for everybody who sees its view).
    Decide(RootCommand),
    /// Tell a group of rows of a pool.
    FenceRows {
        /// The group.
        group: GroupId,
        /// The pool.
        pool: PoolId,
        /// The rows, by index.
        rows: Vec<(u16, PgRow)>,
    },
    /// Tell a group of a bucket.
    FenceBucket {
        /// The group.
        group: GroupId,
        /// The root's record.
        record: BucketRecord,
    },
    /// Tell a group that a node is about to be removed, or not any more.
    TellTombstone {
        /// The group.
        group: GroupId,
        /// The root's record.
        tombstone: Tombstone,
    },
    /// Tell a group how it keeps events for those who watch.
    KeepEvents {
        /// The group.
        group: GroupId,
        /// How long, in milliseconds.
        for_ms: u64,
        /// How many bytes of them.
        bytes: u64,
    },
    /// Every group holds the pending record: the bucket is in use.
    BucketActive {
        /// The bucket.
        bucket: BucketId,
        /// The epoch that the groups hold.
        epoch: u64,
        /// The quota of which the root is to be told first what the groups hold, and the groups.
        quota: Option<(Quota, Vec<GroupId>)>,
    },
    /// Every group is sealed and has counted.
    BucketSealed {
        /// The bucket.
        bucket: BucketId,
        /// The epoch that the groups hold.
        epoch: u64,
        /// Something is left.
        nonempty: bool,
        /// The groups to tell when the bucket is gone.
        groups: Vec<GroupId>,
    },
    /// Every group is sealed and empty: the deletion is not taken back any more.
    BeginEnding {
        /// The bucket.
        bucket: BucketId,
        /// The epoch that the groups hold.
        epoch: u64,
    },
    /// Every group knows that the bucket is gone.
    EndBucket {
        /// The bucket.
        bucket: BucketId,
        /// The epoch that the groups hold.
        epoch: u64,
    },
}

/// What can be done now, all of it independent of each other. Empty when the cluster is as decided.
///
/// # Errors
/// When a pool cannot be planned.
pub fn next_steps(observed: &Observed<'_>) -> Result<Vec<Step>, PlanError> {
    if observed.view.cluster.is_none() {
        return Ok(Vec::new());
    }
    let mut steps = Vec::new();
    steps.extend(root_membership(observed));
    if observed.object_groups().next().is_none() {
        steps.extend(start_groups(observed));
        return Ok(steps);
    }
    steps.extend(record_root_voters(observed));
    steps.extend(default_profile_step(observed.view));
    steps.extend(missing_pools(observed.view)?);
    steps.extend(pool_fences(observed));
    steps.extend(tombstones(observed));
    steps.extend(events(observed));
    for record in observed
        .view
        .buckets
        .values()
        .filter(|b| b.state.is_pending())
    {
        steps.extend(bucket_steps(observed, record));
    }
    Ok(steps)
}

fn active_nodes(view: &ClusterView) -> impl Iterator<Item = &NodeRecord> {
    view.nodes.values().filter(|n| n.state == NodeState::Active)
}

/// Nodes that can hold replicas, by age.
fn members(view: &ClusterView) -> Vec<(NodeId, ReplicaId)> {
    active_nodes(view)
        .filter_map(|n| n.replica.map(|r| (n.node, r)))
        .collect()
}

/// The largest m that the cluster promises anywhere: the voters must survive as many losses
/// (rules.md 7).
pub(crate) fn promised_m(view: &ClusterView) -> usize {
    let default = view.cluster.as_ref().and_then(|c| c.default_profile);
    let of_buckets = view.buckets.values().flat_map(BucketRecord::profiles);
    let of_buckets = of_buckets.map(Profile::m);
    of_buckets.chain(default.map(Profile::m)).max().unwrap_or(0)
}

/// One change at a time: learners first, then voters once all that should vote follow.
fn root_membership(observed: &Observed<'_>) -> Option<Step> {
    let members = members(observed.view);
    let known: BTreeSet<ReplicaId> = observed
        .root
        .voters
        .iter()
        .chain(&observed.root.learners)
        .copied()
        .collect();
    let present: &[ReplicaId] = &observed.root.voters;
    if !observed.root.settled {
        // A leader went away between the two halves of a change: asking for the voters that are
        // there finishes it. Nobody else would.
        return Some(Step::SetRootVoters(present.to_vec()));
    }
    if let Some((_, replica)) = members.iter().find(|(_, r)| !known.contains(r)) {
        return Some(Step::AddRootLearner(*replica));
    }
    let mut keep: Vec<_> = present.to_vec();
    keep.retain(|r| keeps_vote(observed.view, *r));
    let candidates = active_nodes(observed.view)
        .filter(|n| n.takes_data())
        .filter_map(|n| n.replica)
        .filter(|r| !present.contains(r));
    let candidates: Vec<_> = candidates.collect();
    let count = voters_wanted(observed.view, keep.len(), candidates.len());
    // In zones with few votes, and of those who joined first: no voter changes when another node of
    // the same zones comes. Only those that follow and answer: a vote for a replica that never started
    // would weaken the group.
    let missing = count.saturating_sub(keep.len());
    let ready = |r: &ReplicaId| observed.root.following.contains(r) && observed.up.contains(r);
    let ready: Vec<_> = candidates.into_iter().filter(ready).collect();
    if missing == 0 && keep.len() == present.len() {
        return evened_out(observed, present, &ready);
    }
    let added = spread_over_zones(observed.view, &keep, ready, missing);
    // Votes are taken from nodes that give up what they have, once others can take them all.
    let takes = !keep.is_empty() && added.len() == missing;
    let stay = if takes { &keep[..] } else { present };
    let wanted: BTreeSet<_> = stay.iter().copied().chain(added).collect();
    let living = wanted.iter().filter(|r| observed.up.contains(r)).count();
    let changed = !wanted.iter().eq(present.iter().collect::<BTreeSet<_>>());
    (changed && living * 2 > wanted.len())
        .then(|| Step::SetRootVoters(wanted.into_iter().collect()))
}

/// The first `missing` of `ready`, each from the zone with fewest votes by then.
fn spread_over_zones(
    view: &ClusterView,
    keep: &[ReplicaId],
    mut ready: Vec<ReplicaId>,
    missing: usize,
) -> Vec<ReplicaId> {
    let mut votes: Vec<&str> = keep.iter().map(|r| zone_of(view, *r)).collect();
    let mut added = Vec::new();
    while added.len() < missing {
        let crowd = |r: &ReplicaId| votes_in(votes.iter().copied(), zone_of(view, *r));
        let Some(best) = (0..ready.len()).min_by_key(|place| crowd(&ready[*place])) else {
            break;
        };
        let chosen = ready.remove(best);
        votes.push(zone_of(view, chosen));
        added.push(chosen);
    }
    added
}

/// One vote from the zone with too many to one with too few, as in [`crate::next_voters`]. The
/// leader's own stays.
fn evened_out(observed: &Observed<'_>, present: &[ReplicaId], ready: &[ReplicaId]) -> Option<Step> {
    let zone = |r: &ReplicaId| zone_of(observed.view, *r);
    let votes: Vec<_> = present.iter().map(zone).collect();
    let from = crowded_zone(&votes, ready.iter().map(zone))?;
    let most = votes_in(votes.iter().copied(), from);
    let crowd = |r: &&ReplicaId| votes_in(votes.iter().copied(), zone(r));
    let better = { ready.iter() }.filter(|r| relieves(most, crowd(r)));
    let to = better.min_by_key(crowd)?;
    let leaves = present.iter().rev();
    let leaves = leaves
        .copied()
        .find(|r| *r != observed.own && zone(r) == from)?;
    let wanted: BTreeSet<_> = { present.iter().copied() }
        .filter(|r| *r != leaves)
        .chain([*to])
        .collect();
    let living = wanted.iter().filter(|r| observed.up.contains(r)).count();
    (living * 2 > wanted.len()).then(|| Step::SetRootVoters(wanted.into_iter().collect()))
}

fn record_root_voters(observed: &Observed<'_>) -> Option<Step> {
    let recorded = observed.view.groups.get(&GroupId::ROOT);
    let voters = &observed.root.voters;
    let differs = recorded.is_none_or(|record| record.voters != *voters);
    (observed.root.settled && differs).then(|| {
        let record = GroupRecord::new(GroupId::ROOT, voters.clone());
        Step::Decide(RootCommand::UpdateGroup(record))
    })
}

fn start_groups(observed: &Observed<'_>) -> Option<Step> {
    let cluster = observed.view.cluster.as_ref()?;
    let members = members(observed.view);
    let expected = usize::from(cluster.expected_nodes);
    let all_here = members.len() >= expected;
    let enough =
        members.len() >= expected.min(NODES_TO_START) && observed.quiet > WAIT_FOR_THE_REST;
    // Groups are made of replicas that run: one that never started could not be told from a loss.
    let all_run = members
        .iter()
        .all(|(_, r)| observed.root.following.contains(r));
    if members.is_empty() || !all_run || !(all_here || enough) {
        return None;
    }
    let replicas: BTreeMap<NodeId, ReplicaId> = members.into_iter().collect();
    let electors = active_nodes(observed.view).filter(|n| replicas.contains_key(&n.node));
    let electors: Vec<_> = electors.map(|n| (n.node, n.zone.as_str())).collect();
    let default = planned_default(observed.view);
    let count = voters_for(electors.len(), default.m());
    let dealt = deal_votes(cluster.object_groups, &electors, count);
    let groups = (1..=cluster.object_groups)
        .zip(dealt)
        .map(|(group, nodes)| {
            let voters = nodes.iter().map(|node| replicas[node]);
            GroupRecord::new(GroupId(group), voters.collect())
        })
        .collect();
    Some(Step::Decide(RootCommand::CreateGroups(groups)))
}

fn topology(view: &ClusterView) -> Topology {
    let drives = active_nodes(view)
        .flat_map(|node| {
            let serving = node.drives.iter();
            let serving = serving.filter(|drive| drive.duty == DriveDuty::Serving);
            serving.map(|drive| DriveInfo {
                drive: drive.drive,
                node: node.node,
                zone: node.zone.clone(),
                weight: drive.capacity,
            })
        })
        .collect();
    Topology { drives }
}

fn planned_default(view: &ClusterView) -> Profile {
    let topology = topology(view);
    default_profile(topology.node_count(), topology.fewest_drives_of_a_node())
}

fn default_profile_step(view: &ClusterView) -> Option<Step> {
    let unset = view.cluster.as_ref()?.default_profile.is_none();
    unset.then(|| Step::Decide(RootCommand::SetDefaultProfile(planned_default(view))))
}

/// Each profile in use needs a pool of its width and one for whole copies.
fn missing_pools(view: &ClusterView) -> Result<Vec<Step>, PlanError> {
    let default = view.cluster.as_ref().and_then(|c| c.default_profile);
    let of_buckets = view.buckets.values().flat_map(BucketRecord::profiles);
    let profiles = of_buckets.chain(default);
    let widths: BTreeSet<usize> = profiles
        .flat_map(|p| [p.width(), p.as_copies().width()])
        .collect();
    let topology = topology(view);
    widths
        .into_iter()
        .filter(|width| !view.pools.contains_key(&pool_of(*width)))
        .map(|width| {
            plan_pool(&topology, width)
                .map(RootCommand::CreatePool)
                .map(Step::Decide)
        })
        .collect()
}

fn pool_fences(observed: &Observed<'_>) -> Vec<Step> {
    let mut steps = Vec::new();
    for (pool, table) in &observed.view.pools {
        for group in observed.object_groups() {
            let rows = observed.fences.missing_rows(group, table);
            if !rows.is_empty() {
                steps.push(Step::FenceRows {
                    group,
                    pool: *pool,
                    rows,
                });
            }
        }
    }
    steps
}

/// Groups are told before the node goes; when it is gone, all of them were (rules.md 25).
fn tombstones(observed: &Observed<'_>) -> Vec<Step> {
    let is_member = |stone: &&Tombstone| {
        let node = observed.view.nodes.get(&stone.node);
        node.is_some_and(|node| node.state == NodeState::Active)
    };
    let stones = observed.view.tombstones.values().filter(is_member);
    let tell = |stone: &Tombstone| {
        let untold = |group: &GroupId| !observed.fences.has_tombstone(*group, stone);
        let step = |group| Step::TellTombstone {
            group,
            tombstone: stone.clone(),
        };
        observed.object_groups().filter(untold).map(step).collect()
    };
    stones.map(tell).collect::<Vec<Vec<Step>>>().concat()
}

/// Groups keep events from the version on that brought them (rules.md 9); what all groups may keep is
/// shared among them.
fn events(observed: &Observed<'_>) -> Vec<Step> {
    let cluster = observed.view.cluster.as_ref();
    let Some(cluster) = cluster.filter(|cluster| cluster.version >= EVENTS_SINCE) else {
        return Vec::new();
    };
    let for_ms = observed.events.for_ms;
    let bytes = observed.events.bytes / u64::from(cluster.object_groups.max(1));
    observed
        .object_groups()
        .filter(|group| !observed.fences.keeps_events(*group, for_ms, bytes))
        .map(|group| Step::KeepEvents {
            group,
            for_ms,
            bytes,
        })
        .collect()
}

fn bucket_steps(observed: &Observed<'_>, record: &BucketRecord) -> Vec<Step> {
    let goes = matches!(record.state, BucketState::Deleting | BucketState::Deleted);
    let mut profiles = record.profiles();
    if !goes && !profiles.all(|profile| pools_ready(observed, profile)) {
        return Vec::new();
    }
    let counted = |group: GroupId| {
        observed
            .fences
            .live(group, record.bucket, record.epoch, record.state)
    };
    let missing: Vec<Step> = observed
        .object_groups()
        .filter(|group| counted(*group).is_none())
        .map(|group| Step::FenceBucket {
            group,
            record: record.clone(),
        })
        .collect();
    if !missing.is_empty() {
        return missing;
    }
    let (bucket, epoch) = (record.bucket, record.epoch);
    if record.state == BucketState::Deleted {
        return vec![Step::EndBucket { bucket, epoch }];
    }
    if record.state == BucketState::Deleting {
        let nonempty = observed
            .object_groups()
            .filter_map(counted)
            .any(|live| live > 0);
        let version = observed.view.cluster.as_ref().map_or(0, |c| c.version);
        if !nonempty && version >= BUCKET_ENDINGS_SINCE {
            return vec![Step::BeginEnding { bucket, epoch }];
        }
        let groups = observed.object_groups().collect();
        return vec![Step::BucketSealed {
            bucket,
            epoch,
            nonempty,
            groups,
        }];
    }
    let quota = record.quota;
    let quota = quota.map(|quota| (quota, observed.object_groups().collect()));
    vec![Step::BucketActive {
        bucket,
        epoch,
        quota,
    }]
}

/// A bucket is not in use before every group knows the pools that its objects go to.
fn pools_ready(observed: &Observed<'_>, profile: Profile) -> bool {
    [profile.width(), profile.as_copies().width()]
        .into_iter()
        .all(|width| {
            let pool = pool_of(width);
            observed.view.pools.get(&pool).is_some_and(|table| {
                observed
                    .object_groups()
                    .all(|g| observed.fences.missing_rows(g, table).is_empty())
            })
        })
}

#[cfg(test)]
mod tests;
