//! The writer of one class: what has gathered is written, synced once, indexed and answered.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use marram_types::caps::BLOCK_BYTES;
use marram_types::crc32c;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::buffer::{ALIGN, AlignedBuffer, is_aligned};
use super::index::{Change, RunKey, RunRow, SegmentRow};
use super::record::{self, Header, PAGE_BYTES, Place};
use super::segment::{self, FOOTER_FIXED_BYTES, FOOTER_RUN_BYTES, RECORDS_AT, SegmentError};
use super::store::{Job, SegmentFile, Store};
use super::{Class, PutError, RunHeader, read, remove};
use crate::vfs::{OpenMode, VfsFile};

/// Bytes copied to aligned memory and written at once: the usual run of a large shard.
const COPY_BYTES: usize = 2 * 1024 * 1024;

/// The segment that a class writes to.
pub(super) struct Head {
    pub(super) seq: u64,
    pub(super) epoch: u64,
    pub(super) end: u64,
    pub(super) file: Arc<dyn VfsFile>,
    /// The same file past the page cache, where the file system can.
    pub(super) direct: Option<Arc<dyn VfsFile>>,
    /// All records of the segment that were ever shown: its footer.
    pub(super) runs: Vec<(RunKey, RunRow)>,
}

/// What a writer thread begins with.
pub(super) struct Start {
    pub(super) class: Class,
    /// `None` until the first put.
    pub(super) head: Option<Head>,
}

/// A record that is written but not yet durable.
struct Written {
    key: RunKey,
    row: RunRow,
    over: Over,
    header: Vec<u8>,
    data: Bytes,
    replies: Vec<oneshot::Sender<Result<(), PutError>>>,
    /// The queue's room, kept until the record is durable.
    _room: OwnedSemaphorePermit,
}

/// What the index has for a run that is written.
#[derive(Debug, Clone, Copy)]
enum Over {
    Nothing,
    /// A record that cannot be read; it is replaced.
    Unreadable(RunRow),
    /// The record that this one is a copy of. It is replaced if it is still there; else the copy is dead.
    CopyOf(RunRow),
}

struct Writer<'a> {
    store: &'a Store,
    class: Class,
    head: Option<Head>,
    copy: Option<AlignedBuffer>,
    batch: Vec<Written>,
    keys: HashMap<RunKey, usize>,
    /// Packed records of the batch and where they begin.
    packed: (u64, Vec<u8>),
}

/// Serves the class until the drive closes.
pub(super) fn run(store: &Store, start: Start) {
    let mut writer = Writer {
        store,
        class: start.class,
        head: start.head,
        copy: None,
        batch: Vec::new(),
        keys: HashMap::new(),
        packed: (0, Vec::new()),
    };
    while let Some(jobs) = store.queue(start.class).take() {
        writer.serve(jobs);
    }
}

/// What becomes of a job before anything is written.
enum Verdict {
    Write(Over),
    /// The batch already writes the same.
    Join(usize),
    Answer(Result<(), PutError>),
}

