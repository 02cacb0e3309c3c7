//! A drive in its node's record, and what it is there for.

use marram_types::DriveId;
use marram_types::codec::{DecodeError, Reader, Writer};

use crate::refusal::unknown;

/// What a drive of a member is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum DriveDuty {
    /// Takes new data, as far as its node does.
    Serving = 1,
    /// Gives up what it has, by an operator's wish.
    Draining = 2,
    /// Its node runs without it for longer than anybody waits: what it had is rebuilt elsewhere. It
    /// serves again when its node finds it.
    Away = 3,
    /// It failed for good: what it had is rebuilt elsewhere. Only its removal follows.
    Failed = 4,
    /// As [`Self::Away`], of one that was drained: its drain goes on when its node finds it.
    AwayDraining = 6,
    /// Removed for ever. The record stays, because garbage may name the drive for a while.
    Removed = 5,
}

impl DriveDuty {
    /// Whether this duty may be changed to `next`; removal is another command. A duty may always
    /// become itself.
    #[must_use]
    pub fn may_become(self, next: Self) -> bool {
        use DriveDuty::{Away, AwayDraining, Draining, Failed, Serving};
        self == next
            || matches!(
                (self, next),
                (Serving, Draining | Away | Failed)
                    | (Draining, Serving | Away | AwayDraining | Failed)
                    | (Away, Serving | Failed)
                    | (AwayDraining, Serving | Draining | Failed)
            )
    }

    /// Whether nothing comes from the drive any more: what it had is computed from the others.
    #[must_use]
    pub fn is_gone(self) -> bool {
        matches!(
            self,
            Self::Away | Self::AwayDraining | Self::Failed | Self::Removed
        )
    }

    /// Whether its node runs without the drive and may find it again.
    #[must_use]
    pub fn is_away(self) -> bool {
        matches!(self, Self::Away | Self::AwayDraining)
    }

    pub(crate) fn from_byte(byte: u8) -> Result<Self, DecodeError> {
        Ok(match byte {
            1 => Self::Serving,
            2 => Self::Draining,
            3 => Self::Away,
            4 => Self::Failed,
            5 => Self::Removed,
            6 => Self::AwayDraining,
            other => return Err(unknown("drive duty", other)),
        })
    }
}

/// A drive of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DriveRecord {
    /// The drive's id.
    pub drive: DriveId,
    /// Its number within the node; 0 is the metadata drive.
    pub ordinal: u8,
    /// Bytes that it offers: its weight in placement.
    pub capacity: u64,
    /// What it is there for.
    pub duty: DriveDuty,
    /// What the node drew when it asked for a drive of this folder, so that asking again is answered
    /// with the same drive; 0 for those that it joined with.
    pub label: u128,
}

impl DriveRecord {
    /// A drive that a node joins with.
    #[must_use]
    pub fn new(drive: DriveId, ordinal: u8, capacity: u64) -> Self {
        Self {
            drive,
            ordinal,
            capacity,
            duty: DriveDuty::Serving,
            label: 0,
        }
    }
}

pub(crate) fn encode(out: &mut Writer, drive: &DriveRecord) {
    out.u64_be(drive.drive.0)
        .u8(drive.ordinal)
        .varint(drive.capacity)
        .u8(drive.duty as u8)
        .u128_be(drive.label);
}

pub(crate) fn decode(from: &mut Reader<'_>) -> Result<DriveRecord, DecodeError> {
    Ok(DriveRecord {
        drive: DriveId(from.u64_be()?),
        ordinal: from.u8()?,
        capacity: from.varint()?,
        duty: DriveDuty::from_byte(from.u8()?)?,
        label: from.u128_be()?,
    })
}
