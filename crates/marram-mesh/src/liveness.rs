//! Who answers: every known peer is asked every 300 ms.
//!
//! This is one observer's view: it decides whom to ask first and where to write, never whether data
//! moves. `words` is what it tells the others.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;
use marram_proto::mesh::v1::{PingRequest, RpcCode};
use marram_types::NodeId;
use parking_lot::Mutex;
use tokio_util::task::AbortOnDropHandle;

use crate::mesh::{Mesh, Shared};
use crate::rpc::{CallError, Ping, REMOVED};

/// Pause between two pings of a peer.
const PING_EVERY: Duration = Duration::from_millis(300);
/// Silence after which a peer counts as away.
const SILENCE_MAX: Duration = Duration::from_millis(1500);
/// Shortest time that a ping waits.
const PING_TIME_MIN: Duration = Duration::from_millis(200);
/// Pause before the second attempt after a connection broke.
const REDIAL_PAUSE: Duration = Duration::from_millis(30);

/// What a peer is to this node.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Liveness {
    /// It answers.
    Up,
    /// It refuses connections, was silent for 1.5 s, or has not answered yet.
    #[default]
    Away,
}

/// All peers as this node sees them; the node itself is not among them.
pub type LivenessView = Arc<BTreeMap<NodeId, Liveness>>;

/// When bytes came from a peer last, over any connection.
#[derive(Debug, Default)]
pub(crate) struct Heard(Mutex<Option<Instant>>);

impl Heard {
    pub(crate) fn now(&self) {
        *self.0.lock() = Some(Instant::now());
    }

    /// Whether anything came after `then`.
    pub(crate) fn since(&self, then: Instant) -> bool {
        self.0.lock().is_some_and(|at| at > then)
    }

    fn silence(&self) -> Option<Duration> {
        self.0.lock().map(|at| at.elapsed())
    }
}

/// One pinging task per peer.
#[derive(Default)]
pub(crate) struct Watchers(Mutex<BTreeMap<NodeId, AbortOnDropHandle<()>>>);

impl Watchers {
    /// Watches exactly these peers from now on.
    pub(crate) fn set(&self, shared: &Arc<Shared>, nodes: &[NodeId]) {
        let mut tasks = self.0.lock();
        tasks.retain(|node, _| nodes.contains(node));
        for node in nodes {
            tasks.entry(*node).or_insert_with(|| {
                let task = watch(Arc::downgrade(shared), *node);
                AbortOnDropHandle::new(shared.main.spawn(task))
            });
        }
        shared.words.keep(nodes, Instant::now());
        shared.removed.lock().retain(|node, _| nodes.contains(node));
        shared.liveness.send_if_modified(|view| {
            let stale = view.keys().any(|node| !nodes.contains(node));
            if stale {
                Arc::make_mut(view).retain(|node, _| nodes.contains(node));
            }
            stale
        });
    }

    pub(crate) fn clear(&self) {
        self.0.lock().clear();
    }
}

async fn watch(shared: Weak<Shared>, node: NodeId) {
    let mut now = Liveness::Away;
    loop {
        let Some(mesh) = shared.upgrade().map(Mesh::from_shared) else {
            return;
        };
        let seen = observe(&mesh, node).await;
        if seen != now {
            now = seen;
            tracing::info!(%node, state = ?now, "peer");
            if now == Liveness::Away {
                // Connections to a silent peer would retransmit for minutes.
                mesh.close_links(node);
                mesh.forget_told(node);
            }
        }
        mesh.record(node, now);
        drop(mesh);
        tokio::time::sleep(PING_EVERY).await;
    }
}

async fn observe(mesh: &Mesh, node: NodeId) -> Liveness {
    for attempt in 0..2 {
        let silence = mesh.heard(node).and_then(|h| h.silence());
        let limit = SILENCE_MAX
            .saturating_sub(silence.unwrap_or_default())
            .max(PING_TIME_MIN);
        let began = Instant::now();
        match mesh
            .call::<Ping>(node, PingRequest {}, Bytes::new(), limit)
            .await
        {
            Ok((pong, _)) => {
                mesh.pinged(node, began.elapsed(), &pong);
                mesh.was_told(node, false);
                return Liveness::Up;
            }
            Err(CallError::Failed(failure)) => {
                let removed = failure.code == RpcCode::Denied && failure.message == REMOVED;
                mesh.was_told(node, removed);
                return Liveness::Up;
            }
            Err(CallError::Deadline { .. }) => {
                let silence = mesh.heard(node).and_then(|h| h.silence());
                return if silence.is_some_and(|s| s < SILENCE_MAX) {
                    Liveness::Up
                } else {
                    Liveness::Away
                };
            }
            Err(_) if attempt == 0 => tokio::time::sleep(REDIAL_PAUSE).await,
            Err(_) => {}
        }
    }
    Liveness::Away
}
