//! Has extents encoded anew whose profile is not what their bucket asks for: widened when nodes are
//! there again, narrowed when nodes are gone for good, reshaped after a change of the profile
//! (rules.md 18, 19; placement-protocol.md 13).
//!
//! Each server does it for the groups that it leads, and any node may do the work: each extent has a
//! node of its own choice, so all take part. What is to be done lies in the groups (tickets, cursors)
//! and in the layout (slots on their way to no drive): whoever leads next goes on.
//!
//! ```text
//! decide   what an extent shall become now, if anything, and which node does it (pure)
//! later    what cannot be done now, and until when it is left alone (pure)
//! ```
//!
//! The order is: versions of a changed profile are judged, then slots are emptied that have no drive
//! any more, those of rows that lost most first, then tickets by the group's queue: those that survive
//! too few losses, then narrow ones, then those that have more than they should.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::{StreamExt, stream};
use marram_meta::{
    ClusterView, LiveExtent, ObjectAnswer, ObjectCommand, ObjectOutcome, ObjectQuery, Pausable,
    TicketItem, TicketWork, UploadCommand, VersionCommand,
};
use marram_placement::{PgRow, Phase};
use marram_types::{BucketId, DataId, DriveId, GroupId, NodeId, ObjectKey, PgId, Profile};
use tokio::sync::watch;

use crate::consensus::{Consensus, ConsensusError};

mod decide;
mod later;
#[cfg(test)]
mod tests;

use decide::{Need, Room, candidates, wanted};
use later::Later;

/// Tickets or extents in one answer of a group.
const PAGE: u32 = 64;
/// Extents of one group that are worked on at once.
const EXTENTS_AT_ONCE: usize = 4;
/// Groups that are worked on at once.
const GROUPS_AT_ONCE: usize = 4;
/// Nodes that are asked for one extent, where one has enough to do.
const NODES_TRIED_MAX: usize = 3;
/// Extents of one group in one pass: then what has become more urgent comes first.
const EXTENTS_PER_PASS: usize = 256;
/// Entries that take parts of uploads out of use in one group and pass.
const DROPS_PER_PASS: usize = 64;
/// Entries that judge versions of one group in one pass.
const JUDGED_PER_PASS: usize = 64;
/// Looking takes at most one part in this many of the time.
const SHARE_OF_TIME: u32 = 4;

/// An extent, and what it shall become.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reencoding {
    /// The object's group.
    pub group: GroupId,
    /// The object, and the extent's present data.
    pub object: (BucketId, ObjectKey),
    /// The extent's placement group.
    pub pg: PgId,
    /// The extent's data.
    pub data: DataId,
    /// The profile that it shall have.
    pub profile: Profile,
}

/// Why a node did not encode an extent anew. The same may be asked again, of any node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReencodingError {
    /// The node does not answer, or not in time; it may still be at it.
    #[error("the node does not answer")]
    Away,
    /// The node has enough of this work.
    #[error("the node has enough to do")]
    Busy,
    /// The node is at this extent.
    #[error("the node is at it")]
    UnderWay,
    /// It cannot be done now.
    #[error("it cannot be done now")]
    NotNow,
}

/// The nodes that encode extents anew.
#[async_trait::async_trait]
pub trait Reencoders: Send + Sync + 'static {
    /// Whether this observer holds a node to be there.
    fn is_up(&self, node: NodeId) -> bool;

    /// Has a node encode an extent anew. Answers when the object holds the new data, or does not
    /// hold the old one any more; with the bytes that were written.
    async fn reencode(&self, node: NodeId, what: &Reencoding) -> Result<u64, ReencodingError>;
}

/// How patient the work is.
#[derive(Debug, Clone, Copy)]
struct Patience {
    /// Between two passes, at least.
    busy: Duration,
    /// How long it is waited for a change of the view beyond that, when there was nothing to do.
    idle: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            busy: Duration::from_secs(1),
            idle: Duration::from_secs(5),
        }
    }
}

/// Has extents of the groups that this server leads encoded anew.
#[derive(Debug)]
pub struct Reencode<C, R> {
    consensus: Arc<C>,
    nodes: Arc<R>,
    view: watch::Receiver<Arc<ClusterView>>,
    later: Mutex<Later>,
    patience: Patience,
}

/// What a pass came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Done {
    /// Extents that were encoded anew, or were gone, and entries that judged versions.
    done: usize,
    /// Extents that wait.
    waiting: usize,
}

