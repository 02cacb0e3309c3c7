//! Deletes. The space of a large record comes back at once as a hole; a small segment goes when
//! all its records are dead.
//!
//! The hole is punched first and the index changed after: a crash in between leaves a row whose
//! record reads as zeros, which is "not here", and the next delete removes it. The other order
//! would leave a record that nobody deletes.

use std::collections::BTreeSet;
use std::sync::Arc;

use marram_types::ShardId;

use super::index::{Change, RunKey, RunRow, keys_with};
use super::record;
use super::store::{Books, Store};
use super::{Class, ReadError};

/// Runs removed in one change of the index.
const RUNS_PER_CHANGE: usize = 256;

/// Removes all runs whose key begins with one of `prefixes`; returns how many.
pub(super) fn remove(store: &Store, prefixes: &[Vec<u8>]) -> Result<usize, ReadError> {
    let mut removed = 0;
    for prefix in prefixes {
        loop {
            let mut runs = Vec::new();
            store.index.scan(keys_with(prefix), |key, row| {
                runs.push((key, row));
                runs.len() < RUNS_PER_CHANGE
            })?;
            if runs.is_empty() {
                break;
            }
            say(store, &runs);
            removed += remove_runs(store, &runs)?;
        }
    }
    Ok(removed)
}

/// Writes down what is removed, before it is: whoever looks for a shard finds out where it went, whoever asked
/// for its removal, also when the process dies in between. One line for each of at most [`RUNS_PER_CHANGE`] runs.
fn say(store: &Store, runs: &[(RunKey, RunRow)]) {
    let shards: BTreeSet<ShardId> = runs.iter().map(|(key, _)| key.shard).collect();
    let shards: Vec<String> = shards.iter().map(ToString::to_string).collect();
    tracing::info!(
        target: "removed",
        drive = %store.options.id,
        shards = shards.join(" "),
        runs = runs.len(),
        "shards are removed from a drive"
    );
}

fn remove_runs(store: &Store, runs: &[(RunKey, RunRow)]) -> Result<usize, ReadError> {
    for (_, row) in runs {
        punch(store, row)?;
    }
    let mut count = 0;
    let mut emptied = false;
    store.change(|books| {
        let mut changes = Vec::new();
        for (key, row) in runs {
            // Another delete may have been here since the scan.
            if store.index.run(key).ok().flatten() == Some(*row) {
                count += 1;
                changes.push(Change::RemoveRun(*key));
                changes.extend(forget(books, row));
            }
        }
        emptied = !books.empty.is_empty();
        changes
    })?;
    if emptied {
        store.call_keeper();
    }
    Ok(count)
}

/// Takes a run out of its segment's account. An empty sealed segment is set aside.
pub(super) fn forget(books: &mut Books, row: &RunRow) -> Option<Change> {
    let segment = books.segments.get_mut(&row.segment)?;
    let len = usize::try_from(row.len).expect("a run's length fits");
    let bytes = record::len_with(segment.class, len) as u64;
    segment.live_runs = segment.live_runs.saturating_sub(1);
    segment.live_bytes = segment.live_bytes.saturating_sub(bytes);
    if segment.sealed && segment.live_runs == 0 {
        books.empty.push(row.segment);
    }
    Some(Change::PutSegment(row.segment, *segment))
}

fn punch(store: &Store, row: &RunRow) -> Result<(), ReadError> {
    let io = |error| ReadError::Io(Arc::new(error));
    let Some(segment) = store.segment(row.segment).map_err(io)? else {
        return Ok(());
    };
    if segment.class == Class::Small {
        return Ok(());
    }
    let len = usize::try_from(row.len).expect("a run's length fits");
    let bytes = record::len_with(Class::Large, len) as u64;
    let at = u64::from(row.record_offset);
    segment.file.punch_hole(at, bytes).map_err(io)
}
