//! Takes data out of use: what a row held goes to the garbage queue, with every place that may hold
//! it by then.

use marram_types::{BucketId, DriveId};

use super::new_extent::NewExtent;
use super::{drops, tickets};
use crate::kinds::data_ref::{self, DataRef};
use crate::kinds::extent::{Extent, ser_chunk_key};
use crate::kinds::object::{Body, VersionRow};
use crate::kinds::{garbage, inline};
use crate::kv::Table;
use crate::layout::Layout;
use crate::live::spilled_chunks;
use crate::requests::Apply;
use crate::stored::{StateError, Stored};

/// Queues what a row holds at this apply, not what a proposer remembers (placement-protocol.md 11).
/// Inline bytes go at once: they have no readers outside one view of the state.
pub(super) fn displace(
    apply: &mut Apply<'_>,
    layout: &mut Layout,
    (bucket, key): (BucketId, &str),
    row: &VersionRow,
) -> Result<(), StateError> {
    match &row.body {
        Body::Inline { data } => apply.kv.delete(Table::Inline, &inline::ser_key(*data))?,
        // Later entries queue them, some parts with each.
        Body::Parts(body) => drops::begin(apply, (bucket, key), body.upload)?,
        Body::Extents(extents) => {
            for extent in extents {
                displace_extent(apply, layout, extent)?;
            }
        }
        Body::Spilled { .. } => {
            let chunks = spilled_chunks(apply.kv, row.version)?;
            for (chunk, extents) in (0_u16..).zip(&chunks) {
                let key = ser_chunk_key(row.version, chunk);
                apply.kv.delete(Table::ExtentRows, &key)?;
                for extent in extents {
                    displace_extent(apply, layout, extent)?;
                }
            }
        }
    }
    Ok(())
}

/// Queues an extent that a version held until now.
pub(super) fn displace_extent(
    apply: &mut Apply<'_>,
    layout: &mut Layout,
    extent: &Extent,
) -> Result<(), StateError> {
    let places = layout.all_places(apply.kv, extent)?;
    let displaced = DataRef::Displaced { at: apply.index };
    queue(apply, extent, &places, &displaced)
}

/// Queues the data of an attempt that did not commit it, and marks it so that no later attempt
/// does. Data that the group knows already is left alone: the same entry may have committed it
/// before.
pub(super) fn discard(apply: &mut Apply<'_>, extents: &[NewExtent]) -> Result<(), StateError> {
    for new in extents {
        let key = data_ref::ser_key(new.extent.pg, new.extent.data);
        if apply.kv.get(Table::DataRefs, &key)?.is_none() {
            let discarded = DataRef::Discarded { at: apply.index };
            queue(apply, &new.extent, &new.places(), &discarded)?;
        }
    }
    Ok(())
}

fn queue(
    apply: &mut Apply<'_>,
    extent: &Extent,
    places: &[Vec<DriveId>],
    reference: &DataRef,
) -> Result<(), StateError> {
    let at = apply.index;
    let garbage_key = garbage::ser_key(at, extent.data);
    let entry = garbage::ser_value(apply.now_ms(), extent, places);
    apply.kv.put(Table::Garbage, &garbage_key, &entry)?;
    let ref_key = data_ref::ser_key(extent.pg, extent.data);
    apply
        .kv
        .put(Table::DataRefs, &ref_key, &reference.ser_value())?;
    tickets::take_back(apply, extent.data)
}
