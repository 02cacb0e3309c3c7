//! What this node does for its own drives and replicas in the background, and what it tells of it.
//!
//! ```text
//! args        the settings
//! compaction  this node's drives as their compaction needs them
//! scrub       this node's drives as their scrub needs them
//! states      replicas of groups as their comparison needs them
//! keeper      drives come, fail, go away and come back
//! ```

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use marram_maintain::{
    Compactor, Comparisons, DriveScrub, LifecycleClock, LifecycleReport, LifecycleWorker, Pace,
    ScanReport, ScrubFindings, ScrubHandle, ScrubStage, Scrubber, Shards, Verdict,
    compare_replicas,
};
use marram_meta::{ClusterView, Pausable};
use marram_proto::mesh::v1 as wire;
use marram_types::config::ServerConfig;
use marram_types::{DriveId, GroupId};
use tokio::sync::watch;

use super::gc;
use super::lifetime::now_ms;
use super::local::Local;
use super::observe::UpkeepSource;
use super::storage::Drives;
use super::tasks::Tasks;

mod args;
mod compaction;
mod keeper;
mod scrub;
mod states;

pub(super) use args::UpkeepArgs;
use compaction::OwnCompaction;
use keeper::keep_drives;
use scrub::{OwnScrub, settings};
use states::States;
pub(super) use states::hash_at;

/// How often the replicas of a group compare their state, where drives are not scrubbed more often.
const COMPARE_EVERY: Duration = Duration::from_hours(1);

/// How often what buckets hold is walked through by their rules, where no rule changes. What is due was due at
/// a midnight; what comes to be so at other times has a day's grace behind it.
const WALK_EVERY: Duration = Duration::from_hours(1);

/// What can be asked of the work in the background.
pub(super) struct Upkeep {
    scrub: Arc<ScrubHandle>,
    scan: watch::Receiver<ScanReport>,
    comparisons: Comparisons,
    lifecycle: watch::Receiver<LifecycleReport>,
    view: watch::Receiver<Arc<ClusterView>>,
    scrub_every_s: u64,
}

/// Begins all of it, and garbage collection, in `tasks`.
pub(super) fn spawn<S: Shards>(
    tasks: &mut Tasks,
    config: &ServerConfig,
    local: &Arc<Local>,
    shards: &Arc<S>,
    (drives, pace): (&Arc<Drives>, &Arc<Pace>),
) -> Upkeep {
    let view = local.view.clone();
    let (local, drives) = (Arc::clone(local), Arc::clone(drives));
    let (scan, garbage) = gc::tasks(
        config,
        Arc::clone(&local),
        Arc::clone(shards),
        Arc::clone(&drives),
    );
    tasks.spawn("garbage", garbage);
    let scrub = Arc::new(ScrubHandle::default());
    let own = OwnScrub {
        drives: Arc::clone(&drives),
        pace: Arc::clone(pace),
    };
    let scrubber = Scrubber::new(
        Arc::clone(&local),
        Arc::new(own),
        view.clone(),
        settings(&config.upkeep),
        Arc::clone(&scrub),
    );
    tasks.spawn("scrub", scrubber.run());
    let own = OwnCompaction {
        drives: Arc::clone(&drives),
        pace: Arc::clone(pace),
    };
    let compactor = Compactor::new(Arc::clone(&local), Arc::new(own), view.clone());
    tasks.spawn("compaction", compactor.run());
    let comparisons = Comparisons::default();
    let compare = compare_replicas(
        Arc::clone(&local),
        Arc::new(States(Arc::clone(&local))),
        view.clone(),
        COMPARE_EVERY.min(Duration::from_secs(config.upkeep.scrub_every_s)),
        Arc::clone(&comparisons),
    );
    tasks.spawn("comparison", compare);
    let clock = LifecycleClock {
        steady: tokio::time::Instant::now,
        now_ms,
    };
    let worker = LifecycleWorker::new(Arc::clone(&local), view.clone(), WALK_EVERY, clock);
    let lifecycle = worker.report();
    tasks.spawn("lifecycle", worker.run());
    tasks.spawn("drives", keep_drives(config.clone(), local, drives));
    Upkeep {
        scrub,
        scan,
        comparisons,
        lifecycle,
        view,
        scrub_every_s: config.upkeep.scrub_every_s,
    }
}

