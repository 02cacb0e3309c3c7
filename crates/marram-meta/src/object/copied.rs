//! What a copy became. Its bytes came from a source that may be another one at the next attempt, so the outcome
//! itself says what was committed (rules.md 14, decision 0064).

use marram_types::codec::{DecodeError, Reader, Writer};
use marram_types::{Generation, Profile, VersionId};

use crate::kinds::object::{get_metadata, put_metadata};
use crate::stored::{Stored, get_profile, put_profile};

/// A version that was committed by a put that says what was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopiedVersion {
    /// The version of the attempt that committed it.
    pub version: VersionId,
    /// Its generation.
    pub generation: Generation,
    /// Leader time of the commit.
    pub modified_ms: u64,
    /// Bytes.
    pub size: u64,
    /// CRC64/NVME of all bytes.
    pub crc64: u64,
    /// Quotes included.
    pub etag: String,
    /// The media type.
    pub content_type: String,
    /// User metadata.
    pub metadata: Vec<(String, String)>,
    /// Tags, in the order of their keys.
    pub tags: Vec<(String, String)>,
    /// The profiles of its extents, each once, in the order of the bytes; none of one whose bytes are in the
    /// metadata.
    pub profiles: Vec<Profile>,
    /// An extent has fewer parity shards than its bucket asks for.
    pub under_protected: bool,
}

impl Stored for CopiedVersion {
    fn encode(&self, out: &mut Writer) {
        out.u128_be(self.version.0)
            .varint(self.generation.0)
            .varint(self.modified_ms)
            .varint(self.size)
            .u64_be(self.crc64)
            .str(&self.etag)
            .str(&self.content_type);
        put_metadata(out, &self.metadata);
        put_metadata(out, &self.tags);
        out.list(&self.profiles, |out, profile| put_profile(out, *profile))
            .bool(self.under_protected);
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            version: VersionId(from.u128_be()?),
            generation: Generation(from.varint()?),
            modified_ms: from.varint()?,
            size: from.varint()?,
            crc64: from.u64_be()?,
            etag: from.str()?.to_owned(),
            content_type: from.str()?.to_owned(),
            metadata: get_metadata(from)?,
            tags: get_metadata(from)?,
            profiles: from.list(get_profile)?,
            under_protected: from.bool()?,
        })
    }
}
