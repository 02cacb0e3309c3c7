//! Moves placement groups while this server leads the root group, and brings stray and lost shards
//! to their places (placement-protocol.md 3, 4, 5, 8, 14).
//!
//! ```text
//! rounds   fences moving rows, looks what each needs, proposes the next phase, begins new moves
//! running  the work on rows that goes on meanwhile, so many at once, the most urgent first
//! backoff  when what could not be done is tried again
//! carry    Dual: every shard of the slot is brought to the new place and verified
//! unreadable  what nothing can be read of: the row goes on without it
//! vacate   Dual, to no drive: waits until nothing uses the slot
//! clean    Cut: the place that stays is looked at, then the old one is cleaned
//! repairs  tickets: stray and lost shards are restored where the layout wants them
//! ```
//!
//! All of it is derived anew from the view and the groups, and every step names the epoch that it acts
//! in: another leader goes on where one fell, and what one does that was replaced changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use marram_erasure::Geometry;
use marram_meta::{
    ClusterView, Extent, LiveExtent, ObjectAnswer, ObjectCommand, ObjectOutcome, ObjectQuery,
    Pausable,
};
use marram_types::{BucketId, DataId, DriveId, GroupId, NodeId, PgId, ShardId};
use tokio::sync::watch;

use crate::consensus::{Consensus, ConsensusError};
use crate::shards::{Restored, SHARDS_PER_REQUEST_MAX, Shards, ShardsError, Wanted};

mod backoff;
mod carry;
mod clean;
mod repairs;
mod rounds;
mod running;
mod unreadable;
mod vacate;

use self::repairs::Repairs;
use self::rounds::Rounds;

/// Extents in one answer of a group.
const ROWS_PAGE: u32 = 256;
/// Bytes of shards in one request to a node, except that one shard is always asked for: what is
/// asked for must be done within the request's deadline.
const REQUEST_BYTES_MAX: u64 = 64 << 20;
/// Objects that cannot be read and are told of by name.
pub const UNREADABLE_NAMED_MAX: usize = 5;
/// How often waiting is told of in the log.
const TELL_EVERY: Duration = Duration::from_secs(30);

/// How patient the mover is.
#[derive(Debug, Clone, Copy)]
struct Patience {
    /// Between looks when nothing changes.
    look: Duration,
    /// The longest that a round waits for what is under way: so soon is seen what was decided or lost
    /// meanwhile, and what came to its end within it is decided together.
    turn: Duration,
    /// Before a move or repair that found no source, no room or a refusal is tried again; twice as
    /// long after each further try, because each reads again what is there.
    later: Duration,
    /// The longest such pause. Any node that comes or goes ends it.
    latest: Duration,
    /// The nodes must not have changed for so long before data moves only for balance.
    quiet: Duration,
    /// Targets away for longer lose their moves, and so do drives that fail for as long.
    away: Duration,
    /// A drive that was found full or failing gets no moves for so long.
    unfit: Duration,
    /// Between two looks at the tickets.
    tickets: Duration,
    /// The nodes must not have changed for so long before data becomes narrower because of a node
    /// that is gone.
    narrow: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            look: Duration::from_millis(300),
            turn: Duration::from_millis(300),
            later: Duration::from_secs(5),
            latest: Duration::from_mins(5),
            quiet: Duration::from_secs(3),
            away: Duration::from_secs(60),
            unfit: Duration::from_mins(5),
            tickets: Duration::from_secs(2),
            narrow: Duration::from_mins(10),
        }
    }
}

