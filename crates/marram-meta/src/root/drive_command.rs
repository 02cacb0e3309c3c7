//! What the root group can be told about single drives and about work in the background.

use marram_types::codec::{DecodeError, Reader, Writer};
use marram_types::{DriveId, NodeId};

use crate::kinds::drive::DriveDuty;
use crate::kinds::upkeep::Pausable;
use crate::refusal::unknown;

/// A command about drives, or about work on them. Each may be repeated without harm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DriveCommand {
    /// Admits one more drive of a member (rules.md 1). The same label again is answered with the
    /// drive that it has.
    Add {
        /// The node.
        node: NodeId,
        /// Drawn by the node for this folder; not 0.
        label: u128,
        /// Bytes that it offers.
        capacity: u64,
    },
    /// Changes what a drive is there for: see [`DriveDuty::may_become`].
    SetDuty {
        /// The drive.
        drive: DriveId,
        /// What it shall be.
        duty: DriveDuty,
    },
    /// Removes a drive for ever, when no row of the layout names it any more. What the object groups
    /// and the drive itself hold was proven to be nothing before, or is given up.
    Remove {
        /// The drive.
        drive: DriveId,
    },
    /// The drive has become larger or smaller.
    SetCapacity {
        /// The drive.
        drive: DriveId,
        /// Bytes that it offers now.
        capacity: u64,
    },
    /// Pauses work in the whole cluster, or lets it go on.
    SetPaused {
        /// Which work.
        work: Pausable,
        /// Whether it is to rest.
        paused: bool,
    },
}

/// Tags of these commands among those of the root group.
pub(super) const TAGS: std::ops::RangeInclusive<u8> = 45..=49;

impl DriveCommand {
    pub(super) fn encode(&self, out: &mut Writer) {
        match self {
            Self::Add {
                node,
                label,
                capacity,
            } => out.u8(45).varint(node.0).u128_be(*label).varint(*capacity),
            Self::SetDuty { drive, duty } => out.u8(46).varint(drive.0).u8(*duty as u8),
            Self::Remove { drive } => out.u8(47).varint(drive.0),
            Self::SetCapacity { drive, capacity } => out.u8(48).varint(drive.0).varint(*capacity),
            Self::SetPaused { work, paused } => out.u8(49).u8(*work as u8).bool(*paused),
        };
    }

    pub(super) fn decode(tag: u8, from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let drive = |from: &mut Reader<'_>| from.varint().map(DriveId);
        Ok(match tag {
            45 => Self::Add {
                node: NodeId(from.varint()?),
                label: from.u128_be()?,
                capacity: from.varint()?,
            },
            46 => Self::SetDuty {
                drive: drive(from)?,
                duty: DriveDuty::from_byte(from.u8()?)?,
            },
            47 => Self::Remove {
                drive: drive(from)?,
            },
            48 => Self::SetCapacity {
                drive: drive(from)?,
                capacity: from.varint()?,
            },
            49 => Self::SetPaused {
                work: Pausable::from_byte(from.u8()?)?,
                paused: from.bool()?,
            },
            other => return Err(unknown("root command", other)),
        })
    }
}
