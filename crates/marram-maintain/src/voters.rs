//! Who votes in the object groups: votes leave nodes that are drained, fenced, removed or given up, and
//! go to nodes that serve. Where a zone has more votes than it must, one goes to a zone with fewer, so
//! that no zone's loss costs more of them than zones allow.
//!
//! One change at a time and group, by the group's leader: the newcomer is written into the group's
//! record (its node opens the replica because of that), follows without a vote until its log is close
//! to the leader's, and gets the vote in the same joint change that takes another's. A leader that is
//! to lose its own vote hands over first. Every step is derived anew from what is there, so that
//! another leader goes on where one fell.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use marram_meta::{ClusterView, GroupRecord, NodeRecord, NodeState, RootCommand};
use marram_placement::{crowded_zone, relieves, voters_for, votes_in};
use marram_types::{GroupId, ReplicaId};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::consensus::{Consensus, ConsensusError};
use crate::fault::fault_point;
use crate::leaders::UpSince;
use crate::steps::promised_m;

/// How often leaders look.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Pause after something was done: the next step usually follows at once.
const AFTER_A_STEP: Duration = Duration::from_millis(100);
/// How long one step may take. One that takes longer is looked at anew: half a change is finished
/// before anything else.
const STEP_WITHIN: Duration = Duration::from_secs(10);
/// How long a hand-over that did not take is left alone.
const HAND_OVER_AGAIN_AFTER: Duration = Duration::from_secs(10);

/// A group as its leader sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// Who votes, in both halves of a change when one is under way.
    pub voters: Vec<ReplicaId>,
    /// Who votes once the change under way has ended.
    pub target: Vec<ReplicaId>,
    /// Who follows without a vote.
    pub learners: Vec<ReplicaId>,
    /// A change is under way.
    pub changing: bool,
    /// The present members are committed.
    pub committed: bool,
    /// Index of the entry that made them the members.
    pub at: u64,
    /// Replicas whose log is close to the leader's.
    pub close: Vec<ReplicaId>,
}

/// Changes of the members of the groups that this server leads.
#[async_trait::async_trait]
pub trait Membership: Consensus {
    /// A group's members when this server leads it, else none.
    fn standing(&self, group: GroupId) -> Option<Standing>;

    /// Lets a replica follow a group without a vote.
    async fn add_learner(&self, group: GroupId, replica: ReplicaId) -> Result<(), ConsensusError>;

    /// Takes a replica without a vote out of a group.
    async fn remove_learner(
        &self,
        group: GroupId,
        replica: ReplicaId,
    ) -> Result<(), ConsensusError>;

    /// Makes these, and only these, a group's voters; returns when they alone decide.
    async fn set_voters(
        &self,
        group: GroupId,
        voters: Vec<ReplicaId>,
    ) -> Result<(), ConsensusError>;
}

/// One thing to do for a group. Doing it twice does no harm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VoterStep {
    /// Make these the voters: a change, or the second half of one that a leader left behind.
    Vote(Vec<ReplicaId>),
    /// Write down who belongs to the group.
    Record(GroupRecord),
    /// Let this replica follow.
    Follow(ReplicaId),
    /// Take this learner out.
    Unfollow(ReplicaId),
    /// Hand leadership to this voter.
    HandOver(ReplicaId),
}

/// What a group's voters should become.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VoterPlan {
    /// Voters that keep their vote.
    pub keep: Vec<ReplicaId>,
    /// Voters that lose it.
    pub leave: Vec<ReplicaId>,
    /// Who may get a vote, best first; the first is the one that joins when a vote is missing.
    pub candidates: Vec<ReplicaId>,
    /// Votes that are missing.
    pub missing: usize,
}

impl VoterPlan {
    /// Who joins now: the best candidate that is up.
    fn joins(&self, up: &BTreeSet<ReplicaId>) -> Option<ReplicaId> {
        let mut able = self.candidates.iter().filter(|c| up.contains(c));
        able.next().copied().filter(|_| self.missing > 0)
    }
}