/// How far the work of the mover is, as the server that leads the root group knows it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MoverProgress {
    /// This server leads the root group: elsewhere nothing else is known.
    pub leading: bool,
    /// Placement groups with a move under way.
    pub under_way: usize,
    /// Those of them that wait: a shard has no source now, or a drive is full or fails.
    pub waiting: usize,
    /// Placement groups that the present plan has yet to move, beside those under way. A plan whose
    /// moves are not worth their copies counts for nothing.
    pub to_go: usize,
    /// Slots that must leave their drive, while no other drive can take them.
    pub unplaced: usize,
    /// Repair tickets of stray and lost shards seen at the last look.
    pub tickets: usize,
    /// Bytes written since this server began to lead.
    pub written: u64,
    /// When the moves under way or to go began; none when there are none.
    pub since: Option<Instant>,
    /// Extents whose shards were repaired since this server began to lead.
    pub repaired: u64,
    /// Since when there have been tickets without a break; none when there are none.
    pub tickets_since: Option<Instant>,
    /// What could not be read anywhere at the last look.
    pub unreadable: Unreadable,
}

/// Objects of which more shards are lost than they have parity.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unreadable {
    /// How many extents of them.
    pub extents: usize,
    /// Some of the objects, each once: at most [`UNREADABLE_NAMED_MAX`].
    pub objects: BTreeSet<(BucketId, String)>,
}

impl Unreadable {
    fn add(&mut self, live: &LiveExtent) {
        self.extents += 1;
        let object = (live.bucket, live.key.clone());
        if self.objects.len() < UNREADABLE_NAMED_MAX {
            self.objects.insert(object);
        }
    }

    /// Those of another metadata group, too.
    fn join(&mut self, other: &Self) {
        self.extents += other.extents;
        for object in &other.objects {
            if self.objects.len() < UNREADABLE_NAMED_MAX {
                self.objects.insert(object.clone());
            }
        }
    }
}

/// What operators may say of a mover's patience.
#[derive(Debug, Clone, Copy)]
pub struct MoverWaits {
    /// For a node in place of one that is gone, before what that one had becomes narrower (rules.md 19).
    pub narrow: Duration,
    /// After nodes came or changed, before data moves only for balance: those that come one after the
    /// other are planned for together.
    pub balance: Duration,
}

/// Moves placement groups and repairs shards.
#[derive(Debug)]
pub struct Mover<C, S> {
    work: Arc<Work<C, S>>,
}

impl<C: Consensus + 'static, S: Shards> Mover<C, S> {
    /// A mover that watches `view`.
    #[must_use]
    pub fn new(consensus: Arc<C>, shards: Arc<S>, view: watch::Receiver<Arc<ClusterView>>) -> Self {
        Self {
            work: Arc::new(Work::new(consensus, shards, view, Patience::default())),
        }
    }

    /// A mover that waits as long as it is told.
    #[must_use]
    pub fn waiting(
        consensus: Arc<C>,
        shards: Arc<S>,
        view: watch::Receiver<Arc<ClusterView>>,
        waits: MoverWaits,
    ) -> Self {
        let patience = Patience {
            narrow: waits.narrow,
            quiet: waits.balance,
            ..Patience::default()
        };
        Self {
            work: Arc::new(Work::new(consensus, shards, view, patience)),
        }
    }

    /// How far it is; followed before [`Self::run`].
    #[must_use]
    pub fn progress(&self) -> watch::Receiver<MoverProgress> {
        self.work.progress.subscribe()
    }

    /// Runs until the view's sender is gone.
    pub async fn run(self) {
        let rounds = Rounds::new(Arc::clone(&self.work));
        let repairs = Repairs::new(self.work);
        // A long round of moves must not keep lost shards waiting.
        tokio::join!(Box::pin(rounds.run()), Box::pin(repairs.run()));
    }
}

/// Why something is not done yet, the more patient last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Wait {
    /// Somebody has to catch up, or answers again in a moment.
    Soon,
    /// A drive or its node does not do what it is asked: it may again, or never.
    Drive,
    /// It cannot be done now.
    Later,
}

impl From<ConsensusError> for Wait {
    fn from(error: ConsensusError) -> Self {
        tracing::debug!(%error, "a group cannot be asked now");
        Self::Soon
    }
}

impl From<ShardsError> for Wait {
    fn from(error: ShardsError) -> Self {
        match error {
            ShardsError::Stale => Self::Soon,
            ShardsError::Away | ShardsError::Behind => Self::Drive,
            ShardsError::Full | ShardsError::Refused | ShardsError::Busy => Self::Later,
        }
    }
}

