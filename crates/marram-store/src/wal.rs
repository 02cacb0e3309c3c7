//! One Raft log for all groups of a node: an append-only run of segments, one writer thread, one
//! `fdatasync` for whatever has gathered.
//!
//! What is appended is readable at once and durable when its callback runs. Callbacks run in the
//! order of the calls, votes included, because Raft relies on that order. Any failed write or sync
//! ends the log for good and calls [`WalOptions::on_fatal`]: after a failed sync nobody knows what
//! the drive holds (rules.md 21).
//!
//! ```text
//! record     one framed, checksummed record; a record that starts a batch says that all before
//!            it is durable
//! segment    file names, headers, creation
//! log        the in-memory state under the lock: groups, places of entries, cache, pending bytes
//! writer     the thread that writes, syncs and runs callbacks
//! recover    reading the segments back, torn tail against damage
//! ```

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use bytes::Bytes;
use marram_types::GroupId;
use parking_lot::{Condvar, Mutex};

use crate::vfs::Vfs;

mod log;
mod record;
mod recover;
mod segment;
#[cfg(test)]
mod tests;
mod writer;

use log::{Log, Place};

/// Bytes of a log's folder that it holds back for its next segment: they are
/// not free, and nothing uses them.
#[must_use]
pub fn reserved_bytes(vfs: &dyn Vfs, dir: &Path) -> u64 {
    segment::reserved(vfs, dir)
}

/// Bytes that may wait for the writer before callers wait too.
const PENDING_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Bytes without a waiting callback (committed positions) that may gather before they are written.
const UNHURRIED_BYTES_MAX: usize = 1024 * 1024;
/// Smallest segment: room for the states of all groups of a node and some entries.
const SEGMENT_BYTES_MIN: u64 = 64 * 1024;

/// A place in a Raft log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LogPos {
    /// The leader's term.
    pub term: u64,
    /// The leader's replica id.
    pub node: u64,
    /// The index.
    pub index: u64,
}

/// One entry of a group's log. The payload is opaque here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WalEntry {
    /// Where it is.
    pub pos: LogPos,
    /// What it holds.
    pub payload: Bytes,
}

/// What the log knows of a group beside its entries.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GroupState {
    /// The last saved vote.
    pub vote: Option<Bytes>,
    /// The last saved committed position; may be older than the truth.
    pub committed: Option<Bytes>,
    /// Entries up to here are gone.
    pub purged: Option<LogPos>,
    /// The last entry, or `purged` when there is none.
    pub last: Option<LogPos>,
}

/// Called once, on the writer thread, when the call's bytes are durable or never will be. Must be
/// short.
pub type Done = Box<dyn FnOnce(Result<(), WalError>) + Send>;

/// Called when the log cannot go on; the node must end its process (rules.md 21).
pub type OnFatal = Arc<dyn Fn(&WalError) + Send + Sync>;

/// Why the log cannot do something.
#[derive(Debug, Clone, thiserror::Error)]
pub enum WalError {
    /// The operating system failed. Fatal once the log is open: it takes nothing more.
    #[error("raft log {path}: {source}", path = path.display())]
    Io {
        /// Which file or folder.
        path: PathBuf,
        /// What it said.
        source: Arc<io::Error>,
    },
    /// A record that was durable is not what was written. This replica must not vote: it leaves
    /// its groups and joins as a new replica (rules.md 2).
    #[error(
        "raft log {path} is damaged at byte {offset}: {what}; this replica must not vote again",
        path = path.display()
    )]
    Damaged {
        /// Which segment.
        path: PathBuf,
        /// Where.
        offset: u64,
        /// What does not fit.
        what: &'static str,
    },
    /// A later release wrote it.
    #[error(
        "raft log {path} has format {found}, which this release does not know: start it with the \
         release that wrote it, or a later one",
        path = path.display()
    )]
    NewerFormat {
        /// Which segment.
        path: PathBuf,
        /// The format found.
        found: u8,
    },
    /// An append that does not continue the group's log. The caller is wrong; nothing was written.
    #[error("group {group}: entry {index} does not follow entry {last:?}")]
    Gap {
        /// The group.
        group: GroupId,
        /// The entry given.
        index: u64,
        /// The last entry held.
        last: Option<u64>,
    },
    /// The drive is full to the last bytes, and the log holds no reserve there. Nothing was written.
    #[error(
        "raft log {path}: the drive is full; the log needs {bytes} bytes to begin: remove something \
         that is not Marram's from the drive, or enlarge it",
        path = path.display()
    )]
    NoSpace {
        /// Which folder.
        path: PathBuf,
        /// Bytes that are needed.
        bytes: u64,
    },
    /// A record larger than a segment holds. Nothing was written.
    #[error("a record of {bytes} bytes does not fit a log segment")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// The log was closed before the bytes were durable.
    #[error("the raft log is closed")]
    Closed,
}

