//! Measures what is done with files: a layer around the seam to the operating system.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use marram_metrics::catalogue::{DISK_BYTES, DISK_ERRORS, DISK_OPERATION_DURATION};
use marram_metrics::{Histogram, Sheet, Snapshot, Source};
use marram_store::{FileLock, OpenMode, Space, Vfs, VfsFile};
use parking_lot::Mutex;

/// How often it is noted what the histograms hold.
const NOTE_EVERY: Duration = Duration::from_mins(1);
/// Notes that are kept: what happened since the oldest one is what a disk did lately.
const NOTES_MAX: usize = 10;

/// What a disk did in the last minutes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::server) struct Lately {
    /// Syncs.
    pub(in crate::server) syncs: u64,
    /// How long 99 of 100 of them took at most.
    pub(in crate::server) sync_p99_us: u64,
    /// Reads.
    pub(in crate::server) reads: u64,
    /// How long 99 of 100 of them took at most.
    pub(in crate::server) read_p99_us: u64,
    /// Reads, writes and syncs that failed since the process started.
    pub(in crate::server) errors: u64,
}

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
    /// What syncs and reads had taken at the last minutes, the oldest first.
    notes: Mutex<VecDeque<(Snapshot, Snapshot)>>,
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

    /// What was done to the files of `name` in the last minutes; nothing where there are none.
    pub(in crate::server) fn lately(&self, name: &str) -> Lately {
        let disk = self.0.lock().get(name).cloned();
        disk.map(|disk| disk.lately()).unwrap_or_default()
    }

    fn note(&self) {
        let disks: Vec<Arc<Disk>> = self.0.lock().values().cloned().collect();
        for disk in disks {
            let mut notes = disk.notes.lock();
            if notes.len() == NOTES_MAX {
                notes.pop_front();
            }
            notes.push_back((disk.sync.took.snapshot(), disk.read.took.snapshot()));
        }
    }
}

/// Notes from time to time what the disks had done until then, for as long as it is polled.
pub(in crate::server) async fn keep_history(disks: Arc<Disks>) {
    loop {
        tokio::time::sleep(NOTE_EVERY).await;
        disks.note();
    }
}

impl Disk {
    fn lately(&self) -> Lately {
        let before = self.notes.lock().front().cloned();
        let (sync, read) = before.map_or((None, None), |(sync, read)| (Some(sync), Some(read)));
        let (syncs, sync_p99_us) = since(sync.as_ref(), &self.sync.took.snapshot());
        let (reads, read_p99_us) = since(read.as_ref(), &self.read.took.snapshot());
        let failed = |operation: &Operation| operation.errors.load(Ordering::Relaxed);
        Lately {
            syncs,
            sync_p99_us,
            reads,
            read_p99_us,
            errors: failed(&self.read) + failed(&self.write) + failed(&self.sync),
        }
    }
}

/// How many values came since then, and the bound that 99 of 100 of them stay below, in microseconds.
fn since(before: Option<&Snapshot>, now: &Snapshot) -> (u64, u64) {
    let earlier = |at: usize| before.and_then(|b| b.buckets.get(at)).map_or(0, |b| b.1);
    let each = now.buckets.iter().enumerate();
    let new: Vec<(f64, u64)> = each
        .map(|(at, (bound, count))| (*bound, count.saturating_sub(earlier(at))))
        .collect();
    let all: u64 = new.iter().map(|(_, count)| count).sum();
    let mut below = 0;
    let mut largest = 0.0_f64;
    for (bound, count) in new {
        below += count;
        // Beyond the last bound nothing is known but that it is more.
        largest = if bound.is_finite() { bound } else { largest };
        if all > 0 && below * 100 >= all * 99 {
            break;
        }
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // bounds are small
    let bound_us = (largest * 1e6).round() as u64;
    (all, if all > 0 { bound_us } else { 0 })
}

impl Default for Disk {
    fn default() -> Self {
        Self {
            read: Operation::new(),
            write: Operation::new(),
            sync: Operation::new(),
            space: Operation::new(),
            notes: Mutex::default(),
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

    #[test]
    fn only_the_last_minutes_count() {
        let disks = Disks::default();
        disks.measured("7", Arc::new(OsVfs));
        let disk = disks.0.lock().get("7").cloned().expect("there");
        for _ in 0..1000 {
            disk.sync.took.observe_time(Duration::from_secs(1));
        }
        let slow = disks.lately("7");
        assert_eq!((slow.syncs, slow.reads, slow.errors), (1000, 0, 0));
        assert!(slow.sync_p99_us >= 1_000_000, "{slow:?}");
        disks.note();
        for _ in 0..200 {
            disk.sync.took.observe_time(Duration::from_millis(1));
        }
        let quick = disks.lately("7");
        assert_eq!(quick.syncs, 200);
        assert!((1000..20_000).contains(&quick.sync_p99_us), "{quick:?}");
        for _ in 0..NOTES_MAX {
            disks.note();
        }
        assert_eq!(disks.lately("7"), Lately::default());
        assert_eq!(disks.lately("8"), Lately::default());
    }
}
