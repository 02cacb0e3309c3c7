//! Repair tickets: stray and lost shards are restored where the layout wants them. Extents that are
//! narrower than they should be are not repaired here: they are written anew.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use futures::StreamExt;
use futures::stream;
use marram_meta::{
    ClusterView, LiveExtent, ObjectAnswer, ObjectCommand, ObjectOutcome, ObjectQuery, Pausable,
    TicketItem, TicketWork, TicketsAnswer,
};
use marram_placement::Places;
use marram_types::{DataId, DriveId, GroupId, NodeId, PgId};

use super::backoff::Backoff;
use super::{Unreadable, Wait, Work, is_held, shard_id, shard_len};
use crate::consensus::Consensus;
use crate::fault::fault_point;
use crate::moves::Homes;
use crate::shards::{Seen, Shards, Wanted};

/// Tickets in one answer of a group.
const TICKETS_PAGE: u32 = 128;
/// Extents that are repaired at once.
const REPAIRS_AT_ONCE: usize = 8;
/// Tickets that are remembered as to be tried later.
const LATER_MAX: usize = 100_000;
/// Extents with lost shards that are repaired between two looks at all of them.
pub(super) const LOST_AT_ONCE_MAX: usize = 4096;
/// Looking takes at most one part in this many of the time.
const SHARE_OF_TIME: u32 = 4;

pub(super) struct Repairs<C, S> {
    work: Arc<Work<C, S>>,
    later: Backoff<DataId>,
    /// The nodes that were there at the last look.
    up: BTreeSet<NodeId>,
    /// What cannot be read, by the group that said so last.
    unreadable: BTreeMap<GroupId, Unreadable>,
}

impl<C: Consensus, S: Shards> Repairs<C, S> {
    pub(super) fn new(work: Arc<Work<C, S>>) -> Self {
        let pauses = (work.patience.later, work.patience.latest);
        Self {
            work,
            later: Backoff::new(pauses, LATER_MAX),
            up: BTreeSet::new(),
            unreadable: BTreeMap::new(),
        }
    }

    pub(super) async fn run(mut self) {
        while self.work.view.has_changed().is_ok() {
            let began = Instant::now();
            let repaired = self.pass().await;
            let looked = began.elapsed() * (SHARE_OF_TIME - 1);
            let pause = if repaired > 0 {
                self.work.patience.tickets
            } else {
                looked.max(self.work.patience.tickets)
            };
            tokio::time::sleep(pause).await;
        }
    }

    /// Looks at all tickets once. Says how many extents were repaired.
    pub(super) async fn pass(&mut self) -> usize {
        if !self.work.leads() {
            self.later.clear();
            self.unreadable.clear();
            return 0;
        }
        let view = self.work.view.borrow().clone();
        let up: BTreeSet<NodeId> = view
            .nodes
            .keys()
            .copied()
            .filter(|n| self.work.is_up(*n))
            .collect();
        if !up.is_subset(&self.up) {
            // One came back, perhaps with what was looked for in vain.
            self.later.clear();
        }
        self.up = up;
        let homes = Homes::of(&view);
        // What cannot be read is told of whether or not repairs are paused.
        let lost = self.lost(&view, &homes).await;
        self.tell_unreadable();
        if self.work.rests(Pausable::Repair) {
            // Whoever lets repairs go on wants to see them tried.
            self.later.clear();
            return 0;
        }
        let mut seen = lost.seen;
        let mut repaired = self.repair_some(lost.ordered(), &homes).await;
        let (strayed, done) = self.strayed(&view, &homes).await;
        seen += strayed;
        repaired += done;
        self.work.progress.send_if_modified(|p| {
            let since = p.tickets_since.or_else(|| Some(Instant::now()));
            let since = since.filter(|_| seen > 0);
            let told = (p.tickets, p.tickets_since);
            (p.tickets, p.tickets_since) = (seen, since);
            p.repaired += repaired as u64;
            told != (seen, since) || repaired > 0
        });
        repaired
    }

