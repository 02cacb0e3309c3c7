//! Space of small records back from segments that are mostly dead: what still lives is copied forward
//! and the segment goes as a whole.
//!
//! The copies are records like any others: they go through the writer of small records, share its
//! syncs, and are shown in the index only when they are durable, and only where the index still names
//! the old place (see [`super::writer`]). So a deletion or a rewrite that came between wins, and a
//! crash at any step leaves the run at its old place, at its new one, or, where both are on the drive,
//! at either: they are the same bytes. A segment without live runs is unlinked by the keeper, after the
//! index that does not name it any more is durable; readers that have it open read on.
//!
//! Which segment comes next is the cost-benefit rule of Rosenblum and Ousterhout, *The Design and
//! Implementation of a Log-Structured File System* (1992), section 3.6: free space gained times age,
//! over the bytes that are read and written for it. Where the drive is nearly full the emptiest one
//! comes first, and fuller ones than otherwise are worth it.

use std::collections::BTreeMap;

use bytes::Bytes;
use marram_types::caps::BLOCK_BYTES;

use super::index::{RunKey, RunRow, SegmentRow, keys_with};
use super::record::{self, Place};
use super::scrub::{BadRun, RunAt, RunFault};
use super::segment::RECORDS_AT;
use super::store::{Books, Store};
use super::{Class, PutError, ReadError, RunHeader, SMALL_RUN_BYTES_MAX, read};

/// A segment is compacted when so many percent of it are dead: packed records take at most twice the
/// bytes of those that live, and a byte that comes back costs at most one that is written.
pub(super) const DEAD_PERCENT: u64 = 50;
/// The same for a drive that has no room for shards, or nearly none.
pub(super) const DEAD_PERCENT_PRESSED: u64 = 20;
/// A drive with room for fewer segments than these is pressed.
const PRESSED_BELOW_SEGMENTS: u64 = 2;
/// Where the next record is looked for behind a damaged one.
const STEP: usize = 8;
/// No packed record is longer.
const RECORD_BYTES_MAX: usize = SMALL_RUN_BYTES_MAX + 4096;
const _: () = assert!(SMALL_RUN_BYTES_MAX <= BLOCK_BYTES);

/// A segment that is worth compacting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compactable {
    /// Its number.
    pub segment: u64,
    /// Bytes of it that nobody needs.
    pub dead_bytes: u64,
    /// Bytes of records that are copied.
    pub live_bytes: u64,
}

/// What one step of a compaction did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CompactPage {
    /// Where the next step goes on.
    pub next: u64,
    /// Bytes that were read.
    pub read_bytes: u64,
    /// Bytes of records that were written.
    pub written_bytes: u64,
    /// The end of the segment was reached.
    pub done: bool,
    /// Runs that cannot be copied because they are not what was written. They stay where they are, and
    /// with them the segment, until they are deleted. Known when it is done.
    pub bad: Vec<BadRun>,
}

/// Why a step of a compaction failed. It may be taken again; nothing is lost.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CompactError {
    /// The segment cannot be read, or the index.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The copies cannot be written.
    #[error(transparent)]
    Write(#[from] PutError),
}

/// A record that still lives, verified.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) header: RunHeader,
    /// Where it is.
    pub(super) from: RunRow,
    pub(super) data: Bytes,
}

/// The segment to compact next, if one is worth it and the drive can hold the copies.
pub(super) fn next(store: &Store) -> Option<Compactable> {
    if store.is_retired() {
        return None;
    }
    let (room, _) = store.room();
    let pressed = room < PRESSED_BELOW_SEGMENTS * store.options.segment_bytes;
    let copies_max = store.room_for_copies();
    choose(&store.books.lock(), pressed, copies_max)
}

/// The choice; `copies_max` is what copies may take.
fn choose(books: &Books, pressed: bool, copies_max: u64) -> Option<Compactable> {
    let least = if pressed {
        DEAD_PERCENT_PRESSED
    } else {
        DEAD_PERCENT
    };
    let newest = books.segments.keys().next_back().copied()?;
    let worth_it = books.segments.iter().filter_map(|(seq, row)| {
        let (dead, size) = (dead_bytes(row), row.end.saturating_sub(RECORDS_AT));
        let fits = row.sealed && row.live_runs > 0 && row.live_bytes <= copies_max;
        // Until there is half as much: whatever keeps it from being read is read again each time.
        let stuck = books.stuck.get(seq);
        let stuck = stuck.is_some_and(|left| row.live_runs > left / 2);
        // What has no live runs goes by itself.
        if row.class != Class::Small || !fits || stuck || dead * 100 < size * least || dead == 0 {
            return None;
        }
        let age = if pressed { 1 } else { newest - seq + 1 };
        let benefit = u128::from(dead) * u128::from(age);
        Some((*seq, *row, benefit, u128::from(size + row.live_bytes)))
    });
    // Greatest benefit for its cost; the older one of equals.
    let best = worth_it.reduce(|best, other| {
        if other.2 * best.3 > best.2 * other.3 {
            other
        } else {
            best
        }
    });
    best.map(|(segment, row, _, _)| Compactable {
        segment,
        dead_bytes: dead_bytes(&row),
        live_bytes: row.live_bytes,
    })
}

