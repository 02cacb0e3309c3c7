//! Hands leadership to each group's first choice, so that the groups' work is spread over the nodes.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use marram_meta::ClusterView;
use marram_types::{GroupId, ReplicaId};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::consensus::Consensus;
use crate::voters::keeps_vote;

/// How often leaders look.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long the first choice must have been up: a node that comes and goes gets no leadership.
const STEADY: Duration = Duration::from_secs(3);
/// How long a hand-over that did not take is left alone.
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(10);

/// Since when replicas have answered.
#[derive(Debug, Default)]
pub(crate) struct UpSince(HashMap<ReplicaId, Instant>);

impl UpSince {
    /// Looks who answers now.
    pub(crate) fn look<C: Consensus>(&mut self, consensus: &C, view: &ClusterView, now: Instant) {
        for replica in view.nodes.values().filter_map(|n| n.replica) {
            if consensus.is_up(replica) {
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

/// Runs until the view's sender is gone. Each server hands over only what it leads itself, one
/// group at a time, so that no two decisions can cross.
pub async fn spread_leaders<C: Consensus>(
    consensus: Arc<C>,
    view: watch::Receiver<Arc<ClusterView>>,
) {
    let mut up_since = UpSince::default();
    let mut tried: HashMap<GroupId, Instant> = HashMap::new();
    while view.has_changed().is_ok() {
        tokio::time::sleep(LOOK_EVERY).await;
        let seen = view.borrow().clone();
        let now = Instant::now();
        up_since.look(consensus.as_ref(), &seen, now);
        let steady = up_since.steady(now);
        let rested = |group: &GroupId| {
            tried
                .get(group)
                .is_none_or(|at| now.duration_since(*at) >= TRY_AGAIN_AFTER)
        };
        let own = consensus.own_replica();
        let next = consensus.led_groups().into_iter().find_map(|group| {
            let mut voters = seen.groups.get(&group)?.voters.iter();
            // Whoever is to lose its vote has handed over, or is about to.
            let choice = *voters.find(|r| keeps_vote(&seen, **r))?;
            (choice != own && steady.contains(&choice) && rested(&group)).then_some((group, choice))
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
