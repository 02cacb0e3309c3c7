//! The group's own copies of what the root decided (rules.md 11).

use std::collections::BTreeMap;

use marram_placement::PgRow;
use marram_types::{BucketId, PgId, PoolId, Profile};

use super::outcome::ObjectOutcome;
use super::{drops, profile, quota};
use crate::kinds::bucket::{self, BucketRecord, BucketState};
use crate::kinds::layout_row::{self, LayoutRow};
use crate::kinds::usage::Usage;
use crate::kv::{KvRead, Table};
use crate::refusal::{Malformed, Refusal};
use crate::requests::Apply;
use crate::stored::{StateError, load, store};

/// The group's copy of a bucket that takes writes, or why there is none.
pub(super) fn open_bucket(
    kv: &dyn KvRead,
    bucket: BucketId,
) -> Result<Result<BucketRecord, Refusal>, StateError> {
    let copy: Option<BucketRecord> = load(kv, Table::Buckets, &bucket::ser_key(bucket))?;
    Ok(match copy {
        None => Err(Refusal::BucketUnknown { bucket }),
        Some(record) if record.state.accepts_writes() => Ok(record),
        Some(record) if record.state == BucketState::Deleted => {
            Err(Refusal::BucketDeleted { bucket })
        }
        Some(_) => Err(Refusal::BucketSealed { bucket }),
    })
}

/// Takes a bucket record if it is newer than the group's copy, and says which one the group holds
/// and how many versions and markers are left (rules.md 12).
pub(super) fn bucket(
    apply: &mut Apply<'_>,
    record: &BucketRecord,
) -> Result<ObjectOutcome, StateError> {
    let key = bucket::ser_key(record.bucket);
    let held: Option<BucketRecord> = load(apply.kv, Table::Buckets, &key)?;
    let usage: Usage = load(apply.kv, Table::Usage, &key)?.unwrap_or_default();
    let held = match held {
        Some(held) if !record.is_newer_than(&held) => held,
        held => {
            take(apply, record)?;
            quota::follow(apply, record)?;
            if record.state == BucketState::Deleted {
                profile::end(apply, record.bucket)?;
                drops::begin_bucket(apply, record.bucket)?;
            } else if held.is_some_and(|held| asks_for_others(&held, record)) {
                profile::begin(apply, record)?;
            }
            record.clone()
        }
    };
    if held.state == BucketState::Deleted && usage.left() == 0 {
        apply.kv.delete(Table::Usage, &key)?;
    }
    Ok(ObjectOutcome::Fenced {
        live: usage.left(),
        epoch: held.epoch,
        state: held.state,
    })
}

/// Whether versions are to be judged again: the bucket's profile is another one, or one is not allowed any
/// more that versions may have as their own.
fn asks_for_others(held: &BucketRecord, record: &BucketRecord) -> bool {
    let stays = |profile: &Profile| record.allowed.contains(profile);
    held.profile != record.profile || !held.allowed.iter().all(stays)
}

/// Keeps a record. Its rules have a table of their own, because every write reads the record.
fn take(apply: &mut Apply<'_>, record: &BucketRecord) -> Result<(), StateError> {
    let key = bucket::ser_key(record.bucket);
    let lean = BucketRecord {
        lifecycle: None,
        ..record.clone()
    };
    store(apply.kv, Table::Buckets, &key, &lean)?;
    match &record.lifecycle {
        Some(rules) if record.state != BucketState::Deleted => {
            store(apply.kv, Table::Lifecycles, &key, rules.as_ref())?;
        }
        _ => apply.kv.delete(Table::Lifecycles, &key)?,
    }
    Ok(())
}

/// Takes the rows that are newer than the group's copies. All rows of an entry or none: a refusal
/// changes nothing.
pub(super) fn layout(
    apply: &mut Apply<'_>,
    pool: PoolId,
    rows: &[(u16, PgRow)],
) -> Result<ObjectOutcome, StateError> {
    let fits = |row: &PgRow| row.is_sound() && row.drives.len() == usize::from(pool.0);
    if !rows.iter().all(|(_, row)| fits(row)) {
        return Ok(ObjectOutcome::Refused(Malformed::Pool.into()));
    }
    let mut taken: BTreeMap<PgId, LayoutRow> = BTreeMap::new();
    let mut highest = 0;
    for (index, row) in rows {
        let pg = PgId {
            pool,
            index: *index,
        };
        let held = match taken.get(&pg) {
            Some(taken) => Some(taken.clone()),
            None => load(apply.kv, Table::LayoutRows, &layout_row::ser_key(pg))?,
        };
        highest = highest.max(row.epoch);
        if let Some(LayoutRow { row: held, .. }) = &held {
            highest = highest.max(held.epoch);
            if held.epoch >= row.epoch {
                continue;
            }
            if !may_follow(held, row) {
                let epoch = held.epoch;
                return Ok(ObjectOutcome::Refused(Refusal::LayoutGap { pg, epoch }));
            }
        }
        let row = LayoutRow {
            fenced_at: apply.index,
            row: row.clone(),
        };
        taken.insert(pg, row);
    }
    for (pg, row) in &taken {
        store(apply.kv, Table::LayoutRows, &layout_row::ser_key(*pg), row)?;
    }
    Ok(ObjectOutcome::LayoutFenced { epoch: highest })
}

/// Whether a row may replace the group's copy. Readers are sent to another drive only when the
/// group itself was in the Dual phase of that very move before: what it committed until then was
/// written to both ends, or names its place, and the rest was copied after that fence
/// (placement-protocol.md 3). Without it the fence of the Dual phase was left out, and its rows
/// would claim what nobody wrote.
fn may_follow(held: &PgRow, next: &PgRow) -> bool {
    (0..=u8::MAX).zip(&next.drives).all(|(slot, drive)| {
        let places = held.must_hold(slot);
        places.is_some_and(|places| places.contains(*drive))
    })
}
