//! Raises the floors of the object groups and has the drives drop what has fallen below them
//! (rules.md 27, 28; placement-protocol.md 6, 7, 10, 11).
//!
//! Every server runs the same loop. It looks at all groups that it votes in, so that one that comes
//! to lead knows how far the group was a lag ago, and acts for those that it leads. Floors and queue
//! live in the groups; whoever leads next goes on.
//!
//! ```text
//! floors  how far a floor may rise
//! owners  whose drives are whose
//! queue   the work on one group's garbage queue
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use marram_meta::{
    ClusterView, DriveDuty, GroupCounters, NodeDuty, NodeState, ObjectAnswer, ObjectCommand,
    ObjectQuery, Pausable,
};
use marram_types::{DriveId, GroupId, NodeId};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::consensus::{Consensus, ConsensusError};
use crate::shards::Shards;

mod floors;
pub(crate) mod owners;
mod queue;
#[cfg(test)]
pub(crate) mod tests;

pub use floors::GcLags;
use floors::{Activity, Lagging};
use owners::Owners;
use queue::{Queue, Seams};

/// Views of the cluster are not so old: a node or writer that answers knows of a drain after this time.
const DRAIN_SETTLES: Duration = Duration::from_secs(10);
/// How often the collector looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Groups that are worked on at once.
const GROUPS_AT_ONCE: usize = 8;

/// Tells the time; tests have one of their own.
type Clock = Box<dyn Fn() -> Instant + Send + Sync>;

/// Collects the garbage of the groups that this server leads.
pub struct Collector<C, S> {
    consensus: Arc<C>,
    shards: Arc<S>,
    view: watch::Receiver<Arc<ClusterView>>,
    lags: GcLags,
    clock: Clock,
    groups: BTreeMap<GroupId, Work>,
}

/// How far a group was when a drive that is to be emptied got its last data.
#[derive(Debug, Clone, Copy)]
struct Drain {
    /// Since when nothing new should come to the drive: it was seen to be emptied, and no placement group
    /// has it or moves away from it any more. What is displaced before counts as lying on it.
    since: Instant,
    /// Rows name the drive.
    named: bool,
    /// How far the group was when everybody knew.
    index: u64,
}

/// What is known of one group.
#[derive(Debug)]
struct Work {
    gc: Lagging,
    readers: Lagging,
    /// The drives that are to be emptied.
    drains: BTreeMap<DriveId, Drain>,
    /// The group's floors, as last seen or proposed.
    floors: (u64, u64),
    activity: Activity,
    queue: Queue,
}

impl Work {
    fn new(lags: GcLags) -> Self {
        Self {
            gc: Lagging::new(lags.floor),
            readers: Lagging::new(lags.readers),
            drains: BTreeMap::new(),
            floors: (0, 0),
            activity: Activity::default(),
            queue: Queue::default(),
        }
    }
}

/// What a turn is taken with.
struct Round {
    /// Drives that are to be emptied, with their node or alone, and whether rows of the layout name them.
    drains: BTreeMap<DriveId, bool>,
    led: BTreeSet<GroupId>,
    owners: Owners,
    up: BTreeSet<NodeId>,
    /// Nothing is removed now.
    paused: bool,
}

impl<C: Consensus, S: Shards> Collector<C, S> {
    /// A collector that watches `view`.
    #[must_use]
    pub fn new(
        consensus: Arc<C>,
        shards: Arc<S>,
        view: watch::Receiver<Arc<ClusterView>>,
        lags: GcLags,
    ) -> Self {
        Self {
            consensus,
            shards,
            view,
            lags,
            clock: Box::new(Instant::now),
            groups: BTreeMap::new(),
        }
    }

    /// Runs until the view's sender is gone.
    pub async fn run(mut self) {
        while self.view.has_changed().is_ok() {
            tokio::time::sleep(LOOK_EVERY).await;
            self.round().await;
        }
    }

    async fn round(&mut self) {
        let view = self.view.borrow().clone();
        let own = self.consensus.own_replica();
        let object = |group: &GroupId| *group != GroupId::ROOT;
        let led: BTreeSet<_> = self.consensus.led_groups().into_iter().collect();
        let votes = view.groups.values().filter(|g| g.voters.contains(&own));
        let watched: BTreeSet<_> = votes.map(|g| g.group).chain(led.iter().copied()).collect();
        let mut known = std::mem::take(&mut self.groups);
        let lags = self.lags;
        let work = watched.into_iter().filter(object).map(|group| {
            let work = known.remove(&group);
            (group, work.unwrap_or_else(|| Work::new(lags)))
        });
        let work: Vec<_> = work.collect();
        let up = view.nodes.keys().copied();
        let drains = drains(&view);
        let round = Round {
            drains,
            led,
            owners: Owners::of(&view),
            up: up.filter(|node| self.shards.is_up(*node)).collect(),
            paused: view.upkeep.paused(Pausable::Garbage).is_some(),
        };
        let (this, round) = (&*self, &round);
        let turns = work
            .into_iter()
            .map(|(group, work)| this.turn(round, group, work));
        let done = futures::stream::iter(turns)
            .buffer_unordered(GROUPS_AT_ONCE)
            .collect()
            .await;
        self.groups = done;
    }

