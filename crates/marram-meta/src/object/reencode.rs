//! Puts new data in the place of an extent's old data: widening, narrowing, a change of profile
//! (placement-protocol.md 13).

use marram_types::caps::{OBJECT_EXTENTS_MAX, PART_EXTENTS_MAX, ROW_EXTENTS_MAX};
use marram_types::{DataId, PgId, UploadId};

use super::check::check_extents;
use super::displace::{discard, displace_extent};
use super::extents::{History, adopt, below_floor, history, settle};
use super::new_extent::NewExtent;
use super::outcome::ObjectOutcome;
use super::{parts, usage, versions};
use crate::kinds::data_ref::DataRef;
use crate::kinds::extent::{Extent, ser_chunk, ser_chunk_key};
use crate::kinds::object::{Body, VersionRow};
use crate::kinds::part::{PartRow, ser_key as ser_part_key};
use crate::kv::{KvError, Table};
use crate::layout::Layout;
use crate::live::{self, Held, Holder, Shelf, spilled_chunks};
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
    let asked = held.nominal().m().min(held.extent().profile.m());
    if extents.iter().any(|new| new.extent.profile.m() < asked) {
        return Ok(ObjectOutcome::Refused(Malformed::Protection.into()));
    }
    let mut layout = Layout::default();
    let settled = match settle(apply, &mut layout, extents)? {
        Ok(settled) => settled,
        Err(refusal) => return Ok(ObjectOutcome::Refused(refusal)),
    };
    swap(apply, &mut layout, &held, &settled)
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
    settled: &[Extent],
) -> Result<ObjectOutcome, StateError> {
    match &held.holder {
        Holder::Row(row, shelf) | Holder::Chunk { row, shelf, .. } => {
            swap_in_version(apply, layout, held, (row, *shelf), settled)
        }
        Holder::Part { upload, part, row } => {
            swap_in_part(apply, layout, held, (*upload, *part, row), settled)
        }
    }
}

/// The extents with the new ones in the old one's place.
fn spliced(held: &Held, before: &[Extent], settled: &[Extent]) -> Result<Vec<Extent>, StateError> {
    let old = held.extent();
    let is_old = |e: &Extent| e.data == old.data && e.pg == old.pg;
    let at = before.iter().position(is_old).ok_or_else(live::dangling)?;
    let mut after = before.to_vec();
    after.splice(at..=at, settled.iter().cloned());
    Ok(after)
}

fn swap_in_version(
    apply: &mut Apply<'_>,
    layout: &mut Layout,
    held: &Held,
    (old_row, shelf): (&VersionRow, Shelf),
    settled: &[Extent],
) -> Result<ObjectOutcome, StateError> {
    let before = match held.holder {
        Holder::Chunk { .. } => spilled_chunks(apply.kv, old_row.version)?.concat(),
        _ => held.row_extents().to_vec(),
    };
    let after = spliced(held, &before, settled)?;
    if after.len() > OBJECT_EXTENTS_MAX {
        return Ok(ObjectOutcome::Refused(Malformed::Extents.into()));
    }
    displace_extent(apply, layout, held.extent())?;
    let name = (held.bucket, held.key.as_str());
    let holder = versions::holder(name, shelf, old_row.generation);
    adopt(apply, &holder, settled, old_row.nominal)?;

    let mut row = old_row.clone();
    row.judge(&after);
    let (old, new) = (usage::of(old_row, shelf), usage::of(&row, shelf));
    usage::change(apply, held.bucket, old, new)?;
    write_body(apply, &mut row, &before, after)?;
    live::store_row(apply.kv, name, shelf, row)?;
    Ok(ObjectOutcome::Reencoded)
}

fn swap_in_part(
    apply: &mut Apply<'_>,
    layout: &mut Layout,
    held: &Held,
    (upload, part, old_row): (UploadId, u16, &PartRow),
    settled: &[Extent],
) -> Result<ObjectOutcome, StateError> {
    let extents = spliced(held, held.row_extents(), settled)?;
    if extents.len() > PART_EXTENTS_MAX {
        return Ok(ObjectOutcome::Refused(Malformed::Extents.into()));
    }
    let old_row = PartRow {
        extents: held.row_extents().to_vec(),
        ..old_row.clone()
    };
    let row = PartRow {
        extents,
        ..old_row.clone()
    };
    displace_extent(apply, layout, held.extent())?;
    let holder = DataRef::Part {
        bucket: held.bucket,
        key: held.key.clone(),
        upload,
        part,
    };
    adopt(apply, &holder, settled, row.nominal)?;
    let name = (held.bucket, held.key.as_str());
    parts::recount(apply, name, (upload, part), (&old_row, &row))?;
    store(
        apply.kv,
        Table::UploadParts,
        &ser_part_key(upload, part),
        &row,
    )?;
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
