//! A put as it lies in its entry: strings and bytes are borrowed, so that applying one copies its
//! bytes once, into the rows.

use bytes::Bytes;
use marram_types::codec::{DecodeError, Reader, Writer};
use marram_types::{BucketId, Crc64Nvme, DataId, Generation, ObjectKey, Profile, VersionId};

use super::command::{
    NewBody, NewVersion, ObjectCommand, Precondition, TAG_PUT, TAG_PUT_ASKED, TAG_PUT_OWN,
};
use super::new_extent::{NewExtent, get_new_extents};
use crate::kinds::object::{get_metadata, skip_metadata};
use crate::stored::{get_profile, put_profile};

/// A precondition as it lies in its entry.
#[derive(Debug, Clone, Copy)]
pub(super) struct PreconditionRef<'a> {
    pub(super) if_generation_match: Option<Generation>,
    pub(super) if_generation_not_match: Option<Generation>,
    pub(super) if_etag_match: Option<&'a str>,
    pub(super) if_etag_none_match: Option<&'a str>,
}

/// The body of a put as it lies in its entry.
#[derive(Debug)]
pub(super) enum NewBodyRef<'a> {
    Inline { data: DataId, bytes: &'a [u8] },
    Extents(Vec<NewExtent>),
}

/// A put as it lies in its entry.
#[derive(Debug)]
pub(super) struct PutRef<'a> {
    pub(super) bucket: BucketId,
    pub(super) key: &'a str,
    pub(super) precondition: PreconditionRef<'a>,
    pub(super) version: VersionId,
    pub(super) size: u64,
    pub(super) crc64: u64,
    pub(super) etag: &'a str,
    pub(super) content_type: &'a str,
    /// The encoded list.
    pub(super) metadata: &'a [u8],
    /// Names and values together.
    pub(super) metadata_bytes: usize,
    /// The encoded list; empty where there are none.
    pub(super) tags: &'a [u8],
    pub(super) body: NewBodyRef<'a>,
    /// A digest of what the client asked, where its own bytes are not that.
    pub(super) told_asked: Option<u64>,
    /// The profile that it shall have, instead of the bucket's.
    pub(super) own: Option<Profile>,
}

pub(super) fn put_precondition(out: &mut Writer, precondition: &Precondition) {
    put_precondition_ref(out, &precondition.borrow());
}

fn put_precondition_ref(out: &mut Writer, precondition: &PreconditionRef<'_>) {
    let generation = |out: &mut Writer, generation: &Generation| {
        out.varint(generation.0);
    };
    out.option(precondition.if_generation_match.as_ref(), generation)
        .option(precondition.if_generation_not_match.as_ref(), generation);
    let (is, is_not) = (precondition.if_etag_match, precondition.if_etag_none_match);
    out.u8(u8::from(is.is_some()) * ETAG_IS + u8::from(is_not.is_some()) * ETAG_IS_NOT);
    for etag in [is, is_not].into_iter().flatten() {
        out.str(etag);
    }
}

/// Bits of the byte that says which tags follow. The first one is what a single option would have
/// written.
const ETAG_IS: u8 = 1;
const ETAG_IS_NOT: u8 = 2;

pub(super) fn get_precondition<'a>(
    from: &mut Reader<'a>,
) -> Result<PreconditionRef<'a>, DecodeError> {
    let if_generation_match = from.option(Reader::varint)?.map(Generation);
    let if_generation_not_match = from.option(Reader::varint)?.map(Generation);
    let tags = from.u8()?;
    if tags > ETAG_IS | ETAG_IS_NOT {
        return Err(DecodeError::Invalid("precondition"));
    }
    let mut tag = |bit| (tags & bit != 0).then(|| from.str()).transpose();
    Ok(PreconditionRef {
        if_generation_match,
        if_generation_not_match,
        if_etag_match: tag(ETAG_IS)?,
        if_etag_none_match: tag(ETAG_IS_NOT)?,
    })
}

impl Precondition {
    /// The same, borrowed.
    pub(super) fn borrow(&self) -> PreconditionRef<'_> {
        PreconditionRef {
            if_generation_match: self.if_generation_match,
            if_generation_not_match: self.if_generation_not_match,
            if_etag_match: self.if_etag_match.as_deref(),
            if_etag_none_match: self.if_etag_none_match.as_deref(),
        }
    }
}