/// What rounds and repairs share.
#[derive(Debug)]
struct Work<C, S> {
    consensus: Arc<C>,
    shards: Arc<S>,
    view: watch::Receiver<Arc<ClusterView>>,
    progress: watch::Sender<MoverProgress>,
    patience: Patience,
    told: Mutex<Option<Instant>>,
    /// Drives that get no moves now, and until when.
    unfit: Mutex<BTreeMap<DriveId, Instant>>,
}

impl<C: Consensus, S: Shards> Work<C, S> {
    fn new(
        consensus: Arc<C>,
        shards: Arc<S>,
        view: watch::Receiver<Arc<ClusterView>>,
        patience: Patience,
    ) -> Self {
        Self {
            consensus,
            shards,
            view,
            progress: watch::Sender::new(MoverProgress::default()),
            patience,
            told: Mutex::new(None),
            unfit: Mutex::default(),
        }
    }

    fn leads(&self) -> bool {
        self.consensus.root_if_leading().is_some()
    }

    fn is_up(&self, node: NodeId) -> bool {
        self.shards.is_up(node)
    }

    /// Whether an operator has paused this work.
    fn rests(&self, work: Pausable) -> bool {
        self.view.borrow().upkeep.paused(work).is_some()
    }

    fn wrote(&self, bytes: u64) {
        if bytes > 0 {
            self.progress.send_modify(|p| p.written += bytes);
        }
    }

    /// Notes that a drive is full, or failing.
    fn mark_unfit(&self, drive: DriveId, why: &'static str) {
        let until = Instant::now() + self.patience.unfit;
        let mut unfit = self.unfit.lock().unwrap_or_else(PoisonError::into_inner);
        if unfit.insert(drive, until).is_none() {
            tracing::warn!(%drive, why, "moves to a drive go elsewhere for a while");
        }
    }

    /// The drives that get no moves now.
    fn unfit(&self) -> BTreeSet<DriveId> {
        let now = Instant::now();
        let mut unfit = self.unfit.lock().unwrap_or_else(PoisonError::into_inner);
        unfit.retain(|_, until| *until > now);
        unfit.keys().copied().collect()
    }

    /// Says that something waits, now and then.
    fn tell(&self, pg: PgId, data: DataId, why: &'static str) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.is_none_or(|at| at.elapsed() >= TELL_EVERY) {
            *told = Some(Instant::now());
            tracing::warn!(?pg, %data, why, "a shard cannot be brought to its place now");
        }
    }

    /// Has a node bring shards to a drive. What became of each.
    async fn restore(
        &self,
        (node, drive): (NodeId, DriveId),
        (pg, epoch): (PgId, u64),
        wanted: Vec<Wanted>,
    ) -> Result<Vec<Restored>, Wait> {
        let data: Vec<DataId> = wanted.iter().map(|w| w.extent.data).collect();
        let done = self.shards.restore(node, drive, (pg, epoch), wanted);
        let done = done.await.inspect_err(|error| {
            tracing::debug!(%node, %drive, ?pg, epoch, %error, "shards were not restored");
            if *error == ShardsError::Full {
                self.mark_unfit(drive, "it is full");
            }
        })?;
        if done.len() != data.len() {
            return Err(Wait::Later);
        }
        for (restored, data) in done.iter().zip(data) {
            match restored {
                Restored::Held { written } => self.wrote(*written),
                Restored::NoSource => self.tell(pg, data, "neither it nor enough others are read"),
                Restored::Failed => self.tell(pg, data, "it was not written or not verified"),
            }
        }
        Ok(done)
    }

    /// Tells a group that readers do not find a shard at a drive. What it holds of the shard then; none when
    /// nothing refers to the data any more.
    async fn say_missing(
        &self,
        (pg, data, shard): (PgId, DataId, u8),
        at: DriveId,
    ) -> Result<Option<ShardNow>, Wait> {
        tracing::warn!(?pg, %data, shard, drive = %at, "a shard is lost");
        let command = ObjectCommand::ShardMissing {
            pg,
            data,
            shard,
            at,
        };
        let told = self.consensus.propose_object(data.group, command);
        match told.await? {
            ObjectOutcome::Shard { missing, place, .. } => Ok(Some(ShardNow { missing, place })),
            ObjectOutcome::NotLive => Ok(None),
            _ => Err(Wait::Soon),
        }
    }
}

