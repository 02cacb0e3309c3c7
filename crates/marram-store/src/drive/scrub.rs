//! Reading everything through: every record past the page cache, its header and every block.
//!
//! What is on the drive is what counts, so segments are opened anew by their names: a file that was
//! removed is noticed although the process still holds it open. A segment whose file is gone leaves
//! the index, so that readers hear it and a repair writes its shards again; a segment whose header
//! is damaged gets it back, because its records say what it was.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

use marram_types::caps::{BLOCK_BYTES, MIB};
use marram_types::{PgId, ShardId};

use super::buffer::{ALIGN, AlignedBuffer};
use super::index::{Change, RunKey, RunRow, keys_after, keys_with};
use super::record::{self, Header, PAGE_BYTES, Place};
use super::segment;
use super::store::Store;
use super::{Class, ReadError};
use crate::vfs::{OpenMode, VfsFile};

/// Bytes read at once; a whole number of blocks.
const CHUNK_BYTES: usize = MIB;
const _: () = assert!(CHUNK_BYTES.is_multiple_of(BLOCK_BYTES) && CHUNK_BYTES.is_multiple_of(ALIGN));
/// Runs of one page, however small they are.
const PAGE_RUNS_MAX: usize = 1024;

/// A run, as a place in the order in which a drive is scrubbed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RunAt {
    /// Whose bytes.
    pub shard: ShardId,
    /// Offset of the run's first byte in the shard.
    pub offset: u64,
}

/// What is wrong with a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RunFault {
    /// Its header or one of its blocks is not what was written.
    Damaged,
    /// The drive does not give its bytes.
    Unreadable,
    /// The file that it was in is gone.
    Gone,
}

/// A run that cannot be read any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadRun {
    /// Which.
    pub at: RunAt,
    /// The placement group that put it here.
    pub pg: PgId,
    /// What is wrong with it.
    pub fault: RunFault,
}

/// What reading on found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ScrubPage {
    /// Runs that were read.
    pub runs: u64,
    /// Bytes of them, headers and padding included.
    pub bytes: u64,
    /// Those that are not what was written.
    pub bad: Vec<BadRun>,
    /// Headers of segments that were written anew.
    pub mended: u64,
    /// The last run of the page; none when there was no run left.
    pub last: Option<RunAt>,
    /// There are no more runs.
    pub done: bool,
}

/// Reads the runs after `after` through, until `bytes_max` is reached; one at least.
pub(super) fn scrub(
    store: &Store,
    after: Option<RunAt>,
    bytes_max: u64,
) -> Result<ScrubPage, ReadError> {
    let (runs, done) = next_runs(store, after, bytes_max)?;
    let mut reader = Reader {
        store,
        buffer: AlignedBuffer::new(CHUNK_BYTES),
        open: BTreeMap::new(),
        lost: BTreeSet::new(),
        mended: 0,
    };
    let mut page = ScrubPage {
        done,
        ..ScrubPage::default()
    };
    for (key, row) in runs {
        let at = RunAt {
            shard: key.shard,
            offset: key.offset,
        };
        let fault = reader.check(key, row);
        page.runs += 1;
        page.bytes += record_bytes(store, &row);
        page.last = Some(at);
        let Some(fault) = fault else { continue };
        // Removed or written anew meanwhile: then there is nothing wrong with it.
        let now = store.index.run(&key)?;
        if now == Some(row) || (now.is_none() && reader.lost.contains(&row.segment)) {
            let pg = row.pg;
            page.bad.push(BadRun { at, pg, fault });
        }
    }
    page.mended = reader.mended;
    Ok(page)
}

fn record_bytes(store: &Store, row: &RunRow) -> u64 {
    let len = usize::try_from(row.len).expect("a run's length fits");
    let class = store
        .books
        .lock()
        .segments
        .get(&row.segment)
        .map(|s| s.class);
    class.map_or(0, |class| record::len_with(class, len) as u64)
}

