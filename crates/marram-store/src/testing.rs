//! A file system for tests that fails on request and forgets what was not synced.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use crate::vfs::{FileLock, OpenMode, OsVfs, Space, Vfs, VfsFile};

/// What a crash keeps or drops as a whole.
const SECTOR_BYTES: u64 = 512;
/// What the page cache writes as a whole.
const PAGE_BYTES: u64 = 4096;

/// Sectors written since a file's last sync: place and what was there before, oldest first.
type Unsynced = Vec<(u64, Vec<u8>)>;

/// What a file would lose in a power cut.
#[derive(Debug, Default)]
struct Dirty {
    unsynced: Unsynced,
    /// Sectors of pages that a failed sync marked clean, as Linux does: readers see them, and no
    /// later sync writes them unless the page is written again. All older than `unsynced`.
    forgotten: Unsynced,
}

/// [`OsVfs`] with faults.
#[derive(Debug, Default)]
pub(crate) struct FaultVfs {
    inner: OsVfs,
    faults: Arc<Faults>,
}

#[derive(Debug, Default)]
struct Faults {
    syncs_fail: AtomicBool,
    reads_fail: AtomicBool,
    writes_fail: AtomicBool,
    /// Longest file that space is allocated for, where that is limited.
    space: Mutex<Option<u64>>,
    syncs: AtomicU64,
    dirty: Mutex<BTreeMap<PathBuf, Dirty>>,
    /// Paths of open files, which follow renames.
    open: Mutex<Vec<Weak<Mutex<PathBuf>>>>,
}

impl FaultVfs {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self::default())
    }

    /// Makes every sync fail, or succeed again.
    pub(crate) fn fail_syncs(&self, fail: bool) {
        self.faults.syncs_fail.store(fail, Ordering::SeqCst);
    }

    /// Makes every read fail, or succeed again.
    pub(crate) fn fail_reads(&self, fail: bool) {
        self.faults.reads_fail.store(fail, Ordering::SeqCst);
    }

    /// Makes every write fail, or succeed again.
    pub(crate) fn fail_writes(&self, fail: bool) {
        self.faults.writes_fail.store(fail, Ordering::SeqCst);
    }

    /// Lets no file get space for more than so many bytes, as on a full drive; `None` ends that.
    pub(crate) fn limit_space(&self, bytes: Option<u64>) {
        *self.faults.space.lock() = bytes;
    }

    /// Syncs of files so far.
    pub(crate) fn syncs(&self) -> u64 {
        self.faults.syncs.load(Ordering::SeqCst)
    }

    /// Copies `from` to `to` as a power cut would leave it now: each unsynced sector is kept or
    /// lost as `keep` says.
    pub(crate) fn crashed_copy(&self, from: &Path, to: &Path, keep: &mut dyn FnMut() -> bool) {
        let dirty = self.faults.dirty.lock();
        copy_tree(from, to);
        for (path, lost) in dirty.iter() {
            let Ok(below) = path.strip_prefix(from) else {
                continue;
            };
            let Ok(file) = self.inner.open(&to.join(below), OpenMode::Existing) else {
                continue;
            };
            for (offset, before) in lost.forgotten.iter().chain(&lost.unsynced).rev() {
                if !keep() {
                    file.write_at(*offset, before).expect("restored");
                }
            }
        }
    }
}

fn copy_tree(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("folder");
    for item in std::fs::read_dir(from).expect("folder") {
        let item = item.expect("entry");
        let target = to.join(item.file_name());
        if item.file_type().expect("type").is_dir() {
            copy_tree(&item.path(), &target);
        } else {
            match std::fs::copy(item.path(), target) {
                // Removed meanwhile by another thread: gone in the crash as well.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                copied => drop(copied.expect("copied")),
            }
        }
    }
}

