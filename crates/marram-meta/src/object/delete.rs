//! Removes an object, or one of its versions.

use marram_types::{BucketId, Generation};

use super::command::Precondition;
use super::fence::open_bucket;
use super::outcome::ObjectOutcome;
use super::versions::{self, Removed};
use crate::kinds::bucket::BucketRecord;
use crate::kinds::noncurrent::DeleteMarker;
use crate::kinds::object::{VersionRow, ser_key};
use crate::kinds::versioning::Versioning;
use crate::kv::Table;
use crate::layout::Layout;
use crate::refusal::Refusal;
use crate::requests::Apply;
use crate::stored::{StateError, load};

/// The bucket and the current version that the precondition holds of, or why nothing is removed. An
/// object that is marked as deleted is absent.
fn judge(
    apply: &Apply<'_>,
    (bucket, key): (BucketId, &str),
    precondition: &Precondition,
) -> Result<Result<(BucketRecord, Option<VersionRow>), Refusal>, StateError> {
    let record = match open_bucket(apply.kv, bucket)? {
        Ok(record) => record,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let current: Option<VersionRow> = load(apply.kv, Table::Objects, &ser_key(bucket, key))?;
    let present = current
        .as_ref()
        .map(|row| (row.generation, row.etag.as_str()));
    if precondition.borrow().holds(present) {
        return Ok(Ok((record, current)));
    }
    Ok(Err(Refusal::PreconditionFailed {
        current: present.map_or(Generation(0), |(generation, _)| generation),
    }))
}

/// An absent object is removed already, as in S3, if the precondition allows it to be absent. Where the
/// bucket keeps versions, a marker says that it is, another one each time.
pub(super) fn apply(
    apply: &mut Apply<'_>,
    bucket: BucketId,
    key: &str,
    precondition: &Precondition,
) -> Result<ObjectOutcome, StateError> {
    let (record, current) = match judge(apply, (bucket, key), precondition)? {
        Ok(judged) => judged,
        Err(refusal) => return Ok(ObjectOutcome::Refused(refusal)),
    };
    self::current(apply, &record, key, current)
}

/// Removes the current version, or marks it as deleted where the bucket keeps versions.
pub(super) fn current(
    apply: &mut Apply<'_>,
    record: &BucketRecord,
    key: &str,
    current: Option<VersionRow>,
) -> Result<ObjectOutcome, StateError> {
    let bucket = record.bucket;
    let existed = current.is_some();
    versions::make_way(apply, &mut Layout::default(), record, key, current)?;
    if existed {
        apply.kv.delete(Table::Objects, &ser_key(bucket, key))?;
    }
    let generation = Generation(apply.index + apply.state.generation_offset);
    if record.versioning == Versioning::Off {
        return Ok(ObjectOutcome::Deleted {
            generation,
            existed,
        });
    }
    let marker = DeleteMarker {
        generation,
        modified_ms: apply.now_ms(),
        numbered: record.versioning == Versioning::On,
    };
    versions::mark(apply, (bucket, key), marker)?;
    Ok(ObjectOutcome::Marked {
        generation,
        existed,
    })
}

/// Removes one version or marker for good; one that is absent is removed already.
pub(super) fn version(
    apply: &mut Apply<'_>,
    (bucket, key): (BucketId, &str),
    generation: Generation,
    precondition: &Precondition,
) -> Result<ObjectOutcome, StateError> {
    let (record, current) = match judge(apply, (bucket, key), precondition)? {
        Ok(judged) => judged,
        Err(refusal) => return Ok(ObjectOutcome::Refused(refusal)),
    };
    let removed = versions::remove(apply, &record, key, generation, current.as_ref())?;
    Ok(ObjectOutcome::VersionDeleted {
        existed: removed != Removed::Nothing,
        marker: removed == Removed::Marker,
    })
}
