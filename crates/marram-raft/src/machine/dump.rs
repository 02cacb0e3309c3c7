//! A group's state as one stream of bytes, and back.
//!
//! ```text
//! magic (8)  format (1)
//! per row    table (1)  key length (4)  value length (4)  key  value
//! end        0 (1)  rows (8)
//! ```
//! Numbers are big-endian. Tables and keys are in order, so the bytes of one state are always the
//! same and a transfer may go on after any break. Each piece travels with a CRC of its own.

use std::io;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use marram_meta::{KvWrite, Table};
use marram_store::{OpenMode, Vfs, VfsFile};
use marram_types::Crc32c;
use parking_lot::Mutex;
use redb::{Database, ReadTransaction};
use tokio::sync::OnceCell;

use super::{MachineError, Place, blocking, tables};
use crate::types::SnapshotMeta;

mod rows;

pub use rows::DumpRows;

const MAGIC: &[u8; 8] = b"MARRAMSM";
const FORMAT: u8 = 1;
const END: u8 = 0;
/// A snapshot of which there is no file yet is kept this long: it pins pages of the tables.
const UNREAD_KEPT: Duration = Duration::from_secs(60);
/// One that is being sent is kept this long after the last piece that arrived, for transfers that go on
/// after a break or a restart of the receiver.
const READ_KEPT: Duration = Duration::from_secs(300);
/// Bytes written or read at once.
const BUFFER_BYTES: usize = 1 << 20;

/// openraft's snapshot: what is sent, or what was received.
pub(crate) struct SnapshotData(Source);

enum Source {
    /// A checkpoint: no bytes, only the promise that they could be made.
    Checkpoint,
    Local(Arc<LocalSnapshot>),
    Received(LoadedFile),
}

impl SnapshotData {
    pub(super) fn checkpoint() -> Self {
        Self(Source::Checkpoint)
    }

    pub(super) fn local(local: Arc<LocalSnapshot>) -> Self {
        Self(Source::Local(local))
    }

    /// A state that arrived and was loaded into a file of its own.
    pub(crate) fn received(loaded: LoadedFile) -> Self {
        Self(Source::Received(loaded))
    }

    /// The name of its bytes, known before there are any.
    pub(crate) fn id(&self) -> &str {
        match &self.0 {
            Source::Local(local) => &local.id,
            Source::Checkpoint | Source::Received(_) => "",
        }
    }

    /// Whether its bytes were written already.
    pub(crate) fn is_dumped(&self) -> bool {
        matches!(&self.0, Source::Local(local) if local.dump.initialized())
    }

    /// A piece of it has arrived: it is kept for whoever goes on.
    pub(crate) fn has_arrived(&self) {
        if let Source::Local(local) = &self.0 {
            *local.used.lock() = Instant::now();
        }
    }

    /// The bytes, written to a temporary file when first asked for.
    pub(crate) async fn dump(&self) -> Result<Arc<DumpFile>, MachineError> {
        match &self.0 {
            Source::Local(local) => local.dump().await,
            Source::Checkpoint | Source::Received(_) => {
                Err(MachineError::Snapshot("it has no bytes to send"))
            }
        }
    }

    /// The state in a file of its own, ready to be put in place.
    pub(super) async fn loaded(
        self,
        place: &Place,
        meta: &SnapshotMeta,
    ) -> Result<LoadedFile, MachineError> {
        match self.0 {
            Source::Received(loaded) => Ok(loaded),
            Source::Checkpoint | Source::Local(_) => {
                let dump = self.dump().await?;
                let (place, meta) = (place.clone(), meta.clone());
                blocking(move || load(&place, &meta, dump.file.as_ref(), dump.bytes)).await
            }
        }
    }
}

/// The state of one moment on this node.
pub(super) struct LocalSnapshot {
    place: Place,
    /// The name under which a receiver keeps its bytes: same name, same bytes.
    id: String,
    txn: Mutex<Option<ReadTransaction>>,
    dump: OnceCell<Arc<DumpFile>>,
    /// When it was made, or a piece of it arrived somewhere.
    used: Mutex<Instant>,
    /// Its bytes could not be written.
    failed: AtomicBool,
}

impl LocalSnapshot {
    pub(super) fn new(place: Place, txn: ReadTransaction, meta: &SnapshotMeta) -> Self {
        let last = meta.last_log_id.as_ref();
        let (term, leader, index) = last.map_or((0, 0, 0), |last| {
            (last.leader_id.term, last.leader_id.node_id, last.index)
        });
        let id = format!("{}-{term}-{leader}-{index}", place.replica.0);
        Self::named(place, txn, id)
    }

    /// A copy for somebody who is not a replica, under a name of its own.
    pub(super) fn named(place: Place, txn: ReadTransaction, id: String) -> Self {
        Self {
            id,
            place,
            txn: Mutex::new(Some(txn)),
            dump: OnceCell::new(),
            used: Mutex::new(Instant::now()),
            failed: AtomicBool::new(false),
        }
    }

