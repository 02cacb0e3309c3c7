//! The drives of all nodes for work in the background, through the mesh; this node's own by its
//! loopback.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use marram_erasure::Geometry;
use marram_maintain::{Restored, Seen, Shards, ShardsError, Wanted};
use marram_mesh::{CallError, CleanShards, DropShards, LookShards, Mesh, RestoreShards, RpcCode};
use marram_proto::mesh::v1 as wire;
use marram_types::caps::GIB;
use marram_types::{ClusterHealth, DataId, DriveId, NodeId, PgId, ShardId};

use tokio::sync::watch;

use super::work::ANSWER_WITHIN;

/// Bytes of shards in one request, unless a single one has more: a slow drive reads or writes as much
/// before the deadline.
const REQUEST_BYTES: u64 = 2 * GIB;
/// How long a node may take to remove shards.
const REMOVE_WITHIN: Duration = Duration::from_secs(30);

/// The drives of the cluster.
pub(super) struct MeshShards {
    mesh: Mesh,
    health: watch::Receiver<Arc<ClusterHealth>>,
}

impl MeshShards {
    pub(super) fn new(mesh: Mesh, health: watch::Receiver<Arc<ClusterHealth>>) -> Self {
        Self { mesh, health }
    }
}

fn failure(error: &CallError) -> ShardsError {
    match error {
        CallError::UnknownNode(_)
        | CallError::Unreachable { .. }
        | CallError::Lost { .. }
        | CallError::Deadline { .. } => ShardsError::Away,
        CallError::Failed(failure) => match failure.code {
            RpcCode::Unavailable => ShardsError::Behind,
            RpcCode::Aborted => ShardsError::Stale,
            RpcCode::Full => ShardsError::Full,
            // It has answered, so it is there.
            RpcCode::DeadlineExceeded | RpcCode::Overloaded => ShardsError::Busy,
            // The peer's view lags and it does not know this node yet.
            RpcCode::Denied => ShardsError::Behind,
            _ => refused(error),
        },
        CallError::TooLarge { .. } | CallError::Malformed { .. } => refused(error),
    }
}

fn refused(error: &CallError) -> ShardsError {
    tracing::warn!(%error, "a node refused work on shards");
    ShardsError::Refused
}

fn permission(pg: PgId, epoch: u64) -> Option<wire::PgEpoch> {
    Some(wire::PgEpoch {
        pool: u32::from(pg.pool.0),
        pg: u32::from(pg.index),
        epoch,
    })
}

/// Cuts a list so that each part has a bounded number of bytes.
fn parts<T>(items: Vec<T>, bytes: impl Fn(&T) -> u64) -> Vec<Vec<T>> {
    let mut parts: Vec<Vec<T>> = Vec::new();
    let mut room = 0;
    for item in items {
        let size = bytes(&item);
        match parts.last_mut() {
            Some(last) if size <= room => last.push(item),
            _ => {
                room = REQUEST_BYTES;
                parts.push(vec![item]);
            }
        }
        room = room.saturating_sub(size);
    }
    parts
}

fn shard_bytes(wanted: &Wanted) -> u64 {
    let extent = &wanted.extent;
    let geometry = Geometry::with_cell(extent.profile, extent.cell, extent.length);
    geometry.map_or(0, |g| g.shard_len())
}

fn restored(shard: &wire::RestoredShard) -> Restored {
    match shard.outcome() {
        wire::RestoreOutcome::Held => Restored::Held {
            written: shard.written,
        },
        wire::RestoreOutcome::NoSource => Restored::NoSource,
        wire::RestoreOutcome::Failed | wire::RestoreOutcome::Unspecified => Restored::Failed,
    }
}

fn seen(state: wire::ShardState) -> Seen {
    match state {
        wire::ShardState::Whole => Seen::Whole,
        wire::ShardState::Missing => Seen::Missing,
        // An answer that is not understood is no proof of anything good.
        wire::ShardState::Damaged | wire::ShardState::Unspecified => Seen::Damaged,
    }
}

/// An answer must speak of every shard that was asked for.
fn complete<T>(answers: Vec<T>, asked: usize) -> Result<Vec<T>, ShardsError> {
    if answers.len() == asked {
        Ok(answers)
    } else {
        Err(ShardsError::Refused)
    }
}

#[async_trait]
impl Shards for MeshShards {
    fn is_up(&self, node: NodeId) -> bool {
        self.mesh.is_up(node)
    }

    fn is_dead(&self, node: NodeId) -> bool {
        self.health.borrow().is_dead(node)
    }

