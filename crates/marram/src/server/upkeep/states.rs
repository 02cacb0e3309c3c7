//! Replicas of groups as their comparison needs them: the whole state of one as a hash.

use std::ops::{Bound, ControlFlow};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use marram_maintain::{HashAnswer, ReplicaStates};
use marram_mesh::{RpcCode, RpcFailure, StateHash};
use marram_meta::{KvError, KvRead, Table};
use marram_proto::mesh::v1 as wire;
use marram_raft::{RaftHost, ReadView};
use marram_types::{Crc64Nvme, GroupId, NodeId};

use super::super::lifetime;
use super::super::local::Local;

/// How long a replica may take to come to an index.
const COMES_WITHIN: Duration = Duration::from_secs(2);
/// How long it may take to read all of its state.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);

/// The replicas of all groups.
pub(in crate::server) struct States(pub Arc<Local>);

#[async_trait]
impl ReplicaStates for States {
    fn index(&self, group: GroupId) -> Option<u64> {
        let applied = self.0.host.applied_watch(group)?;
        let index = *applied.borrow();
        Some(index)
    }

    async fn hash_at(&self, node: NodeId, group: GroupId, index: u64) -> HashAnswer {
        let request = wire::StateHashRequest {
            group: u32::from(group.0),
            index,
        };
        let asked = self
            .0
            .mesh
            .call::<StateHash>(node, request, Bytes::new(), ANSWER_WITHIN);
        match asked.await {
            Ok((answer, _)) => answer.hash.map_or(HashAnswer::Elsewhere, HashAnswer::Hash),
            Err(error) => {
                tracing::debug!(target: "scrub", %node, %group, %error, "a replica's state is not known");
                HashAnswer::Silent
            }
        }
    }

    fn node(&self) -> Option<NodeId> {
        self.0.mesh.node()
    }

    fn now_ms(&self) -> u64 {
        lifetime::now_ms()
    }
}

/// Answers for this server's replica.
pub(in crate::server) async fn hash_at(
    host: &RaftHost,
    request: wire::StateHashRequest,
) -> Result<wire::StateHashResponse, RpcFailure> {
    let none = || RpcFailure::new(RpcCode::NotFound, "this node has no replica of the group");
    let group = u16::try_from(request.group)
        .map(GroupId)
        .map_err(|_| none())?;
    let mut applied = host.applied_watch(group).ok_or_else(none)?;
    let comes = applied.wait_for(|applied| *applied >= request.index);
    let _came = tokio::time::timeout(COMES_WITHIN, comes).await.is_ok();
    let view = host.read(group, false).await.map_err(|_| none())?;
    let index = view.applied();
    if index != request.index {
        let hash = None;
        return Ok(wire::StateHashResponse { index, hash });
    }
    let hashed = tokio::task::spawn_blocking(move || hash(&view)).await;
    let failed = |reason: String| RpcFailure::new(RpcCode::Internal, reason);
    let hash = hashed.map_err(|error| failed(error.to_string()))?;
    let hash = Some(hash.map_err(|error| failed(error.to_string()))?);
    Ok(wire::StateHashResponse { index, hash })
}

/// A hash over every row of every table.
fn hash(view: &ReadView) -> Result<u64, KvError> {
    let mut sum = Crc64Nvme::default();
    for table in Table::ALL {
        sum.update(&[table.number()]);
        view.scan(
            table,
            Bound::Unbounded,
            Bound::Unbounded,
            &mut |key, value| {
                sum.update(&(key.len() as u64).to_be_bytes());
                sum.update(key);
                sum.update(&(value.len() as u64).to_be_bytes());
                sum.update(value);
                ControlFlow::Continue(())
            },
        )?;
    }
    Ok(sum.value())
}