    /// Whether somebody may still go on with it.
    pub(super) fn is_kept(&self) -> bool {
        let kept = if self.is_begun() {
            READ_KEPT
        } else {
            UNREAD_KEPT
        };
        !self.has_failed() && self.used.lock().elapsed() < kept
    }

    /// Whether somebody has asked for its bytes.
    pub(super) fn is_begun(&self) -> bool {
        self.txn.lock().is_none()
    }

    /// Whether its bytes could not be written: it will never have any.
    pub(super) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }

    async fn dump(self: &Arc<Self>) -> Result<Arc<DumpFile>, MachineError> {
        let this = self.clone();
        let made = self.dump.get_or_try_init(|| async {
            blocking(move || {
                // The pages of the moment are let go as soon as they are in the file.
                let txn = this.txn.lock().take();
                let txn = txn.ok_or(MachineError::Snapshot(
                    "an earlier attempt to write it failed",
                ))?;
                let rows = |each: &mut tables::EachRow<'_>| tables::each_row(&txn, each);
                write(&this.place, &this.id, rows).map(Arc::new)
            })
            .await
        });
        let made = made.await.cloned();
        self.failed.fetch_or(made.is_err(), Ordering::AcqRel);
        made
    }
}

/// A file that goes away with its owner, unless its path is taken.
struct TemporaryFile {
    vfs: Arc<dyn Vfs>,
    path: Option<PathBuf>,
}

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        let Some(path) = self.path.take() else {
            return;
        };
        if let Err(error) = self.vfs.remove(&path) {
            let path = path.display();
            tracing::warn!(%path, %error, "cannot remove a temporary file");
        }
    }
}

/// A snapshot's bytes.
pub(crate) struct DumpFile {
    /// How many.
    pub(crate) bytes: u64,
    /// The checksum of all of them.
    pub(crate) crc32c: u32,
    file: Arc<dyn VfsFile>,
    _temporary: TemporaryFile,
}

impl DumpFile {
    /// A piece of the bytes, read where the caller is.
    pub(crate) fn read_here(&self, offset: u64, bytes: u64) -> io::Result<Bytes> {
        let mut piece = vec![0; usize::try_from(bytes).map_err(io::Error::other)?];
        self.file.read_at(offset, &mut piece)?;
        Ok(Bytes::from(piece))
    }

    /// A piece of the bytes.
    pub(crate) async fn read(&self, offset: u64, bytes: u64) -> io::Result<Bytes> {
        let file = self.file.clone();
        let len = usize::try_from(bytes).map_err(io::Error::other)?;
        blocking(move || {
            let mut piece = vec![0; len];
            file.read_at(offset, &mut piece)?;
            Ok(Bytes::from(piece))
        })
        .await
    }
}

struct Out<'a> {
    place: &'a Place,
    file: &'a dyn VfsFile,
    buffer: Vec<u8>,
    written: u64,
    crc32c: Crc32c,
}

impl Out<'_> {
    fn put(&mut self, bytes: &[u8]) -> Result<(), MachineError> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= BUFFER_BYTES {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), MachineError> {
        let written = self.file.write_at(self.written, &self.buffer);
        written.map_err(|error| self.place.io(error))?;
        self.crc32c.update(&self.buffer);
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }
}

/// Writes the rows that `rows` gives, in the order of tables and keys.
pub(crate) fn write(
    place: &Place,
    id: &str,
    rows: impl FnOnce(&mut tables::EachRow<'_>) -> Result<(), MachineError>,
) -> Result<DumpFile, MachineError> {
    let path = place.dir.join(format!("group-{}.dump-{id}", place.group.0));
    let file = open_fresh(place, &path)?;
    let temporary = TemporaryFile {
        vfs: place.vfs.clone(),
        path: Some(path),
    };
    let mut out = Out {
        place,
        file: file.as_ref(),
        buffer: Vec::with_capacity(BUFFER_BYTES + 8192),
        written: 0,
        crc32c: Crc32c::default(),
    };
    out.put(MAGIC)?;
    out.put(&[FORMAT])?;
    let mut count = 0_u64;
    rows(&mut |table, key, value| {
        let too_long = |_| MachineError::Snapshot("a row is too long");
        let key_len = u32::try_from(key.len()).map_err(too_long)?;
        let value_len = u32::try_from(value.len()).map_err(too_long)?;
        out.put(&[table.number()])?;
        out.put(&key_len.to_be_bytes())?;
        out.put(&value_len.to_be_bytes())?;
        out.put(key)?;
        out.put(value)?;
        count += 1;
        Ok(())
    })?;
    out.put(&[END])?;
    out.put(&count.to_be_bytes())?;
    out.flush()?;
    let (bytes, crc32c) = (out.written, out.crc32c.value());
    Ok(DumpFile {
        bytes,
        crc32c,
        file,
        _temporary: temporary,
    })
}

/// A new file for the bytes of a snapshot that is about to arrive.
pub(crate) fn open_incoming(place: &Place) -> Result<Arc<dyn VfsFile>, MachineError> {
    open_fresh(place, &place.incoming_path())
}

/// Opens a new file at `path` in the place of whatever was there.
fn open_fresh(place: &Place, path: &std::path::Path) -> Result<Arc<dyn VfsFile>, MachineError> {
    match place.vfs.remove(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(place.io(error)),
        _ => {}
    }
    place
        .vfs
        .open(path, OpenMode::CreateNew)
        .map_err(|e| place.io(e))
}

/// A complete state in a file of its own beside the one in use.
pub(crate) struct LoadedFile {
    db: Database,
    temporary: TemporaryFile,
}

impl LoadedFile {
    /// Renames it over the group's file.
    pub(crate) fn install(mut self, place: &Place) -> Result<Database, MachineError> {
        let from = self.temporary.path.take().expect("only install takes it");
        place
            .vfs
            .rename(&from, &place.path())
            .map_err(|e| place.io(e))?;
        place.vfs.sync_dir(&place.dir).map_err(|e| place.io(e))?;
        Ok(self.db)
    }
}

struct In<'a> {
    place: &'a Place,
    file: &'a dyn VfsFile,
    left: u64,
    offset: u64,
    buffer: Vec<u8>,
    at: usize,
}

