//! The shard index: one redb file per drive. It can be rebuilt from the segments, so puts commit
//! without a sync and a checkpoint makes everything durable now and then.
//!
//! ```text
//! table       key                              value
//! 1 runs      shard id 21 | run offset u64     format u8 = 1 | segment u64 | record offset u32
//!                                              | data length u32 | pool u16 | pg u16
//! 2 segments  seq u64                          format u8 = 1 | class u8 | sealed | end u64
//!                                              | live runs u64 | live record bytes u64
//! 3 meta      "drive"                          format u8 = 1 | cluster u128 | drive u64
//!             "clean"                          nothing; there only after an orderly close
//! ```

use std::io;
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::Arc;

use marram_types::codec::{DecodeError, Reader, Writer};
use marram_types::{ClusterId, DriveId, PgId, PoolId, ShardId};
use redb::{Database, Durability, ReadableDatabase, ReadableTable, TableDefinition};

use super::{CacheFigures, Class};
use crate::backend::VfsBackend;
use crate::vfs::{OpenMode, Vfs};

const RUNS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("runs");
const SEGMENTS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("segments");
const META: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("meta");
const META_DRIVE: &[u8] = b"drive";
const META_CLEAN: &[u8] = b"clean";
const FORMAT: u8 = 1;

/// Why the index failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum IndexError {
    /// The database.
    #[error("shard index: {0}")]
    Database(Arc<redb::Error>),
    /// A row that cannot be read.
    #[error("shard index: {0}")]
    Row(#[from] DecodeError),
}

macro_rules! from_redb {
    ($($error:ty),*) => {
        $(impl From<$error> for IndexError {
            fn from(error: $error) -> Self {
                Self::Database(Arc::new(error.into()))
            }
        })*
    };
}

from_redb!(
    redb::DatabaseError,
    redb::TransactionError,
    redb::TableError,
    redb::StorageError,
    redb::CommitError,
    redb::SetDurabilityError
);

/// Names a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct RunKey {
    pub(super) shard: ShardId,
    /// Of the run's first byte in the shard.
    pub(super) offset: u64,
}

/// Where a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RunRow {
    pub(super) segment: u64,
    pub(super) record_offset: u32,
    /// Bytes of data.
    pub(super) len: u32,
    pub(super) pg: PgId,
}

/// What the index knows of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SegmentRow {
    pub(super) class: Class,
    pub(super) sealed: bool,
    /// Records before this offset are in the index.
    pub(super) end: u64,
    pub(super) live_runs: u64,
    pub(super) live_bytes: u64,
}

impl RunKey {
    fn encode(&self) -> Vec<u8> {
        let mut out = Writer::with_capacity(ShardId::BYTES + 8);
        self.shard.encode(&mut out);
        out.u64_be(self.offset);
        out.finish()
    }

    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut from = Reader::new(bytes);
        let key = Self {
            shard: ShardId::decode(&mut from)?,
            offset: from.u64_be()?,
        };
        from.finish()?;
        Ok(key)
    }
}

impl RunRow {
    fn encode(&self) -> Vec<u8> {
        let mut out = Writer::with_capacity(21);
        out.u8(FORMAT).u64_be(self.segment);
        out.u32_be(self.record_offset).u32_be(self.len);
        out.u16_be(self.pg.pool.0).u16_be(self.pg.index);
        out.finish()
    }

    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut from = Reader::new(bytes);
        from.version("run row", FORMAT)?;
        let row = Self {
            segment: from.u64_be()?,
            record_offset: from.u32_be()?,
            len: from.u32_be()?,
            pg: PgId {
                pool: PoolId(from.u16_be()?),
                index: from.u16_be()?,
            },
        };
        from.finish()?;
        Ok(row)
    }
}

