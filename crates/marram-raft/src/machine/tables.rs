//! marram-meta's key-value interface over redb, and the rows this crate keeps beside it.
//!
//! Keys and values are plain bytes: redb's own encodings of richer types have changed between
//! releases.

use std::cell::OnceCell;
use std::ops::{Bound, ControlFlow};
use std::sync::Arc;

use marram_meta::{KvError, KvRead, KvWrite, Table};
use marram_store::VfsBackend;
use marram_store::{OpenMode, Vfs};
use marram_types::codec::{DecodeError, Reader, Writer};
use marram_types::{GroupId, ReplicaId};
use redb::{
    Database, ReadTransaction, ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction,
};

use super::{MachineError, Place};
use crate::codec;
use crate::types::{LogId, StoredMembership};

type Bytes = &'static [u8];
/// Adds rows to a new file.
pub(super) type Fill<'a> = dyn FnMut(&mut WriteKv<'_>) -> Result<(), MachineError> + 'a;
/// Takes one row after the other.
pub(super) type EachRow<'a> = dyn FnMut(Table, &[u8], &[u8]) -> Result<(), MachineError> + 'a;
type EachPair<'a> = dyn FnMut(&[u8], &[u8]) -> ControlFlow<()> + 'a;
type Definition = TableDefinition<'static, Bytes, Bytes>;

/// Rows of this crate: whose file it is, the last applied log id, the membership.
const RAFT: Definition = TableDefinition::new("raft");
const IDENTITY: &[u8] = b"identity";
const APPLIED: &[u8] = b"applied";
const MEMBERSHIP: &[u8] = b"membership";
const CHECKPOINT: &[u8] = b"checkpoint";
const FORMAT: u8 = 1;
/// Above every number of [`Table`]: they are listed in their order.
const TABLES: usize = Table::ALL[Table::ALL.len() - 1] as usize + 1;

fn definition(table: Table) -> Definition {
    TableDefinition::new(table.name())
}

/// Opens the file at `place`, or makes it. A file without its identity row is refused: redb may
/// open a damaged file as an empty one.
pub(super) fn open(place: &Place) -> Result<Database, MachineError> {
    let name = place.file_name();
    let dir = place.vfs.list(&place.dir).map_err(|e| place.io(e))?;
    if !dir.contains(&name) {
        let fresh = place.dir.join(format!("{name}.new"));
        drop(create(place, &fresh, None)?);
        place
            .vfs
            .rename(&fresh, &place.path())
            .map_err(|e| place.io(e))?;
        place.vfs.sync_dir(&place.dir).map_err(|e| place.io(e))?;
    }
    let db = database(place.vfs.as_ref(), place, &place.path(), OpenMode::Existing)?;
    check_identity(place, &db)?;
    Ok(db)
}

/// A view of the file at `place`, which nobody else has open.
pub(crate) fn open_view(place: &Place) -> Result<ReadView, MachineError> {
    ReadView::new(Arc::new(open(place)?))
}

/// Makes a new file at `path` with its identity and every table, durably; `fill` adds rows in the
/// same transaction.
pub(super) fn create(
    place: &Place,
    path: &std::path::Path,
    fill: Option<&mut Fill<'_>>,
) -> Result<Database, MachineError> {
    match place.vfs.remove(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(place.io(error)),
        _ => {}
    }
    let db = database(place.vfs.as_ref(), place, path, OpenMode::CreateNew)?;
    let mut txn = db.begin_write().map_err(MachineError::store)?;
    txn.set_quick_repair(true);
    {
        let mut kv = WriteKv::new(&txn);
        for table in Table::ALL {
            kv.open(table).map_err(MachineError::Kv)?;
        }
        kv.put_raft(IDENTITY, &identity(place.group, place.replica))?;
        if let Some(fill) = fill {
            fill(&mut kv)?;
        }
    }
    txn.commit().map_err(MachineError::store)?;
    Ok(db)
}

fn database(
    vfs: &dyn Vfs,
    place: &Place,
    path: &std::path::Path,
    mode: OpenMode,
) -> Result<Database, MachineError> {
    let file = vfs.open(path, mode).map_err(|e| place.io(e))?;
    Database::builder()
        .set_cache_size(place.cache_bytes)
        .create_with_backend(VfsBackend::new(file))
        .map_err(MachineError::store)
}

fn identity(group: GroupId, replica: ReplicaId) -> Vec<u8> {
    let mut out = Writer::new();
    out.u8(FORMAT).u16_be(group.0).u64_be(replica.0);
    out.finish()
}

