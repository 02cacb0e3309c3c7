//! Drives whose node is about to be removed (rules.md 25).

use std::borrow::Cow;
use std::ops::{Bound, ControlFlow};

use marram_types::DriveId;

use super::new_extent::NewExtent;
use super::outcome::ObjectOutcome;
use crate::kinds::tombstone::{GoneDrive, Tombstone, ser_drive_key};
use crate::kv::{KvRead, Table};
use crate::refusal::Refusal;
use crate::requests::Apply;
use crate::stored::{StateError, load, store};

/// Takes a tombstone, or that it was taken back, if it is newer than what the group knows.
pub(super) fn tombstone(
    apply: &mut Apply<'_>,
    tombstone: &Tombstone,
) -> Result<ObjectOutcome, StateError> {
    let told = GoneDrive {
        epoch: tombstone.epoch,
        stands: tombstone.stands,
    };
    for drive in &tombstone.drives {
        let key = ser_drive_key(*drive);
        let held: Option<GoneDrive> = load(apply.kv, Table::GoneDrives, &key)?;
        if held.is_none_or(|held| held.epoch < told.epoch) {
            store(apply.kv, Table::GoneDrives, &key, &told)?;
        }
    }
    Ok(ObjectOutcome::Done)
}

/// Whether a tombstone stands on the drive.
pub(super) fn is_gone(kv: &dyn KvRead, drive: DriveId) -> Result<bool, StateError> {
    let held: Option<GoneDrive> = load(kv, Table::GoneDrives, &ser_drive_key(drive))?;
    Ok(held.is_some_and(|held| held.stands))
}

/// The extents with what was written to drives that are about to go taken away. A shard that is
/// nowhere else is as good as not written, and then not all shards are durable (rules.md 18, 25).
pub(super) fn without_gone<'e>(
    kv: &dyn KvRead,
    extents: &'e [NewExtent],
) -> Result<Result<Cow<'e, [NewExtent]>, Refusal>, StateError> {
    if !any(kv)? {
        return Ok(Ok(Cow::Borrowed(extents)));
    }
    let mut living = extents.to_vec();
    for new in &mut living {
        for (shard, drive) in new.wrote.clone() {
            if !is_gone(kv, drive)? {
                continue;
            }
            new.wrote.retain(|(_, on)| *on != drive);
            if new.written(shard).is_empty() {
                return Ok(Err(Refusal::DriveGone { drive }));
            }
        }
    }
    Ok(Ok(Cow::Owned(living)))
}

/// Nearly always there is none, and then no drive is looked up.
fn any(kv: &dyn KvRead) -> Result<bool, StateError> {
    let mut found = false;
    let all = (Bound::Unbounded, Bound::Unbounded);
    kv.scan(Table::GoneDrives, all.0, all.1, &mut |_, _| {
        found = true;
        ControlFlow::Break(())
    })?;
    Ok(found)
}