/// Settings of a log.
#[derive(Clone)]
pub struct WalOptions {
    /// Size of a segment in bytes; at least 64 KiB.
    pub segment_bytes: u64,
    /// Bytes of recent entries kept in memory.
    pub cache_bytes: usize,
    /// Called when a write or sync fails.
    pub on_fatal: OnFatal,
}

impl Default for WalOptions {
    /// 64 MiB segments, 8 MiB of cache, and a fatal error that ends the process.
    fn default() -> Self {
        Self {
            segment_bytes: 64 * 1024 * 1024,
            cache_bytes: 8 * 1024 * 1024,
            on_fatal: Arc::new(|error| {
                tracing::error!(%error, "the raft log failed: ending the process");
                std::process::abort();
            }),
        }
    }
}

impl fmt::Debug for WalOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WalOptions")
            .field("segment_bytes", &self.segment_bytes)
            .field("cache_bytes", &self.cache_bytes)
            .finish_non_exhaustive()
    }
}

/// What the writer and the callers share.
struct Shared {
    vfs: Arc<dyn Vfs>,
    dir: PathBuf,
    log: Mutex<Log>,
    /// The writer waits here for work.
    work: Condvar,
    /// Callers wait here for room.
    room: Condvar,
    on_fatal: OnFatal,
}

/// The log. Clones share it; the last one to go writes what is pending and closes it.
#[derive(Clone)]
pub struct Wal(Arc<Handle>);

struct Handle {
    shared: Arc<Shared>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl fmt::Debug for Wal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Wal").field(&self.0.shared.dir).finish()
    }
}

impl Wal {
    /// Whether `dir` holds a log: at least one segment. [`Wal::open`] makes a fresh log where
    /// there is none, so a node that has voted must ask here first and not resume without one
    /// (rules.md 2). A folder that cannot be read holds none.
    #[must_use]
    pub fn exists(vfs: &dyn Vfs, dir: &Path) -> bool {
        vfs.list(dir)
            .is_ok_and(|names| names.iter().any(|name| segment::seq_of(name).is_some()))
    }

    /// Opens the log in `dir`, making it if need be. A torn tail (bytes that were never
    /// acknowledged) is cut; what is kept is durable when this returns, whether or not the process
    /// before lived to sync it.
    ///
    /// # Errors
    /// `Damaged` when a durable record is bad, `NewerFormat`, or `Io`.
    pub fn open(vfs: Arc<dyn Vfs>, dir: &Path, options: WalOptions) -> Result<Self, WalError> {
        let io = |source: io::Error| WalError::Io {
            path: dir.to_owned(),
            source: Arc::new(source),
        };
        vfs.create_dir(dir).map_err(io)?;
        if let Some(parent) = dir.parent().filter(|p| !p.as_os_str().is_empty()) {
            vfs.sync_dir(parent).map_err(io)?;
        }
        let segment_bytes = options.segment_bytes.max(SEGMENT_BYTES_MIN);
        let mut log = recover::recover(vfs.as_ref(), dir, segment_bytes, options.cache_bytes)?;
        let bytes_min = log.first_bytes().max(SEGMENT_BYTES_MIN);
        let fits = segment::fitting(vfs.as_ref(), dir, segment_bytes, bytes_min);
        let fits = fits.map_err(|source| match source {
            full if segment::is_full(&full) => WalError::NoSpace {
                path: dir.to_owned(),
                bytes: bytes_min,
            },
            other => io(other),
        })?;
        if fits < segment_bytes {
            tracing::error!(
                dir = %dir.display(),
                bytes = fits,
                "the drive is full: the raft log begins a shorter segment"
            );
        }
        log.begin_segment(fits);
        log.collect();
        let shared = Arc::new(Shared {
            vfs,
            dir: dir.to_owned(),
            log: Mutex::new(log),
            work: Condvar::new(),
            room: Condvar::new(),
            on_fatal: options.on_fatal,
        });
        writer::first_batch(&shared)?;
        writer::keep_reserve(&shared);
        let thread = std::thread::Builder::new()
            .name("marram-wal".to_owned())
            .spawn({
                let shared = shared.clone();
                move || writer::run(&shared)
            })
            .map_err(io)?;
        Ok(Self(Arc::new(Handle {
            shared,
            writer: Mutex::new(Some(thread)),
        })))
    }

    /// Groups that the log knows, in order.
    #[must_use]
    pub fn groups(&self) -> Vec<GroupId> {
        self.0.shared.log.lock().groups.keys().copied().collect()
    }

    /// What the log knows of a group; all `None` for one it has never seen.
    #[must_use]
    pub fn state(&self, group: GroupId) -> GroupState {
        self.0.shared.log.lock().state(group)
    }

    /// Appends entries that follow the group's last one. They are readable when this returns;
    /// `done` runs when they are durable. Blocks only while 64 MiB wait for the drive.
    pub fn append(&self, group: GroupId, entries: Vec<WalEntry>, done: Done) {
        self.mutate(done, |log| log.append(group, entries));
    }

