//! How much of a shard is on a drive, verified.

use std::ops::Range;

use marram_maintain::{Lane, Pace};
use marram_store::{Drive, ReadError};
use marram_types::ShardId;
use marram_types::caps::MIB;
use tokio::time::Instant;

/// Bytes that are read at once.
const READ_BYTES: u64 = 4 * MIB as u64;

/// What is there of a range of a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// All of it.
    Whole,
    /// What lies before this offset, and nothing of the shard behind it.
    Until(u64),
    /// Parts of it, with gaps between.
    Holes,
    /// A block of it fails its checksum or cannot be read.
    Damaged,
    /// Time ran out before the end.
    Late,
}

/// Looks at shards of one drive.
pub(super) struct Inspect<'a> {
    pub(super) drive: &'a Drive,
    pub(super) pace: &'a Pace,
    /// When to stop.
    pub(super) until: Instant,
}

impl Inspect<'_> {
    /// Reads a range of a shard through.
    ///
    /// # Errors
    /// When the drive as a whole does not serve.
    pub(super) async fn run(&self, shard: ShardId, range: Range<u64>) -> Result<Found, ReadError> {
        let mut at = range.start;
        let mut end = range.end;
        let mut gap = false;
        while at < end {
            if Instant::now() >= self.until {
                return Ok(Found::Late);
            }
            let next = end.min(at + READ_BYTES);
            let len = usize::try_from(next - at).expect("at most 4 MiB");
            self.pace
                .take(Lane::Drive(self.drive.id()), next - at)
                .await;
            match self.drive.read(shard, at, len).await {
                Ok(_) => at = next,
                Err(ReadError::NotFound { offset, .. }) => {
                    // Bytes before the gap may be of the same read, which verified none of them.
                    end = offset.clamp(at, next);
                    gap = true;
                }
                Err(ReadError::Corrupt { .. } | ReadError::Io(_)) => return Ok(Found::Damaged),
                Err(error) => return Err(error),
            }
        }
        if !gap {
            return Ok(Found::Whole);
        }
        if self.drive.shard_end(shard).await? > at {
            return Ok(Found::Holes);
        }
        Ok(Found::Until(at))
    }
}
