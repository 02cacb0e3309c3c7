//! Makes the parts of an upload the current version of its object. The rows of the parts and the
//! references of their data stay as they are: the version's row names the upload, and is what changes
//! (decision 0041).

use marram_types::caps::OBJECT_BYTES_MAX;
use marram_types::{Generation, UploadId};

use super::check::ETAG_BYTES_MAX;
use super::command::Precondition;
use super::fence::open_bucket;
use super::outcome::{CompletedUpload, ObjectOutcome};
use super::put::nominal;
use super::upload_command::{Completion, UploadName};
use super::{drops, profile, quota, upload, usage, versions};
use crate::kinds::bucket::BucketRecord;
use crate::kinds::object::{Body, VersionRow, ser_key};
use crate::kinds::part::{PartRanges, PartTotals, PartsBody};
use crate::kinds::upload::{self as uploads, UploadRow};
use crate::kinds::usage::Usage;
use crate::kinds::versioning::Versioning;
use crate::kv::Table;
use crate::layout::Layout;
use crate::live::{Shelf, part_rows};
use crate::refusal::{Malformed, Refusal, UploadRefusal};
use crate::requests::Apply;
use crate::stored::{StateError, store};

/// Applies a completion. That its sender saw the parts as they are now is known by the revision, so
/// what it says of them need not be looked at one by one.
pub(super) fn apply(
    apply: &mut Apply<'_>,
    name: &UploadName,
    new: &Completion,
    precondition: &Precondition,
) -> Result<ObjectOutcome, StateError> {
    let record = match open_bucket(apply.kv, name.bucket)? {
        Ok(record) => record,
        Err(refusal) => return Ok(ObjectOutcome::Refused(refusal)),
    };
    let current = upload::current(apply, name)?;
    let upload = match judge(apply, name, new, precondition, current.as_ref())? {
        Ok(upload) => upload,
        Err(refusal) => return Ok(ObjectOutcome::Refused(refusal)),
    };
    let left_out = left_out(apply, name.upload, &new.parts)?;
    let totals = upload.totals.minus(left_out);
    if totals.parts != new.parts.len() {
        return Ok(ObjectOutcome::Refused(Malformed::Part.into()));
    }
    if totals.bytes != new.size || new.size > OBJECT_BYTES_MAX {
        return Ok(ObjectOutcome::Refused(Malformed::Size.into()));
    }
    let parts = usage::of_parts(upload.counts(upload.totals.bytes));
    let profile = record.profile_for(upload.own);
    let mixed = upload.mixed || upload.profile != profile;
    let mut row = row(apply, name.upload, upload, new, totals);
    row.own = row.own.filter(|own| record.allowed.contains(own));
    row.numbered = record.versioning == Versioning::On;
    let freed = versions::freed(apply.kv, &record, name.key.as_str(), current.as_ref())?;
    let added = usage::of(&row, Shelf::Current);
    if let Err(refusal) = quota::judge(apply.kv, &record, freed.plus(parts), added)? {
        return Ok(ObjectOutcome::Refused(refusal));
    }
    if mixed {
        // Parts were judged by a profile that the bucket does not have any more.
        profile::begin(apply, &record)?;
    }
    commit(apply, &record, name, (current, parts), &row)?;
    if left_out.parts > 0 {
        drops::begin(apply, (name.bucket, name.key.as_str()), name.upload)?;
    }
    Ok(ObjectOutcome::UploadCompleted(CompletedUpload {
        version: row.version,
        generation: row.generation,
        modified_ms: row.modified_ms,
        size: row.size,
        crc64: row.crc64,
        etag: row.etag,
        under_protected: row.under_protected,
    }))
}

/// What the group's state has against the completion, or the upload's row.
fn judge(
    apply: &Apply<'_>,
    name: &UploadName,
    new: &Completion,
    precondition: &Precondition,
    current: Option<&VersionRow>,
) -> Result<Result<UploadRow, Refusal>, StateError> {
    if new.parts.is_empty() || new.etag.len() > ETAG_BYTES_MAX {
        return Ok(Err(Malformed::Part.into()));
    }
    let upload = match upload::find(apply, name)? {
        Ok(upload) => upload,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let present = current.map(|row| (row.generation, row.etag.as_str()));
    if !precondition.borrow().holds(present) {
        return Ok(Err(Refusal::PreconditionFailed {
            current: present.map_or(Generation(0), |(generation, _)| generation),
        }));
    }
    if upload.revision != new.revision {
        return Ok(Err(UploadRefusal::Changed.into()));
    }
    Ok(Ok(upload))
}

/// Puts the row in the place of the current one, and of the upload's.
fn commit(
    apply: &mut Apply<'_>,
    record: &BucketRecord,
    name: &UploadName,
    (current, parts): (Option<VersionRow>, Usage),
    row: &VersionRow,
) -> Result<(), StateError> {
    let key = name.key.as_str();
    versions::make_way(apply, &mut Layout::default(), record, key, current)?;
    let row_key = ser_key(name.bucket, key);
    store(apply.kv, Table::Objects, &row_key, row)?;
    let counted = usage::of(row, Shelf::Current);
    usage::change(apply, name.bucket, parts, counted)?;
    let upload_key = uploads::ser_key(name.bucket, key, name.upload);
    Ok(apply.kv.delete(Table::Uploads, &upload_key)?)
}

/// What the upload's other parts are together. Usually there are none: then keys are gone through and
/// no row is read.
fn left_out(
    apply: &Apply<'_>,
    upload: UploadId,
    wanted: &PartRanges,
) -> Result<PartTotals, StateError> {
    let others = part_rows(apply.kv, upload, 0, usize::MAX, |n| !wanted.contains(n))?;
    let totals = others.iter().map(|(_, row)| row.totals());
    Ok(totals.fold(PartTotals::default(), PartTotals::plus))
}

fn row(
    apply: &Apply<'_>,
    id: UploadId,
    upload: UploadRow,
    new: &Completion,
    totals: PartTotals,
) -> VersionRow {
    let mut row = VersionRow {
        version: new.version,
        generation: Generation(apply.index + apply.state.generation_offset),
        modified_ms: apply.now_ms(),
        placed_ms: None,
        size: new.size,
        crc64: new.crc64,
        etag: new.etag.clone(),
        content_type: upload.content_type,
        metadata: upload.metadata,
        tags: upload.tags,
        nominal: nominal(new.size, upload.profile),
        own: upload.own,
        body: Body::Parts(PartsBody {
            upload: id,
            ranges: new.parts.clone(),
            totals,
        }),
        narrowed: false,
        under_protected: false,
        off_profile: false,
        numbered: false,
    };
    row.judge_parts(totals.tally);
    row
}
