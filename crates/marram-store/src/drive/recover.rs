//! What an open finds: the index as of its last checkpoint, and the segments.
//!
//! After an orderly close the index is exact. Otherwise every segment that was open is walked:
//! records behind the indexed end are verified and indexed, and what does not verify was never
//! acknowledged. What does verify may be in the page cache alone, so it is written again and synced
//! before the index names it. A segment that the index does not know is read by its footer, or
//! walked whole; so a lost index is rebuilt.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::index::{Change, Index, RunKey, RunRow, SegmentRow, keys_with};
use super::record::{self, Header, PAGE_BYTES, Place};
use super::segment::{self, RECORDS_AT, SegmentError};
use super::store::{INDEX_NAME, SegmentFile, Store, open_segment, segments_dir};
use super::writer::{Head, Start, open_direct};
use super::{Class, DriveOptions, OpenError, remove};
use crate::vfs::Vfs;

/// Bytes looked through at once for the next record.
const WINDOW_BYTES: usize = 1024 * 1024;
const SMALL_STEP: usize = 8;

/// Opens the drive and says where its writers go on.
pub(super) fn open(
    vfs: Arc<dyn Vfs>,
    root: &Path,
    options: DriveOptions,
) -> Result<(Store, [Start; 2]), OpenError> {
    let dir = segments_dir(root);
    vfs.create_dir(&dir)?;
    vfs.sync_dir(root)?;
    let owner = (options.cluster, options.id);
    let path = root.join(INDEX_NAME);
    let index = Index::open(vfs.as_ref(), &path, options.index_cache_bytes, owner)??;
    vfs.sync_dir(root)?;
    let clean = index.is_clean()?;
    let known: BTreeMap<u64, SegmentRow> = index.segments()?.into_iter().collect();
    let files = segment::list(vfs.as_ref(), &dir)?;
    let newest = files
        .iter()
        .map(|(seq, _)| *seq)
        .chain(known.keys().copied())
        .max();
    let store = Store::new(vfs, root, options, index, newest.map_or(1, |seq| seq + 1));
    drop_lost(&store, &known, &files)?;
    let mut starts = [Class::Large, Class::Small].map(|class| Start { class, head: None });
    for (seq, class) in files {
        let row = known.get(&seq).copied();
        let head = adopt(&store, seq, class, row, clean)?;
        let start = starts.iter_mut().find(|start| start.class == class);
        let (Some(head), Some(start)) = (head, start) else {
            continue;
        };
        // Only the newest segment of a class goes on; an older open one is from a crash while
        // the writer changed segments.
        if let Some(older) = start.head.replace(head) {
            seal(&store, &older)?;
        }
    }
    store.committed(store.index.checkpoint(&[Change::Clean(false)]))?;
    Ok((store, starts))
}

/// Removes rows of segments whose files are gone: their bytes are lost, and readers must hear it.
fn drop_lost(
    store: &Store,
    known: &BTreeMap<u64, SegmentRow>,
    files: &[(u64, Class)],
) -> Result<(), OpenError> {
    let gone = |seq: &u64| files.binary_search_by_key(seq, |(seq, _)| *seq).is_err();
    let mut lost: Vec<u64> = known.keys().copied().filter(gone).collect();
    if lost.is_empty() {
        return Ok(());
    }
    let mut changes: Vec<_> = lost.iter().copied().map(Change::RemoveSegment).collect();
    // Those in which nothing lived were removed by the keeper.
    lost.retain(|seq| known[seq].live_runs > 0 || !known[seq].sealed);
    if lost.is_empty() {
        store.committed(store.index.apply(&changes))?;
        return Ok(());
    }
    store.index.scan(keys_with(&[]), |key, row| {
        if lost.binary_search(&row.segment).is_ok() {
            changes.push(Change::RemoveRun(key));
        }
        true
    })?;
    tracing::warn!(drive = %store.options.id, ?lost, "segments of the drive are missing");
    store.committed(store.index.apply(&changes))?;
    Ok(())
}