impl Writer<'_> {
    fn serve(&mut self, jobs: VecDeque<Job>) {
        let (mut room, free) = self.store.room();
        let (copies, puts): (Vec<Job>, Vec<Job>) =
            jobs.into_iter().partition(|job| job.copy_of.is_some());
        for job in puts {
            let key = key_of(&job.header);
            match self.judge(key, &job.data) {
                Verdict::Answer(result) => drop(job.reply.send(result)),
                Verdict::Join(at) => self.batch[at].replies.push(job.reply),
                Verdict::Write(over) => {
                    let bytes = record::len_with(self.class, job.data.len()) as u64;
                    if bytes > room {
                        self.store.refuse(bytes);
                        drop(job.reply.send(Err(PutError::Full { free })));
                        continue;
                    }
                    room -= bytes;
                    self.write(key, job, over);
                }
            }
        }
        self.finish();
        self.serve_copies(copies);
    }

    /// Copies have a batch of their own, so that no put and no copy of the same run are in one. They may use
    /// the space that is kept from shards (rules.md 21): what they are copied from comes back.
    fn serve_copies(&mut self, copies: Vec<Job>) {
        for job in copies {
            let Some(from) = job.copy_of else { continue };
            let key = key_of(&job.header);
            let there = self.store.index.run(&key);
            if self.store.is_retired() {
                drop(job.reply.send(Err(PutError::Retired)));
            } else if self.keys.contains_key(&key) || !matches!(there, Ok(Some(row)) if row == from)
            {
                // Deleted, written anew or copied since it was read: nothing is left to do.
                drop(job.reply.send(there.map(drop).map_err(Into::into)));
            } else {
                self.write(key, job, Over::CopyOf(from));
            }
        }
        self.finish();
    }

    fn judge(&self, key: RunKey, data: &[u8]) -> Verdict {
        if self.store.is_retired() {
            return Verdict::Answer(Err(PutError::Retired));
        }
        let conflict = || {
            Verdict::Answer(Err(PutError::Conflict {
                shard: key.shard,
                offset: key.offset,
            }))
        };
        if let Some(&at) = self.keys.get(&key) {
            return if self.batch[at].data == data {
                Verdict::Join(at)
            } else {
                conflict()
            };
        }
        match self.store.index.run(&key) {
            Err(error) => Verdict::Answer(Err(error.into())),
            Ok(None) => Verdict::Write(Over::Nothing),
            Ok(Some(row)) => match read::holds(self.store, key, row, data) {
                Some(true) => Verdict::Answer(Ok(())),
                Some(false) => conflict(),
                None => Verdict::Write(Over::Unreadable(row)),
            },
        }
    }

    fn write(&mut self, key: RunKey, job: Job, over: Over) {
        match self.try_write(&job) {
            Ok((header, row)) => {
                let (reply, data, room) = job.into_parts();
                self.keys.insert(key, self.batch.len());
                self.batch.push(Written {
                    key,
                    row,
                    over,
                    header,
                    data,
                    replies: vec![reply],
                    _room: room,
                });
            }
            Err(error) => drop(job.reply.send(Err(error))),
        }
    }

    /// Places a record and writes its data; header and sync come with the batch.
    fn try_write(&mut self, job: &Job) -> Result<(Vec<u8>, RunRow), PutError> {
        let len = job.data.len();
        let bytes = record::len_with(self.class, len) as u64;
        self.make_room(bytes)?;
        let head = self.head.as_mut().expect("made just above");
        let place = Place {
            class: self.class,
            epoch: head.epoch,
            offset: head.end,
        };
        let row = RunRow {
            segment: head.seq,
            record_offset: u32::try_from(head.end).expect("segments are below 4 GiB"),
            len: u32::try_from(len).expect("at most a run"),
            pg: job.header.pg,
        };
        head.end += bytes;
        let blocks = match self.class {
            Class::Small => record::block_checksums(&job.data),
            Class::Large => {
                let at = place.offset + PAGE_BYTES as u64;
                write_data(head, &mut self.copy, at, &job.data)
                    .map_err(|e| put_io(self.store, e))?
            }
        };
        let header = Header {
            run: job.header,
            len,
            blocks,
        };
        let header = record::encode(&header, place);
        if self.class == Class::Small {
            if self.packed.1.is_empty() {
                self.packed.0 = place.offset;
            }
            self.packed.1.extend_from_slice(&header);
            self.packed.1.extend_from_slice(&job.data);
            let packed = usize::try_from(place.offset + bytes - self.packed.0);
            self.packed
                .1
                .resize(packed.expect("a batch fits memory"), 0);
        }
        Ok((header, row))
    }

    /// Sees to it that the head segment has room for a record and its line in the footer.
    fn make_room(&mut self, bytes: u64) -> Result<(), PutError> {
        let size = self.store.options.segment_bytes;
        if self
            .head
            .as_ref()
            .is_some_and(|h| !self.store.has_segment(h.seq))
        {
            // Its file was removed, and the scrub noticed: nothing more goes there.
            self.finish();
            self.head = None;
        }
        if let Some(head) = &self.head {
            let batch = self.batch.len() as u64 + 1;
            let footer = FOOTER_FIXED_BYTES + (head.runs.len() as u64 + batch) * FOOTER_RUN_BYTES;
            if head.end + bytes + footer <= size {
                return Ok(());
            }
            self.finish();
            if self.store.is_retired() {
                return Err(PutError::Retired);
            }
            if let Some(full) = self.head.take() {
                self.seal(&full)?;
            }
        }
        self.head = Some(self.begin_segment()?);
        Ok(())
    }

    fn begin_segment(&self) -> Result<Head, PutError> {
        let store = self.store;
        let header = segment::Header {
            class: self.class,
            seq: store.take_seq(),
            epoch: rand::random(),
            drive: store.options.id,
            bytes: store.options.segment_bytes,
        };
        let file = segment::create(store.vfs.as_ref(), &store.dir(), &header)
            .map_err(|error| put_segment(store, error))?;
        let row = SegmentRow {
            class: self.class,
            sealed: false,
            end: RECORDS_AT,
            live_runs: 0,
            live_bytes: 0,
        };
        store.books.lock().segments.insert(header.seq, row);
        let opened = SegmentFile {
            class: self.class,
            epoch: header.epoch,
            file: file.clone(),
        };
        store.keep_open(header.seq, Arc::new(opened));
        Ok(Head {
            seq: header.seq,
            epoch: header.epoch,
            end: RECORDS_AT,
            file,
            direct: open_direct(store, self.class, header.seq),
            runs: Vec::new(),
        })
    }

    fn seal(&self, head: &Head) -> Result<(), PutError> {
        segment::write_footer(head.file.as_ref(), head.epoch, head.end, &head.runs)
            .map_err(|error| put_segment(self.store, error))?;
        self.store.change(|books| {
            let Some(row) = books.segments.get_mut(&head.seq) else {
                return Vec::new();
            };
            row.sealed = true;
            let row = *row;
            if row.live_runs == 0 {
                books.empty.push(head.seq);
            }
            vec![Change::PutSegment(head.seq, row)]
        })?;
        Ok(())
    }

    /// Makes the batch durable, shows it to readers and answers.
    fn finish(&mut self) {
        let batch = std::mem::take(&mut self.batch);
        self.keys.clear();
        if batch.is_empty() {
            return;
        }
        let result = self.make_durable(&batch).and_then(|()| self.show(&batch));
        for written in batch {
            for reply in written.replies {
                drop(reply.send(result.clone()));
            }
        }
    }

    fn make_durable(&mut self, batch: &[Written]) -> Result<(), PutError> {
        let head = self.head.as_ref().expect("a batch has a segment");
        let written = match self.class {
            Class::Small => {
                let (at, bytes) = (self.packed.0, std::mem::take(&mut self.packed.1));
                head.file.write_at(at, &bytes)
            }
            // The header pages come last: a record without one was never written.
            Class::Large => batch.iter().try_for_each(|written| {
                let at = u64::from(written.row.record_offset);
                write_page(head, &mut self.copy, at, &written.header)
            }),
        };
        written.map_err(|error| put_io(self.store, error))?;
        self.store.step("written");
        head.file.sync_data().map_err(|error| {
            self.store.sync_failed(&error);
            PutError::Retired
        })?;
        self.store.queue(self.class).synced(batch.len());
        self.store.step("synced");
        Ok(())
    }

    fn show(&mut self, batch: &[Written]) -> Result<(), PutError> {
        let head = self.head.as_mut().expect("a batch has a segment");
        let (store, class, seq, end) = (self.store, self.class, head.seq, head.end);
        let (mut lost, mut emptied, mut copied) = (false, false, 0);
        let shown = &mut head.runs;
        store.change(|books| {
            lost = !books.segments.contains_key(&seq);
            if lost {
                return Vec::new();
            }
            let mut changes = Vec::with_capacity(batch.len() + 1);
            let (mut live_runs, mut live_bytes) = (0, 0);
            for written in batch {
                let bytes = record::len_with(class, written.data.len()) as u64;
                // A delete may have been here since the batch was judged: what it took is not counted twice, and
                // a copy does not bring it back.
                let still = |old: &RunRow| {
                    let now = store.index.run(&written.key);
                    matches!(now, Ok(Some(row)) if row == *old)
                };
                match &written.over {
                    Over::CopyOf(old) if !still(old) => continue,
                    Over::CopyOf(old) => {
                        copied += bytes;
                        changes.extend(remove::forget(books, old));
                    }
                    Over::Unreadable(old) if still(old) => {
                        changes.extend(remove::forget(books, old));
                    }
                    Over::Unreadable(_) | Over::Nothing => {}
                }
                live_runs += 1;
                live_bytes += bytes;
                shown.push((written.key, written.row));
                changes.push(Change::PutRun(written.key, written.row));
            }
            if let Some(row) = books.segments.get_mut(&seq) {
                row.end = end;
                row.live_runs += live_runs;
                row.live_bytes += live_bytes;
                changes.push(Change::PutSegment(seq, *row));
            }
            emptied = !books.empty.is_empty();
            changes
        })?;
        if lost {
            let error = io::Error::new(io::ErrorKind::NotFound, "the segment was removed");
            return Err(PutError::Io(Arc::new(error)));
        }
        store
            .compaction
            .copied_bytes
            .fetch_add(copied, Ordering::Relaxed);
        store.step("shown");
        if emptied {
            store.call_keeper();
        }
        Ok(())
    }
}

