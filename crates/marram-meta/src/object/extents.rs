//! What puts and re-encodings have in common: extents on their way into a row.

use marram_types::Profile;

use super::gone::without_gone;
use super::new_extent::NewExtent;
use super::tickets;
use crate::kinds::data_ref::{self, DataRef};
use crate::kinds::extent::Extent;
use crate::kinds::object::{Body, VersionRow};
use crate::kv::{KvRead, Table};
use crate::layout::Layout;
use crate::live::{parts_of, spilled_chunks};
use crate::refusal::Refusal;
use crate::requests::Apply;
use crate::stored::{StateError, Stored, load};

/// What became of an earlier apply of the same data.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum History {
    New,
    /// A version holds it or held it.
    Committed,
    /// It was given up, so that it can never be committed.
    Discarded,
}

/// Whether the data was applied before, in whatever entry (placement-protocol.md 10).
pub(super) fn history(apply: &Apply<'_>, extents: &[NewExtent]) -> Result<History, StateError> {
    let mut history = History::New;
    for new in extents {
        let key = data_ref::ser_key(new.extent.pg, new.extent.data);
        match load(apply.kv, Table::DataRefs, &key)? {
            None => {}
            Some(DataRef::Discarded { .. }) => return Ok(History::Discarded),
            Some(
                DataRef::Live { .. }
                | DataRef::Noncurrent { .. }
                | DataRef::Part { .. }
                | DataRef::Displaced { .. },
            ) => history = History::Committed,
        }
    }
    Ok(history)
}

/// Why data that began too long ago cannot be committed (placement-protocol.md 6).
pub(super) fn below_floor(apply: &Apply<'_>, extents: &[NewExtent]) -> Option<Refusal> {
    let floor = apply.state.gc_floor;
    let below = extents.iter().any(|new| new.extent.data.begin < floor);
    below.then_some(Refusal::BelowFloor { floor })
}

/// The extents as a row will hold them, by the layout that the group knows at this apply, or why
/// they cannot be committed: begun below the floor (placement-protocol.md 6), in a placement
/// group that the group was not told of, or with a shard only on a node that is about to go.
pub(super) fn settle(
    apply: &Apply<'_>,
    layout: &mut Layout,
    extents: &[NewExtent],
) -> Result<Result<Vec<Extent>, Refusal>, StateError> {
    if let Some(refusal) = below_floor(apply, extents) {
        return Ok(Err(refusal));
    }
    let extents = match without_gone(apply.kv, extents)? {
        Ok(extents) => extents,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let mut settled = Vec::with_capacity(extents.len());
    for new in extents.iter() {
        let pg = new.extent.pg;
        let known = layout.row(apply.kv, pg)?;
        match known.and_then(|known| new.settle(&known.row)) {
            Some(extent) => settled.push(extent),
            None => return Ok(Err(Refusal::PgUnknown { pg })),
        }
    }
    Ok(Ok(settled))
}

/// All extents of a version, wherever they are written.
pub(crate) fn row_extents(kv: &dyn KvRead, row: &VersionRow) -> Result<Vec<Extent>, StateError> {
    Ok(match &row.body {
        Body::Inline { .. } => Vec::new(),
        Body::Extents(extents) => extents.clone(),
        Body::Spilled { .. } => spilled_chunks(kv, row.version)?.concat(),
        Body::Parts(body) => {
            let rows = parts_of(kv, body)?.into_iter();
            rows.flat_map(|(_, part)| part.extents).collect()
        }
    })
}

/// Writes the back references of extents that a row holds from now on, and files their tickets.
pub(super) fn adopt(
    apply: &mut Apply<'_>,
    holder: &DataRef,
    extents: &[Extent],
    nominal: Profile,
) -> Result<(), StateError> {
    let reference = holder.ser_value();
    for extent in extents {
        let ref_key = data_ref::ser_key(extent.pg, extent.data);
        apply.kv.put(Table::DataRefs, &ref_key, &reference)?;
        tickets::file(apply, extent, nominal)?;
    }
    Ok(())
}
