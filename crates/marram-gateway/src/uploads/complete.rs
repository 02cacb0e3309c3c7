//! Makes the parts of an upload an object.
//!
//! The parts are read and judged here; the entry names the state of the upload that was judged, and is
//! refused where that has changed. So the entry is small however many parts there are, and exact.

use marram_meta::{
    CompletedUpload, Completion, ObjectCommand, ObjectOutcome, PartItem, PartRanges, PartSums,
    Precondition, Refusal, UploadAnswer, UploadCommand, UploadFound, UploadRefusal,
};
use marram_proto::v1;
use marram_types::caps::{LIST_PAGE_MAX, UPLOAD_PARTS_MAX};
use marram_types::codec::Writer;
use marram_types::{Crc64Nvme, RequestId, VersionId};

use super::part::number;
use super::whole::{WantedPart, Whole, WholeError, whole};
use super::{Named, Placed, look};
use crate::convert;
use crate::core::{BucketError, Core};
use crate::groups::GroupError;
use crate::objects::{ObjectName, lookup, mutate};
use crate::pace;
use crate::put::Known;
use crate::status::{Fault, Reason};
use crate::validate::{self, InvalidField};

/// How often the parts are read anew when some came in meanwhile.
const TRIES_MAX: u32 = 5;

/// Why an upload was not completed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CompleteError {
    #[error(transparent)]
    Invalid(#[from] InvalidField),
    #[error(transparent)]
    Bucket(#[from] BucketError),
    #[error(transparent)]
    Group(#[from] GroupError),
    #[error("{0}")]
    Refused(Refusal),
    #[error(
        "the parts to complete with are not in ascending order: part {part} comes after part {before}"
    )]
    Order { before: u16, part: u16 },
    #[error("no part to complete with is named")]
    NoParts,
    #[error("{named} parts are named: at most {UPLOAD_PARTS_MAX} are allowed")]
    TooMany { named: usize },
    #[error(
        "{persisted} bytes are recorded of the write, not {size}: send the rest, or begin anew"
    )]
    StreamSize { size: u64, persisted: u64 },
    #[error("{0}")]
    Parts(Box<WholeError>),
}

impl Fault for CompleteError {
    fn reason(&self) -> Reason {
        match self {
            Self::Invalid(error) => error.reason(),
            Self::Bucket(error) => error.reason(),
            Self::Group(error) => error.reason(),
            Self::Refused(error) => error.reason(),
            Self::Order { .. } | Self::NoParts => Reason::InvalidPartOrder,
            Self::TooMany { .. } => Reason::InvalidPartNumber,
            Self::StreamSize { .. } => Reason::SizeMismatch,
            Self::Parts(error) => error.reason(),
        }
    }

    fn details(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::Invalid(error) => error.details(),
            Self::Bucket(error) => error.details(),
            Self::Group(error) => error.details(),
            Self::Refused(error) => error.details(),
            Self::Order { part, .. } => vec![("part", part.to_string())],
            Self::TooMany { named } => vec![("named", named.to_string())],
            Self::StreamSize { size, persisted } => vec![
                ("size", size.to_string()),
                ("persisted_size", persisted.to_string()),
            ],
            Self::Parts(error) => error.details(),
            Self::NoParts => Vec::new(),
        }
    }
}

/// What is asked, checked.
struct Asked {
    parts: Vec<WantedPart>,
    ranges: PartRanges,
    precondition: Precondition,
    known: Known,
    size: Option<u64>,
    request: RequestId,
}

/// Completes an upload.
pub(crate) async fn complete(
    core: &Core,
    request: v1::CompleteUploadRequest,
) -> Result<v1::CompleteUploadResponse, CompleteError> {
    let named = Named::new(
        request.bucket.clone(),
        request.key.clone(),
        &request.upload_id,
    )?;
    let asked = checked(request)?;
    let placed = named.place(core).await?;
    while_it_changes(|| attempt(core, &placed, &asked)).await
}

/// Tries again while the upload changes between the look at it and the decision, a few times.
pub(super) async fn while_it_changes<T, F>(attempt: impl Fn() -> F) -> Result<T, CompleteError>
where
    F: Future<Output = Result<T, CompleteError>>,
{
    let mut tries = 0;
    loop {
        tries += 1;
        match attempt().await {
            Err(CompleteError::Refused(Refusal::Upload(UploadRefusal::Changed)))
                if tries < TRIES_MAX =>
            {
                pace::seal_poll().await;
            }
            done => return done,
        }
    }
}

fn checked(request: v1::CompleteUploadRequest) -> Result<Asked, CompleteError> {
    let named = request.parts.len();
    if named > usize::from(UPLOAD_PARTS_MAX) {
        return Err(CompleteError::TooMany { named });
    }
    let mut parts: Vec<WantedPart> = Vec::with_capacity(named);
    for given in request.parts {
        let part = number(given.part_number)?;
        if let Some(before) = parts
            .last()
            .map(|p| p.part)
            .filter(|before| *before >= part)
        {
            return Err(CompleteError::Order { before, part });
        }
        validate::etag("etag", Some(&given.etag))?;
        parts.push(WantedPart {
            part,
            etag: given.etag.trim_matches('"').to_owned(),
            known: Known::new(given.checksums.as_ref())?,
        });
    }
    if parts.is_empty() {
        return Err(CompleteError::NoParts);
    }
    let ranges = PartRanges::new(parts.iter().map(|p| p.part)).expect("ascending, as was checked");
    let known = Known::new(request.checksums.as_ref())?;
    if known.sha256.is_some() || known.md5.is_some() {
        return Err(InvalidField::Wrong {
            field: "checksums",
            rule: "SHA-256 and MD5 of all bytes do not follow from those of the parts: tell CRC64/NVME or CRC32C",
        }
        .into());
    }
    Ok(Asked {
        parts,
        ranges,
        precondition: validate::precondition(request.preconditions)?,
        known,
        size: request.size,
        request: validate::request_id(request.request_id.as_ref())?,
    })
}