    /// Tells what cannot be read: nothing but a drive that returns, or an operator, changes it.
    fn tell_unreadable(&self) {
        let mut found = Unreadable::default();
        self.unreadable.values().for_each(|one| found.join(one));
        self.work.progress.send_if_modified(|p| {
            let differs = p.unreadable != found;
            p.unreadable = found;
            differs
        });
    }

    /// The extents that lack most, of all groups.
    async fn lost(&mut self, view: &ClusterView, homes: &Homes) -> Lost {
        let is_away = |drive: DriveId| {
            let node = homes.node(drive);
            node.is_none_or(|node| self.work.shards.is_dead(node))
        };
        let mut lost = Lost::default();
        let now = Instant::now();
        for group in view.groups.keys().filter(|group| **group != GroupId::ROOT) {
            let (mut after, mut unreadable) = (None, Unreadable::default());
            while let Some(page) = self.page(*group, TicketWork::Missing, after).await {
                after = last_of(&page);
                let (index, more) = (page.index, page.more && after.is_some());
                lost.seen += page.tickets.len();
                for item in page.tickets {
                    if item.extent.extent.spare() < 0 {
                        unreadable.add(&item.extent);
                    }
                    if !self.later.waits(&item.ticket.data, now) {
                        lost.add((*group, index, item), is_away);
                    }
                }
                if !more {
                    // A group that does not answer, or not to the end, has not found anything again.
                    self.unreadable.insert(*group, unreadable);
                    break;
                }
                if !self.work.leads() {
                    break;
                }
            }
        }
        lost
    }

    /// Brings extents to their place that lack nothing, page by page. How many there were, and how many
    /// are there now.
    async fn strayed(&mut self, view: &ClusterView, homes: &Homes) -> (usize, usize) {
        let (mut seen, mut repaired) = (0, 0);
        for group in view.groups.keys().filter(|group| **group != GroupId::ROOT) {
            let mut after = None;
            while let Some(page) = self.page(*group, TicketWork::Misplaced, after).await {
                after = last_of(&page);
                let (index, more) = (page.index, page.more && after.is_some());
                seen += page.tickets.len();
                let now = Instant::now();
                let items = page.tickets.into_iter();
                let due = items.filter(|item| !self.later.waits(&item.ticket.data, now));
                let due = due.map(|item| (*group, index, item)).collect();
                repaired += self.repair_some(due, homes).await;
                if !more || !self.work.leads() {
                    break;
                }
            }
        }
        (seen, repaired)
    }

    async fn page(
        &self,
        group: GroupId,
        work: TicketWork,
        after: Option<(TicketWork, DataId)>,
    ) -> Option<TicketsAnswer> {
        let query = ObjectQuery::Queue {
            from: work,
            to: work,
            after,
            limit: TICKETS_PAGE,
        };
        match self.work.consensus.ask_object(group, query).await {
            Ok(ObjectAnswer::Tickets(page)) => Some(page),
            Ok(_) => None,
            Err(error) => {
                tracing::debug!(%group, %error, "a group's tickets cannot be read now");
                None
            }
        }
    }

    /// Repairs extents in their order. How many are repaired.
    async fn repair_some(&mut self, items: Vec<Found>, homes: &Homes) -> usize {
        let work = &self.work;
        let running = items.into_iter().map(|(group, index, item)| async move {
            let data = item.ticket.data;
            // There may be thousands of them: a pause, or another leader, does not wait for their end.
            if !work.leads() || work.rests(Pausable::Repair) {
                return (data, Err(Wait::Soon));
            }
            let repair = Repair {
                work,
                homes,
                group,
                index,
                item,
            };
            (data, repair.run().await)
        });
        let mut running = stream::iter(running).buffer_unordered(REPAIRS_AT_ONCE);
        let mut done = Vec::new();
        while let Some(one) = running.next().await {
            done.push(one);
        }
        drop(running);
        let mut repaired = 0;
        for (data, done) in done {
            match done {
                Ok(()) => {
                    repaired += 1;
                    self.later.forget(&data);
                }
                Err(Wait::Soon) => {}
                Err(Wait::Drive | Wait::Later) => self.later.failed(data, Instant::now()),
            }
        }
        repaired
    }
}

