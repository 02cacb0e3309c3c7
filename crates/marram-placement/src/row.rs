//! One row of a pool's table: the drives of a placement group, and the move of one of them.
//!
//! A row is a value; a transition gives the next one. Object groups keep rows by themselves, so a
//! row has a stored form of its own:
//!
//! ```text
//! version u8 | epoch varint | count varint, that many drives varint
//!         | moving: 0, or 1, slot u8, from varint, to varint, phase u8
//! ```

use marram_types::DriveId;
use marram_types::caps::{PROFILE_K_MAX, PROFILE_M_MAX};
use marram_types::codec::{DecodeError, Reader, Writer};

/// The stored form of a row.
const ROW_VERSION: u8 = 1;

/// Where in a move a slot is (placement-protocol.md 2, 3). A row without a move is *stable*.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Read at the old place, written at both; what the old place holds is being copied.
    Dual = 1,
    /// Read and written at the new place; the old one is being cleaned up.
    Cut = 2,
}

/// One slot on its way from one drive to another. There is at most one in a row (rules.md 22).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Move {
    /// The slot, an index into [`PgRow::drives`].
    pub slot: u8,
    /// The place to be given up. In phase Dual the row's drive of the slot.
    pub from: DriveId,
    /// The place to be. In phase Cut the row's drive of the slot.
    pub to: DriveId,
    /// How far the move is.
    pub phase: Phase,
}

/// The drives of one placement group. Shard `i` of an extent written at full width is on drive `i`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PgRow {
    /// The table's epoch of the row's last change; a row of a higher epoch replaces one of a lower.
    pub epoch: u64,
    /// The drives that slots are read from, all distinct.
    pub drives: Vec<DriveId>,
    /// The move under way. Its other end is not among `drives`.
    pub moving: Option<Move>,
}

/// The drives that the shard of one slot belongs on: one, or two in the Dual phase of its move.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Places {
    /// Where readers look.
    pub read: DriveId,
    /// Where it must be as well.
    pub also: Option<DriveId>,
}

impl Places {
    /// The drives, the one that readers look at first.
    pub fn iter(&self) -> impl Iterator<Item = DriveId> + use<> {
        std::iter::once(self.read).chain(self.also)
    }

    /// Whether `drive` is one of them.
    #[must_use]
    pub fn contains(&self, drive: DriveId) -> bool {
        self.iter().any(|d| d == drive)
    }

    /// Whether all of them are among `written`: then a shard written there needs no override.
    #[must_use]
    pub fn covered_by(&self, written: &[DriveId]) -> bool {
        self.iter().all(|d| written.contains(&d))
    }
}

/// Why a row has no such next state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MoveError {
    /// The row has no such slot.
    #[error("slot {slot} is not one of the row's {width}")]
    NoSuchSlot {
        /// What was asked for.
        slot: u8,
        /// Slots of the row.
        width: usize,
    },
    /// Only one slot of a row moves at a time.
    #[error("slot {} of the row is on its way from drive {} to drive {}", .moving.slot, .moving.from, .moving.to)]
    Moving {
        /// The move under way.
        moving: Move,
    },
    /// The row holds the target at some slot.
    #[error("drive {drive} holds a slot of the row")]
    TargetInRow {
        /// The target.
        drive: DriveId,
    },
    /// The row has no move in the phase that the step starts from.
    #[error("the row has no move in phase {wanted:?}")]
    WrongPhase {
        /// The phase that the step starts from.
        wanted: Phase,
        /// The move that the row has.
        moving: Option<Move>,
    },
    /// Epochs only rise.
    #[error("epoch {given} is not above the row's {held}")]
    OldEpoch {
        /// The row's.
        held: u64,
        /// What was given.
        given: u64,
    },
}

impl PgRow {
    /// A row without a move.
    #[must_use]
    pub fn stable(epoch: u64, drives: Vec<DriveId>) -> Self {
        Self {
            epoch,
            drives,
            moving: None,
        }
    }

    /// The drive that readers of a slot look at; `None` when the row has no such slot.
    #[must_use]
    pub fn read_place(&self, slot: u8) -> Option<DriveId> {
        self.drives.get(usize::from(slot)).copied()
    }

    /// The drives that a shard of the slot must be on so that it needs no override: those that
    /// writers write it to.
    #[must_use]
    pub fn must_hold(&self, slot: u8) -> Option<Places> {
        let read = self.read_place(slot)?;
        let also = self
            .moving
            .filter(|m| m.slot == slot && m.phase == Phase::Dual)
            .map(|m| m.to);
        Some(Places { read, also })
    }

    /// Whether the row or its move names the drive: then it holds data of the placement group, or
    /// will, or is being cleaned of it.
    #[must_use]
    pub fn names(&self, drive: DriveId) -> bool {
        let moved = |m: Move| m.from == drive || m.to == drive;
        self.drives.contains(&drive) || self.moving.is_some_and(moved)
    }

