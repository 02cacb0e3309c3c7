//! A group's replicated state: one redb file, changed only by `apply`.
//!
//! ```text
//! tables     the key-value interface over redb
//! store      applying in batches, checkpoints, views
//! dump       the state as one stream of bytes, and back
//! ```
//!
//! **Durability.** Applied entries are committed without a sync; the log has them. Every few
//! seconds a *checkpoint* makes everything applied so far durable. What openraft calls "building a
//! snapshot" is that checkpoint, and the snapshot it knows of is the last one: so it never purges
//! an entry that a restart would need. The bytes of a snapshot are made only
//! when a replica needs them, from a read transaction, beside which applying goes on. While one is
//! being sent the log is kept from it on, so that whoever gets it can go on from there.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use futures::{Stream, StreamExt};
use marram_meta::KvError;
use marram_store::Vfs;
use marram_types::codec::DecodeError;
use marram_types::{GroupId, ReplicaId};
use openraft::storage::{EntryResponder, RaftSnapshotBuilder, RaftStateMachine};
use openraft::{EntryPayload, OptionalSend, Snapshot};

use crate::logic::LogicError;
use crate::types::{Entry, LogId, SnapshotMeta, StoredMembership, TypeConfig};

mod dump;
mod store;
mod tables;

pub use dump::DumpRows;
pub(crate) use dump::{DumpFile, LoadedFile, SnapshotData, load, load_edited, open_incoming};
pub(crate) use store::{Store, blocking, replayed};
pub use tables::ReadView;
pub(crate) use tables::open_view;

/// Why a group's state cannot be used. The replica stops; nothing a user does causes it.
#[derive(Debug, thiserror::Error)]
pub enum MachineError {
    /// The operating system failed.
    #[error("state machine file {path}: {source}", path = path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// redb failed.
    #[error("state machine tables: {0}")]
    Store(#[source] Box<redb::Error>),
    /// A table failed under the state machine's decisions.
    #[error(transparent)]
    Kv(KvError),
    /// A row of this crate cannot be read.
    #[error("state machine row: {source}")]
    Row {
        /// What does not fit.
        source: DecodeError,
    },
    /// The file has no identity row, so it is not what was once made here.
    #[error(
        "state machine file {path} has lost its identity row: it is damaged; this node needs a \
         fresh replica id (rules.md 2)",
        path = path.display()
    )]
    NoIdentity {
        /// Which file.
        path: PathBuf,
    },
    /// The file belongs to another group or replica.
    #[error(
        "state machine file {path} belongs to group {group}, replica {replica}",
        path = path.display()
    )]
    Foreign {
        /// Which file.
        path: PathBuf,
        /// The group in it.
        group: GroupId,
        /// The replica in it.
        replica: ReplicaId,
    },
    /// An entry that is not after the last applied one.
    #[error("entry {index} is not after the last applied entry {applied}")]
    Order {
        /// The entry given.
        index: u64,
        /// The last applied one.
        applied: u64,
    },
    /// The state machine cannot carry out a command; this replica stops (rules.md 9).
    #[error("the state machine stopped at entry {index}: {source}")]
    Logic {
        /// Which entry.
        index: u64,
        /// Why.
        source: LogicError,
    },
    /// An earlier failure; nothing is applied any more.
    #[error("the state machine has stopped: {0}")]
    Stopped(String),
    /// Bytes that are not a snapshot, or not all of one.
    #[error("the snapshot is damaged: {0}")]
    Snapshot(&'static str),
}

impl MachineError {
    fn store(error: impl Into<redb::Error>) -> Self {
        Self::Store(Box::new(error.into()))
    }
}

impl From<MachineError> for io::Error {
    fn from(error: MachineError) -> Self {
        Self::other(error)
    }
}

/// Where a group's file is, and whose it is.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) vfs: Arc<dyn Vfs>,
    pub(crate) dir: PathBuf,
    pub(crate) group: GroupId,
    pub(crate) replica: ReplicaId,
    /// Memory for redb's cache of this file.
    pub(crate) cache_bytes: usize,
    /// Entries that the log keeps: a snapshot further behind helps nobody.
    pub(crate) log_kept: u64,
}

impl Place {
    pub(crate) fn file_name(&self) -> String {
        format!("group-{}.redb", self.group.0)
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.dir.join(self.file_name())
    }

    /// What the names of all files of the group begin with.
    pub(crate) fn stem(&self) -> String {
        format!("group-{}", self.group.0)
    }

    /// Where a snapshot's bytes gather that arrive.
    pub(crate) fn incoming_path(&self) -> PathBuf {
        self.dir.join(format!("{}{INCOMING}", self.stem()))
    }

    pub(crate) fn io(&self, source: io::Error) -> MachineError {
        MachineError::Io {
            path: self.path(),
            source,
        }
    }
}