/// Enters a segment into the accounts and the index; a head when it can be written on.
fn adopt(
    store: &Store,
    seq: u64,
    class: Class,
    row: Option<SegmentRow>,
    clean: bool,
) -> Result<Option<Head>, OpenError> {
    let known = row.unwrap_or(SegmentRow {
        class,
        sealed: false,
        end: RECORDS_AT,
        live_runs: 0,
        live_bytes: 0,
    });
    let mut books = store.books.lock();
    books.segments.insert(seq, known);
    if known.sealed && known.live_runs == 0 {
        books.empty.push(seq);
    }
    drop(books);
    if known.sealed {
        return Ok(None);
    }
    let Some(opened) = open_segment(store.vfs.as_ref(), &store.dir(), class, seq)? else {
        return Ok(None);
    };
    let opened = Arc::new(opened);
    store.keep_open(seq, opened.clone());
    if let Some(runs) = segment::read_footer(opened.file.as_ref(), seq, opened.epoch)? {
        sync(store, &opened)?;
        adopt_sealed(store, seq, &opened, known.end, &runs)?;
        return Ok(None);
    }
    let limit = if clean { known.end } else { opened.file.len()? };
    let (records, walked) = walk(&opened, RECORDS_AT, limit)?;
    let end = walked.max(known.end);
    // The footer's lines: what the index has here already, and what is whole after that.
    let (mut runs, mut whole) = (Vec::new(), Vec::new());
    for found in records {
        let (key, row) = (found.key(), found.row(seq));
        if found.offset < known.end {
            // Not one that is dead, or was torn at an earlier open.
            if store.index.run(&key)? == Some(row) {
                runs.push((key, row));
            }
        } else if rewrite_whole(&opened, &found)? {
            runs.push((key, row));
            whole.push((key, row));
        } else {
            let shard = found.header.run.shard;
            tracing::warn!(%shard, "dropped a torn record after a crash");
        }
    }
    if !clean {
        sync(store, &opened)?;
    }
    enter(store, seq, end, &whole)?;
    Ok(Some(Head {
        seq,
        epoch: opened.epoch,
        end,
        file: opened.file.clone(),
        direct: open_direct(store, class, seq),
        runs,
    }))
}

/// A segment that was sealed after the last checkpoint, or that a new index does not know.
fn adopt_sealed(
    store: &Store,
    seq: u64,
    opened: &SegmentFile,
    known_end: u64,
    runs: &[(RunKey, RunRow)],
) -> Result<(), OpenError> {
    let mut new = Vec::new();
    let mut end = known_end;
    for (key, row) in runs {
        let len = usize::try_from(row.len).expect("a run's length fits");
        let at = u64::from(row.record_offset);
        end = end.max(at + record::len_with(opened.class, len) as u64);
        if at < known_end {
            continue;
        }
        // A hole where the header was: deleted since.
        let page = opened.file.read_vec(at, PAGE_BYTES)?;
        let place = Place {
            class: opened.class,
            epoch: opened.epoch,
            offset: at,
        };
        if record::decode(&page, place).is_some() {
            new.push((*key, *row));
        }
    }
    if let Some(row) = store.books.lock().segments.get_mut(&seq) {
        row.sealed = true;
    }
    enter(store, seq, end, &new)?;
    Ok(())
}

/// Indexes records that the last checkpoint did not know.
fn enter(store: &Store, seq: u64, end: u64, runs: &[(RunKey, RunRow)]) -> Result<(), OpenError> {
    let mut changes = Vec::new();
    let mut books = store.books.lock();
    // A run may stand twice in a segment when a retry replaced it: the last one counts.
    let latest: BTreeMap<RunKey, RunRow> = runs.iter().copied().collect();
    for (key, row) in latest {
        match store.index.run(&key)? {
            Some(old) if old == row => continue,
            Some(old) => changes.extend(remove::forget(&mut books, &old)),
            None => {}
        }
        changes.push(Change::PutRun(key, row));
        if let Some(segment) = books.segments.get_mut(&seq) {
            let len = usize::try_from(row.len).expect("a run's length fits");
            segment.live_runs += 1;
            segment.live_bytes += record::len_with(segment.class, len) as u64;
        }
    }
    if let Some(segment) = books.segments.get_mut(&seq) {
        segment.end = end;
        let row = *segment;
        if row.sealed && row.live_runs == 0 {
            books.empty.push(seq);
        }
        changes.push(Change::PutSegment(seq, row));
    }
    drop(books);
    store.committed(store.index.apply(&changes))?;
    Ok(())
}