    /// Saves a vote; `done` runs when it is durable.
    pub fn save_vote(&self, group: GroupId, vote: Bytes, done: Done) {
        self.mutate(done, |log| log.save_vote(group, vote));
    }

    /// Saves the committed position with the next durable write: it may be lost.
    ///
    /// # Errors
    /// Only when the log has failed or is closed.
    pub fn save_committed(&self, group: GroupId, committed: Bytes) -> Result<(), WalError> {
        self.quietly(|log| log.save_committed(group, committed))
    }

    /// Removes all entries after `index`, all of them for `None`. Durable before anything that is
    /// appended later.
    ///
    /// # Errors
    /// Only when the log has failed or is closed.
    pub fn truncate_after(&self, group: GroupId, index: Option<u64>) -> Result<(), WalError> {
        self.quietly(|log| log.truncate_after(group, index))
    }

    /// Removes all entries up to `pos`, which may lie beyond the last one (a snapshot was
    /// installed). Segments without live entries are deleted in the background.
    ///
    /// # Errors
    /// Only when the log has failed or is closed.
    pub fn purge(&self, group: GroupId, pos: LogPos) -> Result<(), WalError> {
        self.mutate_now(|log| log.purge(group, pos))
    }

    /// Forgets a group: vote, positions and entries.
    ///
    /// # Errors
    /// Only when the log has failed or is closed.
    pub fn remove_group(&self, group: GroupId) -> Result<(), WalError> {
        self.mutate_now(|log| log.remove_group(group))
    }

    /// The entries of `range` that the group holds, in order, up to about `max_bytes` of payload
    /// but at least one. Recent entries come from memory, older ones from the drive.
    ///
    /// # Errors
    /// `Damaged` when an entry read back is not what was written, or `Io`.
    pub fn read(
        &self,
        group: GroupId,
        range: Range<u64>,
        max_bytes: usize,
    ) -> Result<Vec<WalEntry>, WalError> {
        let found = self.0.shared.log.lock().find(group, range, max_bytes);
        found
            .into_iter()
            .map(|(pos, place)| match place {
                Place::Memory(payload) => Ok(WalEntry { pos, payload }),
                Place::Drive(at) => recover::read_entry(&self.0.shared.dir, group, pos, &at),
            })
            .collect()
    }

    /// Number of segments and bytes that they take on the drive.
    #[must_use]
    pub fn usage(&self) -> (usize, u64) {
        let log = self.0.shared.log.lock();
        let bytes = log.segments.values().map(|segment| segment.bytes).sum();
        (log.segments.len(), bytes)
    }

    /// Applies a change and hands it to the writer at once; `done` runs either way.
    fn mutate(&self, done: Done, change: impl FnOnce(&mut Log) -> Result<(), WalError>) {
        let shared = &self.0.shared;
        let mut log = shared.log.lock();
        while log.pending.bytes > PENDING_BYTES_MAX && log.failed.is_none() {
            shared.room.wait(&mut log);
        }
        let result = log.usable().and_then(|()| change(&mut log));
        if result.is_ok() {
            log.pending.dones.push(done);
            log.pending.wanted = true;
            drop(log);
            shared.work.notify_one();
        } else {
            drop(log);
            done(result);
        }
    }

    /// As [`Self::mutate`], without a callback and with the error returned.
    fn mutate_now(
        &self,
        change: impl FnOnce(&mut Log) -> Result<(), WalError>,
    ) -> Result<(), WalError> {
        let shared = &self.0.shared;
        let mut log = shared.log.lock();
        log.usable()?;
        change(&mut log)?;
        log.pending.wanted = true;
        drop(log);
        shared.work.notify_one();
        Ok(())
    }

    /// Applies a change that waits for the next durable write of somebody else.
    fn quietly(
        &self,
        change: impl FnOnce(&mut Log) -> Result<(), WalError>,
    ) -> Result<(), WalError> {
        let shared = &self.0.shared;
        let mut log = shared.log.lock();
        log.usable()?;
        change(&mut log)?;
        if log.pending.bytes > UNHURRIED_BYTES_MAX {
            log.pending.wanted = true;
            shared.work.notify_one();
        }
        Ok(())
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.log.lock().closing = true;
        self.shared.work.notify_one();
        let Some(thread) = self.writer.lock().take() else {
            return;
        };
        // A callback may drop the last handle: the writer cannot wait for itself.
        if thread.thread().id() != std::thread::current().id() && thread.join().is_err() {
            tracing::error!("the raft log's writer panicked");
        }
    }
}

/// What waits for the writer.
#[derive(Default)]
struct Pending {
    ops: VecDeque<Op>,
    bytes: usize,
    dones: Vec<Done>,
    /// Whether somebody waits for it.
    wanted: bool,
}

/// One step of the writer, in order.
enum Op {
    /// Write at a place.
    Write {
        seq: u64,
        offset: u64,
        bytes: Vec<u8>,
    },
    /// Make the previous segment durable, then create this one.
    Create { header: segment::Header },
    /// Delete a segment once everything before is durable.
    Delete { seq: u64 },
}
