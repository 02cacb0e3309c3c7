//! A bucket's profile was changed: its versions are judged by the new one, some with each entry, so that
//! no apply is long. The fence that brings the profile leaves a cursor; the group's leader proposes one
//! entry after the other until it is gone.
//!
//! So it is when a profile is not allowed any more that writes could ask for: versions that have it as
//! their own follow the bucket from then on. Others with a profile of their own are left as they are.
//!
//! Versions that are written meanwhile are judged by the new profile at their commit, wherever the
//! cursor is: to judge one again changes nothing.

use std::ops::{Bound, ControlFlow};

use marram_types::codec::DecodeError;
use marram_types::{BucketId, Generation, Profile};

use super::extents::row_extents;
use super::outcome::ObjectOutcome;
use super::put::nominal;
use super::{tickets, usage};
use crate::kinds::bucket::{self, BucketRecord, BucketState};
use crate::kinds::noncurrent::{self as past, NoncurrentCursor, Past};
use crate::kinds::object::{Body, VersionRow, deser_key, ser_key};
use crate::kinds::part::{PartTally, PartTotals, PartsBody, ser_key as ser_part_key};
use crate::kinds::profile_cursor::ProfileCursor;
use crate::kinds::versioning::Versioning;
use crate::kv::{KvError, Table};
use crate::live::{Shelf, parts_of, store_row};
use crate::requests::Apply;
use crate::stored::{StateError, Stored, load, store};

/// Versions that one entry judges.
pub(super) const VERSIONS_PER_ENTRY: usize = 128;

/// Parts after which an entry judges no further version.
const PARTS_PER_ENTRY: usize = 1024;

/// Has all versions of a bucket judged, from the first one on.
pub(super) fn begin(apply: &mut Apply<'_>, record: &BucketRecord) -> Result<(), KvError> {
    let key = bucket::ser_key(record.bucket);
    store(
        apply.kv,
        Table::ProfileCursors,
        &key,
        &ProfileCursor::default(),
    )?;
    if record.versioning != Versioning::Off {
        let cursor = NoncurrentCursor::default();
        store(apply.kv, Table::NoncurrentCursors, &key, &cursor)?;
    }
    Ok(())
}

/// Has no version of a bucket judged any more.
pub(super) fn end(apply: &mut Apply<'_>, bucket: BucketId) -> Result<(), KvError> {
    let key = bucket::ser_key(bucket);
    apply.kv.delete(Table::ProfileCursors, &key)?;
    apply.kv.delete(Table::NoncurrentCursors, &key)
}

/// The group's copy of a bucket that is there.
fn record_of(apply: &Apply<'_>, bucket: BucketId) -> Result<Option<BucketRecord>, StateError> {
    let record: Option<BucketRecord> = load(apply.kv, Table::Buckets, &bucket::ser_key(bucket))?;
    Ok(record.filter(|record| record.state != BucketState::Deleted))
}

