//! The replica of every group that a node hosts.
//!
//! ```text
//! answers    errors of proposals, reads and queries; status
//! group      one group: its openraft instance, its state, its tasks
//! members    initializing, learners, voters, leadership
//! receive    requests of other replicas
//! incoming   a snapshot that arrives in pieces, also over a restart
//! copy       a group's state in pieces, for a backup
//! ```

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};
use marram_store::Vfs;
use marram_store::wal::Wal;
use marram_trace::{Instrument, begin, fail};
use marram_types::caps::COMMAND_BYTES_MAX;
use marram_types::{GroupId, ReplicaId};
use parking_lot::RwLock;
use tokio::runtime::{Handle, Runtime};
use tokio::sync::watch;

use crate::codec::KIND_COMMAND;
use crate::config::RaftTimers;
use crate::figures::{GroupFigures, PageFigures, Proposals};
use crate::logic::GroupLogic;
use crate::machine::{self, MachineError, ReadView};
use crate::room::Room;
use crate::traced;
use crate::transport::Transport;
use crate::trouble::{self, Trouble};

mod answers;
mod copy;
mod group;
mod incoming;
mod members;
mod receive;

pub use answers::{GroupStatus, ProposeError, QueryError, ReadError, Role};
pub use copy::{CopyError, CopyPiece};
pub use members::{ChangeError, InitializeError};
pub use receive::HandleError;

use group::Group;

/// Threads of a runtime that the host makes for itself.
const RUNTIME_THREADS: usize = 2;
/// How often the host looks for a group whose checkpoint is due. It makes one at a time, so they
/// are staggered.
const CHECKPOINT_TICK: Duration = Duration::from_millis(250);

/// When a group's state is made durable (rules.md 10).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckpointPolicy {
    /// Longest time between a change and its checkpoint.
    pub every: Duration,
    /// Bytes of log after which one is made at once.
    pub bytes: u64,
    /// Entries kept in the log behind the checkpoint, so that a replica that was away for a moment
    /// catches up from the log and needs no snapshot.
    pub log_kept: u64,
}

impl Default for CheckpointPolicy {
    /// 5 seconds or 32 MiB, and 8,192 entries.
    fn default() -> Self {
        Self {
            every: Duration::from_secs(5),
            bytes: 32 << 20,
            log_kept: 8192,
        }
    }
}

/// What a host is made of.
pub struct HostConfig {
    /// Folder of the state machines' files; made if need be.
    pub dir: PathBuf,
    /// The files.
    pub vfs: Arc<dyn Vfs>,
    /// The node's Raft log. It must be this replica's: a log that was lost means a new replica id.
    pub wal: Wal,
    /// The replica that this node is, in all of its groups (rules.md 2).
    pub replica: ReplicaId,
    /// The way to the other replicas.
    pub transport: Arc<dyn Transport>,
    /// What the state machines do.
    pub logic: Arc<dyn GroupLogic>,
    /// Milliseconds since 1970, for the time that leaders stamp.
    pub clock: Arc<dyn Fn() -> u64 + Send + Sync>,
    /// Raft's timers.
    pub timers: RaftTimers,
    /// When state is made durable.
    pub checkpoint: CheckpointPolicy,
    /// Who hears of proposals that ended.
    pub proposals: Arc<dyn Proposals>,
    /// How much space the metadata drive has left. Asked for every entry: it must be quick.
    pub room: Arc<dyn Fn() -> Room + Send + Sync>,
    /// Memory for redb's caches, all groups together.
    pub cache_bytes: usize,
    /// Groups that share it.
    pub groups_expected: u16,
    /// Where Raft runs. Without one the host makes a runtime of two threads: Raft's timers must
    /// not wait behind bulk work (rules.md 8).
    pub runtime: Option<Handle>,
}