fn check_identity(place: &Place, db: &Database) -> Result<(), MachineError> {
    let txn = db.begin_read().map_err(MachineError::store)?;
    let found =
        get_raft(&txn, IDENTITY)?.ok_or_else(|| MachineError::NoIdentity { path: place.path() })?;
    let read = || -> Result<(GroupId, ReplicaId), DecodeError> {
        let mut from = Reader::new(&found);
        from.version("state machine format", FORMAT)?;
        let ids = (GroupId(from.u16_be()?), ReplicaId(from.u64_be()?));
        from.finish()?;
        Ok(ids)
    };
    let (group, replica) = read().map_err(|source| MachineError::Row { source })?;
    if (group, replica) == (place.group, place.replica) {
        Ok(())
    } else {
        Err(MachineError::Foreign {
            path: place.path(),
            group,
            replica,
        })
    }
}

fn get_raft(txn: &ReadTransaction, key: &[u8]) -> Result<Option<Vec<u8>>, MachineError> {
    let table = match txn.open_table(RAFT) {
        Ok(table) => table,
        Err(redb::TableError::TableDoesNotExist(_)) => return Ok(None),
        Err(error) => return Err(MachineError::store(error)),
    };
    let value = table.get(key).map_err(MachineError::store)?;
    Ok(value.map(|value| value.value().to_vec()))
}

/// The last applied log id and the membership of a view.
pub(super) fn applied_state(
    txn: &ReadTransaction,
) -> Result<(Option<LogId>, StoredMembership), MachineError> {
    let row = |source| MachineError::Row { source };
    let applied = match get_raft(txn, APPLIED)? {
        Some(stored) => codec::log_id_from_bytes(&stored).map_err(row)?,
        None => None,
    };
    let membership = match get_raft(txn, MEMBERSHIP)? {
        Some(stored) => codec::stored_membership_from_bytes(&stored).map_err(row)?,
        None => StoredMembership::default(),
    };
    Ok((applied, membership))
}

/// A consistent view of a group's state at one applied index. Holding one keeps the pages of its
/// moment: use it and drop it.
pub struct ReadView {
    db: Arc<Database>,
    txn: ReadTransaction,
    applied: u64,
}

impl ReadView {
    pub(super) fn new(db: Arc<Database>) -> Result<Self, MachineError> {
        let txn = db.begin_read().map_err(MachineError::store)?;
        let applied = match get_raft(&txn, APPLIED)? {
            Some(stored) => codec::log_id_from_bytes(&stored)
                .map_err(|source| MachineError::Row { source })?
                .map_or(0, |id| id.index),
            None => 0,
        };
        Ok(Self { db, txn, applied })
    }

    /// The last index whose effects this view shows.
    #[must_use]
    pub fn applied(&self) -> u64 {
        self.applied
    }
}

impl std::fmt::Debug for ReadView {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReadView")
            .field("db", &self.db)
            .field("applied", &self.applied)
            .finish_non_exhaustive()
    }
}

impl KvRead for ReadView {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, KvError> {
        get_in(&self.txn, table, key)
    }

    fn scan(
        &self,
        table: Table,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        each: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), KvError> {
        let table = self
            .txn
            .open_table(definition(table))
            .map_err(KvError::new)?;
        scan_in(&table, from, to, each)
    }
}