/// What a group holds of a shard.
#[derive(Debug, Clone, Copy)]
struct ShardNow {
    missing: bool,
    /// Where readers look.
    place: DriveId,
}

fn is_held(restored: Restored) -> bool {
    matches!(restored, Restored::Held { .. })
}

/// The live extents of a placement group in one group, page by page.
struct Pages {
    group: GroupId,
    pg: PgId,
    /// The epoch of the row that the group must hold: an answer from another one is of no use.
    epoch: u64,
    after: Option<DataId>,
    more: bool,
}

impl Pages {
    fn new(group: GroupId, pg: PgId, epoch: u64) -> Self {
        Self::after(group, pg, epoch, None)
    }

    /// Those that follow one.
    fn after(group: GroupId, pg: PgId, epoch: u64, after: Option<DataId>) -> Self {
        Self {
            group,
            pg,
            epoch,
            after,
            more: true,
        }
    }

    async fn next<C: Consensus, S: Shards>(
        &mut self,
        work: &Work<C, S>,
    ) -> Result<Option<Vec<LiveExtent>>, Wait> {
        if !self.more {
            return Ok(None);
        }
        if !work.leads() {
            return Err(Wait::Soon);
        }
        let query = ObjectQuery::Rows {
            pg: self.pg,
            after: self.after,
            limit: ROWS_PAGE,
        };
        let ObjectAnswer::Rows(page) = work.consensus.ask_object(self.group, query).await? else {
            return Err(Wait::Later);
        };
        if page.row.is_none_or(|row| row.epoch != self.epoch) {
            return Err(Wait::Soon);
        }
        let last = page.extents.last().map(|live| live.extent.data);
        self.more = page.more && last.is_some();
        self.after = last.or(self.after);
        Ok(Some(page.extents))
    }
}

/// The shard of an extent that uses the slot.
fn shard_in(extent: &Extent, slot: u8) -> Option<u8> {
    let mut shards = extent.shards();
    shards
        .find(|(_, used)| *used == slot)
        .map(|(shard, _)| shard)
}

fn shard_id(wanted: &Wanted) -> ShardId {
    ShardId {
        data: wanted.extent.data,
        slot: wanted.shard,
        repair: 0,
    }
}

/// Bytes of each shard of an extent.
fn shard_len(extent: &Extent) -> Result<u64, Wait> {
    let geometry = Geometry::with_cell(extent.profile, extent.cell, extent.length);
    let geometry = geometry.map_err(|error| {
        tracing::error!(data = %extent.data, %error, "an extent is damaged");
        Wait::Later
    })?;
    Ok(geometry.shard_len())
}

/// Those whose rows say how long their shards are, and the others.
fn whole_rows(wanted: Vec<Wanted>) -> (Vec<Wanted>, Vec<Wanted>) {
    let is_whole = |wanted: &Wanted| shard_len(&wanted.extent).is_ok();
    wanted.into_iter().partition(is_whole)
}

/// Cuts shards into requests that a node can do within its deadline.
fn requests(wanted: Vec<Wanted>) -> Result<Vec<Vec<Wanted>>, Wait> {
    let mut requests: Vec<Vec<Wanted>> = Vec::new();
    let mut room = 0;
    for one in wanted {
        let bytes = shard_len(&one.extent)?;
        match requests.last_mut() {
            Some(last) if last.len() < SHARDS_PER_REQUEST_MAX && bytes <= room => {
                last.push(one);
                room -= bytes;
            }
            _ => {
                requests.push(vec![one]);
                room = REQUEST_BYTES_MAX.saturating_sub(bytes);
            }
        }
    }
    Ok(requests)
}

#[cfg(test)]
mod tests;
