//! Every node judges the shards that its own drives hold: what the garbage queue never heard of
//! (aborted writes, refused commits, late runs, copies left over from moves) is found here alone
//! (placement-protocol.md 7, 8, 11).
//!
//! ```text
//! unreferenced, begun below the floor    removed with all of its data's shards on the drive
//! live, and not wanted here              removed when the place that readers look at has it whole,
//!                                        by a permission of the row's epoch (rules.md 24); brought
//!                                        there when it does not
//! anything else                          stays
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use marram_erasure::Geometry;
use marram_meta::{ClusterView, Extent, ObjectAnswer, ObjectQuery, Pausable, Reference};
use marram_types::{DataId, DriveId, GroupId, NodeId, PgId, ShardId};
use tokio::sync::watch;

use crate::collect::counters;
use crate::collect::owners::Owners;
use crate::consensus::{Consensus, ConsensusError};
use crate::shards::{Restored, Seen, Shards, Wanted};

#[cfg(test)]
mod tests;

/// Shards of one page.
const PAGE: usize = 256;
/// Pause after a page, so that a scan takes little of a drive's and a group's time.
const PAGE_PAUSE: Duration = Duration::from_millis(100);
/// Pause before the first scan of a process, at most.
const FIRST_AFTER: Duration = Duration::from_secs(60);

/// A shard that a drive of this node holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeldShard {
    /// Which.
    pub shard: ShardId,
    /// The placement group that put it there.
    pub pg: PgId,
}

/// A drive of this node failed.
#[derive(Debug, thiserror::Error)]
#[error("drive {drive}: {reason}")]
pub struct OwnDriveError {
    /// Which one.
    pub drive: DriveId,
    /// What it said.
    pub reason: String,
}

/// The seam to this node's own drives.
#[async_trait]
pub trait OwnDrives: Send + Sync + 'static {
    /// This node, once it is known.
    fn node(&self) -> Option<NodeId>;

    /// Its drives.
    fn drives(&self) -> Vec<DriveId>;

    /// Up to `limit` shards of a drive after `after`, in the order of their ids.
    async fn list(
        &self,
        drive: DriveId,
        after: Option<ShardId>,
        limit: usize,
    ) -> Result<Vec<HeldShard>, OwnDriveError>;

    /// Removes every shard of the data from the drive.
    async fn delete(&self, drive: DriveId, data: Vec<DataId>) -> Result<(), OwnDriveError>;
}

/// Why a page could not be judged to its end. The next scan comes to it again.
#[derive(Debug, thiserror::Error)]
enum ScanError {
    #[error(transparent)]
    Drive(#[from] OwnDriveError),
    #[error(transparent)]
    Group(#[from] ConsensusError),
    #[error("group {0} answered something else than it was asked")]
    Answer(GroupId),
}

/// What a scan of all drives of this node has found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ScanReport {
    /// Scans that went over all drives since this process began.
    pub scans: u64,
    /// Shards that the last of them looked at.
    pub shards: u64,
    /// Data that belonged to nobody and was removed by it.
    pub removed: u64,
    /// Copies left over from moves that were removed by it.
    pub cleaned: u64,
    /// Shards that nobody refers to and that have to wait: a commit of them may still come, or the
    /// garbage queue decides when they go.
    pub waiting: u64,
}

/// Scans the drives of this node now and then.
#[derive(Debug)]
pub struct Scanner<C, S, D> {
    consensus: Arc<C>,
    shards: Arc<S>,
    own: Arc<D>,
    view: watch::Receiver<Arc<ClusterView>>,
    every: Duration,
    /// Of the scan under way.
    found: Mutex<ScanReport>,
    report: watch::Sender<ScanReport>,
}

/// A shard that is live and not wanted where it is.
#[derive(Debug, Clone, Copy)]
struct Leftover {
    held: HeldShard,
    /// Of the row by which it is not wanted.
    epoch: u64,
}

/// What a page may lose.
#[derive(Debug, Default)]
struct Verdict {
    dead: BTreeSet<DataId>,
    leftovers: Vec<Leftover>,
    /// Shards that nobody refers to and that may not go yet.
    waiting: u64,
}

impl<C: Consensus, S: Shards, D: OwnDrives> Scanner<C, S, D> {
    /// A scanner that begins a scan `every` after the end of the last one, and the first one within a minute.
    #[must_use]
    pub fn new(
        consensus: Arc<C>,
        shards: Arc<S>,
        own: Arc<D>,
        view: watch::Receiver<Arc<ClusterView>>,
        every: Duration,
    ) -> Self {
        Self {
            consensus,
            shards,
            own,
            view,
            every,
            found: Mutex::default(),
            report: watch::Sender::new(ScanReport::default()),
        }
    }

