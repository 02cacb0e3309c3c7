//! What the actors of the drain model know and hold.

/// A set of places of the slot, a bit each.
pub type Places = u8;
/// On the node that is drained.
pub const D: Places = 1;
/// Where the slot moves to.
pub const E: Places = 2;

/// How far the move is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Phase {
    /// Read and written at D.
    Stable,
    /// Read at D, written at both.
    Dual,
    /// Read and written at E.
    Cut,
}

impl Phase {
    /// Where the slot must be written so that no override is needed.
    #[must_use]
    pub fn must_hold(self) -> Places {
        match self {
            Self::Stable => D,
            Self::Dual => D | E,
            Self::Cut => E,
        }
    }
}

/// How far a writer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Not begun.
    Idle,
    /// Has its token and the row, writes.
    Begun,
    /// Its commit was applied.
    Done,
    /// Its commit was refused, or it gave up.
    Refused,
}

/// An object group: its copies of what the root decided, its object, its writer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Group {
    /// It knows of the cordon.
    pub cordoned: bool,
    /// The phase that it knows.
    pub phase: Phase,
    /// What its rows named after it knew of Dual was copied.
    pub copied: bool,
    /// Its floor was raised to the cordon's index.
    pub floor: bool,
    /// It has applied the tombstone of the node.
    pub tombstone: bool,
    /// It was asked, and nothing of it named the node.
    pub proven: bool,
    /// How far its writer is.
    pub writer: Stage,
    /// The writer's begin index is below the cordon's.
    pub early: bool,
    /// Where the writer's row says that the slot is written.
    pub must: Places,
    /// What the writer knows to be durable.
    pub wrote: Places,
    /// Where the shards of the first object are.
    pub first: Places,
    /// Where the shards of the writer are.
    pub second: Places,
    /// The override of the object's row, 0 for none.
    pub over: Places,
}

impl Group {
    /// Whether the object's row holds the writer's data.
    #[must_use]
    pub fn overwritten(&self) -> bool {
        self.writer == Stage::Done
    }

    /// Where the object's row says the shard is.
    #[must_use]
    pub fn looked_at(&self) -> Places {
        match (self.over, self.phase) {
            (0, Phase::Stable | Phase::Dual) => D,
            (0, Phase::Cut) => E,
            (over, _) => over,
        }
    }

    /// Where the shards of the object's row are.
    #[must_use]
    pub fn held(&self) -> Places {
        if self.overwritten() {
            self.second
        } else {
            self.first
        }
    }

    /// Forgets what no rule looks at any more, so that equal states are one.
    pub(super) fn forget(&mut self) {
        if matches!(self.writer, Stage::Done | Stage::Refused) {
            (self.early, self.must, self.wrote) = (false, 0, 0);
        }
    }

    /// Row, override or garbage queue name the node.
    #[must_use]
    pub fn names_the_node(&self) -> bool {
        let queued = self.overwritten() && self.first & D != 0;
        self.looked_at() == D || self.phase != Phase::Cut || queued
    }
}

/// The whole system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct State {
    /// Root: the node is cordoned and drained.
    pub cordoned: bool,
    /// Root: the node is gone.
    pub removed: bool,
    /// Root: the phase of the move.
    pub phase: Phase,
    /// The node knows that it is cordoned.
    pub node_cordoned: bool,
    /// The node died with all it held.
    pub dead: bool,
    /// The node said that it is cordoned and holds nothing.
    pub empty: bool,
    /// The object groups.
    pub groups: [Group; 2],
}

impl State {
    /// Before the cordon: each group has an object on D.
    pub(super) const FIRST: Self = Self {
        cordoned: false,
        removed: false,
        phase: Phase::Stable,
        node_cordoned: false,
        dead: false,
        empty: false,
        groups: [Group {
            cordoned: false,
            phase: Phase::Stable,
            copied: false,
            floor: false,
            tombstone: false,
            proven: false,
            writer: Stage::Idle,
            early: false,
            must: 0,
            wrote: 0,
            first: D,
            second: 0,
            over: 0,
        }; 2],
    };
}