    /// Stable -> Dual: `slot` is written at `to` as well from now on.
    ///
    /// # Errors
    /// When the row has a move, holds `to`, or lacks the slot, or the epoch is not higher.
    pub fn begin(&self, slot: u8, to: DriveId, epoch: u64) -> Result<Self, MoveError> {
        if let Some(moving) = self.moving {
            return Err(MoveError::Moving { moving });
        }
        let from = self.read_place(slot).ok_or(MoveError::NoSuchSlot {
            slot,
            width: self.drives.len(),
        })?;
        if self.drives.contains(&to) {
            return Err(MoveError::TargetInRow { drive: to });
        }
        let moving = Move {
            slot,
            from,
            to,
            phase: Phase::Dual,
        };
        self.next(Some(moving), epoch)
    }

    /// Dual -> Cut: the slot is read and written at the new place only.
    ///
    /// # Errors
    /// When the row has no move in phase Dual, or the epoch is not higher.
    pub fn cut(&self, epoch: u64) -> Result<Self, MoveError> {
        let dual = self.moving_in(Phase::Dual)?;
        let cut = Move {
            phase: Phase::Cut,
            ..dual
        };
        let mut next = self.next(Some(cut), epoch)?;
        next.drives[usize::from(dual.slot)] = dual.to;
        Ok(next)
    }

    /// Cut -> Stable: the old place is clean.
    ///
    /// # Errors
    /// When the row has no move in phase Cut, or the epoch is not higher.
    pub fn end(&self, epoch: u64) -> Result<Self, MoveError> {
        self.moving_in(Phase::Cut)?;
        self.next(None, epoch)
    }

    /// Dual -> Cut the other way round: the slot stays at its old place, and what was copied and
    /// written to the target is cleaned up like any old place.
    ///
    /// # Errors
    /// When the row has no move in phase Dual, or the epoch is not higher.
    pub fn cancel(&self, epoch: u64) -> Result<Self, MoveError> {
        let dual = self.moving_in(Phase::Dual)?;
        let back = Move {
            from: dual.to,
            to: dual.from,
            phase: Phase::Cut,
            ..dual
        };
        self.next(Some(back), epoch)
    }

    fn moving_in(&self, wanted: Phase) -> Result<Move, MoveError> {
        self.moving
            .filter(|m| m.phase == wanted)
            .ok_or(MoveError::WrongPhase {
                wanted,
                moving: self.moving,
            })
    }

    fn next(&self, moving: Option<Move>, epoch: u64) -> Result<Self, MoveError> {
        if epoch <= self.epoch {
            return Err(MoveError::OldEpoch {
                held: self.epoch,
                given: epoch,
            });
        }
        Ok(Self {
            epoch,
            drives: self.drives.clone(),
            moving,
        })
    }

    /// Whether the row is one that transitions can give: as many distinct drives as a profile can
    /// have, and a move whose ends fit its phase.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        let width = self.drives.len();
        if width == 0 || width > usize::from(PROFILE_K_MAX + PROFILE_M_MAX) {
            return false;
        }
        let distinct = (1..width).all(|i| !self.drives[..i].contains(&self.drives[i]));
        let fits = |m: Move| {
            let (here, other) = match m.phase {
                Phase::Dual => (m.from, m.to),
                Phase::Cut => (m.to, m.from),
            };
            self.read_place(m.slot) == Some(here) && !self.drives.contains(&other)
        };
        distinct && self.moving.is_none_or(fits)
    }

    /// Appends the stored form.
    pub fn encode(&self, out: &mut Writer) {
        out.u8(ROW_VERSION).varint(self.epoch);
        out.list(&self.drives, |out, drive| {
            out.varint(drive.0);
        });
        out.option(self.moving.as_ref(), |out, m| {
            out.u8(m.slot).varint(m.from.0).varint(m.to.0);
            out.u8(m.phase as u8);
        });
    }

    /// Reads the stored form.
    ///
    /// # Errors
    /// When the bytes end early, the version is unknown, or the row is not sound.
    pub fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        from.version("placement row", ROW_VERSION)?;
        let epoch = from.varint()?;
        let drives = from.list(|from| from.varint().map(DriveId))?;
        let moving = from.option(|from| {
            Ok(Move {
                slot: from.u8()?,
                from: DriveId(from.varint()?),
                to: DriveId(from.varint()?),
                phase: match from.u8()? {
                    1 => Phase::Dual,
                    2 => Phase::Cut,
                    other => {
                        return Err(DecodeError::Unknown {
                            what: "phase of a move",
                            found: u64::from(other),
                        });
                    }
                },
            })
        })?;
        let row = Self {
            epoch,
            drives,
            moving,
        };
        if row.is_sound() {
            Ok(row)
        } else {
            Err(DecodeError::Invalid("placement row"))
        }
    }
}

#[cfg(test)]
mod tests;
