//! Applying in batches, checkpoints, views and installing.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use marram_types::GroupId;
use openraft::{EntryPayload, Snapshot};
use parking_lot::RwLock;
use redb::{Database, Durability, ReadableDatabase};
use tokio::sync::{Mutex, Notify, OwnedMutexGuard, watch};

use super::tables::{self, WriteKv};
use super::{LoadedFile, MachineError, Place, ReadView, SnapshotData, dump};
use crate::figures::PageFigures;
use crate::logic::GroupLogic;
use crate::types::{Entry, LogId, SnapshotMeta, StoredMembership, TypeConfig};

/// Entries of one transaction at most.
pub(super) const TXN_ENTRIES_MAX: usize = 1024;
/// Bytes of commands in one transaction at which it is closed.
pub(super) const TXN_BYTES_MAX: usize = 4 << 20;
/// Batches up to this size are applied where they are; larger ones on the blocking pool, because
/// they would hold up the timers of Raft.
const INLINE_ENTRIES_MAX: usize = 64;
/// Entries that nobody waits for gather up to this many and these bytes ...
const PUT_OFF_ENTRIES_MAX: usize = 256;
const PUT_OFF_BYTES_MAX: usize = 1 << 20;
/// ... and this long.
pub(crate) const PUT_OFF: Duration = Duration::from_millis(20);

/// What only one task changes at a time.
pub(super) struct Writer {
    /// Entries that openraft takes for applied and that wait for company.
    pending: Vec<Entry>,
    pending_bytes: usize,
    applied: Option<LogId>,
    membership: StoredMembership,
    durable: Option<LogId>,
    /// Why nothing can be applied any more.
    failed: Option<String>,
    snapshot: Option<(SnapshotMeta, Arc<dump::LocalSnapshot>)>,
}

impl Writer {
    /// What was put off, to be applied first.
    pub(super) fn take_pending(&mut self) -> (Vec<Entry>, usize) {
        let bytes = std::mem::take(&mut self.pending_bytes);
        (std::mem::take(&mut self.pending), bytes)
    }

    fn meta(&self) -> SnapshotMeta {
        SnapshotMeta {
            last_log_id: self.applied,
            last_membership: self.membership.clone(),
        }
    }
}

pub(super) type WriterGuard = OwnedMutexGuard<Writer>;

/// A group's state on this node.
pub(crate) struct Store {
    place: Place,
    logic: Arc<dyn GroupLogic>,
    db: RwLock<Arc<Database>>,
    writer: Arc<Mutex<Writer>>,
    applied: watch::Sender<u64>,
    /// Index up to which a restart needs no log.
    durable: AtomicU64,
    /// Bytes of commands since the last checkpoint.
    dirty_bytes: AtomicU64,
    /// Something was put off.
    gathered: Notify,
}

impl Store {
    /// Opens or makes the group's file.
    pub(crate) fn open(place: Place, logic: Arc<dyn GroupLogic>) -> Result<Self, MachineError> {
        let db = tables::open(&place)?;
        let txn = db.begin_read().map_err(MachineError::store)?;
        let (applied, membership) = tables::applied_state(&txn)?;
        drop(txn);
        let index = applied.as_ref().map_or(0, |id| id.index);
        Ok(Self {
            place,
            logic,
            db: RwLock::new(Arc::new(db)),
            writer: Arc::new(Mutex::new(Writer {
                pending: Vec::new(),
                pending_bytes: 0,
                durable: applied,
                applied,
                membership,
                failed: None,
                snapshot: None,
            })),
            applied: watch::Sender::new(index),
            durable: AtomicU64::new(index),
            dirty_bytes: AtomicU64::new(0),
            gathered: Notify::new(),
        })
    }

    pub(crate) fn group(&self) -> GroupId {
        self.place.group
    }

    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    /// The last index whose effects a view shows.
    pub(crate) fn applied(&self) -> watch::Receiver<u64> {
        self.applied.subscribe()
    }

    /// A consistent view of the state as it is now.
    pub(crate) fn view(&self) -> Result<ReadView, MachineError> {
        ReadView::new(self.database())
    }

    /// Bytes of commands that a restart would apply again; `None` when there is nothing to make
    /// durable.
    pub(crate) fn dirty_bytes(&self) -> Option<u64> {
        let dirty = *self.applied.borrow() != self.durable.load(Ordering::Acquire);
        dirty.then(|| self.dirty_bytes.load(Ordering::Acquire))
    }