/// Why a group could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A folder or the runtime could not be made.
    #[error("cannot open the Raft host: {0}")]
    Io(#[from] std::io::Error),
    /// The state machine's file cannot be used.
    #[error("group {group}: {source}")]
    Machine {
        /// The group.
        group: GroupId,
        /// Why.
        source: MachineError,
    },
    /// The timers do not fit together.
    #[error("the Raft timers are not valid: {0}")]
    Timers(#[from] openraft::ConfigError),
    /// Log and state machine do not fit together, or one cannot be read. Where they are damaged the node
    /// must not vote with them: it needs a fresh replica id (rules.md 2).
    #[error("group {group}: Raft cannot start: {reason}")]
    Raft {
        /// The group.
        group: GroupId,
        /// What openraft says.
        reason: String,
        /// What stands behind it.
        trouble: Trouble,
    },
}

impl OpenError {
    /// What stands behind it.
    #[must_use]
    pub fn trouble(&self) -> Trouble {
        match self {
            Self::Io(error) => trouble::behind(error),
            Self::Machine { source, .. } => source.trouble(),
            Self::Timers(_) => Trouble::Other,
            Self::Raft { trouble, .. } => *trouble,
        }
    }
}

/// All replicas of one node.
pub struct RaftHost {
    config: HostConfig,
    groups: RwLock<BTreeMap<GroupId, Arc<Group>>>,
    /// One group is opened at a time.
    opening: tokio::sync::Mutex<()>,
    handle: Handle,
    runtime: Option<Runtime>,
    maintainer: parking_lot::Mutex<Option<tokio::task::AbortHandle>>,
}

impl std::fmt::Debug for RaftHost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RaftHost")
            .field("replica", &self.config.replica)
            .field("groups", &self.groups())
            .finish_non_exhaustive()
    }
}

impl RaftHost {
    /// Opens every group that has a file in the folder, and starts their timers.
    ///
    /// # Errors
    /// When a group cannot be opened; see [`OpenError`].
    pub async fn open(config: HostConfig) -> Result<Arc<Self>, OpenError> {
        let runtime = match &config.runtime {
            Some(_) => None,
            None => Some(own_runtime()?),
        };
        let handle = match (&runtime, &config.runtime) {
            (Some(runtime), _) => runtime.handle().clone(),
            (None, Some(given)) => given.clone(),
            (None, None) => Handle::current(),
        };
        config.vfs.create_dir(&config.dir)?;
        let mut found = Vec::new();
        for name in config.vfs.list(&config.dir)? {
            if machine::is_left_over(&name) {
                config.vfs.remove(&config.dir.join(&name))?;
            }
            found.extend(machine::group_of_file(&name));
        }
        let host = Arc::new(Self {
            config,
            groups: RwLock::default(),
            opening: tokio::sync::Mutex::new(()),
            handle,
            runtime,
            maintainer: parking_lot::Mutex::new(None),
        });
        for group in found {
            host.create_group(group).await?;
        }
        let maintain = host.handle.spawn(maintain(Arc::downgrade(&host)));
        *host.maintainer.lock() = Some(maintain.abort_handle());
        Ok(host)
    }

    /// The replica that this node is.
    #[must_use]
    pub fn replica(&self) -> ReplicaId {
        self.config.replica
    }

    /// Where Raft runs; the Raft class of connections belongs there, too.
    #[must_use]
    pub fn runtime(&self) -> &Handle {
        &self.handle
    }

    /// The groups of this node, in order.
    #[must_use]
    pub fn groups(&self) -> Vec<GroupId> {
        self.groups.read().keys().copied().collect()
    }