    async fn restore(
        &self,
        node: NodeId,
        drive: DriveId,
        (pg, epoch): (PgId, u64),
        wanted: Vec<Wanted>,
    ) -> Result<Vec<Restored>, ShardsError> {
        let mut all = Vec::with_capacity(wanted.len());
        for part in parts(wanted, shard_bytes) {
            let asked = part.len();
            let wanted = part.into_iter().map(|w| wire::WantedShard {
                extent: Bytes::from(w.extent.to_bytes()),
                shard: u32::from(w.shard),
                places: w.places.iter().map(|place| place.0).collect(),
            });
            let request = wire::RestoreShardsRequest {
                drive: drive.0,
                pg: permission(pg, epoch),
                wanted: wanted.collect(),
            };
            let call = self
                .mesh
                .call::<RestoreShards>(node, request, Bytes::new(), ANSWER_WITHIN);
            let (answer, _) = call.await.map_err(|e| failure(&e))?;
            let part = answer.restored.iter().map(restored).collect();
            all.extend(complete(part, asked)?);
        }
        Ok(all)
    }

    async fn look(
        &self,
        node: NodeId,
        drive: DriveId,
        (pg, epoch): (PgId, u64),
        shards: Vec<(ShardId, u64)>,
    ) -> Result<Vec<Seen>, ShardsError> {
        let mut all = Vec::with_capacity(shards.len());
        for part in parts(shards, |(_, length)| *length) {
            let asked = part.len();
            let shards = part.into_iter().map(|(shard, length)| wire::LookedShard {
                shard: Some(shard.into()),
                length,
            });
            let request = wire::LookShardsRequest {
                drive: drive.0,
                pg: permission(pg, epoch),
                shards: shards.collect(),
            };
            let call = self
                .mesh
                .call::<LookShards>(node, request, Bytes::new(), ANSWER_WITHIN);
            let (answer, _) = call.await.map_err(|e| failure(&e))?;
            let part = answer.seen().map(seen).collect();
            all.extend(complete(part, asked)?);
        }
        Ok(all)
    }

    async fn clean(
        &self,
        node: NodeId,
        drive: DriveId,
        (pg, epoch): (PgId, u64),
        shards: Vec<(ShardId, u8)>,
    ) -> Result<(), ShardsError> {
        let request = wire::CleanShardsRequest {
            drive: drive.0,
            pg: permission(pg, epoch),
            slots: shards.iter().map(|(_, slot)| u32::from(*slot)).collect(),
            shards: shards.into_iter().map(|(shard, _)| shard.into()).collect(),
        };
        let call = self
            .mesh
            .call::<CleanShards>(node, request, Bytes::new(), REMOVE_WITHIN);
        call.await.map(|_| ()).map_err(|e| failure(&e))
    }

    async fn drop_data(
        &self,
        node: NodeId,
        drive: DriveId,
        data: Vec<DataId>,
    ) -> Result<(), ShardsError> {
        let request = wire::DropShardsRequest {
            drive: drive.0,
            data: data.into_iter().map(Into::into).collect(),
        };
        let call = self
            .mesh
            .call::<DropShards>(node, request, Bytes::new(), REMOVE_WITHIN);
        call.await.map(|_| ()).map_err(|e| failure(&e))
    }
}

#[cfg(test)]
mod tests {
    use marram_mesh::RpcFailure;

    use super::*;

    #[test]
    fn a_request_has_bounded_bytes_and_at_least_one_shard() {
        let sizes = vec![GIB, GIB, 1, 3 * GIB, 1, GIB];
        let cut = parts(sizes, |size| *size);
        let want = [vec![GIB, GIB], vec![1], vec![3 * GIB], vec![1, GIB]];
        assert_eq!(cut, want);
        assert!(parts(Vec::new(), |size: &u64| *size).is_empty());
    }

    #[test]
    fn refusals_say_whether_to_wait_or_to_look_again() {
        let of = |code| failure(&CallError::Failed(RpcFailure::new(code, "")));
        assert_eq!(of(RpcCode::Unavailable), ShardsError::Behind);
        assert_eq!(of(RpcCode::Aborted), ShardsError::Stale);
        assert_eq!(of(RpcCode::Full), ShardsError::Full);
        // A node that answers is not away, however long it has too much to do: its moves are kept.
        assert_eq!(of(RpcCode::Overloaded), ShardsError::Busy);
        assert_eq!(of(RpcCode::DeadlineExceeded), ShardsError::Busy);
        let peer = String::from("node 1");
        let silent = CallError::Deadline { peer };
        assert_eq!(failure(&silent), ShardsError::Away);
        assert_eq!(of(RpcCode::Refused), ShardsError::Refused);
    }
}
