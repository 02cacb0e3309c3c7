//! redb over a [`VfsFile`], so that the faults of tests reach it too.

use std::io;
use std::ops::Bound;
use std::sync::Arc;

use redb::{BackendError, StorageBackend};

use crate::vfs::VfsFile;

/// A redb storage backend on one [`VfsFile`]. Only the lock of the whole file is delegated: a
/// database of this crate is never shared between processes.
#[derive(Debug)]
pub struct VfsBackend {
    file: Arc<dyn VfsFile>,
}

impl VfsBackend {
    /// A backend on `file`, which may be empty.
    #[must_use]
    pub fn new(file: Arc<dyn VfsFile>) -> Self {
        Self { file }
    }
}

impl StorageBackend for VfsBackend {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read_at(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.file.write_at(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.file.unlock()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        if (start, end) == (Bound::Unbounded, Bound::Unbounded) {
            self.file.try_lock().map_err(BackendError::Io)
        } else {
            Err(BackendError::Unsupported)
        }
    }

    fn unlock_range(&self, _: Bound<u64>, _: Bound<u64>) -> Result<(), BackendError> {
        self.file.unlock().map_err(BackendError::Io)
    }
}