/// The upload with all its parts, of one state of it.
async fn all_parts(
    core: &Core,
    placed: &Placed,
) -> Result<Result<UploadAnswer, UploadRefusal>, CompleteError> {
    let mut parts: Vec<PartItem> = Vec::new();
    let mut revision = None;
    loop {
        let after = parts.last().map_or(0, |item| item.part);
        let page = (after, LIST_PAGE_MAX);
        let found = match look(core, placed.group, &placed.name, page).await? {
            UploadFound::Open(found) if found.row.stream.is_some() => {
                return Err(CompleteError::Refused(UploadRefusal::IsStream.into()));
            }
            UploadFound::Open(found) => found,
            UploadFound::Completed(generation) => {
                return Ok(Err(UploadRefusal::Completed { generation }));
            }
            UploadFound::Unknown => return Ok(Err(UploadRefusal::Unknown)),
        };
        if *revision.get_or_insert(found.row.revision) != found.row.revision {
            return Err(CompleteError::Refused(UploadRefusal::Changed.into()));
        }
        parts.extend(found.parts);
        if !found.more {
            let row = found.row;
            let more = false;
            return Ok(Ok(UploadAnswer { row, parts, more }));
        }
    }
}

fn parts_wrong(wrong: WholeError) -> CompleteError {
    CompleteError::Parts(Box::new(wrong))
}

async fn attempt(
    core: &Core,
    placed: &Placed,
    asked: &Asked,
) -> Result<v1::CompleteUploadResponse, CompleteError> {
    let seen = match all_parts(core, placed).await? {
        Ok(upload) => {
            let made = whole(&asked.parts, &upload.parts).map_err(parts_wrong)?;
            made.check(&asked.known, asked.size).map_err(parts_wrong)?;
            Some((upload, made))
        }
        // The request may have been carried out already: the group knows, and answers it again.
        Err(_) => None,
    };
    let command = ObjectCommand::Upload(UploadCommand::Complete {
        name: placed.name.clone(),
        content: completion(asked, seen.as_ref()),
        precondition: asked.precondition.clone(),
    });
    match mutate(core, placed.group, asked.request, &command).await? {
        ObjectOutcome::UploadCompleted(done) => {
            let whole = seen.map(|(_, whole)| whole);
            Ok(answer(core, placed, &done, whole).await)
        }
        ObjectOutcome::Refused(refusal) => Err(CompleteError::Refused(refusal)),
        _ => Err(GroupError::Kind(placed.group).into()),
    }
}

/// What is proposed; where the upload is not there to be seen, only what the group knows the request by.
fn completion(asked: &Asked, seen: Option<&(UploadAnswer, Whole)>) -> Completion {
    Completion {
        version: VersionId(rand::random()),
        revision: seen.map_or(0, |(upload, _)| upload.row.revision),
        parts: asked.ranges.clone(),
        size: seen.map_or(0, |(_, whole)| whole.size),
        crc64: seen.map_or(0, |(_, whole)| whole.crc64),
        etag: seen.map_or(String::new(), |(_, whole)| whole.etag.clone()),
        asked: digest(asked),
    }
}

/// A digest of the parts that the caller named, the same on all attempts (rules.md 14).
fn digest(asked: &Asked) -> u64 {
    let mut out = Writer::with_capacity(64 * asked.parts.len());
    for part in &asked.parts {
        out.u16_be(part.part).str(&part.etag);
    }
    Crc64Nvme::of(&out.finish())
}

/// What the upload became. That it became so is certain, so nothing here fails.
pub(super) async fn answer(
    core: &Core,
    placed: &Placed,
    done: &CompletedUpload,
    whole: Option<Whole>,
) -> v1::CompleteUploadResponse {
    let name = ObjectName {
        bucket: placed.bucket.name.clone(),
        key: placed.name.key.clone(),
    };
    let key = name.key.as_str();
    let object = match lookup(core, &name).await {
        Ok(found) if found.row.version == done.version => convert::object(key, &found.row),
        // It was replaced meanwhile, or cannot be asked for now.
        _ => v1::ObjectInfo {
            key: key.to_owned(),
            size: done.size,
            etag: done.etag.clone(),
            generation: done.generation.0,
            modified_ms: convert::ms(done.modified_ms),
            crc64nvme: done.crc64,
            version_id: done.version.to_string(),
            under_protected: done.under_protected,
            ..v1::ObjectInfo::default()
        },
    };
    let sums = PartSums {
        crc32c: whole.as_ref().and_then(|whole| whole.crc32c),
        ..PartSums::default()
    };
    v1::CompleteUploadResponse {
        object: Some(object),
        whole: Some(convert::checksums(Some(done.crc64), &sums)),
        composite: whole.map(|whole| convert::checksums(None, &whole.composite)),
    }
}
