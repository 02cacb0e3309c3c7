//! What an object group can be told to do.

use bytes::Bytes;
use marram_types::codec::{DecodeError, Reader, Writer};
use marram_types::{BucketId, DataId, Generation, ObjectKey, PoolId, VersionId};

use super::put_ref::{PutRef, get_precondition, put_precondition};
use crate::envelope::Command;
use crate::kinds::bucket::BucketRecord;
use crate::kinds::extent::{Extent, put_extents};
use crate::kinds::object::put_metadata;
use crate::refusal::unknown;
use crate::stored::Stored;

pub(super) const TAG_PUT: u8 = 129;
pub(super) const TAG_DELETE: u8 = 130;
const TAG_BUCKET_FENCE: u8 = 131;
const TAG_POOL_FENCE: u8 = 132;
const TAG_RAISE_FLOORS: u8 = 133;
const TAG_COLLECTED: u8 = 134;

/// Where a new version's bytes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NewBody {
    /// Here, at most `INLINE_BYTES_MAX`.
    Inline {
        /// Names them.
        data: DataId,
        /// The bytes.
        bytes: Bytes,
    },
    /// On drives already, every shard durable (rules.md 18); at least one extent.
    Extents(Vec<Extent>),
}

/// A version to be committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewVersion {
    /// Fresh for every attempt (rules.md 14).
    pub version: VersionId,
    /// Bytes, the sum of the body's parts.
    pub size: u64,
    /// CRC64/NVME of all bytes.
    pub crc64: u64,
    /// Quotes included.
    pub etag: String,
    /// What the writer said.
    pub content_type: String,
    /// User metadata.
    pub metadata: Vec<(String, String)>,
    /// Where the bytes are.
    pub body: NewBody,
}

/// What must hold of the present version for a mutation to happen. All given parts must hold; the
/// default asks nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Precondition {
    /// The present generation is this one; 0: there is no object (rules.md 15).
    pub if_generation_match: Option<Generation>,
    /// The present generation is another one; 0: there is an object.
    pub if_generation_not_match: Option<Generation>,
    /// There is an object and its `ETag` is this one; `*`: any.
    pub if_etag_match: Option<String>,
}

/// One entry that a collector has finished with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CollectedEntry {
    /// The index that displaced the data.
    pub at: u64,
    /// The extent's data.
    pub data: DataId,
}

/// A command of an object group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ObjectCommand {
    /// Commits a version. Needs a request id.
    Put {
        /// The bucket.
        bucket: BucketId,
        /// The key.
        key: ObjectKey,
        /// The version.
        content: NewVersion,
        /// What must hold.
        precondition: Precondition,
    },
    /// Removes an object; one that is absent is removed already. Needs a request id.
    Delete {
        /// The bucket.
        bucket: BucketId,
        /// The key.
        key: ObjectKey,
        /// What must hold.
        precondition: Precondition,
    },
    /// Brings a root decision about a bucket (rules.md 11).
    BucketFence(BucketRecord),
    /// Brings a root decision about a pool.
    PoolFence {
        /// The pool.
        pool: PoolId,
        /// The epoch of its table.
        epoch: u64,
    },
    /// Raises the floors; they never fall (rules.md 27, 28).
    RaiseFloors {
        /// Commits begun below it are refused from now on.
        gc_floor: u64,
        /// Data displaced below it has no readers left.
        read_floor: u64,
    },
    /// The shards of these garbage entries are gone. Entries whose data begins at or above the
    /// `gc_floor` stay (placement-protocol.md 10).
    Collected(Vec<CollectedEntry>),
}

impl Command for ObjectCommand {
    fn encode_command(&self, out: &mut Writer) {
        self.encode(out);
    }

    fn size_hint(&self) -> usize {
        let Self::Put { key, content, .. } = self else {
            return 256;
        };
        let body = match &content.body {
            NewBody::Inline { bytes, .. } => bytes.len(),
            NewBody::Extents(extents) => 64 * extents.len(),
        };
        let metadata: usize = content
            .metadata
            .iter()
            .map(|(name, value)| name.len() + value.len() + 4)
            .sum();
        256 + key.as_str().len() + body + metadata
    }
}

fn encode_content(out: &mut Writer, content: &NewVersion) {
    out.u128_be(content.version.0)
        .varint(content.size)
        .u64_be(content.crc64)
        .str(&content.etag)
        .str(&content.content_type);
    put_metadata(out, &content.metadata);
    match &content.body {
        NewBody::Inline { data, bytes } => {
            out.u8(1);
            data.encode(out);
            out.bytes(bytes);
        }
        NewBody::Extents(extents) => {
            out.u8(2);
            put_extents(out, extents);
        }
    }
}

impl Stored for CollectedEntry {
    fn encode(&self, out: &mut Writer) {
        self.data.encode(out.varint(self.at));
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            at: from.varint()?,
            data: DataId::decode(from)?,
        })
    }
}

/// Reads an object key, which must be a valid one.
pub(crate) fn get_key(from: &mut Reader<'_>) -> Result<ObjectKey, DecodeError> {
    ObjectKey::new(from.str()?).map_err(|_| DecodeError::Invalid("object key"))
}

impl Stored for ObjectCommand {
    fn encode(&self, out: &mut Writer) {
        match self {
            Self::Put {
                bucket,
                key,
                content,
                precondition,
            } => {
                out.u8(TAG_PUT).u64_be(bucket.0).str(key.as_str());
                put_precondition(out, precondition);
                encode_content(out, content);
            }
            Self::Delete {
                bucket,
                key,
                precondition,
            } => {
                out.u8(TAG_DELETE).u64_be(bucket.0).str(key.as_str());
                put_precondition(out, precondition);
            }
            Self::BucketFence(record) => record.encode(out.u8(TAG_BUCKET_FENCE)),
            Self::PoolFence { pool, epoch } => {
                out.u8(TAG_POOL_FENCE).u16_be(pool.0).varint(*epoch);
            }
            Self::RaiseFloors {
                gc_floor,
                read_floor,
            } => {
                out.u8(TAG_RAISE_FLOORS)
                    .varint(*gc_floor)
                    .varint(*read_floor);
            }
            Self::Collected(entries) => {
                out.u8(TAG_COLLECTED)
                    .list(entries, |out, entry| entry.encode(out));
            }
        }
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match from.u8()? {
            TAG_PUT => PutRef::decode(from)?.to_command()?,
            TAG_DELETE => Self::Delete {
                bucket: BucketId(from.u64_be()?),
                key: get_key(from)?,
                precondition: get_precondition(from)?.to_owned(),
            },
            TAG_BUCKET_FENCE => Self::BucketFence(BucketRecord::decode(from)?),
            TAG_POOL_FENCE => Self::PoolFence {
                pool: PoolId(from.u16_be()?),
                epoch: from.varint()?,
            },
            TAG_RAISE_FLOORS => Self::RaiseFloors {
                gc_floor: from.varint()?,
                read_floor: from.varint()?,
            },
            TAG_COLLECTED => Self::Collected(from.list(CollectedEntry::decode)?),
            other => return Err(unknown("object command", other)),
        })
    }
}