impl In<'_> {
    fn take(&mut self, len: usize) -> Result<&[u8], MachineError> {
        while self.buffer.len() - self.at < len {
            let more = self.left.min(BUFFER_BYTES.max(len) as u64);
            if more == 0 {
                return Err(MachineError::Snapshot("it ends in the middle of a row"));
            }
            self.buffer.drain(..self.at);
            self.at = 0;
            let count = usize::try_from(more).expect("at most a buffer or a row");
            let read = self
                .file
                .read_vec(self.offset, count)
                .map_err(|e| self.place.io(e))?;
            if read.len() < count {
                return Err(MachineError::Snapshot("the file is shorter than it was"));
            }
            self.buffer.extend_from_slice(&read);
            self.offset += more;
            self.left -= more;
        }
        self.at += len;
        Ok(&self.buffer[self.at - len..self.at])
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], MachineError> {
        let bytes = self.take(N)?;
        Ok(bytes.try_into().expect("N bytes were taken"))
    }

    /// Reads one row into `kv`, or the end mark.
    fn row(&mut self, kv: &mut dyn KvWrite) -> Result<ControlFlow<u64>, MachineError> {
        let [number] = self.array::<1>()?;
        if number == END {
            return Ok(ControlFlow::Break(u64::from_be_bytes(self.array()?)));
        }
        let table = Table::from_number(number);
        let table = table.ok_or(MachineError::Snapshot("it has a table of a newer release"))?;
        let key_len = u32::from_be_bytes(self.array()?) as usize;
        let value_len = u32::from_be_bytes(self.array()?) as usize;
        if (key_len + value_len) as u64 > self.left + (self.buffer.len() - self.at) as u64 {
            return Err(MachineError::Snapshot(
                "a row is longer than all that is left",
            ));
        }
        let row = self.take(key_len + value_len)?;
        let (key, value) = row.split_at(key_len);
        kv.put(table, key, value).map_err(MachineError::Kv)?;
        Ok(ControlFlow::Continue(()))
    }
}

/// Changes a state that was loaded, before it is used.
pub(crate) type Edit<'a> = dyn FnMut(&mut dyn KvWrite) -> Result<(), MachineError> + 'a;

/// Loads `bytes` of a dump into a new file of tables, durably.
pub(crate) fn load(
    place: &Place,
    meta: &SnapshotMeta,
    file: &dyn VfsFile,
    bytes: u64,
) -> Result<LoadedFile, MachineError> {
    load_edited(place, meta, (file, bytes), &mut |_| Ok(()))
}

/// The same with a change of the state in the same transaction.
pub(crate) fn load_edited(
    place: &Place,
    meta: &SnapshotMeta,
    (file, bytes): (&dyn VfsFile, u64),
    edit: &mut Edit<'_>,
) -> Result<LoadedFile, MachineError> {
    let path = place.dir.join(format!("{}.received", place.file_name()));
    let mut from = In {
        place,
        file,
        left: bytes,
        offset: 0,
        buffer: Vec::new(),
        at: 0,
    };
    if from.take(MAGIC.len())? != MAGIC {
        return Err(MachineError::Snapshot("it is not a snapshot"));
    }
    if from.array::<1>()? != [FORMAT] {
        return Err(MachineError::Snapshot("it is of a newer release"));
    }
    let mut fill = |kv: &mut tables::WriteKv<'_>| {
        let mut rows = 0;
        let expected = loop {
            match from.row(kv)? {
                ControlFlow::Continue(()) => rows += 1,
                ControlFlow::Break(expected) => break expected,
            }
        };
        if rows != expected || from.left > 0 {
            return Err(MachineError::Snapshot(
                "it does not hold the rows that it counts",
            ));
        }
        edit(kv)?;
        kv.put_applied(meta.last_log_id.as_ref(), Some(&meta.last_membership))
    };
    let db = tables::create(place, &path, Some(&mut fill))?;
    Ok(LoadedFile {
        db,
        temporary: TemporaryFile {
            vfs: place.vfs.clone(),
            path: Some(path),
        },
    })
}
