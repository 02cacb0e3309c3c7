//! The steps of the placement model.

use super::layout::{A, B, C, Phase, Places, Row};
use super::model::{Placement, Safeguard};
use super::state::{Copier, Object, Reader, Repair, Stage, State, permission};

/// One atomic step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// A writer gets its token and the group's row, and writes slot 0.
    Begin(usize),
    /// A writer's shard of slot 1 is durable at a place.
    Write(usize, Places),
    /// The commit entry of a writer is applied.
    Commit(usize),
    /// The floor rises above the begin index of a data id.
    RaiseFloor(usize),
    /// The read floor rises above the index that displaced a data id.
    RaiseReadFloor(usize),
    /// Root: a move begins.
    RootDual,
    /// Root: the new place is read from now on.
    RootCut,
    /// Root: the move is called off.
    RootCancel,
    /// Root: the move is over.
    RootEnd,
    /// The group learns the root's row.
    Fence,
    /// The move's worker reads the group's rows.
    Scan,
    /// It copies, or rebuilds, and verifies what it found at the new place.
    Copy,
    /// What it found is gone from the rows.
    CopySkipped,
    /// A node asks about a shard it holds, and learns what it may delete.
    Ask(usize, Places),
    /// A node deletes a shard that it was allowed to delete.
    Delete(usize, Places),
    /// A worker takes the ticket of a missing or misplaced slot.
    RepairPlan,
    /// It writes or verifies the shard at a place.
    RepairWrite(Places),
    /// Its entry is applied.
    RepairEntry,
    /// It dies.
    RepairDies,
    /// Somebody finds that a shard is not where the row claims it.
    FoundMissing,
    /// A drive is lost with all that is on it.
    Wipe(Places),
    /// A reader looks the object up.
    Lookup,
    /// It has read all it wanted.
    ReadEnds,
}

impl Placement {
    /// Takes a step; false when the state does not allow it.
    pub(super) fn take(&self, s: &mut State, action: Action) -> bool {
        match action {
            Action::Begin(data) => begin(s, data),
            Action::Write(data, place) => self.write(s, data, place),
            Action::Commit(data) => self.commit(s, data),
            Action::RaiseFloor(data) => {
                let data = &mut s.data[data];
                let begun = !matches!(data.stage, Stage::Idle | Stage::Gone);
                begun && !std::mem::replace(&mut data.below_floor, true)
            }
            Action::RaiseReadFloor(data) => {
                let data = &mut s.data[data];
                data.displaced && !std::mem::replace(&mut data.below_read_floor, true)
            }
            Action::RootDual => self.root(s, s.root.begin()),
            Action::RootCut => self.cut(s),
            Action::RootCancel => self.root(s, s.root.cancel()),
            Action::RootEnd => self.root(s, s.root.end()),
            Action::Fence => {
                let newer = s.root.epoch > s.known.epoch;
                s.known = s.root;
                newer
            }
            Action::Scan => self.scan(s),
            Action::Copy => self.copy(s),
            Action::CopySkipped => self.copy_skipped(s),
            Action::Ask(data, place) => self.ask(s, data, place),
            Action::Delete(data, place) => delete(s, data, place),
            Action::RepairPlan => repair_plan(s),
            Action::RepairWrite(place) => self.repair_write(s, place),
            Action::RepairEntry => self.repair_entry(s),
            Action::RepairDies => s.repair.take().is_some(),
            Action::FoundMissing => found_missing(s),
            Action::Wipe(place) => wipe(s, place),
            Action::Lookup => lookup(s),
            Action::ReadEnds => {
                let reading = matches!(s.reader, Reader::Reads(_));
                s.reader = Reader::Ended;
                reading
            }
        }
    }

    fn sees(&self, s: &mut State, place: Places, epoch: u8) {
        if self.has(Safeguard::PermissionEpoch) {
            s.sees(place, epoch);
        }
    }

    fn write(&self, s: &mut State, data: usize, place: Places) -> bool {
        let d = s.data[data];
        let wanted = d.must & !d.wrote & !s.wiped & place != 0;
        if d.stage != Stage::Begun || !wanted {
            return false;
        }
        self.sees(s, place, d.epoch);
        s.data[data].held |= place;
        s.data[data].wrote |= place;
        true
    }

