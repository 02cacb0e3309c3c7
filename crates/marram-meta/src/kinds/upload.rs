//! `Uploads`: (bucket, key, upload) -> an upload that is under way.

use marram_types::codec::{DecodeError, Reader, Writer};
use marram_types::{BucketId, Crc32c, Crc64Nvme, Profile, UploadId};

use super::escaped::{escape, unescape};
use super::object::{get_metadata, put_metadata};
use super::part::PartTotals;
use crate::stored::{Stored, get_profile, put_profile};

/// Version 2 ends with tags, version 3 with tags and a byte of its own, version 4 with the state of a stream
/// behind that byte. Uploads of the first two are not counted in their bucket's usage, to their end. Version 5
/// is that of uploads with a profile of their own, of parts or of one stream, which ends with that.
const OWN_VERSION: u8 = 5;
const STREAM_VERSION: u8 = 4;
const VERSION: u8 = 3;
const TAGGED_VERSION: u8 = 2;
const UNTAGGED_VERSION: u8 = 1;

/// Ends the row of an upload that is counted.
const COUNTED: u8 = 1;

/// What is known of an upload whose bytes come in one stream, in their order (rules.md 33).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamState {
    /// Who may write on: the index of the entry that the last writer began with; 0 before the first one.
    pub epoch: u64,
    /// CRC64/NVME of all bytes that are recorded.
    pub crc64: u64,
    /// CRC32C of them.
    pub crc32c: u32,
}

/// An upload that is under way: of parts, or of one stream whose parts are its runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadRow {
    /// Leader time of its creation.
    pub created_ms: u64,
    /// The index that last changed its parts: who completes it names the index that it has seen.
    pub revision: u64,
    /// What the object will have.
    pub content_type: String,
    /// User metadata, in the writer's order.
    pub metadata: Vec<(String, String)>,
    /// Tags, in the order of their keys.
    pub tags: Vec<(String, String)>,
    /// The bucket's profile when it was created, or its own: the parts are judged by it.
    pub profile: Profile,
    /// The profile that its creator asked for, if the bucket allowed it then.
    pub own: Option<Profile>,
    /// A part was judged by another profile.
    pub mixed: bool,
    /// What its parts are together.
    pub totals: PartTotals,
    /// Its parts are counted in the bucket's usage.
    pub counted: bool,
    /// Its bytes come in one stream, and this is its state; none of a multipart upload.
    pub stream: Option<StreamState>,
}

impl StreamState {
    /// Before the first byte, and before the first writer.
    #[must_use]
    pub(crate) fn new() -> Self {
        Self {
            epoch: 0,
            crc64: Crc64Nvme::default().value(),
            crc32c: Crc32c::default().value(),
        }
    }
}

impl Stored for StreamState {
    fn encode(&self, out: &mut Writer) {
        out.varint(self.epoch)
            .u64_be(self.crc64)
            .u32_be(self.crc32c);
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            epoch: from.varint()?,
            crc64: from.u64_be()?,
            crc32c: from.u32_be()?,
        })
    }
}

impl UploadRow {
    /// The bytes that the bucket's usage counts of it, of so many.
    #[must_use]
    pub(crate) fn counts(&self, bytes: u64) -> u64 {
        if self.counted { bytes } else { 0 }
    }
}

pub(crate) fn ser_key(bucket: BucketId, key: &str, upload: UploadId) -> Vec<u8> {
    let mut out = Vec::with_capacity(26 + key.len());
    out.extend_from_slice(&bucket.0.to_be_bytes());
    escape(&mut out, key, true);
    out.extend_from_slice(&upload.0.to_be_bytes());
    out
}

/// What the table's keys of a bucket begin with, for object keys with this prefix.
pub(crate) fn ser_prefix(bucket: BucketId, prefix: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(8 + prefix.len());
    out.extend_from_slice(&bucket.0.to_be_bytes());
    escape(&mut out, prefix, false);
    out
}

pub(crate) fn deser_key(bytes: &[u8]) -> Result<(BucketId, String, UploadId), DecodeError> {
    let mut from = Reader::new(bytes);
    let bucket = BucketId(from.u64_be()?);
    let key = unescape(&mut from)?;
    let upload = UploadId(from.u128_be()?);
    from.finish()?;
    Ok((bucket, key, upload))
}

impl Stored for UploadRow {
    fn encode(&self, out: &mut Writer) {
        let version = match (&self.stream, self.counted, self.tags.is_empty()) {
            _ if self.own.is_some() => OWN_VERSION,
            (Some(_), ..) => STREAM_VERSION,
            (None, true, _) => VERSION,
            (None, false, true) => UNTAGGED_VERSION,
            (None, false, false) => TAGGED_VERSION,
        };
        out.u8(version)
            .varint(self.created_ms)
            .varint(self.revision)
            .str(&self.content_type);
        put_metadata(out, &self.metadata);
        put_profile(out, self.profile);
        self.totals.encode(out.bool(self.mixed));
        if version >= TAGGED_VERSION {
            put_metadata(out, &self.tags);
        }
        if version >= VERSION {
            out.u8(COUNTED);
        }
        match (&self.stream, self.own) {
            (stream, Some(own)) => {
                out.option(stream.as_ref(), |out, stream| stream.encode(out));
                put_profile(out, own);
            }
            (Some(stream), None) => stream.encode(out),
            (None, None) => {}
        }
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let version = from.version("upload row version", OWN_VERSION)?;
        let mut row = Self {
            created_ms: from.varint()?,
            revision: from.varint()?,
            content_type: from.str()?.to_owned(),
            metadata: get_metadata(from)?,
            profile: get_profile(from)?,
            own: None,
            mixed: from.bool()?,
            totals: PartTotals::decode(from)?,
            tags: Vec::new(),
            counted: version >= VERSION,
            stream: None,
        };
        if version >= TAGGED_VERSION {
            row.tags = get_metadata(from)?;
        }
        if row.counted && from.u8()? != COUNTED {
            return Err(DecodeError::Invalid("upload row"));
        }
        if version == STREAM_VERSION {
            row.stream = Some(StreamState::decode(from)?);
        } else if version == OWN_VERSION {
            row.stream = from.option(StreamState::decode)?;
            row.own = Some(get_profile(from)?);
        }
        Ok(row)
    }
}
