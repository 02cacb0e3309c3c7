//! This node's drives as their compaction needs them.

use std::sync::Arc;

use async_trait::async_trait;
use marram_maintain::{CompactDrives, CompactStep, Lane, OwnDriveError, Pace};
use marram_types::DriveId;

use super::super::storage::Drives;

/// The drives that are compacted.
pub(super) struct OwnCompaction {
    pub(super) drives: Arc<Drives>,
    pub(super) pace: Arc<Pace>,
}

fn failed(drive: DriveId, reason: impl std::fmt::Display) -> OwnDriveError {
    let reason = reason.to_string();
    OwnDriveError { drive, reason }
}

#[async_trait]
impl CompactDrives for OwnCompaction {
    fn drives(&self) -> Vec<DriveId> {
        self.drives.ids()
    }

    async fn next(&self, drive: DriveId) -> Option<u64> {
        let drive = self.drives.get(drive)?;
        // It asks the file system for its space.
        let next = tokio::task::spawn_blocking(move || drive.compactable()).await;
        next.ok().flatten().map(|next| next.segment)
    }

    async fn step(
        &self,
        drive: DriveId,
        segment: u64,
        from: u64,
        bytes_max: u64,
    ) -> Result<CompactStep, OwnDriveError> {
        let open = self.drives.get(drive);
        let open = open.ok_or_else(|| failed(drive, "this node does not have it"))?;
        let page = open.compact(segment, from, bytes_max).await;
        let page = page.map_err(|error| failed(drive, error))?;
        let damaged = page.bad.iter().map(|bad| (bad.at.shard, bad.pg));
        Ok(CompactStep {
            next: page.next,
            bytes: page.read_bytes + page.written_bytes,
            done: page.done,
            damaged: damaged.collect(),
        })
    }

    async fn pace(&self, drive: DriveId, bytes: u64) {
        self.pace.take(Lane::Drive(drive), bytes).await;
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use marram_maintain::PaceSettings;
    use marram_store::{Drive, DriveOptions, OsVfs, RunHeader};
    use marram_types::caps::MIB;
    use marram_types::{ClusterId, DataId, GroupId, PgId, PoolId, ShardId};
    use tokio::time::Instant;

    use super::*;

    const DRIVE: DriveId = DriveId(7);

    fn run(random: u64) -> RunHeader {
        RunHeader {
            shard: ShardId {
                data: DataId {
                    group: GroupId(1),
                    begin: 5,
                    random,
                },
                slot: 0,
                repair: 0,
            },
            pg: PgId {
                pool: PoolId(3),
                index: 1,
            },
            offset: 0,
            codec: 1,
            matrix: 1,
        }
    }

    /// A drive with a segment of which two of three records are dead.
    async fn half_dead(dir: &std::path::Path) -> Drive {
        let mut options = DriveOptions::new(DRIVE, ClusterId(1));
        options.segment_bytes = MIB as u64;
        options.limits.free_bytes_min = 0;
        options.limits.capacity = Some(1 << 30);
        let drive = Drive::open(Arc::new(OsVfs), dir, options).expect("opens");
        for i in 0..60_u8 {
            let bytes = Bytes::from(vec![i; 30_000]);
            let put = drive.put_run(run(u64::from(i)), bytes).await;
            put.expect("put");
        }
        let dead = (0..60).filter(|i| i % 3 > 0).map(|i| run(i).shard.data);
        drive.delete(dead.collect()).await.expect("deleted");
        drive
    }

    #[tokio::test]
    async fn a_drive_is_compacted_and_its_bytes_are_paced() {
        let dir = tempfile::tempdir().expect("temp dir");
        let drive = half_dead(dir.path()).await;
        let slow = PaceSettings {
            drive_bytes_per_s: 1,
            ..PaceSettings::default()
        };
        let own = OwnCompaction {
            drives: Arc::new(Drives::of([drive.clone()])),
            pace: Arc::new(Pace::new(slow)),
        };
        let segment = own.next(DRIVE).await.expect("two thirds are dead");
        assert_eq!(own.next(DriveId(8)).await, None);
        let step = own.step(DRIVE, segment, 0, 300_000).await.expect("a step");
        assert!(!step.done && step.next >= 300_000, "{step:?}");
        // Read, and a third of it written.
        assert!((400_000..500_000).contains(&step.bytes), "{step:?}");
        let mut from = step.next;
        loop {
            let step = own.step(DRIVE, segment, from, 300_000).await;
            let step = step.expect("a step");
            from = step.next;
            if step.done {
                break;
            }
        }
        assert_eq!(drive.figures().compaction.segments, 1);
        for i in (0..60_u8).step_by(3) {
            let read = drive.read(run(u64::from(i)).shard, 0, 30_000).await;
            assert_eq!(read.expect("lives"), vec![i; 30_000]);
        }
        assert!(own.step(DriveId(8), 1, 0, 1).await.is_err());
        // The drive's lane lets 16 MiB a second pass at the least.
        let began = Instant::now();
        own.pace(DRIVE, 64 * MIB as u64).await;
        own.pace(DRIVE, 1).await;
        assert!(began.elapsed().as_secs_f64() > 1.0, "{:?}", began.elapsed());
    }
}