    /// The commit names what was written; the group judges by its own row.
    fn commit(&self, s: &mut State, data: usize) -> bool {
        let d = s.data[data];
        let wrote = d.wrote & (B | C);
        if d.stage != Stage::Begun || wrote == 0 {
            return false;
        }
        if d.below_floor && self.has(Safeguard::CommitFloor) {
            s.data[data].stage = Stage::Refused;
            return true;
        }
        if let Some(old) = s.object {
            s.data[old.data].displaced = true;
        }
        s.object = Some(Object {
            data,
            over: self.judged(s.known, wrote),
            missing: false,
        });
        s.data[data].stage = Stage::Done;
        true
    }

    /// The override for a slot that was written, or seen, at these places.
    fn judged(&self, known: Row, wrote: Places) -> Places {
        let must = known.must_hold();
        let enough = if self.has(Safeguard::OverrideInDual) {
            must & !wrote == 0
        } else {
            must & wrote != 0
        };
        if enough || !self.has(Safeguard::Override) {
            return 0;
        }
        let preferred = if wrote & must == 0 {
            wrote
        } else {
            wrote & must
        };
        lowest(preferred)
    }

    fn root(&self, s: &mut State, row: Option<Row>) -> bool {
        let Some(row) = row.filter(|row| row.epoch <= self.bounds.epochs) else {
            return false;
        };
        s.root = row;
        // A worker that is done and of no use for a cut any more is forgotten; one that is at
        // work may still write.
        if self.has(Safeguard::CutNamesEpoch) && s.copier.is_some_and(|copier| copier.done) {
            s.copier = None;
        }
        true
    }

    fn cut(&self, s: &mut State) -> bool {
        let Some(copier) = s.copier else { return false };
        let ready = copier.done || !self.has(Safeguard::CopyBeforeCut);
        let same = copier.epoch == s.root.epoch || !self.has(Safeguard::CutNamesEpoch);
        ready && same && self.root(s, s.root.cut())
    }

    /// The worker of an earlier move may be gone by now, or be at work still.
    fn scan(&self, s: &mut State) -> bool {
        let fenced = s.known.epoch == s.root.epoch || !self.has(Safeguard::FenceBeforeScan);
        let free = s.copier.is_none_or(|c| c.epoch < s.root.epoch);
        if s.root.phase != Phase::Dual || !fenced || !free {
            return false;
        }
        let data = s.object.map(|object| object.data);
        s.copier = Some(Copier {
            epoch: s.root.epoch,
            to: s.root.other(),
            data,
            done: data.is_none(),
        });
        true
    }

    fn copy(&self, s: &mut State) -> bool {
        let Some((copier, data)) = s.copier.filter(|c| !c.done).zip(to_copy(s)) else {
            return false;
        };
        let held = s.data[data].held;
        let sources = if self.has(Safeguard::RebuildInCopy) {
            A | B | C
        } else {
            (B | C) & !copier.to
        };
        let possible = held & sources != 0 && s.wiped != copier.to;
        if possible {
            self.sees(s, copier.to, copier.epoch);
            s.data[data].held |= copier.to;
        } else if self.has(Safeguard::RebuildInCopy) {
            return false;
        }
        self.copied(s);
        true
    }

    fn copy_skipped(&self, s: &mut State) -> bool {
        let gone = s.copier.is_some_and(|c| !c.done) && to_copy(s).is_some_and(|d| !s.is_live(d));
        if gone {
            self.copied(s);
        }
        gone
    }

    fn copied(&self, s: &mut State) {
        let epoch = s.root.epoch;
        let of_use = |c: &Copier| c.epoch == epoch || !self.has(Safeguard::CutNamesEpoch);
        s.copier = s.copier.filter(of_use).map(|c| Copier { done: true, ..c });
    }

