//! The seam between this crate and the operating system.
//!
//! Everything that touches a file goes through [`Vfs`], so that a test can lose unsynced writes,
//! forget directory entries or fail a sync (rules.md 21). The traits are synchronous: callers run
//! on writer threads or on the blocking pool.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

mod os;

pub use os::OsVfs;

/// How [`Vfs::open`] treats a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenMode {
    /// It must exist; opened for reading and writing.
    Existing,
    /// It must not exist; created, empty.
    CreateNew,
    /// It may exist; its bytes are kept.
    OpenOrCreate,
    /// It must exist; opened for writing past the page cache. Offsets, lengths and buffers of
    /// writes must be multiples of 4 KiB. Refused with `InvalidInput` where the file system cannot.
    Direct,
}

/// Space of the file system under a folder, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// What this process could ever use: used and free, without what is reserved for root.
    pub capacity: u64,
    /// What is free for this process.
    pub free: u64,
}

/// A lock on a file, held until dropped.
pub trait FileLock: fmt::Debug + Send + Sync {}

/// Files and folders.
pub trait Vfs: fmt::Debug + Send + Sync + 'static {
    /// Opens a file.
    ///
    /// # Errors
    /// What the operating system says.
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn VfsFile>>;

    /// Names in a folder, sorted. Names that are not UTF-8 are left out: Marram makes none.
    ///
    /// # Errors
    /// What the operating system says.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;

    /// Makes a folder and its parents. Durable only after [`Vfs::sync_dir`] of the parent.
    ///
    /// # Errors
    /// What the operating system says.
    fn create_dir(&self, dir: &Path) -> io::Result<()>;

    /// Renames a file over another. Durable only after [`Vfs::sync_dir`].
    ///
    /// # Errors
    /// What the operating system says.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file. Durable only after [`Vfs::sync_dir`].
    ///
    /// # Errors
    /// What the operating system says.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes the entries of a folder durable.
    ///
    /// # Errors
    /// What the operating system says.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// Locks a file (created if need be) for this process; `None` when another holds it.
    ///
    /// # Errors
    /// What the operating system says.
    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn FileLock>>>;

    /// Space of the file system under a folder.
    ///
    /// # Errors
    /// What the operating system says.
    fn space(&self, dir: &Path) -> io::Result<Space>;
}

/// An open file. All calls may run at once from several threads.
pub trait VfsFile: fmt::Debug + Send + Sync {
    /// Fills `out` from `offset`.
    ///
    /// # Errors
    /// `UnexpectedEof` when the file ends before, else what the operating system says.
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()>;

    /// Reads up to `len` bytes from `offset`; fewer only at the end of the file. The buffer is
    /// not cleared first, which is why large reads use it.
    ///
    /// # Errors
    /// What the operating system says.
    fn read_vec(&self, offset: u64, len: usize) -> io::Result<Vec<u8>>;

    /// Writes all of `data` at `offset`. Durable only after [`VfsFile::sync_data`].
    ///
    /// # Errors
    /// What the operating system says; some of the bytes may be written then.
    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()>;

    /// Makes written bytes, and the length if it changed, durable (`fdatasync`). After an error
    /// nothing written since the last sync can be trusted (rules.md 21).
    ///
    /// # Errors
    /// What the operating system says.
    fn sync_data(&self) -> io::Result<()>;

    /// Length in bytes.
    ///
    /// # Errors
    /// What the operating system says.
    fn len(&self) -> io::Result<u64>;

    /// Whether the file is empty.
    ///
    /// # Errors
    /// As [`VfsFile::len`].
    fn is_empty(&self) -> io::Result<bool> {
        self.len().map(|len| len == 0)
    }

    /// Cuts or extends (with zeros) to `len`.
    ///
    /// # Errors
    /// What the operating system says.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Reserves space for the first `len` bytes and sets the length; new bytes read as zeros.
    ///
    /// # Errors
    /// What the operating system says; `StorageFull` when there is no space.
    fn allocate(&self, len: u64) -> io::Result<()>;

    /// Gives the space of a range back; it reads as zeros afterwards. Where the file system has no
    /// holes the range is overwritten with zeros instead.
    ///
    /// # Errors
    /// What the operating system says.
    fn punch_hole(&self, offset: u64, len: u64) -> io::Result<()>;

    /// Locks the whole file for this handle; `false` when another handle holds it.
    ///
    /// # Errors
    /// What the operating system says.
    fn try_lock(&self) -> io::Result<bool>;

    /// Releases [`VfsFile::try_lock`].
    ///
    /// # Errors
    /// What the operating system says.
    fn unlock(&self) -> io::Result<()>;
}
