//! Measures what is done with files: a layer around the seam to the operating system.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use async_trait::async_trait;
use marram_metrics::catalogue::{DISK_BYTES, DISK_ERRORS, DISK_OPERATION_DURATION};
use marram_metrics::{Histogram, Sheet, Source};
use marram_store::{FileLock, OpenMode, Space, Vfs, VfsFile};
use parking_lot::Mutex;

/// What is known of all disks of a server, by their names.
#[derive(Debug, Default)]
pub(in crate::server) struct Disks(Mutex<BTreeMap<String, Arc<Disk>>>);

/// One disk, or a part of one.
#[derive(Debug)]
struct Disk {
    read: Operation,
    write: Operation,
    sync: Operation,
    space: Operation,
}

#[derive(Debug)]
struct Operation {
    took: Histogram,
    bytes: AtomicU64,
    errors: AtomicU64,
}

impl Disks {
    /// The same files, with what is done to them counted under `name`.
    pub(in crate::server) fn measured(&self, name: &str, files: Arc<dyn Vfs>) -> Arc<dyn Vfs> {
        let mut all = self.0.lock();
        let disk = match all.get(name) {
            Some(known) => Arc::clone(known),
            None => Arc::clone(all.entry(name.to_owned()).or_default()),
        };
        Arc::new(Measured { files, disk })
    }
}

impl Default for Disk {
    fn default() -> Self {
        Self {
            read: Operation::new(),
            write: Operation::new(),
            sync: Operation::new(),
            space: Operation::new(),
        }
    }
}

impl Operation {
    fn new() -> Self {
        Self {
            took: Histogram::of(&DISK_OPERATION_DURATION),
            bytes: AtomicU64::new(0),
            errors: AtomicU64::new(0),
        }
    }

    /// Carries out an operation on so many bytes.
    fn run<T>(&self, bytes: usize, work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        let began = Instant::now();
        let done = work();
        self.took.observe_time(began.elapsed());
        match &done {
            Ok(_) => {
                self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
            }
            // Whoever looks for the end of a file finds it this way.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {}
            Err(_) => {
                self.errors.fetch_add(1, Ordering::Relaxed);
            }
        }
        done
    }
}

#[derive(Debug)]
struct Measured {
    files: Arc<dyn Vfs>,
    disk: Arc<Disk>,
}

impl Vfs for Measured {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn VfsFile>> {
        let file = self.files.open(path, mode)?;
        let disk = Arc::clone(&self.disk);
        Ok(Arc::new(MeasuredFile { file, disk }))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.files.list(dir)
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        self.files.create_dir(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.files.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.disk.space.run(0, || self.files.remove(path))
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.disk.sync.run(0, || self.files.sync_dir(dir))
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn FileLock>>> {
        self.files.lock(path)
    }

    fn space(&self, dir: &Path) -> io::Result<Space> {
        self.files.space(dir)
    }
}

#[derive(Debug)]
struct MeasuredFile {
    file: Arc<dyn VfsFile>,
    disk: Arc<Disk>,
}

impl VfsFile for MeasuredFile {
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let bytes = out.len();
        self.disk.read.run(bytes, || self.file.read_at(offset, out))
    }

    fn read_vec(&self, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        self.disk.read.run(len, || self.file.read_vec(offset, len))
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let write = || self.file.write_at(offset, data);
        self.disk.write.run(data.len(), write)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.disk.sync.run(0, || self.file.sync_data())
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.disk.space.run(0, || self.file.set_len(len))
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        self.disk.space.run(0, || self.file.allocate(len))
    }

    fn punch_hole(&self, offset: u64, len: u64) -> io::Result<()> {
        self.disk.space.run(0, || self.file.punch_hole(offset, len))
    }

    fn try_lock(&self) -> io::Result<bool> {
        self.file.try_lock()
    }

    fn unlock(&self) -> io::Result<()> {
        self.file.unlock()
    }
}

#[async_trait]
impl Source for Disks {
    async fn collect(&self, sheet: &mut Sheet) {
        for (name, disk) in self.0.lock().iter() {
            for (kind, operation) in [
                ("read", &disk.read),
                ("write", &disk.write),
                ("sync", &disk.sync),
                ("space", &disk.space),
            ] {
                let labels = [name.as_str(), kind];
                sheet.set_histogram(&DISK_OPERATION_DURATION, &labels, &operation.took);
                let errors = operation.errors.load(Ordering::Relaxed);
                sheet.set(&DISK_ERRORS, &labels, errors);
                if matches!(kind, "read" | "write") {
                    let bytes = operation.bytes.load(Ordering::Relaxed);
                    sheet.set(&DISK_BYTES, &labels, bytes);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use marram_metrics::{Format, Sources};
    use marram_store::OsVfs;

    use super::*;

    #[tokio::test]
    async fn operations_bytes_and_errors_are_counted_by_disk() {
        let folder = tempfile::tempdir().expect("a folder");
        let disks = Arc::new(Disks::default());
        let files = disks.measured("7", Arc::new(OsVfs));
        let path = folder.path().join("file");
        let file = files.open(&path, OpenMode::CreateNew).expect("made");
        file.write_at(0, &[1; 100]).expect("written");
        file.sync_data().expect("synced");
        files.sync_dir(folder.path()).expect("synced");
        let mut out = [0; 60];
        file.read_at(0, &mut out).expect("read");
        let end = file.read_at(50, &mut out).expect_err("the end");
        assert_eq!(end.kind(), io::ErrorKind::UnexpectedEof);
        files
            .remove(&folder.path().join("no file"))
            .expect_err("not there");
        // The same name again is the same disk.
        let again = disks.measured("7", Arc::new(OsVfs));
        let file = again.open(&path, OpenMode::Existing).expect("there");
        assert_eq!(file.read_vec(0, 100).expect("read").len(), 100);
        let sources = Sources::default();
        sources.add(disks);
        let page = sources.scrape(Format::Prometheus).await.expect("written");
        for line in [
            "marram_disk_bytes_total{disk=\"7\",operation=\"read\"} 160",
            "marram_disk_bytes_total{disk=\"7\",operation=\"write\"} 100",
            "marram_disk_errors_total{disk=\"7\",operation=\"read\"} 0",
            "marram_disk_errors_total{disk=\"7\",operation=\"space\"} 1",
            "marram_disk_operation_seconds_count{disk=\"7\",operation=\"read\"} 3",
            "marram_disk_operation_seconds_count{disk=\"7\",operation=\"sync\"} 2",
        ] {
            assert!(page.lines().any(|l| l == line), "{line}\n{page}");
        }
    }
}
