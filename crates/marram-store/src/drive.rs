//! A drive: shard runs in segments, an index to find them, reads that verify every block.
//!
//! A put is answered when its record is durable in a segment and visible in the index (rules.md
//! 20). The index itself is made durable by checkpoints only; what came after the last one is read
//! back from the open segments. Large records are aligned and written past the page cache, small
//! ones are packed. Either class has one writer thread that syncs once for all that has gathered.
//!
//! ```text
//! record     header and block checksums of one run
//! segment    files of records, their footers
//! index      redb: shard and offset to record
//! store      what the threads share: segments, space, retirement
//! writer     one thread per class: dedupe, place, write, sync, index, answer
//! read       ranges to bytes, verified
//! remove     deletes: holes for large records, whole segments for small ones
//! compact    small records copied forward out of mostly dead segments
//! scrub      everything read through, past the page cache
//! note       a small file of the drive that outlives a crash
//! keeper     checkpoints, unlinking of empty segments
//! recover    what an open finds
//! ```

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;

use bytes::Bytes;
use marram_types::caps::{DRIVE_FREE_BYTES_MIN, DRIVE_FULL_PERCENT, SHARD_RUN_BYTES_MAX};
use marram_types::{ClusterId, DataId, DriveId, PgId, ShardId};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::vfs::Vfs;

mod buffer;
mod compact;
mod index;
mod keeper;
mod note;
mod read;
mod record;
mod recover;
mod remove;
mod scrub;
mod segment;
mod store;
#[cfg(test)]
mod tests;
mod writer;

pub use compact::{CompactError, CompactPage, Compactable};
pub use index::IndexError;
pub use scrub::{BadRun, RunAt, RunFault, ScrubPage};
use store::Store;

/// Runs up to this size are packed; larger ones get pages of their own.
const SMALL_RUN_BYTES_MAX: usize = 64 * 1024;
/// Smallest segment: a few of the largest records.
const SEGMENT_BYTES_MIN: u64 = 1024 * 1024;
/// Offsets of records are 32 bits.
const SEGMENT_BYTES_MAX: u64 = 2 * 1024 * 1024 * 1024;

/// The two kinds of records (rules.md 20). Numbers are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Class {
    Large = 1,
    Small = 2,
}

impl Class {
    fn of(data_len: usize) -> Self {
        if data_len > SMALL_RUN_BYTES_MAX {
            Self::Large
        } else {
            Self::Small
        }
    }

    fn suffix(self) -> &'static str {
        match self {
            Self::Large => "large",
            Self::Small => "small",
        }
    }
}

/// What a run of shard bytes is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunHeader {
    /// Whose bytes.
    pub shard: ShardId,
    /// The placement group that put the shard on this drive.
    pub pg: PgId,
    /// Offset of the run's first byte in the shard.
    pub offset: u64,
    /// Codec that made the shard.
    pub codec: u8,
    /// Matrix that the codec used.
    pub matrix: u8,
}

/// When a drive takes no more shards (rules.md 21).
#[derive(Debug, Clone, Copy)]
pub struct DriveLimits {
    /// Percentage of the capacity above which writes stop.
    pub full_percent: u64,
    /// Free bytes below which writes stop.
    pub free_bytes_min: u64,
    /// Bytes that the drive may use, when it is not the whole file system.
    pub capacity: Option<u64>,
}

impl Default for DriveLimits {
    fn default() -> Self {
        Self {
            full_percent: DRIVE_FULL_PERCENT,
            free_bytes_min: DRIVE_FREE_BYTES_MIN,
            capacity: None,
        }
    }
}

/// Called when a sync of the metadata drive failed; the process must end.
pub type OnDriveFatal = Arc<dyn Fn(&io::Error) + Send + Sync>;