impl SegmentRow {
    fn encode(&self) -> Vec<u8> {
        let mut out = Writer::with_capacity(27);
        out.u8(FORMAT).u8(self.class as u8).bool(self.sealed);
        out.u64_be(self.end)
            .u64_be(self.live_runs)
            .u64_be(self.live_bytes);
        out.finish()
    }

    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut from = Reader::new(bytes);
        from.version("segment row", FORMAT)?;
        let class = match from.u8()? {
            1 => Class::Large,
            2 => Class::Small,
            _ => return Err(DecodeError::Invalid("class")),
        };
        let row = Self {
            class,
            sealed: from.bool()?,
            end: from.u64_be()?,
            live_runs: from.u64_be()?,
            live_bytes: from.u64_be()?,
        };
        from.finish()?;
        Ok(row)
    }
}

/// One change of the index, applied with others in one transaction.
#[derive(Debug)]
pub(super) enum Change {
    PutRun(RunKey, RunRow),
    RemoveRun(RunKey),
    PutSegment(u64, SegmentRow),
    RemoveSegment(u64),
    /// Whether the ends of segments are exact.
    Clean(bool),
}

/// The index of one drive.
pub(super) struct Index {
    database: Database,
}

impl std::fmt::Debug for Index {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Index").finish_non_exhaustive()
    }
}

impl Index {
    /// Opens the index, or makes an empty one when there is none or it is damaged: then all
    /// segments are read again.
    pub(super) fn open(
        vfs: &dyn Vfs,
        path: &Path,
        cache_bytes: usize,
        owner: (ClusterId, DriveId),
    ) -> io::Result<Result<Self, IndexError>> {
        let file = vfs.open(path, OpenMode::OpenOrCreate)?;
        let opened = Self::open_file(Arc::clone(&file), cache_bytes, owner);
        match opened {
            Ok(index) => Ok(Ok(index)),
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "rebuilding a damaged shard index");
                drop(file);
                vfs.remove(path)?;
                let file = vfs.open(path, OpenMode::CreateNew)?;
                Ok(Self::open_file(file, cache_bytes, owner))
            }
        }
    }

    fn open_file(
        file: Arc<dyn crate::vfs::VfsFile>,
        cache_bytes: usize,
        (cluster, drive): (ClusterId, DriveId),
    ) -> Result<Self, IndexError> {
        let database = Database::builder()
            .set_cache_size(cache_bytes)
            .create_with_backend(VfsBackend::new(file))?;
        let mut owner = Writer::new();
        owner.u8(FORMAT).u128_be(cluster.0).u64_be(drive.0);
        let txn = database.begin_write()?;
        {
            let mut meta = txn.open_table(META)?;
            let known = meta.get(META_DRIVE)?.map(|v| v.value().to_vec());
            txn.open_table(RUNS)?;
            txn.open_table(SEGMENTS)?;
            match known {
                None => drop(meta.insert(META_DRIVE, owner.as_slice())?),
                Some(known) if known == owner.as_slice() => {}
                Some(_) => return Err(DecodeError::Invalid("the drive's id").into()),
            }
        }
        txn.commit()?;
        Ok(Self { database })
    }

    /// Pages of the index that were in memory when they were read, those that were not, and the bytes of those
    /// that are.
    pub(super) fn pages(&self) -> CacheFigures {
        let stats = self.database.cache_stats();
        CacheFigures {
            hits: stats.read_hits(),
            misses: stats.read_misses(),
            bytes: stats.used_bytes() as u64,
        }
    }

    /// Applies changes together; visible at once, durable with the next checkpoint.
    pub(super) fn apply(&self, changes: &[Change]) -> Result<(), IndexError> {
        let mut txn = self.database.begin_write()?;
        txn.set_durability(Durability::None)?;
        write(&txn, changes)?;
        Ok(txn.commit()?)
    }

    /// Applies changes and makes everything so far durable.
    pub(super) fn checkpoint(&self, changes: &[Change]) -> Result<(), IndexError> {
        let mut txn = self.database.begin_write()?;
        txn.set_durability(Durability::Immediate)?;
        txn.set_quick_repair(true);
        write(&txn, changes)?;
        Ok(txn.commit()?)
    }

    /// Whether the last user closed the index in order.
    pub(super) fn is_clean(&self) -> Result<bool, IndexError> {
        let meta = self.database.begin_read()?.open_table(META)?;
        Ok(meta.get(META_CLEAN)?.is_some())
    }

    /// One run.
    pub(super) fn run(&self, key: &RunKey) -> Result<Option<RunRow>, IndexError> {
        let runs = self.database.begin_read()?.open_table(RUNS)?;
        match runs.get(key.encode().as_slice())? {
            Some(value) => Ok(Some(RunRow::decode(value.value())?)),
            None => Ok(None),
        }
    }

    /// The runs of a shard that hold bytes of `offset..end`, in order.
    pub(super) fn runs_of_range(
        &self,
        shard: ShardId,
        offset: u64,
        end: u64,
    ) -> Result<Vec<(RunKey, RunRow)>, IndexError> {
        let runs = self.database.begin_read()?.open_table(RUNS)?;
        let key = |offset| RunKey { shard, offset }.encode();
        let (low, at, high) = (key(0), key(offset), key(end));
        let mut out = Vec::new();
        // The run that holds `offset` is the last one that begins at or before it.
        if let Some(found) = runs.range(low.as_slice()..=at.as_slice())?.next_back() {
            let (key, value) = found?;
            out.push((RunKey::decode(key.value())?, RunRow::decode(value.value())?));
        }
        let after = (
            std::ops::Bound::Excluded(at.as_slice()),
            std::ops::Bound::Excluded(high.as_slice()),
        );
        for found in runs.range::<&[u8]>(after)? {
            let (key, value) = found?;
            out.push((RunKey::decode(key.value())?, RunRow::decode(value.value())?));
        }
        Ok(out)
    }

    /// Visits runs from `keys`, in order, until `each` says stop.
    pub(super) fn scan(
        &self,
        keys: RangeInclusive<Vec<u8>>,
        mut each: impl FnMut(RunKey, RunRow) -> bool,
    ) -> Result<(), IndexError> {
        let runs = self.database.begin_read()?.open_table(RUNS)?;
        for found in runs.range(keys.start().as_slice()..=keys.end().as_slice())? {
            let (key, value) = found?;
            if !each(RunKey::decode(key.value())?, RunRow::decode(value.value())?) {
                break;
            }
        }
        Ok(())
    }

    /// All segments.
    pub(super) fn segments(&self) -> Result<Vec<(u64, SegmentRow)>, IndexError> {
        let segments = self.database.begin_read()?.open_table(SEGMENTS)?;
        let mut out = Vec::new();
        for found in segments.iter()? {
            let (key, value) = found?;
            let seq = Reader::new(key.value()).u64_be()?;
            out.push((seq, SegmentRow::decode(value.value())?));
        }
        Ok(out)
    }
}

