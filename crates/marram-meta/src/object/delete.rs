//! Removes an object.

use marram_types::{BucketId, Generation};

use super::command::Precondition;
use super::displace::displace;
use super::fence::open_bucket;
use super::outcome::ObjectOutcome;
use super::usage;
use crate::kinds::object::{VersionRow, ser_key};
use crate::kinds::usage::Usage;
use crate::kv::Table;
use crate::layout::Layout;
use crate::refusal::Refusal;
use crate::requests::Apply;
use crate::stored::{StateError, load};

/// An absent object is removed already, as in S3, if the precondition allows it to be absent.
pub(super) fn apply(
    apply: &mut Apply<'_>,
    bucket: BucketId,
    key: &str,
    precondition: &Precondition,
) -> Result<ObjectOutcome, StateError> {
    if let Err(refusal) = open_bucket(apply.kv, bucket)? {
        return Ok(ObjectOutcome::Refused(refusal));
    }
    let row_key = ser_key(bucket, key);
    let current: Option<VersionRow> = load(apply.kv, Table::Objects, &row_key)?;
    let present = current
        .as_ref()
        .map(|row| (row.generation, row.etag.as_str()));
    if !precondition.borrow().holds(present) {
        return Ok(ObjectOutcome::Refused(Refusal::PreconditionFailed {
            current: present.map_or(Generation(0), |(generation, _)| generation),
        }));
    }
    if let Some(row) = &current {
        displace(apply, &mut Layout::default(), (bucket, key), row)?;
        apply.kv.delete(Table::Objects, &row_key)?;
        usage::replace(apply, bucket, Some(row), Usage::default())?;
    }
    Ok(ObjectOutcome::Deleted {
        generation: Generation(apply.index + apply.state.generation_offset),
        existed: current.is_some(),
    })
}