/// Settings of a drive.
#[derive(Clone)]
pub struct DriveOptions {
    /// Which drive.
    pub id: DriveId,
    /// Whose it is.
    pub cluster: ClusterId,
    /// Size of a segment in bytes; 1 MiB to 2 GiB, and room for one run at least.
    pub segment_bytes: u64,
    /// When writes stop.
    pub limits: DriveLimits,
    /// Memory of the index's page cache in bytes (rules.md 10).
    pub index_cache_bytes: usize,
    /// Bytes of runs that may wait for either writer; more wait with their callers.
    pub queue_bytes: usize,
    /// Time between checkpoints of the index in milliseconds.
    pub checkpoint_ms: u64,
    /// For the metadata drive: called when a sync fails. Without it the drive retires.
    pub on_fatal: Option<OnDriveFatal>,
}

impl DriveOptions {
    /// The usual settings of a drive.
    #[must_use]
    pub fn new(id: DriveId, cluster: ClusterId) -> Self {
        Self {
            id,
            cluster,
            segment_bytes: 256 * 1024 * 1024,
            limits: DriveLimits::default(),
            index_cache_bytes: 4 * 1024 * 1024,
            queue_bytes: 2 * SHARD_RUN_BYTES_MAX,
            checkpoint_ms: 5000,
            on_fatal: None,
        }
    }
}

impl fmt::Debug for DriveOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DriveOptions")
            .field("id", &self.id)
            .field("segment_bytes", &self.segment_bytes)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// Why a drive cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The operating system refused.
    #[error("drive: {0}")]
    Io(#[from] io::Error),
    /// The index cannot be made, not even anew.
    #[error(transparent)]
    Index(#[from] IndexError),
}

/// Why a run was not taken.
#[derive(Debug, Clone, thiserror::Error)]
pub enum PutError {
    /// The drive is full (rules.md 21): write elsewhere.
    #[error("the drive is full: {free} bytes free")]
    Full {
        /// Bytes free now.
        free: u64,
    },
    /// The drive lost writes once and takes no more: write elsewhere.
    #[error("the drive is retired")]
    Retired,
    /// The run is empty or larger than 16 MiB. The caller is wrong.
    #[error("a run of {0} bytes is not possible")]
    Size(usize),
    /// The drive holds other bytes for this run. The caller is wrong.
    #[error("shard {shard} has other bytes at {offset}")]
    Conflict {
        /// The shard.
        shard: ShardId,
        /// Where the run begins.
        offset: u64,
    },
    /// The operating system failed; the run is not durable.
    #[error("drive: {0}")]
    Io(Arc<io::Error>),
    /// The index failed; the run may come back after a restart.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// The drive was closed before the run was durable.
    #[error("the drive is closed")]
    Closed,
}

/// Why bytes could not be read.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ReadError {
    /// The drive does not hold all of the range.
    #[error("shard {shard} is not here at {offset}")]
    NotFound {
        /// The shard.
        shard: ShardId,
        /// The first byte that is not here.
        offset: u64,
    },
    /// What is on the drive is not what was written: file a repair ticket.
    #[error("shard {shard} is damaged in its run at {offset}")]
    Corrupt {
        /// The shard.
        shard: ShardId,
        /// Where the damaged run begins.
        offset: u64,
    },
    /// The operating system failed.
    #[error("drive: {0}")]
    Io(Arc<io::Error>),
    /// The index failed.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// The process is going down.
    #[error("the drive is closed")]
    Closed,
}

/// What a drive is able to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DriveState {
    /// Everything.
    Active,
    /// Reads and deletes; it is full.
    Full,
    /// Reads and deletes; a sync failed once.
    Retired,
}

/// Figures of a drive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DriveStat {
    /// Bytes that it could ever use.
    pub capacity: u64,
    /// Bytes free for shards and everything else.
    pub free: u64,
    /// Bytes of live records, headers and padding included.
    pub live_record_bytes: u64,
    /// Live runs.
    pub runs: u64,
    /// What it is able to do.
    pub state: DriveState,
}