    /// How well the tables are cached.
    pub(crate) fn pages(&self) -> PageFigures {
        let stats = self.database().cache_stats();
        PageFigures {
            hits: stats.read_hits(),
            misses: stats.read_misses(),
            bytes: stats.used_bytes() as u64,
        }
    }

    fn database(&self) -> Arc<Database> {
        self.db.read().clone()
    }

    pub(super) async fn lock(&self) -> WriterGuard {
        self.writer.clone().lock_owned().await
    }

    /// On followers nobody waits for an apply, and twenty entries in one transaction cost little
    /// more than one: keeps the entries for [`PUT_OFF`] unless there are many. The root group is
    /// never put off, because nodes act on what it says.
    pub(super) fn put_off(
        &self,
        writer: &mut Writer,
        entries: &mut Vec<Entry>,
        bytes: usize,
    ) -> bool {
        let wait = self.place.group != GroupId::ROOT
            && entries.len() < PUT_OFF_ENTRIES_MAX
            && bytes < PUT_OFF_BYTES_MAX
            && writer.failed.is_none();
        if wait {
            writer.pending = std::mem::take(entries);
            writer.pending_bytes = bytes;
            self.gathered.notify_one();
        }
        wait
    }

    /// Applies what was put off, for ever: the task of a group.
    pub(crate) async fn apply_put_off(&self) {
        loop {
            self.gathered.notified().await;
            tokio::time::sleep(PUT_OFF).await;
            if let Err(error) = self.flush().await {
                // The next apply reports it to openraft, which stops the replica.
                tracing::error!(group = %self.group(), %error, "cannot apply committed entries");
            }
        }
    }

    /// Applies what was put off now.
    pub(crate) async fn flush(&self) -> Result<(), MachineError> {
        let writer = self.lock().await;
        self.flush_locked(writer).await.map(drop)
    }

    async fn flush_locked(&self, mut writer: WriterGuard) -> Result<WriterGuard, MachineError> {
        let (entries, _) = writer.take_pending();
        if entries.is_empty() {
            return Ok(writer);
        }
        Ok(self.commit(writer, entries).await?.0)
    }

    /// Applies entries in one transaction and returns the outcome of each.
    pub(super) async fn commit(
        &self,
        mut writer: WriterGuard,
        entries: Vec<Entry>,
    ) -> Result<(WriterGuard, Vec<Bytes>), MachineError> {
        let db = self.database();
        let (logic, group) = (self.logic.clone(), self.place.group);
        let inline = entries.len() <= INLINE_ENTRIES_MAX;
        let bytes: usize = entries.iter().map(super::entry_bytes).sum();
        let apply = move || {
            let result = apply_all(&db, logic.as_ref(), group, &mut writer, &entries);
            if let Err(error) = &result {
                writer.failed.get_or_insert_with(|| error.to_string());
            }
            (writer, result)
        };
        let (writer, result) = if inline {
            apply()
        } else {
            blocking(apply).await
        };
        let outcomes = result?;
        self.dirty_bytes.fetch_add(bytes as u64, Ordering::AcqRel);
        self.tell_applied(&writer);
        Ok((writer, outcomes))
    }

    fn tell_applied(&self, writer: &Writer) {
        let index = writer.applied.as_ref().map_or(0, |id| id.index);
        self.applied.send_replace(index);
    }

    pub(super) async fn applied_state(
        &self,
    ) -> Result<(Option<LogId>, StoredMembership), MachineError> {
        let writer = self.flush_locked(self.lock().await).await?;
        Ok((writer.applied, writer.membership.clone()))
    }

    /// Makes everything applied durable, with two syncs and redb's allocator state saved, so that
    /// a restart is quick whatever the size.
    pub(super) async fn checkpoint(&self) -> Result<SnapshotMeta, MachineError> {
        let writer = self.flush_locked(self.lock().await).await?;
        let writer = self.checkpoint_locked(writer).await?;
        Ok(writer.meta())
    }

    async fn checkpoint_locked(
        &self,
        mut writer: WriterGuard,
    ) -> Result<WriterGuard, MachineError> {
        if writer.applied == writer.durable {
            return Ok(writer);
        }
        let (db, applied) = (self.database(), writer.applied);
        blocking(move || {
            let mut txn = db.begin_write().map_err(MachineError::store)?;
            txn.set_durability(Durability::Immediate)
                .map_err(MachineError::store)?;
            txn.set_quick_repair(true);
            WriteKv::new(&txn).put_checkpoint(applied.as_ref())?;
            txn.commit().map_err(MachineError::store)
        })
        .await?;
        self.tell_durable(&mut writer);
        Ok(writer)
    }

