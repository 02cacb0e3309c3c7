//! What an object group can be told of multipart uploads.

use marram_types::codec::{DecodeError, Reader, Writer};
use marram_types::{BucketId, Crc64Nvme, ObjectKey, Profile, UploadId, VersionId};

use super::command::{Precondition, get_key};
use super::new_extent::{NewExtent, get_new_extents, put_new_extents};
use super::new_run::NewRun;
use super::put_ref::{get_precondition, put_precondition};
use crate::kinds::object::{get_metadata, put_metadata, tag_bytes};
use crate::kinds::part::{PartRanges, PartSums};
use crate::stored::{Stored, get_profile, put_profile};

const TAG_CREATE: u8 = 170;
pub(super) const TAG_PART: u8 = 171;
const TAG_COMPLETE: u8 = 172;
const TAG_ABORT: u8 = 173;
const TAG_DROP: u8 = 174;
/// A creation of an upload that has tags, which come last.
const TAG_CREATE_TAGGED: u8 = 178;
/// The same of a stream.
const TAG_CREATE_STREAM: u8 = 206;
const TAG_OPEN: u8 = 207;
/// A creation with a profile of its own: as one with tags, then whether it is a stream, and the profile.
const TAG_CREATE_OWN: u8 = 201;
pub(super) const TAG_RUN: u8 = 208;

/// An upload, by the object that it is to become.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadName {
    /// The bucket.
    pub bucket: BucketId,
    /// The key.
    pub key: ObjectKey,
    /// The upload; of a creation: what it will be, fresh for every attempt.
    pub upload: UploadId,
}

/// A part to be committed, every shard of it durable (rules.md 18).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewPart {
    /// Its number, 1 to 10,000.
    pub part: u16,
    /// Bytes.
    pub size: u64,
    /// CRC64/NVME of them.
    pub crc64: u64,
    /// Its entity tag, quotes included.
    pub etag: String,
    /// Other checksums that the writer told or asked for.
    pub sums: PartSums,
    /// Where the bytes are; none of an empty part.
    pub extents: Vec<NewExtent>,
}

/// A version that is made of parts. What it names of them is what its sender saw at `revision`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Completion {
    /// Fresh for every attempt (rules.md 14).
    pub version: VersionId,
    /// The index that changed the parts last, as the sender saw them.
    pub revision: u64,
    /// The parts that the version has.
    pub parts: PartRanges,
    /// Their bytes together.
    pub size: u64,
    /// CRC64/NVME of all bytes.
    pub crc64: u64,
    /// Quotes included.
    pub etag: String,
    /// A digest of what the client asked, the same on all attempts.
    pub asked: u64,
}

/// A command about multipart uploads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UploadCommand {
    /// Begins an upload. Needs a request id.
    Create {
        /// The object, and the upload's id.
        name: UploadName,
        /// What the object will have.
        content_type: String,
        /// User metadata.
        metadata: Vec<(String, String)>,
        /// Tags, in the order of their keys.
        tags: Vec<(String, String)>,
        /// Its bytes will come in one stream instead of parts (rules.md 33).
        stream: bool,
        /// The profile that the object shall have, instead of the bucket's.
        own: Option<Profile>,
    },
    /// Begins a writer's epoch of a stream: what earlier writers send is refused from now on. Needs a
    /// request id.
    Open {
        /// The upload.
        name: UploadName,
        /// Where the writer goes on: what is recorded must end there.
        offset: u64,
    },
    /// Records the next bytes of a stream. Needs a request id.
    Run {
        /// The upload.
        name: UploadName,
        /// The bytes.
        content: NewRun,
    },
    /// Commits a part; one of the same number is displaced. Needs a request id.
    Part {
        /// The upload.
        name: UploadName,
        /// The part.
        content: NewPart,
    },
    /// Makes the parts the object's current version. They stay where they are, so no floor is asked
    /// (rules.md 32). Needs a request id.
    Complete {
        /// The upload.
        name: UploadName,
        /// The version.
        content: Completion,
        /// What must hold.
        precondition: Precondition,
    },
    /// Ends an upload without an object. Needs a request id.
    Abort(UploadName),
    /// Takes the next parts that nothing wants out of use.
    Drop,
}