/// The next runs in the order of their keys, and whether they are the last.
fn next_runs(
    store: &Store,
    after: Option<RunAt>,
    bytes_max: u64,
) -> Result<(Vec<(RunKey, RunRow)>, bool), ReadError> {
    let keys = match after {
        None => keys_with(&[]),
        Some(RunAt { shard, offset }) => keys_after(&RunKey { shard, offset }),
    };
    let (mut runs, mut bytes, mut done) = (Vec::new(), 0, true);
    store.index.scan(keys, |key, row| {
        if bytes >= bytes_max.max(1) || runs.len() == PAGE_RUNS_MAX {
            done = false;
            return false;
        }
        bytes += u64::from(row.len);
        runs.push((key, row));
        true
    })?;
    Ok((runs, done))
}

/// A segment opened for this page.
#[derive(Clone)]
struct Opened {
    class: Class,
    epoch: u64,
    file: Arc<dyn VfsFile>,
}

struct Reader<'a> {
    store: &'a Store,
    buffer: AlignedBuffer,
    open: BTreeMap<u64, Opened>,
    /// Segments whose files were found to be gone.
    lost: BTreeSet<u64>,
    mended: u64,
}

impl Reader<'_> {
    /// What is wrong with a run, if anything is.
    fn check(&mut self, key: RunKey, row: RunRow) -> Option<RunFault> {
        match self.try_check(key, row) {
            Ok(fault) => fault,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Some(RunFault::Damaged),
            Err(error) => {
                tracing::warn!(drive = %self.store.options.id, shard = %key.shard, %error, "a record cannot be read");
                self.store.read_failed(&error);
                Some(RunFault::Unreadable)
            }
        }
    }

    fn try_check(&mut self, key: RunKey, row: RunRow) -> io::Result<Option<RunFault>> {
        let opened = match self.open.get(&row.segment) {
            Some(opened) => opened.clone(),
            None => match self.open(row)? {
                Ok(opened) => opened,
                Err(fault) => return Ok(Some(fault)),
            },
        };
        let place = Place {
            class: opened.class,
            epoch: opened.epoch,
            offset: u64::from(row.record_offset),
        };
        let sound = match opened.class {
            Class::Large => self.large(&*opened.file, place, key, row)?,
            Class::Small => small(&*opened.file, place, key, row)?,
        };
        Ok((!sound).then_some(RunFault::Damaged))
    }

    /// Opens the segment of a run by its name.
    fn open(&mut self, row: RunRow) -> io::Result<Result<Opened, RunFault>> {
        let (store, seq) = (self.store, row.segment);
        let class = store.books.lock().segments.get(&seq).map(|s| s.class);
        let Some(class) = class else {
            return Ok(Err(RunFault::Gone));
        };
        let path = segment::path(&store.dir(), class, seq);
        let direct = match class {
            Class::Large => store.vfs.open(&path, OpenMode::Direct).ok(),
            Class::Small => None,
        };
        let file = match direct {
            Some(file) => file,
            None => match store.vfs.open(&path, OpenMode::Existing) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    if lose(store, seq) {
                        self.lost.insert(seq);
                    }
                    return Ok(Err(RunFault::Gone));
                }
                Err(error) => return Err(error),
            },
        };
        let page = &mut self.buffer.bytes()[..PAGE_BYTES];
        file.read_at(0, page)?;
        let header = segment::Header::decode(page);
        let epoch = match header.filter(|h| (h.seq, h.class) == (seq, class)) {
            Some(header) => header.epoch,
            None => match self.mend(&*file, class, row)? {
                Some(epoch) => epoch,
                None => return Ok(Err(RunFault::Damaged)),
            },
        };
        let opened = Opened { class, epoch, file };
        self.open.insert(seq, opened.clone());
        Ok(Ok(opened))
    }

    /// Writes the header of a segment anew from what this process or a record knows of it.
    fn mend(&mut self, file: &dyn VfsFile, class: Class, row: RunRow) -> io::Result<Option<u64>> {
        let (store, seq) = (self.store, row.segment);
        let at = u64::from(row.record_offset);
        let known = store.open_epoch(seq);
        let epoch = match known {
            Some(epoch) => Some(epoch),
            None => {
                let from = at / ALIGN as u64 * ALIGN as u64;
                let pages = &mut self.buffer.bytes()[..2 * PAGE_BYTES];
                // The last record of a segment may be followed by less than a page.
                if file.read_at(from, pages).is_err() {
                    file.read_at(from, &mut pages[..PAGE_BYTES])?;
                }
                let skip = usize::try_from(at - from).expect("below a page");
                record::epoch_of(&pages[skip..], class, at)
            }
        };
        let Some(epoch) = epoch else {
            return Ok(None);
        };
        let header = segment::Header {
            class,
            seq,
            epoch,
            drive: store.options.id,
            bytes: store.options.segment_bytes,
        };
        tracing::error!(drive = %store.options.id, segment = seq, "the damaged header of a segment is written anew");
        let page = &mut self.buffer.bytes()[..PAGE_BYTES];
        let bytes = header.encode();
        page.fill(0);
        page[..bytes.len()].copy_from_slice(&bytes);
        file.write_at(0, page)?;
        file.sync_data()
            .inspect_err(|error| store.sync_failed(error))?;
        self.mended += 1;
        Ok(Some(epoch))
    }

    fn large(
        &mut self,
        file: &dyn VfsFile,
        place: Place,
        key: RunKey,
        row: RunRow,
    ) -> io::Result<bool> {
        let buffer = self.buffer.bytes();
        file.read_at(place.offset, &mut buffer[..PAGE_BYTES])?;
        let Some(header) = header_of(&buffer[..PAGE_BYTES], place, key, row) else {
            return Ok(false);
        };
        let mut at = 0;
        while at < header.len {
            let part = (header.len - at).min(CHUNK_BYTES);
            let padded = part.next_multiple_of(ALIGN);
            let from = place.offset + (PAGE_BYTES + at) as u64;
            file.read_at(from, &mut buffer[..padded])?;
            if !record::blocks_match(&header, at / BLOCK_BYTES, &buffer[..part]) {
                return Ok(false);
            }
            at += part;
        }
        Ok(true)
    }
}

