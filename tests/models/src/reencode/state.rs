//! What the actors of the re-encoding model know and hold.

/// Nodes; a set of them is a bit each.
pub const NODES: u8 = 4;
/// All nodes.
pub(super) const ALL: u8 = 0b1111;
/// The data id of a widening, or of a repair to a new place.
pub(super) const WIDER: usize = 2;
/// The data id of a change to a profile with m = 2.
pub(super) const RAISED: usize = 3;

/// How far the writer of a data id is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Stage {
    /// Not begun.
    #[default]
    Idle,
    /// Has its token, writes.
    Begun,
    /// Its entry was applied.
    Done,
    /// Its entry was refused.
    Refused,
    /// Nothing of it is left and nothing will look at it.
    Gone,
}

/// One data id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Data {
    /// How far its writer is.
    pub stage: Stage,
    /// Data shards.
    pub k: u8,
    /// Parity shards.
    pub m: u8,
    /// The nodes that its k + m shards are for.
    pub places: u8,
    /// Its version.
    pub version: u8,
    /// The data id that it was made from, 9 for a client's bytes.
    pub source: u8,
    /// What the writer knows to be durable.
    pub acked: u8,
    /// Where shards are.
    pub held: u8,
    /// For the properties only: slots whose shard was lost after it was written.
    pub lost: u8,
    /// The floor has passed its begin index.
    pub below_floor: bool,
    /// Displaced by an entry, and in the garbage queue.
    pub queued: bool,
    /// Nodes hold the answer "garbage", and may use it at any later time.
    pub garbage: bool,
}

/// The object's row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Row {
    /// Its version.
    pub version: u8,
    /// Its data id.
    pub data: usize,
    /// Slots that are known to be lost, by node.
    pub missing: u8,
    /// For the properties only: how many further losses it must survive by the promise that was
    /// given; -1 when more was lost than was promised, so that nothing is owed.
    pub owed: i8,
}

/// A repair of one slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Repair {
    /// The data id.
    pub data: usize,
    /// The slot, by node.
    pub node: u8,
    /// Whether the shard was written.
    pub written: bool,
}

/// A reader of an object with two parts, each read from k shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reader {
    /// Not begun.
    Idle,
    /// Works by a plan.
    Reads {
        /// The plan's data id.
        data: usize,
        /// The plan's version.
        version: u8,
        /// Shards that the part needs.
        k: u8,
        /// The node to ask next.
        next: u8,
        /// Shards that it has.
        got: u8,
        /// The data ids that they are of.
        used: u8,
        /// The version of the part that was sent already.
        sent: Option<u8>,
    },
    /// Both parts were sent.
    Done,
    /// Broke off: the version changed after bytes were sent.
    Aborted,
    /// Found no row.
    NotFound,
}

/// The whole system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct State {
    /// Nodes that can be reached.
    pub up: u8,
    /// Drives lost so far.
    pub wipes: u8,
    /// The object was deleted once.
    pub deleted: bool,
    /// Its metadata was changed once.
    pub touched: bool,
    /// The object's row.
    pub row: Option<Row>,
    /// For the properties only: the version that was committed last.
    pub latest: Option<u8>,
    /// The data ids.
    pub data: [Data; 4],
    /// The repair.
    pub repair: Option<Repair>,
    /// The reader.
    pub reader: Reader,
    /// The reader has looked the object up again.
    pub replanned: bool,
    /// A part was mixed, uncommitted, or of another version than the one before it.
    pub misread: bool,
}

impl State {
    /// Before anything happened.
    pub(super) fn first() -> Self {
        Self {
            up: ALL,
            wipes: 0,
            deleted: false,
            touched: false,
            row: None,
            latest: None,
            data: [Data::default(); 4],
            repair: None,
            reader: Reader::Idle,
            replanned: false,
            misread: false,
        }
    }

    /// Whether the object's row holds this data id.
    pub(super) fn is_live(&self, data: usize) -> bool {
        self.row.is_some_and(|row| row.data == data)
    }

    /// Forgets what no rule looks at any more, so that equal states are one.
    pub(super) fn forget(&mut self) {
        for at in 0..self.data.len() {
            let read = matches!(self.reader, Reader::Reads { data, .. } if data == at);
            let ended = matches!(
                self.data[at].stage,
                Stage::Done | Stage::Refused | Stage::Gone
            );
            let data = &self.data[at];
            let garbage = data.below_floor && data.garbage && data.held == 0;
            if garbage && ended && !read && !self.is_live(at) {
                self.data[at] = Data {
                    stage: Stage::Gone,
                    below_floor: true,
                    garbage: true,
                    version: 7,
                    ..Data::default()
                };
            }
        }
    }
}

/// The size of a set.
pub(super) fn count(set: u8) -> u8 {
    // A u8 has at most eight ones.
    u8::try_from(set.count_ones()).unwrap_or(u8::MAX)
}

/// The size of a set, for sums with what is owed.
pub(super) fn signed(set: u8) -> i8 {
    i8::try_from(set.count_ones()).unwrap_or(i8::MAX)
}

/// The node after `number` others.
pub(super) fn node(number: u8) -> u8 {
    1 << number
}
