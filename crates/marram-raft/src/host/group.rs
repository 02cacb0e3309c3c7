//! One group on this node.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use marram_store::wal::LogPos;
use marram_types::caps::PROPOSALS_WAITING_MAX;
use marram_types::{GroupId, ReplicaId};
use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::{ClientWriteError, Fatal, ForwardToLeader};
use openraft::impls::ProgressResponder;
use openraft::{Instant as _, RaftMetrics, ServerState};
use tokio::runtime::Handle;
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::task::AbortHandle;

use super::answers::{GroupStatus, ProposeError, ReadError, Role};
use super::copy::Copying;
use super::incoming::Inbox;
use super::{CheckpointPolicy, HostConfig, OpenError};
use crate::config::raft_config;
use crate::figures::{Counted, add};
use crate::log::{LogStore, to_pos};
use crate::machine::{Machine, Place, ReadView, Store};
use crate::network::Network;
use crate::reads::{self, Confirmed};
use crate::traced::Traced;
use crate::trouble::{self, Trouble};
use crate::types::{Command, Raft, TypeConfig};

/// Entries purged at once, unless fewer are kept.
const PURGE_ENTRIES: u64 = 1024;
/// While a snapshot is being sent the log keeps up to so many times its entries, so that the receiver
/// finds what follows the snapshot, however long it took. A metadata drive with little room keeps none.
const KEPT_TIMES_MAX: u64 = 64;
/// Linearizable reads that wait for one group at most.
const READS_WAITING_MAX: usize = 16_384;

/// A group's replica on this node.
pub(super) struct Group {
    pub(super) raft: Raft,
    pub(super) store: Arc<Store>,
    /// A snapshot that is being received.
    pub(super) inbox: Mutex<Inbox>,
    /// A copy of the state that is read in pieces.
    pub(super) copy: Mutex<Option<Copying>>,
    /// One membership change at a time: openraft has panicked on rapid ones.
    pub(super) changes: Mutex<()>,
    /// The recorded proposals on their way.
    pub(super) traced: Arc<Traced>,
    pub(super) counted: Arc<Counted>,
    /// When a leader was last followed in this life of the process.
    heard: parking_lot::Mutex<Option<Instant>>,
    reads: mpsc::Sender<oneshot::Sender<Confirmed>>,
    proposals: AtomicUsize,
    checkpointed: parking_lot::Mutex<Instant>,
    tasks: Vec<AbortHandle>,
}

/// Counts how often another replica leads than did before, until the replica stops.
async fn count_leaders(raft: Raft, counted: Arc<Counted>) {
    let mut seen = raft.server_metrics();
    let mut led_by = None;
    loop {
        let leader = seen.borrow_watched().current_leader;
        if leader.is_some() && leader != led_by {
            led_by = leader;
            add(&counted.leader_changes, 1);
        }
        if seen.changed().await.is_err() {
            return;
        }
    }
}

impl Group {
    pub(super) async fn open(
        config: &HostConfig,
        handle: &Handle,
        group: GroupId,
    ) -> Result<Self, OpenError> {
        let place = Place {
            vfs: config.vfs.clone(),
            dir: config.dir.clone(),
            group,
            replica: config.replica,
            cache_bytes: config.cache_bytes / usize::from(config.groups_expected.max(1)),
            log_kept: config.checkpoint.log_kept,
        };
        let store = Store::open(place, config.logic.clone())
            .map_err(|source| OpenError::Machine { group, source })?;
        let store = Arc::new(store);
        let settings = raft_config(group, config.timers, config.checkpoint.log_kept)?;
        let traced = Arc::<Traced>::default();
        let counted = Arc::<Counted>::default();
        let network = Network {
            transport: config.transport.clone(),
            group,
            me: config.replica,
            traced: Arc::clone(&traced),
            counted: Arc::clone(&counted),
        };
        let log = LogStore::new(config.wal.clone(), group).traced(Arc::clone(&traced));
        let machine = Machine(store.clone());
        let me = config.replica.0;
        let start = async move { Raft::new(me, settings, network, log, machine).await };
        let raft = match handle.spawn(start).await {
            Ok(Ok(raft)) => raft,
            Ok(Err(error)) => {
                let trouble = match &error {
                    Fatal::StorageError(fault) => trouble::behind(fault),
                    // It met what it holds impossible: log and state do not fit together.
                    Fatal::Panicked => Trouble::Damaged,
                    Fatal::Stopped => Trouble::Other,
                };
                return Err(cannot_start(group, &error, trouble));
            }
            Err(error) => return Err(cannot_start(group, &error, Trouble::Damaged)),
        };
        let (reads, waiting) = mpsc::channel(READS_WAITING_MAX);
        let confirm = handle.spawn(reads::run(raft.clone(), store.clone(), waiting));
        let lazily = store.clone();
        let apply = handle.spawn(async move { lazily.apply_put_off().await });
        let leaders = handle.spawn(count_leaders(raft.clone(), Arc::clone(&counted)));
        Ok(Self {
            raft,
            store,
            inbox: Mutex::new(Inbox::new()),
            copy: Mutex::new(None),
            changes: Mutex::new(()),
            traced,
            counted,
            heard: parking_lot::Mutex::new(None),
            reads,
            proposals: AtomicUsize::new(0),
            checkpointed: parking_lot::Mutex::new(Instant::now()),
            tasks: vec![
                confirm.abort_handle(),
                apply.abort_handle(),
                leaders.abort_handle(),
            ],
        })
    }

