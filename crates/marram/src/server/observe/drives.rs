//! The drives of this server.

use std::sync::Arc;

use async_trait::async_trait;
use marram_metrics::catalogue::{
    DRIVE_CAPACITY, DRIVE_FOLDERS_WAITING, DRIVE_FREE, DRIVE_RECORDS, DRIVE_RUNS, DRIVE_STATES,
};
use marram_metrics::{Sheet, Source};
use marram_store::{DriveStat, DriveState};
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
                .map(|drive| (drive.id(), drive.stat()));
            (waiting, stats.collect::<Vec<_>>())
        });
        let Ok((waiting, stats)) = read.await else {
            return;
        };
        sheet.set(&DRIVE_FOLDERS_WAITING, &[], waiting as u64);
        for (drive, stat) in stats {
            write(sheet, drive, &stat);
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
