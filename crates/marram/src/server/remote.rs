//! Proposals and queries to replicas on other nodes, over the mesh.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use marram_mesh::{self as mesh, Mesh, RpcCode};
use marram_meta::ClusterView;
use marram_proto::mesh::v1 as wire;
use marram_raft::{CallError, RemoteCall};
use marram_types::{GroupId, NodeId, ReplicaId};
use tokio::sync::watch;

use super::view::node_of;

/// The router's way to other nodes.
pub(super) struct MeshCalls {
    pub mesh: Mesh,
    pub view: watch::Receiver<Arc<ClusterView>>,
}

impl MeshCalls {
    fn node(&self, replica: ReplicaId) -> Result<NodeId, CallError> {
        let node = node_of(&self.view.borrow(), replica);
        let node = node.ok_or_else(|| {
            CallError::Unavailable(format!("no node runs replica {replica} any more"))
        })?;
        if self.mesh.is_up(node) {
            Ok(node)
        } else {
            Err(CallError::Unavailable(format!("node {node} is away")))
        }
    }
}

/// A command may have been taken when the connection broke or time ran out; a query leaves nothing
/// behind, so it may simply be asked again.
fn call_error(error: mesh::CallError, is_command: bool) -> CallError {
    let failure = match error {
        mesh::CallError::Failed(failure) => failure,
        lost if is_command && !lost.not_sent() => return CallError::Unknown,
        other => return CallError::Unavailable(other.to_string()),
    };
    match failure.code {
        RpcCode::NotLeader => CallError::NotLeader {
            leader: failure.leader.map(ReplicaId),
        },
        RpcCode::Overloaded => CallError::Overloaded,
        RpcCode::Full => CallError::NoRoom,
        RpcCode::Refused => CallError::Refused(failure.message),
        // The other side's view lags and it does not know this node yet: another one may.
        RpcCode::Denied => CallError::Unavailable(failure.message),
        RpcCode::OutcomeUnknown | RpcCode::DeadlineExceeded | RpcCode::Internal if is_command => {
            CallError::Unknown
        }
        _ => CallError::Unavailable(failure.message),
    }
}

/// What a call may take beyond what the other side waits.
const ON_THE_WAY: Duration = Duration::from_secs(2);

#[async_trait]
impl RemoteCall for MeshCalls {
    async fn propose(
        &self,
        target: ReplicaId,
        group: GroupId,
        command: Bytes,
        timeout: Duration,
    ) -> Result<Bytes, CallError> {
        let node = self.node(target)?;
        let request = wire::ProposeRequest {
            group: u32::from(group.0),
            command,
        };
        let answer = self
            .mesh
            .call::<mesh::Propose>(node, request, Bytes::new(), timeout)
            .await;
        answer
            .map(|(response, _)| response.outcome)
            .map_err(|e| call_error(e, true))
    }

    async fn query_at(
        &self,
        target: ReplicaId,
        group: GroupId,
        query: Bytes,
        at_least: u64,
        wait: Duration,
    ) -> Result<(Bytes, u64), CallError> {
        let node = self.node(target)?;
        let request = wire::QueryRequest {
            group: u32::from(group.0),
            query,
            at_least,
            wait_ms: u32::try_from(wait.as_millis()).unwrap_or(u32::MAX),
            ..wire::QueryRequest::default()
        };
        let timeout = wait + ON_THE_WAY;
        let answer = self
            .mesh
            .call::<mesh::Query>(node, request, Bytes::new(), timeout)
            .await;
        answer
            .map(|(r, _)| (r.answer, r.applied))
            .map_err(|e| call_error(e, false))
    }

    async fn query(
        &self,
        target: ReplicaId,
        group: GroupId,
        query: Bytes,
        linearizable: bool,
        timeout: Duration,
    ) -> Result<(Bytes, u64), CallError> {
        let node = self.node(target)?;
        let request = wire::QueryRequest {
            group: u32::from(group.0),
            query,
            linearizable,
            ..wire::QueryRequest::default()
        };
        let answer = self
            .mesh
            .call::<mesh::Query>(node, request, Bytes::new(), timeout)
            .await;
        answer
            .map(|(r, _)| (r.answer, r.applied))
            .map_err(|e| call_error(e, false))
    }
}