/// What waits in one of a drive's queues, and what left it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct QueueFigures {
    /// Runs that wait for the next sync to begin.
    pub waiting_runs: u64,
    /// Bytes of runs that are not durable yet, those being written included, in units of 1 KiB.
    pub waiting_bytes: u64,
    /// Syncs that made runs durable since the drive was opened.
    pub syncs: u64,
    /// Runs that they made durable.
    pub synced_runs: u64,
}

/// What is counted of a cache since it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CacheFigures {
    /// What was in it.
    pub hits: u64,
    /// What was not.
    pub misses: u64,
    /// Memory that it takes now, where that is known.
    pub bytes: u64,
}

/// What compaction did since the drive was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CompactionFigures {
    /// Segments that it emptied.
    pub segments: u64,
    /// Bytes of records that it copied.
    pub copied_bytes: u64,
    /// Bytes of packed segments that were removed, also of those that died by themselves.
    pub returned_bytes: u64,
}

/// What is counted of a drive since it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DriveFigures {
    /// Runs of 64 KiB and more.
    pub large: QueueFigures,
    /// Shorter ones.
    pub small: QueueFigures,
    /// Bytes of packed records that nobody needs and whose segments are still there.
    pub dead_bytes: u64,
    /// How such bytes came back.
    pub compaction: CompactionFigures,
    /// Segment files that are kept open for reads.
    pub files: CacheFigures,
    /// Pages of the index.
    pub index: CacheFigures,
}

/// One shard in a listing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShardInfo {
    /// Which.
    pub shard: ShardId,
    /// The placement group that put it here.
    pub pg: PgId,
    /// Bytes of its runs.
    pub bytes: u64,
}

/// A drive. Clones share it; when the last one goes, what is queued is written and the drive is
/// closed.
#[derive(Clone)]
pub struct Drive(Arc<Handle>);

struct Handle {
    store: Arc<Store>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl fmt::Debug for Drive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Drive")
            .field(&self.0.store.options.id)
            .finish()
    }
}

impl Drive {
    /// Opens the drive in `root`, whose lock the caller holds ([`crate::DriveRoot`]). Blocks while
    /// it reads back what came after the last checkpoint.
    ///
    /// # Errors
    /// When the operating system refuses, or the index can be neither read nor made anew.
    pub fn open(vfs: Arc<dyn Vfs>, root: &Path, options: DriveOptions) -> Result<Self, OpenError> {
        let mut options = options;
        options.segment_bytes = options
            .segment_bytes
            .clamp(SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX)
            .next_multiple_of(segment::RECORDS_AT);
        options.queue_bytes = options.queue_bytes.max(SHARD_RUN_BYTES_MAX);
        let (store, starts) = recover::open(vfs, root, options)?;
        let store = Arc::new(store);
        let mut threads = Vec::new();
        for start in starts {
            let store = store.clone();
            let name = format!("marram-{}", start.class.suffix());
            let thread = std::thread::Builder::new().name(name);
            threads.push(thread.spawn(move || writer::run(&store, start))?);
        }
        let keeper = std::thread::Builder::new().name("marram-keeper".to_owned());
        threads.push(keeper.spawn({
            let store = store.clone();
            move || keeper::run(&store)
        })?);
        Ok(Self(Arc::new(Handle {
            store,
            threads: Mutex::new(threads),
        })))
    }

    /// Which drive this is.
    #[must_use]
    pub fn id(&self) -> DriveId {
        self.0.store.options.id
    }

    /// Writes a run of a shard; returns when it is durable and readable. Writing the same bytes to
    /// the same place again succeeds. Waits while the writer's queue is full.
    ///
    /// # Errors
    /// [`PutError`]; the run is not durable then.
    pub async fn put_run(&self, header: RunHeader, data: Bytes) -> Result<(), PutError> {
        if data.is_empty() || data.len() > SHARD_RUN_BYTES_MAX {
            return Err(PutError::Size(data.len()));
        }
        let queue = self.0.store.queue(Class::of(data.len()));
        let (reply, answer) = oneshot::channel();
        queue.push(header, data, None, reply).await?;
        answer.await.unwrap_or(Err(PutError::Closed))
    }

