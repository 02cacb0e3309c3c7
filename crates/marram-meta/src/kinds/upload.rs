//! `Uploads`: (bucket, key, upload) -> an upload that is under way.

use marram_types::codec::{DecodeError, Reader, Writer};
use marram_types::{BucketId, Profile, UploadId};

use super::escaped::{escape, unescape};
use super::object::{get_metadata, put_metadata};
use super::part::PartTotals;
use crate::stored::{Stored, get_profile, put_profile};

/// Version 2 ends with tags, version 3 with tags and a byte of its own. Uploads of the earlier ones are not
/// counted in their bucket's usage, to their end.
const VERSION: u8 = 3;
const TAGGED_VERSION: u8 = 2;
const UNTAGGED_VERSION: u8 = 1;

/// Ends the row of an upload that is counted.
const COUNTED: u8 = 1;

/// A multipart upload.
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
    /// The bucket's profile when it was created: the parts are judged by it.
    pub profile: Profile,
    /// A part was judged by another profile.
    pub mixed: bool,
    /// What its parts are together.
    pub totals: PartTotals,
    /// Its parts are counted in the bucket's usage.
    pub counted: bool,
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
        let version = match (self.counted, self.tags.is_empty()) {
            (true, _) => VERSION,
            (false, true) => UNTAGGED_VERSION,
            (false, false) => TAGGED_VERSION,
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
        if self.counted {
            out.u8(COUNTED);
        }
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let version = from.version("upload row version", VERSION)?;
        let mut row = Self {
            created_ms: from.varint()?,
            revision: from.varint()?,
            content_type: from.str()?.to_owned(),
            metadata: get_metadata(from)?,
            profile: get_profile(from)?,
            mixed: from.bool()?,
            totals: PartTotals::decode(from)?,
            tags: Vec::new(),
            counted: version == VERSION,
        };
        if version >= TAGGED_VERSION {
            row.tags = get_metadata(from)?;
        }
        if row.counted && from.u8()? != COUNTED {
            return Err(DecodeError::Invalid("upload row"));
        }
        Ok(row)
    }
}
