//! Checks of every field that comes in, before anything else happens.

use std::collections::HashMap;

use marram_meta::Precondition;
use marram_proto::v1;
use marram_types::caps::{
    API_DATA_BYTES_MAX, CONTENT_TYPE_BYTES_MAX, KEY_BYTES_MAX, LIST_PAGE_MAX, OBJECT_BYTES_MAX,
    PART_BYTES_MAX, UPLOAD_PARTS_MAX, USER_METADATA_BYTES_MAX, WRITE_BYTES_MAX,
};
use marram_types::{
    BucketName, BucketNameError, Generation, KeyError, ObjectKey, Profile, ProfileError, RequestId,
    TagError, crc32c, sorted_tags,
};

use crate::change;
use crate::put::Checks;
use crate::status::{Fault, Reason};

/// Media type of objects that came without one.
const CONTENT_TYPE_DEFAULT: &str = "application/octet-stream";
/// Longest entity tag in a precondition; ours have about 40 bytes.
pub(crate) const ETAG_BYTES_MAX: usize = 256;
/// Bytes of the random part of a request id.
const REQUEST_CLIENT_BYTES: usize = 16;

/// A field that is not valid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidField {
    #[error(transparent)]
    Bucket(#[from] BucketNameError),
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error(transparent)]
    Profile(#[from] ProfileError),
    #[error("{field} has {bytes} bytes: at most {max} are allowed")]
    TooLong {
        field: &'static str,
        bytes: usize,
        max: usize,
    },
    #[error("{field} has {count} entries: at most {max} are allowed")]
    TooMany {
        field: &'static str,
        count: usize,
        max: usize,
    },
    #[error("the object has {size} bytes: at most {OBJECT_BYTES_MAX} are allowed")]
    ObjectTooLarge { size: u64 },
    #[error("the part has {size} bytes: at most {PART_BYTES_MAX} are allowed")]
    PartTooLarge { size: u64 },
    #[error(
        "a resumable write of {size} bytes: at most {WRITE_BYTES_MAX} are allowed; larger objects go up in parts"
    )]
    WriteTooLarge { size: u64 },
    #[error("there is no part {number}: parts are numbered 1 to {UPLOAD_PARTS_MAX}")]
    PartNumber { number: u32 },
    #[error("{field} is not valid: {rule}")]
    Wrong {
        field: &'static str,
        rule: &'static str,
    },
    #[error("{field} is not valid: the entry {name:?} {rule}")]
    Entry {
        field: &'static str,
        name: String,
        rule: &'static str,
    },
    #[error("tags is not valid: {0}")]
    Tags(#[from] TagError),
    #[error("{field}: {error}")]
    In {
        field: &'static str,
        error: Box<InvalidField>,
    },
    #[error("a chunk's bytes do not have the checksum that came with them")]
    ChunkChecksum,
}

impl Fault for InvalidField {
    fn reason(&self) -> Reason {
        match self {
            Self::Bucket(_) => Reason::InvalidBucketName,
            Self::Key(_) => Reason::InvalidKey,
            Self::Profile(_) => Reason::InvalidProfile,
            Self::TooLong { .. }
            | Self::TooMany { .. }
            | Self::Wrong { .. }
            | Self::Entry { .. }
            | Self::Tags(_) => Reason::InvalidArgument,
            Self::ObjectTooLarge { .. } | Self::WriteTooLarge { .. } => Reason::ObjectTooLarge,
            Self::PartTooLarge { .. } => Reason::PartTooLarge,
            Self::PartNumber { .. } => Reason::InvalidPartNumber,
            Self::In { error, .. } => error.reason(),
            Self::ChunkChecksum => Reason::ChunkChecksumMismatch,
        }
    }

