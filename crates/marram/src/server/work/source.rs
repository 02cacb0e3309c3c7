//! The bytes of a shard from elsewhere: copied from its place, or computed from others.
//!
//! The code works byte by byte: a range of a shard is computed from the same range of `k` others,
//! whatever stripes it lies in.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::stream::FuturesUnordered;
use futures::{StreamExt, TryStreamExt};
use marram_erasure::{Codec, Shard, codec_for};
use marram_maintain::{Lane, Pace, Wanted};
use marram_mesh::{CallError, Mesh, ReadShard, RpcCode};
use marram_meta::{ClusterView, NodeState};
use marram_proto::mesh::v1 as wire;
use marram_types::caps::{BLOCK_BYTES, MIB};
use marram_types::{DriveId, NodeId, ShardId};
use tokio::sync::watch;
use tokio::time::Instant;

/// Bytes asked of a drive by one request.
const PART_BYTES: u64 = MIB as u64;
/// Parts of one range that are on their way at once.
const PARTS_AT_ONCE: usize = 4;
/// Bytes of all shards that one computation has in memory.
const COMPUTE_BYTES: usize = 8 * MIB;
/// How long a drive may take for one part.
const PART_WITHIN: Duration = Duration::from_secs(10);
/// How long its node may say that it is not the time yet, and how often it is asked meanwhile: it has
/// others to serve, and what it does not give is read from `k` others.
const TURN_WITHIN: Duration = Duration::from_secs(60);
const ASK_AGAIN: Duration = Duration::from_millis(50);
const ASK_AGAIN_MAX: Duration = Duration::from_millis(400);

/// The drives that shards are read from.
#[async_trait]
pub(in crate::server) trait Sources: Send + Sync + 'static {
    /// Whether it is worth asking a drive.
    fn is_up(&self, drive: DriveId) -> bool;

    /// Reads a part of a shard, verified; none when it cannot be had.
    async fn read(&self, drive: DriveId, shard: ShardId, offset: u64, len: u32) -> Option<Bytes>;
}

/// The drives of the cluster through the mesh, this node's own by its loopback.
pub(in crate::server) struct MeshSources {
    mesh: Mesh,
    view: watch::Receiver<Arc<ClusterView>>,
    pace: Arc<Pace>,
}

impl MeshSources {
    pub(in crate::server) fn new(
        mesh: Mesh,
        view: watch::Receiver<Arc<ClusterView>>,
        pace: Arc<Pace>,
    ) -> Self {
        Self { mesh, view, pace }
    }

    /// Asks until it is this reader's turn there.
    async fn ask(&self, node: NodeId, request: wire::ReadShardRequest) -> Result<Bytes, CallError> {
        let until = Instant::now() + TURN_WITHIN;
        let mut pause = ASK_AGAIN;
        loop {
            let call = self
                .mesh
                .call::<ReadShard>(node, request, Bytes::new(), PART_WITHIN);
            match call.await {
                Err(CallError::Failed(failure))
                    if failure.code == RpcCode::Overloaded && Instant::now() < until =>
                {
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(ASK_AGAIN_MAX);
                }
                answer => return answer.map(|(_, bytes)| bytes),
            }
        }
    }

    fn node(&self, drive: DriveId) -> Option<NodeId> {
        let view = self.view.borrow();
        let has = |node: &&marram_meta::NodeRecord| {
            node.state == NodeState::Active && node.drives.iter().any(|d| d.drive == drive)
        };
        view.nodes.values().find(has).map(|node| node.node)
    }
}

#[async_trait]
impl Sources for MeshSources {
    fn is_up(&self, drive: DriveId) -> bool {
        self.node(drive).is_some_and(|node| self.mesh.is_up(node))
    }

    async fn read(&self, drive: DriveId, shard: ShardId, offset: u64, len: u32) -> Option<Bytes> {
        let request = wire::ReadShardRequest {
            drive: drive.0,
            shard: Some(shard.into()),
            offset,
            length: len,
            background: true,
        };
        let node = self.node(drive)?;
        if self.mesh.node() != Some(node) {
            self.pace.take(Lane::Received, u64::from(len)).await;
        }
        match self.ask(node, request).await {
            Ok(bytes) if bytes.len() == len as usize => Some(bytes),
            Ok(_) => None,
            Err(error) => {
                tracing::debug!(%shard, %drive, %error, "a shard is taken from elsewhere");
                None
            }
        }
    }
}

/// Where the bytes of one wanted shard come from. What failed once is not asked again.
pub(super) struct Source<'a> {
    sources: &'a dyn Sources,
    wanted: &'a Wanted,
    codec: Arc<dyn Codec>,
    /// The shard itself at its place.
    copy: Option<DriveId>,
    /// The same where the row says that it is missing: the last thing to try.
    doubted: Option<DriveId>,
    /// The others that may be there, those that the row says are missing at the end.
    others: Vec<u8>,
}

