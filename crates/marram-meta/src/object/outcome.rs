//! What came of an object command.

use marram_types::codec::{DecodeError, Reader, Writer};
use marram_types::{Generation, VersionId};

use crate::kinds::bucket::BucketState;
use crate::refusal::{Refusal, unknown};
use crate::stored::Stored;

/// What came of an object command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ObjectOutcome {
    /// The version is the current one.
    Committed {
        /// The version: a repeated request is answered with the one that its first attempt made,
        /// not with the one that it brought itself.
        version: VersionId,
        /// Its generation.
        generation: Generation,
        /// Leader time of the commit.
        modified_ms: u64,
        /// An extent has fewer shards than the bucket asks for; a ticket was filed.
        narrowed: bool,
        /// An extent survives fewer losses than the bucket asks for; a ticket was filed. Told to
        /// the client (rules.md 18).
        under_protected: bool,
    },
    /// An earlier apply of the same data committed it; nothing was changed
    /// (placement-protocol.md 10).
    AlreadyCommitted,
    /// There is no object any more.
    Deleted {
        /// The generation of the deletion.
        generation: Generation,
        /// Whether there was one.
        existed: bool,
    },
    /// The group holds this state of the bucket, which is the one sent unless it held a newer one.
    Fenced {
        /// Objects that are left.
        live: u64,
        /// The epoch held.
        epoch: u64,
        /// The state held.
        state: BucketState,
    },
    /// The group knows the pool at this epoch, which is the one sent unless it knew a newer one.
    PoolFenced {
        /// The epoch held.
        epoch: u64,
    },
    /// Done; there is nothing to tell.
    Done,
    /// Nothing was changed.
    Refused(Refusal),
}

impl ObjectOutcome {
    /// The encoding, as `apply_object` returns it.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        self.ser_value()
    }

    /// Reads what [`Self::encode`] wrote.
    ///
    /// # Errors
    /// When the bytes are damaged or of a newer release.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        Self::deser_value(bytes)
    }
}

impl Stored for ObjectOutcome {
    fn encode(&self, out: &mut Writer) {
        match self {
            Self::Committed {
                version,
                generation,
                modified_ms,
                narrowed,
                under_protected,
            } => {
                out.u8(1)
                    .u128_be(version.0)
                    .varint(generation.0)
                    .varint(*modified_ms)
                    .bool(*narrowed)
                    .bool(*under_protected);
            }
            Self::AlreadyCommitted => {
                out.u8(2);
            }
            Self::Deleted {
                generation,
                existed,
            } => {
                out.u8(3).varint(generation.0).bool(*existed);
            }
            Self::Fenced { live, epoch, state } => {
                out.u8(4).varint(*live).varint(*epoch).u8(*state as u8);
            }
            Self::PoolFenced { epoch } => {
                out.u8(5).varint(*epoch);
            }
            Self::Done => {
                out.u8(6);
            }
            Self::Refused(refusal) => refusal.encode(out.u8(7)),
        }
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match from.u8()? {
            1 => Self::Committed {
                version: VersionId(from.u128_be()?),
                generation: Generation(from.varint()?),
                modified_ms: from.varint()?,
                narrowed: from.bool()?,
                under_protected: from.bool()?,
            },
            2 => Self::AlreadyCommitted,
            3 => Self::Deleted {
                generation: Generation(from.varint()?),
                existed: from.bool()?,
            },
            4 => Self::Fenced {
                live: from.varint()?,
                epoch: from.varint()?,
                state: BucketState::from_byte(from.u8()?)?,
            },
            5 => Self::PoolFenced {
                epoch: from.varint()?,
            },
            6 => Self::Done,
            7 => Self::Refused(Refusal::decode(from)?),
            other => return Err(unknown("object outcome", other)),
        })
    }
}