/// Judges the next current versions. `after` is where the sender saw the cursor: an entry that comes
/// twice, or from a leader that was replaced, changes nothing.
pub(super) fn judge(
    apply: &mut Apply<'_>,
    bucket: BucketId,
    after: Option<&str>,
) -> Result<ObjectOutcome, StateError> {
    let key = bucket::ser_key(bucket);
    let cursor: Option<ProfileCursor> = load(apply.kv, Table::ProfileCursors, &key)?;
    let (Some(cursor), Some(record)) = (cursor, record_of(apply, bucket)?) else {
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
    let found = next_rows(apply, bucket, after)?;
    let (last, more) = judge_rows(apply, &record, Shelf::Current, found)?;
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

/// The same for versions that are not current.
pub(super) fn judge_noncurrent(
    apply: &mut Apply<'_>,
    bucket: BucketId,
    after: Option<&(String, Generation)>,
) -> Result<ObjectOutcome, StateError> {
    let key = bucket::ser_key(bucket);
    let cursor: Option<NoncurrentCursor> = load(apply.kv, Table::NoncurrentCursors, &key)?;
    let (Some(cursor), Some(record)) = (cursor, record_of(apply, bucket)?) else {
        return Ok(ObjectOutcome::NoncurrentJudged {
            after: None,
            done: true,
        });
    };
    if cursor.after.as_ref() != after {
        return Ok(ObjectOutcome::NoncurrentJudged {
            after: cursor.after,
            done: false,
        });
    }
    let found = next_noncurrent(apply, bucket, after)?;
    let (last, more) = judge_rows(apply, &record, Shelf::Noncurrent, found)?;
    if !more {
        apply.kv.delete(Table::NoncurrentCursors, &key)?;
        return Ok(ObjectOutcome::NoncurrentJudged {
            after: last,
            done: true,
        });
    }
    let cursor = NoncurrentCursor { after: last };
    store(apply.kv, Table::NoncurrentCursors, &key, &cursor)?;
    Ok(ObjectOutcome::NoncurrentJudged {
        after: cursor.after,
        done: false,
    })
}

/// Rows in their order, each with its place and key; a marker has no row. And whether there are more.
struct Found<P> {
    rows: Vec<(P, String, Option<VersionRow>)>,
    more: bool,
}

/// Judges what was found, and says how far it came and whether there is more.
fn judge_rows<P>(
    apply: &mut Apply<'_>,
    record: &BucketRecord,
    shelf: Shelf,
    found: Found<P>,
) -> Result<(Option<P>, bool), StateError> {
    let count = found.rows.len();
    let (mut parts, mut last) = (0, None);
    for (at, (place, key, row)) in found.rows.into_iter().enumerate() {
        if let Some(row) = row {
            parts += judge_row(apply, record, &key, (row, shelf))?.0;
        }
        last = Some(place);
        if parts >= PARTS_PER_ENTRY && at + 1 < count {
            return Ok((last, true));
        }
    }
    Ok((last, found.more))
}

/// Judges a version that goes from one table to another while its bucket's versions are gone through:
/// both cursors may have passed where it goes.
pub(super) fn catch_up(
    apply: &mut Apply<'_>,
    record: &BucketRecord,
    key: &str,
    (row, shelf): (VersionRow, Shelf),
) -> Result<VersionRow, StateError> {
    let cursor_key = bucket::ser_key(record.bucket);
    for table in [Table::ProfileCursors, Table::NoncurrentCursors] {
        if apply.kv.get(table, &cursor_key)?.is_some() {
            return Ok(judge_row(apply, record, key, (row, shelf))?.1);
        }
    }
    Ok(row)
}

/// The bucket's next current versions by key.
fn next_rows(
    apply: &Apply<'_>,
    bucket: BucketId,
    after: Option<&str>,
) -> Result<Found<String>, StateError> {
    let from = ser_key(bucket, after.unwrap_or(""));
    collect(apply, Table::Objects, (bucket, from), |key, value| {
        let name = deser_key(key)?.1.to_owned();
        Ok((name.clone(), name, Some(VersionRow::deser_value(value)?)))
    })
}

/// The bucket's next noncurrent versions by key, the newest of each first.
fn next_noncurrent(
    apply: &Apply<'_>,
    bucket: BucketId,
    after: Option<&(String, Generation)>,
) -> Result<Found<(String, Generation)>, StateError> {
    let from = match after {
        None => past::ser_prefix(bucket, "", false),
        Some((key, generation)) => past::ser_key(bucket, key, *generation),
    };
    collect(apply, Table::Noncurrent, (bucket, from), |key, value| {
        let (_, name, generation) = past::deser_key(key)?;
        let row = match Past::deser_value(value)? {
            Past::Version(row) => Some(*row),
            Past::Marker(_) => None,
        };
        Ok(((name.clone(), generation), name, row))
    })
}

/// The rows of a bucket behind a key of their table, as many as one entry looks at.
fn collect<P>(
    apply: &Apply<'_>,
    table: Table,
    (bucket, from): (BucketId, Vec<u8>),
    read: impl Fn(&[u8], &[u8]) -> Result<(P, String, Option<VersionRow>), DecodeError>,
) -> Result<Found<P>, StateError> {
    let to = ser_key(BucketId(bucket.0 + 1), "");
    let mut found = Found {
        rows: Vec::new(),
        more: false,
    };
    let mut damage = None;
    let range = (Bound::Excluded(&from[..]), Bound::Excluded(&to[..]));
    apply.kv.scan(table, range.0, range.1, &mut |key, value| {
        if found.rows.len() == VERSIONS_PER_ENTRY {
            found.more = true;
            return ControlFlow::Break(());
        }
        match read(key, value) {
            Ok(row) => {
                found.rows.push(row);
                ControlFlow::Continue(())
            }
            Err(source) => {
                damage = Some(source);
                ControlFlow::Break(())
            }
        }
    })?;
    match damage {
        None => Ok(found),
        Some(source) => Err(StateError::corrupt(table)(source)),
    }
}

/// Judges one version by the bucket's profile, or by its own where the bucket allows that: its flags, the counters, the tickets of its extents.
/// Says how many parts it has, and what it is then.
fn judge_row(
    apply: &mut Apply<'_>,
    record: &BucketRecord,
    key: &str,
    (held, shelf): (VersionRow, Shelf),
) -> Result<(usize, VersionRow), StateError> {
    let profile = record.profile_for(held.own);
    let wanted = nominal(held.size, profile);
    let mut row = held.clone();
    row.nominal = wanted;
    // What the bucket does not allow any more follows the bucket from now on.
    row.own = held.own.filter(|own| record.allowed.contains(own));
    let mut judged = 0;
    match &mut row.body {
        // Parts may have been judged by other profiles than the version: they are looked at always.
        Body::Parts(body) => {
            let tally = judge_parts(apply, profile, body)?;
            judged = usize::try_from(body.ranges.len()).expect("at most 10,000");
            body.totals.tally = tally;
            row.judge_parts(tally);
        }
        _ if wanted == held.nominal && row.own == held.own => return Ok((0, held)),
        Body::Inline { .. } => {}
        Body::Extents(_) | Body::Spilled { .. } => {
            let extents = row_extents(apply.kv, &held)?;
            row.judge(&extents);
            for extent in &extents {
                tickets::refresh(apply, extent, wanted, None)?;
            }
        }
    }
    let (old, new) = (usage::of(&held, shelf), usage::of(&row, shelf));
    usage::change(apply, record.bucket, old, new)?;
    store_row(apply.kv, (record.bucket, key), shelf, row.clone())?;
    Ok((judged, row))
}

/// Judges the parts of a version, each by what its profile asks for a part of its size.
fn judge_parts(
    apply: &mut Apply<'_>,
    profile: Profile,
    body: &PartsBody,
) -> Result<PartTally, StateError> {
    let mut totals = PartTotals::default();
    for (number, mut part) in parts_of(apply.kv, body)? {
        let wanted = nominal(part.size, profile);
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
