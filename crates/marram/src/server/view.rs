//! The cluster's view on this server: rebuilt whenever the root group has applied something, and
//! handed to the mesh (who is a peer) and to everybody who watches it.

use std::sync::Arc;

use anyhow::{Context, Result};
use marram_mesh::{GatewayEntry, Mesh, PeerEntry, PeerTable};
use marram_meta::{ClusterView, IdentityRole, NodeState};
use marram_raft::{RaftHost, Router};
use marram_types::{GroupId, NodeId, ReplicaId};
use tokio::sync::watch;

/// The mesh's peers according to a view.
pub(super) fn peers(view: &ClusterView) -> PeerTable {
    let until = |until_s: u64| i64::try_from(until_s).unwrap_or(i64::MAX);
    let nodes = view.nodes.values().map(|node| PeerEntry {
        node: node.node,
        addr: node.mesh_addr.clone(),
        public_key: node.public_key,
        tombstoned: node.state == NodeState::Tombstoned,
        until_s: view
            .identities
            .get(&node.public_key)
            .map_or(0, |record| until(record.until_s)),
    });
    let gateways = view.identities.values();
    let gateways = gateways.filter(|record| record.role == IdentityRole::Gateway);
    let gateways = gateways.map(|record| GatewayEntry {
        public_key: record.key,
        removed: record.removed,
        until_s: until(record.until_s),
    });
    nodes.collect::<PeerTable>().with_gateways(gateways)
}

/// The node that runs a replica.
pub(super) fn node_of(view: &ClusterView, replica: ReplicaId) -> Option<NodeId> {
    let runs =
        |n: &&marram_meta::NodeRecord| n.replica == Some(replica) && n.state == NodeState::Active;
    view.nodes.values().find(runs).map(|n| n.node)
}

/// Reads the view from the root group's state on this server.
pub(super) async fn read(host: &RaftHost) -> Result<ClusterView> {
    let state = host
        .read(GroupId::ROOT, false)
        .await
        .context("the root group is not open")?;
    tokio::task::spawn_blocking(move || marram_meta::view(&state))
        .await
        .context("reading the root group's state was interrupted")?
        .context("the root group's state cannot be read")
}

/// Follows the root group until it stops.
pub(super) async fn follow(
    host: Arc<RaftHost>,
    mesh: Mesh,
    view: watch::Sender<Arc<ClusterView>>,
) -> Result<()> {
    let mut applied = host.root_watch().context("the root group is not open")?;
    loop {
        applied.borrow_and_update();
        match read(&host).await {
            // A node that has just joined has a newer view than its empty root replica.
            Ok(new) if new.index > view.borrow().index => publish(&mesh, &view, new),
            Ok(_) => {}
            Err(error) => tracing::error!(error = format!("{error:#}"), "no view of the cluster"),
        }
        if applied.changed().await.is_err() {
            return Ok(());
        }
    }
}

/// Keeps the router's knowledge of who votes where. Every server has a replica of the root group,
/// so any of them can say who leads it.
pub(super) async fn routes(router: Arc<Router>, mut view: watch::Receiver<Arc<ClusterView>>) {
    loop {
        let seen = view.borrow_and_update().clone();
        let servers = seen.nodes.values().filter(|n| n.state == NodeState::Active);
        let root = servers.filter_map(|n| n.replica).collect();
        let groups = seen.groups.values().map(|g| (g.group, g.voters.clone()));
        router.set_voters(groups.chain([(GroupId::ROOT, root)]));
        if view.changed().await.is_err() {
            return;
        }
    }
}

/// Tells the mesh and the watchers.
pub(super) fn publish(mesh: &Mesh, sender: &watch::Sender<Arc<ClusterView>>, new: ClusterView) {
    let changed = {
        let old = sender.borrow();
        old.nodes != new.nodes || old.identities != new.identities
    };
    if changed {
        mesh.set_peers(peers(&new));
    }
    sender.send_replace(Arc::new(new));
}