    /// Garbage is garbage for ever; a permission to clean up a live shard names the epoch.
    fn ask(&self, s: &mut State, data: usize, place: Places) -> bool {
        let d = s.data[data];
        if d.held & place == 0 {
            return false;
        }
        let Some(object) = s.object.filter(|object| object.data == data) else {
            let floor = d.below_floor || !self.has(Safeguard::GarbageFloor);
            let unread = !d.displaced || d.below_read_floor || !self.has(Safeguard::ReadFloor);
            let garbage = d.stage != Stage::Idle && floor && unread && d.garbage & place == 0;
            if garbage {
                s.data[data].garbage |= place;
            }
            return garbage;
        };
        let Some(at) = permission(place) else {
            return false;
        };
        let named = object.over == place && self.has(Safeguard::CleanupSparesOverrides);
        if s.known.must_hold() & place != 0 || named {
            return false;
        }
        let home = s.looked_at(object);
        if self.has(Safeguard::CleanupVerifies) {
            if d.held & home == 0 {
                return false;
            }
            self.sees(s, home, s.known.epoch);
        }
        s.last_permitted |= s.data[data].held & (B | C) == place;
        let epoch = s.known.epoch;
        std::mem::replace(&mut s.data[data].permitted[at], epoch) != epoch
    }

    /// Rebuilt or copied from wherever a shard is; if it is there already, only verified.
    fn repair_write(&self, s: &mut State, place: Places) -> bool {
        let Some(repair) = s.repair else { return false };
        let wanted = repair.must & !repair.at & !s.wiped & place != 0;
        if !wanted || s.data[repair.data].held == 0 {
            return false;
        }
        self.sees(s, place, repair.epoch);
        s.data[repair.data].held |= place;
        s.repair = Some(Repair {
            at: repair.at | place,
            ..repair
        });
        true
    }

    fn repair_entry(&self, s: &mut State) -> bool {
        let Some(repair) = s.repair.filter(|repair| repair.at != 0) else {
            return false;
        };
        s.repair = None;
        let fits = if self.repair_only_clears {
            s.known.must_hold() & !repair.at == 0
        } else {
            repair.epoch == s.known.epoch || !self.has(Safeguard::RepairNamesEpoch)
        };
        let over = self.judged(s.known, repair.at);
        if let Some(object) = &mut s.object {
            let data = object.data == repair.data || !self.has(Safeguard::RepairNamesData);
            if data && fits {
                (object.over, object.missing) = (over, false);
            }
        }
        true
    }
}

/// What the worker of a move is to copy.
fn to_copy(s: &State) -> Option<usize> {
    s.copier.and_then(|copier| copier.data)
}

/// One place of a set.
fn lowest(places: Places) -> Places {
    places & places.wrapping_neg()
}

/// The second writer begins after the first: they are alike.
fn begin(s: &mut State, data: usize) -> bool {
    let earlier = s.data[..data].iter().all(|d| d.stage != Stage::Idle);
    if s.data[data].stage != Stage::Idle || !earlier || s.wiped == A {
        return false;
    }
    let d = &mut s.data[data];
    d.stage = Stage::Begun;
    (d.epoch, d.must) = (s.known.epoch, s.known.must_hold());
    (d.held, d.wrote) = (A, A);
    true
}

fn delete(s: &mut State, data: usize, place: Places) -> bool {
    let d = &mut s.data[data];
    let permitted = permission(place).map_or(0, |at| d.permitted[at]);
    if d.held & place == 0 || (d.garbage & place == 0 && permitted == 0) {
        return false;
    }
    d.held &= !place;
    true
}

fn repair_plan(s: &mut State) -> bool {
    let Some(object) = s.object else { return false };
    if s.repair.is_some() || (object.over == 0 && !object.missing) {
        return false;
    }
    s.repair = Some(Repair {
        epoch: s.known.epoch,
        must: s.known.must_hold(),
        data: object.data,
        at: 0,
    });
    true
}

fn found_missing(s: &mut State) -> bool {
    let Some(object) = s.object else { return false };
    let there = s.data[object.data].held & s.looked_at(object) != 0;
    if there || object.missing {
        return false;
    }
    s.object = Some(Object {
        missing: true,
        ..object
    });
    true
}

fn wipe(s: &mut State, place: Places) -> bool {
    if s.wiped != 0 {
        return false;
    }
    s.wiped = place;
    for data in &mut s.data {
        data.held &= !place;
    }
    true
}

fn lookup(s: &mut State) -> bool {
    let Some(object) = s.object else { return false };
    let idle = s.reader == Reader::Idle;
    s.reader = Reader::Reads(object.data);
    idle
}
