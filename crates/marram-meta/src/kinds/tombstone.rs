//! `Tombstones`: node -> tombstone; `GoneDrives`: drive -> what an object group was told of it.

use marram_types::codec::{DecodeError, Reader, Writer};
use marram_types::{DriveId, NodeId};

use crate::stored::{Stored, get_drives, only_version, put_drives};

const VERSION: u8 = 1;

/// The root group's word that a node is about to be removed, or not any more (rules.md 25). Object
/// groups are told before the node goes; who was told refuses commits that rest on its drives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tombstone {
    /// The node.
    pub node: NodeId,
    /// The root index of the decision: of two, the higher one counts.
    pub epoch: u64,
    /// It stands; else it was taken back, because the node stays after all.
    pub stands: bool,
    /// The node's drives.
    pub drives: Vec<DriveId>,
}

impl Stored for Tombstone {
    fn encode(&self, out: &mut Writer) {
        out.u8(VERSION)
            .varint(self.node.0)
            .varint(self.epoch)
            .bool(self.stands);
        put_drives(out, &self.drives);
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        only_version(from, "tombstone version", VERSION)?;
        Ok(Self {
            node: NodeId(from.varint()?),
            epoch: from.varint()?,
            stands: from.bool()?,
            drives: get_drives(from)?,
        })
    }
}

/// What an object group was told of a drive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct GoneDrive {
    /// The tombstone's epoch.
    pub(crate) epoch: u64,
    /// Commits that rest on the drive are refused.
    pub(crate) stands: bool,
}

pub(crate) fn ser_drive_key(drive: DriveId) -> [u8; 8] {
    drive.0.to_be_bytes()
}

impl Stored for GoneDrive {
    fn encode(&self, out: &mut Writer) {
        out.u8(VERSION).varint(self.epoch).bool(self.stands);
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        only_version(from, "gone drive version", VERSION)?;
        Ok(Self {
            epoch: from.varint()?,
            stands: from.bool()?,
        })
    }
}