impl UploadCommand {
    /// Users' mutations must carry a request id.
    pub(super) fn is_users(&self) -> bool {
        !matches!(self, Self::Drop)
    }

    /// A digest of what the client asked; none where the whole command is that (rules.md 14).
    pub(super) fn asked(&self) -> Option<u64> {
        let mut out = Writer::with_capacity(256);
        let name = |out: &mut Writer, tag: u8, name: &UploadName| {
            out.u8(tag).u64_be(name.bucket.0).str(name.key.as_str());
        };
        match self {
            Self::Create {
                name: of,
                content_type,
                metadata,
                tags,
                stream,
                own,
            } => {
                let tag = if *stream {
                    TAG_CREATE_STREAM
                } else {
                    TAG_CREATE
                };
                name(&mut out, tag, of);
                put_metadata(out.str(content_type), metadata);
                out.raw(&tag_bytes(tags));
                if let Some(own) = own {
                    put_profile(out.u8(TAG_CREATE_OWN), *own);
                }
            }
            Self::Part { name: of, content } => {
                name(&mut out, TAG_PART, of);
                out.u128_be(of.upload.0)
                    .u16_be(content.part)
                    .varint(content.size)
                    .u64_be(content.crc64);
            }
            Self::Complete {
                name: of,
                content,
                precondition,
            } => {
                name(&mut out, TAG_COMPLETE, of);
                put_precondition(out.u128_be(of.upload.0), precondition);
                out.u64_be(content.asked);
            }
            Self::Run { name: of, content } => {
                name(&mut out, TAG_RUN, of);
                out.u128_be(of.upload.0);
                content.put_asked(&mut out);
            }
            Self::Open { .. } | Self::Abort(_) | Self::Drop => return None,
        }
        Some(Crc64Nvme::of(&out.finish()))
    }

    /// The data that the command would commit.
    pub(super) fn extents(&self) -> &[NewExtent] {
        match self {
            Self::Part { content, .. } => &content.extents,
            Self::Run { content, .. } => &content.extents,
            _ => &[],
        }
    }

    /// Whether it gives an object tags.
    pub(super) fn has_tags(&self) -> bool {
        matches!(self, Self::Create { tags, .. } if !tags.is_empty())
    }

    /// Whether it gives an object a profile of its own.
    pub(super) fn has_own_profile(&self) -> bool {
        matches!(self, Self::Create { own: Some(_), .. })
    }

    /// Whether it is about streams.
    pub(super) fn is_of_stream(&self) -> bool {
        match self {
            Self::Create { stream, .. } => *stream,
            Self::Open { .. } | Self::Run { .. } => true,
            _ => false,
        }
    }

    /// Whether a tag is that of one of these.
    pub(super) fn has_tag(tag: u8) -> bool {
        (TAG_CREATE..=TAG_DROP).contains(&tag)
            || tag == TAG_CREATE_TAGGED
            || tag == TAG_CREATE_OWN
            || (TAG_CREATE_STREAM..=TAG_RUN).contains(&tag)
    }

