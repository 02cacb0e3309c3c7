//! Whether this process can serve what a client will ask here. It is asked of the process for itself:
//! what no server could do does not make all of them unready, because clients would then find none that
//! tells them why.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use marram_mesh::Mesh;
use marram_meta::{ClusterView, NodeDuty, NodeState};
use marram_metrics::catalogue::READY;
use marram_metrics::{Condition, Sheet, Source, Verdict};
use marram_types::{GroupId, NodeId, ReplicaId};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// How often it is judged; what begins or ends is told at once.
const JUDGE_EVERY: Duration = Duration::from_millis(250);

/// Where in its life a process is.
#[derive(Default)]
enum Phase {
    /// It opens what it has.
    #[default]
    Starting,
    /// It is no member yet, and why.
    Joining(String),
    /// It serves, as far as these allow it.
    Serving(Facts),
    /// It was told to stop.
    Stopping,
}

/// What readiness is judged by while a process serves.
pub(in crate::server) struct Facts {
    /// The cluster as it is known here.
    pub view: watch::Receiver<Arc<ClusterView>>,
    /// Who answers.
    pub mesh: Mesh,
    /// The name of this process.
    pub name: String,
}

/// Whether this process is ready.
#[derive(Default)]
pub(in crate::server) struct Readiness {
    phase: Mutex<Phase>,
    told: watch::Sender<Arc<Verdict>>,
}

impl Readiness {
    /// The verdict, whenever it changes.
    pub(in crate::server) fn subscribe(&self) -> watch::Receiver<Arc<Verdict>> {
        self.told.subscribe()
    }

    /// It is no member yet.
    pub(in crate::server) fn joining(&self, why: impl Into<String>) {
        self.enter(Phase::Joining(why.into()));
    }

    /// It begins to serve.
    pub(in crate::server) fn serving(&self, facts: Facts) {
        self.enter(Phase::Serving(facts));
    }

    /// It was told to stop.
    pub(in crate::server) fn stopping(&self) {
        self.enter(Phase::Stopping);
    }

    /// Tells when the process is told to stop.
    pub(in crate::server) async fn stop_with(self: Arc<Self>, stop: CancellationToken) {
        stop.cancelled().await;
        self.stopping();
    }

    fn enter(&self, next: Phase) {
        {
            let mut phase = self.phase.lock();
            // Nothing comes after the order to stop.
            if !matches!(*phase, Phase::Stopping) {
                *phase = next;
            }
        }
        self.judge();
    }

    fn judge(&self) {
        let conditions = match &*self.phase.lock() {
            Phase::Starting => vec![Condition::bad("member", "starting: the drives are opened")],
            Phase::Joining(why) => {
                vec![Condition::bad("member", why.clone()).that_names_places()]
            }
            Phase::Serving(facts) => facts.conditions(),
            Phase::Stopping => vec![Condition::bad(
                "api",
                "this process was told to stop: calls that run are ended, then it closes",
            )],
        };
        self.told.send_if_modified(|told| {
            let new = Verdict { conditions };
            let changed = **told != new;
            if changed {
                *told = Arc::new(new);
            }
            changed
        });
    }

    /// Judges again and again.
    pub(in crate::server) async fn keep_judging(self: Arc<Self>) {
        loop {
            self.judge();
            tokio::time::sleep(JUDGE_EVERY).await;
        }
    }
}

#[async_trait]
impl Source for Readiness {
    async fn collect(&self, sheet: &mut Sheet) {
        let ready = self.told.borrow().is_ready();
        sheet.set(&READY, &[], u64::from(ready));
    }
}

impl Facts {
    fn conditions(&self) -> Vec<Condition> {
        let view = self.view.borrow().clone();
        let member = match self.mesh.is_removed() {
            false => Condition::good("member", self.name.clone()),
            true => Condition::bad(
                "member",
                "its peers say that it was removed from the cluster",
            ),
        };
        let mut all = vec![member];
        all.extend(judge(&view, self.mesh.node(), |node| self.mesh.is_up(node)));
        all
    }
}

/// What must hold of the cluster as node `own`, or a gateway, sees it.
fn judge(
    view: &ClusterView,
    own: Option<NodeId>,
    is_up: impl Fn(NodeId) -> bool,
) -> Vec<Condition> {
    let Some(cluster) = &view.cluster else {
        return vec![Condition::bad(
            "view",
            "no server has told this one lately how the cluster is",
        )];
    };
    let known = format!("cluster {} as of decision {}", cluster.name, view.index);
    let mut all = vec![Condition::good("view", known), groups(view, is_up)];
    all.extend(own.map(|node| duty(view, node)));
    all
}

/// Without a majority of any object group this process can neither read nor write an object: it is cut
/// off, or so are all.
fn groups(view: &ClusterView, is_up: impl Fn(NodeId) -> bool) -> Condition {
    let up = |replica: &ReplicaId| {
        let runs = |n: &&marram_meta::NodeRecord| n.replica == Some(*replica);
        view.nodes
            .values()
            .find(runs)
            .is_some_and(|n| is_up(n.node))
    };
    let objects = view.groups.values().filter(|g| g.group != GroupId::ROOT);
    let (mut reached, mut count) = (0, 0);
    for group in objects {
        let voters_up = group.voters.iter().filter(|voter| up(voter)).count();
        count += 1;
        reached += usize::from(voters_up * 2 > group.voters.len());
    }
    if count == 0 {
        let members = view.nodes.values();
        let joined = members.filter(|n| n.state == NodeState::Active).count();
        let expected = view.cluster.as_ref().map_or(0, |c| c.expected_nodes);
        let says = format!(
            "objects have no place yet: {joined} nodes have joined, {expected} are expected"
        );
        return Condition::bad("groups", says);
    }
    let says = format!("a majority of {reached} of {count} object groups answers this process");
    match reached {
        0 => Condition::bad("groups", says),
        _ => Condition::good("groups", says),
    }
}

/// A node that is on its way out should get no more clients.
fn duty(view: &ClusterView, own: NodeId) -> Condition {
    let record = view.nodes.get(&own);
    match record
        .filter(|n| n.state == NodeState::Active)
        .map(|n| n.duty)
    {
        Some(NodeDuty::Serving) => Condition::good("duty", "serving"),
        Some(NodeDuty::Cordoned) => {
            Condition::good("duty", "cordoned: its drives take no new data")
        }
        Some(NodeDuty::Draining) => Condition::bad("duty", "this node is being drained"),
        Some(NodeDuty::Fenced) => Condition::bad("duty", "this node was fenced"),
        None => Condition::bad("duty", "this node is not, or no longer, a member"),
    }
}

#[cfg(test)]
mod tests;