impl Done {
    fn plus(self, other: Self) -> Self {
        Self {
            done: self.done + other.done,
            waiting: self.waiting + other.waiting,
        }
    }
}

impl<C: Consensus, R: Reencoders> Reencode<C, R> {
    /// Work that watches `view`.
    #[must_use]
    pub fn new(consensus: Arc<C>, nodes: Arc<R>, view: watch::Receiver<Arc<ClusterView>>) -> Self {
        Self {
            consensus,
            nodes,
            view,
            later: Mutex::default(),
            patience: Patience::default(),
        }
    }

    /// Runs until the view's sender is gone.
    pub async fn run(self) {
        let mut view = self.view.clone();
        loop {
            view.mark_unchanged();
            let began = Instant::now();
            let done = self.pass().await;
            let looked = began.elapsed() * (SHARE_OF_TIME - 1);
            if done.done > 0 {
                tokio::time::sleep(self.patience.busy).await;
                continue;
            }
            // A change of the layout may bring work.
            tokio::time::sleep(looked.max(self.patience.busy)).await;
            if let Ok(Err(_)) = tokio::time::timeout(self.patience.idle, view.changed()).await {
                return;
            }
        }
    }

    /// Goes through all groups that this server leads.
    async fn pass(&self) -> Done {
        let view = self.view.borrow().clone();
        let led = self.consensus.led_groups().into_iter();
        let groups = led.filter(|group| *group != GroupId::ROOT);
        let room = Room::of(&view, |node| self.nodes.is_up(node));
        self.later().forget_due(Instant::now());
        self.later().look_at(room.up().collect());
        let turns = groups.map(|group| {
            let turn = Turn {
                work: self,
                view: &view,
                room: &room,
                group,
            };
            async move { turn.run().await }
        });
        let turns: Vec<Done> = stream::iter(turns)
            .buffer_unordered(GROUPS_AT_ONCE)
            .collect()
            .await;
        turns.into_iter().fold(Done::default(), Done::plus)
    }

    fn later(&self) -> std::sync::MutexGuard<'_, Later> {
        self.later.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One group's turn in a pass.
struct Turn<'a, C, R> {
    work: &'a Reencode<C, R>,
    view: &'a ClusterView,
    room: &'a Room,
    group: GroupId,
}

