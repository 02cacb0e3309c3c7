//! What the threads of a drive share.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::compact::{Stuck, dead_bytes};
use super::index::{Change, Index, IndexError, RunRow, SegmentRow};
use super::segment::{self, RECORDS_AT};
use super::{
    CacheFigures, Class, CompactionFigures, DriveFigures, DriveOptions, DriveStat, DriveState,
    PutError, QueueFigures, RunHeader,
};
use crate::vfs::{OpenMode, Vfs, VfsFile};

/// The marker of a retired drive.
const RETIRED_NAME: &str = "marram.retired";
/// The index of a drive.
pub(super) const INDEX_NAME: &str = "index.redb";
/// Failed reads after which a drive counts as failing.
pub(super) const READS_FAILED_MAX: u64 = 64;
/// Segment files kept open for reads.
const OPEN_FILES_MAX: usize = 256;
/// The queue counts in units of this many bytes.
const QUEUE_UNIT_BYTES: usize = 1024;

/// An open segment.
#[derive(Debug)]
pub(super) struct SegmentFile {
    pub(super) class: Class,
    pub(super) epoch: u64,
    pub(super) file: Arc<dyn VfsFile>,
}

/// The accounts of segments. Locked while a change of the index that touches them commits, so
/// that rows are written in the order of their changes.
#[derive(Debug, Default)]
pub(super) struct Books {
    pub(super) segments: BTreeMap<u64, SegmentRow>,
    /// Empty sealed segments, to be unlinked after the next checkpoint.
    pub(super) empty: Vec<u64>,
    /// Runs written or removed since the last checkpoint.
    pub(super) changes: u64,
    /// Segments that a compaction could not empty.
    pub(super) stuck: Stuck,
}

impl Books {
    /// Bytes that segments take, as far as this drive can know: live large records (the dead ones
    /// are holes) and whole small segments.
    pub(super) fn used(&self) -> u64 {
        let used = |row: &SegmentRow| match row.class {
            Class::Large => row.live_bytes,
            Class::Small => row.end.saturating_sub(RECORDS_AT),
        };
        self.segments.values().map(used).sum()
    }

    /// Preallocated bytes of open segments that hold nothing yet.
    fn unwritten(&self, segment_bytes: u64) -> u64 {
        let open = self.segments.values().filter(|row| !row.sealed);
        open.map(|row| segment_bytes.saturating_sub(row.end)).sum()
    }
}

/// One put on its way, or the copy of a record.
pub(super) struct Job {
    pub(super) header: RunHeader,
    pub(super) data: Bytes,
    /// Of a copy: the place that the index must still name when the copy is shown.
    pub(super) copy_of: Option<RunRow>,
    pub(super) reply: oneshot::Sender<Result<(), PutError>>,
    /// Room in the queue, given back when the job ends.
    room: OwnedSemaphorePermit,
}

impl Job {
    /// Who waits, the bytes, and the queue's room.
    pub(super) fn into_parts(
        self,
    ) -> (
        oneshot::Sender<Result<(), PutError>>,
        Bytes,
        OwnedSemaphorePermit,
    ) {
        (self.reply, self.data, self.room)
    }
}

/// Jobs of one writer, bounded by bytes.
pub(super) struct Queue {
    room: Arc<Semaphore>,
    units: usize,
    jobs: Mutex<(VecDeque<Job>, bool)>,
    work: Condvar,
    /// Syncs that made runs durable, and how many they made durable.
    pub(super) syncs: AtomicU64,
    pub(super) synced_runs: AtomicU64,
}

impl Queue {
    fn new(bytes: usize) -> Self {
        Self {
            room: Arc::new(Semaphore::new(bytes / QUEUE_UNIT_BYTES)),
            units: bytes / QUEUE_UNIT_BYTES,
            jobs: Mutex::new((VecDeque::new(), false)),
            work: Condvar::new(),
            syncs: AtomicU64::new(0),
            synced_runs: AtomicU64::new(0),
        }
    }

    /// One sync made so many runs durable.
    pub(super) fn synced(&self, runs: usize) {
        self.syncs.fetch_add(1, Ordering::Relaxed);
        self.synced_runs.fetch_add(runs as u64, Ordering::Relaxed);
    }

    fn figures(&self) -> QueueFigures {
        let taken = self.units.saturating_sub(self.room.available_permits());
        QueueFigures {
            waiting_runs: self.jobs.lock().0.len() as u64,
            waiting_bytes: (taken * QUEUE_UNIT_BYTES) as u64,
            syncs: self.syncs.load(Ordering::Relaxed),
            synced_runs: self.synced_runs.load(Ordering::Relaxed),
        }
    }