    fn details(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::TooLong { field, bytes, max } => vec![
                ("field", (*field).to_owned()),
                ("bytes", bytes.to_string()),
                ("max", max.to_string()),
            ],
            Self::TooMany { field, count, max } => vec![
                ("field", (*field).to_owned()),
                ("count", count.to_string()),
                ("max", max.to_string()),
            ],
            Self::Key(KeyError::TooLong { bytes }) => vec![
                ("bytes", bytes.to_string()),
                ("max", KEY_BYTES_MAX.to_string()),
            ],
            Self::ObjectTooLarge { size } => vec![
                ("size", size.to_string()),
                ("max", OBJECT_BYTES_MAX.to_string()),
            ],
            Self::WriteTooLarge { size } => vec![
                ("size", size.to_string()),
                ("max", WRITE_BYTES_MAX.to_string()),
            ],
            Self::PartTooLarge { size } => vec![
                ("size", size.to_string()),
                ("max", PART_BYTES_MAX.to_string()),
            ],
            Self::PartNumber { number } => vec![("part", number.to_string())],
            Self::Wrong { field, .. } => vec![("field", (*field).to_owned())],
            Self::Entry { field, name, .. } => {
                vec![("field", (*field).to_owned()), ("name", name.clone())]
            }
            Self::Tags(_) => vec![("field", "tags".to_owned())],
            Self::In { field, error } => {
                let mut details = error.details();
                details.push(("field", (*field).to_owned()));
                details
            }
            Self::Bucket(_) | Self::Key(_) | Self::Profile(_) | Self::ChunkChecksum => Vec::new(),
        }
    }
}

impl InvalidField {
    /// The same in a field of another name.
    pub(crate) fn named(self, field: &'static str) -> Self {
        let error = Box::new(self);
        Self::In { field, error }
    }
}

/// What a put was asked to write, checked.
#[derive(Debug, Clone)]
pub(crate) struct PutHeader {
    pub(crate) bucket: BucketName,
    pub(crate) key: ObjectKey,
    pub(crate) size: Option<u64>,
    pub(crate) content_type: String,
    pub(crate) metadata: Vec<(String, String)>,
    pub(crate) tags: Vec<(String, String)>,
    pub(crate) profile: Option<Profile>,
    pub(crate) precondition: Precondition,
    pub(crate) request: RequestId,
    pub(crate) checks: Checks,
}

pub(crate) fn short(field: &'static str, text: &str, max: usize) -> Result<(), InvalidField> {
    if text.len() > max {
        let bytes = text.len();
        return Err(InvalidField::TooLong { field, bytes, max });
    }
    Ok(())
}

/// Checks the header of a put.
pub(crate) fn put_header(header: v1::PutObjectHeader) -> Result<PutHeader, InvalidField> {
    if let Some(size) = header.size
        && size > OBJECT_BYTES_MAX
    {
        return Err(InvalidField::ObjectTooLarge { size });
    }
    Ok(PutHeader {
        bucket: BucketName::new(header.bucket)?,
        key: ObjectKey::new(header.key)?,
        size: header.size,
        content_type: content_type(header.content_type)?,
        metadata: metadata(header.metadata)?,
        tags: tags(header.tags)?,
        profile: profile(&header.profile)?,
        precondition: precondition(header.preconditions)?,
        request: request_id(header.request_id.as_ref())?,
        checks: Checks::new(header.checksums.as_ref(), &header.compute)?,
    })
}

/// A media type goes into HTTP headers later: visible ASCII and spaces only.
pub(crate) fn content_type(given: String) -> Result<String, InvalidField> {
    if given.is_empty() {
        return Ok(CONTENT_TYPE_DEFAULT.to_owned());
    }
    short("content_type", &given, CONTENT_TYPE_BYTES_MAX)?;
    if !given.bytes().all(|b| (b' '..=b'~').contains(&b)) {
        return Err(InvalidField::Wrong {
            field: "content_type",
            rule: "only printable ASCII is allowed",
        });
    }
    Ok(given)
}

/// In order of the names, so that equal metadata is stored as equal bytes.
pub(crate) fn metadata(
    given: HashMap<String, String>,
) -> Result<Vec<(String, String)>, InvalidField> {
    let bytes: usize = given
        .iter()
        .map(|(name, value)| name.len() + value.len())
        .sum();
    if bytes > USER_METADATA_BYTES_MAX {
        return Err(InvalidField::TooLong {
            field: "metadata",
            bytes,
            max: USER_METADATA_BYTES_MAX,
        });
    }
    if given.keys().any(String::is_empty) {
        return Err(InvalidField::Wrong {
            field: "metadata",
            rule: "a name is empty",
        });
    }
    let mut sorted: Vec<(String, String)> = given.into_iter().collect();
    sorted.sort_unstable();
    // They go into headers and onto terminals.
    let control = |text: &str| text.chars().any(char::is_control);
    match sorted
        .iter()
        .find(|(n, value)| control(n) || control(value))
    {
        None => Ok(sorted),
        Some((name, _)) => Err(InvalidField::Entry {
            field: "metadata",
            name: name.escape_default().to_string(),
            rule: "has a control character",
        }),
    }
}

