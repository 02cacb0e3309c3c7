//! Every node reads everything on its drives now and then, and compares what is there with what the
//! groups say to be there, both ways.
//!
//! ```text
//! note       how far a drive is, kept with it (pure)
//! pass       one step of a pass: read a page, or compare one
//! replicas   replicas of a group compare their state at the same index
//! ```
//!
//! What is not what was written, or not there, is reported to its group, which files a ticket; repairs
//! bring it back from the others. What is there and belongs to nobody is the [`Scanner`]'s to judge.
//! One pass goes over a drive at a time, at the pace of work in the background, and it goes on only
//! when a group has heard of every fault: nothing found is lost by a restart.
//!
//! [`Scanner`]: crate::Scanner

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use marram_meta::{ClusterView, Pausable};
use marram_types::{DriveId, PgId, ShardId};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::beside::each_drive;
use crate::consensus::Consensus;
use crate::scan::OwnDriveError;

mod note;
mod pass;
mod replicas;
#[cfg(test)]
mod tests;

pub use note::{FullPass, RunPlace, ScrubFindings, ScrubNote, ScrubStage};
pub use replicas::{Compared, Comparisons, HashAnswer, ReplicaStates, Verdict, compare_replicas};

use pass::Pass;
pub(crate) use pass::tell_missing;

/// How often it is looked whether a drive has come, or its time.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// A step that could not be taken is tried again after this time.
const AGAIN_AFTER: Duration = Duration::from_secs(3);
/// How far a pass is is kept so often: what came after is done again after a crash.
const KEEP_EVERY: Duration = Duration::from_secs(5);
/// How long a request to begin waits until every drive has begun.
const BEGUN_WITHIN: Duration = Duration::from_secs(5);

/// What is wrong with a run on a drive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// It is not what was written.
    Damaged,
    /// The drive does not give its bytes.
    Unreadable,
    /// Its file is gone.
    Gone,
}

/// A run that cannot be read any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FaultyRun {
    /// Whose.
    pub shard: ShardId,
    /// The placement group that put it there.
    pub pg: PgId,
    /// What is wrong.
    pub fault: Fault,
}

/// What reading on found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReadThrough {
    /// Runs that were read.
    pub runs: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Those that are not what was written.
    pub faulty: Vec<FaultyRun>,
    /// Headers of segments that were written anew.
    pub mended: u64,
    /// The last run that was read.
    pub last: Option<RunPlace>,
    /// There are no more.
    pub done: bool,
}

/// The seam to this node's own drives.
#[async_trait]
pub trait ScrubDrives: Send + Sync + 'static {
    /// Those that there are now.
    fn drives(&self) -> Vec<DriveId>;

    /// Bytes of records on a drive.
    fn record_bytes(&self, drive: DriveId) -> u64;

    /// Reads runs after `after` through, about `bytes_max` of them.
    async fn read(
        &self,
        drive: DriveId,
        after: Option<RunPlace>,
        bytes_max: u64,
    ) -> Result<ReadThrough, OwnDriveError>;

    /// For each shard with its length, whether the drive has all of it.
    async fn holds(
        &self,
        drive: DriveId,
        shards: Vec<(ShardId, u64)>,
    ) -> Result<Vec<bool>, OwnDriveError>;

    /// What was kept with the drive last.
    async fn note(&self, drive: DriveId) -> Option<Vec<u8>>;

    /// Keeps bytes with the drive, durably.
    async fn keep_note(&self, drive: DriveId, note: Vec<u8>) -> Result<(), OwnDriveError>;

    /// Waits until work in the background may take so many bytes of the drive.
    async fn pace(&self, drive: DriveId, bytes: u64);

    /// Milliseconds since 1970.
    fn now_ms(&self) -> u64;
}

/// When and how fast drives are scrubbed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScrubSettings {
    /// From the end of one pass over a drive to the beginning of the next.
    pub every: Duration,
    /// Most bytes of a drive that a pass reads in a second.
    pub bytes_per_s: u64,
}

