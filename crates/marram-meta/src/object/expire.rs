//! Removes what is due by a bucket's rules. Judged here, by the group's own copy of the rules and in leader
//! time: what a worker found before is only where to look (rules.md 11, decision 0054).

use std::ops::{Bound, ControlFlow};

use marram_types::caps::EXPIRED_PER_ENTRY;
use marram_types::{Generation, UploadId};

use super::delete;
use super::expire_command::{Due, DueWhat, ExpireCommand};
use super::fence::open_bucket;
use super::outcome::{Expired, ObjectOutcome};
use super::upload;
use super::upload_command::UploadName;
use super::versions;
use crate::kinds::bucket::{self, BucketRecord};
use crate::kinds::lifecycle::{Facts, Lifecycle, RULE_KEEPS_MAX};
use crate::kinds::noncurrent::{self as past, Past};
use crate::kinds::object::{VersionRow, ser_key};
use crate::kinds::upload::{self as uploads, UploadRow};
use crate::kv::{KvRead, Table};
use crate::refusal::Malformed;
use crate::requests::Apply;
use crate::stored::{StateError, Stored, load};

/// The rules of a bucket as the group knows them; none where it has none.
pub(crate) fn rules_of(
    kv: &dyn KvRead,
    bucket: marram_types::BucketId,
) -> Result<Lifecycle, StateError> {
    let rules = load(kv, Table::Lifecycles, &bucket::ser_key(bucket))?;
    Ok(rules.unwrap_or_default())
}

pub(super) fn apply(
    apply: &mut Apply<'_>,
    command: &ExpireCommand,
) -> Result<ObjectOutcome, StateError> {
    if command.due.len() > EXPIRED_PER_ENTRY {
        return Ok(ObjectOutcome::Refused(Malformed::Places.into()));
    }
    let record = match open_bucket(apply.kv, command.bucket)? {
        Ok(record) => record,
        Err(refusal) => return Ok(ObjectOutcome::Refused(refusal)),
    };
    let rules = rules_of(apply.kv, command.bucket)?;
    let mut done = Expired::default();
    // The oldest first: when a version is judged, what took its place is still there.
    for due in command.due.iter().rev() {
        one(apply, (&record, &rules), due, &mut done)?;
    }
    Ok(ObjectOutcome::Expired(done))
}

fn one(
    apply: &mut Apply<'_>,
    (record, rules): (&BucketRecord, &Lifecycle),
    due: &Due,
    done: &mut Expired,
) -> Result<(), StateError> {
    let key = due.key.as_str();
    match due.what {
        DueWhat::Current(generation) => {
            if let Some(row) = due_current(apply, (record, rules), key, generation)? {
                done.current += 1;
                done.bytes += row.size;
                delete::current(apply, record, key, Some(row))?;
            }
        }
        DueWhat::Noncurrent { generation, next } => {
            if let Some(past) = due_noncurrent(apply, (record, rules), key, (generation, next))? {
                match past {
                    Past::Version(row) => {
                        done.noncurrent += 1;
                        done.bytes += row.size;
                    }
                    Past::Marker(_) => done.markers += 1,
                }
                let current = load(apply.kv, Table::Objects, &ser_key(record.bucket, key))?;
                versions::remove(apply, record, key, generation, current.as_ref())?;
            }
        }
        DueWhat::Marker(generation) => {
            if rules.removes_marker(key).is_some()
                && is_last_marker(apply.kv, record, key, generation)?
            {
                done.markers += 1;
                versions::remove(apply, record, key, generation, None)?;
            }
        }
        DueWhat::Upload(id) => end_upload(apply, (record, rules), due, id, done)?,
    }
    Ok(())
}

/// The current version, if it is still the one that was seen, and due.
fn due_current(
    apply: &Apply<'_>,
    (record, rules): (&BucketRecord, &Lifecycle),
    key: &str,
    generation: Generation,
) -> Result<Option<VersionRow>, StateError> {
    let row: Option<VersionRow> = load(apply.kv, Table::Objects, &ser_key(record.bucket, key))?;
    Ok(row.filter(|row| {
        let facts = facts(key, row);
        row.generation == generation
            && rules
                .expires(&facts, row.modified_ms, apply.now_ms())
                .is_some()
    }))
}

pub(crate) fn facts<'a>(key: &'a str, row: &'a VersionRow) -> Facts<'a> {
    Facts {
        key,
        size: row.size,
        tags: &row.tags,
    }
}