    pub(super) async fn push(
        &self,
        header: RunHeader,
        data: Bytes,
        copy_of: Option<RunRow>,
        reply: oneshot::Sender<Result<(), PutError>>,
    ) -> Result<(), PutError> {
        let units = data.len().div_ceil(QUEUE_UNIT_BYTES);
        let units = u32::try_from(units).expect("a run has at most 16 MiB");
        let room = Arc::clone(&self.room).acquire_many_owned(units).await;
        let room = room.map_err(|_| PutError::Closed)?;
        let mut jobs = self.jobs.lock();
        if jobs.1 {
            return Err(PutError::Closed);
        }
        jobs.0.push_back(Job {
            header,
            data,
            copy_of,
            reply,
            room,
        });
        self.work.notify_one();
        Ok(())
    }

    /// Everything that has gathered; `None` when the queue is closed and empty.
    pub(super) fn take(&self) -> Option<VecDeque<Job>> {
        let mut jobs = self.jobs.lock();
        while jobs.0.is_empty() {
            if jobs.1 {
                return None;
            }
            self.work.wait(&mut jobs);
        }
        Some(std::mem::take(&mut jobs.0))
    }

    fn close(&self) {
        self.jobs.lock().1 = true;
        self.work.notify_all();
        self.room.close();
    }
}

/// What wakes the keeper.
#[derive(Debug, Default)]
pub(super) struct Calls {
    pub(super) wanted: bool,
    pub(super) closing: bool,
}

/// The shared part of a drive.
pub(super) struct Store {
    pub(super) vfs: Arc<dyn Vfs>,
    pub(super) root: PathBuf,
    pub(super) options: DriveOptions,
    pub(super) index: Index,
    pub(super) books: Mutex<Books>,
    pub(super) calls: Mutex<Calls>,
    pub(super) called: Condvar,
    next_seq: AtomicU64,
    open: Mutex<HashMap<u64, Arc<SegmentFile>>>,
    large: Queue,
    small: Queue,
    retired: AtomicBool,
    /// Size of the last put refused for space; 0 for none.
    refused_bytes: AtomicU64,
    /// Bytes within the capacity limit that are not shards.
    pub(super) other_bytes: AtomicU64,
    /// Reads that the operating system failed since the drive was opened.
    reads_failed: AtomicU64,
    /// How often a segment was open already when it was read, and how often it had to be opened.
    file_hits: AtomicU64,
    file_misses: AtomicU64,
    pub(super) compaction: CompactionCounts,
    /// Called at each step that a crash could follow.
    #[cfg(test)]
    pub(super) on_step: Mutex<Option<StepHook>>,
}

