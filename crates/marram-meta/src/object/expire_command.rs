//! What an object group can be told of things whose time may have come (decision 0054).

use marram_types::codec::{DecodeError, Reader, Writer};
use marram_types::{BucketId, Generation, ObjectKey, UploadId};

use super::command::get_key;
use crate::refusal::unknown;
use crate::stored::Stored;

pub(super) const TAG_EXPIRE: u8 = 199;

/// Something that may have to go, as whoever found it saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DueWhat {
    /// The current version.
    Current(Generation),
    /// A version that is not.
    Noncurrent {
        /// Of the version.
        generation: Generation,
        /// Of what took its place.
        next: Generation,
    },
    /// A delete marker of which nothing else of its key is left.
    Marker(Generation),
    /// An upload.
    Upload(UploadId),
}

/// Something of a key that may have to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// The key.
    pub key: ObjectKey,
    /// What of it.
    pub what: DueWhat,
}

/// Removes what is due of a bucket by its rules, as the group knows both by then: what was replaced
/// meanwhile stays, and so does what only a former rule would have removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpireCommand {
    /// The bucket.
    pub bucket: BucketId,
    /// What may be due, at most [`EXPIRED_PER_ENTRY`](marram_types::caps::EXPIRED_PER_ENTRY).
    pub due: Vec<Due>,
}

impl Stored for DueWhat {
    fn encode(&self, out: &mut Writer) {
        match self {
            Self::Current(generation) => out.u8(1).varint(generation.0),
            Self::Noncurrent { generation, next } => out.u8(2).varint(generation.0).varint(next.0),
            Self::Marker(generation) => out.u8(3).varint(generation.0),
            Self::Upload(upload) => out.u8(4).u128_be(upload.0),
        };
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match from.u8()? {
            1 => Self::Current(Generation(from.varint()?)),
            2 => Self::Noncurrent {
                generation: Generation(from.varint()?),
                next: Generation(from.varint()?),
            },
            3 => Self::Marker(Generation(from.varint()?)),
            4 => Self::Upload(UploadId(from.u128_be()?)),
            other => return Err(unknown("thing that is due", other)),
        })
    }
}

impl Stored for Due {
    fn encode(&self, out: &mut Writer) {
        self.what.encode(out.str(self.key.as_str()));
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            key: get_key(from)?,
            what: DueWhat::decode(from)?,
        })
    }
}

impl Stored for ExpireCommand {
    fn encode(&self, out: &mut Writer) {
        out.u64_be(self.bucket.0)
            .list(&self.due, |out, due| due.encode(out));
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            bucket: BucketId(from.u64_be()?),
            due: from.list(Due::decode)?,
        })
    }
}
