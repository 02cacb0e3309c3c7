//! What an object group can be told of its part of a quota (decision 0053).

use marram_types::BucketId;
use marram_types::codec::{DecodeError, Reader, Writer};

use super::new_extent::{NewExtent, get_new_extents, put_new_extents};
use crate::kinds::quota::Amount;
use crate::refusal::unknown;

const TAG_SETTLE: u8 = 197;
const TAG_GIVE_UP: u8 = 198;

/// A command about a group's part of a quota.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LeaseCommand {
    /// Brings what the root granted, and may ask for what the group does not use. Answered with the
    /// lease as it is then.
    Settle {
        /// The bucket.
        bucket: BucketId,
        /// Of which quota; another one, and nothing is changed.
        since: u64,
        /// All that the root granted.
        granted: Amount,
        /// Give back what is not used.
        give_back: bool,
    },
    /// Takes data out of use that no command will commit any more: its bucket's quota kept it out. What
    /// something refers to stays.
    GiveUp {
        /// The data, with where it was written.
        extents: Vec<NewExtent>,
    },
}

impl LeaseCommand {
    pub(super) fn has_tag(tag: u8) -> bool {
        matches!(tag, TAG_SETTLE | TAG_GIVE_UP)
    }

    pub(super) fn encode(&self, out: &mut Writer) {
        match self {
            Self::Settle {
                bucket,
                since,
                granted,
                give_back,
            } => {
                granted.encode(out.u8(TAG_SETTLE).u64_be(bucket.0).varint(*since));
                out.bool(*give_back);
            }
            Self::GiveUp { extents } => put_new_extents(out.u8(TAG_GIVE_UP), extents),
        }
    }

    /// Reads a command after its tag.
    pub(super) fn decode(tag: u8, from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match tag {
            TAG_SETTLE => Self::Settle {
                bucket: BucketId(from.u64_be()?),
                since: from.varint()?,
                granted: Amount::decode(from)?,
                give_back: from.bool()?,
            },
            TAG_GIVE_UP => Self::GiveUp {
                extents: get_new_extents(from)?,
            },
            other => return Err(unknown("lease command", other)),
        })
    }
}
