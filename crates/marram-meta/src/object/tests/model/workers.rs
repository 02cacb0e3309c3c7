//! What the controller, workers and nodes do, each by what a query told it.

use marram_types::{DriveId, PgId};

use super::expiry::lifecycle_of;
use super::reference::versioning_of;
use super::world::{Shard, Verdict};
use super::{Op, Run, Spec};
use crate::object::tests::ask;
use crate::testing::{bucket_record, pg};
use crate::{
    BucketRecord, CollectedEntry, Extent, ObjectAnswer, ObjectCommand, ObjectQuery, Reference,
    TicketItem,
};
use marram_placement::{PgRow, Phase};

impl Run {
    /// Applies a command of the system, now or later.
    fn send(&mut self, command: ObjectCommand, now: bool) {
        if now {
            self.internal(&command);
        }
        match command {
            ObjectCommand::LayoutFence { .. } | ObjectCommand::BucketFence(_) => {
                self.fences.push(command);
            }
            command => self.claims.push(command),
        }
    }

    pub(super) fn work(&mut self, op: &Op) {
        match op {
            Op::Fence(epoch, state) => {
                let record = BucketRecord {
                    versioning: versioning_of(*epoch),
                    lifecycle: lifecycle_of(*epoch),
                    ..bucket_record(*epoch, *state)
                };
                self.send(ObjectCommand::BucketFence(record), true);
            }
            Op::Begin(index, slot, to) if self.is_told(*index) => {
                let to = DriveId(*to);
                self.world
                    .change(*index, |row, epoch| row.begin(*slot, to, epoch));
            }
            Op::Copy(index) if self.is_told(*index) => self.copy(*index),
            Op::Cut(index) if self.world.copied.contains(index) => {
                self.world.change(*index, PgRow::cut);
            }
            Op::End(index) if self.is_told(*index) && self.clean_old_place(*index) => {
                self.world.change(*index, PgRow::end);
            }
            // The fence of the Dual phase may not have come here yet.
            Op::Cancel(index) => self.world.change(*index, PgRow::cancel),
            Op::Tell => {
                let rows = self.world.latest();
                let pool = crate::testing::POOL;
                self.send(ObjectCommand::LayoutFence { pool, rows }, true);
            }
            Op::OldFence(nth) if !self.fences.is_empty() => {
                let command = self.fences[nth % self.fences.len()].clone();
                self.internal(&command);
            }
            Op::Late(nth) if !self.claims.is_empty() => {
                // Mostly one of the last: older ones are about data that is gone.
                let last = self.claims.len() - 1;
                let command = self.claims[last - nth % self.claims.len().min(20)].clone();
                self.internal(&command);
            }
            Op::Repair(nth, ends, now) => self.repair(*nth, *ends, *now),
            Op::Reencode(nth, specs, now) => self.reencode(*nth, specs, *now),
            Op::Lose(nth, shard, from) => self.lose(*nth, *shard, *from),
            Op::LoseAgain(nth) => self.lose_again(*nth),
            Op::Scrub(now) => self.scrub(*now),
            Op::Raise(gc, read) => {
                let back = |lag: u64| self.group.index.saturating_sub(lag);
                let command = ObjectCommand::RaiseFloors {
                    gc_floor: back(*gc),
                    read_floor: back(*read),
                };
                self.send(command, true);
            }
            Op::Collect(now) => self.collect(*now),
            Op::Sweep(drive) => {
                let verdicts = self.verdicts(DriveId(*drive), |_| true);
                self.world.verdicts.extend(verdicts);
            }
            Op::Clean => self.world.clean(),
            _ => {}
        }
    }

    /// Whether the group knows what the root decided last: the controller goes on only then.
    fn is_told(&self, index: u16) -> bool {
        self.model.rows[&pg(index)].1 == *self.world.row(index)
    }