/// Bytes of a small segment that nobody needs.
pub(super) fn dead_bytes(row: &SegmentRow) -> u64 {
    match row.class {
        // Dead large records are holes.
        Class::Large => 0,
        Class::Small => {
            let size = row.end.saturating_sub(RECORDS_AT);
            size.saturating_sub(row.live_bytes)
        }
    }
}

/// Reads on in a segment from `from`, about `bytes_max`; what lives of it is verified.
pub(super) fn read_page(
    store: &Store,
    seq: u64,
    from: u64,
    bytes_max: u64,
) -> Result<(Vec<Live>, CompactPage), ReadError> {
    let over = CompactPage {
        next: from,
        done: true,
        ..CompactPage::default()
    };
    let row = store.books.lock().segments.get(&seq).copied();
    let Some(row) = row.filter(|row| row.class == Class::Small && row.sealed) else {
        return Ok((Vec::new(), over));
    };
    let segment = store.segment(seq);
    let segment = segment.map_err(|error| ReadError::Io(error.into()))?;
    let at = from.max(RECORDS_AT);
    let Some(segment) = segment else {
        // Its header cannot be read: a scrub writes it anew.
        set_aside(&mut store.books.lock(), seq, row.live_runs);
        return Ok((Vec::new(), over));
    };
    if at >= row.end {
        return Ok((Vec::new(), over));
    }
    let limit = usize::try_from(bytes_max.max(1).min(row.end - at)).unwrap_or(usize::MAX);
    let window = limit.saturating_add(RECORD_BYTES_MAX);
    let window = usize::try_from(row.end - at).map_or(window, |left| left.min(window));
    let bytes = segment.file.read_vec(at, window);
    let bytes = bytes.inspect_err(|error| {
        // Not the next one again: scrub and repairs see to what lives in it. It is not counted among the reads
        // that retire a drive, because what cannot be read may be dead, and nobody else would ever read that.
        tracing::warn!(drive = %store.options.id, segment = seq, %error, "a segment cannot be compacted");
        set_aside(&mut store.books.lock(), seq, row.live_runs);
    });
    let bytes = Bytes::from(bytes.map_err(|error| ReadError::Io(error.into()))?);
    let (mut live, mut pos) = (Vec::new(), 0);
    while pos < limit.min(bytes.len()) {
        let offset = at + pos as u64;
        let place = Place {
            class: Class::Small,
            epoch: segment.epoch,
            offset,
        };
        let Some(header) = record::decode(&bytes[pos..], place) else {
            pos += STEP;
            continue;
        };
        let start = pos + record::data_at(Class::Small, header.len);
        pos += record::len_with(Class::Small, header.len);
        let key = RunKey {
            shard: header.run.shard,
            offset: header.run.offset,
        };
        let found = store.index.run(&key)?;
        let here = |row: &RunRow| (row.segment, u64::from(row.record_offset)) == (seq, offset);
        let (Some(from), Some(data)) = (found.filter(here), bytes.get(start..start + header.len))
        else {
            continue;
        };
        if record::blocks_match(&header, 0, data) {
            live.push(Live {
                header: header.run,
                from,
                data: bytes.slice(start..start + header.len),
            });
        }
    }
    let next = at + pos as u64;
    let page = CompactPage {
        next,
        read_bytes: bytes.len() as u64,
        // A file that ends early has nothing behind.
        done: next >= row.end || bytes.len() < window,
        ..CompactPage::default()
    };
    Ok((live, page))
}

