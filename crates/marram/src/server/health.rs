//! How the nodes are, between peers: what this node says of the others, what the root group's leader made
//! of everybody's word, and leaderships that are handed on.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use marram_maintain::{Witnesses, Word, hand_over_all};
use marram_mesh::{ClusterHealth as AskHealth, Mesh, RpcFailure, Witness};
use marram_meta::ClusterView;
use marram_proto::mesh::v1 as wire;
use marram_raft::Router;
use marram_types::{ClusterHealth, GroupId, Health, MaintainWork, NodeHealth, NodeId};
use tokio::sync::watch;

use super::lifetime::now_ms;
use super::local::Local;
use super::view::node_of;

/// How long a peer may take to say what it sees. One that takes longer is not heard this time.
const ANSWER_WITHIN: Duration = Duration::from_millis(900);
/// How often a server without a replica of the root group asks.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// Without an answer for so long nothing is known.
const STALE_AFTER: Duration = Duration::from_secs(5);
/// How long handing all leaderships over may take: what is left then is left to an election.
pub(super) const HAND_OVER_WITHIN: Duration = Duration::from_secs(2);

/// What all nodes say, through the mesh.
pub(super) struct MeshWitnesses {
    mesh: Mesh,
    router: Arc<Router>,
    view: watch::Receiver<Arc<ClusterView>>,
}

impl MeshWitnesses {
    pub(super) fn new(
        mesh: Mesh,
        router: Arc<Router>,
        view: watch::Receiver<Arc<ClusterView>>,
    ) -> Self {
        Self { mesh, router, view }
    }
}

#[async_trait]
impl Witnesses for MeshWitnesses {
    fn own(&self) -> Option<(NodeId, BTreeMap<NodeId, Word>)> {
        Some((self.mesh.node()?, words_of(&own_words(&self.mesh))))
    }

    async fn ask(&self, node: NodeId) -> Option<BTreeMap<NodeId, Word>> {
        let request = wire::WitnessRequest {};
        let call = self
            .mesh
            .call::<Witness>(node, request, Bytes::new(), ANSWER_WITHIN);
        match call.await {
            Ok((answer, _)) => Some(words_of(&answer)),
            Err(error) => {
                tracing::debug!(%node, %error, "a node does not say what it sees");
                None
            }
        }
    }

    async fn of_leader(&self) -> Option<ClusterHealth> {
        let replica = self.router.leader(GroupId::ROOT)?;
        let leader = node_of(&self.view.borrow(), replica)?;
        let request = wire::ClusterHealthRequest {};
        let call = self
            .mesh
            .call::<AskHealth>(leader, request, Bytes::new(), ANSWER_WITHIN);
        match call.await {
            Ok((answer, _)) => Some(from_wire(answer)),
            Err(error) => {
                tracing::debug!(%leader, %error, "the leader does not say how the nodes are");
                None
            }
        }
    }

    fn clocks(&self) -> BTreeMap<NodeId, i64> {
        let words = self.mesh.words().into_iter();
        words
            .filter_map(|word| Some((word.node, word.clock_ahead_ms?)))
            .collect()
    }

    fn now_ms(&self) -> u64 {
        now_ms()
    }
}

/// What this node says of its peers.
pub(super) fn own_words(mesh: &Mesh) -> wire::WitnessResponse {
    let words = mesh.words().into_iter().map(|word| wire::PeerWord {
        node: word.node.0,
        answers: word.answers,
        steady: word.steady,
        for_ms: u64::try_from(word.since.as_millis()).unwrap_or(u64::MAX),
        lapses: word.lapses,
        slowness_permille: word.slowness_permille,
    });
    wire::WitnessResponse {
        words: words.collect(),
    }
}

fn words_of(said: &wire::WitnessResponse) -> BTreeMap<NodeId, Word> {
    let word = |word: &wire::PeerWord| {
        let said = Word {
            answers: word.answers,
            steady: word.steady,
            for_ms: word.for_ms,
            slowness_permille: word.slowness_permille,
        };
        (NodeId(word.node), said)
    };
    said.words.iter().map(word).collect()
}

/// What the leader of the root group says; another server names the leader instead.
pub(super) fn answer(
    local: &Local,
    health: &watch::Receiver<Arc<ClusterHealth>>,
) -> Result<wire::ClusterHealthResponse, RpcFailure> {
    if marram_maintain::Consensus::root_if_leading(local).is_none() {
        let leader = local.host.leader(GroupId::ROOT);
        return Err(RpcFailure::not_leader(leader.map(|l| l.0)));
    }
    Ok(to_wire(&health.borrow()))
}