impl<'a> Source<'a> {
    /// `target` is the drive that the shard shall be on: it is no source of that shard.
    pub(super) fn new(sources: &'a dyn Sources, wanted: &'a Wanted, target: DriveId) -> Self {
        let extent = &wanted.extent;
        let up = |shard: u8| {
            let drive = wanted.places[usize::from(shard)];
            sources.is_up(drive).then_some(drive)
        };
        let place = up(wanted.shard).filter(|place| *place != target);
        let is_doubted = extent.is_missing(wanted.shard);
        let others = extent.shards().map(|(shard, _)| shard);
        let mut others: Vec<u8> = others
            .filter(|shard| *shard != wanted.shard && up(*shard).is_some())
            .collect();
        others.sort_by_key(|shard| extent.is_missing(*shard));
        Self {
            sources,
            wanted,
            codec: codec_for(extent.profile),
            copy: place.filter(|_| !is_doubted),
            doubted: place.filter(|_| is_doubted),
            others,
        }
    }

    /// The bytes of a range; none when neither the place nor enough others can be read.
    pub(super) async fn range(&mut self, range: Range<u64>) -> Option<Bytes> {
        let shard = shard_id(self.wanted, self.wanted.shard);
        if let Some(place) = self.copy {
            if let Some(bytes) = copy(self.sources, place, shard, range.clone()).await {
                return Some(bytes);
            }
            self.copy = None;
        }
        if let Some(bytes) = self.compute(range.clone()).await {
            return Some(bytes);
        }
        copy(self.sources, self.doubted?, shard, range).await
    }

    async fn compute(&mut self, range: Range<u64>) -> Option<Bytes> {
        let columns = COMPUTE_BYTES / (self.codec.profile().k() + 1) / BLOCK_BYTES;
        let step = (columns.max(1) * BLOCK_BYTES) as u64;
        let mut out = BytesMut::zeroed(usize::try_from(range.end - range.start).ok()?);
        let mut filled = 0;
        for at in range.clone().step_by(usize::try_from(step).ok()?) {
            let end = range.end.min(at + step);
            let have = self.fetch(at..end).await?;
            let len = usize::try_from(end - at).ok()?;
            self.reconstruct(&have, &mut out[filled..filled + len])?;
            filled += len;
        }
        Some(out.freeze())
    }

    /// The same range of any `k` others.
    async fn fetch(&mut self, range: Range<u64>) -> Option<Vec<(u8, Bytes)>> {
        let need = self.codec.profile().k();
        let (sources, wanted) = (self.sources, self.wanted);
        let ask = |shard: u8| {
            let place = wanted.places[usize::from(shard)];
            let range = range.clone();
            async move {
                let id = shard_id(wanted, shard);
                (shard, copy(sources, place, id, range).await)
            }
        };
        let candidates = self.others.clone();
        if candidates.len() < need {
            return None;
        }
        let mut spare = candidates.iter().skip(need);
        let mut asked: FuturesUnordered<_> =
            candidates.iter().take(need).map(|s| ask(*s)).collect();
        let mut have = Vec::with_capacity(need);
        while let Some((shard, answer)) = asked.next().await {
            if let Some(bytes) = answer {
                have.push((shard, bytes));
            } else {
                self.others.retain(|other| *other != shard);
                asked.extend(spare.next().map(|s| ask(*s)));
            }
        }
        (have.len() == need).then_some(have)
    }

    fn reconstruct(&self, have: &[(u8, Bytes)], out: &mut [u8]) -> Option<()> {
        let mut out = Some(out);
        let mut shards: Vec<Shard<'_>> = (0..=u8::MAX)
            .take(self.codec.profile().width())
            .map(|shard| {
                if let Some((_, bytes)) = have.iter().find(|(of, _)| *of == shard) {
                    return Shard::Have(bytes);
                }
                match out.take_if(|_| shard == self.wanted.shard) {
                    Some(out) => Shard::Want(out),
                    None => Shard::Skip,
                }
            })
            .collect();
        self.codec.reconstruct(&mut shards).ok()
    }
}

/// A shard of the wanted one's extent. Shards keep their id when they move or are repaired in
/// place: the id names the bytes.
pub(super) fn shard_id(wanted: &Wanted, shard: u8) -> ShardId {
    ShardId {
        data: wanted.extent.data,
        slot: shard,
        repair: 0,
    }
}

/// A range of a shard from one drive, a few parts at a time.
async fn copy(
    sources: &dyn Sources,
    place: DriveId,
    shard: ShardId,
    range: Range<u64>,
) -> Option<Bytes> {
    let step = usize::try_from(PART_BYTES).ok()?;
    let parts: Vec<Bytes> = futures::stream::iter(range.clone().step_by(step))
        .map(|at| {
            let len = u32::try_from(range.end.min(at + PART_BYTES) - at).expect("at most 1 MiB");
            async move { sources.read(place, shard, at, len).await.ok_or(()) }
        })
        .buffered(PARTS_AT_ONCE)
        .try_collect()
        .await
        .ok()?;
    match <[Bytes; 1]>::try_from(parts) {
        Ok([only]) => Some(only),
        Err(parts) => Some(Bytes::from(parts.concat())),
    }
}
