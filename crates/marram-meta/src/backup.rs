//! The file of a backup of the metadata, as frames.
//!
//! ```text
//! file    header, then for each group: group, pieces, end of group; then the end
//! frame   kind (1)  length of the payload (4, big-endian)  payload  CRC32C of all before (4)
//! ```
//! The pieces of a group, joined, are the bytes of its state's snapshot. A file without its end frame
//! was cut off, and is no backup.

mod check;
mod frames;

pub use check::{BackupCheck, BackupSummary};
pub use frames::{BackupFrame, BackupGroup, BackupHeader, BackupKind, FrameReader};

use marram_types::GroupId;
use marram_types::codec::DecodeError;

/// Most bytes of a piece.
pub const BACKUP_PIECE_BYTES_MAX: usize = 1 << 20;

/// Why bytes are no backup.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BackupError {
    /// It begins with something else.
    #[error("it is not a backup of Marram's metadata")]
    NotABackup,
    /// A frame is not what was written.
    #[error("it is damaged in the frame at byte {at}")]
    Damaged {
        /// Where the frame begins.
        at: u64,
    },
    /// A frame cannot be read.
    #[error("the frame at byte {at} cannot be read: {source}")]
    Unreadable {
        /// Where the frame begins.
        at: u64,
        /// Why.
        source: DecodeError,
    },
    /// Frames are missing or in the wrong order.
    #[error("it is not complete: {0}")]
    Order(&'static str),
    /// A group's pieces are not what its end says.
    #[error("the state of group {0} is not complete")]
    Group(GroupId),
    /// A group that the cluster has is not in it.
    #[error("group {0} is missing in it")]
    Missing(GroupId),
}

#[cfg(test)]
mod tests;
