//! Takes data out of use: what a row held goes to the garbage queue.

use std::ops::{Bound, ControlFlow};

use marram_types::VersionId;

use crate::kinds::data_ref::{self, DataRef};
use crate::kinds::extent::{Extent, deser_chunk, ser_chunk_key};
use crate::kinds::object::{Body, VersionRow};
use crate::kinds::{garbage, inline, ticket};
use crate::kv::{KvError, KvRead, Table};
use crate::requests::Apply;
use crate::stored::{StateError, Stored};

/// Queues what a row holds at this apply, not what a proposer remembers (placement-protocol.md 11).
/// Inline bytes go at once: they have no readers outside one view of the state.
pub(super) fn displace(apply: &mut Apply<'_>, row: &VersionRow) -> Result<(), StateError> {
    match &row.body {
        Body::Inline { data } => apply.kv.delete(Table::Inline, &inline::ser_key(*data))?,
        Body::Extents(extents) => queue_all(apply, extents)?,
        Body::Spilled { .. } => {
            let chunks = spilled_chunks(apply.kv, row.version)?;
            for (chunk, extents) in (0_u16..).zip(&chunks) {
                let key = ser_chunk_key(row.version, chunk);
                apply.kv.delete(Table::ExtentRows, &key)?;
                queue_all(apply, extents)?;
            }
        }
    }
    Ok(())
}

/// Queues the data of an attempt that did not commit it, and marks it so that no later attempt
/// does. Data that the group knows already is left alone: the same entry may have committed it
/// before.
pub(super) fn discard(apply: &mut Apply<'_>, extents: &[Extent]) -> Result<(), StateError> {
    for extent in extents {
        let key = data_ref::ser_key(extent.pg, extent.data);
        if apply.kv.get(Table::DataRefs, &key)?.is_none() {
            let discarded = DataRef::Discarded { at: apply.index };
            queue(apply, extent, &discarded)?;
        }
    }
    Ok(())
}

fn queue_all(apply: &mut Apply<'_>, extents: &[Extent]) -> Result<(), KvError> {
    let displaced = DataRef::Displaced { at: apply.index };
    extents
        .iter()
        .try_for_each(|extent| queue(apply, extent, &displaced))
}

fn queue(apply: &mut Apply<'_>, extent: &Extent, reference: &DataRef) -> Result<(), KvError> {
    let at = apply.index;
    let garbage_key = garbage::ser_key(at, extent.data);
    apply
        .kv
        .put(Table::Garbage, &garbage_key, &garbage::ser_value(extent))?;
    let ref_key = data_ref::ser_key(extent.pg, extent.data);
    apply
        .kv
        .put(Table::DataRefs, &ref_key, &reference.ser_value())?;
    apply
        .kv
        .delete(Table::Tickets, &ticket::ser_key(extent.data))
}

/// The extents of a version that lie in rows of their own, chunk by chunk.
pub(crate) fn spilled_chunks(
    kv: &dyn KvRead,
    version: VersionId,
) -> Result<Vec<Vec<Extent>>, StateError> {
    let (first, last) = (ser_chunk_key(version, 0), ser_chunk_key(version, u16::MAX));
    let mut chunks = Vec::new();
    kv.scan(
        Table::ExtentRows,
        Bound::Included(&first),
        Bound::Included(&last),
        &mut |_, bytes| {
            chunks.push(deser_chunk(bytes));
            ControlFlow::Continue(())
        },
    )?;
    chunks
        .into_iter()
        .collect::<Result<_, _>>()
        .map_err(StateError::corrupt(Table::ExtentRows))
}