    /// Proposes a stored command. openraft takes all that wait in its channel as one batch, so
    /// nothing gathers here.
    pub(super) async fn propose(
        &self,
        stored: Bytes,
        timeout: Duration,
    ) -> Result<Bytes, ProposeError> {
        let _waiting = Waiting::enter(&self.proposals).ok_or(ProposeError::Overloaded)?;
        let _following = self.traced.follow([stored.clone()]);
        let (responder, outcome) = ProgressResponder::complete_only();
        let sent = self
            .raft
            .client_write_ff(Command(stored), Some(responder))
            .await;
        sent.map_err(|_| ProposeError::Stopped)?;
        match tokio::time::timeout(timeout, outcome).await {
            Ok(Ok(Ok(response))) => Ok(response.data),
            Ok(Ok(Err(ClientWriteError::ForwardToLeader(forward)))) => {
                Err(ProposeError::NotLeader {
                    leader: self.leader_of(&forward),
                })
            }
            // The entry was discarded here but may have been committed elsewhere, the replica
            // stopped, or the time is over.
            Ok(Ok(Err(_)) | Err(_)) | Err(_) => Err(ProposeError::Unknown),
        }
    }

    /// The leader to go to. A leader whose lease is over sends nobody anywhere.
    pub(super) fn leader_of(&self, forward: &ForwardToLeader<TypeConfig>) -> Option<ReplicaId> {
        let me = ReplicaId(*self.raft.node_id());
        forward
            .leader_id
            .map(ReplicaId)
            .filter(|leader| *leader != me)
    }

    pub(super) async fn read(&self, linearizable: bool) -> Result<ReadView, ReadError> {
        if linearizable {
            let (confirmed, answer) = oneshot::channel();
            self.reads
                .try_send(confirmed)
                .map_err(|error| match error {
                    mpsc::error::TrySendError::Full(_) => ReadError::Overloaded,
                    mpsc::error::TrySendError::Closed(_) => stopped(),
                })?;
            answer.await.map_err(|_| stopped())??;
        }
        self.store
            .view()
            .map_err(|error| ReadError::Stopped(error.to_string()))
    }

    fn metrics(&self) -> RaftMetrics<TypeConfig> {
        self.raft.metrics().borrow_watched().clone()
    }

    pub(super) fn leader(&self) -> Option<ReplicaId> {
        let leader = self.raft.server_metrics().borrow_watched().current_leader;
        leader.map(ReplicaId)
    }

    /// A leader's message was taken.
    pub(super) fn hear(&self) {
        *self.heard.lock() = Some(Instant::now());
    }

    pub(super) fn heard_ago(&self) -> Option<Duration> {
        if self.leads() {
            return Some(Duration::ZERO);
        }
        self.heard.lock().map(|at| at.elapsed())
    }

    pub(super) fn leads(&self) -> bool {
        self.raft.server_metrics().borrow_watched().state == ServerState::Leader
    }

