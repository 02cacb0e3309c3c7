//! The layout's row of the placement group, as far as its moving slot goes.

/// A set of nodes, one bit each.
pub type Places = u8;
/// Holds slot 0, always.
pub const A: Places = 1;
/// Holds slot 1 at first.
pub const B: Places = 2;
/// The other place of slot 1.
pub const C: Places = 4;

/// How far a move is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// No move: read and written at one place.
    Stable,
    /// Read at the old place, written at both.
    Dual,
    /// Read and written at the place decided for; the other one is cleaned up.
    Cut,
}

/// The row: where slot 1 is read, and what its move is up to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Row {
    /// Rises with each change.
    pub epoch: u8,
    /// B or C: where slot 1 is read unless an object's row overrides it.
    pub place: Places,
    /// How far the move to or from the other place is.
    pub phase: Phase,
}

impl Row {
    /// Before any move.
    pub const FIRST: Self = Self {
        epoch: 1,
        place: B,
        phase: Phase::Stable,
    };

    /// The place of B and C that is not read.
    #[must_use]
    pub fn other(self) -> Places {
        (B | C) & !self.place
    }

    /// Where slot 1 must be written so that no override is needed.
    #[must_use]
    pub fn must_hold(self) -> Places {
        match self.phase {
            Phase::Dual => B | C,
            Phase::Stable | Phase::Cut => self.place,
        }
    }

    /// A move to the other place begins.
    #[must_use]
    pub fn begin(self) -> Option<Self> {
        self.next(Phase::Stable, Phase::Dual, self.place)
    }

    /// All is copied: the other place is read from now on.
    #[must_use]
    pub fn cut(self) -> Option<Self> {
        self.next(Phase::Dual, Phase::Cut, self.other())
    }

    /// The move is called off: a cut in the other direction, so the place stays.
    #[must_use]
    pub fn cancel(self) -> Option<Self> {
        self.next(Phase::Dual, Phase::Cut, self.place)
    }

    /// The move is over.
    #[must_use]
    pub fn end(self) -> Option<Self> {
        self.next(Phase::Cut, Phase::Stable, self.place)
    }

    fn next(self, from: Phase, to: Phase, place: Places) -> Option<Self> {
        let epoch = self.epoch + 1;
        (self.phase == from).then_some(Self {
            epoch,
            place,
            phase: to,
        })
    }
}