/// The member whose present replica this is. Past replicas are nobody's: they never return.
fn member(view: &ClusterView, replica: ReplicaId) -> Option<&NodeRecord> {
    let mut nodes = view.nodes.values();
    nodes.find(|n| n.state == NodeState::Active && n.replica == Some(replica))
}

/// Whether a replica may keep the vote that it has. A cordoned node keeps what it has.
pub(crate) fn keeps_vote(view: &ClusterView, replica: ReplicaId) -> bool {
    member(view, replica).is_some_and(NodeRecord::keeps_votes)
}

/// How many voters a group should have that `keep` voters keep and `candidates` may join
/// (rules.md 7).
pub(crate) fn voters_wanted(view: &ClusterView, keep: usize, candidates: usize) -> usize {
    let eligible = keep + candidates;
    voters_for(eligible, promised_m(view)).min(eligible)
}

/// The zone of a replica's node; that of one that is nobody's is the nameless one.
pub(crate) fn zone_of(view: &ClusterView, replica: ReplicaId) -> &str {
    member(view, replica).map_or("", |node| node.zone.as_str())
}

/// What should become of a group with these voters and learners. A vote is taken from a node that
/// serves only to give it to one in a zone with at least two votes less: an even number of voters is
/// no worse than the odd one below it.
#[must_use]
pub fn next_voters(
    view: &ClusterView,
    group: GroupId,
    voters: &[ReplicaId],
    learners: &[ReplicaId],
) -> VoterPlan {
    let (keep, leave): (Vec<_>, Vec<_>) = voters.iter().partition(|r| keeps_vote(view, **r));
    let joining = view.groups.get(&group).map_or(&[][..], |g| &g.joining);
    let mut candidates: Vec<_> = view
        .nodes
        .values()
        .filter(|n| n.takes_data())
        .filter_map(|n| n.replica.map(|r| (r, n)))
        .filter(|(r, _)| !voters.contains(r))
        .map(|(replica, node)| {
            let votes = view.groups.values().filter(|g| g.names(replica)).count();
            let begun = (learners.contains(&replica), joining.contains(&replica));
            // Groups that choose at the same moment should not all choose the same node.
            let turn = (replica.0 ^ u64::from(group.0)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let zone = votes_in(keep.iter().map(|r| zone_of(view, *r)), &node.zone);
            // Whoever has begun goes on.
            let rank = (!begun.0, !begun.1, zone, votes, turn, replica);
            (rank, replica)
        })
        .collect();
    candidates.sort_unstable();
    let missing = voters_wanted(view, keep.len(), candidates.len()).saturating_sub(keep.len());
    let plan = VoterPlan {
        keep,
        leave,
        candidates: candidates.into_iter().map(|(_, r)| r).collect(),
        missing,
    };
    match plan.missing == 0 && plan.leave.is_empty() {
        true => evened_out(view, group, plan),
        false => plan,
    }
}

/// Has one vote go from the zone with too many to one with too few, once nothing else is to do.
fn evened_out(view: &ClusterView, group: GroupId, mut plan: VoterPlan) -> VoterPlan {
    let zone = |r: &ReplicaId| zone_of(view, *r);
    let votes: Vec<_> = plan.keep.iter().map(zone).collect();
    let Some(from) = crowded_zone(&votes, plan.candidates.iter().map(zone)) else {
        return plan;
    };
    let most = votes_in(votes.iter().copied(), from);
    // The first in the record is to lead: its vote goes last.
    let recorded = view.groups.get(&group).map_or(&[][..], |g| &g.voters);
    let place = |r: &ReplicaId| recorded.iter().position(|known| known == r);
    let crowd = plan.keep.iter().copied().filter(|r| zone(r) == from);
    let Some(leaves) = crowd.max_by_key(|r| (place(r), *r)) else {
        return plan;
    };
    plan.keep.retain(|r| *r != leaves);
    plan.leave.push(leaves);
    plan.missing = 1;
    plan.candidates
        .retain(|r| relieves(most, votes_in(votes.iter().copied(), zone(r))));
    plan
}

/// The next step of an object group that `own` leads, none when there is nothing to do or something
/// to wait for. `up` are replicas that have answered for a while, `own` among them; `may_hand_over`
/// says that leadership was not handed on just now.
#[must_use]
pub fn next_step(
    view: &ClusterView,
    group: GroupId,
    own: ReplicaId,
    standing: &Standing,
    up: &BTreeSet<ReplicaId>,
    may_hand_over: bool,
) -> Option<VoterStep> {
    if standing.changing {
        return Some(VoterStep::Vote(standing.target.clone()));
    }
    let held = view.groups.get(&group).filter(|_| standing.committed)?;
    let plan = next_voters(view, group, &standing.voters, &standing.learners);
    let heir = plan.keep.iter().find(|r| **r != own && up.contains(r));
    if let Some(heir) = heir.filter(|_| may_hand_over && plan.leave.contains(&own)) {
        return Some(VoterStep::HandOver(*heir));
    }
    let joins = plan.joins(up);
    let record = record_of(held, standing, joins);
    if (&record.voters, &record.joining) != (&held.voters, &held.joining) {
        return Some(VoterStep::Record(record));
    }
    let idle = |l: &&ReplicaId| match joins {
        Some(joins) => **l != joins,
        None => plan.missing == 0 || !plan.candidates.contains(l),
    };
    if let Some(learner) = standing.learners.iter().find(idle) {
        return Some(VoterStep::Unfollow(*learner));
    }
    match joins {
        Some(replica) if !standing.learners.contains(&replica) => {
            return Some(VoterStep::Follow(replica));
        }
        Some(replica) if !standing.close.contains(&replica) => return None,
        // A vote that shall be replaced waits until somebody can take it.
        None if plan.missing > 0 => return None,
        _ => {}
    }
    change(&plan, own, standing, joins, up)
}

/// One vote goes, one comes: never two of a kind.
fn change(
    plan: &VoterPlan,
    own: ReplicaId,
    standing: &Standing,
    joins: Option<ReplicaId>,
    up: &BTreeSet<ReplicaId>,
) -> Option<VoterStep> {
    let leaves = plan.leave.iter().find(|r| **r != own);
    let mut voters = standing.voters.clone();
    voters.retain(|r| Some(r) != leaves);
    voters.extend(joins);
    let living = voters.iter().filter(|r| up.contains(r)).count();
    let changed = voters != standing.voters;
    (changed && living * 2 > voters.len()).then_some(VoterStep::Vote(voters))
}

/// The record of what is: known voters stay in their order, a new one takes the place of one that
/// left, so that a group whose first choice for leader has gone gets another.
fn record_of(held: &GroupRecord, standing: &Standing, joins: Option<ReplicaId>) -> GroupRecord {
    let new = |r: &&ReplicaId| !held.voters.contains(r);
    let mut new = standing.voters.iter().filter(new).copied();
    let stays = |r: ReplicaId| standing.voters.contains(&r).then_some(r);
    let mut voters: Vec<_> = held.voters.iter().map(|r| stays(*r)).collect();
    for place in voters.iter_mut().filter(|place| place.is_none()) {
        *place = new.next();
    }
    let mut joining: Vec<_> = standing.learners.iter().copied().chain(joins).collect();
    joining.sort_unstable();
    joining.dedup();
    GroupRecord {
        group: held.group,
        voters: voters.into_iter().flatten().chain(new).collect(),
        joining,
        at: standing.at.max(held.at),
    }
}

/// The root group's voters are the controller's affair. Here: its leader hands over before it loses
/// its vote, and replicas of nobody stop following.
#[must_use]
pub fn next_root_step(
    view: &ClusterView,
    own: ReplicaId,
    standing: &Standing,
    up: &BTreeSet<ReplicaId>,
    may_hand_over: bool,
) -> Option<VoterStep> {
    if standing.changing || !standing.committed {
        return None;
    }
    let heir = |r: &&ReplicaId| **r != own && up.contains(r) && keeps_vote(view, **r);
    if may_hand_over
        && member(view, own).is_some()
        && !keeps_vote(view, own)
        && let Some(heir) = standing.voters.iter().find(heir)
    {
        return Some(VoterStep::HandOver(*heir));
    }
    let nobody = |r: &&ReplicaId| is_past(view, **r);
    let gone = standing.learners.iter().find(nobody);
    gone.map(|r| VoterStep::Unfollow(*r))
}

/// A replica of a removed node, or one that its node has given up. One that the view does not know
/// yet is not past.
fn is_past(view: &ClusterView, replica: ReplicaId) -> bool {
    view.nodes.values().any(|n| {
        n.replicas_past.contains(&replica)
            || (n.state == NodeState::Tombstoned && n.replica == Some(replica))
    })
}

/// Runs until the view's sender is gone. Each server changes only the groups that it leads.
pub async fn keep_voters<C: Membership>(
    consensus: Arc<C>,
    view: watch::Receiver<Arc<ClusterView>>,
) {
    let mut up_since = UpSince::default();
    let mut handed: HashMap<GroupId, Instant> = HashMap::new();
    let mut pause = LOOK_EVERY;
    while view.has_changed().is_ok() {
        tokio::time::sleep(pause).await;
        let seen = view.borrow().clone();
        let now = Instant::now();
        up_since.look(consensus.as_ref(), &seen, now);
        let own = consensus.own_replica();
        let mut up = up_since.steady(now);
        up.insert(own);
        let todo = consensus.led_groups().into_iter().filter_map(|group| {
            let standing = consensus.standing(group)?;
            let rested = handed
                .get(&group)
                .is_none_or(|at| now.duration_since(*at) >= HAND_OVER_AGAIN_AFTER);
            let step = if group == GroupId::ROOT {
                next_root_step(&seen, own, &standing, &up, rested)
            } else {
                next_step(&seen, group, own, &standing, &up, rested)
            };
            step.map(|step| (group, step))
        });
        let todo: Vec<_> = todo.collect();
        for (group, step) in &todo {
            if matches!(step, VoterStep::HandOver(_)) {
                handed.insert(*group, now);
            }
        }
        let steps = todo.iter();
        let done = join_all(steps.map(|(group, step)| carry_out(consensus.as_ref(), *group, step)));
        let worked = !todo.is_empty() && done.await.iter().all(|done| *done);
        pause = if worked { AFTER_A_STEP } else { LOOK_EVERY };
    }
}

/// True when it was done.
async fn carry_out<C: Membership>(consensus: &C, group: GroupId, step: &VoterStep) -> bool {
    tracing::info!(%group, ?step, "the members of a group change");
    let doing = tokio::time::timeout(STEP_WITHIN, execute(consensus, group, step));
    match doing.await {
        Ok(Ok(())) => {
            match step {
                VoterStep::Follow(_) => fault_point("votes.follows"),
                VoterStep::Record(_) => fault_point("votes.recorded"),
                VoterStep::Vote(_) => fault_point("votes.changed"),
                VoterStep::Unfollow(_) | VoterStep::HandOver(_) => {}
            }
            true
        }
        Ok(Err(error)) => {
            tracing::info!(%group, ?step, %error, "a change of members failed and is tried again");
            false
        }
        Err(_) => {
            tracing::warn!(%group, ?step, "a change of members takes long and is looked at anew");
            false
        }
    }
}

async fn execute<C: Membership>(
    consensus: &C,
    group: GroupId,
    step: &VoterStep,
) -> Result<(), ConsensusError> {
    match step {
        VoterStep::Vote(voters) => consensus.set_voters(group, voters.clone()).await,
        VoterStep::Record(record) => {
            let command = RootCommand::UpdateGroup(record.clone());
            consensus.propose_root(command).await.map(drop)
        }
        VoterStep::Follow(replica) => consensus.add_learner(group, *replica).await,
        VoterStep::Unfollow(replica) => consensus.remove_learner(group, *replica).await,
        VoterStep::HandOver(to) => consensus.hand_over(group, *to).await,
    }
}

#[cfg(test)]
mod tests;
