//! The steps of writers, re-encoding, nodes and garbage.

use super::model::{Reencode, Slip};
use super::repair::{found_missing, repair_read, repair_write};
use super::state::{
    ALL, Data, NODES, RAISED, Reader, Row, Stage, State, WIDER, count, node, signed,
};

/// One atomic step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// A writer, or a re-encoding, gets its token.
    Begin(usize),
    /// A shard is durable on a node.
    Write(usize, u8),
    /// The entry is applied.
    Commit(usize),
    /// The same entry is applied a second time, after a lost answer.
    CommitAgain(usize),
    /// The floor rises above a begin index.
    RaiseFloor(usize),
    /// Nodes ask about a data id and are told that it is garbage.
    AskGarbage(usize),
    /// The nodes that can be reached delete its shards.
    DeleteShards(usize),
    /// A client deletes the object.
    Delete,
    /// A client changes its metadata: a new version with the same data.
    NewMetadata,
    /// Nodes cannot be reached any more.
    Down(u8),
    /// They can be reached again.
    Up(u8),
    /// A node loses all it holds, and serves again, empty.
    Wipe(u8),
    /// A slot of the row was found absent on a node that can be reached.
    FoundMissing(u8),
    /// Repair reads k shards for a missing slot.
    RepairRead(u8),
    /// It writes the slot.
    RepairWrite,
    /// Its entry is applied.
    RepairEntry,
    /// It dies.
    RepairDies,
    /// A reader looks the object up.
    Plan,
    /// It asks the next node, or, after the last one, looks again.
    Read,
}

impl Reencode {
    /// Takes a step; false when the state does not allow it.
    pub(super) fn take(&self, s: &mut State, action: Action) -> bool {
        match action {
            Action::Begin(data) => self.begin(s, data),
            Action::Write(data, node) => self.write(s, data, node),
            Action::Commit(data) => self.commit_first(s, data),
            Action::CommitAgain(data) => {
                s.data[data].stage == Stage::Done && self.commit(s, data, true)
            }
            Action::RaiseFloor(data) => {
                let data = &mut s.data[data];
                let begun = !matches!(data.stage, Stage::Idle | Stage::Gone);
                !std::mem::replace(&mut data.below_floor, true) && begun
            }
            Action::AskGarbage(data) => self.ask_garbage(s, data),
            Action::DeleteShards(data) => {
                let up = s.up;
                let data = &mut s.data[data];
                let any = data.garbage && data.held & up != 0;
                if any {
                    data.held &= !up;
                }
                any
            }
            Action::Delete => self.delete(s),
            Action::NewMetadata => self.new_metadata(s),
            Action::Down(nodes) => {
                let was = s.up;
                s.up &= !nodes;
                was & nodes == nodes && count(s.up) >= 2
            }
            Action::Up(nodes) => {
                let was = s.up;
                s.up |= nodes;
                was & nodes == 0
            }
            Action::Wipe(node) => self.wipe(s, node),
            Action::FoundMissing(node) => found_missing(s, node),
            Action::RepairRead(node) => repair_read(s, node),
            Action::RepairWrite => repair_write(s),
            Action::RepairEntry => self.repair_entry(s),
            Action::RepairDies => s.repair.take().is_some(),
            Action::Plan => self.plan(s),
            Action::Read => self.read(s),
        }
    }

    fn begin(&self, s: &mut State, data: usize) -> bool {
        let second_first = data == 1 && s.data[0].stage == Stage::Idle;
        if s.data[data].stage != Stage::Idle || second_first {
            return false;
        }
        let living = count(s.up);
        let Some((k, m, version, source)) = self.shape(s, data, living) else {
            return false;
        };
        s.data[data] = Data {
            stage: Stage::Begun,
            k,
            m,
            places: picked(s.up, k + m),
            version,
            source,
            ..Data::default()
        };
        true
    }

    /// k, m, version and source of a new data id.
    fn shape(&self, s: &State, data: usize, living: u8) -> Option<(u8, u8, u8, u8)> {
        if data < WIDER {
            let version = if data == 0 { 0 } else { 1 };
            let (k, m) = match living {
                0 | 1 => return None,
                2 if self.slips(Slip::NarrowDropsParity) => (2, 0),
                2 if self.slips(Slip::NarrowToOne) => (1, 0),
                _ => ((living - 1).min(2), self.bounds.m),
            };
            return Some((k, m, version, 9));
        }
        let row = s.row?;
        let old = s.data[row.data];
        let m = if data == RAISED {
            2
        } else {
            self.bounds.m.max(old.m)
        };
        let useful = if data == RAISED {
            old.m < 2
        } else {
            old.k < 2 || row.missing != 0
        };
        let source = u8::try_from(row.data).unwrap_or(9);
        (useful && living >= 2 + m).then_some((2, m, row.version, source))
    }

    fn write(&self, s: &mut State, data: usize, node: u8) -> bool {
        let d = s.data[data];
        let left = d.places & !d.acked & s.up;
        let in_order = self.bounds.any_order || left & (node - 1) == 0;
        if d.stage != Stage::Begun || left & node == 0 || !in_order {
            return false;
        }
        if data >= WIDER {
            // It streams: k shards of the old data must be there now.
            let old = s.data[usize::from(d.source)];
            if count(old.held & s.up) < old.k || old.stage == Stage::Gone {
                return false;
            }
        }
        s.data[data].held |= node;
        s.data[data].acked |= node;
        true
    }