impl<C: Consensus, R: Reencoders> Turn<'_, C, R> {
    async fn run(&self) -> Done {
        let mut done = Done::default();
        let judged = self.judge().await;
        let earlier = self.judge_noncurrent().await;
        let dropped = self.drop_parts().await;
        let mut parts = vec![judged, earlier, dropped];
        if self.view.upkeep.paused(Pausable::Repair).is_none() {
            parts.push(self.empty().await);
            parts.push(self.strays().await);
            parts.push(self.queue().await);
        }
        for part in parts {
            match part {
                Ok(part) => done = done.plus(part),
                Err(error) => {
                    tracing::debug!(group = %self.group, %error, "a group cannot be asked now");
                }
            }
        }
        done
    }

    /// Has the group judge versions of buckets whose profile was changed.
    async fn judge(&self) -> Result<Done, ConsensusError> {
        let asked = ObjectQuery::Judging;
        let answer = self.work.consensus.ask_object(self.group, asked).await?;
        let ObjectAnswer::Judging(buckets) = answer else {
            return Ok(Done::default());
        };
        let command = |bucket, after: Option<String>| ObjectCommand::JudgeVersions {
            bucket,
            after: after.as_deref().and_then(|key| ObjectKey::new(key).ok()),
        };
        let went_on = |outcome| match outcome {
            ObjectOutcome::Judged { after, done: false } => Some(after),
            _ => None,
        };
        self.judge_all(buckets, command, went_on).await
    }

    /// The same for versions that are not current.
    async fn judge_noncurrent(&self) -> Result<Done, ConsensusError> {
        let asked = ObjectQuery::JudgingNoncurrent;
        let answer = self.work.consensus.ask_object(self.group, asked).await?;
        let ObjectAnswer::JudgingNoncurrent(buckets) = answer else {
            return Ok(Done::default());
        };
        let command =
            |bucket, after| ObjectCommand::Version(VersionCommand::Judge { bucket, after });
        let went_on = |outcome| match outcome {
            ObjectOutcome::NoncurrentJudged { after, done: false } => Some(after),
            _ => None,
        };
        self.judge_all(buckets, command, went_on).await
    }

    /// Sends judgements of each bucket from where it was left. `went_on` says where an outcome leaves it;
    /// nothing when it is over.
    async fn judge_all<P>(
        &self,
        buckets: Vec<(BucketId, Option<P>)>,
        command: impl Fn(BucketId, Option<P>) -> ObjectCommand,
        went_on: impl Fn(ObjectOutcome) -> Option<Option<P>>,
    ) -> Result<Done, ConsensusError> {
        let consensus = &self.work.consensus;
        let mut entries = 0;
        for (bucket, mut after) in buckets {
            while entries < JUDGED_PER_PASS {
                let judging = command(bucket, after);
                let outcome = consensus.propose_object(self.group, judging).await?;
                entries += 1;
                match went_on(outcome) {
                    Some(at) => after = at,
                    None => break,
                }
            }
        }
        Ok(Done {
            done: entries,
            waiting: 0,
        })
    }

    /// Has the group take parts of uploads out of use that nothing wants any more.
    async fn drop_parts(&self) -> Result<Done, ConsensusError> {
        let consensus = &self.work.consensus;
        let answer = consensus.ask_object(self.group, ObjectQuery::Drops).await?;
        let mut done = !matches!(answer, ObjectAnswer::Drops(true));
        let mut entries = 0;
        while !done && entries < DROPS_PER_PASS {
            let command = ObjectCommand::Upload(UploadCommand::Drop);
            let outcome = consensus.propose_object(self.group, command).await?;
            entries += 1;
            done = !matches!(outcome, ObjectOutcome::PartsDropped { done: false });
        }
        Ok(Done {
            done: entries,
            waiting: 0,
        })
    }

    /// Has extents encoded anew that use a slot on its way to no drive, those of rows that lost most
    /// first. The group was fenced at the row's epoch: what it commits from then on names its places,
    /// and does not use the slot.
    async fn empty(&self) -> Result<Done, ConsensusError> {
        let lost = |row: &PgRow| {
            let away = |drive: &&DriveId| self.room.is_gone(**drive);
            row.drives.iter().filter(away).count()
        };
        let mut rows = Vec::new();
        for table in self.view.pools.values() {
            for (index, row) in (0_u16..).zip(&table.rows) {
                let moving = row
                    .moving
                    .filter(|m| m.phase == Phase::Dual && m.to.is_vacant());
                rows.extend(
                    moving.map(|moving| (lost(row), table.pg(index), row.epoch, moving.slot)),
                );
            }
        }
        rows.sort_by_key(|(lost, pg, ..)| (std::cmp::Reverse(*lost), *pg));
        let mut all = Done::default();
        for (_, pg, epoch, slot) in rows {
            if all.done >= EXTENTS_PER_PASS {
                break;
            }
            all = all.plus(self.empty_row(pg, epoch, slot).await?);
        }
        Ok(all)
    }

    async fn empty_row(&self, pg: PgId, epoch: u64, slot: u8) -> Result<Done, ConsensusError> {
        let mut all = Done::default();
        let mut after = None;
        loop {
            let query = ObjectQuery::Rows {
                pg,
                after,
                limit: PAGE,
            };
            let answer = self.work.consensus.ask_object(self.group, query).await?;
            let ObjectAnswer::Rows(page) = answer else {
                return Ok(all);
            };
            if page.row.is_none_or(|row| row.epoch != epoch) {
                return Ok(all);
            }
            after = page.extents.last().map(|live| live.extent.data);
            let more = page.more && after.is_some();
            let uses = |live: &LiveExtent| live.extent.slots.contains(&slot);
            let extents = page.extents.into_iter().filter(uses);
            let needs = extents.map(|live| (live, Need::LeaveSlot));
            all = all.plus(self.work_on(needs.collect()).await);
            if !more || all.done >= EXTENTS_PER_PASS {
                return Ok(all);
            }
        }
    }

    /// Has extents encoded anew with a shard that strayed from a slot which has no drive any more:
    /// they were committed late, and there is no place to bring the shard to.
    async fn strays(&self) -> Result<Done, ConsensusError> {
        let rows = self.view.pools.values().flat_map(|table| &table.rows);
        if !rows
            .flat_map(|row| &row.drives)
            .any(|drive| drive.is_vacant())
        {
            return Ok(Done::default());
        }
        let strays = |item: &TicketItem| {
            let extent = &item.extent.extent;
            extent.shards().any(|(shard, slot)| {
                let place = item.row.read_place(slot);
                let away = extent.override_of(shard).is_some() || extent.is_missing(shard);
                away && place.is_some_and(DriveId::is_vacant)
            })
        };
        let kinds = (TicketWork::Missing, TicketWork::Misplaced);
        self.tickets(kinds, |item| strays(item).then_some(Need::LeaveSlot))
            .await
    }

    /// Goes through the group's queue of extents that are to be encoded anew.
    async fn queue(&self) -> Result<Done, ConsensusError> {
        let kinds = (TicketWork::UnderProtected, TicketWork::Reshape);
        self.tickets(kinds, |_| Some(Need::Nominal)).await
    }

    /// Works on the tickets of some kinds that `need` picks.
    async fn tickets(
        &self,
        (from, to): (TicketWork, TicketWork),
        need: impl Fn(&TicketItem) -> Option<Need>,
    ) -> Result<Done, ConsensusError> {
        let mut all = Done::default();
        let mut after: Option<(TicketWork, DataId)> = None;
        loop {
            let query = ObjectQuery::Queue {
                from,
                to,
                after,
                limit: PAGE,
            };
            let answer = self.work.consensus.ask_object(self.group, query).await?;
            let ObjectAnswer::Tickets(page) = answer else {
                return Ok(all);
            };
            after = page
                .tickets
                .last()
                .and_then(|item| place_in(item, from, to));
            let more = page.more && after.is_some();
            let needs = page.tickets.into_iter().filter_map(|item| {
                let need = need(&item)?;
                Some((item.extent, need))
            });
            all = all.plus(self.work_on(needs.collect()).await);
            if !more || all.done >= EXTENTS_PER_PASS {
                return Ok(all);
            }
        }
    }

    /// Has some extents encoded anew, those that survive fewest losses first.
    async fn work_on(&self, mut extents: Vec<(LiveExtent, Need)>) -> Done {
        let now = Instant::now();
        extents.retain(|(live, _)| !self.work.later().contains(live.extent.data, now));
        extents.sort_by_key(|(live, _)| live.extent.profile.m());
        let mut waiting = 0;
        let mut jobs = Vec::new();
        for (live, need) in extents {
            match wanted(&live.extent, live.nominal, need, self.room) {
                Some(profile) => jobs.extend(self.job(live, profile)),
                // Nodes have to come back first, whose coming is seen at once.
                None => waiting += 1,
            }
        }
        let running = jobs.into_iter().map(|job| async move {
            let done = self.ask_nodes(&job).await;
            (job.data, done)
        });
        let running: Vec<(DataId, Result<u64, ReencodingError>)> = stream::iter(running)
            .buffer_unordered(EXTENTS_AT_ONCE)
            .collect()
            .await;
        let mut done = 0;
        for (data, outcome) in running {
            match outcome {
                Ok(_) => {
                    self.work.later().done(data);
                    done += 1;
                }
                Err(why) => {
                    self.work.later().failed(data, why, Instant::now());
                    waiting += 1;
                }
            }
        }
        Done { done, waiting }
    }

    fn job(&self, live: LiveExtent, profile: Profile) -> Option<Reencoding> {
        let key = ObjectKey::new(live.key).ok()?;
        Some(Reencoding {
            group: self.group,
            object: (live.bucket, key),
            pg: live.extent.pg,
            data: live.extent.data,
            profile,
        })
    }

    /// Asks the extent's own nodes, one after the other, until one has time.
    async fn ask_nodes(&self, job: &Reencoding) -> Result<u64, ReencodingError> {
        let up: BTreeSet<NodeId> = self.room.up().collect();
        let mut last = ReencodingError::Away;
        for node in candidates(job.data, &up).into_iter().take(NODES_TRIED_MAX) {
            match self.work.nodes.reencode(node, job).await {
                Err(why @ (ReencodingError::Busy | ReencodingError::Away)) => last = why,
                answer => return answer,
            }
        }
        Err(last)
    }
}

/// Where a ticket stands in the queue of these kinds.
fn place_in(item: &TicketItem, from: TicketWork, to: TicketWork) -> Option<(TicketWork, DataId)> {
    let reasons = item.ticket.reasons;
    let works = reasons.repair().into_iter().chain(reasons.reencoding());
    let mut works = works.filter(|work| (from..=to).contains(work));
    works.next().map(|work| (work, item.ticket.data))
}