/// What is known of one drive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DriveScrub {
    /// How far it is.
    pub note: ScrubNote,
    /// Bytes of records on it.
    pub total_bytes: u64,
    /// Bytes read a second since this process goes on with the pass; 0 before that is known.
    pub bytes_per_s: u64,
    /// The last step could not be taken, and is tried again.
    pub stuck: bool,
}

/// What asks for passes and looks how far they are.
#[derive(Debug)]
pub struct ScrubHandle {
    states: watch::Sender<BTreeMap<DriveId, DriveScrub>>,
    asked: Mutex<BTreeSet<DriveId>>,
    wake: Notify,
}

impl Default for ScrubHandle {
    fn default() -> Self {
        Self {
            states: watch::Sender::new(BTreeMap::new()),
            asked: Mutex::default(),
            wake: Notify::new(),
        }
    }
}

impl ScrubHandle {
    /// How far each drive is.
    #[must_use]
    pub fn states(&self) -> BTreeMap<DriveId, DriveScrub> {
        self.states.borrow().clone()
    }

    /// Has a pass begin on every drive that has none under way; returns when they are written down.
    /// Says on how many drives a pass is under way then.
    pub async fn start(&self) -> usize {
        let resting: BTreeSet<DriveId> = {
            let states = self.states.borrow();
            let resting = states.iter().filter(|(_, s)| !s.note.is_under_way());
            resting.map(|(drive, _)| *drive).collect()
        };
        self.asked().extend(resting);
        self.wake.notify_waiters();
        let mut states = self.states.subscribe();
        let begun = states.wait_for(|_| self.asked().is_empty());
        // A pass over little may have ended by then: what was asked for was begun.
        let _in_time = tokio::time::timeout(BEGUN_WITHIN, begun).await.is_ok();
        let states = self.states.borrow();
        states.values().filter(|s| s.note.is_under_way()).count()
    }

    fn asked(&self) -> std::sync::MutexGuard<'_, BTreeSet<DriveId>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, drive: DriveId, state: DriveScrub) {
        self.states.send_modify(|states| {
            states.insert(drive, state);
        });
    }

    fn forget(&self, drives: &[DriveId]) {
        self.asked().retain(|drive| drives.contains(drive));
        self.states
            .send_modify(|states| states.retain(|drive, _| drives.contains(drive)));
    }
}

/// Scrubs the drives of this node.
#[derive(Debug)]
pub struct Scrubber<C, D> {
    consensus: Arc<C>,
    own: Arc<D>,
    view: watch::Receiver<Arc<ClusterView>>,
    settings: ScrubSettings,
    handle: Arc<ScrubHandle>,
}

impl<C, D> Clone for Scrubber<C, D> {
    fn clone(&self) -> Self {
        Self {
            consensus: Arc::clone(&self.consensus),
            own: Arc::clone(&self.own),
            view: self.view.clone(),
            settings: self.settings,
            handle: Arc::clone(&self.handle),
        }
    }
}