    async fn turn(&self, round: &Round, group: GroupId, mut work: Work) -> (GroupId, Work) {
        let leads = round.led.contains(&group);
        if !leads {
            work.queue = Queue::default();
        }
        if let Err(error) = self.work(round, (group, leads), &mut work).await {
            tracing::debug!(target: "gc", %group, %error, "the work on garbage is tried again");
        }
        (group, work)
    }

    async fn work(
        &self,
        round: &Round,
        (group, leads): (GroupId, bool),
        work: &mut Work,
    ) -> Result<(), ConsensusError> {
        let now = (self.clock)();
        work.drains
            .retain(|drive, _| round.drains.contains_key(drive));
        let drain_begins = work.drains.len() < round.drains.len();
        let mut drains = work.drains.values();
        let drain_settles = drains.any(|drain| !drain.named && self.settles(now, drain.since));
        let gc_is_due = work.gc.is_due(now);
        let is_due = gc_is_due || work.readers.is_due(now) || drain_begins || drain_settles;
        if is_due || round.drains.values().any(|named| *named) {
            self.sample(group, &round.drains, work).await?;
        }
        if is_due {
            let is_idle = work.activity.is_idle(work.floors.1) && !gc_is_due;
            if leads && !(is_idle && work.drains.is_empty()) {
                self.raise(group, work).await?;
            }
        }
        if !leads || round.paused {
            return Ok(());
        }
        let seams = Seams {
            consensus: self.consensus.as_ref(),
            shards: &self.shards,
            owners: &round.owners,
            up: &round.up,
        };
        let now = (self.clock)();
        let collected = work.queue.turn(&seams, group, (now, work.floors)).await?;
        work.activity.proposed(collected);
        Ok(())
    }

    /// Whether a drain was seen so lately that its node and writers may not know of it: what they
    /// begin until they do is on the node, and has to be below the floor as well
    /// (placement-protocol.md, drain).
    fn settles(&self, now: Instant, since: Instant) -> bool {
        let settled = DRAIN_SETTLES.min(self.lags.drain / 2);
        now.saturating_duration_since(since) < settled
    }

    /// Notes how far the group is.
    async fn sample(
        &self,
        group: GroupId,
        drains: &BTreeMap<DriveId, bool>,
        work: &mut Work,
    ) -> Result<(), ConsensusError> {
        let Some(counters) = counters(self.consensus.as_ref(), group).await? else {
            return Ok(());
        };
        // The time after the answer: what begins later begins at this index or above.
        let now = (self.clock)();
        work.gc.note(now, counters.applied);
        work.readers.note(now, counters.applied);
        for (drive, named) in drains {
            let drain = work.drains.entry(*drive).or_insert(Drain {
                since: now,
                named: *named,
                index: counters.applied,
            });
            if *named || drain.named {
                drain.since = now;
            }
            drain.named = *named;
            if self.settles(now, drain.since) {
                drain.index = counters.applied;
            }
        }
        work.floors = (counters.gc_floor, counters.read_floor);
        work.activity.seen(counters.applied);
        Ok(())
    }

    /// Raises the floors. The entry is proposed even where it raises nothing yet: it gives the group
    /// a new index, without which an idle group's last garbage would never be below a floor. A group
    /// in which nothing happened since the floor of readers passed it gets one only when the other
    /// floor is due, for uploads that are broken off and leave no entry.
    async fn raise(&self, group: GroupId, work: &mut Work) -> Result<(), ConsensusError> {
        let now = (self.clock)();
        let mut gc_floor = work.gc.reached(now).max(work.floors.0);
        // What is to be emptied does not wait a day for uploads that may never end.
        for drain in work.drains.values().filter(|drain| !drain.named) {
            if now.saturating_duration_since(drain.since) >= self.lags.drain {
                gc_floor = gc_floor.max(drain.index);
            }
        }
        let read_floor = work.readers.reached(now).max(work.floors.1);
        tracing::debug!(target: "gc", %group, gc_floor, read_floor, "the floors rise");
        let command = ObjectCommand::RaiseFloors {
            gc_floor,
            read_floor,
        };
        self.consensus.propose_object(group, command).await?;
        work.activity.proposed(1);
        // What it rose to is for the group to say: it may be held for a backup, and what is deleted
        // by a floor that the group does not have is lost.
        if let Some(counters) = counters(self.consensus.as_ref(), group).await? {
            work.floors = (counters.gc_floor, counters.read_floor);
        }
        Ok(())
    }
}

/// The drives that are to be emptied, all of a node that is, and single ones; and whether rows name them.
fn drains(view: &ClusterView) -> BTreeMap<DriveId, bool> {
    let nodes = view.nodes.values();
    let members = nodes.filter(|node| node.state == NodeState::Active);
    let drives = members.flat_map(|node| {
        let all = node.duty == NodeDuty::Draining;
        let drives = node.present_drives();
        drives.filter(move |held| all || held.duty == DriveDuty::Draining)
    });
    let named = |drive| {
        let mut rows = view.pools.values().flat_map(|table| &table.rows);
        rows.any(|row| row.names(drive))
    };
    drives.map(|held| (held.drive, named(held.drive))).collect()
}

/// The counters of a group.
pub(crate) async fn counters<C: Consensus>(
    consensus: &C,
    group: GroupId,
) -> Result<Option<GroupCounters>, ConsensusError> {
    let answer = consensus.ask_object(group, ObjectQuery::Status).await?;
    let ObjectAnswer::Status(counters) = answer else {
        tracing::error!(%group, "a group answered something else than its counters");
        return Ok(None);
    };
    Ok(Some(counters))
}
