//! What the gateway asks of drives, as a trait: shards in, shards out. A drive of this node is
//! reached the same way as any other (the mesh's loopback).

mod condition;
mod meshed;

use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use marram_proto::mesh::v1::{HeardGateway, UpkeepResponse};
use marram_types::caps::DRIVE_FULL_PERCENT;
use marram_types::{DataId, DriveId, GroupId, NodeId, PgId, ShardId};

pub(crate) use condition::{Conditions, Suspicion};
pub(crate) use meshed::Meshed;

/// A drive and the node that has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) node: NodeId,
    pub(crate) drive: DriveId,
}

/// A run of one shard, to be written.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    pub(crate) place: Place,
    pub(crate) shard: ShardId,
    pub(crate) pg: PgId,
    /// Where in the shard it begins.
    pub(crate) offset: u64,
    /// Its bytes.
    pub(crate) data: Bytes,
    /// It is of work in the background, which was given its turn at the node.
    pub(crate) in_background: bool,
}

/// A part of a shard, to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) place: Place,
    pub(crate) shard: ShardId,
    pub(crate) offset: u64,
    pub(crate) len: u32,
    /// It is read for work in the background: when the node's pace lets it, [`DriveError::Overloaded`] until
    /// then.
    pub(crate) in_background: bool,
}

/// Why a drive did not do what it was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub(crate) enum DriveError {
    #[error("the drive has no room")]
    Full,
    #[error("the shard is not there")]
    NotFound,
    #[error("the shard is damaged")]
    Corrupt,
    #[error("the node does not answer")]
    Away,
    #[error("the node answers, but not for this drive yet")]
    NotOpen,
    #[error("the node did not answer in time")]
    Late,
    #[error("the node has too much to do")]
    Overloaded,
    #[error("the node knows another epoch of the placement group")]
    Stale,
    #[error("the node refused")]
    Refused,
}

/// What a drive takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DriveHealth {
    Active,
    Full,
    Retired,
}

/// What a node says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct NodeReport {
    /// Its drives that are open.
    pub(crate) drives: Vec<DriveReport>,
    /// Where it gives metrics; empty where it does not say.
    pub(crate) metrics_address: String,
    /// Why it should get no clients; nothing where it is ready.
    pub(crate) not_ready: Vec<String>,
    /// Gateways without drives that it has heard lately.
    pub(crate) gateways: Vec<HeardGateway>,
}

/// How full a drive is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DriveReport {
    pub(crate) drive: DriveId,
    pub(crate) health: DriveHealth,
    pub(crate) capacity: u64,
    pub(crate) free: u64,
    pub(crate) record_bytes: u64,
}

impl DriveReport {
    /// Bytes that it takes until shard writes stop (rules.md 21).
    pub(crate) fn room(&self) -> u64 {
        if self.health != DriveHealth::Active {
            return 0;
        }
        let reserve = self.capacity / 100 * (100 - DRIVE_FULL_PERCENT);
        self.free.saturating_sub(reserve)
    }
}

/// A piece of a copy of a group's state.
#[derive(Debug, Clone)]
pub(crate) struct CopyAsk {
    pub(crate) group: GroupId,
    /// The copy; empty begins one.
    pub(crate) copy: String,
    pub(crate) offset: u64,
    /// A new copy shows at least the entry of this index.
    pub(crate) at_least: u64,
}

/// The piece.
#[derive(Debug, Clone)]
pub(crate) struct CopyPiece {
    pub(crate) copy: String,
    pub(crate) total_bytes: u64,
    pub(crate) index: u64,
    pub(crate) term: u64,
    pub(crate) bytes: Bytes,
}

/// The drives of the cluster.
#[async_trait]
pub(crate) trait Drives: Send + Sync {
    /// Whether this observer holds a node to be there.
    fn is_up(&self, node: NodeId) -> bool;

    /// Whether anything came from a node after `then`.
    fn answered_since(&self, node: NodeId, then: Instant) -> bool;

    /// Whether a node is this very process: no network between.
    fn is_near(&self, node: NodeId) -> bool;

    /// Writes a run; it is durable when this returns. The same run again changes nothing.
    async fn write(&self, run: Run, within: Duration) -> Result<(), DriveError>;

    /// Asks whether so many bytes of work in the background may be written to a drive now.
    ///
    /// # Errors
    /// [`DriveError::Overloaded`] until the node's pace lets them.
    async fn turn(&self, place: Place, bytes: u64, within: Duration) -> Result<(), DriveError>;

    /// Reads a part: verified, and of the length asked for.
    async fn read(&self, part: Part, within: Duration) -> Result<Bytes, DriveError>;

    /// Reads shards of one drive through, each with its length: whether all of each is there. `pg` is
    /// their placement group as of an epoch.
    ///
    /// # Errors
    /// [`DriveError::Stale`] when the node knows another epoch.
    async fn look(
        &self,
        place: Place,
        pg: (PgId, u64),
        shards: Vec<(ShardId, u64)>,
        within: Duration,
    ) -> Result<Vec<bool>, DriveError>;

    /// Removes every shard of `data` from a drive.
    async fn remove(
        &self,
        place: Place,
        data: Vec<DataId>,
        within: Duration,
    ) -> Result<(), DriveError>;

    /// Up to `limit` shards of a drive after `after`, in the order of their ids, each with the
    /// placement group that put it there.
    async fn list(
        &self,
        place: Place,
        after: Option<ShardId>,
        limit: u32,
        within: Duration,
    ) -> Result<Vec<(ShardId, PgId)>, DriveError>;

    /// How full the drives of a node are, and where it gives metrics.
    async fn report(&self, node: NodeId, within: Duration) -> Result<NodeReport, DriveError>;

    /// A piece of a copy of a group's state, from a node with a replica of it. `Away` also when the
    /// replica is not far enough; `NotFound` when the copy is gone.
    async fn copy_piece(
        &self,
        node: NodeId,
        ask: CopyAsk,
        within: Duration,
    ) -> Result<CopyPiece, DriveError>;

    /// How far the work of a node on its own drives is; a pass of the scrub is begun before where
    /// that is wished.
    async fn upkeep(
        &self,
        node: NodeId,
        start_scrub: bool,
        within: Duration,
    ) -> Result<UpkeepResponse, DriveError>;
}
