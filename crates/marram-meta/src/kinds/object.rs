//! `Objects`: (bucket, key) -> the current version's row.
//!
//! The fields that a listing shows come first, so that a page reads no further. Rows are written
//! from borrowed parts: a put copies each byte of its command once.

use marram_types::codec::{DecodeError, Reader, Writer};
use marram_types::{BucketId, DataId, Generation, Profile, UploadId, VersionId};

use super::extent::{Extent, get_extents, put_extents};
use super::part::{PartTally, PartsBody};
use crate::stored::{Stored, get_profile, put_profile};

/// Version 1 did not say whether an extent has another profile. Version 3 is that of numbered versions,
/// and ends with a byte of its own; null versions are written as version 2. Those two with tags, which
/// come before that byte, are 5 and 4. Versions of which there is more to say, behind the entity tag a byte of
/// flags and what they announce, are 7 and 6; these always have the list of tags.
const VERSION: u8 = FLAGGED_NUMBERED_VERSION;
const NULL_VERSION: u8 = 2;
const NUMBERED_VERSION: u8 = 3;
const TAGGED_NULL_VERSION: u8 = 4;
const TAGGED_NUMBERED_VERSION: u8 = 5;
const FLAGGED_NULL_VERSION: u8 = 6;
const FLAGGED_NUMBERED_VERSION: u8 = 7;

/// What is said of it was changed since it took its place; when that was follows.
const DESCRIBED: u8 = 1;
/// It has a profile of its own, which follows, behind what the other flags announce.
const OWN_PROFILE: u8 = 2;

/// Ends a numbered version's row.
const NUMBERED: u8 = 1;

fn is_numbered(version: u8) -> bool {
    matches!(
        version,
        NUMBERED_VERSION | TAGGED_NUMBERED_VERSION | FLAGGED_NUMBERED_VERSION
    )
}

/// What the flags of a row announce.
struct Flagged {
    /// When the version took its place, where it was described since.
    placed_ms: Option<u64>,
    /// Its own profile, where it has one.
    own: Option<Profile>,
}

/// What follows the entity tag.
fn get_flagged(version: u8, from: &mut Reader<'_>) -> Result<Flagged, DecodeError> {
    let flags = match version {
        FLAGGED_NULL_VERSION.. => from.u8()?,
        _ => 0,
    };
    if flags > DESCRIBED | OWN_PROFILE {
        return Err(DecodeError::Invalid("version row"));
    }
    let placed_ms = (flags & DESCRIBED != 0).then(|| from.varint());
    let placed_ms = placed_ms.transpose()?;
    let own = (flags & OWN_PROFILE != 0).then(|| get_profile(from));
    Ok(Flagged {
        placed_ms,
        own: own.transpose()?,
    })
}

/// Where a version's bytes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// In the group's own state, under this data id.
    Inline {
        /// The key of the bytes.
        data: DataId,
    },
    /// On drives.
    Extents(Vec<Extent>),
    /// On drives, in parts of an upload, which have rows of their own. Only stored rows say so:
    /// answers to queries always hold [`Self::Extents`].
    Parts(PartsBody),
    /// On drives, with the extents in rows of their own. Only stored rows say so: answers to
    /// queries always hold [`Self::Extents`].
    Spilled {
        /// How many extents there are.
        extents: u32,
    },
}

