//! Why a quota keeps something from being written.

use marram_types::codec::{DecodeError, Reader, Writer};

use super::{Refusal, unknown};
use crate::kinds::quota::{Amount, Quota};

/// A group's lease does not reach for what it was asked to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OverLease {
    /// The quota as the group knows it.
    pub quota: Quota,
    /// What the root granted it, as far as it knows.
    pub granted: Amount,
    /// What its lease lacks.
    pub lack: Amount,
    /// By how much the group would hold more.
    pub asked: Amount,
}

/// Why a quota keeps something from being written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QuotaRefusal {
    /// The group's part of the quota is used up, which need not be so of the others'. With more of it
    /// the same request may be tried again.
    #[error(
        "the bucket's quota is used up in this metadata group, and parts of others are on their way: \
         try again"
    )]
    OverLease(Box<OverLease>),
    /// The bucket holds as much as it may.
    #[error(
        "the bucket holds {used} of {limit} {what} that its quota allows, and this needs {asked} more: \
         delete something, or raise the quota"
    )]
    Exceeded {
        /// Bytes, or objects.
        what: Measure,
        /// The quota.
        limit: u64,
        /// What the bucket holds, older versions and parts of uploads included.
        used: u64,
        /// What would have come to it.
        asked: u64,
    },
    /// Some group has not told yet what it holds.
    #[error("the bucket's quota is being made known; try again")]
    NotKnown,
}

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Measure {
    /// Bytes.
    Bytes = 1,
    /// Versions, current or not.
    Objects = 2,
}

impl std::fmt::Display for Measure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Bytes => "bytes",
            Self::Objects => "objects",
        })
    }
}

impl From<QuotaRefusal> for Refusal {
    fn from(refusal: QuotaRefusal) -> Self {
        Self::Quota(refusal)
    }
}

impl QuotaRefusal {
    pub(super) fn encode<'a>(&self, out: &'a mut Writer) -> &'a mut Writer {
        match *self {
            Self::OverLease(ref over) => {
                over.quota.encode(out.u8(1));
                for amount in [over.granted, over.lack, over.asked] {
                    amount.encode(out);
                }
                out
            }
            Self::Exceeded {
                what,
                limit,
                used,
                asked,
            } => out
                .u8(2)
                .u8(what as u8)
                .varint(limit)
                .varint(used)
                .varint(asked),
            Self::NotKnown => out.u8(3),
        }
    }

    pub(super) fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match from.u8()? {
            1 => Self::OverLease(Box::new(OverLease {
                quota: Quota::decode(from)?,
                granted: Amount::decode(from)?,
                lack: Amount::decode(from)?,
                asked: Amount::decode(from)?,
            })),
            2 => Self::Exceeded {
                what: match from.u8()? {
                    1 => Measure::Bytes,
                    2 => Measure::Objects,
                    other => return Err(unknown("measure of a quota", other)),
                },
                limit: from.varint()?,
                used: from.varint()?,
                asked: from.varint()?,
            },
            3 => Self::NotKnown,
            other => return Err(unknown("refusal of a quota", other)),
        })
    }
}
