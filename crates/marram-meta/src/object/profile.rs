//! A bucket's profile was changed: its versions are judged by the new one, some with each entry, so that
//! no apply is long. The fence that brings the profile leaves a cursor; the group's leader proposes one
//! entry after the other until it is gone.
//!
//! Versions that are written meanwhile are judged by the new profile at their commit, wherever the
//! cursor is: to judge one again changes nothing.

use std::ops::{Bound, ControlFlow};

use marram_types::BucketId;

use super::extents::row_extents;
use super::outcome::ObjectOutcome;
use super::put::nominal;
use super::{tickets, usage};
use crate::kinds::bucket::{self, BucketRecord, BucketState};
use crate::kinds::object::{Body, VersionRow, deser_key, ser_key};
use crate::kinds::part::{PartTally, PartTotals, PartsBody, ser_key as ser_part_key};
use crate::kinds::profile_cursor::ProfileCursor;
use crate::kv::Table;
use crate::live::parts_of;
use crate::requests::Apply;
use crate::stored::{StateError, Stored, load, store};

/// Versions that one entry judges.
pub(super) const VERSIONS_PER_ENTRY: usize = 128;

/// Parts after which an entry judges no further version.
const PARTS_PER_ENTRY: usize = 1024;

/// Has all versions of a bucket judged, from the first one on.
pub(super) fn begin(apply: &mut Apply<'_>, bucket: BucketId) -> Result<(), StateError> {
    let key = bucket::ser_key(bucket);
    let cursor = ProfileCursor::default();
    Ok(store(apply.kv, Table::ProfileCursors, &key, &cursor)?)
}

/// Judges the next versions. `after` is where the sender saw the cursor: an entry that comes twice, or
/// from a leader that was replaced, changes nothing.
pub(super) fn judge(
    apply: &mut Apply<'_>,
    bucket: BucketId,
    after: Option<&str>,
) -> Result<ObjectOutcome, StateError> {
    let key = bucket::ser_key(bucket);
    let cursor: Option<ProfileCursor> = load(apply.kv, Table::ProfileCursors, &key)?;
    let record: Option<BucketRecord> = load(apply.kv, Table::Buckets, &key)?;
    let record = record.filter(|record| record.state != BucketState::Deleted);
    let (Some(cursor), Some(record)) = (cursor, record) else {
        return Ok(ObjectOutcome::Judged {
            after: None,
            done: true,
        });
    };
    if cursor.after.as_deref() != after {
        return Ok(ObjectOutcome::Judged {
            after: cursor.after,
            done: false,
        });
    }
    let (mut rows, mut more) = next_rows(apply, bucket, after)?;
    let mut parts = 0;
    for at in 0..rows.len() {
        let (key, row) = &rows[at];
        parts += judge_row(apply, &record, key, row)?;
        if parts >= PARTS_PER_ENTRY && at + 1 < rows.len() {
            rows.truncate(at + 1);
            more = true;
            break;
        }
    }
    let last = rows.into_iter().next_back().map(|(key, _)| key);
    if !more {
        apply.kv.delete(Table::ProfileCursors, &key)?;
        return Ok(ObjectOutcome::Judged {
            after: last,
            done: true,
        });
    }
    let cursor = ProfileCursor { after: last };
    store(apply.kv, Table::ProfileCursors, &key, &cursor)?;
    Ok(ObjectOutcome::Judged {
        after: cursor.after,
        done: false,
    })
}

/// The bucket's next versions by key, and whether there are more.
fn next_rows(
    apply: &Apply<'_>,
    bucket: BucketId,
    after: Option<&str>,
) -> Result<(Vec<(String, VersionRow)>, bool), StateError> {
    let from = ser_key(bucket, after.unwrap_or(""));
    let to = ser_key(BucketId(bucket.0 + 1), "");
    let mut rows = Vec::new();
    let mut more = false;
    let mut damage = None;
    let range = (Bound::Excluded(&from[..]), Bound::Excluded(&to[..]));
    apply
        .kv
        .scan(Table::Objects, range.0, range.1, &mut |key, value| {
            if rows.len() == VERSIONS_PER_ENTRY {
                more = true;
                return ControlFlow::Break(());
            }
            let row = deser_key(key)
                .and_then(|(_, name)| Ok((name.to_owned(), VersionRow::deser_value(value)?)));
            match row {
                Ok(row) => {
                    rows.push(row);
                    ControlFlow::Continue(())
                }
                Err(source) => {
                    damage = Some(source);
                    ControlFlow::Break(())
                }
            }
        })?;
    match damage {
        None => Ok((rows, more)),
        Some(source) => Err(StateError::corrupt(Table::Objects)(source)),
    }
}

/// Judges one version by the bucket's profile: its flags, the counters, the tickets of its extents.
/// Says how many parts it has.
fn judge_row(
    apply: &mut Apply<'_>,
    record: &BucketRecord,
    key: &str,
    held: &VersionRow,
) -> Result<usize, StateError> {
    let wanted = nominal(held.size, record.profile);
    let mut row = held.clone();
    row.nominal = wanted;
    let mut judged = 0;
    match &mut row.body {
        // Parts may have been judged by other profiles than the version: they are looked at always.
        Body::Parts(body) => {
            let tally = judge_parts(apply, record, body)?;
            judged = usize::try_from(body.ranges.len()).expect("at most 10,000");
            body.totals.tally = tally;
            row.judge_parts(tally);
        }
        _ if wanted == held.nominal => return Ok(0),
        Body::Inline { .. } => {}
        Body::Extents(_) | Body::Spilled { .. } => {
            let extents = row_extents(apply.kv, held)?;
            row.judge(&extents);
            for extent in &extents {
                tickets::refresh(apply, extent, wanted, None)?;
            }
        }
    }
    usage::replace(apply, record.bucket, Some(held), usage::of(&row))?;
    let row_key = ser_key(record.bucket, key);
    store(apply.kv, Table::Objects, &row_key, &row)?;
    Ok(judged)
}

/// Judges the parts of a version, each by what the bucket asks for a part of its size.
fn judge_parts(
    apply: &mut Apply<'_>,
    record: &BucketRecord,
    body: &PartsBody,
) -> Result<PartTally, StateError> {
    let mut totals = PartTotals::default();
    for (number, mut part) in parts_of(apply.kv, body)? {
        let wanted = nominal(part.size, record.profile);
        if part.nominal != wanted {
            part.nominal = wanted;
            for extent in &part.extents {
                tickets::refresh(apply, extent, wanted, None)?;
            }
            let key = ser_part_key(body.upload, number);
            store(apply.kv, Table::UploadParts, &key, &part)?;
        }
        totals = totals.plus(part.totals());
    }
    Ok(totals.tally)
}