/// The current version of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionRow {
    /// Tells this version from every other, those of retries included.
    pub version: VersionId,
    /// The index that committed it, plus the group's offset (rules.md 15).
    pub generation: Generation,
    /// Leader time of the commit, or of the last change of what is said of it.
    pub modified_ms: u64,
    /// Leader time of the commit, where what is said of it was changed since: from then on the version before it
    /// is not current.
    pub placed_ms: Option<u64>,
    /// Bytes.
    pub size: u64,
    /// CRC64/NVME of all bytes.
    pub crc64: u64,
    /// Fixed at the commit, quotes included (rules.md 15).
    pub etag: String,
    /// What the writer said.
    pub content_type: String,
    /// User metadata, in the writer's order.
    pub metadata: Vec<(String, String)>,
    /// Tags, in the order of their keys.
    pub tags: Vec<(String, String)>,
    /// Where the bytes are.
    pub body: Body,
    /// The profile that the bucket asks for, for an object of this size: at the commit, and from a
    /// change of it on the new one. Where the version has a profile of its own, that for this size.
    pub nominal: Profile,
    /// The profile that its writer asked for, if the bucket allows it: a change of the bucket's changes
    /// nothing of it.
    pub own: Option<Profile>,
    /// An extent has fewer shards than `nominal`.
    pub narrowed: bool,
    /// An extent has fewer parity shards than `nominal`.
    pub under_protected: bool,
    /// An extent has another profile than `nominal`.
    pub off_profile: bool,
    /// It was written while its bucket kept versions: only a deletion by its generation removes it.
    /// Else it is the key's null version, which what is written without versioning replaces.
    pub numbered: bool,
}

impl VersionRow {
    /// Since when the version that it replaced is not current.
    pub(crate) fn took_its_place_ms(&self) -> u64 {
        self.placed_ms.unwrap_or(self.modified_ms)
    }

    /// Compares the extents with what the row should have.
    pub(crate) fn judge(&mut self, extents: &[Extent]) {
        let nominal = self.nominal;
        self.narrowed = extents.iter().any(|e| e.is_narrower_than(nominal));
        self.under_protected = extents.iter().any(|e| e.profile.m() < nominal.m());
        self.off_profile = extents.iter().any(|e| e.profile != nominal);
    }

    /// Whether its bytes are parts of this upload.
    pub(crate) fn is_of(&self, upload: UploadId) -> bool {
        matches!(&self.body, Body::Parts(body) if body.upload == upload)
    }

    /// Says what its parts together have that it should not have.
    pub(crate) fn judge_parts(&mut self, tally: PartTally) {
        self.narrowed = tally.narrowed > 0;
        self.under_protected = tally.under_protected > 0;
        self.off_profile = tally.off_profile > 0;
    }
}

/// A row's parts where they lie, before it is written.
pub(crate) struct RowRef<'a> {
    pub(crate) version: VersionId,
    pub(crate) generation: Generation,
    pub(crate) modified_ms: u64,
    pub(crate) placed_ms: Option<u64>,
    pub(crate) size: u64,
    pub(crate) crc64: u64,
    pub(crate) etag: &'a str,
    pub(crate) content_type: &'a str,
    /// The encoded list, as commands carry it too.
    pub(crate) metadata: &'a [u8],
    /// The encoded list; empty where there are none.
    pub(crate) tags: &'a [u8],
    pub(crate) body: BodyRef<'a>,
    pub(crate) nominal: Profile,
    pub(crate) own: Option<Profile>,
    pub(crate) narrowed: bool,
    pub(crate) under_protected: bool,
    pub(crate) off_profile: bool,
    pub(crate) numbered: bool,
}

/// A row's body where it lies.
pub(crate) enum BodyRef<'a> {
    Parts(&'a PartsBody),
    Inline { data: DataId },
    Extents(&'a [Extent]),
    Spilled { extents: u32 },
}

/// What a listing shows of a row.
pub(crate) struct RowHead<'a> {
    pub(crate) generation: Generation,
    pub(crate) modified_ms: u64,
    pub(crate) size: u64,
    pub(crate) etag: &'a str,
    pub(crate) numbered: bool,
    /// Since when the version that it replaced is not current.
    pub(crate) took_its_place_ms: u64,
}

/// Where a row's bytes are, without the extents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyKind {
    Inline(DataId),
    Extents,
    Spilled,
    Parts,
}

/// Appends user metadata.
pub(crate) fn put_metadata(out: &mut Writer, metadata: &[(String, String)]) {
    out.list(metadata, |out, (name, value)| {
        out.str(name).str(value);
    });
}