    /// Makes this node a replica of a group, without a vote until its members say so. Nothing
    /// happens when it is one.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub async fn create_group(&self, group: GroupId) -> Result<(), OpenError> {
        let _one_at_a_time = self.opening.lock().await;
        if self.group(group).is_some() {
            return Ok(());
        }
        let opened = Group::open(&self.config, &self.handle, group).await?;
        self.groups.write().insert(group, Arc::new(opened));
        Ok(())
    }

    /// Stops this node's replica of a group that it has left, or goes on without it for a while.
    /// Nothing is forgotten: state and vote stay on the drive, because a replica that comes back
    /// under its id without them would split the group (rules.md 2). Only entries of the log that
    /// the state holds durably are given up. [`Self::create_group`] starts it again.
    pub async fn close_group(&self, group: GroupId) {
        let _one_at_a_time = self.opening.lock().await;
        let Some(closing) = self.groups.write().remove(&group) else {
            return;
        };
        closing.shut_down().await;
        closing.inbox.lock().await.forget(closing.store.place());
        // Entries that stay would keep parts of the log which all groups of the node share.
        if let Some(durable) = closing.durable().await
            && let Err(error) = self.config.wal.purge(group, durable)
        {
            tracing::warn!(%group, %error, "the log of a group that was left is kept");
        }
    }

    fn group(&self, group: GroupId) -> Option<Arc<Group>> {
        self.groups.read().get(&group).cloned()
    }

    /// Proposes a command, which this replica stamps with its time, and returns the encoded
    /// outcome once the command is applied here. Only the leader takes it. Proposals that wait
    /// together are appended, replicated and applied together.
    ///
    /// # Errors
    /// `Unknown` means that the command may yet be carried out: try again with the same request
    /// id. Every other error means that it was not and will not be.
    pub async fn propose(
        &self,
        group: GroupId,
        command: &[u8],
        timeout: Duration,
    ) -> Result<Bytes, ProposeError> {
        let bytes = command.len();
        if bytes > COMMAND_BYTES_MAX {
            return Err(ProposeError::TooLarge { bytes });
        }
        let replica = self.group(group).ok_or(ProposeError::NoReplica { group })?;
        let mut stored = BytesMut::with_capacity(1 + bytes);
        stored.put_u8(KIND_COMMAND);
        stored.put_slice(command);
        let now = (self.config.clock)();
        let stamped = self.config.logic.stamp(group, &mut stored[1..], now);
        stamped.map_err(|_| ProposeError::NotACommand)?;
        if (self.config.room)() < Room::Ample
            && self.config.logic.grows(group, command)
            && replica.leads()
        {
            return Err(ProposeError::NoRoom { group });
        }
        let began = Instant::now();
        let span = begin(|| traced::proposal(group));
        let proposed = replica.propose(stored.freeze(), timeout);
        let outcome = proposed.instrument(span.clone()).await;
        if let Err(error) = &outcome {
            fail(&span, error.to_string());
        }
        let result = outcome.as_ref().map(drop);
        self.config.proposals.ended(group, began.elapsed(), result);
        outcome
    }

    /// What was counted of the replica of a group.
    #[must_use]
    pub fn figures(&self, group: GroupId) -> Option<GroupFigures> {
        Some(self.group(group)?.counted.figures())
    }

    /// How well the groups' tables are cached.
    #[must_use]
    pub fn pages(&self) -> PageFigures {
        let groups: Vec<Arc<Group>> = self.groups.read().values().cloned().collect();
        let mut all = PageFigures::default();
        for group in groups {
            let one = group.store.pages();
            all.hits += one.hits;
            all.misses += one.misses;
            all.bytes += one.bytes;
        }
        all
    }

    /// A view of a group's state. A linearizable one shows every change that ended before this
    /// call, and only the leader gives it: one confirmation of its leadership serves all reads
    /// that wait for one, and a read waits for one that starts after it arrived. The other kind
    /// is whatever has been applied here.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn read(&self, group: GroupId, linearizable: bool) -> Result<ReadView, ReadError> {
        let group = self.group(group).ok_or(ReadError::NoReplica { group })?;
        group.read(linearizable).await
    }

    /// Answers an encoded query from [`Self::read`]'s view, with the index of that view.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub async fn query(
        &self,
        group: GroupId,
        query: &[u8],
        linearizable: bool,
    ) -> Result<(Bytes, u64), QueryError> {
        let view = self.read(group, linearizable).await?;
        let applied = view.applied();
        let answer = self.config.logic.query(group, &view, applied, query)?;
        Ok((Bytes::from(answer), applied))
    }

    /// Answers an encoded query from what is applied here, once that is `at_least`, or else when `wait`
    /// is over.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub async fn query_at(
        &self,
        group: GroupId,
        query: &[u8],
        at_least: u64,
        wait: Duration,
    ) -> Result<(Bytes, u64), QueryError> {
        if let Some(mut applied) = self.applied_watch(group) {
            let reached = applied.wait_for(|applied| *applied >= at_least);
            // What it has by then is the answer: whoever asks sees the index of its view.
            let _ = tokio::time::timeout(wait, reached).await;
        }
        self.query(group, query, false).await
    }

    /// Follows the applied index of a group; `None` when this node has no replica of it.
    #[must_use]
    pub fn applied_watch(&self, group: GroupId) -> Option<watch::Receiver<u64>> {
        self.group(group).map(|group| group.store.applied())
    }

    /// Follows the applied index of the root group.
    #[must_use]
    pub fn root_watch(&self) -> Option<watch::Receiver<u64>> {
        self.applied_watch(GroupId::ROOT)
    }

    /// How a group's replica is; `None` when this node has none.
    #[must_use]
    pub fn status(&self, group: GroupId) -> Option<GroupStatus> {
        self.group(group).map(|group| group.status())
    }

    /// The group's leader as this replica knows it.
    #[must_use]
    pub fn leader(&self, group: GroupId) -> Option<ReplicaId> {
        self.group(group)?.leader()
    }

    /// How long ago this replica led the group or took a message of its leader; `None` when it never did
    /// since it was started. The leader that [`Self::leader`] names may be one of a former life: the vote
    /// for it is kept, whether or not it can speak to this node now.
    #[must_use]
    pub fn heard_ago(&self, group: GroupId) -> Option<Duration> {
        self.group(group)?.heard_ago()
    }

    /// Waits until this replica has applied everything that it had applied before it was
    /// restarted. Until then a view that is not linearizable may show the past.
    ///
    /// # Errors
    /// `NoReplica`, or `Unconfirmed` when the time is over.
    pub async fn wait_for_recovery(
        &self,
        group: GroupId,
        timeout: Duration,
    ) -> Result<(), ReadError> {
        let group = self.group(group).ok_or(ReadError::NoReplica { group })?;
        let waited = group.raft.wait_for_recovery(Some(timeout)).await;
        waited.map(drop).map_err(|_| ReadError::Unconfirmed)
    }

    /// Makes every group durable and stops it. Further calls fail.
    pub async fn shutdown(&self) {
        if let Some(maintainer) = self.maintainer.lock().take() {
            maintainer.abort();
        }
        let groups: Vec<_> = self
            .groups
            .write()
            .split_off(&GroupId::ROOT)
            .into_values()
            .collect();
        for group in groups {
            group.shut_down().await;
        }
    }
}

