//! The real file system.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

use rustix::buffer::spare_capacity;
use rustix::fs::{FallocateFlags, OFlags};
use rustix::io::Errno;

use super::{FileLock, OpenMode, Space, Vfs, VfsFile};

/// Zeros written at once where holes are not supported.
const ZERO_CHUNK_BYTES: usize = 64 * 1024;

/// The operating system's files. Needs Linux 5.4 or later.
#[derive(Debug, Clone, Copy, Default)]
pub struct OsVfs;

/// An open file of the operating system.
#[derive(Debug)]
struct OsFile(File);

/// A `flock` that the descriptor holds.
#[derive(Debug)]
struct OsLock(#[expect(dead_code, reason = "held for its lock, released by its drop")] File);

impl FileLock for OsLock {}

impl Vfs for OsVfs {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn VfsFile>> {
        let mut how = OpenOptions::new();
        how.read(true).write(true).mode(0o600);
        match mode {
            OpenMode::Existing => &mut how,
            OpenMode::CreateNew => how.create_new(true),
            OpenMode::OpenOrCreate => how.create(true).truncate(false),
            OpenMode::Direct => how.custom_flags(OFlags::DIRECT.bits().cast_signed()),
        };
        Ok(Arc::new(OsFile(how.open(path)?)))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(dir)? {
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        std::fs::create_dir_all(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn FileLock>>> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)?;
        Ok(lock_now(&file)?.then(|| Box::new(OsLock(file)) as Box<dyn FileLock>))
    }

    fn space(&self, dir: &Path) -> io::Result<Space> {
        let stat = rustix::fs::statvfs(dir)?;
        let used = stat.f_blocks.saturating_sub(stat.f_bfree);
        Ok(Space {
            capacity: used.saturating_add(stat.f_bavail) * stat.f_frsize,
            free: stat.f_bavail * stat.f_frsize,
        })
    }
}

impl VfsFile for OsFile {
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(out, offset)
    }

    fn read_vec(&self, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        let mut out = Vec::with_capacity(len);
        while out.len() < len {
            let at = offset + out.len() as u64;
            match rustix::io::pread(&self.0, spare_capacity(&mut out), at) {
                Ok(0) => break,
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        out.truncate(len);
        Ok(out)
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write_all_at(data, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn len(&self) -> io::Result<u64> {
        self.0.metadata().map(|m| m.len())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        match rustix::fs::fallocate(&self.0, FallocateFlags::empty(), 0, len) {
            Ok(()) => Ok(()),
            Err(Errno::OPNOTSUPP | Errno::NOSYS) if self.len()? < len => self.set_len(len),
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    fn punch_hole(&self, offset: u64, len: u64) -> io::Result<()> {
        let how = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        match rustix::fs::fallocate(&self.0, how, offset, len) {
            Ok(()) => Ok(()),
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => self.zero(offset, len),
            Err(errno) => Err(errno.into()),
        }
    }

    fn try_lock(&self) -> io::Result<bool> {
        lock_now(&self.0)
    }

    fn unlock(&self) -> io::Result<()> {
        self.0.unlock()
    }
}

impl OsFile {
    /// Overwrites a range with zeros.
    fn zero(&self, offset: u64, len: u64) -> io::Result<()> {
        let zeros = [0; ZERO_CHUNK_BYTES];
        let mut at = offset;
        while at < offset + len {
            let part = (offset + len - at).min(ZERO_CHUNK_BYTES as u64);
            let part = usize::try_from(part).expect("at most a chunk");
            self.0.write_all_at(&zeros[..part], at)?;
            at += part as u64;
        }
        Ok(())
    }
}

/// Takes a `flock` or says that another holds it.
fn lock_now(file: &File) -> io::Result<bool> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(source)) => Err(source),
    }
}
