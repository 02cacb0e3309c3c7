//! `Noncurrent`: (bucket, key, generation descending) -> a version that is not current, or a delete
//! marker; the newest of a key comes first. A marker stands here while it is current, too: then `Objects`
//! has no row of its key (decision 0032). `NullVersions`, `NoncurrentUploads` and `NoncurrentCursors`
//! are beside it.

use marram_types::codec::{DecodeError, Reader, Writer};
use marram_types::{BucketId, Generation};

use super::escaped::{escape, unescape};
use super::object::{VersionRow, deser_head};
use crate::stored::{Stored, deser_u64_key, only_version};

const VERSION: u8 = 1;
const KIND_ROW: u8 = 1;
const KIND_MARKER: u8 = 2;

/// Says that an object is deleted although versions of it are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeleteMarker {
    /// The index that wrote it, plus the group's offset.
    pub generation: Generation,
    /// Leader time of the deletion.
    pub modified_ms: u64,
    /// As of a version: else it is the key's null version.
    pub numbered: bool,
}

/// What stands in the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Past {
    Version(Box<VersionRow>),
    Marker(DeleteMarker),
}

/// What a listing shows of it.
pub(crate) enum PastHead<'a> {
    Version {
        modified_ms: u64,
        /// Since when the version before it is not current.
        took_its_place_ms: u64,
        size: u64,
        etag: &'a str,
        numbered: bool,
    },
    Marker(DeleteMarker),
}

impl Past {
    pub(crate) fn generation(&self) -> Generation {
        match self {
            Self::Version(row) => row.generation,
            Self::Marker(marker) => marker.generation,
        }
    }

    pub(crate) fn is_numbered(&self) -> bool {
        match self {
            Self::Version(row) => row.numbered,
            Self::Marker(marker) => marker.numbered,
        }
    }
}

/// The key of one version.
pub(crate) fn ser_key(bucket: BucketId, key: &str, generation: Generation) -> Vec<u8> {
    let mut out = ser_prefix(bucket, key, true);
    out.extend_from_slice(&(!generation.0).to_be_bytes());
    out
}

/// What the table's keys begin with: of all versions of a key, or with `whole` false of all keys that
/// begin so.
pub(crate) fn ser_prefix(bucket: BucketId, key: &str, whole: bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(18 + key.len());
    out.extend_from_slice(&bucket.0.to_be_bytes());
    escape(&mut out, key, whole);
    out
}

pub(crate) fn deser_key(bytes: &[u8]) -> Result<(BucketId, String, Generation), DecodeError> {
    let mut from = Reader::new(bytes);
    let bucket = BucketId(from.u64_be()?);
    let key = unescape(&mut from)?;
    let generation = Generation(!from.u64_be()?);
    from.finish()?;
    Ok((bucket, key, generation))
}

/// Reads what a listing shows, and no more.
pub(crate) fn deser_past_head(bytes: &[u8]) -> Result<PastHead<'_>, DecodeError> {
    let mut from = Reader::new(bytes);
    only_version(&mut from, "noncurrent version", VERSION)?;
    if from.u8()? == KIND_ROW {
        let head = deser_head(from.rest())?;
        return Ok(PastHead::Version {
            modified_ms: head.modified_ms,
            took_its_place_ms: head.took_its_place_ms,
            size: head.size,
            etag: head.etag,
            numbered: head.numbered,
        });
    }
    match Past::deser_value(bytes)? {
        Past::Marker(marker) => Ok(PastHead::Marker(marker)),
        Past::Version(_) => Err(DecodeError::Invalid("noncurrent version")),
    }
}

impl Stored for DeleteMarker {
    fn encode(&self, out: &mut Writer) {
        out.varint(self.generation.0)
            .varint(self.modified_ms)
            .bool(self.numbered);
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            generation: Generation(from.varint()?),
            modified_ms: from.varint()?,
            numbered: from.bool()?,
        })
    }
}

impl Stored for Past {
    fn encode(&self, out: &mut Writer) {
        match self {
            Self::Version(row) => row.encode(out.u8(VERSION).u8(KIND_ROW)),
            Self::Marker(marker) => marker.encode(out.u8(VERSION).u8(KIND_MARKER)),
        }
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        only_version(from, "noncurrent version", VERSION)?;
        match from.u8()? {
            KIND_ROW => VersionRow::decode(from).map(|row| Self::Version(Box::new(row))),
            KIND_MARKER => DeleteMarker::decode(from).map(Self::Marker),
            _ => Err(DecodeError::Invalid("noncurrent version")),
        }
    }
}

/// A value that is a generation: of `NullVersions` and `NoncurrentUploads`.
pub(crate) fn ser_generation(generation: Generation) -> [u8; 8] {
    generation.0.to_be_bytes()
}

/// Reads what [`ser_generation`] wrote.
pub(crate) fn deser_generation(bytes: &[u8]) -> Result<Generation, DecodeError> {
    deser_u64_key(bytes).map(Generation)
}

/// Noncurrent versions up to here are judged by the bucket's present profile; there is no cursor when
/// all are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct NoncurrentCursor {
    /// The last one; none: no version is.
    pub(crate) after: Option<(String, Generation)>,
}

impl Stored for NoncurrentCursor {
    fn encode(&self, out: &mut Writer) {
        out.u8(VERSION);
        put_place(out, self.after.as_ref());
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        only_version(from, "noncurrent cursor version", VERSION)?;
        Ok(Self {
            after: get_place(from)?,
        })
    }
}

/// Appends where a walk through versions has come to.
pub(crate) fn put_place(out: &mut Writer, place: Option<&(String, Generation)>) {
    out.option(place, |out, (key, generation)| {
        out.str(key).varint(generation.0);
    });
}

/// Reads what [`put_place`] wrote.
pub(crate) fn get_place(
    from: &mut Reader<'_>,
) -> Result<Option<(String, Generation)>, DecodeError> {
    from.option(|from| Ok((from.str()?.to_owned(), Generation(from.varint()?))))
}
