//! What the actors of the placement model know and hold.

use super::layout::{A, B, C, Places, Row};

/// How far the writer of a data id is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Stage {
    /// Not begun.
    #[default]
    Idle,
    /// Has its token and the row, writes.
    Begun,
    /// Its commit was applied.
    Done,
    /// Its commit was refused.
    Refused,
    /// Nothing of it is left and nothing will look at it.
    Gone,
}

/// One data id: its writer, its shards, and what nodes were told about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Data {
    /// How far its writer is.
    pub stage: Stage,
    /// The epoch of the row that the writer began with.
    pub epoch: u8,
    /// Where that row says slot 1 is written.
    pub must: Places,
    /// What the writer knows to be durable.
    pub wrote: Places,
    /// Where shards are: A holds slot 0, B and C slot 1.
    pub held: Places,
    /// The floor has passed its begin index.
    pub below_floor: bool,
    /// Its row was displaced by another.
    pub displaced: bool,
    /// The read floor has passed the index that displaced it.
    pub below_read_floor: bool,
    /// Nodes that were told that it is garbage, and with that a read floor above it.
    pub garbage: Places,
    /// Permissions to clean up a live shard at B and at C: the epoch they name, 0 for none.
    pub permitted: [u8; 2],
}

/// The object's row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Object {
    /// Its data id.
    pub data: usize,
    /// The place of slot 1 where it is not the layout's; 0 for none.
    pub over: Places,
    /// Slot 1 is known to be lost.
    pub missing: bool,
}

/// Copies what a scan of the group's rows found to the new place of a move.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Copier {
    /// The epoch of the move.
    pub epoch: u8,
    /// The new place.
    pub to: Places,
    /// The data id that the scan found, if there was a row.
    pub data: Option<usize>,
    /// All that was found is verified at the new place, or gone from the rows.
    pub done: bool,
}

/// A worker that mends one row whose slot 1 is missing or misplaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Repair {
    /// The epoch of the row it works by.
    pub epoch: u8,
    /// Where that row wants slot 1.
    pub must: Places,
    /// The data id.
    pub data: usize,
    /// Where it saw the shard durable.
    pub at: Places,
}

/// Someone who looked the object up and reads slowly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reader {
    /// Not begun.
    Idle,
    /// Reads this data id, as it was when it was current.
    Reads(usize),
    /// Has ended.
    Ended,
}

/// The whole system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct State {
    /// The root group's row.
    pub root: Row,
    /// The object group's copy of it.
    pub known: Row,
    /// The object's row.
    pub object: Option<Object>,
    /// Both data ids.
    pub data: [Data; 2],
    /// The worker of the move.
    pub copier: Option<Copier>,
    /// The worker of the tickets.
    pub repair: Option<Repair>,
    /// The reader.
    pub reader: Reader,
    /// The node whose drive was lost, 0 for none. It stays empty.
    pub wiped: Places,
    /// A cleanup was permitted of the last shard of its slot.
    pub last_permitted: bool,
}

impl State {
    /// Before anything happened.
    pub const FIRST: Self = Self {
        root: Row::FIRST,
        known: Row::FIRST,
        object: None,
        data: [Data {
            stage: Stage::Idle,
            epoch: 0,
            must: 0,
            wrote: 0,
            held: 0,
            below_floor: false,
            displaced: false,
            below_read_floor: false,
            garbage: 0,
            permitted: [0; 2],
        }; 2],
        copier: None,
        repair: None,
        reader: Reader::Idle,
        wiped: 0,
        last_permitted: false,
    };

    /// Where readers look for slot 1 of the object: the override, else the group's row.
    #[must_use]
    pub fn looked_at(&self, object: Object) -> Places {
        if object.over == 0 {
            self.known.place
        } else {
            object.over
        }
    }

    /// Whether the object's row holds this data id.
    #[must_use]
    pub fn is_live(&self, data: usize) -> bool {
        self.object.is_some_and(|object| object.data == data)
    }

    /// A write or verification that carries this epoch reached the node: it drops, durably and
    /// before it answers, what older epochs permitted (rule 24).
    pub fn sees(&mut self, place: Places, epoch: u8) {
        let Some(at) = permission(place) else { return };
        for data in &mut self.data {
            if data.permitted[at] < epoch {
                data.permitted[at] = 0;
            }
        }
    }

    /// Forgets what no rule looks at any more, so that equal states are one.
    pub fn forget(&mut self) {
        for at in 0..self.data.len() {
            let live = self.is_live(at);
            let busy = self.copier.is_some_and(|c| c.data == Some(at) && !c.done)
                || self.repair.is_some_and(|r| r.data == at)
                || self.reader == Reader::Reads(at);
            let data = &mut self.data[at];
            if matches!(data.stage, Stage::Done | Stage::Refused) {
                (data.epoch, data.must, data.wrote) = (0, 0, 0);
                if !live && !busy && data.held == 0 {
                    *data = Data {
                        stage: Stage::Gone,
                        ..Data::default()
                    };
                }
            }
            for place in [B, C] {
                if let Some(slot) = permission(place)
                    && data.held & place == 0
                {
                    data.permitted[slot] = 0;
                }
            }
        }
    }
}

/// The number of a place among the permissions; A's shards are never cleaned up after a move.
#[must_use]
pub(super) fn permission(place: Places) -> Option<usize> {
    match place {
        B => Some(0),
        C => Some(1),
        _ => {
            debug_assert_eq!(place, A);
            None
        }
    }
}