    /// What the last scan found; followed before [`Self::run`].
    #[must_use]
    pub fn report(&self) -> watch::Receiver<ScanReport> {
        self.report.subscribe()
    }

    fn found(&self) -> std::sync::MutexGuard<'_, ScanReport> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// While garbage collection is paused nothing is removed.
    fn is_paused(&self) -> bool {
        self.view
            .borrow()
            .upkeep
            .paused(Pausable::Garbage)
            .is_some()
    }

    /// Runs until the view's sender is gone.
    pub async fn run(self) {
        // After metadata was restored, some shards lie where only a scan finds them.
        let mut pause = self.every.min(FIRST_AFTER);
        while self.view.has_changed().is_ok() {
            tokio::time::sleep(pause).await;
            self.scan(PAGE_PAUSE).await;
            pause = self.every;
        }
    }

    /// Looks at every shard of every drive once.
    async fn scan(&self, pause: Duration) {
        let scans = self.found().scans;
        *self.found() = ScanReport {
            scans: scans + 1,
            ..ScanReport::default()
        };
        for drive in self.own.drives() {
            let mut after = None;
            loop {
                let page = match self.own.list(drive, after, PAGE).await {
                    Ok(page) => page,
                    Err(error) => {
                        tracing::warn!(target: "gc", %error, "the scan of a drive broke off");
                        break;
                    }
                };
                self.page(drive, &page).await;
                match page.last() {
                    Some(last) if page.len() >= PAGE => after = Some(last.shard),
                    _ => break,
                }
                tokio::time::sleep(pause).await;
            }
        }
        self.report.send_replace(*self.found());
    }

    async fn page(&self, drive: DriveId, page: &[HeldShard]) {
        let mut by_group: BTreeMap<GroupId, Vec<HeldShard>> = BTreeMap::new();
        for held in page {
            let of_group = by_group.entry(held.shard.data.group).or_default();
            of_group.push(*held);
        }
        for (group, held) in by_group {
            // Data of a group that this node has not heard of is not judged.
            if !self.view.borrow().groups.contains_key(&group) {
                continue;
            }
            if let Err(error) = self.group(drive, group, &held).await {
                tracing::info!(target: "gc", %drive, %group, %error, "shards are judged later");
            }
        }
    }

    async fn group(
        &self,
        drive: DriveId,
        group: GroupId,
        held: &[HeldShard],
    ) -> Result<(), ScanError> {
        let verdict = self.judge(drive, group, held).await?;
        self.found().shards += held.len() as u64;
        self.found().waiting += verdict.waiting;
        if self.is_paused() {
            return Ok(());
        }
        if !verdict.dead.is_empty() {
            for data in &verdict.dead {
                tracing::info!(
                    target: "gc",
                    %data,
                    %drive,
                    "nothing refers to the data and no commit of it is accepted any more: its \
                     shards are removed"
                );
            }
            let dead: Vec<DataId> = verdict.dead.into_iter().collect();
            let removed = dead.len() as u64;
            self.own.delete(drive, dead).await?;
            self.found().removed += removed;
        }
        for leftover in verdict.leftovers {
            self.clean(drive, group, leftover).await?;
        }
        Ok(())
    }

