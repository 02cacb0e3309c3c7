//! One shard from elsewhere to a drive of this node.
//!
//! A part that is there already is gone on from: a large shard may take several requests. Parts with
//! gaps or damage between are removed first, but only when all of the shard can be had from
//! elsewhere: they may be the last good bytes there are.

use marram_erasure::{CODEC_ID, Geometry, MATRIX_ID};
use marram_maintain::{Lane, Pace, Wanted, fault_point};
use marram_store::{Drive, PutError, RunHeader};
use marram_types::ShardId;
use marram_types::caps::MIB;
use tokio::time::Instant;

use super::inspect::{Found, Inspect};
use super::source::{Source, Sources, shard_id};

/// Largest run that is written: what one shard has in memory.
const RUN_BYTES: u64 = 4 * MIB as u64;

/// Why a shard was not restored.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// The drive has no room.
    Full,
    /// It cannot be had from elsewhere.
    NoSource,
    /// Anything else.
    Failed(String),
}

fn failed(reason: &impl ToString) -> Stop {
    Stop::Failed(reason.to_string())
}

/// The shard that is wanted.
pub(super) fn shard_of(wanted: &Wanted) -> ShardId {
    shard_id(wanted, wanted.shard)
}

/// Brings shards to one drive.
pub(super) struct Restore<'a> {
    pub(super) drive: &'a Drive,
    pub(super) sources: &'a dyn Sources,
    pub(super) pace: &'a Pace,
    /// When to stop: what is durable by then is gone on from by the next request.
    pub(super) until: Instant,
}

impl Restore<'_> {
    /// Returns how many bytes were written, once all of the shard is durable and was read back.
    pub(super) async fn run(&self, wanted: &Wanted) -> Result<u64, Stop> {
        let extent = &wanted.extent;
        let geometry = Geometry::with_cell(extent.profile, extent.cell, extent.length);
        let len = geometry.map_err(|e| failed(&e))?.shard_len();
        let shard = shard_of(wanted);
        let look = Inspect {
            drive: self.drive,
            pace: self.pace,
            until: self.until,
        };
        let found = look.run(shard, 0..len).await;
        let kept = match found.map_err(|e| failed(&e))? {
            Found::Whole => return Ok(0),
            Found::Until(kept) => kept,
            Found::Holes | Found::Damaged => {
                self.remove(wanted, len).await?;
                0
            }
            Found::Late => return Err(failed(&"there was no time to read what is there")),
        };
        self.write(wanted, kept, len).await?;
        fault_point("restore.written");
        let found = look.run(shard, kept..len).await;
        match found.map_err(|e| failed(&e))? {
            Found::Whole => Ok(len - kept),
            found => Err(failed(&format!("read back it was {found:?}"))),
        }
    }

    /// Removes what is there, after all of the shard was read or computed from elsewhere once.
    async fn remove(&self, wanted: &Wanted, len: u64) -> Result<(), Stop> {
        let mut source = Source::new(self.sources, wanted, self.drive.id());
        let mut at = 0;
        while at < len {
            at = self.next(&mut source, at, len).await?.1;
        }
        let shard = shard_of(wanted);
        tracing::info!(target: "gc", %shard, drive = %self.drive.id(), "what is damaged here is elsewhere: it is removed and written anew");
        let removed = self.drive.delete_shards(vec![shard]).await;
        removed.map(|_| ()).map_err(|e| failed(&e))
    }

    async fn write(&self, wanted: &Wanted, from: u64, len: u64) -> Result<(), Stop> {
        let mut source = Source::new(self.sources, wanted, self.drive.id());
        let mut at = from;
        while at < len {
            let (bytes, end) = self.next(&mut source, at, len).await?;
            let header = RunHeader {
                shard: shard_of(wanted),
                pg: wanted.extent.pg,
                offset: at,
                codec: CODEC_ID,
                matrix: MATRIX_ID,
            };
            self.pace.take(Lane::Drive(self.drive.id()), end - at).await;
            match self.drive.put_run(header, bytes).await {
                Ok(()) => {
                    at = end;
                    fault_point("restore.run");
                }
                Err(PutError::Full { .. }) => return Err(Stop::Full),
                Err(error) => return Err(failed(&error)),
            }
        }
        Ok(())
    }

    /// The next run from `at`, and where it ends.
    async fn next(
        &self,
        source: &mut Source<'_>,
        at: u64,
        len: u64,
    ) -> Result<(bytes::Bytes, u64), Stop> {
        if Instant::now() >= self.until {
            return Err(failed(&"time ran out"));
        }
        let end = len.min(at + RUN_BYTES);
        let bytes = source.range(at..end).await.ok_or(Stop::NoSource)?;
        Ok((bytes, end))
    }
}
