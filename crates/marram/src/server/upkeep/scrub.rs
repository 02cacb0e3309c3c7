//! This node's drives as their scrub needs them.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use marram_maintain::{
    Fault, FaultyRun, Lane, OwnDriveError, Pace, ReadThrough, RunPlace, ScrubDrives, ScrubSettings,
};
use marram_store::{Drive, RunAt, RunFault};
use marram_types::caps::MIB;
use marram_types::config::UpkeepConfig;
use marram_types::{DriveId, ShardId};

use super::super::lifetime;
use super::super::storage::Drives;

/// When and how fast drives are scrubbed.
pub(in crate::server) fn settings(config: &UpkeepConfig) -> ScrubSettings {
    ScrubSettings {
        every: Duration::from_secs(config.scrub_every_s),
        bytes_per_s: config.scrub_mib_per_s * MIB as u64,
    }
}

/// The drives that are scrubbed.
pub(in crate::server) struct OwnScrub {
    pub drives: Arc<Drives>,
    pub pace: Arc<Pace>,
}

fn failed(drive: DriveId, reason: impl std::fmt::Display) -> OwnDriveError {
    let reason = reason.to_string();
    OwnDriveError { drive, reason }
}

impl OwnScrub {
    fn drive(&self, drive: DriveId) -> Result<Drive, OwnDriveError> {
        let found = self.drives.get(drive);
        found.ok_or_else(|| failed(drive, "this node does not have it"))
    }
}

#[async_trait]
impl ScrubDrives for OwnScrub {
    fn drives(&self) -> Vec<DriveId> {
        self.drives.ids()
    }

    fn record_bytes(&self, drive: DriveId) -> u64 {
        let found = self.drives.get(drive);
        found.map_or(0, |drive| drive.stat().live_record_bytes)
    }

    async fn read(
        &self,
        drive: DriveId,
        after: Option<RunPlace>,
        bytes_max: u64,
    ) -> Result<ReadThrough, OwnDriveError> {
        let after = after.map(|RunPlace { shard, offset }| RunAt { shard, offset });
        let page = self.drive(drive)?.scrub(after, bytes_max).await;
        let page = page.map_err(|error| failed(drive, error))?;
        let faulty = page.bad.iter().map(|bad| FaultyRun {
            shard: bad.at.shard,
            pg: bad.pg,
            fault: match bad.fault {
                RunFault::Damaged => Fault::Damaged,
                RunFault::Unreadable => Fault::Unreadable,
                RunFault::Gone => Fault::Gone,
            },
        });
        Ok(ReadThrough {
            runs: page.runs,
            bytes: page.bytes,
            faulty: faulty.collect(),
            mended: page.mended,
            last: page
                .last
                .map(|RunAt { shard, offset }| RunPlace { shard, offset }),
            done: page.done,
        })
    }

    async fn holds(
        &self,
        drive: DriveId,
        shards: Vec<(ShardId, u64)>,
    ) -> Result<Vec<bool>, OwnDriveError> {
        let held = self.drive(drive)?.covers(shards).await;
        held.map_err(|error| failed(drive, error))
    }

    async fn note(&self, drive: DriveId) -> Option<Vec<u8>> {
        self.drives.get(drive)?.note().await
    }

    async fn keep_note(&self, drive: DriveId, note: Vec<u8>) -> Result<(), OwnDriveError> {
        let kept = self.drive(drive)?.keep_note(note).await;
        kept.map_err(|error| failed(drive, error))
    }

    async fn pace(&self, drive: DriveId, bytes: u64) {
        self.pace.take(Lane::Drive(drive), bytes).await;
    }

    fn now_ms(&self) -> u64 {
        lifetime::now_ms()
    }
}
