//! Replicas of a group compare their state at the same index: `apply` is a function of state and
//! entry, so they must be equal byte for byte. The leader of each group asks; a group in which entries
//! are applied all the time is compared when it is quiet for a moment.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use marram_meta::ClusterView;
use marram_types::{GroupId, NodeId};
use tokio::sync::watch;

use crate::consensus::Consensus;

/// Attempts to find a group's replicas at the same index, each time it is looked at.
const TRIES: usize = 20;
/// Pause between them.
const TRY_AGAIN: Duration = Duration::from_millis(250);
/// How often a process that has just begun to lead looks for groups to compare.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What a replica says of its state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HashAnswer {
    /// Its hash at the index that was asked for.
    Hash(u64),
    /// It was at another index.
    Elsewhere,
    /// It does not answer.
    Silent,
}

/// What came of a comparison.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// So many replicas, the leader's included, have the same state.
    Equal(usize),
    /// These nodes' replicas have another state than the leader's.
    Different(Vec<NodeId>),
    /// No other replica was at the same index.
    Unknown,
}

/// The last comparison of a group that this server leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compared {
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// The index at which the states were compared.
    pub index: u64,
    /// What came of it.
    pub verdict: Verdict,
}

/// The seam to the replicas.
#[async_trait]
pub trait ReplicaStates: Send + Sync + 'static {
    /// The index that this server's replica of a group has applied.
    fn index(&self, group: GroupId) -> Option<u64>;

    /// The hash of a node's replica, this one's included, when it is at exactly this index.
    async fn hash_at(&self, node: NodeId, group: GroupId, index: u64) -> HashAnswer;

    /// This node.
    fn node(&self) -> Option<NodeId>;

    /// Milliseconds since 1970.
    fn now_ms(&self) -> u64;
}

/// What the last comparisons found, by group.
pub type Comparisons = Arc<Mutex<BTreeMap<GroupId, Compared>>>;

/// What the answers mean, the leader's own among them.
pub(super) fn judge(own: NodeId, answers: &[(NodeId, HashAnswer)]) -> Verdict {
    let is_own = |(node, answer): &(NodeId, HashAnswer)| match answer {
        HashAnswer::Hash(hash) if *node == own => Some(*hash),
        _ => None,
    };
    let Some(hash) = answers.iter().find_map(is_own) else {
        return Verdict::Unknown;
    };
    let differs = |(node, answer): &(NodeId, HashAnswer)| {
        matches!(answer, HashAnswer::Hash(other) if *other != hash).then_some(*node)
    };
    let different: Vec<NodeId> = answers.iter().filter_map(differs).collect();
    let equal = answers.iter();
    let equal = equal.filter(|(_, answer)| *answer == HashAnswer::Hash(hash));
    match (different.is_empty(), equal.count()) {
        (false, _) => Verdict::Different(different),
        (true, 0 | 1) => Verdict::Unknown,
        (true, equal) => Verdict::Equal(equal),
    }
}

/// Compares the groups that this server leads every `every`, until the view's sender is gone.
pub async fn compare_replicas<C: Consensus + 'static, R: ReplicaStates>(
    consensus: Arc<C>,
    replicas: Arc<R>,
    view: watch::Receiver<Arc<ClusterView>>,
    every: Duration,
    found: Comparisons,
) {
    let every_ms = u64::try_from(every.as_millis()).unwrap_or(u64::MAX);
    let began_ms = replicas.now_ms();
    let mut tried: BTreeMap<GroupId, u64> = BTreeMap::new();
    while view.has_changed().is_ok() {
        tokio::time::sleep(LOOK_EVERY).await;
        let led = consensus.led_groups();
        tried.retain(|group, _| led.contains(group));
        let locked = || found.lock().unwrap_or_else(PoisonError::into_inner);
        locked().retain(|group, _| led.contains(group));
        for group in led {
            let now_ms = replicas.now_ms();
            let since = tried.get(&group).copied().unwrap_or(began_ms);
            if now_ms.saturating_sub(since) < every_ms {
                tried.entry(group).or_insert(began_ms);
                continue;
            }
            tried.insert(group, now_ms);
            let nodes = members(&view.borrow(), group);
            if let Some(compared) = compare(replicas.as_ref(), group, &nodes).await {
                tell(group, &compared);
                locked().insert(group, compared);
            }
        }
    }
}

/// The nodes that vote in the group.
fn members(view: &ClusterView, group: GroupId) -> Vec<NodeId> {
    let Some(record) = view.groups.get(&group) else {
        return Vec::new();
    };
    let nodes = view.nodes.values();
    let members = nodes.filter(|n| n.replica.is_some_and(|r| record.voters.contains(&r)));
    members.map(|n| n.node).collect()
}

/// Compares one group, as often as it takes to meet at an index.
pub(super) async fn compare<R: ReplicaStates>(
    replicas: &R,
    group: GroupId,
    nodes: &[NodeId],
) -> Option<Compared> {
    let own = replicas.node()?;
    let mut last = None;
    for attempt in 0..TRIES {
        if attempt > 0 {
            tokio::time::sleep(TRY_AGAIN).await;
        }
        let index = replicas.index(group)?;
        let asked = nodes
            .iter()
            .map(|node| async move { (*node, replicas.hash_at(*node, group, index).await) });
        let answers = futures::future::join_all(asked).await;
        let verdict = judge(own, &answers);
        let all = answers.iter().all(|(_, a)| *a != HashAnswer::Elsewhere);
        let is_final = all || matches!(verdict, Verdict::Different(_));
        last = Some(Compared {
            at_ms: replicas.now_ms(),
            index,
            verdict,
        });
        if is_final {
            break;
        }
    }
    last
}

fn tell(group: GroupId, compared: &Compared) {
    let index = compared.index;
    match &compared.verdict {
        Verdict::Equal(replicas) => {
            tracing::debug!(target: "scrub", %group, index, replicas, "replicas have the same state");
        }
        Verdict::Different(nodes) => {
            tracing::error!(
                target: "scrub",
                %group,
                index,
                ?nodes,
                "REPLICAS OF A METADATA GROUP DIFFER at the same index: keep their drives, and do \
                 not let these nodes lead or be the last copy"
            );
        }
        Verdict::Unknown => {
            tracing::debug!(target: "scrub", %group, index, "no replica was at the same index");
        }
    }
}
