//! Changes what is said of a version beside its bytes, in the version's own row (decision 0048). No
//! extent changes hands: one row refers to the data before and after, so nothing that walks over data
//! has anything to know of it.

use marram_types::{BucketId, Generation};

use super::annotate_command::AnnotateCommand;
use super::check::{check_metadata, check_tags};
use super::command::Precondition;
use super::fence::open_bucket;
use super::outcome::ObjectOutcome;
use super::versions::newest;
use crate::kinds::noncurrent::{self as past, Past};
use crate::kinds::object::{VersionRow, ser_key};
use crate::kv::Table;
use crate::live::{Shelf, store_row};
use crate::refusal::{Malformed, Refusal, VersionRefusal};
use crate::requests::Apply;
use crate::stored::{StateError, load};

/// Names and values.
type Pairs<'a> = &'a [(String, String)];

/// An object's name as rows have it.
type Name<'a> = (BucketId, &'a str);

/// The row of a version, and where it lies; or why it is not changed.
type Found = Result<(VersionRow, Shelf), Refusal>;

pub(super) fn apply(
    apply: &mut Apply<'_>,
    command: &AnnotateCommand,
) -> Result<ObjectOutcome, StateError> {
    let done = match command {
        AnnotateCommand::SetTags {
            bucket,
            key,
            generation,
            tags,
            precondition,
        } => {
            let name = (*bucket, key.as_str());
            set_tags(apply, name, *generation, tags, precondition)?
        }
        AnnotateCommand::Describe {
            bucket,
            key,
            content_type,
            metadata,
            precondition,
        } => {
            let name = (*bucket, key.as_str());
            let described = (content_type.as_deref(), metadata.as_deref());
            describe(apply, name, described, precondition)?
        }
    };
    Ok(done.unwrap_or_else(ObjectOutcome::Refused))
}

fn set_tags(
    apply: &mut Apply<'_>,
    name: Name<'_>,
    generation: Option<Generation>,
    tags: Pairs<'_>,
    precondition: &Precondition,
) -> Result<Result<ObjectOutcome, Refusal>, StateError> {
    if let Err(what) = check_tags(tags) {
        return Ok(Err(what.into()));
    }
    let (mut row, shelf) = match find(apply, name, generation, precondition)? {
        Ok(found) => found,
        Err(refusal) => return Ok(Err(refusal)),
    };
    row.tags = tags.to_vec();
    let told = told(&row);
    store_row(apply.kv, name, shelf, row)?;
    Ok(Ok(told))
}

/// The generation rises, and the version with it stays the newest of its key: it is the current one. What
/// refers to a current version's data does not name its generation.
fn describe(
    apply: &mut Apply<'_>,
    name: Name<'_>,
    (content_type, metadata): (Option<&str>, Option<Pairs<'_>>),
    precondition: &Precondition,
) -> Result<Result<ObjectOutcome, Refusal>, StateError> {
    let pairs = metadata.unwrap_or_default().iter();
    let bytes = pairs.map(|(name, value)| name.len() + value.len()).sum();
    if let Err(what) = check_metadata(bytes, content_type.unwrap_or_default()) {
        return Ok(Err(what.into()));
    }
    if content_type.is_none() && metadata.is_none() {
        return Ok(Err(Malformed::Metadata.into()));
    }
    let (mut row, shelf) = match find(apply, name, None, precondition)? {
        Ok(found) => found,
        Err(refusal) => return Ok(Err(refusal)),
    };
    if let Some(content_type) = content_type {
        content_type.clone_into(&mut row.content_type);
    }
    if let Some(metadata) = metadata {
        row.metadata = metadata.to_vec();
    }
    // The version before it is not current since it was committed, and not only since now.
    row.placed_ms = Some(row.took_its_place_ms());
    row.generation = Generation(apply.index + apply.state.generation_offset);
    row.modified_ms = apply.now_ms();
    let told = told(&row);
    store_row(apply.kv, name, shelf, row)?;
    Ok(Ok(told))
}

fn told(row: &VersionRow) -> ObjectOutcome {
    ObjectOutcome::Annotated {
        generation: row.generation,
        modified_ms: row.modified_ms,
    }
}

/// The version of a generation, without one the current one, where the precondition holds.
fn find(
    apply: &Apply<'_>,
    (bucket, key): Name<'_>,
    generation: Option<Generation>,
    precondition: &Precondition,
) -> Result<Found, StateError> {
    if let Err(refusal) = open_bucket(apply.kv, bucket)? {
        return Ok(Err(refusal));
    }
    let current: Option<VersionRow> = load(apply.kv, Table::Objects, &ser_key(bucket, key))?;
    let present = current
        .as_ref()
        .map(|row| (row.generation, row.etag.as_str()));
    if !precondition.borrow().holds(present) {
        return Ok(Err(Refusal::PreconditionFailed {
            current: present.map_or(Generation(0), |(generation, _)| generation),
        }));
    }
    let asked = |row: &VersionRow| generation.is_none_or(|wanted| wanted == row.generation);
    if let Some(row) = current.filter(asked) {
        return Ok(Ok((row, Shelf::Current)));
    }
    let Some(generation) = generation else {
        return Ok(Err(absent(apply, (bucket, key))?.into()));
    };
    let row_key = past::ser_key(bucket, key, generation);
    Ok(match load(apply.kv, Table::Noncurrent, &row_key)? {
        Some(Past::Version(row)) => Ok((*row, Shelf::Noncurrent)),
        Some(Past::Marker(_)) => Err(VersionRefusal::Marker { generation }.into()),
        None => Err(VersionRefusal::Unknown { generation }.into()),
    })
}

/// Whether an object that is not there is deleted, or never was.
fn absent(apply: &Apply<'_>, name: Name<'_>) -> Result<VersionRefusal, StateError> {
    Ok(match newest(apply.kv, name)? {
        Some(Past::Marker(marker)) => VersionRefusal::Deleted {
            generation: marker.generation,
        },
        _ => VersionRefusal::Absent,
    })
}