    fn commit_first(&self, s: &mut State, data: usize) -> bool {
        let d = s.data[data];
        let all = if data >= WIDER {
            !self.slips(Slip::ReencodeAtOneLoss) || self.bounds.wait_for_all
        } else {
            self.bounds.wait_for_all
        };
        let wanted = d.k + if all { d.m } else { d.m.min(1) };
        if d.stage != Stage::Begun || count(d.acked) < wanted {
            return false;
        }
        // A re-encoding looks at every new shard again before it proposes.
        let looks = data >= WIDER && !self.slips(Slip::ReencodeTrustsAcks);
        if looks && d.acked & !(d.held & s.up) != 0 {
            return false;
        }
        self.commit(s, data, false)
    }

    /// Applies a commit entry, for the second time when `again`. False when nothing changes.
    fn commit(&self, s: &mut State, data: usize, again: bool) -> bool {
        let d = s.data[data];
        let exempt = data >= WIDER && self.slips(Slip::ReencodeIgnoresFloor);
        // The queue remembers a displaced data id until the floor does.
        let seen = d.queued || s.is_live(data);
        let repeated = again && seen && !self.slips(Slip::CommitTwice);
        let refused = (d.below_floor && !exempt) || (data >= WIDER && !self.still_fits(s, d));
        if refused && !again {
            s.data[data].stage = Stage::Refused;
            return true;
        }
        if refused || repeated {
            return false;
        }
        let missing = d.places & !d.acked;
        let whole = missing == 0 || self.bounds.wait_for_all;
        let promised = if whole || self.slips(Slip::PromiseAllEarly) {
            self.bounds.m.max(d.m)
        } else {
            1
        };
        let mut owed = promised.cast_signed() - signed(d.lost & d.acked);
        let mut version = d.version;
        if let Some(row) = s.row {
            if data >= WIDER {
                owed = owed.max(row.owed);
                if self.bounds.swaps_data {
                    version = row.version;
                }
            }
            self.displace(s, row, Some(data));
        }
        s.row = Some(Row {
            version,
            data,
            missing,
            owed: owed.max(-1),
        });
        s.data[data].stage = Stage::Done;
        if data < WIDER && !again {
            s.latest = Some(version);
        }
        true
    }

    /// Whether the row still is what a re-encoding was made from.
    fn still_fits(&self, s: &State, d: Data) -> bool {
        let any_data = self.slips(Slip::ReencodeIgnoresData);
        let any_version = self.slips(Slip::ReencodeIgnoresVersion) || self.bounds.swaps_data;
        let any = self.slips(Slip::ReencodeIgnoresBoth);
        s.row.is_some_and(|row| {
            let data = row.data == usize::from(d.source) || any_data || any;
            data && (row.version == d.version || any_version || any)
        })
    }

    /// Queues the data id that the row holds at apply.
    fn displace(&self, s: &mut State, row: Row, by: Option<usize>) {
        if Some(row.data) != by {
            s.data[row.data].queued = true;
        }
        if self.slips(Slip::QueueByVersion) {
            for data in &mut s.data {
                data.queued |= data.stage != Stage::Idle && data.version == row.version;
            }
        }
    }

    fn ask_garbage(&self, s: &mut State, data: usize) -> bool {
        let d = s.data[data];
        let by_version = self.slips(Slip::GarbageByVersion);
        let referenced = s.row.is_some_and(|row| {
            if by_version {
                row.version == d.version
            } else {
                row.data == data
            }
        });
        let garbage = match self.slip {
            Some(Slip::QueueOnly) => d.queued && d.below_floor,
            Some(Slip::QueueByVersion) => (d.queued || !referenced) && d.below_floor,
            Some(Slip::GarbageIgnoresFloor) => !referenced,
            Some(Slip::QueueForgetsEarly) => !referenced && (d.queued || d.below_floor),
            _ => !referenced && d.below_floor,
        };
        if d.garbage || d.held == 0 || !garbage {
            return false;
        }
        s.data[data].garbage = true;
        if self.slips(Slip::QueueForgetsEarly) {
            s.data[data].queued = false;
        }
        true
    }

    fn delete(&self, s: &mut State) -> bool {
        let Some(row) = s.row.filter(|_| self.bounds.delete && !s.deleted) else {
            return false;
        };
        self.displace(s, row, None);
        (s.row, s.latest) = (None, None);
        s.deleted = true;
        true
    }

    fn new_metadata(&self, s: &mut State) -> bool {
        let Some(row) = s.row.filter(|_| self.bounds.touch && !s.touched) else {
            return false;
        };
        s.row = Some(Row { version: 2, ..row });
        s.latest = Some(2);
        s.touched = true;
        true
    }

    fn wipe(&self, s: &mut State, node: u8) -> bool {
        if s.wipes >= self.bounds.wipes {
            return false;
        }
        s.wipes += 1;
        if let Some(row) = &mut s.row
            && s.data[row.data].held & node != 0
        {
            row.owed = (row.owed - 1).max(-1);
        }
        for data in &mut s.data {
            data.lost |= data.held & node;
            data.held &= !node;
        }
        true
    }

    fn plan(&self, s: &mut State) -> bool {
        let Some(row) = s.row else { return false };
        if !self.bounds.reader || s.reader != Reader::Idle {
            return false;
        }
        s.reader = s.plan_of(row, None);
        true
    }
}

/// So many nodes, living ones first.
fn picked(up: u8, wanted: u8) -> u8 {
    let mut set = 0;
    for part in [up, !up & ALL] {
        for node in (0..NODES).map(node) {
            if count(set) < wanted {
                set |= part & node;
            }
        }
    }
    set
}
