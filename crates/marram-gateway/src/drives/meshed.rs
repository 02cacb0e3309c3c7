//! The drives through the mesh.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use marram_erasure::{CODEC_ID, MATRIX_ID};
use marram_mesh::{
    CallError, DriveStats, DropShards, DumpGroup, ListShards, LookShards, Mesh, ReadShard, RpcCode,
    Upkeep, WriteRun,
};
use marram_proto::mesh::v1 as wire;
use marram_types::{DataId, DriveId, NodeId, PgId, PoolId, ShardId};

use super::{
    CopyAsk, CopyPiece, DriveError, DriveHealth, DriveReport, Drives, NodeReport, Part, Place, Run,
};

/// The drives of the cluster.
pub(crate) struct Meshed(pub(crate) Mesh);

fn error(error: &CallError) -> DriveError {
    match error {
        CallError::UnknownNode(_) | CallError::Unreachable { .. } | CallError::Lost { .. } => {
            DriveError::Away
        }
        CallError::Deadline { .. } => DriveError::Late,
        CallError::Failed(failure) => match failure.code {
            RpcCode::Full => DriveError::Full,
            RpcCode::NotFound => DriveError::NotFound,
            RpcCode::Corrupt => DriveError::Corrupt,
            RpcCode::Unavailable => DriveError::NotOpen,
            RpcCode::DeadlineExceeded => DriveError::Late,
            RpcCode::Overloaded => DriveError::Overloaded,
            RpcCode::Aborted => DriveError::Stale,
            _ => refused(error),
        },
        CallError::TooLarge { .. } | CallError::Malformed { .. } => refused(error),
    }
}

fn refused(error: &CallError) -> DriveError {
    tracing::warn!(%error, "a node refused a request about a shard");
    DriveError::Refused
}

fn report(stat: &wire::DriveStat) -> DriveReport {
    DriveReport {
        drive: DriveId(stat.drive),
        health: match stat.state() {
            wire::DriveState::Full => DriveHealth::Full,
            wire::DriveState::Retired => DriveHealth::Retired,
            wire::DriveState::Active | wire::DriveState::Unspecified => DriveHealth::Active,
        },
        capacity: stat.capacity,
        free: stat.free,
        record_bytes: stat.live_record_bytes,
    }
}

fn held(held: wire::HeldShard) -> Option<(ShardId, PgId)> {
    let shard = ShardId::try_from(held.shard?).ok()?;
    let pool = PoolId(u16::try_from(held.pool).ok()?);
    let index = u16::try_from(held.pg).ok()?;
    Some((shard, PgId { pool, index }))
}

#[async_trait]
impl Drives for Meshed {
    fn is_up(&self, node: NodeId) -> bool {
        self.0.is_up(node)
    }

    fn answered_since(&self, node: NodeId, then: Instant) -> bool {
        self.0.answered_since(node, then)
    }

    fn is_near(&self, node: NodeId) -> bool {
        self.0.node() == Some(node)
    }

    async fn write(&self, run: Run, within: Duration) -> Result<(), DriveError> {
        let request = wire::WriteRunRequest {
            drive: run.place.drive.0,
            shard: Some(run.shard.into()),
            pool: u32::from(run.pg.pool.0),
            pg: u32::from(run.pg.index),
            offset: run.offset,
            codec: u32::from(CODEC_ID),
            matrix: u32::from(MATRIX_ID),
            turn_bytes: if run.in_background {
                run.data.len() as u64
            } else {
                0
            },
        };
        let call = self
            .0
            .call::<WriteRun>(run.place.node, request, run.data, within);
        call.await.map(|_| ()).map_err(|e| error(&e))
    }

    async fn turn(&self, place: Place, bytes: u64, within: Duration) -> Result<(), DriveError> {
        let request = wire::WriteRunRequest {
            drive: place.drive.0,
            turn_bytes: bytes,
            ..wire::WriteRunRequest::default()
        };
        let call = self
            .0
            .call::<WriteRun>(place.node, request, Bytes::new(), within);
        call.await.map(|_| ()).map_err(|e| error(&e))
    }