/// After the last step: what could not be copied. Its segment is left alone until there is less of it.
pub(super) fn left_over(store: &Store, seq: u64) -> Result<Vec<BadRun>, ReadError> {
    let left = store.books.lock().segments.get(&seq).map(|r| r.live_runs);
    let Some(left) = left.filter(|left| *left > 0) else {
        return Ok(Vec::new());
    };
    let mut runs = Vec::new();
    store.index.scan(keys_with(&[]), |key, row| {
        if row.segment == seq {
            runs.push((key, row));
        }
        true
    })?;
    // Who is told of a run that is sound would write it anew for nothing.
    if store
        .segment(seq)
        .map_err(|error| ReadError::Io(error.into()))?
        .is_none()
    {
        // Nothing can be said of runs whose segment does not open: a scrub writes its header anew.
        runs.clear();
    }
    runs.retain(|(key, row)| !read::is_sound(store, *key, *row));
    // What was replaced meanwhile is not what was found.
    let mut damaged = Vec::new();
    for (key, row) in runs {
        if store.index.run(&key)? == Some(row) {
            damaged.push((key, row));
        }
    }
    let runs = damaged;
    let bad = runs.iter().map(|(key, row)| BadRun {
        at: RunAt {
            shard: key.shard,
            offset: key.offset,
        },
        pg: row.pg,
        fault: RunFault::Damaged,
    });
    let bad = bad.collect();
    tracing::error!(
        drive = %store.options.id,
        segment = seq,
        runs = left,
        damaged = runs.len(),
        "records of a segment could not be compacted"
    );
    set_aside(&mut store.books.lock(), seq, left);
    Ok(bad)
}

/// Whether nothing lives in a segment any more.
pub(super) fn is_empty(store: &Store, seq: u64) -> bool {
    let books = store.books.lock();
    let row = books.segments.get(&seq);
    row.is_none_or(|row| row.live_runs == 0)
}

/// Leaves a segment alone until it has fewer live runs.
fn set_aside(books: &mut Books, seq: u64, live_runs: u64) {
    let Books {
        stuck, segments, ..
    } = books;
    stuck.retain(|seq, _| segments.contains_key(seq));
    stuck.insert(seq, live_runs);
}

/// Segments whose last live runs are damaged, and how many those are.
pub(super) type Stuck = BTreeMap<u64, u64>;

#[cfg(test)]
mod tests {
    use super::*;

    fn small(size: u64, live_bytes: u64) -> SegmentRow {
        SegmentRow {
            class: Class::Small,
            sealed: true,
            end: RECORDS_AT + size,
            live_runs: live_bytes.min(1),
            live_bytes,
        }
    }

    fn books(rows: &[SegmentRow]) -> Books {
        Books {
            segments: (1..).zip(rows.iter().copied()).collect(),
            ..Books::default()
        }
    }

    fn chosen(books: &Books, pressed: bool, copies_max: u64) -> Option<u64> {
        choose(books, pressed, copies_max).map(|next| next.segment)
    }

    #[test]
    fn segments_are_chosen_by_what_they_give_for_what_they_cost() {
        // Nothing is half dead.
        let full = books(&[small(100, 100), small(100, 51)]);
        assert_eq!(chosen(&full, false, 1000), None);
        // Pressed, less is enough, and the emptiest comes first whatever its age.
        assert_eq!(chosen(&full, true, 1000), Some(2));
        let two = books(&[small(100, 40), small(100, 30), small(100, 100)]);
        assert_eq!(chosen(&two, true, 1000), Some(2));
        // Otherwise the older one gives about as much and is less likely to empty by itself.
        assert_eq!(chosen(&two, false, 1000), Some(1));
        assert_eq!(
            choose(&two, false, 1000),
            Some(Compactable {
                segment: 1,
                dead_bytes: 60,
                live_bytes: 40
            })
        );
    }

    #[test]
    fn what_cannot_be_compacted_is_left_alone() {
        let open = SegmentRow {
            sealed: false,
            ..small(100, 10)
        };
        let large = SegmentRow {
            class: Class::Large,
            ..small(100, 10)
        };
        assert_eq!(chosen(&books(&[open, large]), true, 1000), None);
        // Empty ones go by themselves; copies must fit.
        assert_eq!(chosen(&books(&[small(100, 0)]), true, 1000), None);
        assert_eq!(chosen(&books(&[small(100, 10)]), true, 9), None);
        assert_eq!(chosen(&books(&[small(100, 10)]), true, 10), Some(1));
        // Stuck until another of its runs is gone.
        let mut stuck = books(&[small(100, 10)]);
        stuck.stuck.insert(1, 1);
        assert_eq!(chosen(&stuck, true, 1000), None);
        // Half of what was left has gone.
        stuck.stuck.insert(1, 2);
        assert_eq!(chosen(&stuck, true, 1000), Some(1));
    }
}