/// What a test does at a step.
#[cfg(test)]
pub(super) type StepHook = Box<dyn FnMut(&'static str) + Send>;

/// What compaction did since the drive was opened.
#[derive(Debug, Default)]
pub(super) struct CompactionCounts {
    /// Segments that it emptied.
    pub(super) segments: AtomicU64,
    /// Bytes of records that it copied.
    pub(super) copied_bytes: AtomicU64,
    /// Bytes of packed segments that were removed, whoever emptied them.
    pub(super) returned_bytes: AtomicU64,
}

impl Store {
    pub(super) fn new(
        vfs: Arc<dyn Vfs>,
        root: &Path,
        options: DriveOptions,
        index: Index,
        next_seq: u64,
    ) -> Self {
        let retired = vfs
            .open(&root.join(RETIRED_NAME), OpenMode::Existing)
            .is_ok();
        Self {
            large: Queue::new(options.queue_bytes),
            small: Queue::new(options.queue_bytes),
            vfs,
            root: root.to_owned(),
            options,
            index,
            books: Mutex::default(),
            calls: Mutex::default(),
            called: Condvar::new(),
            next_seq: AtomicU64::new(next_seq),
            open: Mutex::default(),
            retired: AtomicBool::new(retired),
            refused_bytes: AtomicU64::new(0),
            other_bytes: AtomicU64::new(0),
            reads_failed: AtomicU64::new(0),
            file_hits: AtomicU64::new(0),
            file_misses: AtomicU64::new(0),
            compaction: CompactionCounts::default(),
            #[cfg(test)]
            on_step: Mutex::default(),
        }
    }

    /// A place where a test looks what a crash would leave.
    pub(super) fn step(&self, name: &'static str) {
        #[cfg(test)]
        if let Some(hook) = self.on_step.lock().as_mut() {
            hook(name);
        }
        #[cfg(not(test))]
        let _nobody_looks = (self, name);
    }

    /// Folder of the segments.
    pub(super) fn dir(&self) -> PathBuf {
        segments_dir(&self.root)
    }

    pub(super) fn queue(&self, class: Class) -> &Queue {
        match class {
            Class::Large => &self.large,
            Class::Small => &self.small,
        }
    }

    pub(super) fn take_seq(&self) -> u64 {
        self.next_seq.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Acquire)
    }

    /// Whether the folder is still the one that was opened, and whether it can be synced. A drive that
    /// was pulled, or whose folder was taken away, is retired.
    pub(super) fn probe(&self) {
        if self.is_retired() || self.options.on_fatal.is_some() {
            return;
        }
        let found = self
            .vfs
            .open(&self.root.join(INDEX_NAME), OpenMode::Existing)
            .and_then(|_| self.vfs.sync_dir(&self.root));
        if let Err(error) = found {
            self.retire("its folder cannot be used any more", &error);
        }
    }

    /// What is counted of the drive.
    pub(super) fn figures(&self) -> DriveFigures {
        DriveFigures {
            large: self.large.figures(),
            small: self.small.figures(),
            dead_bytes: self.books.lock().segments.values().map(dead_bytes).sum(),
            compaction: CompactionFigures {
                segments: self.compaction.segments.load(Ordering::Relaxed),
                copied_bytes: self.compaction.copied_bytes.load(Ordering::Relaxed),
                returned_bytes: self.compaction.returned_bytes.load(Ordering::Relaxed),
            },
            files: CacheFigures {
                hits: self.file_hits.load(Ordering::Relaxed),
                misses: self.file_misses.load(Ordering::Relaxed),
                bytes: 0,
            },
            index: self.index.pages(),
        }
    }

    /// Whether a segment is still among those of the drive.
    pub(super) fn has_segment(&self, seq: u64) -> bool {
        self.books.lock().segments.contains_key(&seq)
    }

    /// The epoch of a segment that is open for reads.
    pub(super) fn open_epoch(&self, seq: u64) -> Option<u64> {
        self.open.lock().get(&seq).map(|segment| segment.epoch)
    }

    /// Segments that are open for reads.
    #[cfg(test)]
    pub(super) fn open_segments(&self) -> Vec<u64> {
        self.open.lock().keys().copied().collect()
    }

    /// Ends the use of queues and wakes all threads.
    pub(super) fn close(&self) {
        self.large.close();
        self.small.close();
        self.calls.lock().closing = true;
        self.called.notify_all();
    }

    /// A sync failed: nobody knows what the drive holds (rules.md 21).
    pub(super) fn sync_failed(&self, error: &io::Error) {
        if let Some(on_fatal) = &self.options.on_fatal {
            on_fatal(error);
        }
        self.retire("a sync failed", error);
    }

    /// A write failed for another reason than a lack of space. A drive that does not take writes is
    /// retired; of the metadata drive the log says what becomes of the process (rules.md 21).
    pub(super) fn write_failed(&self, error: &io::Error) {
        if self.options.on_fatal.is_none() {
            self.retire("a write failed", error);
        }
    }

    /// A read failed. Single bad sectors are repaired elsewhere; a drive with many is failing.
    pub(super) fn read_failed(&self, error: &io::Error) {
        let failed = self.reads_failed.fetch_add(1, Ordering::AcqRel) + 1;
        if failed >= READS_FAILED_MAX && self.options.on_fatal.is_none() {
            self.retire("too many reads failed", error);
        }
    }

    /// Takes no more writes, durably where the drive still can.
    fn retire(&self, why: &'static str, error: &io::Error) {
        if self.retired.swap(true, Ordering::AcqRel) {
            return;
        }
        tracing::error!(drive = %self.options.id, why, %error, "the drive is retired");
        let marked = self
            .vfs
            .open(&self.root.join(RETIRED_NAME), OpenMode::OpenOrCreate)
            .and_then(|file| file.sync_data())
            .and_then(|()| self.vfs.sync_dir(&self.root));
        if let Err(error) = marked {
            tracing::error!(drive = %self.options.id, %error, "the retirement could not be recorded");
        }
    }

    /// The segment of a run, opened if need be; `None` when it is gone or unreadable.
    pub(super) fn segment(&self, seq: u64) -> io::Result<Option<Arc<SegmentFile>>> {
        if let Some(found) = self.open.lock().get(&seq) {
            self.file_hits.fetch_add(1, Ordering::Relaxed);
            return Ok(Some(found.clone()));
        }
        let class = self.books.lock().segments.get(&seq).map(|row| row.class);
        let Some(class) = class else {
            return Ok(None);
        };
        let Some(opened) = open_segment(self.vfs.as_ref(), &self.dir(), class, seq)? else {
            return Ok(None);
        };
        self.file_misses.fetch_add(1, Ordering::Relaxed);
        let opened = Arc::new(opened);
        self.keep_open(seq, opened.clone());
        if !self.has_segment(seq) {
            // Removed meanwhile: kept open, it would keep its space.
            self.forget_open(seq);
        }
        Ok(Some(opened))
    }

    pub(super) fn keep_open(&self, seq: u64, segment: Arc<SegmentFile>) {
        let mut open = self.open.lock();
        if open.len() >= OPEN_FILES_MAX {
            // Any one will do: opening again costs one header read.
            let victim = open.keys().next().copied();
            victim.and_then(|seq| open.remove(&seq));
        }
        open.insert(seq, segment);
    }

    pub(super) fn forget_open(&self, seq: u64) {
        self.open.lock().remove(&seq);
    }

    /// Changes accounts and index together: `change` edits rows and names the index changes.
    pub(super) fn change(
        &self,
        change: impl FnOnce(&mut Books) -> Vec<Change>,
    ) -> Result<(), IndexError> {
        let mut books = self.books.lock();
        let changes = change(&mut books);
        books.changes += changes.len() as u64;
        let hurry = books.changes > super::keeper::CHANGES_PER_CHECKPOINT;
        let result = self.index.apply(&changes);
        drop(books);
        if hurry {
            self.call_keeper();
        }
        self.committed(result)
    }

    /// Passes the result of a commit on; a failed one counts as a failed sync, because the index
    /// takes nothing more and memory and drive no longer agree.
    pub(super) fn committed(&self, result: Result<(), IndexError>) -> Result<(), IndexError> {
        if let Err(error) = &result {
            self.sync_failed(&io::Error::other(error.clone()));
        }
        result
    }

    pub(super) fn call_keeper(&self) {
        self.calls.lock().wanted = true;
        self.called.notify_all();
    }

    /// Capacity and free bytes now.
    pub(super) fn space(&self) -> (u64, u64) {
        let books = self.books.lock();
        if let Some(capacity) = self.options.limits.capacity {
            let others = self.other_bytes.load(Ordering::Relaxed);
            return (capacity, capacity.saturating_sub(books.used() + others));
        }
        let unwritten = books.unwritten(self.options.segment_bytes);
        drop(books);
        let space = self.vfs.space(&self.root);
        space.map_or((0, 0), |space| (space.capacity, space.free + unwritten))
    }

    /// Bytes that shards may still take before the drive counts as full.
    pub(super) fn room(&self) -> (u64, u64) {
        let (capacity, free) = self.space();
        let limits = &self.options.limits;
        let kept = capacity / 100 * (100 - limits.full_percent.min(100));
        (free.saturating_sub(kept.max(limits.free_bytes_min)), free)
    }

    /// Bytes that copies of records may take: what is free, not only what is free for shards (rules.md 21). A
    /// new segment takes its whole length from the file system at once.
    pub(super) fn room_for_copies(&self) -> u64 {
        if self.options.limits.capacity.is_some() {
            return self.space().1;
        }
        let segment_bytes = self.options.segment_bytes;
        let free = self.vfs.space(&self.root).map_or(0, |space| space.free);
        // One more segment stays for the log, where it is on the same drive.
        if free >= 2 * segment_bytes {
            return free;
        }
        let books = self.books.lock();
        let open = books.segments.values().filter(|row| !row.sealed);
        let small = open.filter(|row| row.class == Class::Small);
        let left = small.map(|row| segment_bytes.saturating_sub(row.end)).max();
        // Half of it: the footer takes its part.
        left.unwrap_or(0) / 2
    }

    /// Remembers that a put found no room: the drive counts as full until there is as much.
    pub(super) fn refuse(&self, bytes: u64) {
        self.refused_bytes.store(bytes, Ordering::Relaxed);
    }

    pub(super) fn stat(&self) -> DriveStat {
        let (capacity, free) = self.space();
        let (room, _) = self.room();
        let state = if self.is_retired() {
            DriveState::Retired
        } else if room < self.refused_bytes.load(Ordering::Relaxed).max(1) {
            DriveState::Full
        } else {
            DriveState::Active
        };
        let books = self.books.lock();
        DriveStat {
            capacity,
            free,
            live_record_bytes: books.segments.values().map(|row| row.live_bytes).sum(),
            runs: books.segments.values().map(|row| row.live_runs).sum(),
            state,
        }
    }
}

pub(super) fn segments_dir(root: &Path) -> PathBuf {
    root.join("segments")
}

/// Opens a segment and reads its header; `None` when the file or a good header is missing.
pub(super) fn open_segment(
    vfs: &dyn Vfs,
    dir: &Path,
    class: Class,
    seq: u64,
) -> io::Result<Option<SegmentFile>> {
    let path = segment::path(dir, class, seq);
    let file = match vfs.open(&path, OpenMode::Existing) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let page = file.read_vec(0, super::record::PAGE_BYTES)?;
    let header = segment::Header::decode(&page).filter(|h| (h.seq, h.class) == (seq, class));
    if header.is_none() {
        tracing::error!(path = %path.display(), "the header of a segment is damaged");
    }
    Ok(header.map(|header| SegmentFile {
        class,
        epoch: header.epoch,
        file,
    }))
}
