//! `DataRefs`: (pg, data id) -> the row that refers to it (rules.md 16), in the order of placement
//! groups, so that the move of one reads only its own.

use marram_types::codec::{DecodeError, Reader, Writer};
use marram_types::{BucketId, DataId, Generation, GroupId, PgId, UploadId};

use crate::stored::{Stored, get_pg, put_pg};

/// Version 1 had no discarded data: it called that displaced.
const VERSION: u8 = 2;

/// What a group knows about an extent's data. Data that is not in the table was never committed,
/// or was collected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum DataRef {
    /// The current version of this object holds it.
    Live { bucket: BucketId, key: String },
    /// A version of this object that is not current holds it.
    Noncurrent {
        bucket: BucketId,
        key: String,
        generation: Generation,
    },
    /// A part holds it, of an upload of this object or of the version that the upload became.
    Part {
        bucket: BucketId,
        key: String,
        upload: UploadId,
        part: u16,
    },
    /// A version or a part that was committed held it; in the garbage queue since this index.
    Displaced { at: u64 },
    /// No version ever held it and none will; in the garbage queue since this index.
    Discarded { at: u64 },
}

impl DataRef {
    /// Whether a row holds the data.
    pub(crate) fn is_held(&self) -> bool {
        matches!(
            self,
            Self::Live { .. } | Self::Noncurrent { .. } | Self::Part { .. }
        )
    }
}

pub(crate) fn ser_key(pg: PgId, data: DataId) -> [u8; 4 + DataId::BYTES] {
    let mut key = [0; 4 + DataId::BYTES];
    key[..2].copy_from_slice(&pg.pool.0.to_be_bytes());
    key[2..4].copy_from_slice(&pg.index.to_be_bytes());
    key[4..].copy_from_slice(&data.to_bytes());
    key
}

/// The least data id.
pub(crate) const FIRST: DataId = DataId {
    group: GroupId(0),
    begin: 0,
    random: 0,
};

/// The greatest data id.
pub(crate) const LAST: DataId = DataId {
    group: GroupId(u16::MAX),
    begin: u64::MAX,
    random: u64::MAX,
};

pub(crate) fn deser_key(key: &[u8]) -> Result<(PgId, DataId), DecodeError> {
    let mut from = Reader::new(key);
    let pair = get_pair(&mut from)?;
    from.finish()?;
    Ok(pair)
}

/// Appends a pair that names an extent's data.
pub(crate) fn put_pair(out: &mut Writer, (pg, data): (PgId, DataId)) {
    put_pg(out, pg);
    data.encode(out);
}

/// Reads a pair that names an extent's data.
pub(crate) fn get_pair(from: &mut Reader<'_>) -> Result<(PgId, DataId), DecodeError> {
    Ok((get_pg(from)?, DataId::decode(from)?))
}

impl Stored for DataRef {
    fn encode(&self, out: &mut Writer) {
        out.u8(VERSION);
        match self {
            Self::Live { bucket, key } => out.u8(1).u64_be(bucket.0).str(key),
            Self::Part {
                bucket,
                key,
                upload,
                part,
            } => out
                .u8(4)
                .u64_be(bucket.0)
                .str(key)
                .u128_be(upload.0)
                .u16_be(*part),
            Self::Noncurrent {
                bucket,
                key,
                generation,
            } => out.u8(5).u64_be(bucket.0).str(key).varint(generation.0),
            Self::Displaced { at } => out.u8(2).varint(*at),
            Self::Discarded { at } => out.u8(3).varint(*at),
        };
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        from.version("data reference version", VERSION)?;
        match from.u8()? {
            1 => Ok(Self::Live {
                bucket: BucketId(from.u64_be()?),
                key: from.str()?.to_owned(),
            }),
            2 => Ok(Self::Displaced { at: from.varint()? }),
            3 => Ok(Self::Discarded { at: from.varint()? }),
            4 => Ok(Self::Part {
                bucket: BucketId(from.u64_be()?),
                key: from.str()?.to_owned(),
                upload: UploadId(from.u128_be()?),
                part: from.u16_be()?,
            }),
            5 => Ok(Self::Noncurrent {
                bucket: BucketId(from.u64_be()?),
                key: from.str()?.to_owned(),
                generation: Generation(from.varint()?),
            }),
            _ => Err(DecodeError::Invalid("data reference")),
        }
    }
}