impl Vfs for FaultVfs {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn VfsFile>> {
        // Direct writes go through the page cache here, so that they can be forgotten too.
        let mode = if mode == OpenMode::Direct {
            OpenMode::Existing
        } else {
            mode
        };
        let inner = self.inner.open(path, mode)?;
        let path = Arc::new(Mutex::new(path.to_owned()));
        self.faults.open.lock().push(Arc::downgrade(&path));
        let faults = self.faults.clone();
        Ok(Arc::new(FaultFile {
            inner,
            path,
            faults,
        }))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.inner.list(dir)
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        self.inner.create_dir(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut dirty = self.faults.dirty.lock();
        if let Some(lost) = dirty.remove(from) {
            dirty.insert(to.to_owned(), lost);
        }
        for path in self.faults.open.lock().iter().filter_map(Weak::upgrade) {
            let mut path = path.lock();
            if *path == from {
                to.clone_into(&mut path);
            }
        }
        self.inner.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.faults.dirty.lock().remove(path);
        self.inner.remove(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.faults.sync()?;
        self.inner.sync_dir(dir)
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn FileLock>>> {
        self.inner.lock(path)
    }

    fn space(&self, dir: &Path) -> io::Result<Space> {
        self.inner.space(dir)
    }
}

impl Faults {
    fn sync(&self) -> io::Result<()> {
        self.syncs.fetch_add(1, Ordering::SeqCst);
        if self.syncs_fail.load(Ordering::SeqCst) {
            return Err(io::Error::other("injected sync failure"));
        }
        Ok(())
    }

    fn read(&self) -> io::Result<()> {
        if self.reads_fail.load(Ordering::SeqCst) {
            return Err(io::Error::other("injected read failure"));
        }
        Ok(())
    }
}

#[derive(Debug)]
struct FaultFile {
    inner: Arc<dyn VfsFile>,
    path: Arc<Mutex<PathBuf>>,
    faults: Arc<Faults>,
}

impl FaultFile {
    /// Remembers what a write is about to cover, in sectors.
    fn remember(&self, offset: u64, len: u64) -> io::Result<()> {
        let mut files = self.faults.dirty.lock();
        let dirty = files.entry(self.path.lock().clone()).or_default();
        let pages = offset / PAGE_BYTES..(offset + len).div_ceil(PAGE_BYTES);
        let (again, left) = std::mem::take(&mut dirty.forgotten)
            .into_iter()
            .partition::<Unsynced, _>(|(at, _)| pages.contains(&(at / PAGE_BYTES)));
        dirty.forgotten = left;
        dirty.unsynced.splice(0..0, again);
        let mut at = offset;
        while at < offset + len {
            let end = (at / SECTOR_BYTES + 1) * SECTOR_BYTES;
            let part = end.min(offset + len) - at;
            let part = usize::try_from(part).expect("a sector");
            let mut before = self.inner.read_vec(at, part)?;
            before.resize(part, 0);
            dirty.unsynced.push((at, before));
            at = end;
        }
        Ok(())
    }
}

impl VfsFile for FaultFile {
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.faults.read()?;
        self.inner.read_at(offset, out)
    }

    fn read_vec(&self, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        self.faults.read()?;
        self.inner.read_vec(offset, len)
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        if self.faults.writes_fail.load(Ordering::SeqCst) {
            return Err(io::Error::other("injected write failure"));
        }
        self.remember(offset, data.len() as u64)?;
        self.inner.write_at(offset, data)
    }

    fn sync_data(&self) -> io::Result<()> {
        let synced = self.faults.sync().and_then(|()| self.inner.sync_data());
        let mut files = self.faults.dirty.lock();
        if let Some(dirty) = files.get_mut(&*self.path.lock()) {
            let unsynced = std::mem::take(&mut dirty.unsynced);
            if synced.is_err() {
                dirty.forgotten.extend(unsynced);
            }
        }
        synced
    }

    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.inner.set_len(len)
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        let most = *self.faults.space.lock();
        if most.is_some_and(|most| len > most && self.len().is_ok_and(|now| now < len)) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.inner.allocate(len)
    }

    fn punch_hole(&self, offset: u64, len: u64) -> io::Result<()> {
        self.remember(offset, len)?;
        self.inner.punch_hole(offset, len)
    }

    fn try_lock(&self) -> io::Result<bool> {
        self.inner.try_lock()
    }

    fn unlock(&self) -> io::Result<()> {
        self.inner.unlock()
    }
}