/// Checks tags; in order of their keys.
pub(crate) fn tags(given: HashMap<String, String>) -> Result<Vec<(String, String)>, InvalidField> {
    Ok(sorted_tags(given)?)
}

/// Checks preconditions.
pub(crate) fn precondition(given: Option<v1::Preconditions>) -> Result<Precondition, InvalidField> {
    let given = given.unwrap_or_default();
    etag("if_etag_match", given.if_etag_match.as_deref())?;
    etag("if_etag_none_match", given.if_etag_none_match.as_deref())?;
    Ok(Precondition {
        if_generation_match: given.if_generation_match.map(Generation),
        if_generation_not_match: given.if_generation_not_match.map(Generation),
        if_etag_match: given.if_etag_match,
        if_etag_none_match: given.if_etag_none_match,
    })
}

/// Checks an entity tag of a condition.
pub(crate) fn etag(field: &'static str, tag: Option<&str>) -> Result<(), InvalidField> {
    tag.map_or(Ok(()), |tag| short(field, tag, ETAG_BYTES_MAX))
}

/// The request id of a mutation; a fresh one where the client sent none, which only means that its
/// own retries are not recognised.
pub(crate) fn request_id(given: Option<&v1::RequestId>) -> Result<RequestId, InvalidField> {
    let Some(given) = given else {
        let drawn = RequestId {
            client: rand::random(),
            sequence: 0,
        };
        change::named(drawn);
        return Ok(drawn);
    };
    let client: [u8; REQUEST_CLIENT_BYTES] =
        given
            .client
            .as_ref()
            .try_into()
            .map_err(|_| InvalidField::Wrong {
                field: "request_id",
                rule: "client must have 16 bytes",
            })?;
    let given = RequestId {
        client: u128::from_be_bytes(client),
        sequence: given.sequence,
    };
    change::named(given);
    Ok(given)
}

/// Checks a chunk's size and checksum.
pub(crate) fn chunk(chunk: &v1::Chunk) -> Result<(), InvalidField> {
    if chunk.data.len() > API_DATA_BYTES_MAX {
        return Err(InvalidField::TooLong {
            field: "chunk",
            bytes: chunk.data.len(),
            max: API_DATA_BYTES_MAX,
        });
    }
    if crc32c(&chunk.data) != chunk.crc32c {
        return Err(InvalidField::ChunkChecksum);
    }
    Ok(())
}

/// The profile asked for; nothing when it is left to the cluster.
pub(crate) fn profile(given: &str) -> Result<Option<Profile>, InvalidField> {
    if given.is_empty() {
        return Ok(None);
    }
    Ok(Some(given.parse()?))
}

/// The size of a page: 0 means the largest.
pub(crate) fn page_size(given: i32) -> Result<u32, InvalidField> {
    match u32::try_from(given) {
        Ok(0) => Ok(LIST_PAGE_MAX),
        Ok(wanted) => Ok(wanted.min(LIST_PAGE_MAX)),
        Err(_) => Err(InvalidField::Wrong {
            field: "page_size",
            rule: "it must not be negative",
        }),
    }
}

/// Checks the texts of a listing, which are compared with keys.
pub(crate) fn list_texts(request: &v1::ListObjectsRequest) -> Result<(), InvalidField> {
    short("prefix", &request.prefix, KEY_BYTES_MAX)?;
    short("delimiter", &request.delimiter, KEY_BYTES_MAX)?;
    short("start_after", &request.start_after, KEY_BYTES_MAX)
}

/// Checks the prefix of a watch.
pub(crate) fn watched_prefix(prefix: &str) -> Result<(), InvalidField> {
    short("prefix", prefix, KEY_BYTES_MAX)
}

#[cfg(test)]
mod tests;