    async fn read(&self, part: Part, within: Duration) -> Result<Bytes, DriveError> {
        let request = wire::ReadShardRequest {
            drive: part.place.drive.0,
            shard: Some(part.shard.into()),
            offset: part.offset,
            length: part.len,
            background: part.in_background,
        };
        let call = self
            .0
            .call::<ReadShard>(part.place.node, request, Bytes::new(), within);
        let (_, bytes) = call.await.map_err(|e| error(&e))?;
        if bytes.len() == part.len as usize {
            Ok(bytes)
        } else {
            Err(DriveError::Corrupt)
        }
    }

    async fn look(
        &self,
        place: Place,
        (pg, epoch): (PgId, u64),
        shards: Vec<(ShardId, u64)>,
        within: Duration,
    ) -> Result<Vec<bool>, DriveError> {
        let asked = shards.len();
        let shards = shards.into_iter().map(|(shard, length)| wire::LookedShard {
            shard: Some(shard.into()),
            length,
        });
        let request = wire::LookShardsRequest {
            drive: place.drive.0,
            pg: Some(wire::PgEpoch {
                pool: u32::from(pg.pool.0),
                pg: u32::from(pg.index),
                epoch,
            }),
            shards: shards.collect(),
        };
        let call = self
            .0
            .call::<LookShards>(place.node, request, Bytes::new(), within);
        let (answer, _) = call.await.map_err(|e| error(&e))?;
        let seen = answer.seen().map(|seen| seen == wire::ShardState::Whole);
        let seen: Vec<bool> = seen.collect();
        if seen.len() == asked {
            Ok(seen)
        } else {
            Err(DriveError::Refused)
        }
    }

    async fn remove(
        &self,
        place: Place,
        data: Vec<DataId>,
        within: Duration,
    ) -> Result<(), DriveError> {
        let request = wire::DropShardsRequest {
            drive: place.drive.0,
            data: data.into_iter().map(Into::into).collect(),
        };
        let call = self
            .0
            .call::<DropShards>(place.node, request, Bytes::new(), within);
        call.await.map(|_| ()).map_err(|e| error(&e))
    }

    async fn list(
        &self,
        place: Place,
        after: Option<ShardId>,
        limit: u32,
        within: Duration,
    ) -> Result<Vec<(ShardId, PgId)>, DriveError> {
        let request = wire::ListShardsRequest {
            drive: place.drive.0,
            after: after.map(Into::into),
            limit,
        };
        let call = self
            .0
            .call::<ListShards>(place.node, request, Bytes::new(), within);
        let (answer, _) = call.await.map_err(|e| error(&e))?;
        let held = answer.shards.into_iter().map(held);
        held.collect::<Option<_>>().ok_or(DriveError::Refused)
    }

    async fn report(&self, node: NodeId, within: Duration) -> Result<NodeReport, DriveError> {
        let request = wire::DriveStatsRequest { drives: Vec::new() };
        let call = self
            .0
            .call::<DriveStats>(node, request, Bytes::new(), within);
        let (answer, _) = call.await.map_err(|e| error(&e))?;
        Ok(NodeReport {
            drives: answer.drives.iter().map(report).collect(),
            metrics_address: answer.metrics_address,
            not_ready: answer.not_ready,
            gateways: answer.gateways,
        })
    }

    async fn copy_piece(
        &self,
        node: NodeId,
        ask: CopyAsk,
        within: Duration,
    ) -> Result<CopyPiece, DriveError> {
        let request = wire::DumpGroupRequest {
            group: u32::from(ask.group.0),
            id: ask.copy,
            offset: ask.offset,
            at_least: ask.at_least,
        };
        let call = self
            .0
            .call::<DumpGroup>(node, request, Bytes::new(), within);
        match call.await {
            Ok((answer, bytes)) => Ok(CopyPiece {
                copy: answer.id,
                total_bytes: answer.total_bytes,
                index: answer.index,
                term: answer.term,
                bytes,
            }),
            Err(failed) if failed.code() == Some(RpcCode::Aborted) => Err(DriveError::NotFound),
            Err(failed) => Err(error(&failed)),
        }
    }

    async fn upkeep(
        &self,
        node: NodeId,
        start_scrub: bool,
        within: Duration,
    ) -> Result<wire::UpkeepResponse, DriveError> {
        let request = wire::UpkeepRequest { start_scrub };
        let call = self.0.call::<Upkeep>(node, request, Bytes::new(), within);
        call.await.map(|(answer, _)| answer).map_err(|e| error(&e))
    }
}
