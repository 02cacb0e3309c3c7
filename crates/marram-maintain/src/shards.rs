//! The seam to the drives of all nodes, for work in the background: shards are brought to a drive,
//! looked at, and taken away. Every request names the epoch of the placement group's row that it acts
//! on, and a node that knows of a newer one refuses (rules.md 24).

use marram_meta::Extent;
use marram_types::{DataId, DriveId, NodeId, PgId, ShardId};

/// Shards in one request.
pub const SHARDS_PER_REQUEST_MAX: usize = 64;

/// Why a node did not do what it was asked. Nothing is half done: the same request may be sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ShardsError {
    /// The node does not answer, or not in time.
    #[error("the node does not answer")]
    Away,
    /// The node answers, and has more to do than it can take now: its drives are as good as before.
    #[error("the node is busy")]
    Busy,
    /// The node's view of the layout is older than the request; it will catch up.
    #[error("the node does not know this epoch of the layout yet")]
    Behind,
    /// The node knows a newer epoch of the placement group: look again.
    #[error("the layout has moved on")]
    Stale,
    /// The drive has no room.
    #[error("the drive is full")]
    Full,
    /// The node refused, or failed.
    #[error("the node refused")]
    Refused,
}

/// A shard that shall be on a drive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Its extent.
    pub extent: Extent,
    /// Which of its shards.
    pub shard: u8,
    /// Where readers find each of the extent's shards now.
    pub places: Vec<DriveId>,
}

/// What became of a wanted shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restored {
    /// All of it is durable on the drive and was verified there: it was there already, or was copied
    /// from its place, or computed from others.
    Held {
        /// Bytes that were written for it.
        written: u64,
    },
    /// Neither its place nor enough of the others could be read.
    NoSource,
    /// It could not be written or verified.
    Failed,
}

/// What a look at a shard found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// All of it is there, every block verified.
    Whole,
    /// It, or a part of it, is not there.
    Missing,
    /// It is there and damaged.
    Damaged,
}

/// The drives of all nodes.
#[async_trait::async_trait]
pub trait Shards: Send + Sync + 'static {
    /// Whether this observer holds a node to be there.
    fn is_up(&self, node: NodeId) -> bool;

    /// Whether a node is held dead for what is decided: not by this observer alone.
    fn is_dead(&self, node: NodeId) -> bool {
        !self.is_up(node)
    }

    /// Has a node bring shards to one of its drives: from their places, or computed. Answers for
    /// each when it is durable and verified. At most [`SHARDS_PER_REQUEST_MAX`].
    async fn restore(
        &self,
        node: NodeId,
        drive: DriveId,
        (pg, epoch): (PgId, u64),
        wanted: Vec<Wanted>,
    ) -> Result<Vec<Restored>, ShardsError>;

    /// Has a node look at shards of one of its drives, each with its length in bytes.
    async fn look(
        &self,
        node: NodeId,
        drive: DriveId,
        (pg, epoch): (PgId, u64),
        shards: Vec<(ShardId, u64)>,
    ) -> Result<Vec<Seen>, ShardsError>;

    /// Has a node remove single shards that the layout of this epoch does not want on the drive,
    /// each with the slot of the placement group's row that it uses: another slot of the row may be
    /// on that very drive.
    async fn clean(
        &self,
        node: NodeId,
        drive: DriveId,
        (pg, epoch): (PgId, u64),
        shards: Vec<(ShardId, u8)>,
    ) -> Result<(), ShardsError>;

    /// Has a node remove every shard of data that nothing refers to any more.
    async fn drop_data(
        &self,
        node: NodeId,
        drive: DriveId,
        data: Vec<DataId>,
    ) -> Result<(), ShardsError>;
}