    /// The segment to compact next; none when none is worth it, or the drive cannot hold the copies.
    #[must_use]
    pub fn compactable(&self) -> Option<Compactable> {
        compact::next(&self.0.store)
    }

    /// Takes a step of the compaction of a segment: reads about `bytes_max` from `from` on (0 at first, then
    /// [`CompactPage::next`]) and copies what still lives. Returns when the copies are durable and the index
    /// names them. After the last step the segment goes with the next checkpoint. One segment at a time; a step
    /// may be taken twice, and never has to be.
    ///
    /// # Errors
    /// [`CompactError`]; everything can be read then as before.
    pub async fn compact(
        &self,
        segment: u64,
        from: u64,
        bytes_max: u64,
    ) -> Result<CompactPage, CompactError> {
        let store = self.0.store.clone();
        let read = tokio::task::spawn_blocking(move || {
            compact::read_page(&store, segment, from, bytes_max)
        });
        let (live, mut page) = read.await.unwrap_or(Err(ReadError::Closed))?;
        let queue = self.0.store.queue(Class::Small);
        let mut answers = Vec::with_capacity(live.len());
        for run in live {
            page.written_bytes += record::len_with(Class::Small, run.data.len()) as u64;
            let (reply, answer) = oneshot::channel();
            queue
                .push(run.header, run.data, Some(run.from), reply)
                .await?;
            answers.push(answer);
        }
        for answer in answers {
            answer.await.unwrap_or(Err(PutError::Closed))?;
        }
        if page.done {
            let store = self.0.store.clone();
            let left = tokio::task::spawn_blocking(move || compact::left_over(&store, segment));
            page.bad = left.await.unwrap_or(Err(ReadError::Closed))?;
            if compact::is_empty(&self.0.store, segment) {
                let counts = &self.0.store.compaction;
                counts.segments.fetch_add(1, Ordering::Relaxed);
            }
        }
        Ok(page)
    }

    /// Reads `len` bytes of a shard from `offset`; every block touched is verified. The range may
    /// span runs.
    ///
    /// # Errors
    /// [`ReadError`]; never fewer bytes than asked for.
    pub async fn read(&self, shard: ShardId, offset: u64, len: usize) -> Result<Bytes, ReadError> {
        let store = self.0.store.clone();
        tokio::task::spawn_blocking(move || read::read(&store, shard, offset, len))
            .await
            .unwrap_or(Err(ReadError::Closed))
    }

    /// Removes every shard of the given data ids; returns how many runs went. Data that is not
    /// here is no error.
    ///
    /// # Errors
    /// When the operating system or the index fails; some may be gone then.
    pub async fn delete(&self, data: Vec<DataId>) -> Result<usize, ReadError> {
        let prefixes = data.into_iter().map(|id| id.to_bytes().to_vec()).collect();
        self.remove(prefixes).await
    }

    /// Removes the given shards; returns how many runs went.
    ///
    /// # Errors
    /// As [`Self::delete`].
    pub async fn delete_shards(&self, shards: Vec<ShardId>) -> Result<usize, ReadError> {
        let prefixes = shards
            .into_iter()
            .map(|id| id.to_bytes().to_vec())
            .collect();
        self.remove(prefixes).await
    }

    async fn remove(&self, prefixes: Vec<Vec<u8>>) -> Result<usize, ReadError> {
        let store = self.0.store.clone();
        tokio::task::spawn_blocking(move || remove::remove(&store, &prefixes))
            .await
            .unwrap_or(Err(ReadError::Closed))
    }

