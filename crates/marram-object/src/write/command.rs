//! What a write session asks of its driver, and what the driver tells it.

use marram_erasure::Geometry;
use marram_meta::NewExtent;
use marram_types::{DataId, DriveId, PgId, ShardId};

/// A window of one session, counted from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WindowId(pub u64);

/// An extent of one session, counted from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ExtentId(pub u32);

/// One run: a window's part of one shard, in one attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RunId {
    /// The extent: a window that is written again has another.
    pub extent: ExtentId,
    /// The window.
    pub window: WindowId,
    /// The shard, `0..k+m`.
    pub shard: u8,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunOutcome {
    /// The drive says that it is durable.
    Durable,
    /// The drive refused, the peer is away, or the deadline passed. Whether the bytes are there is
    /// not known and does not matter.
    Failed,
}

/// Where a new extent goes: a row, and a data id never used before (rules.md 17).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExtentPlan {
    /// Fresh for each plan.
    pub data: DataId,
    /// The placement group.
    pub pg: PgId,
    /// Its drives.
    pub row: Vec<DriveId>,
    /// By slot, the second place of one that moves: written too, as far as it takes the bytes.
    pub also: Vec<Option<DriveId>>,
    /// Which of them can take data.
    pub living: Vec<bool>,
}

/// Where the run of one shard goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    /// The shard.
    pub shard: u8,
    /// Its slot of the placement group's row.
    pub slot: u8,
    /// The drive in that slot.
    pub drive: DriveId,
    /// The drive that the slot moves to. The run is durable without it; whether it was written there
    /// too is reported with [`WriteSession::second_place_failed`](crate::WriteSession::second_place_failed).
    pub also: Option<DriveId>,
}

/// A window to encode and send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WindowWrite {
    /// The extent.
    pub extent: ExtentId,
    /// The window.
    pub window: WindowId,
    /// The extent's data id.
    pub data: DataId,
    /// The extent's placement group.
    pub pg: PgId,
    /// The window's own geometry, for `marram_erasure::encode_window`.
    pub geometry: Geometry,
    /// Where its runs begin in their shards.
    pub shard_offset: u64,
    /// One for each shard, in the order of the shards.
    pub targets: Vec<Target>,
}

impl WindowWrite {
    /// The run of a shard, to report its end.
    #[must_use]
    pub fn run(&self, shard: u8) -> RunId {
        RunId {
            extent: self.extent,
            window: self.window,
            shard,
        }
    }

    /// The stored name of a shard.
    #[must_use]
    pub fn shard_id(&self, shard: u8) -> ShardId {
        ShardId {
            data: self.data,
            slot: shard,
            repair: 0,
        }
    }
}

/// All windows are durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Completed {
    /// The object's extents in order; each has all of its shards.
    pub extents: Vec<NewExtent>,
    /// Some extent has another profile than was asked for: a repair ticket is due.
    pub narrowed: bool,
    /// Some extent survives fewer losses than was asked for.
    pub under_protected: bool,
}

/// Why a write cannot go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WriteFailure {
    /// Drives fail faster than windows become durable.
    #[error("{count} shard writes failed and no window became durable in between: try again later")]
    Failures {
        /// Failures in a row.
        count: u32,
    },
    /// The object would have more extents than a row can name.
    #[error("the object was cut into {count} extents by failing drives: try again later")]
    Extents {
        /// Extents so far.
        count: usize,
    },
}

/// What the driver is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Plan an extent and call `extent_planned`.
    PlanExtent,
    /// Encode a window and send its runs.
    Write(WindowWrite),
    /// Runs of the extent for this window and later ones do not matter any more.
    Forget {
        /// The extent.
        extent: ExtentId,
        /// The first such window.
        from: WindowId,
    },
    /// The window is on all its drives: its bytes may be dropped.
    Durable(WindowId),
    /// Commit. The last command.
    Complete(Completed),
    /// Give up and drop what was written. The last command.
    Fail(WriteFailure),
}

/// Why a window was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PushError {
    /// The session is finished or has windows enough on their way.
    #[error("the write does not want a window now")]
    NotWanted,
    /// The window has no bytes or too many.
    #[error("a window of {len} bytes is not possible: 1 to {max}")]
    Length {
        /// What was pushed.
        len: usize,
        /// The most.
        max: usize,
    },
}

/// An extent that no commit names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Abandoned {
    /// Its data id.
    pub data: DataId,
    /// Drives that may hold shards of it.
    pub drives: Vec<DriveId>,
}