fn small(file: &dyn VfsFile, place: Place, key: RunKey, row: RunRow) -> io::Result<bool> {
    let len = usize::try_from(row.len).expect("a run's length fits");
    let start = record::data_at(Class::Small, len);
    let bytes = file.read_vec(place.offset, start + len)?;
    let Some(header) = header_of(&bytes, place, key, row) else {
        return Ok(false);
    };
    let data = bytes.get(start..start + len);
    Ok(data.is_some_and(|data| record::blocks_match(&header, 0, data)))
}

/// The header of a record, when it is the one that the index means.
fn header_of(bytes: &[u8], place: Place, key: RunKey, row: RunRow) -> Option<Header> {
    let header = record::decode(bytes, place)?;
    let found = (header.run.shard, header.run.offset, header.len as u64);
    (found == (key.shard, key.offset, u64::from(row.len))).then_some(header)
}

/// Takes a segment whose file is gone out of the index and the accounts. Says no when it was to go: it was
/// empty, and the keeper has removed it.
fn lose(store: &Store, seq: u64) -> bool {
    let (mut runs, mut known) = (0, true);
    let result = store.change(|books| {
        if books.segments.remove(&seq).is_none() {
            known = false;
            return Vec::new();
        }
        let mut changes = vec![Change::RemoveSegment(seq)];
        // Under the lock of the accounts, so that no writer adds to it meanwhile.
        let scanned = store.index.scan(keys_with(&[]), |key, row| {
            if row.segment == seq {
                changes.push(Change::RemoveRun(key));
            }
            true
        });
        runs = changes.len() - 1;
        if let Err(error) = scanned {
            tracing::error!(%error, "the runs of a lost segment cannot be listed");
        }
        changes
    });
    store.forget_open(seq);
    if !known {
        return false;
    }
    let drive = store.options.id;
    match result {
        Ok(()) => tracing::error!(%drive, segment = seq, runs, "the file of a segment is gone"),
        Err(error) => {
            tracing::error!(%drive, segment = seq, %error, "a lost segment stays in the index");
        }
    }
    true
}

/// For each shard with its length, whether the index has all of it.
pub(super) fn covers(store: &Store, shards: &[(ShardId, u64)]) -> Result<Vec<bool>, ReadError> {
    let covered = shards.iter().map(|(shard, len)| {
        let mut at = 0;
        for (key, row) in store.index.runs_of_range(*shard, 0, *len)? {
            if key.offset <= at {
                at = at.max(key.offset + u64::from(row.len));
            }
        }
        Ok(at >= *len)
    });
    covered.collect()
}