/// Reads user metadata.
pub(crate) fn get_metadata(from: &mut Reader<'_>) -> Result<Vec<(String, String)>, DecodeError> {
    from.list(|from| Ok((from.str()?.to_owned(), from.str()?.to_owned())))
}

/// The encoding of tags; empty where there are none.
pub(crate) fn tag_bytes(tags: &[(String, String)]) -> Vec<u8> {
    let mut out = Writer::new();
    if !tags.is_empty() {
        put_metadata(&mut out, tags);
    }
    out.finish()
}

/// Passes over user metadata, checks it, and returns its encoding with the bytes of all names and
/// values together.
pub(crate) fn skip_metadata<'a>(from: &mut Reader<'a>) -> Result<(&'a [u8], usize), DecodeError> {
    let start = from.rest();
    let mut bytes = 0;
    for _ in 0..from.count()? {
        bytes += from.str()?.len() + from.str()?.len();
    }
    Ok((&start[..start.len() - from.rest().len()], bytes))
}

pub(crate) fn ser_key(bucket: BucketId, key: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(8 + key.len());
    out.extend_from_slice(&bucket.0.to_be_bytes());
    out.extend_from_slice(key.as_bytes());
    out
}

pub(crate) fn deser_key(key: &[u8]) -> Result<(BucketId, &str), DecodeError> {
    let mut from = Reader::new(key);
    let bucket = BucketId(from.u64_be()?);
    let key = std::str::from_utf8(from.rest()).map_err(|_| DecodeError::Invalid("object key"))?;
    Ok((bucket, key))
}

/// Reads what a listing shows, and no more.
pub(crate) fn deser_head(bytes: &[u8]) -> Result<RowHead<'_>, DecodeError> {
    let mut from = Reader::new(bytes);
    let version = from.version("version row version", VERSION)?;
    let generation = Generation(from.varint()?);
    let (modified_ms, size) = (from.varint()?, from.varint()?);
    let etag = from.str()?;
    Ok(RowHead {
        generation,
        modified_ms,
        size,
        etag,
        numbered: is_numbered(version),
        took_its_place_ms: get_flagged(version, &mut from)?
            .placed_ms
            .unwrap_or(modified_ms),
    })
}

/// Reads where a row's bytes are, passing over the rest.
pub(crate) fn deser_body_kind(bytes: &[u8]) -> Result<BodyKind, DecodeError> {
    /// Version id, checksum, profile and two flags.
    const FIXED: usize = 16 + 8 + 2 + 2;
    let mut from = Reader::new(bytes);
    let version = from.version("version row version", VERSION)?;
    for _ in 0..3 {
        from.varint()?;
    }
    from.str()?;
    get_flagged(version, &mut from)?;
    from.raw(FIXED + usize::from(version > 1))?;
    match from.u8()? {
        1 => DataId::decode(&mut from).map(BodyKind::Inline),
        2 => Ok(BodyKind::Extents),
        3 => Ok(BodyKind::Spilled),
        4 => Ok(BodyKind::Parts),
        _ => Err(DecodeError::Invalid("body")),
    }
}