fn write(txn: &redb::WriteTransaction, changes: &[Change]) -> Result<(), IndexError> {
    let mut runs = txn.open_table(RUNS)?;
    let mut segments = txn.open_table(SEGMENTS)?;
    let mut meta = txn.open_table(META)?;
    for change in changes {
        match change {
            Change::PutRun(key, row) => {
                runs.insert(key.encode().as_slice(), row.encode().as_slice())?;
            }
            Change::RemoveRun(key) => drop(runs.remove(key.encode().as_slice())?),
            Change::PutSegment(seq, row) => {
                segments.insert(seq.to_be_bytes().as_slice(), row.encode().as_slice())?;
            }
            Change::RemoveSegment(seq) => drop(segments.remove(seq.to_be_bytes().as_slice())?),
            Change::Clean(true) => drop(meta.insert(META_CLEAN, [].as_slice())?),
            Change::Clean(false) => drop(meta.remove(META_CLEAN)?),
        }
    }
    Ok(())
}

/// The keys of all runs after this one.
pub(super) fn keys_after(key: &RunKey) -> RangeInclusive<Vec<u8>> {
    let mut first = key.encode();
    first.push(0);
    first..=keys_with(&[]).into_inner().1
}

/// The keys of all runs whose key begins with `prefix`.
pub(super) fn keys_with(prefix: &[u8]) -> RangeInclusive<Vec<u8>> {
    let mut last = prefix.to_vec();
    last.resize(ShardId::BYTES + 8, 0xff);
    prefix.to_vec()..=last
}