/// What the name of a file ends with in which a snapshot arrives ...
const INCOMING: &str = ".incoming";
/// ... and that of the note which says what is in it.
pub(crate) const INCOMING_NOTE: &str = ".incoming-note";

/// The group of a file name that [`Place::file_name`] made.
pub(crate) fn group_of_file(name: &str) -> Option<GroupId> {
    let number = name.strip_prefix("group-")?.strip_suffix(".redb")?;
    number.parse().ok().map(GroupId)
}

/// Whether a file is left over from a transfer or a creation that a crash ended. What has arrived of a
/// snapshot is not: the transfer goes on with it.
pub(crate) fn is_left_over(name: &str) -> bool {
    let arrives = name.ends_with(INCOMING) || name.ends_with(INCOMING_NOTE);
    name.starts_with("group-") && group_of_file(name).is_none() && !arrives
}

/// openraft's handle on a [`Store`].
#[derive(Clone)]
pub(crate) struct Machine(pub(crate) Arc<Store>);

/// Entries read from openraft's stream that wait for one transaction.
#[derive(Default)]
struct Batch {
    entries: Vec<Entry>,
    /// Who waits for the outcome of which entry.
    responders: Vec<(usize, openraft::storage::ApplyResponder<TypeConfig>)>,
    bytes: usize,
}

impl Batch {
    fn push(&mut self, (entry, responder): EntryResponder<TypeConfig>) {
        self.bytes += entry_bytes(&entry);
        if let Some(responder) = responder {
            self.responders.push((self.entries.len(), responder));
        }
        self.entries.push(entry);
    }

    fn is_full(&self) -> bool {
        self.entries.len() >= store::TXN_ENTRIES_MAX || self.bytes >= store::TXN_BYTES_MAX
    }
}

fn entry_bytes(entry: &Entry) -> usize {
    match &entry.payload {
        EntryPayload::Normal(command) => command.0.len(),
        EntryPayload::Blank | EntryPayload::Membership(_) => 64,
    }
}

impl RaftStateMachine<TypeConfig> for Machine {
    type SnapshotData = SnapshotData;
    type SnapshotBuilder = Self;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), io::Error> {
        Ok(self.0.applied_state().await?)
    }

    /// One transaction for all that is ready. Entries that nobody waits for (on followers) may
    /// wait a moment for more: see [`Store::put_off`].
    async fn apply<Strm>(&mut self, mut entries: Strm) -> Result<(), io::Error>
    where
        Strm: Stream<Item = Result<EntryResponder<TypeConfig>, io::Error>> + Unpin + OptionalSend,
    {
        let mut writer = self.0.lock().await;
        let mut batch = Batch::default();
        (batch.entries, batch.bytes) = writer.take_pending();
        while let Some(item) = entries.next().await {
            batch.push(item?);
            if batch.is_full() {
                writer = self.commit(writer, std::mem::take(&mut batch)).await?;
            }
        }
        if batch.responders.is_empty()
            && self.0.put_off(&mut writer, &mut batch.entries, batch.bytes)
        {
            return Ok(());
        }
        self.commit(writer, batch).await?;
        Ok(())
    }

    async fn try_create_snapshot_builder(&mut self, _force: bool) -> Option<Self> {
        Some(self.clone())
    }

    async fn get_snapshot_builder(&mut self) -> Self {
        self.clone()
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        snapshot: SnapshotData,
    ) -> Result<(), io::Error> {
        let loaded = snapshot.loaded(self.0.place(), meta).await?;
        Ok(self.0.install(meta, loaded).await?)
    }

    async fn get_current_snapshot(
        &mut self,
    ) -> Result<Option<openraft::alias::SnapshotOf<TypeConfig, SnapshotData>>, io::Error> {
        Ok(self.0.snapshot().await?)
    }
}

impl Machine {
    async fn commit(
        &self,
        writer: store::WriterGuard,
        batch: Batch,
    ) -> Result<store::WriterGuard, MachineError> {
        if batch.entries.is_empty() {
            return Ok(writer);
        }
        let (writer, outcomes) = self.0.commit(writer, batch.entries).await?;
        for (at, responder) in batch.responders {
            responder.send(outcomes[at].clone());
        }
        Ok(writer)
    }
}

impl RaftSnapshotBuilder<TypeConfig> for Machine {
    type SnapshotData = SnapshotData;

    /// Makes a checkpoint (see the module's documentation).
    async fn build_snapshot(
        &mut self,
    ) -> Result<openraft::alias::SnapshotOf<TypeConfig, SnapshotData>, io::Error> {
        let meta = self.0.checkpoint().await?;
        Ok(Snapshot {
            meta,
            snapshot: SnapshotData::checkpoint(),
        })
    }
}

#[cfg(test)]
mod tests;
