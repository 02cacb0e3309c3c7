//! The floors below which data may go, and the end of the garbage queue (rules.md 27, 28).

use super::command::CollectedEntry;
use super::outcome::ObjectOutcome;
use marram_types::caps::READ_MS_MAX;

use crate::kinds::state::HeldReads;
use crate::kinds::{data_ref, garbage};
use crate::kv::Table;
use crate::requests::Apply;
use crate::stored::StateError;

/// Servers whose long reads a group knows of.
const READERS_MAX: usize = 1024;
/// Longest time for which reads are held without being named again, in milliseconds.
const READ_HELD_MS_MAX: u64 = 5 * 60 * 1000;

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
    let time_ms = state.time_ms;
    let lasting = state.reads.iter().filter(|held| held.until_ms > time_ms);
    for held in lasting {
        reached = reached.min(held.index);
    }
    state.read_floor = state.read_floor.max(reached);
    ObjectOutcome::Done
}

/// Keeps what a server's long reads may still need. A read that is as old as the oldest upload may be is not
/// waited for any more, nor one that comes too late: the floor has passed its look-up. But what is above the
/// floor is kept then, for younger reads of the server: it names its oldest one only.
pub(super) fn hold_reads(
    apply: &mut Apply<'_>,
    server: u64,
    (index, for_ms): (u64, u64),
) -> ObjectOutcome {
    let (now_ms, applied) = (apply.now_ms(), apply.index);
    let state = &mut apply.state;
    let known = state.reads.iter().find(|held| held.server == server);
    // A later look-up than before: the read that was held for so long has ended.
    let since_ms = known
        .filter(|held| held.until_ms > now_ms && index <= held.index)
        .map_or(now_ms, |held| held.since_ms);
    state
        .reads
        .retain(|held| held.server != server && held.until_ms > now_ms);
    if for_ms == 0 {
        return ObjectOutcome::Done;
    }
    let is_old = now_ms.saturating_sub(since_ms) >= READ_MS_MAX;
    if is_old || index > applied || state.reads.len() >= READERS_MAX {
        return ObjectOutcome::Superseded;
    }
    let is_late = index < state.read_floor;
    let index = index.max(state.read_floor);
    let until_ms = now_ms.saturating_add(for_ms.min(READ_HELD_MS_MAX));
    state.reads.push(HeldReads {
        server,
        index,
        since_ms,
        until_ms,
    });
    // Replicas agree about the order too.
    state.reads.sort_by_key(|held| held.server);
    if is_late {
        return ObjectOutcome::Superseded;
    }
    ObjectOutcome::Done
}

/// Longest time for which data is kept for a backup, in milliseconds: 31 days.
pub const HOLD_MS_MAX: u64 = 31 * 24 * 60 * 60 * 1000;

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