    /// The scan of a move after the fence: everything without an override gets to the target.
    fn copy(&mut self, index: u16) {
        let row = self.world.row(index).clone();
        let Some(moving) = row.moving.filter(|m| m.phase == Phase::Dual) else {
            return;
        };
        for live in self.live_extents(index) {
            let extent = &live.extent;
            for (shard, slot) in extent.shards() {
                let stays = slot != moving.slot
                    || extent.override_of(shard).is_some()
                    || extent.is_missing(shard);
                if stays {
                    continue;
                }
                if !self.world.can_rebuild(extent) {
                    return;
                }
                let shard = (extent.pg, extent.data, shard);
                self.world.write(moving.to, shard, row.epoch);
            }
        }
        self.world.copied.insert(index);
    }

    /// The cleanup of a move. Whether nothing is left of what rows name elsewhere.
    fn clean_old_place(&mut self, index: u16) -> bool {
        let moving = self.world.row(index).moving;
        let Some(moving) = moving.filter(|m| m.phase == Phase::Cut) else {
            return false;
        };
        let verdicts = self.verdicts(moving.from, |of| of == pg(index));
        self.world.verdicts.extend(verdicts);
        self.world.clean();
        let left = &self.world.drives[&moving.from];
        let unwanted = |(of, data, shard): &Shard| {
            let mut extents = self.model.extents();
            let extent = extents.find(|e| e.data == *data && *of == pg(index));
            extent.is_some_and(|e| {
                self.model.reads(e, *shard) != moving.from
                    && !self.model.wants(e, *shard).contains(&moving.from)
            })
        };
        !left.iter().any(unwanted)
    }

    /// What a node may delete of what it holds (placement-protocol.md 7, 8).
    fn verdicts(&mut self, drive: DriveId, of: impl Fn(PgId) -> bool) -> Vec<Verdict> {
        let held = self.world.drives[&drive].iter();
        let held: Vec<Shard> = held.filter(|shard| of(shard.0)).copied().collect();
        let pairs = held.iter().map(|(pg, data, _)| (*pg, *data)).collect();
        let answer = ask(&self.group, &ObjectQuery::References(pairs));
        let ObjectAnswer::References(found) = answer else {
            panic!("asked for references");
        };
        let floor = self.model.gc_floor;
        let mut verdicts = Vec::new();
        for (shard, reference) in held.into_iter().zip(found) {
            let epoch = match reference {
                Reference::Unreferenced if shard.1.begin < floor => None,
                Reference::Live {
                    epoch,
                    missing,
                    belongs,
                } => {
                    self.world.sees(drive, shard.0, epoch);
                    let wanted = &belongs[usize::from(shard.2)];
                    // Where readers look is verified before another place goes.
                    let is_there = self.world.drives[&wanted[0]].contains(&shard);
                    let is_safe = missing >> shard.2 & 1 == 0 && is_there;
                    if wanted.contains(&drive) || !is_safe {
                        continue;
                    }
                    Some(epoch)
                }
                Reference::Unreferenced | Reference::Displaced => continue,
            };
            verdicts.push(Verdict {
                drive,
                shard,
                epoch,
            });
        }
        verdicts
    }

    fn repair(&mut self, nth: usize, ends: u8, now: bool) {
        let query = ObjectQuery::Tickets {
            after: None,
            limit: 1000,
        };
        let ObjectAnswer::Tickets(page) = ask(&self.group, &query) else {
            panic!("asked for tickets");
        };
        if page.tickets.is_empty() {
            return;
        }
        let TicketItem { extent, row, .. } = &page.tickets[nth % page.tickets.len()];
        let extent = &extent.extent;
        for (shard, slot) in extent.shards() {
            let over = extent.override_of(shard);
            if !(extent.is_missing(shard) || over.is_some()) || !self.world.can_rebuild(extent) {
                continue;
            }
            let wanted: Vec<_> = row.must_hold(slot).expect("a slot").iter().collect();
            let at = match ends {
                0 => wanted,
                1 => vec![wanted[0]],
                2 => vec![wanted[wanted.len() - 1]],
                // What lies somewhere, wherever that is.
                3 => self.world.holders(extent, shard).into_iter().collect(),
                // Where the row says that it is, if it is there.
                _ => match over.filter(|drive| self.world.holds(*drive, extent, shard)) {
                    Some(drive) => vec![drive],
                    None => continue,
                },
            };
            for drive in &at {
                let shard = (extent.pg, extent.data, shard);
                self.world.write(*drive, shard, row.epoch);
                self.world.mended.push((shard, *drive));
            }
            let command = ObjectCommand::ShardPlaced {
                pg: extent.pg,
                data: extent.data,
                shard,
                at,
                seen: page.index,
            };
            self.send(command, now);
        }
    }

