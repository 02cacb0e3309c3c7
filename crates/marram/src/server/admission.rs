//! Admitting a node: it becomes a row of the node table and gets a replica id of its own.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use marram_mesh::{RpcCode, RpcFailure};
use marram_meta::{ClusterView, Envelope, NodeJoin, RootCommand, RootOutcome};
use marram_proto::mesh::v1 as wire;
use marram_types::{GroupId, NodeId};
use tokio::sync::watch;

use super::local::Local;

/// How long the view may lag behind the answer that admitted the node.
const VIEW_LAG_MAX: Duration = Duration::from_secs(5);

/// Admits the node whose certificate has `key`.
pub(super) async fn admit(
    local: &Local,
    view: &watch::Receiver<Arc<ClusterView>>,
    key: [u8; 32],
    node_join: &[u8],
) -> Result<wire::JoinResponse, RpcFailure> {
    let join = NodeJoin::from_bytes(node_join).map_err(|error| {
        RpcFailure::new(
            RpcCode::Refused,
            format!("the node's description cannot be read: {error}"),
        )
    })?;
    if join.public_key != key {
        return Err(RpcFailure::new(
            RpcCode::Denied,
            "the node's description names another key than its certificate",
        ));
    }
    let name = join.name.clone();
    let added = propose(local, &RootCommand::AddNode(join)).await?;
    let RootOutcome::NodeAdded { node, .. } = &added else {
        return Err(refused(&added));
    };
    let node = *node;
    let replica = propose(
        local,
        &RootCommand::AddReplica {
            node,
            founder: false,
        },
    )
    .await?;
    let RootOutcome::ReplicaAdded { replica: id } = &replica else {
        return Err(refused(&replica));
    };
    tracing::info!(%node, name, replica = %id, "a node has joined");
    let id = *id;
    let seen = wait_for(view, |v| {
        v.nodes.get(&node).is_some_and(|n| n.replica == Some(id))
    })
    .await?;
    Ok(wire::JoinResponse {
        outcome: Bytes::from(added.encode()),
        replica_outcome: Bytes::from(replica.encode()),
        view: Bytes::from(seen.encode()),
    })
}

async fn propose(local: &Local, command: &RootCommand) -> Result<RootOutcome, RpcFailure> {
    let unavailable = |reason: String| RpcFailure::new(RpcCode::Unavailable, reason);
    let outcome = local
        .propose(GroupId::ROOT, Envelope::seal_internal(command))
        .await
        .map_err(|error| unavailable(error.to_string()))?;
    RootOutcome::decode(&outcome).map_err(|error| unavailable(error.to_string()))
}

fn refused(outcome: &RootOutcome) -> RpcFailure {
    let reason = match outcome {
        RootOutcome::Refused(refusal) => refusal.to_string(),
        other => format!("the root group answered {other:?}"),
    };
    RpcFailure::new(RpcCode::Refused, reason)
}

async fn wait_for(
    view: &watch::Receiver<Arc<ClusterView>>,
    holds: impl Fn(&ClusterView) -> bool,
) -> Result<Arc<ClusterView>, RpcFailure> {
    let mut view = view.clone();
    let waited = tokio::time::timeout(VIEW_LAG_MAX, view.wait_for(|v| holds(v))).await;
    match waited {
        Ok(Ok(seen)) => Ok(Arc::clone(&seen)),
        Ok(Err(_)) | Err(_) => Err(RpcFailure::new(
            RpcCode::Unavailable,
            "this server has not caught up; ask again",
        )),
    }
}

/// What the answer to a join says.
pub(super) struct Admitted {
    pub node: NodeId,
    pub drives: Vec<marram_types::DriveId>,
    pub replica: marram_types::ReplicaId,
    pub view: ClusterView,
}

/// Reads the answer to a join.
pub(super) fn read(response: &wire::JoinResponse) -> anyhow::Result<Admitted> {
    let RootOutcome::NodeAdded { node, drives } = RootOutcome::decode(&response.outcome)? else {
        anyhow::bail!("the answer to the join does not name a node");
    };
    let RootOutcome::ReplicaAdded { replica } = RootOutcome::decode(&response.replica_outcome)?
    else {
        anyhow::bail!("the answer to the join does not name a replica");
    };
    Ok(Admitted {
        node,
        drives,
        replica,
        view: ClusterView::decode(&response.view)?,
    })
}