impl Drop for RaftHost {
    fn drop(&mut self) {
        if let Some(maintainer) = self.maintainer.get_mut().take() {
            maintainer.abort();
        }
        if let Some(runtime) = self.runtime.take() {
            // Waiting is not allowed here: this may run on a runtime's thread.
            runtime.shutdown_background();
        }
    }
}

fn own_runtime() -> std::io::Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(RUNTIME_THREADS)
        .thread_name("marram-raft")
        .enable_all()
        .build()
}

/// Makes checkpoints that are due, one at a time.
async fn maintain(host: std::sync::Weak<RaftHost>) {
    let mut tick = tokio::time::interval(CHECKPOINT_TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let Some(host) = host.upgrade() else {
            return;
        };
        let groups: Vec<_> = host.groups.read().values().cloned().collect();
        let policy = host.config.checkpoint;
        let room = (host.config.room)();
        drop(host);
        let due = groups
            .iter()
            .filter_map(|group| Some((group.checkpoint_due(policy)?, group)));
        if let Some((_, group)) = due.max_by_key(|(waited, _)| *waited) {
            group.checkpoint().await;
        }
        for group in &groups {
            group.store.drop_old_snapshot();
            group.drop_old_copy();
            group.drop_old_incoming();
            if room < Room::Ample {
                group.purge_durable().await;
            } else {
                group.purge_old().await;
            }
        }
    }
}

#[cfg(test)]
mod tests;