fn seal(store: &Store, head: &Head) -> Result<(), OpenError> {
    segment::write_footer(head.file.as_ref(), head.epoch, head.end, &head.runs).map_err(
        |error| match error {
            SegmentError::Io(error) => error,
            SegmentError::Sync(error) => {
                store.sync_failed(&error);
                error
            }
        },
    )?;
    if let Some(row) = store.books.lock().segments.get_mut(&head.seq) {
        row.sealed = true;
    }
    enter(store, head.seq, head.end, &[])
}

/// A record found by walking.
struct Found {
    offset: u64,
    header: Header,
}

impl Found {
    fn key(&self) -> RunKey {
        RunKey {
            shard: self.header.run.shard,
            offset: self.header.run.offset,
        }
    }

    fn row(&self, segment: u64) -> RunRow {
        RunRow {
            segment,
            record_offset: u32::try_from(self.offset).expect("segments are below 4 GiB"),
            len: u32::try_from(self.header.len).expect("at most a run"),
            pg: self.header.run.pg,
        }
    }
}

/// All records with a good header from `from` on, and the end of the last one. Holes and torn
/// records are stepped over.
fn walk(segment: &SegmentFile, from: u64, limit: u64) -> io::Result<(Vec<Found>, u64)> {
    let step = match segment.class {
        Class::Large => PAGE_BYTES,
        Class::Small => SMALL_STEP,
    };
    let mut found = Vec::new();
    let (mut at, mut end) = (from, from);
    // A large record is followed by another: its header page alone is read first.
    let mut window = step.max(SMALL_STEP * PAGE_BYTES);
    while at < limit {
        let len = usize::try_from(limit - at).map_or(window, |left| left.min(window));
        let bytes = segment.file.read_vec(at, len)?;
        let last = at + bytes.len() as u64 >= limit || bytes.len() < len;
        let mut pos = 0;
        let before = found.len();
        while pos < bytes.len() && (last || pos + PAGE_BYTES <= bytes.len()) {
            let offset = at + pos as u64;
            let place = Place {
                class: segment.class,
                epoch: segment.epoch,
                offset,
            };
            pos += match record::decode(&bytes[pos..], place) {
                Some(header) => {
                    let len = record::len_with(segment.class, header.len);
                    end = offset + len as u64;
                    found.push(Found { offset, header });
                    len
                }
                None => step,
            };
        }
        if pos == 0 {
            break;
        }
        at += pos as u64;
        window = if found.len() > before && segment.class == Class::Large {
            PAGE_BYTES
        } else {
            WINDOW_BYTES
        };
    }
    Ok((found, end))
}

/// Whether the data of a record is what its header says. If so the record is written again as it
/// is: a sync alone would not write pages that an earlier failed sync marked clean.
fn rewrite_whole(segment: &SegmentFile, found: &Found) -> io::Result<bool> {
    let len = found.header.len;
    let whole = record::len_with(segment.class, len);
    let bytes = segment.file.read_vec(found.offset, whole)?;
    let start = record::data_at(segment.class, len);
    let Some(data) = bytes.get(start..start + len) else {
        return Ok(false);
    };
    if !record::blocks_match(&found.header, 0, data) {
        return Ok(false);
    }
    segment.file.write_at(found.offset, &bytes)?;
    Ok(true)
}

/// Makes what was found in a segment durable before the index names it.
fn sync(store: &Store, segment: &SegmentFile) -> io::Result<()> {
    segment
        .file
        .sync_data()
        .inspect_err(|error| store.sync_failed(error))
}
