//! What an object group can be told of what is said of a version beside its bytes (decision 0048).

use marram_types::codec::{DecodeError, Reader, Writer};
use marram_types::{BucketId, Generation, ObjectKey};

use super::command::{Precondition, get_key};
use super::put_ref::{get_precondition, put_precondition};
use crate::kinds::object::{get_metadata, put_metadata};
use crate::refusal::unknown;

const TAG_SET_TAGS: u8 = 179;
const TAG_DESCRIBE: u8 = 180;

/// Changes what is said of a version; its bytes and the references to them stay. Needs a request id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AnnotateCommand {
    /// Gives a version other tags. It stays the version that it is, generation and time included.
    SetTags {
        /// The bucket.
        bucket: BucketId,
        /// The key.
        key: ObjectKey,
        /// Of the version; the current one where absent.
        generation: Option<Generation>,
        /// All of its tags from now on, in the order of their keys.
        tags: Vec<(String, String)>,
        /// What must hold of the current version.
        precondition: Precondition,
    },
    /// Gives the current version another media type or metadata, and with them a new generation.
    Describe {
        /// The bucket.
        bucket: BucketId,
        /// The key.
        key: ObjectKey,
        /// The media type from now on; absent: as it is.
        content_type: Option<String>,
        /// All of its metadata from now on; absent: as it is.
        metadata: Option<Vec<(String, String)>>,
        /// What must hold of the current version.
        precondition: Precondition,
    },
}

impl AnnotateCommand {
    pub(super) fn has_tag(tag: u8) -> bool {
        matches!(tag, TAG_SET_TAGS | TAG_DESCRIBE)
    }

    pub(super) fn encode(&self, out: &mut Writer) {
        match self {
            Self::SetTags {
                bucket,
                key,
                generation,
                tags,
                precondition,
            } => {
                out.u8(TAG_SET_TAGS).u64_be(bucket.0).str(key.as_str());
                out.option(generation.as_ref(), |out, generation| {
                    out.varint(generation.0);
                });
                put_metadata(out, tags);
                put_precondition(out, precondition);
            }
            Self::Describe {
                bucket,
                key,
                content_type,
                metadata,
                precondition,
            } => {
                out.u8(TAG_DESCRIBE).u64_be(bucket.0).str(key.as_str());
                out.option(content_type.as_ref(), |out, content_type| {
                    out.str(content_type);
                });
                out.option(metadata.as_ref(), |out, metadata| {
                    put_metadata(out, metadata);
                });
                put_precondition(out, precondition);
            }
        }
    }

    /// Reads a command after its tag.
    pub(super) fn decode(tag: u8, from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (bucket, key) = (BucketId(from.u64_be()?), get_key(from)?);
        Ok(match tag {
            TAG_SET_TAGS => Self::SetTags {
                bucket,
                key,
                generation: from.option(Reader::varint)?.map(Generation),
                tags: get_metadata(from)?,
                precondition: get_precondition(from)?.to_owned(),
            },
            TAG_DESCRIBE => Self::Describe {
                bucket,
                key,
                content_type: from.option(|from| from.str().map(str::to_owned))?,
                metadata: from.option(get_metadata)?,
                precondition: get_precondition(from)?.to_owned(),
            },
            other => return Err(unknown("annotation", other)),
        })
    }
}