fn to_wire(health: &ClusterHealth) -> wire::ClusterHealthResponse {
    let node = |(node, seen): (&NodeId, &NodeHealth)| wire::NodeHealth {
        node: node.0,
        health: match seen.health {
            Health::Unknown => wire::Health::Unspecified,
            Health::Up => wire::Health::Up,
            Health::Slow => wire::Health::Slow,
            Health::Suspect => wire::Health::Suspect,
            Health::Dead => wire::Health::Dead,
        }
        .into(),
        for_ms: seen.for_ms,
        words: seen.words,
        unreached: seen.unreached,
        slowness_permille: seen.slowness_permille,
        clock_ahead_ms: seen.clock_ahead_ms,
    };
    let work = health.work;
    wire::ClusterHealthResponse {
        nodes: health.nodes.iter().map(node).collect(),
        notes: health.notes.clone(),
        work: Some(wire::MaintainWork {
            under_way: work.under_way,
            waiting: work.waiting,
            to_go: work.to_go,
            unplaced: work.unplaced,
            tickets: work.tickets,
            written_bytes: work.written_bytes,
            for_ms: work.for_ms,
            most: work.most,
            written_per_s: work.written_per_s,
            repaired: work.repaired,
            tickets_for_ms: work.tickets_for_ms,
            tickets_most: work.tickets_most,
        }),
        grace_ms: health.grace_ms,
        urgent_ms: health.urgent_ms,
    }
}

fn from_wire(answer: wire::ClusterHealthResponse) -> ClusterHealth {
    let node = |seen: &wire::NodeHealth| {
        let health = NodeHealth {
            health: match seen.health() {
                wire::Health::Unspecified => Health::Unknown,
                wire::Health::Up => Health::Up,
                wire::Health::Slow => Health::Slow,
                wire::Health::Suspect => Health::Suspect,
                wire::Health::Dead => Health::Dead,
            },
            for_ms: seen.for_ms,
            words: seen.words,
            unreached: seen.unreached,
            slowness_permille: seen.slowness_permille,
            clock_ahead_ms: seen.clock_ahead_ms,
        };
        (NodeId(seen.node), health)
    };
    let work = answer.work.unwrap_or_default();
    ClusterHealth {
        nodes: answer.nodes.iter().map(node).collect(),
        work: MaintainWork {
            under_way: work.under_way,
            waiting: work.waiting,
            to_go: work.to_go,
            unplaced: work.unplaced,
            tickets: work.tickets,
            written_bytes: work.written_bytes,
            for_ms: work.for_ms,
            most: work.most,
            written_per_s: work.written_per_s,
            repaired: work.repaired,
            tickets_for_ms: work.tickets_for_ms,
            tickets_most: work.tickets_most,
        },
        notes: answer.notes,
        grace_ms: answer.grace_ms,
        urgent_ms: answer.urgent_ms,
    }
}

/// Hands over what this server leads, because a peer asks for it.
pub(super) async fn hand_over(local: &Local) -> wire::HandOverResponse {
    let view = local.view.borrow().clone();
    let done = hand_over_all(local, &view, HAND_OVER_WITHIN).await;
    let numbers = |groups: Vec<GroupId>| groups.into_iter().map(|g| u32::from(g.0)).collect();
    wire::HandOverResponse {
        handed: numbers(done.handed),
        kept: numbers(done.kept),
    }
}

/// Learns how the nodes are, for a server without a replica of the root group.
pub(super) async fn follow(witnesses: MeshWitnesses, health: watch::Sender<Arc<ClusterHealth>>) {
    let mut heard = Instant::now();
    loop {
        tokio::time::sleep(ASK_EVERY).await;
        if let Some(known) = witnesses.of_leader().await {
            heard = Instant::now();
            health.send_replace(Arc::new(known));
        } else if heard.elapsed() >= STALE_AFTER {
            health.send_replace(Arc::default());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_leader_says_arrives_as_it_was_said() {
        let all = [
            Health::Unknown,
            Health::Up,
            Health::Slow,
            Health::Suspect,
            Health::Dead,
        ];
        let nodes = (1..).map(NodeId).zip(all).map(|(node, health)| {
            let seen = NodeHealth {
                health,
                for_ms: node.0 * 10,
                words: 5,
                unreached: 2,
                slowness_permille: 9,
                clock_ahead_ms: -600_000,
            };
            (node, seen)
        });
        let health = ClusterHealth {
            nodes: nodes.collect(),
            notes: vec!["node-3 does not come back.".to_owned()],
            work: MaintainWork {
                under_way: 1,
                waiting: 2,
                to_go: 3,
                unplaced: 4,
                tickets: 5,
                written_bytes: 6,
                for_ms: 7,
                most: 8,
                written_per_s: 9,
                repaired: 10,
                tickets_for_ms: 11,
                tickets_most: 12,
            },
            grace_ms: 600_000,
            urgent_ms: 30_000,
        };
        assert_eq!(from_wire(to_wire(&health)), health);
    }
}
