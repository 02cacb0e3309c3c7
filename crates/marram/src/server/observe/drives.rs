//! The drives of this server.

use std::sync::Arc;

use async_trait::async_trait;
use marram_metrics::catalogue::{
    CACHE_HITS, CACHE_MISSES, CACHE_SIZE, DRIVE_CAPACITY, DRIVE_COMPACTED, DRIVE_COPIED,
    DRIVE_DEAD, DRIVE_FOLDERS_WAITING, DRIVE_FREE, DRIVE_QUEUED, DRIVE_QUEUED_RUNS, DRIVE_RECORDS,
    DRIVE_RETURNED, DRIVE_RUNS, DRIVE_STATES, DRIVE_SYNCED_RUNS, DRIVE_SYNCS,
};
use marram_metrics::{Sheet, Source};
use marram_store::{CacheFigures, DriveFigures, DriveStat, DriveState};
use marram_types::DriveId;

use super::super::storage::Drives;

/// How full the drives are.
pub(in crate::server) struct DriveSource(pub(in crate::server) Arc<Drives>);

#[async_trait]
impl Source for DriveSource {
    async fn collect(&self, sheet: &mut Sheet) {
        let drives = Arc::clone(&self.0);
        // Asking the file systems for their space may take long.
        let read = tokio::task::spawn_blocking(move || {
            let waiting = drives.waiting().len();
            let stats = drives
                .all()
                .into_iter()
                .map(|drive| (drive.id(), drive.stat(), drive.figures()));
            (waiting, stats.collect::<Vec<_>>())
        });
        let Ok((waiting, stats)) = read.await else {
            return;
        };
        sheet.set(&DRIVE_FOLDERS_WAITING, &[], waiting as u64);
        let (mut files, mut index) = (CacheFigures::default(), CacheFigures::default());
        for (_, _, figures) in &stats {
            for (all, one) in [(&mut files, figures.files), (&mut index, figures.index)] {
                all.hits += one.hits;
                all.misses += one.misses;
                all.bytes += one.bytes;
            }
        }
        for (name, cache) in [("segments", files), ("index", index)] {
            sheet.set(&CACHE_HITS, &[name], cache.hits);
            sheet.set(&CACHE_MISSES, &[name], cache.misses);
        }
        sheet.set(&CACHE_SIZE, &["index"], index.bytes);
        for (drive, stat, figures) in stats {
            write(sheet, drive, &stat);
            write_queues(sheet, drive, &figures);
        }
    }
}

fn write(sheet: &mut Sheet, drive: DriveId, stat: &DriveStat) {
    let id = drive.0.to_string();
    let labels = [id.as_str()];
    sheet.set(&DRIVE_CAPACITY, &labels, stat.capacity);
    sheet.set(&DRIVE_FREE, &labels, stat.free);
    sheet.set(&DRIVE_RECORDS, &labels, stat.live_record_bytes);
    sheet.set(&DRIVE_RUNS, &labels, stat.runs);
    let state = match stat.state {
        DriveState::Active => "active",
        DriveState::Full => "full",
        DriveState::Retired => "retired",
    };
    sheet.set_one_of(
        &DRIVE_STATES,
        &labels,
        &["active", "full", "retired"],
        state,
    );
}

fn write_queues(sheet: &mut Sheet, drive: DriveId, figures: &DriveFigures) {
    let id = drive.0.to_string();
    sheet.set(&DRIVE_DEAD, &[&id], figures.dead_bytes);
    let compaction = figures.compaction;
    sheet.set(&DRIVE_COMPACTED, &[&id], compaction.segments);
    sheet.set(&DRIVE_COPIED, &[&id], compaction.copied_bytes);
    sheet.set(&DRIVE_RETURNED, &[&id], compaction.returned_bytes);
    for (class, queue) in [("large", figures.large), ("small", figures.small)] {
        let labels = [id.as_str(), class];
        sheet.set(&DRIVE_QUEUED_RUNS, &labels, queue.waiting_runs);
        sheet.set(&DRIVE_QUEUED, &labels, queue.waiting_bytes);
        sheet.set(&DRIVE_SYNCS, &labels, queue.syncs);
        sheet.set(&DRIVE_SYNCED_RUNS, &labels, queue.synced_runs);
    }
}