    fn nth_extent(&self, nth: usize) -> Option<Extent> {
        let count = self.model.extents().count().max(1);
        self.model.extents().nth(nth % count).cloned()
    }

    fn reencode(&mut self, nth: usize, specs: &[Spec], now: bool) {
        let Some(old) = self.nth_extent(nth) else {
            return;
        };
        let parts = specs.len() as u64;
        if old.length < parts || !self.world.can_rebuild(&old) {
            return;
        }
        let mut extents = Vec::new();
        for (part, spec) in (0..parts).zip(specs) {
            let rest = if part == 0 { old.length % parts } else { 0 };
            extents.push(self.new_extent(spec, old.length / parts + rest));
        }
        let command = ObjectCommand::Reencode {
            pg: old.pg,
            data: old.data,
            extents,
        };
        self.send(command, now);
    }

    /// A drive loses a shard.
    fn lose(&mut self, nth: usize, shard: usize, from: usize) {
        let Some(extent) = self.nth_extent(nth) else {
            return;
        };
        let shard = u8::try_from(shard % extent.slots.len()).expect("small");
        let holders = self.world.holders(&extent, shard);
        if let Some(drive) = holders.iter().cycle().nth(from).copied() {
            self.world.remove(drive, &(extent.pg, extent.data, shard));
            self.world.lost.insert((extent.data, shard, drive));
        }
    }

    fn lose_again(&mut self, nth: usize) {
        let count = self.world.mended.len();
        if count == 0 {
            return;
        }
        let (shard, drive) = self.world.mended[count - 1 - nth % count.min(20)];
        if self.world.remove(drive, &shard) {
            self.world.lost.insert((shard.1, shard.2, drive));
            self.scrub(true);
        }
    }

    /// Reports what is lost where readers look.
    fn scrub(&mut self, now: bool) {
        for (data, shard, drive) in self.world.lost.clone() {
            let extent = self.model.extents().find(|e| e.data == data).cloned();
            let Some(extent) = extent else { continue };
            if self.model.reads(&extent, shard) != drive {
                continue;
            }
            let command = ObjectCommand::ShardMissing {
                pg: extent.pg,
                data,
                shard,
                at: drive,
            };
            self.send(command, now);
            if now {
                self.world.lost.remove(&(data, shard, drive));
            }
        }
    }

    fn collect(&mut self, now: bool) {
        let ObjectAnswer::Garbage(due) = ask(
            &self.group,
            &ObjectQuery::Garbage {
                after: None,
                limit: 20,
            },
        ) else {
            panic!("asked for garbage");
        };
        let mut collected = Vec::new();
        for entry in due {
            for (shard, _) in entry.extent.shards() {
                let held = (entry.extent.pg, entry.extent.data, shard);
                for drive in &entry.places[usize::from(shard)] {
                    self.world.remove(*drive, &held);
                }
            }
            collected.push(CollectedEntry {
                at: entry.at,
                data: entry.extent.data,
            });
        }
        // A collector that is wrong: what is not due stays.
        let all = self.model.garbage.iter();
        collected.extend(all.map(|(data, waste)| CollectedEntry {
            at: waste.at,
            data: *data,
        }));
        self.send(ObjectCommand::Collected(collected), now);
    }
}
