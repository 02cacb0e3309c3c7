//! Puts new data in the place of an extent's old data: widening, narrowing, a change of profile
//! (placement-protocol.md 13).

use marram_types::caps::{OBJECT_EXTENTS_MAX, ROW_EXTENTS_MAX};
use marram_types::{DataId, PgId};

use super::check::check_extents;
use super::displace::{discard, displace_extent};
use super::extents::{History, adopt, below_floor, history, settle};
use super::new_extent::NewExtent;
use super::outcome::ObjectOutcome;
use super::usage;
use crate::kinds::extent::{Extent, ser_chunk, ser_chunk_key};
use crate::kinds::object::{Body, VersionRow, ser_key};
use crate::kv::{KvError, Table};
use crate::layout::Layout;
use crate::live::{self, Held, spilled_chunks};
use crate::refusal::Malformed;
use crate::requests::Apply;
use crate::stored::{StateError, store};

/// Applies a re-encoding. Comparing the data id is enough: the entry swaps data fields only, and
/// data never belongs to two versions. Nothing of the version itself changes (rules.md 15).
pub(super) fn apply(
    apply: &mut Apply<'_>,
    (pg, data): (PgId, DataId),
    extents: &[NewExtent],
) -> Result<ObjectOutcome, StateError> {
    if let Err(what) = check_extents(extents, apply.index) {
        return Ok(ObjectOutcome::Refused(what.into()));
    }
    match history(apply, extents)? {
        History::New => {}
        History::Committed => return Ok(ObjectOutcome::AlreadyCommitted),
        History::Discarded => return superseded(apply, extents),
    }
    // Before anything is discarded: below the floor the queue knew the data perhaps, and a repeated
    // entry would queue it once more.
    if let Some(refusal) = below_floor(apply, extents) {
        return Ok(ObjectOutcome::Refused(refusal));
    }
    let Some(held) = live::find(apply.kv, pg, data)? else {
        return superseded(apply, extents);
    };
    // No overflow: each length is at most 1 GiB.
    if extents.iter().map(|new| new.extent.length).sum::<u64>() != held.extent().length {
        return Ok(ObjectOutcome::Refused(Malformed::Size.into()));
    }
    // A worker may have planned it before the bucket's profile was raised.
    let asked = held.row.nominal.m().min(held.extent().profile.m());
    if extents.iter().any(|new| new.extent.profile.m() < asked) {
        return Ok(ObjectOutcome::Refused(Malformed::Protection.into()));
    }
    let mut layout = Layout::default();
    let settled = match settle(apply, &mut layout, extents)? {
        Ok(settled) => settled,
        Err(refusal) => return Ok(ObjectOutcome::Refused(refusal)),
    };
    swap(apply, &mut layout, &held, settled)
}

/// The old data is not what the row holds: the new data can never be committed.
fn superseded(apply: &mut Apply<'_>, extents: &[NewExtent]) -> Result<ObjectOutcome, StateError> {
    discard(apply, extents)?;
    Ok(ObjectOutcome::Superseded)
}

fn swap(
    apply: &mut Apply<'_>,
    layout: &mut Layout,
    held: &Held,
    settled: Vec<Extent>,
) -> Result<ObjectOutcome, StateError> {
    let old = held.extent().clone();
    let before = match held.row.body {
        Body::Spilled { .. } => spilled_chunks(apply.kv, held.row.version)?.concat(),
        _ => held.row_extents().to_vec(),
    };
    let is_old = |e: &Extent| e.data == old.data && e.pg == old.pg;
    let Some(at) = before.iter().position(is_old) else {
        return Err(live::dangling());
    };
    if before.len() + settled.len() - 1 > OBJECT_EXTENTS_MAX {
        return Ok(ObjectOutcome::Refused(Malformed::Extents.into()));
    }
    displace_extent(apply, layout, &old)?;
    adopt(apply, held.bucket, &held.key, &settled, held.row.nominal)?;
    let mut after = before.clone();
    after.splice(at..=at, settled);

    let mut row = held.row.clone();
    row.judge(&after);
    usage::replace(apply, held.bucket, Some(&held.row), usage::of(&row))?;
    write_body(apply, &mut row, &before, after)?;
    let key = ser_key(held.bucket, &held.key);
    store(apply.kv, Table::Objects, &key, &row)?;
    Ok(ObjectOutcome::Reencoded)
}

/// Gives the row its extents; chunks that stay as they are are not written. There are never fewer
/// extents than before, so no chunk goes.
fn write_body(
    apply: &mut Apply<'_>,
    row: &mut VersionRow,
    before: &[Extent],
    after: Vec<Extent>,
) -> Result<(), KvError> {
    if after.len() <= ROW_EXTENTS_MAX {
        row.body = Body::Extents(after);
        return Ok(());
    }
    let was_spilled = before.len() > ROW_EXTENTS_MAX;
    let mut old = before.chunks(ROW_EXTENTS_MAX);
    for (chunk, extents) in (0_u16..).zip(after.chunks(ROW_EXTENTS_MAX)) {
        if was_spilled && old.next() == Some(extents) {
            continue;
        }
        let key = ser_chunk_key(row.version, chunk);
        apply.kv.put(Table::ExtentRows, &key, &ser_chunk(extents))?;
    }
    row.body = Body::Spilled {
        extents: u32::try_from(after.len()).expect("at most OBJECT_EXTENTS_MAX"),
    };
    Ok(())
}
