//! Checkpoints of the index, and the end of empty segments.

use std::io;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Class;
use super::index::{Change, IndexError};
use super::segment::{self, RECORDS_AT};
use super::store::Store;

/// More changes than this do not wait for the time of the next checkpoint: they bound what an
/// open must read back.
pub(super) const CHANGES_PER_CHECKPOINT: u64 = 4096;

/// Makes a checkpoint when there is something to keep, every few seconds or when called.
pub(super) fn run(store: &Store) {
    let pause = Duration::from_millis(store.options.checkpoint_ms);
    loop {
        let closing = {
            let mut calls = store.calls.lock();
            if !calls.wanted && !calls.closing {
                store.called.wait_for(&mut calls, pause);
            }
            calls.wanted = false;
            calls.closing
        };
        if closing {
            return;
        }
        let dirty = {
            let books = store.books.lock();
            books.changes > 0 || !books.empty.is_empty()
        };
        if dirty && !store.is_retired() {
            checkpoint_or_report(store, &[]);
        }
    }
}

/// The last checkpoint, after all other threads have ended: it says that the ends of segments are
/// exact.
pub(super) fn close(store: &Store) {
    if !store.is_retired() {
        checkpoint_or_report(store, &[Change::Clean(true)]);
    }
}

fn checkpoint_or_report(store: &Store, changes: &[Change]) {
    if let Err(error) = checkpoint(store, changes) {
        // Nothing acknowledged depends on it: the segments hold everything.
        tracing::error!(drive = %store.options.id, %error, "a checkpoint of the shard index failed");
    }
}

/// Makes everything in the index durable, then unlinks empty segments: never before, or the index
/// of a crash would name records that are gone. What the index has of such a segment, that nothing in it
/// lives, goes last: a crash that leaves the file and not that would bring its dead records back.
pub(super) fn checkpoint(store: &Store, changes: &[Change]) -> Result<(), IndexError> {
    let mut books = store.books.lock();
    let (mut gone, mut returned) = (Vec::new(), 0);
    for seq in std::mem::take(&mut books.empty) {
        let empty = |row: &&super::index::SegmentRow| row.live_runs == 0 && row.sealed;
        if let Some(row) = books.segments.get(&seq).filter(empty).copied() {
            books.segments.remove(&seq);
            if row.class == Class::Small {
                returned += row.end.saturating_sub(RECORDS_AT);
            }
            gone.push((row.class, seq));
        }
    }
    books.changes = 0;
    let result = store.index.checkpoint(changes);
    drop(books);
    store.committed(result)?;
    store.step("checkpointed");
    unlink(store, &gone)?;
    store
        .compaction
        .returned_bytes
        .fetch_add(returned, Ordering::Relaxed);
    store.step("removed");
    Ok(())
}

/// Removes the files of segments, then their rows.
fn unlink(store: &Store, gone: &[(Class, u64)]) -> Result<(), IndexError> {
    if gone.is_empty() {
        return Ok(());
    }
    let mut rows = Vec::new();
    for (class, seq) in gone {
        store.forget_open(*seq);
        let path = segment::path(&store.dir(), *class, *seq);
        match store.vfs.remove(&path) {
            Ok(()) => rows.push(Change::RemoveSegment(*seq)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                rows.push(Change::RemoveSegment(*seq));
            }
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "an empty segment stays");
            }
        }
    }
    if let Err(error) = store.vfs.sync_dir(&store.dir()) {
        store.sync_failed(&error);
        return Ok(());
    }
    store.step("unlinked");
    // Durable with the next checkpoint; an open that finds such a row without its file drops it.
    store.committed(store.index.apply(&rows))
}