/// A ticket, its group, and the group's applied index from before it was looked at.
pub(super) type Found = (GroupId, u64, TicketItem);

/// Where a page of one kind of work ends.
fn last_of(page: &TicketsAnswer) -> Option<(TicketWork, DataId)> {
    let last = page.tickets.last()?;
    Some((last.ticket.reasons.repair()?, last.ticket.data))
}

/// The most urgent of the extents with lost shards.
#[derive(Debug, Default)]
pub(super) struct Lost {
    /// How many there are.
    pub(super) seen: usize,
    /// By how many more shards may be lost, those at drives that are away taken as lost.
    found: BTreeMap<i16, Vec<Found>>,
    held: usize,
}

impl Lost {
    /// Takes one in, and leaves out the least urgent where there are too many.
    pub(super) fn add(&mut self, one: Found, is_away: impl Fn(DriveId) -> bool) {
        let spare = spare(&one.2.extent, is_away);
        self.found.entry(spare).or_default().push(one);
        self.held += 1;
        while self.held > LOST_AT_ONCE_MAX {
            let Some(mut least) = self.found.last_entry() else {
                return;
            };
            least.get_mut().pop();
            self.held -= 1;
            if least.get().is_empty() {
                least.remove();
            }
        }
    }

    /// Those that survive fewest losses first.
    pub(super) fn ordered(self) -> Vec<Found> {
        self.found.into_values().flatten().collect()
    }
}

/// How many more shards of an extent may be lost: what is marked missing is lost, and so, for as long as it
/// lasts, is what lies on a drive that is away.
fn spare(live: &LiveExtent, is_away: impl Fn(DriveId) -> bool) -> i16 {
    let places = (0_u8..).zip(&live.places);
    let away = places.filter(|(shard, at)| !live.extent.is_missing(*shard) && is_away(**at));
    let away = i16::try_from(away.count()).expect("at most 64");
    live.extent.spare() - away
}

/// A shard that was brought where it belongs.
struct Brought {
    shard: u8,
    wanted: Places,
    /// Those of the places where it is now.
    at: Vec<DriveId>,
    /// It is at all of them.
    is_whole: bool,
}

/// The repair of one extent.
struct Repair<'w, C, S> {
    work: &'w Work<C, S>,
    homes: &'w Homes,
    group: GroupId,
    /// The group's applied index from before anything was looked at.
    index: u64,
    item: TicketItem,
}

