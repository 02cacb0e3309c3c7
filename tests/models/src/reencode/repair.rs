//! Missing slots and their repair.

use super::model::{Reencode, Slip};
use super::state::{Repair, State, count};

/// A slot that is absent on a node that can be reached is marked missing.
pub(super) fn found_missing(s: &mut State, node: u8) -> bool {
    let up = s.up;
    let Some(row) = &mut s.row else { return false };
    let data = s.data[row.data];
    let found = up & node & data.places & !row.missing & !data.held != 0;
    if found {
        row.missing |= node;
    }
    found
}

/// k shards of the row's data are read.
pub(super) fn repair_read(s: &mut State, node: u8) -> bool {
    let Some(row) = s.row.filter(|_| s.repair.is_none()) else {
        return false;
    };
    let data = s.data[row.data];
    if row.missing & node & s.up == 0 || count(data.held & s.up) < data.k {
        return false;
    }
    s.repair = Some(Repair {
        data: row.data,
        node,
        written: false,
    });
    true
}

/// The slot is written on its node.
pub(super) fn repair_write(s: &mut State) -> bool {
    let Some(repair) = s.repair.filter(|r| !r.written && s.up & r.node != 0) else {
        return false;
    };
    let data = &mut s.data[repair.data];
    data.held |= repair.node;
    data.lost &= !repair.node;
    s.repair = Some(Repair {
        written: true,
        ..repair
    });
    true
}

impl Reencode {
    /// The entry applies only if the row still holds that data id, and only after all slots that
    /// it will then claim were seen.
    pub(super) fn repair_entry(&self, s: &mut State) -> bool {
        let Some(repair) = s.repair.filter(|repair| repair.written) else {
            return false;
        };
        s.repair = None;
        let up = s.up;
        let Some(row) = &mut s.row else { return true };
        let same = row.data == repair.data;
        if !same && !self.slips(Slip::RepairIgnoresData) {
            return true;
        }
        let data = s.data[row.data];
        let seen = if self.slips(Slip::RepairTrustsOthers) {
            repair.node
        } else {
            (data.places & !row.missing) | repair.node
        };
        if same && seen & !(data.held & up) != 0 {
            return true;
        }
        if row.missing & repair.node != 0 {
            row.missing &= !repair.node;
            if row.missing == 0 {
                row.owed = data.m.cast_signed();
            }
        }
        true
    }
}
