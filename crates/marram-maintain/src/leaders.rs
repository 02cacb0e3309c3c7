//! Who leads: each group's first choice where it can, so that the groups' work is spread over the nodes,
//! and nobody who is about to stop, is asked not to, or is slow: all that a group does waits for its leader.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use marram_meta::ClusterView;
use marram_types::{GroupId, ReplicaId};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::consensus::Consensus;
use crate::voters::keeps_vote;

/// How often leaders look.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long the first choice must have been up: a node that comes and goes gets no leadership. And how
/// long a group must have been led before it is handed on, so that nobody hands back what he was just
/// handed.
const STEADY: Duration = Duration::from_secs(3);
/// How long a hand-over that did not take is left alone.
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(10);
/// The same where all leaderships are to go: another voter is asked then.
const ASK_ANOTHER_AFTER: Duration = Duration::from_millis(400);
/// How often it is looked whether a hand-over took.
const TAKEN_EVERY: Duration = Duration::from_millis(5);
/// How long this server tries, each time it finds that it leads what it should not.
const HAND_OVER_WITHIN: Duration = Duration::from_secs(2);

/// Since when replicas have answered.
#[derive(Debug, Default)]
pub(crate) struct UpSince(HashMap<ReplicaId, Instant>);

impl UpSince {
    /// Looks who answers now.
    pub(crate) fn look<C: Consensus>(&mut self, consensus: &C, view: &ClusterView, now: Instant) {
        self.look_for(view, now, |replica| consensus.is_up(replica));
    }

    fn look_for(&mut self, view: &ClusterView, now: Instant, is_so: impl Fn(ReplicaId) -> bool) {
        for replica in view.nodes.values().filter_map(|n| n.replica) {
            if is_so(replica) {
                self.0.entry(replica).or_insert(now);
            } else {
                self.0.remove(&replica);
            }
        }
    }

    /// Those who have answered for a while.
    pub(crate) fn steady(&self, now: Instant) -> BTreeSet<ReplicaId> {
        let steady = |since: &Instant| now.duration_since(*since) >= STEADY;
        let found = self.0.iter().filter(|(_, since)| steady(since));
        found.map(|(replica, _)| *replica).collect()
    }
}

/// Whether the node of a replica is not asked to leave leading to others.
fn is_asked_to_lead(view: &ClusterView, replica: ReplicaId) -> bool {
    let mut nodes = view.nodes.values();
    let node = nodes.find(|n| n.replica == Some(replica));
    node.is_some_and(|n| !n.absence.leads_not())
}

/// Voters that may take a group over, in the order of its record.
fn heirs(
    view: &ClusterView,
    group: GroupId,
    own: ReplicaId,
    may_lead: impl Fn(ReplicaId) -> bool,
) -> Vec<ReplicaId> {
    let voters = view.groups.get(&group).map_or(&[][..], |g| &g.voters);
    let able = voters.iter().copied().filter(|replica| {
        *replica != own
            && keeps_vote(view, *replica)
            && is_asked_to_lead(view, *replica)
            && may_lead(*replica)
    });
    able.collect()
}

/// Runs until the view's sender is gone. Each server hands over only what it leads itself, one
/// group at a time, so that no two decisions can cross; all of it when it is asked not to lead or is slow.
pub async fn spread_leaders<C: Consensus>(
    consensus: Arc<C>,
    view: watch::Receiver<Arc<ClusterView>>,
) {
    let mut up_since = UpSince::default();
    let mut tried: HashMap<GroupId, Instant> = HashMap::new();
    let mut led_since: HashMap<GroupId, Instant> = HashMap::new();
    while view.has_changed().is_ok() {
        tokio::time::sleep(LOOK_EVERY).await;
        let seen = view.borrow().clone();
        let own = consensus.own_replica();
        let led = consensus.led_groups();
        let spared = !is_asked_to_lead(&seen, own) || consensus.is_slow(own);
        if !led.is_empty() && spared && keeps_vote(&seen, own) {
            hand_over_all(consensus.as_ref(), &seen, HAND_OVER_WITHIN).await;
            continue;
        }
        let now = Instant::now();
        up_since.look_for(&seen, now, |replica| consensus.may_lead(replica));
        let steady = up_since.steady(now);
        led_since.retain(|group, _| led.contains(group));
        let rested = |group: &GroupId, led_since: &mut HashMap<GroupId, Instant>| {
            let since = *led_since.entry(*group).or_insert(now);
            let tried = tried.get(group);
            now.duration_since(since) >= STEADY
                && tried.is_none_or(|at| now.duration_since(*at) >= TRY_AGAIN_AFTER)
        };
        let next = led.into_iter().find_map(|group| {
            if !rested(&group, &mut led_since) {
                return None;
            }
            let mut voters = seen.groups.get(&group)?.voters.iter();
            // Whoever is to lose its vote has handed over, or is about to.
            let choice =
                *voters.find(|r| keeps_vote(&seen, **r) && is_asked_to_lead(&seen, **r))?;
            (choice != own && steady.contains(&choice)).then_some((group, choice))
        });
        if let Some((group, choice)) = next {
            tried.insert(group, now);
            tracing::info!(%group, replica = %choice, "leadership goes to the group's first choice");
            if let Err(error) = consensus.hand_over(group, choice).await {
                tracing::info!(%group, %error, "the hand-over did not take");
            }
        }
    }
}

/// What became of leaderships that were to be handed over.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HandedOver {
    /// Others lead them.
    pub handed: Vec<GroupId>,
    /// This server still leads them: no other voter could take them in time.
    pub kept: Vec<GroupId>,
}

/// Hands all leaderships of this server over, side by side, and waits until others have them or the time
/// is over. A voter that does not take a group is left for the next one.
pub async fn hand_over_all<C: Consensus>(
    consensus: &C,
    view: &ClusterView,
    within: Duration,
) -> HandedOver {
    let own = consensus.own_replica();
    let deadline = Instant::now() + within;
    let mut all: BTreeSet<GroupId> = BTreeSet::new();
    let mut asked: HashMap<GroupId, (Instant, usize)> = HashMap::new();
    let kept = loop {
        let led = consensus.led_groups();
        all.extend(led.iter().copied());
        let now = Instant::now();
        let candidates = |group| heirs(view, group, own, |replica| consensus.may_lead(replica));
        let hopeless = led.iter().all(|group| candidates(*group).is_empty());
        if led.is_empty() || now >= deadline || hopeless {
            break led;
        }
        let mut asks = Vec::new();
        for group in led {
            let (at, attempts) = asked.get(&group).copied().unwrap_or((now, 0));
            let heirs = candidates(group);
            if heirs.is_empty() || (attempts > 0 && now.duration_since(at) < ASK_ANOTHER_AFTER) {
                continue;
            }
            // Not all groups at one heir.
            let heir = heirs[(usize::from(group.0) + attempts) % heirs.len()];
            asked.insert(group, (now, attempts + 1));
            asks.push(async move { (group, heir, consensus.hand_over(group, heir).await) });
        }
        for (group, heir, done) in join_all(asks).await {
            match done {
                Ok(()) => tracing::info!(%group, replica = %heir, "leadership is handed over"),
                Err(error) => tracing::info!(%group, %error, "the hand-over did not take"),
            }
        }
        tokio::time::sleep(TAKEN_EVERY).await;
    };
    HandedOver {
        handed: all.into_iter().filter(|g| !kept.contains(g)).collect(),
        kept,
    }
}

#[cfg(test)]
mod tests;