impl PreconditionRef<'_> {
    pub(super) fn to_owned(self) -> Precondition {
        Precondition {
            if_generation_match: self.if_generation_match,
            if_generation_not_match: self.if_generation_not_match,
            if_etag_match: self.if_etag_match.map(str::to_owned),
            if_etag_none_match: self.if_etag_none_match.map(str::to_owned),
        }
    }

    /// Whether all parts hold of the present version, given as generation and `ETag`.
    pub(super) fn holds(&self, current: Option<(Generation, &str)>) -> bool {
        let generation = current.map_or(Generation(0), |(generation, _)| generation);
        let etag_is = |wanted: &str| current.is_some_and(|(_, etag)| etag_matches(wanted, etag));
        self.if_generation_match.is_none_or(|g| g == generation)
            && self.if_generation_not_match.is_none_or(|g| g != generation)
            && self.if_etag_match.is_none_or(etag_is)
            && self.if_etag_none_match.is_none_or(|tag| !etag_is(tag))
    }
}

/// Whether a condition's entity tag means a version with the tag `etag`: the same, or `*`.
#[must_use]
pub fn etag_matches(wanted: &str, etag: &str) -> bool {
    wanted == "*" || wanted == etag
}

impl<'a> PutRef<'a> {
    /// Reads a put after its tag.
    pub(super) fn decode(tag: u8, from: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let bucket = BucketId(from.u64_be()?);
        let key = from.str()?;
        let precondition = get_precondition(from)?;
        let version = VersionId(from.u128_be()?);
        let size = from.varint()?;
        let crc64 = from.u64_be()?;
        let etag = from.str()?;
        let content_type = from.str()?;
        let (metadata, metadata_bytes) = skip_metadata(from)?;
        let body = match from.u8()? {
            1 => NewBodyRef::Inline {
                data: DataId::decode(from)?,
                bytes: from.bytes()?,
            },
            2 => NewBodyRef::Extents(get_new_extents(from)?),
            _ => return Err(DecodeError::Invalid("body")),
        };
        let tags = if tag == TAG_PUT {
            &[]
        } else {
            skip_metadata(from)?.0
        };
        let told_asked = match tag {
            TAG_PUT_ASKED => Some(from.u64_be()?),
            TAG_PUT_OWN => from.option(Reader::u64_be)?,
            _ => None,
        };
        let own = match tag {
            TAG_PUT_OWN => Some(get_profile(from)?),
            _ => None,
        };
        Ok(Self {
            bucket,
            key,
            precondition,
            version,
            size,
            crc64,
            etag,
            content_type,
            metadata,
            metadata_bytes,
            tags,
            body,
            told_asked,
            own,
        })
    }

    /// A digest of what the client asked: nothing of it differs between attempts (rules.md 14).
    /// The `ETag` follows from size and checksum.
    pub(super) fn asked(&self) -> u64 {
        if let Some(asked) = self.told_asked {
            return asked;
        }
        let mut out = Writer::with_capacity(128 + self.key.len() + self.metadata.len());
        out.u8(TAG_PUT).u64_be(self.bucket.0).str(self.key);
        put_precondition_ref(&mut out, &self.precondition);
        out.varint(self.size)
            .u64_be(self.crc64)
            .str(self.content_type)
            .raw(self.metadata)
            .raw(self.tags);
        if let Some(own) = self.own {
            put_profile(out.u8(TAG_PUT_OWN), own);
        }
        Crc64Nvme::of(&out.finish())
    }

    /// The tags, copied out.
    pub(super) fn owned_tags(&self) -> Vec<(String, String)> {
        if self.tags.is_empty() {
            return Vec::new();
        }
        get_metadata(&mut Reader::new(self.tags)).expect("passed over when the put was read")
    }

    /// The user metadata, copied out.
    pub(super) fn owned_metadata(&self) -> Vec<(String, String)> {
        get_metadata(&mut Reader::new(self.metadata)).expect("passed over when the put was read")
    }

    /// The command with everything copied out of its entry.
    pub(super) fn to_command(&self) -> Result<ObjectCommand, DecodeError> {
        let body = match &self.body {
            NewBodyRef::Inline { data, bytes } => NewBody::Inline {
                data: *data,
                bytes: Bytes::copy_from_slice(bytes),
            },
            NewBodyRef::Extents(extents) => NewBody::Extents(extents.clone()),
        };
        Ok(ObjectCommand::Put {
            bucket: self.bucket,
            key: ObjectKey::new(self.key).map_err(|_| DecodeError::Invalid("object key"))?,
            content: NewVersion {
                version: self.version,
                size: self.size,
                crc64: self.crc64,
                etag: self.etag.to_owned(),
                content_type: self.content_type.to_owned(),
                metadata: self.owned_metadata(),
                tags: self.owned_tags(),
                body,
                asked: self.told_asked,
                own: self.own,
            },
            precondition: self.precondition.to_owned(),
        })
    }
}