impl RowRef<'_> {
    pub(crate) fn encode(&self, out: &mut Writer) {
        let flags = u8::from(self.placed_ms.is_some()) * DESCRIBED
            + u8::from(self.own.is_some()) * OWN_PROFILE;
        let version = match (flags, self.numbered, self.tags.is_empty()) {
            (0, false, true) => NULL_VERSION,
            (0, true, true) => NUMBERED_VERSION,
            (0, false, false) => TAGGED_NULL_VERSION,
            (0, true, false) => TAGGED_NUMBERED_VERSION,
            (_, false, _) => FLAGGED_NULL_VERSION,
            (_, true, _) => FLAGGED_NUMBERED_VERSION,
        };
        out.u8(version)
            .varint(self.generation.0)
            .varint(self.modified_ms)
            .varint(self.size)
            .str(self.etag);
        if flags != 0 {
            out.u8(flags);
        }
        if let Some(placed_ms) = self.placed_ms {
            out.varint(placed_ms);
        }
        if let Some(own) = self.own {
            put_profile(out, own);
        }
        out.u128_be(self.version.0).u64_be(self.crc64);
        put_profile(out, self.nominal);
        out.bool(self.narrowed)
            .bool(self.under_protected)
            .bool(self.off_profile);
        match self.body {
            BodyRef::Inline { data } => {
                out.u8(1);
                data.encode(out);
            }
            BodyRef::Extents(extents) => {
                out.u8(2);
                put_extents(out, extents);
            }
            BodyRef::Spilled { extents } => {
                out.u8(3).varint(u64::from(extents));
            }
            BodyRef::Parts(parts) => parts.encode(out.u8(4)),
        }
        out.str(self.content_type).raw(self.metadata);
        if self.tags.is_empty() && version >= TAGGED_NULL_VERSION {
            put_metadata(out, &[]);
        }
        out.raw(self.tags);
        if self.numbered {
            out.u8(NUMBERED);
        }
    }

    pub(crate) fn ser_value(&self) -> Vec<u8> {
        let mut out = Writer::with_capacity(192 + self.metadata.len() + self.tags.len());
        self.encode(&mut out);
        out.finish()
    }
}

impl Stored for VersionRow {
    fn encode(&self, out: &mut Writer) {
        let mut metadata = Writer::new();
        put_metadata(&mut metadata, &self.metadata);
        let tags = tag_bytes(&self.tags);
        let body = match &self.body {
            Body::Inline { data } => BodyRef::Inline { data: *data },
            Body::Extents(extents) => BodyRef::Extents(extents),
            Body::Spilled { extents } => BodyRef::Spilled { extents: *extents },
            Body::Parts(parts) => BodyRef::Parts(parts),
        };
        let row = RowRef {
            version: self.version,
            generation: self.generation,
            modified_ms: self.modified_ms,
            placed_ms: self.placed_ms,
            size: self.size,
            crc64: self.crc64,
            etag: &self.etag,
            content_type: &self.content_type,
            metadata: metadata.as_slice(),
            tags: &tags,
            body,
            nominal: self.nominal,
            own: self.own,
            narrowed: self.narrowed,
            under_protected: self.under_protected,
            off_profile: self.off_profile,
            numbered: self.numbered,
        };
        row.encode(out);
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let version = from.version("version row version", VERSION)?;
        let generation = Generation(from.varint()?);
        let modified_ms = from.varint()?;
        let size = from.varint()?;
        let etag = from.str()?.to_owned();
        let Flagged { placed_ms, own } = get_flagged(version, from)?;
        let id = VersionId(from.u128_be()?);
        let crc64 = from.u64_be()?;
        let nominal = get_profile(from)?;
        let (narrowed, under_protected) = (from.bool()?, from.bool()?);
        let off_profile = version > 1 && from.bool()?;
        let body = match from.u8()? {
            1 => Body::Inline {
                data: DataId::decode(from)?,
            },
            2 => Body::Extents(get_extents(from)?),
            3 => Body::Spilled {
                extents: u32::try_from(from.varint()?)
                    .map_err(|_| DecodeError::Invalid("extent count"))?,
            },
            4 => Body::Parts(PartsBody::decode(from)?),
            _ => return Err(DecodeError::Invalid("body")),
        };
        let content_type = from.str()?.to_owned();
        let metadata = get_metadata(from)?;
        let tags = if version >= TAGGED_NULL_VERSION {
            get_metadata(from)?
        } else {
            Vec::new()
        };
        if is_numbered(version) && from.u8()? != NUMBERED {
            return Err(DecodeError::Invalid("version row"));
        }
        Ok(Self {
            version: id,
            generation,
            modified_ms,
            placed_ms,
            size,
            crc64,
            etag,
            content_type,
            metadata,
            tags,
            body,
            nominal,
            own,
            narrowed,
            under_protected,
            off_profile,
            numbered: is_numbered(version),
        })
    }
}