    /// Reads a command after its tag.
    pub(super) fn decode(tag: u8, from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match tag {
            TAG_CREATE | TAG_CREATE_TAGGED | TAG_CREATE_STREAM => Self::Create {
                name: UploadName::decode(from)?,
                content_type: from.str()?.to_owned(),
                metadata: get_metadata(from)?,
                tags: if tag == TAG_CREATE {
                    Vec::new()
                } else {
                    get_metadata(from)?
                },
                stream: tag == TAG_CREATE_STREAM,
                own: None,
            },
            TAG_CREATE_OWN => Self::Create {
                name: UploadName::decode(from)?,
                content_type: from.str()?.to_owned(),
                metadata: get_metadata(from)?,
                tags: get_metadata(from)?,
                stream: from.bool()?,
                own: Some(get_profile(from)?),
            },
            TAG_OPEN => Self::Open {
                name: UploadName::decode(from)?,
                offset: from.varint()?,
            },
            TAG_RUN => Self::Run {
                name: UploadName::decode(from)?,
                content: NewRun::decode(from)?,
            },
            TAG_PART => Self::Part {
                name: UploadName::decode(from)?,
                content: NewPart::decode(from)?,
            },
            TAG_COMPLETE => Self::Complete {
                name: UploadName::decode(from)?,
                content: Completion::decode(from)?,
                precondition: get_precondition(from)?.to_owned(),
            },
            TAG_ABORT => Self::Abort(UploadName::decode(from)?),
            _ => Self::Drop,
        })
    }

    pub(super) fn encode(&self, out: &mut Writer) {
        match self {
            Self::Create {
                name,
                content_type,
                metadata,
                tags,
                stream,
                own: Some(own),
            } => {
                name.encode(out.u8(TAG_CREATE_OWN));
                put_metadata(out.str(content_type), metadata);
                put_metadata(out, tags);
                put_profile(out.bool(*stream), *own);
            }
            Self::Create {
                name,
                content_type,
                metadata,
                tags,
                stream,
                own: None,
            } => {
                name.encode(out.u8(match (stream, tags.is_empty()) {
                    (true, _) => TAG_CREATE_STREAM,
                    (false, true) => TAG_CREATE,
                    (false, false) => TAG_CREATE_TAGGED,
                }));
                put_metadata(out.str(content_type), metadata);
                if *stream {
                    put_metadata(out, tags);
                } else {
                    out.raw(&tag_bytes(tags));
                }
            }
            Self::Open { name, offset } => {
                name.encode(out.u8(TAG_OPEN));
                out.varint(*offset);
            }
            Self::Run { name, content } => {
                name.encode(out.u8(TAG_RUN));
                content.encode(out);
            }
            Self::Part { name, content } => {
                name.encode(out.u8(TAG_PART));
                content.encode(out);
            }
            Self::Complete {
                name,
                content,
                precondition,
            } => {
                name.encode(out.u8(TAG_COMPLETE));
                content.encode(out);
                put_precondition(out, precondition);
            }
            Self::Abort(name) => name.encode(out.u8(TAG_ABORT)),
            Self::Drop => {
                out.u8(TAG_DROP);
            }
        }
    }
}

impl Stored for UploadName {
    fn encode(&self, out: &mut Writer) {
        out.u64_be(self.bucket.0)
            .str(self.key.as_str())
            .u128_be(self.upload.0);
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            bucket: BucketId(from.u64_be()?),
            key: get_key(from)?,
            upload: UploadId(from.u128_be()?),
        })
    }
}

impl Stored for NewPart {
    fn encode(&self, out: &mut Writer) {
        out.u16_be(self.part)
            .varint(self.size)
            .u64_be(self.crc64)
            .str(&self.etag);
        self.sums.encode(out);
        put_new_extents(out, &self.extents);
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            part: from.u16_be()?,
            size: from.varint()?,
            crc64: from.u64_be()?,
            etag: from.str()?.to_owned(),
            sums: PartSums::decode(from)?,
            extents: get_new_extents(from)?,
        })
    }
}

impl Stored for Completion {
    fn encode(&self, out: &mut Writer) {
        self.parts
            .encode(out.u128_be(self.version.0).varint(self.revision));
        out.varint(self.size)
            .u64_be(self.crc64)
            .str(&self.etag)
            .u64_be(self.asked);
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            version: VersionId(from.u128_be()?),
            revision: from.varint()?,
            parts: PartRanges::decode(from)?,
            size: from.varint()?,
            crc64: from.u64_be()?,
            etag: from.str()?.to_owned(),
            asked: from.u64_be()?,
        })
    }
}