    async fn judge(
        &self,
        drive: DriveId,
        group: GroupId,
        held: &[HeldShard],
    ) -> Result<Verdict, ScanError> {
        // The floor first: data that nobody refers to after that, begun below it, can not be
        // committed in between. The other way round a commit between the questions would be lost.
        let counters = counters(self.consensus.as_ref(), group).await?;
        let floor = counters.ok_or(ScanError::Answer(group))?.gc_floor;
        let pairs: BTreeSet<_> = held.iter().map(|h| (h.pg, h.shard.data)).collect();
        let pairs: Vec<_> = pairs.into_iter().collect();
        let query = ObjectQuery::References(pairs.clone());
        let answer = self.consensus.ask_object(group, query).await?;
        let ObjectAnswer::References(found) = answer else {
            return Err(ScanError::Answer(group));
        };
        if found.len() != pairs.len() {
            return Err(ScanError::Answer(group));
        }
        let found: BTreeMap<_, _> = pairs.into_iter().zip(found).collect();
        let view = self.view.borrow().clone();
        let mut verdict = Verdict::default();
        let mut kept = BTreeSet::new();
        for held in held {
            let data = held.shard.data;
            match &found[&(held.pg, data)] {
                Reference::Unreferenced if data.begin < floor => {
                    verdict.dead.insert(data);
                }
                Reference::Live { epoch, belongs, .. } => {
                    kept.insert(data);
                    let shard = held.shard;
                    let belongs = belongs.get(usize::from(shard.slot));
                    let elsewhere = belongs.is_some_and(|b| !b.is_empty() && !b.contains(&drive));
                    if elsewhere && is_settled(&view, held.pg, *epoch) {
                        let (held, epoch) = (*held, *epoch);
                        verdict.leftovers.push(Leftover { held, epoch });
                    }
                }
                Reference::Unreferenced | Reference::Displaced => {
                    kept.insert(data);
                    verdict.waiting += 1;
                }
            }
        }
        // Removal is by data id alone: what any placement group of it still knows stays.
        verdict.dead.retain(|data| !kept.contains(data));
        Ok(verdict)
    }

    /// Removes a live shard that is not wanted on the drive, when it is whole where readers look.
    async fn clean(
        &self,
        drive: DriveId,
        group: GroupId,
        leftover: Leftover,
    ) -> Result<(), ScanError> {
        let Leftover { held, epoch } = leftover;
        let (pg, shard) = (held.pg, held.shard);
        let Some(node) = self.own.node() else {
            return Ok(());
        };
        let Some((extent, place, places)) = self.place(group, leftover).await? else {
            return Ok(());
        };
        let owner = Owners::of(&self.view.borrow()).node(place);
        let Some(other) = owner.filter(|_| place != drive) else {
            return Ok(());
        };
        let Some(length) = shard_len(&extent) else {
            return Ok(());
        };
        // The place that readers look at was perhaps never verified: a move that was cancelled, or
        // a drive that lost it since.
        let looked = self
            .shards
            .look(other, place, (pg, epoch), vec![(shard, length)])
            .await;
        match looked.as_deref() {
            // Until the row says so too, this is a copy that nobody should have to miss.
            Ok([Seen::Whole]) if extent.is_missing(shard.slot) => return Ok(()),
            Ok([Seen::Whole]) => {}
            Ok([Seen::Missing | Seen::Damaged]) => {
                let mut wanted = Wanted {
                    extent,
                    shard: shard.slot,
                    places,
                };
                // Said of its place. Here it is.
                wanted.extent.missing &= !(1 << shard.slot);
                self.bring_home(other, place, leftover, (drive, wanted))
                    .await;
                return Ok(());
            }
            Ok(seen) => {
                tracing::warn!(target: "gc", %shard, %place, ?seen, "a left over copy stays: the shard's own place does not have it whole");
                return Ok(());
            }
            Err(error) => {
                tracing::info!(target: "gc", %shard, %place, %error, "a left over copy stays for now");
                return Ok(());
            }
        }
        let Some(slot) = extent.slots.get(usize::from(shard.slot)).copied() else {
            return Ok(());
        };
        let cleaned = self
            .shards
            .clean(node, drive, (pg, epoch), vec![(shard, slot)]);
        match cleaned.await {
            Ok(()) => {
                self.found().cleaned += 1;
                tracing::info!(
                    target: "gc", data = %shard.data, %shard, %pg, epoch, %drive, %place,
                    "the layout does not want the shard here and its place has it: this copy was \
                     removed"
                );
            }
            Err(error) => {
                tracing::info!(target: "gc", %shard, %drive, %error, "a left over copy stays for now");
            }
        }
        Ok(())
    }

