//! Why a command about a drive changed nothing.

use marram_types::codec::{DecodeError, Reader, Writer};
use marram_types::{DriveId, NodeId, PgId};

use super::{Refusal, unknown};
use crate::kinds::drive::DriveDuty;
use crate::stored::{get_pg, put_pg};

/// Why a command about a drive changed nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DriveRefusal {
    /// No such drive, or it or its node was removed.
    #[error("drive {drive} is not there")]
    Unknown {
        /// Which.
        drive: DriveId,
    },
    /// What a drive is there for changes by rules.
    #[error("drive {drive} is {from:?} and cannot become {to:?} from there")]
    DutyChange {
        /// Which.
        drive: DriveId,
        /// What it is.
        from: DriveDuty,
        /// What was asked for.
        to: DriveDuty,
    },
    /// A serving drive is not removed: drain it.
    #[error("drive {drive} is serving: drain it first")]
    Serves {
        /// Which.
        drive: DriveId,
    },
    /// The metadata drive goes with its node only.
    #[error("drive {drive} is the metadata drive of its node: remove the node instead")]
    Metadata {
        /// Which.
        drive: DriveId,
    },
    /// A row of the layout names the drive.
    #[error("placement group {pg} is on drive {drive}, or moves to or from it")]
    InLayout {
        /// Which.
        drive: DriveId,
        /// A placement group.
        pg: PgId,
    },
    /// The node has as many drives as it may.
    #[error("node {node} has as many drives as a node may have")]
    TooMany {
        /// Which node.
        node: NodeId,
    },
    /// Others began to leave, or stay after all, since the caller looked at what has room.
    #[error("other drives or nodes began to leave, or stay after all, meanwhile: look again")]
    OthersLeave,
}

impl From<DriveRefusal> for Refusal {
    fn from(refusal: DriveRefusal) -> Self {
        Self::Drive(refusal)
    }
}

impl DriveRefusal {
    pub(super) fn encode(self, out: &mut Writer) {
        match self {
            Self::Unknown { drive } => out.u8(1).varint(drive.0),
            Self::DutyChange { drive, from, to } => {
                out.u8(2).varint(drive.0).u8(from as u8).u8(to as u8)
            }
            Self::Serves { drive } => out.u8(3).varint(drive.0),
            Self::Metadata { drive } => out.u8(4).varint(drive.0),
            Self::InLayout { drive, pg } => {
                put_pg(out.u8(5).varint(drive.0), pg);
                out
            }
            Self::TooMany { node } => out.u8(6).varint(node.0),
            Self::OthersLeave => out.u8(7),
        };
    }

    pub(super) fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let drive = |from: &mut Reader<'_>| from.varint().map(DriveId);
        Ok(match from.u8()? {
            1 => Self::Unknown {
                drive: drive(from)?,
            },
            2 => Self::DutyChange {
                drive: drive(from)?,
                from: DriveDuty::from_byte(from.u8()?)?,
                to: DriveDuty::from_byte(from.u8()?)?,
            },
            3 => Self::Serves {
                drive: drive(from)?,
            },
            4 => Self::Metadata {
                drive: drive(from)?,
            },
            5 => Self::InLayout {
                drive: drive(from)?,
                pg: get_pg(from)?,
            },
            6 => Self::TooMany {
                node: NodeId(from.varint()?),
            },
            7 => Self::OthersLeave,
            other => return Err(unknown("refusal of a drive", other)),
        })
    }
}