    fn tell_durable(&self, writer: &mut Writer) {
        writer.durable = writer.applied;
        let index = writer.durable.as_ref().map_or(0, |id| id.index);
        self.durable.store(index, Ordering::Release);
        self.dirty_bytes.store(0, Ordering::Release);
    }

    /// The index of the last entry that a restart does not apply again.
    pub(crate) fn durable_index(&self) -> u64 {
        self.durable.load(Ordering::Acquire)
    }

    /// The last entry that a restart does not apply again.
    pub(crate) async fn durable(&self) -> Option<LogId> {
        self.lock().await.durable
    }

    /// Makes what was applied durable and lets go of the file's writer, at the end.
    pub(crate) async fn close(&self) -> Result<(), MachineError> {
        self.checkpoint().await.map(drop)
    }

    /// A snapshot of the state as it is now, or of a moment ago. openraft takes a snapshot's log
    /// id for durable, so a checkpoint comes first.
    pub(super) async fn snapshot(
        &self,
    ) -> Result<Option<openraft::alias::SnapshotOf<TypeConfig, SnapshotData>>, MachineError> {
        let writer = self.flush_locked(self.lock().await).await?;
        let mut writer = self.checkpoint_locked(writer).await?;
        if writer.applied.is_none() {
            return Ok(None);
        }
        let meta = writer.meta();
        // Whoever installs it goes on from the log, which is kept from one on that is being sent: see
        // `let_go`. One that nobody has begun with is no better than a new one.
        let index = |meta: &SnapshotMeta| meta.last_log_id.as_ref().map_or(0, |id| id.index);
        let usable = |(kept, local): &(SnapshotMeta, Arc<dump::LocalSnapshot>)| {
            let behind = index(&meta).saturating_sub(index(kept));
            let is_near = behind < self.place.log_kept / 2;
            let is_kept = local.is_kept() && (local.is_begun() || is_near);
            is_kept || (*kept == meta && !local.has_failed())
        };
        if !writer.snapshot.as_ref().is_some_and(usable) {
            let txn = self.database().begin_read().map_err(MachineError::store)?;
            let local = dump::LocalSnapshot::new(self.place.clone(), txn, &meta);
            writer.snapshot = Some((meta, Arc::new(local)));
        }
        let (meta, local) = writer.snapshot.as_ref().expect("set above");
        Ok(Some(Snapshot {
            meta: meta.clone(),
            snapshot: SnapshotData::local(local.clone()),
        }))
    }

    /// A copy of the state as it is now under a name of its own, to be read in pieces; none while
    /// nothing was applied.
    pub(crate) async fn copy(
        &self,
        name: String,
    ) -> Result<Option<(LogId, SnapshotData)>, MachineError> {
        let writer = self.flush_locked(self.lock().await).await?;
        let Some(last) = writer.applied else {
            return Ok(None);
        };
        let txn = self.database().begin_read().map_err(MachineError::store)?;
        let local = dump::LocalSnapshot::named(self.place.clone(), txn, name);
        Ok(Some((last, SnapshotData::local(Arc::new(local)))))
    }

    /// Gives up a snapshot that nobody has asked for in a while: it pins pages.
    pub(crate) fn drop_old_snapshot(&self) {
        if let Ok(mut writer) = self.writer.try_lock() {
            writer.snapshot.take_if(|(_, local)| !local.is_kept());
        }
    }

    /// The index up to which entries of the log may go, at most `upto`: not the ones that follow a
    /// snapshot which is being sent, unless it ends before `at_least`. Such a snapshot is given up.
    pub(crate) async fn let_go(&self, upto: u64, at_least: u64) -> u64 {
        let mut writer = self.lock().await;
        let ends_at = |(meta, _): &(SnapshotMeta, _)| {
            let last = meta.last_log_id.as_ref();
            last.map_or(0, |id| id.index)
        };
        writer.snapshot.take_if(|kept| ends_at(kept) < at_least);
        let begun = { writer.snapshot.as_ref() }.filter(|(_, local)| local.is_begun());
        upto.min(begun.map_or(u64::MAX, ends_at))
    }

    /// Puts a received state in the place of this one: the new file is complete and durable, so a
    /// rename is all it takes.
    pub(super) async fn install(
        &self,
        meta: &SnapshotMeta,
        loaded: LoadedFile,
    ) -> Result<(), MachineError> {
        let mut writer = self.lock().await;
        let place = self.place.clone();
        let db = blocking(move || loaded.install(&place)).await?;
        let old = std::mem::replace(&mut *self.db.write(), Arc::new(db));
        // Closing the old file writes; readers may hold it a little longer.
        drop(tokio::task::spawn_blocking(move || drop(old)));
        writer.take_pending();
        writer.snapshot = None;
        writer.applied = meta.last_log_id;
        writer.membership = meta.last_membership.clone();
        self.tell_durable(&mut writer);
        self.tell_applied(&writer);
        Ok(())
    }
}

