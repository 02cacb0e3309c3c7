//! Space of small records on this node's drives comes back: one segment of a drive after the other, at
//! the pace of work in the background. Drives go on beside each other.
//!
//! What a drive does for it is the drive's; here it is decided when. It rests while the collection of
//! garbage is paused, between any two steps. Nothing is kept: after a restart a segment is begun anew.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use marram_meta::{ClusterView, Pausable};
use marram_types::caps::MIB;
use marram_types::{DriveId, PgId, ShardId};
use tokio::sync::watch;

use crate::beside::each_drive;
use crate::consensus::Consensus;
use crate::fault::fault_point;
use crate::scan::OwnDriveError;
use crate::scrub::tell_missing;

/// How often it is looked whether a segment is worth it.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A drive on which a step failed rests so long.
const AGAIN_AFTER: Duration = Duration::from_secs(3);
/// Bytes that one step reads, about. It bounds the copies that wait for one sync, and what foreground
/// writes wait for in the same queue.
const STEP_BYTES: u64 = MIB as u64;

/// What one step did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CompactStep {
    /// Where the next step goes on.
    pub next: u64,
    /// Bytes that were read and written.
    pub bytes: u64,
    /// The segment is through.
    pub done: bool,
    /// Shards with runs that cannot be copied.
    pub damaged: Vec<(ShardId, PgId)>,
}

/// The seam to this node's own drives.
#[async_trait]
pub trait CompactDrives: Send + Sync + 'static {
    /// Those that there are now.
    fn drives(&self) -> Vec<DriveId>;

    /// The segment of a drive that is worth compacting most; none when none is, or there is no room for it.
    async fn next(&self, drive: DriveId) -> Option<u64>;

    /// Goes on with a segment, from 0 at first.
    async fn step(
        &self,
        drive: DriveId,
        segment: u64,
        from: u64,
        bytes_max: u64,
    ) -> Result<CompactStep, OwnDriveError>;

    /// Waits until work in the background may take so many bytes of the drive.
    async fn pace(&self, drive: DriveId, bytes: u64);
}

/// Compacts the drives of this node.
#[derive(Debug)]
pub struct Compactor<C, D> {
    consensus: Arc<C>,
    own: Arc<D>,
    view: watch::Receiver<Arc<ClusterView>>,
}

impl<C, D> Clone for Compactor<C, D> {
    fn clone(&self) -> Self {
        Self {
            consensus: Arc::clone(&self.consensus),
            own: Arc::clone(&self.own),
            view: self.view.clone(),
        }
    }
}