impl<C: Consensus + 'static, D: ScrubDrives> Scrubber<C, D> {
    /// A scrubber that acts by `view`, and that `handle` asks.
    #[must_use]
    pub fn new(
        consensus: Arc<C>,
        own: Arc<D>,
        view: watch::Receiver<Arc<ClusterView>>,
        settings: ScrubSettings,
        handle: Arc<ScrubHandle>,
    ) -> Self {
        Self {
            consensus,
            own,
            view,
            settings,
            handle,
        }
    }

    /// Runs until the view's sender is gone.
    pub async fn run(self) {
        let drives = || {
            let drives = self.own.drives();
            self.handle.forget(&drives);
            drives
        };
        let look_after = |drive| {
            let this = self.clone();
            async move { this.drive(drive).await }
        };
        each_drive(&self.view, LOOK_EVERY, drives, look_after).await;
    }

    fn is_paused(&self) -> bool {
        self.view.borrow().upkeep.paused(Pausable::Scrub).is_some()
    }

    /// Looks after one drive until it is gone.
    async fn drive(&self, drive: DriveId) {
        let kept = self.own.note(drive).await;
        let kept = kept.and_then(|bytes| {
            let read = ScrubNote::decode(&bytes);
            read.inspect_err(|error| tracing::warn!(target: "scrub", %drive, %error, "the scrub of a drive begins anew"))
                .ok()
        });
        let known = kept.is_some();
        let mut note = kept.unwrap_or_else(|| ScrubNote::fresh(self.own.now_ms()));
        if !known {
            self.keep(drive, &note).await;
        }
        self.tell(drive, &note, None, false);
        while self.view.has_changed().is_ok() && self.own.drives().contains(&drive) {
            let asked = self.handle.asked().contains(&drive);
            let every_ms = u64::try_from(self.settings.every.as_millis()).unwrap_or(u64::MAX);
            let due = note.is_under_way() || note.is_due(self.own.now_ms(), every_ms) || asked;
            // What an operator asks for is written down even while scrubs rest.
            if due && (asked || !self.is_paused()) && self.own_known() {
                if !note.is_under_way() {
                    note.begin(self.own.now_ms());
                    tracing::info!(target: "scrub", %drive, "a pass begins");
                    self.keep(drive, &note).await;
                }
                self.handle.asked().remove(&drive);
                self.tell(drive, &note, None, false);
                self.pass(drive, &mut note).await;
                continue;
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {}
                () = self.handle.wake.notified() => {}
            }
            self.tell(drive, &note, None, false);
        }
    }

    /// Nothing is compared before this node knows of a group.
    fn own_known(&self) -> bool {
        !self.view.borrow().groups.is_empty()
    }

    /// Goes on with a pass until it ends, is paused, or the drive is gone.
    async fn pass(&self, drive: DriveId, note: &mut ScrubNote) {
        let (began, read_before) = (Instant::now(), note.found.bytes);
        let mut kept = Instant::now();
        let pass = Pass {
            consensus: self.consensus.as_ref(),
            own: self.own.as_ref(),
            view: &self.view,
            drive,
        };
        while note.is_under_way() && self.own.drives().contains(&drive) {
            if self.is_paused() {
                self.keep(drive, note).await;
                return;
            }
            // Whoever asks for a pass has one.
            self.handle.asked().remove(&drive);
            let step_began = Instant::now();
            let before = (note.found.bytes, std::mem::discriminant(&note.stage));
            if let Err(error) = pass.step(note).await {
                tracing::info!(target: "scrub", %drive, %error, "a step of a pass is tried again");
                self.tell(drive, note, None, true);
                tokio::time::sleep(AGAIN_AFTER).await;
                continue;
            }
            let read = note.found.bytes - before.0;
            let rate = (note.found.bytes - read_before) as f64 / began.elapsed().as_secs_f64();
            self.tell(drive, note, Some(rate), false);
            let turned = before.1 != std::mem::discriminant(&note.stage);
            if turned || kept.elapsed() >= KEEP_EVERY {
                self.keep(drive, note).await;
                kept = Instant::now();
            }
            let least = Duration::from_secs_f64(read as f64 / self.settings.bytes_per_s as f64);
            tokio::time::sleep(least.saturating_sub(step_began.elapsed())).await;
        }
    }

    async fn keep(&self, drive: DriveId, note: &ScrubNote) {
        if let Err(error) = self.own.keep_note(drive, note.encode()).await {
            tracing::warn!(target: "scrub", %drive, %error, "how far a pass is was not kept");
        }
    }

    fn tell(&self, drive: DriveId, note: &ScrubNote, rate: Option<f64>, stuck: bool) {
        let known = self.handle.states.borrow().get(&drive).copied();
        let known_rate = known
            .filter(|_| note.is_under_way())
            .map_or(0, |s| s.bytes_per_s);
        let state = DriveScrub {
            note: *note,
            total_bytes: self.own.record_bytes(drive),
            bytes_per_s: rate.map_or(known_rate, |rate| rate as u64),
            stuck,
        };
        if known != Some(state) {
            self.handle.set(drive, state);
        }
    }
}