/// Runs on the blocking pool. A panic there is a panic here.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(failed) => std::panic::resume_unwind(failed.into_panic()),
    }
}

fn apply_all(
    db: &Database,
    logic: &dyn GroupLogic,
    group: GroupId,
    writer: &mut Writer,
    entries: &[Entry],
) -> Result<Vec<Bytes>, MachineError> {
    if let Some(why) = &writer.failed {
        return Err(MachineError::Stopped(why.clone()));
    }
    let mut txn = db.begin_write().map_err(MachineError::store)?;
    txn.set_durability(Durability::None)
        .map_err(MachineError::store)?;
    let mut outcomes = Vec::with_capacity(entries.len());
    let mut applied = writer.applied;
    let mut membership = None;
    {
        let mut kv = WriteKv::new(&txn);
        for entry in entries {
            let outcome = apply_one(
                &mut kv,
                (logic, group),
                entry,
                &mut applied,
                &mut membership,
            );
            outcomes.push(outcome?);
        }
        kv.put_applied(applied.as_ref(), membership.as_ref())?;
    }
    txn.commit().map_err(MachineError::store)?;
    writer.applied = applied;
    if let Some(membership) = membership {
        writer.membership = membership;
    }
    Ok(outcomes)
}

/// Applies one entry that follows `applied`.
fn apply_one(
    kv: &mut WriteKv<'_>,
    (logic, group): (&dyn GroupLogic, GroupId),
    entry: &Entry,
    applied: &mut Option<LogId>,
    membership: &mut Option<StoredMembership>,
) -> Result<Bytes, MachineError> {
    let index = entry.log_id.index;
    if let Some(last) = applied.as_ref().filter(|last| last.index >= index) {
        let applied = last.index;
        return Err(MachineError::Order { index, applied });
    }
    let outcome = match &entry.payload {
        EntryPayload::Normal(command) => logic
            .apply(group, kv, index, &command.0[1..])
            .map(Bytes::from)
            .map_err(|source| MachineError::Logic { index, source })?,
        EntryPayload::Blank => Bytes::new(),
        EntryPayload::Membership(new) => {
            let set_at = Some(entry.log_id);
            *membership = Some(StoredMembership::new(set_at, new.clone()));
            Bytes::new()
        }
    };
    *applied = Some(entry.log_id);
    Ok(outcome)
}

/// A state with all of its log applied, and what it is then.
pub(crate) struct Replayed {
    /// Its rows.
    pub(crate) dump: dump::DumpFile,
    /// The last entry.
    pub(crate) last: Option<LogId>,
    /// The last entry that the file itself had applied.
    pub(crate) applied: Option<LogId>,
    /// The members.
    pub(crate) membership: StoredMembership,
}

/// The state of a file that nobody uses, with the entries of `more` applied after its own last one,
/// committed or not. The file stays as it is.
pub(crate) fn replayed(
    place: &Place,
    logic: &dyn GroupLogic,
    more: &mut dyn FnMut(u64) -> std::io::Result<Vec<Entry>>,
) -> Result<Replayed, MachineError> {
    let db = tables::open(place)?;
    let txn = db.begin_read().map_err(MachineError::store)?;
    let (applied, members) = tables::applied_state(&txn)?;
    drop(txn);
    let mut txn = db.begin_write().map_err(MachineError::store)?;
    txn.set_durability(Durability::None)
        .map_err(MachineError::store)?;
    let (mut last, mut membership) = (applied, None);
    let dump = {
        let mut kv = WriteKv::new(&txn);
        loop {
            let next = last.as_ref().map_or(0, |last| last.index + 1);
            let entries = more(next).map_err(|source| MachineError::Io {
                path: place.path(),
                source,
            })?;
            if entries.is_empty() {
                break;
            }
            for entry in &entries {
                let what = (logic, place.group);
                apply_one(&mut kv, what, entry, &mut last, &mut membership)?;
            }
        }
        dump::write(place, "offline", |each| tables::each_row_of(&kv, each))?
    };
    txn.abort().map_err(MachineError::store)?;
    Ok(Replayed {
        dump,
        last,
        applied,
        membership: membership.unwrap_or(members),
    })
}
