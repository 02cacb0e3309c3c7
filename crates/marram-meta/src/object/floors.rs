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
    let mut reached = read_floor.min(index);
    if state.held_until_ms > state.time_ms {
        // What a hold keeps was displaced after it: the queue gives up only what lies below.
        reached = reached.min(state.held_at);
    }
    state.read_floor = state.read_floor.max(reached);
    ObjectOutcome::Done
}

/// Longest time for which data is kept for a backup, in milliseconds: 31 days.
const HOLD_MS_MAX: u64 = 31 * 24 * 60 * 60 * 1000;

/// Keeps what is referred to now until `until_ms`. Holds overlap: the oldest that lasts decides from
/// where on, the latest how long.
pub(super) fn hold(apply: &mut Apply<'_>, until_ms: u64) -> ObjectOutcome {
    let (now_ms, index) = (apply.now_ms(), apply.index);
    let state = &mut apply.state;
    if until_ms == 0 {
        (state.held_until_ms, state.held_at) = (0, 0);
        return ObjectOutcome::Done;
    }
    let lasts = state.held_until_ms > now_ms;
    state.held_at = if lasts { state.held_at } else { index };
    let until_ms = until_ms.min(now_ms.saturating_add(HOLD_MS_MAX));
    state.held_until_ms = state.held_until_ms.max(until_ms);
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
        let held = garbage::deser_value(entry.at, &bytes);
        let extent = held.map_err(StateError::corrupt(Table::Garbage))?.extent;
        apply.kv.delete(Table::Garbage, &key)?;
        let ref_key = data_ref::ser_key(extent.pg, extent.data);
        apply.kv.delete(Table::DataRefs, &ref_key)?;
    }
    Ok(ObjectOutcome::Done)
}
