//! What the root group can be told about the end of a bucket's deletion.
//!
//! ```text
//! 120  Begin   bucket, epoch
//! 121  End     bucket, epoch
//! ```

use marram_types::BucketId;
use marram_types::codec::{DecodeError, Reader, Writer};

use crate::refusal::unknown;

/// Ends the deletion of a bucket that is sealed and empty in every object group. The record stays, with
/// its name, until each group was told: the root's leader may stop at any moment, and the next one goes
/// on by it (rules.md 12).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndingCommand {
    /// The deletion is not taken back any more: the groups are to be told.
    Begin {
        /// The bucket.
        bucket: BucketId,
        /// The epoch at which all groups are sealed and empty.
        epoch: u64,
    },
    /// Every group was told: record and name go.
    End {
        /// The bucket.
        bucket: BucketId,
        /// The epoch that the groups hold.
        epoch: u64,
    },
}

/// Tags of these commands among those of the root group.
pub(super) const TAGS: std::ops::RangeInclusive<u8> = 120..=121;

impl EndingCommand {
    pub(super) fn encode(self, out: &mut Writer) {
        let (tag, bucket, epoch) = match self {
            Self::Begin { bucket, epoch } => (120, bucket, epoch),
            Self::End { bucket, epoch } => (121, bucket, epoch),
        };
        out.u8(tag).varint(bucket.0).varint(epoch);
    }

    pub(super) fn decode(tag: u8, from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (bucket, epoch) = (BucketId(from.varint()?), from.varint()?);
        Ok(match tag {
            120 => Self::Begin { bucket, epoch },
            121 => Self::End { bucket, epoch },
            other => return Err(unknown("root command", other)),
        })
    }
}