impl<C: Consensus + 'static, D: CompactDrives> Compactor<C, D> {
    /// One that acts by `view`, and tells the groups of what is damaged.
    #[must_use]
    pub fn new(consensus: Arc<C>, own: Arc<D>, view: watch::Receiver<Arc<ClusterView>>) -> Self {
        Self {
            consensus,
            own,
            view,
        }
    }

    /// Runs until the view's sender is gone.
    pub async fn run(self) {
        let look_after = |drive| {
            let this = self.clone();
            async move { this.drive(drive).await }
        };
        each_drive(&self.view, LOOK_EVERY, || self.own.drives(), look_after).await;
    }

    fn is_paused(&self) -> bool {
        let view = self.view.borrow();
        view.upkeep.paused(Pausable::Garbage).is_some()
    }

    fn goes_on(&self, drive: DriveId) -> bool {
        self.view.has_changed().is_ok() && self.own.drives().contains(&drive)
    }

    /// Looks after one drive until it is gone.
    async fn drive(&self, drive: DriveId) {
        while self.goes_on(drive) {
            let next = if self.is_paused() {
                None
            } else {
                self.own.next(drive).await
            };
            let pause = match next {
                None => LOOK_EVERY,
                Some(segment) => match self.segment(drive, segment).await {
                    Ok(()) => continue,
                    Err(error) => {
                        tracing::info!(target: "compaction", %drive, segment, %error, "a segment is compacted later");
                        AGAIN_AFTER
                    }
                },
            };
            tokio::time::sleep(pause).await;
        }
    }

    /// Goes through a segment, unless it is to rest.
    async fn segment(&self, drive: DriveId, segment: u64) -> Result<(), OwnDriveError> {
        let mut from = 0;
        while self.goes_on(drive) && !self.is_paused() {
            // What is read is waited for before, what was written after.
            self.own.pace(drive, STEP_BYTES).await;
            let step = self.own.step(drive, segment, from, STEP_BYTES).await?;
            let more = step.bytes.saturating_sub(STEP_BYTES);
            self.own.pace(drive, more).await;
            fault_point("compaction.step");
            for (shard, pg) in &step.damaged {
                let told = tell_missing(&*self.consensus, &self.view, (drive, *pg, *shard)).await;
                if let Err(error) = told {
                    // Scrub and readers find it too.
                    tracing::warn!(target: "compaction", %drive, %shard, %error, "a group does not hear of a damaged shard");
                }
            }
            if step.done {
                tracing::debug!(target: "compaction", %drive, segment, "a segment is compacted");
                return Ok(());
            }
            from = step.next;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicBool, Ordering};

    use marram_meta::{ObjectAnswer, ObjectQuery, UpkeepRecord};
    use marram_types::DataId;

    use super::*;
    use crate::collect::tests::fake::{World, extent};

    const DRIVE: DriveId = DriveId(3);
    const WITHIN: Duration = Duration::from_mins(1);

    /// A drive whose segments take two steps each.
    #[derive(Default)]
    struct Own {
        segments: Mutex<Vec<u64>>,
        steps: Mutex<Vec<(u64, u64)>>,
        paced: Mutex<u64>,
        fails: AtomicBool,
        damaged: Mutex<Vec<(ShardId, PgId)>>,
    }

    impl Own {
        fn with(segments: &[u64]) -> Arc<Self> {
            Arc::new(Self {
                segments: Mutex::new(segments.to_vec()),
                ..Self::default()
            })
        }

        fn steps(&self) -> Vec<(u64, u64)> {
            self.steps.lock().expect("no panic").clone()
        }
    }

    #[async_trait]
    impl CompactDrives for Own {
        fn drives(&self) -> Vec<DriveId> {
            vec![DRIVE]
        }

        async fn next(&self, _: DriveId) -> Option<u64> {
            self.segments.lock().expect("no panic").first().copied()
        }

        async fn step(
            &self,
            drive: DriveId,
            segment: u64,
            from: u64,
            bytes_max: u64,
        ) -> Result<CompactStep, OwnDriveError> {
            self.steps.lock().expect("no panic").push((segment, from));
            if self.fails.load(Ordering::Relaxed) {
                let reason = "it is full".into();
                return Err(OwnDriveError { drive, reason });
            }
            let done = from > 0;
            if done {
                self.segments.lock().expect("no panic").remove(0);
            }
            Ok(CompactStep {
                next: bytes_max,
                bytes: bytes_max + 1000,
                done,
                damaged: std::mem::take(&mut self.damaged.lock().expect("no panic")),
            })
        }

        async fn pace(&self, _: DriveId, bytes: u64) {
            *self.paced.lock().expect("no panic") += bytes;
        }
    }

    fn start(world: &Arc<World>, own: &Arc<Own>) -> tokio::task::JoinHandle<()> {
        let view = world.view.subscribe();
        let compactor = Compactor::new(Arc::clone(world), Arc::clone(own), view);
        tokio::spawn(compactor.run())
    }

    /// Waits until so many steps were begun.
    async fn until(own: &Own, steps: usize) {
        let enough = async {
            while own.steps().len() < steps {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let in_time = tokio::time::timeout(WITHIN, enough).await;
        in_time.expect("it goes on");
    }

    fn pause(world: &World, paused: bool) {
        world.view.send_modify(|view| {
            Arc::make_mut(view).upkeep = UpkeepRecord {
                garbage_paused_ms: paused.then_some(1),
                ..UpkeepRecord::default()
            };
        });
    }

    /// Whether the group has a ticket for a shard.
    fn is_missing(world: &World, slot: u8) -> bool {
        let query = ObjectQuery::Tickets {
            after: None,
            limit: 10,
        };
        match world.ask(&query) {
            ObjectAnswer::Tickets(page) => {
                let mut tickets = page.tickets.iter();
                tickets.any(|item| item.extent.extent.is_missing(slot))
            }
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn segments_are_gone_through_one_after_the_other_at_the_pace() {
        let (world, own) = (World::new(), Own::with(&[7, 4]));
        let running = start(&world, &own);
        until(&own, 4).await;
        tokio::time::sleep(LOOK_EVERY * 2).await;
        // There is nothing more to do.
        let steps = [(7, 0), (7, STEP_BYTES), (4, 0), (4, STEP_BYTES)];
        assert_eq!(own.steps(), steps);
        let paced = *own.paced.lock().expect("no panic");
        assert_eq!(paced, 4 * (STEP_BYTES + 1000), "read and written");
        running.abort();
    }

    #[tokio::test]
    async fn it_rests_while_garbage_is_paused() {
        let (world, own) = (World::new(), Own::with(&[7]));
        pause(&world, true);
        let running = start(&world, &own);
        tokio::time::sleep(LOOK_EVERY * 3).await;
        assert_eq!(own.steps(), []);
        pause(&world, false);
        until(&own, 2).await;
        running.abort();
    }

    #[tokio::test]
    async fn a_step_that_fails_is_taken_again_later() {
        let (world, own) = (World::new(), Own::with(&[7]));
        own.fails.store(true, Ordering::Relaxed);
        let running = start(&world, &own);
        until(&own, 1).await;
        // Whoever tried again at once would have done it by then.
        tokio::time::sleep(AGAIN_AFTER / 4).await;
        assert_eq!(own.steps().len(), 1, "not at once");
        own.fails.store(false, Ordering::Relaxed);
        until(&own, 3).await;
        assert_eq!(own.steps(), [(7, 0), (7, 0), (7, STEP_BYTES)]);
        running.abort();
    }

    #[tokio::test]
    async fn what_is_damaged_is_told_to_its_group() {
        let world = World::new();
        let data: DataId = world.put("key");
        let own = Own::with(&[7]);
        let slot = 2;
        let shard = ShardId {
            data,
            slot,
            repair: 0,
        };
        let pg = extent(data).pg;
        own.damaged.lock().expect("no panic").push((shard, pg));
        let running = start(&world, &own);
        until(&own, 2).await;
        let told = async {
            while !is_missing(&world, slot) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let in_time = tokio::time::timeout(WITHIN, told).await;
        in_time.expect("the group hears of it");
        running.abort();
    }
}