/// A version or marker that is not current, if it is due. Since when it is not is told by what took its place: the
/// one that was seen, which must be there yet. Should others lie between the two by now, the time is later
/// than it need be.
fn due_noncurrent(
    apply: &Apply<'_>,
    (record, rules): (&BucketRecord, &Lifecycle),
    key: &str,
    (generation, next): (Generation, Generation),
) -> Result<Option<Past>, StateError> {
    let row_key = past::ser_key(record.bucket, key, generation);
    let found: Option<Past> = load(apply.kv, Table::Noncurrent, &row_key)?;
    let Some(past) = found.filter(|_| next > generation) else {
        return Ok(None);
    };
    let Some(since_ms) = written_at(apply.kv, record, key, next)? else {
        return Ok(None);
    };
    let newer = newer_versions(apply.kv, record, key, generation)?;
    let (since, now_ms) = ((since_ms, newer), apply.now_ms());
    let rule = match &past {
        Past::Version(row) => rules.expires_noncurrent(&facts(key, row), since, now_ms),
        Past::Marker(_) => rules.expires_old_marker(key, since, now_ms),
    };
    Ok(rule.map(|_| past))
}

/// Since when something of a key stands where it does, if it is there.
fn written_at(
    kv: &dyn KvRead,
    record: &BucketRecord,
    key: &str,
    generation: Generation,
) -> Result<Option<u64>, StateError> {
    let current: Option<VersionRow> = load(kv, Table::Objects, &ser_key(record.bucket, key))?;
    if let Some(row) = current.filter(|row| row.generation == generation) {
        return Ok(Some(row.took_its_place_ms()));
    }
    let row_key = past::ser_key(record.bucket, key, generation);
    let found: Option<Past> = load(kv, Table::Noncurrent, &row_key)?;
    Ok(found.map(|found| match found {
        Past::Version(row) => row.took_its_place_ms(),
        Past::Marker(marker) => marker.modified_ms,
    }))
}

/// How many versions of a key are newer and not current, counted as far as rules can ask.
fn newer_versions(
    kv: &dyn KvRead,
    record: &BucketRecord,
    key: &str,
    generation: Generation,
) -> Result<u32, StateError> {
    let first = past::ser_key(record.bucket, key, Generation(u64::MAX));
    let last = past::ser_key(record.bucket, key, generation);
    let (mut count, mut damage) = (0, None);
    let range = (Bound::Included(&first[..]), Bound::Excluded(&last[..]));
    kv.scan(Table::Noncurrent, range.0, range.1, &mut |_, value| {
        match past::deser_past_head(value) {
            Ok(past::PastHead::Version { .. }) => count += 1,
            Ok(past::PastHead::Marker(_)) => {}
            Err(source) => damage = Some(source),
        }
        if damage.is_none() && count < RULE_KEEPS_MAX {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    })?;
    match damage {
        None => Ok(count),
        Some(source) => Err(StateError::corrupt(Table::Noncurrent)(source)),
    }
}

/// Whether this marker is all that a key has.
pub(crate) fn is_last_marker(
    kv: &dyn KvRead,
    record: &BucketRecord,
    key: &str,
    generation: Generation,
) -> Result<bool, StateError> {
    let row_key = ser_key(record.bucket, key);
    if kv.get(Table::Objects, &row_key)?.is_some() {
        return Ok(false);
    }
    let first = past::ser_key(record.bucket, key, Generation(u64::MAX));
    let last = past::ser_key(record.bucket, key, Generation(0));
    let mut all = Vec::new();
    let range = (Bound::Included(&first[..]), Bound::Included(&last[..]));
    kv.scan(Table::Noncurrent, range.0, range.1, &mut |_, value| {
        all.push(Past::deser_value(value));
        if all.len() < 2 {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    })?;
    let all: Result<Vec<Past>, _> = all.into_iter().collect();
    let all = all.map_err(StateError::corrupt(Table::Noncurrent))?;
    Ok(matches!(&all[..], [Past::Marker(marker)] if marker.generation == generation))
}

fn end_upload(
    apply: &mut Apply<'_>,
    (record, rules): (&BucketRecord, &Lifecycle),
    due: &Due,
    id: UploadId,
    done: &mut Expired,
) -> Result<(), StateError> {
    let key = due.key.as_str();
    let upload_key = uploads::ser_key(record.bucket, key, id);
    let row: Option<UploadRow> = load(apply.kv, Table::Uploads, &upload_key)?;
    let is_due = |row: &UploadRow| rules.aborts(key, row.created_ms, apply.now_ms()).is_some();
    let Some(row) = row.filter(is_due) else {
        return Ok(());
    };
    done.uploads += 1;
    done.bytes += row.totals.bytes;
    let name = UploadName {
        bucket: record.bucket,
        key: due.key.clone(),
        upload: id,
    };
    upload::end(apply, &name, &row)
}
