//! The floors below which data may go, and the end of the garbage queue (rules.md 27, 28).

use super::command::CollectedEntry;
use super::outcome::ObjectOutcome;
use crate::kinds::{data_ref, garbage};
use crate::kv::Table;
use crate::requests::Apply;
use crate::stored::StateError;

/// Raises the floors. They never fall and never pass this entry: a floor above it would refuse
/// writes that have yet to begin.
pub(super) fn raise(apply: &mut Apply<'_>, gc_floor: u64, read_floor: u64) -> ObjectOutcome {
    let index = apply.index;
    let state = &mut apply.state;
    state.gc_floor = state.gc_floor.max(gc_floor.min(index));
    state.read_floor = state.read_floor.max(read_floor.min(index));
    ObjectOutcome::Done
}

/// Forgets garbage that was deleted. An entry whose data begins at or above the floor stays: a
/// repeated commit of it is recognised by it (placement-protocol.md 10).
pub(super) fn collected(
    apply: &mut Apply<'_>,
    entries: &[CollectedEntry],
) -> Result<ObjectOutcome, StateError> {
    for entry in entries {
        let key = garbage::ser_key(entry.at, entry.data);
        let is_due = entry.data.begin < apply.state.gc_floor && entry.at < apply.state.read_floor;
        let Some(bytes) = apply.kv.get(Table::Garbage, &key)?.filter(|_| is_due) else {
            continue;
        };
        let (extent, _) =
            garbage::deser_value(&bytes).map_err(StateError::corrupt(Table::Garbage))?;
        apply.kv.delete(Table::Garbage, &key)?;
        let ref_key = data_ref::ser_key(extent.pg, extent.data);
        apply.kv.delete(Table::DataRefs, &ref_key)?;
    }
    Ok(ObjectOutcome::Done)
}