fn key_of(header: &RunHeader) -> RunKey {
    RunKey {
        shard: header.shard,
        offset: header.offset,
    }
}

/// What a failed write means to the caller.
fn put_io(store: &Store, error: io::Error) -> PutError {
    if error.kind() == io::ErrorKind::StorageFull {
        store.refuse(store.options.segment_bytes);
        let (_, free) = store.space();
        return PutError::Full { free };
    }
    if error.kind() != io::ErrorKind::Interrupted {
        store.write_failed(&error);
    }
    PutError::Io(Arc::new(error))
}

/// What a segment that could not be made or sealed means to the drive and the caller.
fn put_segment(store: &Store, error: SegmentError) -> PutError {
    match error {
        SegmentError::Io(error) => put_io(store, error),
        SegmentError::Sync(error) => {
            store.sync_failed(&error);
            PutError::Retired
        }
    }
}

/// The second handle of a large segment; `None` where direct writes are not possible.
pub(super) fn open_direct(store: &Store, class: Class, seq: u64) -> Option<Arc<dyn VfsFile>> {
    let path = segment::path(&store.dir(), class, seq);
    match class {
        Class::Large => store.vfs.open(&path, OpenMode::Direct).ok(),
        Class::Small => None,
    }
}

/// Writes the data of a large record at `at` and returns its block checksums. Each block is copied
/// to aligned memory while its checksum has it in cache.
fn write_data(
    head: &Head,
    copy: &mut Option<AlignedBuffer>,
    at: u64,
    data: &[u8],
) -> io::Result<Vec<u32>> {
    let Some(direct) = &head.direct else {
        head.file.write_at(at, data)?;
        return Ok(record::block_checksums(data));
    };
    if is_aligned(data) && data.len().is_multiple_of(ALIGN) {
        direct.write_at(at, data)?;
        return Ok(record::block_checksums(data));
    }
    let buffer = copy
        .get_or_insert_with(|| AlignedBuffer::new(COPY_BYTES))
        .bytes();
    let mut crcs = Vec::with_capacity(data.len().div_ceil(BLOCK_BYTES));
    let mut offset = at;
    for part in data.chunks(COPY_BYTES) {
        for (block, to) in part.chunks(BLOCK_BYTES).zip(buffer.chunks_mut(BLOCK_BYTES)) {
            crcs.push(crc32c(block));
            to[..block.len()].copy_from_slice(block);
        }
        let padded = part.len().next_multiple_of(ALIGN);
        buffer[part.len()..padded].fill(0);
        direct.write_at(offset, &buffer[..padded])?;
        offset += padded as u64;
    }
    Ok(crcs)
}

/// Writes the header page of a large record.
fn write_page(
    head: &Head,
    copy: &mut Option<AlignedBuffer>,
    at: u64,
    header: &[u8],
) -> io::Result<()> {
    let buffer = copy
        .get_or_insert_with(|| AlignedBuffer::new(COPY_BYTES))
        .bytes();
    let page = &mut buffer[..PAGE_BYTES];
    page[..header.len()].copy_from_slice(header);
    page[header.len()..].fill(0);
    head.direct
        .as_ref()
        .unwrap_or(&head.file)
        .write_at(at, page)
}