    /// The shard's own place does not have it whole, and gets it from here: so those shards come home
    /// that lie where a layout wanted them which older metadata, restored, knows nothing of. This copy
    /// goes when a later scan finds the other one.
    async fn bring_home(
        &self,
        node: NodeId,
        place: DriveId,
        leftover: Leftover,
        (from, mut wanted): (DriveId, Wanted),
    ) {
        let Leftover { held, epoch } = leftover;
        if let Some(read) = wanted.places.get_mut(usize::from(wanted.shard)) {
            *read = from;
        }
        let row = (held.pg, epoch);
        let restored = self.shards.restore(node, place, row, vec![wanted]).await;
        let shard = held.shard;
        match restored.as_deref() {
            Ok([Restored::Held { written }]) => {
                tracing::info!(target: "gc", %shard, %from, %place, written, "a shard that its own place had lost was brought there");
            }
            Ok(restored) => {
                tracing::warn!(target: "gc", %shard, %from, %place, ?restored, "a shard stays where it is: its own place cannot take it");
            }
            Err(error) => {
                tracing::info!(target: "gc", %shard, %from, %place, %error, "a shard is brought to its own place later");
            }
        }
    }

    /// The extent of a leftover, where readers look for the shard and for all of them, if the group
    /// still knows it by the same row.
    async fn place(
        &self,
        group: GroupId,
        leftover: Leftover,
    ) -> Result<Option<(Extent, DriveId, Vec<DriveId>)>, ScanError> {
        let Leftover { held, epoch } = leftover;
        let query = ObjectQuery::Rows {
            pg: held.pg,
            after: before(held.shard.data),
            limit: 1,
        };
        let answer = self.consensus.ask_object(group, query).await?;
        let ObjectAnswer::Rows(rows) = answer else {
            return Err(ScanError::Answer(group));
        };
        let same_row = rows.row.is_some_and(|row| row.epoch == epoch);
        let live = rows.extents.into_iter().next();
        let live = live.filter(|live| same_row && live.extent.data == held.shard.data);
        Ok(live.and_then(|live| {
            // Extents have no other number as yet: what has one is for a later release to judge.
            let plain = held.shard.repair == 0;
            let place = live.places.get(usize::from(held.shard.slot)).copied();
            let found = place.filter(|_| plain);
            found.map(|place| (live.extent, place, live.places))
        }))
    }
}

/// Whether this node's own view agrees with the group's row and nothing moves in it.
fn is_settled(view: &ClusterView, pg: PgId, epoch: u64) -> bool {
    let row = view.pools.get(&pg.pool).and_then(|table| table.row(pg));
    row.is_some_and(|row| row.moving.is_none() && row.epoch == epoch)
}

/// The data id right before this one, so that a page after it begins with this one.
fn before(data: DataId) -> Option<DataId> {
    let at = u128::from(data.begin) << 64 | u128::from(data.random);
    let at = at.checked_sub(1)?;
    let half = |bits: u128| u64::try_from(bits & u128::from(u64::MAX)).expect("64 bits");
    Some(DataId {
        group: data.group,
        begin: half(at >> 64),
        random: half(at),
    })
}

/// Bytes of one shard of an extent.
fn shard_len(extent: &Extent) -> Option<u64> {
    let geometry = Geometry::with_cell(extent.profile, extent.cell, extent.length);
    geometry.ok().map(|geometry| geometry.shard_len())
}
