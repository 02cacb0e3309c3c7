//! The scrub, the search for garbage and the comparison of replicas.

use std::sync::{Arc, PoisonError};

use async_trait::async_trait;
use marram_maintain::{
    Comparisons, DriveScrub, LifecycleReport, ScanReport, ScrubFindings, ScrubHandle, Verdict,
};
use marram_metrics::catalogue::{
    GARBAGE_REMOVED, GARBAGE_SCANS, GARBAGE_WAITING, LIFECYCLE_EXPIRED, LIFECYCLE_EXPIRED_SIZE,
    LIFECYCLE_WALKED, REPLICAS_DIFFERENT, SCRUB_ENDED, SCRUB_FOUND, SCRUB_READ, SCRUB_STUCK,
};
use marram_metrics::{Sheet, Source};
use marram_types::DriveId;
use tokio::sync::watch;

/// The work of this server on its own drives and replicas.
pub(in crate::server) struct UpkeepSource {
    /// The scrub.
    pub scrub: Arc<ScrubHandle>,
    /// The last search for garbage.
    pub scan: watch::Receiver<ScanReport>,
    /// The replicas of the groups that it leads, compared.
    pub comparisons: Comparisons,
    /// What went by the rules of buckets.
    pub lifecycle: watch::Receiver<LifecycleReport>,
}

#[async_trait]
impl Source for UpkeepSource {
    async fn collect(&self, sheet: &mut Sheet) {
        for (drive, scrub) in self.scrub.states() {
            write(sheet, drive, &scrub);
        }
        let scan = *self.scan.borrow();
        sheet.set(&GARBAGE_SCANS, &[], scan.scans);
        sheet.set(&GARBAGE_REMOVED, &[], scan.removed + scan.cleaned);
        sheet.set(&GARBAGE_WAITING, &[], scan.waiting);
        write_lifecycle(sheet, &self.lifecycle.borrow());
        let compared = self.comparisons.lock();
        let compared = compared.unwrap_or_else(PoisonError::into_inner);
        let different = compared.values().map(|one| match &one.verdict {
            Verdict::Different(nodes) => nodes.len(),
            Verdict::Equal(_) | Verdict::Unknown => 0,
        });
        sheet.set(&REPLICAS_DIFFERENT, &[], different.sum::<usize>() as u64);
    }
}

fn write_lifecycle(sheet: &mut Sheet, report: &LifecycleReport) {
    let done = report.expired;
    let counts = [
        ("expire", done.current),
        ("expire_noncurrent", done.noncurrent),
        ("remove_marker", done.markers),
        ("abort_upload", done.uploads),
    ];
    for (action, count) in counts {
        sheet.set(&LIFECYCLE_EXPIRED, &[action], count);
    }
    sheet.set(&LIFECYCLE_EXPIRED_SIZE, &[], done.bytes);
    for (group, ended_ms) in &report.ended_ms {
        let group = group.0.to_string();
        sheet.set(&LIFECYCLE_WALKED, &[&group], ended_ms / 1000);
    }
}

fn write(sheet: &mut Sheet, drive: DriveId, scrub: &DriveScrub) {
    let id = drive.0.to_string();
    let (note, labels) = (&scrub.note, [id.as_str()]);
    let last = note.last.as_ref();
    // Between passes it still says what the last one found.
    let now = note.is_under_way().then_some(&note.found);
    let passes = [now, last.map(|pass| &pass.found)];
    let both = |of: fn(&ScrubFindings) -> u64| passes.into_iter().flatten().map(of).sum();
    let found = [
        ("damaged", both(|found| found.damaged)),
        ("unreadable", both(|found| found.unreadable)),
        ("gone", both(|found| found.gone)),
        ("missing", both(|found| found.missing)),
    ];
    for (finding, count) in found {
        sheet.set(&SCRUB_FOUND, &[&id, finding], count);
    }
    sheet.set(&SCRUB_READ, &labels, now.map_or(0, |found| found.bytes));
    sheet.set(
        &SCRUB_ENDED,
        &labels,
        last.map_or(0, |pass| pass.ended_ms / 1000),
    );
    sheet.set(&SCRUB_STUCK, &labels, u64::from(scrub.stuck));
}
