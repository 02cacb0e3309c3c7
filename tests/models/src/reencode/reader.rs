//! A reader that works by a plan, node after node, and looks again when the plan fails.

use super::model::{Reencode, Slip};
use super::state::{NODES, Reader, Row, Stage, State, count, node};

impl State {
    /// A plan from the row.
    pub(super) fn plan_of(&self, row: Row, sent: Option<u8>) -> Reader {
        Reader::Reads {
            data: row.data,
            version: row.version,
            k: self.data[row.data].k,
            next: 0,
            got: 0,
            used: 0,
            sent,
        }
    }
}

impl Reencode {
    /// Asks the next node of the plan, or looks again after the last one.
    pub(super) fn read(&self, s: &mut State) -> bool {
        let Reader::Reads {
            data,
            version,
            k,
            next,
            mut got,
            mut used,
            sent,
        } = s.reader
        else {
            return false;
        };
        if next == NODES {
            self.look_again(s, sent);
            return true;
        }
        if let Some(found) = self.shard(s, data, version, node(next)) {
            got += 1;
            used |= 1 << found;
        }
        s.reader = Reader::Reads {
            data,
            version,
            k,
            next: next + 1,
            got,
            used,
            sent,
        };
        if got == k {
            let first = Reader::Reads {
                data,
                version,
                k,
                next: 0,
                got: 0,
                used: 0,
                sent: Some(version),
            };
            s.misread |= misread(s, used) || sent.is_some_and(|before| before != version);
            s.reader = if sent.is_some() { Reader::Done } else { first };
        }
        true
    }

    /// The plan failed. After bytes were sent only another data id of the same version will do.
    fn look_again(&self, s: &mut State, sent: Option<u8>) {
        s.replanned = true;
        let any = self.slips(Slip::ReadOnAnyVersion);
        s.reader = match s.row {
            None => Reader::NotFound,
            Some(row) if !any && sent.is_some_and(|version| version != row.version) => {
                Reader::Aborted
            }
            Some(row) => s.plan_of(row, sent),
        };
    }

    /// The data id of the shard that a node answers with.
    fn shard(&self, s: &State, data: usize, version: u8, node: u8) -> Option<usize> {
        let there = |at: usize| s.data[at].held & node & s.up != 0;
        if self.slips(Slip::ReadByVersion) {
            let of_version = |at: &usize| s.data[*at].version == version && there(*at);
            return (0..s.data.len()).rev().find(of_version);
        }
        there(data).then_some(data)
    }
}

/// A part must be of one data id, and that one committed.
fn misread(s: &State, used: u8) -> bool {
    let committed = |at: usize| matches!(s.data[at].stage, Stage::Done | Stage::Gone);
    let uncommitted = (0..s.data.len()).any(|at| used >> at & 1 == 1 && !committed(at));
    count(used) != 1 || uncommitted
}