    pub(super) fn status(&self) -> GroupStatus {
        let metrics = self.metrics();
        let members = &metrics.membership_config;
        let membership = members.membership();
        let joint = membership.get_joint_config();
        let target = joint.last().into_iter().flatten();
        let failed = metrics
            .running_state
            .as_ref()
            .err()
            .map(ToString::to_string);
        let role = match metrics.state {
            _ if failed.is_some() => Role::Stopped,
            ServerState::Learner => Role::Learner,
            ServerState::Follower => Role::Follower,
            ServerState::Candidate => Role::Candidate,
            ServerState::Leader => Role::Leader,
            ServerState::Shutdown => Role::Stopped,
        };
        let matched = metrics.replication.iter().flatten();
        let matched = matched
            .map(|(replica, at)| (ReplicaId(*replica), at.as_ref().map_or(0, |at| at.index)));
        GroupStatus {
            role,
            term: metrics.current_term,
            leader: metrics.current_leader.map(ReplicaId),
            last: metrics.last_log_index.unwrap_or(0),
            committed: metrics.local_committed.as_ref().map_or(0, |at| at.index),
            applied: *self.store.applied().borrow(),
            checkpoint: metrics.snapshot.as_ref().map_or(0, |at| at.index),
            voters: membership.voter_ids().map(ReplicaId).collect(),
            learners: membership.learner_ids().map(ReplicaId).collect(),
            changing: joint.len() > 1,
            target: target.copied().map(ReplicaId).collect(),
            members_at: (
                members.log_id().as_ref().map_or(0, |at| at.index),
                metrics.committed_membership_config.log_id() == members.log_id(),
            ),
            matched: matched.collect(),
            quorum_ms: metrics
                .last_quorum_acked
                .map(|sent| u64::try_from(sent.elapsed().as_millis()).unwrap_or(u64::MAX)),
            failed,
        }
    }

    /// How long a checkpoint has been due, if it is.
    pub(super) fn checkpoint_due(&self, policy: CheckpointPolicy) -> Option<Duration> {
        let bytes = self.store.dirty_bytes()?;
        let since = self.checkpointed.lock().elapsed();
        let due = bytes >= policy.bytes || since >= policy.every;
        due.then_some(since)
    }

    /// Asks for a checkpoint: openraft has it built beside everything else.
    pub(super) async fn checkpoint(&self) {
        *self.checkpointed.lock() = Instant::now();
        if let Err(error) = self.raft.trigger().snapshot().await {
            let group = self.store.group();
            tracing::debug!(%group, %error, "no checkpoint: the replica has stopped");
        }
    }

    /// Lets go of entries that neither a restart needs, nor a replica that was away for a moment, nor
    /// one that is being sent a snapshot.
    pub(super) async fn purge_old(&self) {
        let kept = self.store.place().log_kept;
        let durable = self.store.durable_index();
        let purged = self.raft.metrics().borrow_watched().purged;
        let purged = purged.map_or(0, |at| at.index);
        let due = |upto: u64| upto >= purged + PURGE_ENTRIES.min(kept.max(1));
        let upto = durable.saturating_sub(kept);
        if !due(upto) {
            return;
        }
        let at_least = durable.saturating_sub(kept.saturating_mul(KEPT_TIMES_MAX));
        let upto = self.store.let_go(upto, at_least).await;
        if due(upto) {
            self.purge(upto).await;
        }
    }

    /// Lets go of every entry that the state holds durably: a replica that needs one is sent a
    /// snapshot.
    pub(super) async fn purge_durable(&self) {
        let durable = self.store.durable_index();
        let purged = self.raft.metrics().borrow_watched().purged;
        if durable > purged.map_or(0, |at| at.index) {
            self.purge(self.store.let_go(durable, durable).await).await;
        }
    }

    async fn purge(&self, upto: u64) {
        if let Err(error) = self.raft.trigger().purge_log(upto).await {
            let group = self.store.group();
            tracing::debug!(%group, %error, "nothing is purged: the replica has stopped");
        }
    }

    /// Lets a snapshot go that has partly arrived and that nobody goes on with.
    pub(super) fn drop_old_incoming(&self) {
        if let Ok(mut inbox) = self.inbox.try_lock() {
            inbox.drop_old(self.store.place());
        }
    }

    /// The last entry that is durable in the state: a log may begin after it.
    pub(super) async fn durable(&self) -> Option<LogPos> {
        self.store.durable().await.as_ref().map(to_pos)
    }

    pub(super) async fn shut_down(&self) {
        let group = self.store.group();
        if let Err(error) = self.raft.shutdown().await {
            tracing::warn!(%group, %error, "the replica did not stop in order");
        }
        for task in &self.tasks {
            task.abort();
        }
        if let Err(error) = self.store.close().await {
            tracing::warn!(%group, %error, "no checkpoint at the end");
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

fn cannot_start(group: GroupId, error: &dyn std::error::Error, trouble: Trouble) -> OpenError {
    OpenError::Raft {
        group,
        reason: error.to_string(),
        trouble,
    }
}

fn stopped() -> ReadError {
    ReadError::Stopped("its tasks have ended".to_owned())
}

/// A place among those that wait.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn enter(count: &'a AtomicUsize) -> Option<Self> {
        let before = count.fetch_add(1, Ordering::AcqRel);
        let entered = Self(count);
        (before < PROPOSALS_WAITING_MAX).then_some(entered)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}
