//! Shards for peers: each request names one of this node's drives.

use bytes::Bytes;
use marram_mesh::{RpcCode, RpcFailure};
use marram_proto::mesh::v1 as wire;
use marram_store::{Drive, DriveState, PutError, ReadError, RunHeader};
use marram_trace::{Instrument, Step, begin, fail};
use marram_types::{DataId, DriveId, PgId, PoolId, ShardId};

use super::storage::Drives;

pub(super) fn drive(drives: &Drives, id: u64) -> Result<Drive, RpcFailure> {
    drives
        .get(DriveId(id))
        .ok_or_else(|| RpcFailure::new(RpcCode::NotFound, format!("this node has no drive {id}")))
}

pub(super) fn bad(what: &str) -> RpcFailure {
    RpcFailure::new(RpcCode::Refused, format!("the request has no valid {what}"))
}

pub(super) fn small<T: TryFrom<u32>>(value: u32, what: &str) -> Result<T, RpcFailure> {
    T::try_from(value).map_err(|_| bad(what))
}

pub(super) fn shard_id(shard: Option<wire::ShardId>) -> Result<ShardId, RpcFailure> {
    let shard = shard.ok_or_else(|| bad("shard id"))?;
    ShardId::try_from(shard).map_err(|_| bad("shard id"))
}

/// Writes a run; answers when it is durable.
pub(super) async fn write(
    drives: &Drives,
    request: wire::WriteRunRequest,
    bytes: Bytes,
) -> Result<wire::WriteRunResponse, RpcFailure> {
    let header = RunHeader {
        shard: shard_id(request.shard)?,
        pg: PgId {
            pool: PoolId(small(request.pool, "pool")?),
            index: small(request.pg, "pg")?,
        },
        offset: request.offset,
        codec: small(request.codec, "codec")?,
        matrix: small(request.matrix, "matrix")?,
    };
    let span = begin(|| {
        let step = Step::new("drive write").with("drive", request.drive);
        step.with("bytes", bytes.len())
    });
    let drive = drive(drives, request.drive)?;
    let put = drive.put_run(header, bytes).instrument(span.clone()).await;
    if let Err(error) = &put {
        fail(&span, put_failure(error).code.as_str_name());
    }
    put.map(|()| wire::WriteRunResponse {})
        .map_err(|error| put_failure(&error))
}

fn put_failure(error: &PutError) -> RpcFailure {
    let code = match error {
        PutError::Full { .. } => RpcCode::Full,
        PutError::Conflict { .. } | PutError::Size(_) => RpcCode::Refused,
        PutError::Retired | PutError::Io(_) | PutError::Index(_) | PutError::Closed => {
            RpcCode::Unavailable
        }
    };
    RpcFailure::new(code, error.to_string())
}

/// Reads a part of a shard; every block of it was verified.
pub(super) async fn read(
    drives: &Drives,
    request: wire::ReadShardRequest,
) -> Result<(wire::ReadShardResponse, Bytes), RpcFailure> {
    let shard = shard_id(request.shard)?;
    let length = small(request.length, "length")?;
    let span = begin(|| {
        let step = Step::new("drive read").with("drive", request.drive);
        step.with("bytes", u64::from(request.length))
    });
    let drive = drive(drives, request.drive)?;
    let read = drive.read(shard, request.offset, length);
    let bytes = read.instrument(span.clone()).await.map_err(|error| {
        let failure = read_failure(&error);
        fail(&span, failure.code.as_str_name());
        failure
    })?;
    Ok((wire::ReadShardResponse {}, bytes))
}

pub(super) fn read_failure(error: &ReadError) -> RpcFailure {
    let code = match error {
        ReadError::NotFound { .. } => RpcCode::NotFound,
        ReadError::Corrupt { .. } => RpcCode::Corrupt,
        ReadError::Io(_) | ReadError::Index(_) | ReadError::Closed => RpcCode::Unavailable,
    };
    RpcFailure::new(code, error.to_string())
}

/// Removes every shard of some extents.
pub(super) async fn drop_all(
    drives: &Drives,
    request: wire::DropShardsRequest,
) -> Result<wire::DropShardsResponse, RpcFailure> {
    let data = request
        .data
        .into_iter()
        .map(|id| DataId::try_from(id).map_err(|_| bad("data id")))
        .collect::<Result<Vec<_>, _>>()?;
    let dropped = drive(drives, request.drive)?
        .delete(data)
        .await
        .map_err(|error| read_failure(&error))?;
    Ok(wire::DropShardsResponse {
        dropped: dropped as u64,
    })
}

/// Most shards in one page of a list.
const LIST_MAX: u32 = 1000;

/// What shards a drive holds.
pub(super) async fn list(
    drives: &Drives,
    request: wire::ListShardsRequest,
) -> Result<wire::ListShardsResponse, RpcFailure> {
    let after = request
        .after
        .map(|after| shard_id(Some(after)))
        .transpose()?;
    let limit = request.limit.clamp(1, LIST_MAX) as usize;
    let listed = drive(drives, request.drive)?.list(after, limit).await;
    let listed = listed.map_err(|error| read_failure(&error))?;
    let shards = listed.into_iter().map(|info| wire::HeldShard {
        shard: Some(info.shard.into()),
        pool: u32::from(info.pg.pool.0),
        pg: u32::from(info.pg.index),
    });
    Ok(wire::ListShardsResponse {
        shards: shards.collect(),
    })
}

/// How full the drives are.
pub(super) fn stats(drives: &Drives, request: &wire::DriveStatsRequest) -> Vec<wire::DriveStat> {
    let wanted = |id: DriveId| request.drives.is_empty() || request.drives.contains(&id.0);
    let open = drives.all().into_iter();
    open.filter(|drive| wanted(drive.id()))
        .map(|drive| {
            let stat = drive.stat();
            let state = match stat.state {
                DriveState::Active => wire::DriveState::Active,
                DriveState::Full => wire::DriveState::Full,
                DriveState::Retired => wire::DriveState::Retired,
            };
            wire::DriveStat {
                drive: drive.id().0,
                capacity: stat.capacity,
                free: stat.free,
                live_record_bytes: stat.live_record_bytes,
                runs: stat.runs,
                state: state.into(),
            }
        })
        .collect()
}