impl Upkeep {
    /// What operators see of it.
    pub(super) fn observed(&self) -> UpkeepSource {
        UpkeepSource {
            scrub: Arc::clone(&self.scrub),
            scan: self.scan.clone(),
            comparisons: Arc::clone(&self.comparisons),
            lifecycle: self.lifecycle.clone(),
        }
    }

    /// Says how far it is; begins a pass of the scrub first where that is asked for.
    pub(super) async fn answer(&self, request: wire::UpkeepRequest) -> wire::UpkeepResponse {
        if request.start_scrub {
            let under_way = self.scrub.start().await;
            tracing::info!(target: "scrub", under_way, "an operator asked for a pass");
        }
        let drives = self.scrub.states().into_iter();
        let scan = *self.scan.borrow();
        let (view_index, upkeep) = {
            let view = self.view.borrow();
            (view.index, view.upkeep)
        };
        wire::UpkeepResponse {
            drives: drives
                .map(|(drive, scrub)| to_wire(drive, &scrub))
                .collect(),
            scan: Some(wire::ScanReport {
                scans: scan.scans,
                shards: scan.shards,
                removed: scan.removed,
                cleaned: scan.cleaned,
                waiting: scan.waiting,
            }),
            comparisons: self.comparisons(),
            view_index,
            garbage_paused: upkeep.paused(Pausable::Garbage).is_some(),
            scrub_paused: upkeep.paused(Pausable::Scrub).is_some(),
            repair_paused: upkeep.paused(Pausable::Repair).is_some(),
            moves_paused: upkeep.paused(Pausable::Moves).is_some(),
            scrub_every_s: self.scrub_every_s,
        }
    }

    fn comparisons(&self) -> Vec<wire::ReplicaComparison> {
        let found = self
            .comparisons
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let each = |(group, compared): (&GroupId, &marram_maintain::Compared)| {
            let (equal, different) = match &compared.verdict {
                Verdict::Equal(replicas) => {
                    (u32::try_from(*replicas).unwrap_or(u32::MAX), Vec::new())
                }
                Verdict::Different(nodes) => (0, nodes.iter().map(|node| node.0).collect()),
                Verdict::Unknown => (0, Vec::new()),
            };
            wire::ReplicaComparison {
                group: u32::from(group.0),
                at_ms: compared.at_ms,
                index: compared.index,
                equal,
                different,
            }
        };
        found.iter().map(each).collect()
    }
}

fn findings(found: &ScrubFindings) -> wire::ScrubFindings {
    wire::ScrubFindings {
        runs: found.runs,
        bytes: found.bytes,
        compared: found.compared,
        damaged: found.damaged,
        unreadable: found.unreadable,
        gone: found.gone,
        missing: found.missing,
        tickets: found.tickets,
        mended: found.mended,
    }
}

fn to_wire(drive: DriveId, scrub: &DriveScrub) -> wire::DriveScrub {
    let note = &scrub.note;
    let stage = match note.stage {
        ScrubStage::Resting => wire::ScrubStage::Resting,
        ScrubStage::Reading { .. } => wire::ScrubStage::Reading,
        ScrubStage::Comparing { .. } => wire::ScrubStage::Comparing,
    };
    wire::DriveScrub {
        drive: drive.0,
        stage: stage.into(),
        since_ms: note.since_ms,
        found: Some(findings(&note.found)),
        last: note.last.as_ref().map(|pass| wire::FullScrub {
            began_ms: pass.began_ms,
            ended_ms: pass.ended_ms,
            found: Some(findings(&pass.found)),
        }),
        total_bytes: scrub.total_bytes,
        bytes_per_s: scrub.bytes_per_s,
        stuck: scrub.stuck,
    }
}