fn get_in(txn: &ReadTransaction, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, KvError> {
    let table = txn.open_table(definition(table)).map_err(KvError::new)?;
    let value = table.get(key).map_err(KvError::new)?;
    Ok(value.map(|value| value.value().to_vec()))
}

fn scan_in(
    table: &impl ReadableTable<Bytes, Bytes>,
    from: Bound<&[u8]>,
    to: Bound<&[u8]>,
    each: &mut EachPair<'_>,
) -> Result<(), KvError> {
    if is_empty(from, to) {
        return Ok(());
    }
    for row in table.range::<&[u8]>((from, to)).map_err(KvError::new)? {
        let (key, value) = row.map_err(KvError::new)?;
        if each(key.value(), value.value()).is_break() {
            break;
        }
    }
    Ok(())
}

/// redb refuses inverted ranges; the interface says that they hold nothing.
fn is_empty(from: Bound<&[u8]>, to: Bound<&[u8]>) -> bool {
    match (from, to) {
        (Bound::Unbounded, _) | (_, Bound::Unbounded) => false,
        (Bound::Included(from), Bound::Included(to)) => from > to,
        (
            Bound::Included(from) | Bound::Excluded(from),
            Bound::Included(to) | Bound::Excluded(to),
        ) => from >= to,
    }
}

/// Calls `each` with every row of every table, in the order of tables and keys.
pub(super) fn each_row(txn: &ReadTransaction, each: &mut EachRow<'_>) -> Result<(), MachineError> {
    for table in Table::ALL {
        let rows = txn
            .open_table(definition(table))
            .map_err(MachineError::store)?;
        for row in rows.range::<&[u8]>(..).map_err(MachineError::store)? {
            let (key, value) = row.map_err(MachineError::store)?;
            each(table, key.value(), value.value())?;
        }
    }
    Ok(())
}

/// The same of a state that is being changed.
pub(super) fn each_row_of(kv: &dyn KvRead, each: &mut EachRow<'_>) -> Result<(), MachineError> {
    for table in Table::ALL {
        let mut failed = None;
        let (from, to) = (Bound::Unbounded, Bound::Unbounded);
        let scanned = kv.scan(
            table,
            from,
            to,
            &mut |key, value| match each(table, key, value) {
                Ok(()) => ControlFlow::Continue(()),
                Err(error) => {
                    failed = Some(error);
                    ControlFlow::Break(())
                }
            },
        );
        scanned.map_err(MachineError::Kv)?;
        failed.map_or(Ok(()), Err)?;
    }
    Ok(())
}

type OpenTable<'t> = redb::Table<'t, Bytes, Bytes>;

/// A write transaction as the state machine sees it: tables are opened once, when first used.
pub(super) struct WriteKv<'t> {
    txn: &'t WriteTransaction,
    tables: [OnceCell<OpenTable<'t>>; TABLES],
}

impl<'t> WriteKv<'t> {
    pub(super) fn new(txn: &'t WriteTransaction) -> Self {
        Self {
            txn,
            tables: [const { OnceCell::new() }; TABLES],
        }
    }

    fn open(&self, table: Table) -> Result<&OpenTable<'t>, KvError> {
        let cell = &self.tables[usize::from(table.number())];
        if cell.get().is_none() {
            let opened = self
                .txn
                .open_table(definition(table))
                .map_err(KvError::new)?;
            let _ = cell.set(opened);
        }
        Ok(cell.get().expect("set above"))
    }

    fn open_mut(&mut self, table: Table) -> Result<&mut OpenTable<'t>, KvError> {
        self.open(table)?;
        let cell = &mut self.tables[usize::from(table.number())];
        Ok(cell.get_mut().expect("open() has set it"))
    }

    fn put_raft(&mut self, key: &[u8], value: &[u8]) -> Result<(), MachineError> {
        let mut table = self.txn.open_table(RAFT).map_err(MachineError::store)?;
        table.insert(key, value).map_err(MachineError::store)?;
        Ok(())
    }

    /// Records what has been applied, in the transaction that applied it.
    pub(super) fn put_applied(
        &mut self,
        applied: Option<&LogId>,
        membership: Option<&StoredMembership>,
    ) -> Result<(), MachineError> {
        self.put_raft(APPLIED, &codec::log_id_to_bytes(applied))?;
        match membership {
            Some(membership) => {
                self.put_raft(MEMBERSHIP, &codec::stored_membership_to_bytes(membership))
            }
            None => Ok(()),
        }
    }

    /// Makes a checkpoint's transaction hold something.
    pub(super) fn put_checkpoint(&mut self, applied: Option<&LogId>) -> Result<(), MachineError> {
        self.put_raft(CHECKPOINT, &codec::log_id_to_bytes(applied))
    }
}

impl KvRead for WriteKv<'_> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, KvError> {
        let value = self.open(table)?.get(key).map_err(KvError::new)?;
        Ok(value.map(|value| value.value().to_vec()))
    }

    fn scan(
        &self,
        table: Table,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        each: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), KvError> {
        scan_in(self.open(table)?, from, to, each)
    }
}

impl KvWrite for WriteKv<'_> {
    fn put(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<(), KvError> {
        self.open_mut(table)?
            .insert(key, value)
            .map_err(KvError::new)?;
        Ok(())
    }

    fn delete(&mut self, table: Table, key: &[u8]) -> Result<(), KvError> {
        self.open_mut(table)?.remove(key).map_err(KvError::new)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_table_has_a_slot_and_a_name_of_its_own() {
        use redb::TableHandle;
        for table in Table::ALL {
            assert!(usize::from(table.number()) < TABLES);
            assert_ne!(table.name(), RAFT.name());
        }
    }

    #[test]
    fn inverted_ranges_are_empty() {
        let (low, high) = (&b"a"[..], &b"b"[..]);
        assert!(is_empty(Bound::Included(high), Bound::Included(low)));
        assert!(is_empty(Bound::Excluded(low), Bound::Included(low)));
        assert!(!is_empty(Bound::Included(low), Bound::Included(low)));
        assert!(!is_empty(Bound::Excluded(low), Bound::Excluded(high)));
        assert!(!is_empty(Bound::Excluded(high), Bound::Unbounded));
    }
}