impl<C: Consensus, S: Shards> Repair<'_, C, S> {
    fn row(&self) -> (PgId, u64) {
        (self.item.ticket.pg, self.item.row.epoch)
    }

    fn wanted(&self, shard: u8) -> Wanted {
        Wanted {
            extent: self.item.extent.extent.clone(),
            shard,
            places: self.item.extent.places.clone(),
        }
    }

    async fn run(&self) -> Result<(), Wait> {
        let extent = &self.item.extent.extent;
        let mut placed: Vec<Brought> = Vec::new();
        let mut wait = None;
        for (shard, slot) in extent.shards() {
            if !extent.is_missing(shard) && extent.override_of(shard).is_none() {
                continue;
            }
            let wanted = self.item.row.must_hold(slot).ok_or(Wait::Later)?;
            let (at, why) = self.restore(shard, wanted).await;
            let is_whole = why.is_none();
            wait = wait.max(why);
            // Of a lost shard one end of a move is better than nothing: the other may be given up, or have
            // no source before readers look at this one.
            if is_whole || (extent.is_missing(shard) && !at.is_empty()) {
                placed.push(Brought {
                    shard,
                    wanted,
                    at,
                    is_whole,
                });
            }
        }
        // A lost shard is said to be back only when all that the row will claim then were seen
        // (placement-protocol.md 14).
        if extent.missing != 0 && !placed.is_empty() {
            self.look_at_the_others(&placed).await?;
        }
        fault_point("repair.restored");
        for restored in placed {
            let told = self.say_placed(&restored).await;
            if restored.is_whole {
                told?;
            }
        }
        wait.map_or(Ok(()), Err)
    }

    /// Brings a shard to every place where the layout wants it. Where it is then, and why not everywhere.
    async fn restore(&self, shard: u8, wanted: Places) -> (Vec<DriveId>, Option<Wait>) {
        let (mut at, mut wait) = (Vec::new(), None);
        for drive in wanted.iter() {
            match self.restore_at(shard, drive).await {
                Ok(()) => at.push(drive),
                Err(why) => wait = wait.max(Some(why)),
            }
        }
        (at, wait)
    }

    async fn restore_at(&self, shard: u8, drive: DriveId) -> Result<(), Wait> {
        let node = self.homes.node(drive).filter(|node| self.work.is_up(*node));
        let node = node.ok_or(Wait::Later)?;
        let request = vec![self.wanted(shard)];
        let restored = self
            .work
            .restore((node, drive), self.row(), request)
            .await?;
        let all_held = restored.into_iter().all(is_held);
        if all_held { Ok(()) } else { Err(Wait::Later) }
    }

    /// Looks at every shard that the row claims beside those. One that is not there is reported,
    /// and comes first.
    async fn look_at_the_others(&self, placed: &[Brought]) -> Result<(), Wait> {
        let extent = &self.item.extent.extent;
        let length = shard_len(extent)?;
        let mut all_whole = true;
        for (shard, _) in extent.shards() {
            if extent.is_missing(shard) || placed.iter().any(|of| of.shard == shard) {
                continue;
            }
            let place = self.item.extent.places.get(usize::from(shard)).copied();
            let place = place.ok_or(Wait::Later)?;
            let node = self.homes.node(place).filter(|node| self.work.is_up(*node));
            let node = node.ok_or(Wait::Later)?;
            let asked = vec![(shard_id(&self.wanted(shard)), length)];
            let seen = self
                .work
                .shards
                .look(node, place, self.row(), asked)
                .await?;
            if seen != [Seen::Whole] {
                all_whole = false;
                let (pg, _) = self.row();
                let named = (pg, self.item.ticket.data, shard);
                self.work.say_missing(named, place).await?;
            }
        }
        if all_whole { Ok(()) } else { Err(Wait::Soon) }
    }

    /// Tells the group where the shard is, and takes away what is left where it lay before.
    async fn say_placed(&self, restored: &Brought) -> Result<(), Wait> {
        let Brought { shard, wanted, .. } = *restored;
        let (pg, epoch) = self.row();
        let command = ObjectCommand::ShardPlaced {
            pg,
            data: self.item.ticket.data,
            shard,
            at: restored.at.clone(),
            seen: self.index,
        };
        let told = self.work.consensus.propose_object(self.group, command);
        let place = match told.await? {
            ObjectOutcome::Shard {
                place,
                missing: false,
                overridden: false,
            } => place,
            // Overwritten meanwhile: there is nothing to repair.
            ObjectOutcome::NotLive => return Ok(()),
            _ => return Err(Wait::Soon),
        };
        fault_point("repair.placed");
        let left = self.item.extent.extent.override_of(shard);
        let left = left.filter(|left| wanted.contains(place) && !wanted.contains(*left));
        let node = left.and_then(|left| self.homes.node(left));
        if let (Some(left), Some(node)) = (left, node.filter(|node| self.work.is_up(*node))) {
            let slot = self.item.extent.extent.slots.get(usize::from(shard));
            let slot = slot.copied().ok_or(Wait::Later)?;
            let shards = vec![(shard_id(&self.wanted(shard)), slot)];
            // Best effort: what stays is found by the node's own scan.
            if let Err(error) = self
                .work
                .shards
                .clean(node, left, (pg, epoch), shards)
                .await
            {
                tracing::debug!(%node, drive = %left, %error, "a stray shard was left over");
            }
        }
        Ok(())
    }
}