    /// Up to `limit` shards after `after`, in the order of their ids.
    ///
    /// # Errors
    /// When the index fails.
    pub async fn list(
        &self,
        after: Option<ShardId>,
        limit: usize,
    ) -> Result<Vec<ShardInfo>, ReadError> {
        let store = self.0.store.clone();
        tokio::task::spawn_blocking(move || read::list(&store, after, limit))
            .await
            .unwrap_or(Err(ReadError::Closed))
    }

    /// Where the last run of a shard ends; 0 when nothing of it is here. There may be gaps before.
    ///
    /// # Errors
    /// When the index fails.
    pub async fn shard_end(&self, shard: ShardId) -> Result<u64, ReadError> {
        let store = self.0.store.clone();
        tokio::task::spawn_blocking(move || read::shard_end(&store, shard))
            .await
            .unwrap_or(Err(ReadError::Closed))
    }

    /// Says how much of the capacity that [`DriveLimits::capacity`] sets is used by others than shards.
    /// Without such a limit the file system knows it.
    pub fn set_other_bytes(&self, bytes: u64) {
        self.0.store.other_bytes.store(bytes, Ordering::Relaxed);
    }

    /// Reads the runs after `after` through, in the order of their keys and past the page cache, until
    /// `bytes_max` is reached; one at least. Header and every block are verified.
    ///
    /// # Errors
    /// When the index fails. What is wrong with a run is in the page.
    pub async fn scrub(
        &self,
        after: Option<RunAt>,
        bytes_max: u64,
    ) -> Result<ScrubPage, ReadError> {
        let store = self.0.store.clone();
        tokio::task::spawn_blocking(move || scrub::scrub(&store, after, bytes_max))
            .await
            .unwrap_or(Err(ReadError::Closed))
    }

    /// For each shard with its length in bytes, whether the drive has all of it, as far as the index
    /// knows: nothing is read.
    ///
    /// # Errors
    /// When the index fails.
    pub async fn covers(&self, shards: Vec<(ShardId, u64)>) -> Result<Vec<bool>, ReadError> {
        let store = self.0.store.clone();
        tokio::task::spawn_blocking(move || scrub::covers(&store, &shards))
            .await
            .unwrap_or(Err(ReadError::Closed))
    }

    /// What [`Self::keep_note`] kept last; none when there is none, or it is damaged.
    pub async fn note(&self) -> Option<Vec<u8>> {
        let store = self.0.store.clone();
        let read = tokio::task::spawn_blocking(move || note::read(&store));
        read.await.ok().flatten()
    }

    /// Keeps some bytes with the drive, durably and in place of those kept before.
    ///
    /// # Errors
    /// When the operating system fails.
    pub async fn keep_note(&self, bytes: Vec<u8>) -> Result<(), ReadError> {
        let store = self.0.store.clone();
        let kept = tokio::task::spawn_blocking(move || note::keep(&store, &bytes)).await;
        match kept {
            Ok(kept) => kept.map_err(|error| ReadError::Io(Arc::new(error))),
            Err(_) => Err(ReadError::Closed),
        }
    }

    /// Looks whether the drive is still there: one whose folder is gone, or cannot be synced, is
    /// retired. The metadata drive is not asked: its log notices by itself.
    pub async fn probe(&self) {
        let store = self.0.store.clone();
        let probed = tokio::task::spawn_blocking(move || store.probe()).await;
        if let Err(error) = probed {
            tracing::error!(drive = %self.id(), %error, "a drive cannot be looked at");
        }
    }

    /// What is counted of the drive.
    #[must_use]
    pub fn figures(&self) -> DriveFigures {
        self.0.store.figures()
    }

    /// Figures of the drive now.
    #[must_use]
    pub fn stat(&self) -> DriveStat {
        self.0.store.stat()
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.store.close();
        for thread in self.threads.lock().drain(..) {
            if thread.join().is_err() {
                tracing::error!(drive = %self.store.options.id, "a thread of the drive panicked");
            }
        }
        keeper::close(&self.store);
    }
}
