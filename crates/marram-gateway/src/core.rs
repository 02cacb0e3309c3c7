//! What every operation shares: the seams to groups and drives, the view of the cluster, the clock.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use marram_meta::{
    BucketRecord, BucketState, ClusterView, Envelope, ObjectAnswer, ObjectCommand, ObjectOutcome,
    ObjectQuery, Refusal, RootCommand, RootOutcome,
};
use marram_metrics::{Calls, Verdict, Watchers};
use marram_types::{BucketName, ClusterHealth, GroupId, NodeId, ObjectKey, RequestId};
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::begin::BeginCache;
use crate::drives::{Conditions, Drives, Place, Suspicion};
use crate::get::{LongReads, Reports};
use crate::group_time::GroupTime;
use crate::groups::{COMMAND_TIME, GroupError, Groups, QUERY_TIME, READ_BACK_TIME};
use crate::layout::Standing;
use crate::nodes::Nodes;
use crate::pace;
use crate::places::Places;
use crate::process::OwnProcess;
use crate::secret::Kek;
use crate::status::{Fault, Reason};
use crate::watch::Watch;

/// How long an operation waits for a bucket that is being made, or unsealed (rules.md 12).
const BUCKET_WAIT: Duration = Duration::from_secs(2);
/// Object bytes of all uploads of this process that may be in memory, in units of 64 KiB: beyond
/// it uploads wait for one another instead of for the machine's memory.
pub(crate) const UPLOAD_UNITS_MAX: usize = 4096;
/// The same for downloads.
pub(crate) const DOWNLOAD_UNITS_MAX: usize = 4096;
/// The unit of both.
pub(crate) const MEMORY_UNIT_BYTES: usize = 64 * 1024;

/// Transfers that need more than their row, of this process at once. Each may hold a window without
/// asking for memory; beyond this many, more are refused, retryably.
pub(crate) const TRANSFERS_MAX: usize = 1024;

/// Mutations that look for parts of a quota at once: each asks every group.
const ROOM_MAKERS_MAX: usize = 16;

/// Operators and programs that watch the status through this process at once.
pub(crate) const WATCHERS_MAX: usize = 32;

/// Memory that uploads and downloads share among them, in units of [`MEMORY_UNIT_BYTES`].
pub(crate) struct Memory {
    /// One for each transfer.
    transfers: Arc<Semaphore>,
    pub(crate) uploads: Arc<Semaphore>,
    pub(crate) downloads: Arc<Semaphore>,
}

impl Default for Memory {
    fn default() -> Self {
        Self {
            transfers: Arc::new(Semaphore::new(TRANSFERS_MAX)),
            uploads: Arc::new(Semaphore::new(UPLOAD_UNITS_MAX)),
            downloads: Arc::new(Semaphore::new(DOWNLOAD_UNITS_MAX)),
        }
    }
}

/// Too many transfers run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this server has {TRANSFERS_MAX} transfers already; try again or ask another one")]
pub(crate) struct Busy;

impl Memory {
    /// A place for one transfer.
    pub(crate) fn transfer(&self) -> Result<OwnedSemaphorePermit, Busy> {
        self.transfers.clone().try_acquire_owned().map_err(|_| Busy)
    }

    /// Places that no transfer has.
    #[cfg(test)]
    pub(crate) fn places_left(&self) -> usize {
        self.transfers.available_permits()
    }
}

/// What every operation shares.
pub(crate) struct Core {
    pub(crate) groups: Arc<dyn Groups>,
    pub(crate) drives: Arc<dyn Drives>,
    pub(crate) nodes: Arc<dyn Nodes>,
    pub(crate) view: watch::Receiver<Arc<ClusterView>>,
    pub(crate) health: watch::Receiver<Arc<ClusterHealth>>,
    pub(crate) watchers: Arc<Semaphore>,
    pub(crate) room_makers: Semaphore,
    pub(crate) kek: Arc<Kek>,
    pub(crate) name: String,
    pub(crate) process: Arc<dyn OwnProcess>,
    pub(crate) calls: Arc<Calls>,
    pub(crate) ready: watch::Receiver<Arc<Verdict>>,
    pub(crate) now_ms: fn() -> u64,
    pub(crate) tasks: TaskTracker,
    /// This server was told to stop: what would not end by itself ends.
    pub(crate) stopping: CancellationToken,
    pub(crate) memory: Memory,
    pub(crate) begins: BeginCache,
    pub(crate) group_time: GroupTime,
    pub(crate) conditions: Conditions,
    /// Shards that reads found damaged or gone.
    pub(crate) reports: Reports,
    /// Reads that are under way.
    pub(crate) long_reads: LongReads,
    /// Those who watch objects.
    pub(crate) watch: Watch,
    places: Mutex<Arc<Places>>,
    standing: Mutex<Option<Arc<Standing>>>,
}

/// A bucket could not be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BucketError {
    #[error("there is no bucket {0}")]
    NotFound(BucketName),
    #[error("bucket {0} is being made or removed; try again")]
    Busy(BucketName),
    #[error(transparent)]
    Group(#[from] GroupError),
    #[error("the cluster is not ready yet")]
    NotReady,
}

impl Fault for BucketError {
    fn reason(&self) -> Reason {
        match self {
            Self::NotFound(_) => Reason::BucketNotFound,
            Self::Busy(_) => Reason::BucketBusy,
            Self::Group(error) => error.reason(),
            Self::NotReady => Reason::MetadataUnavailable,
        }
    }

    fn details(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::NotFound(name) | Self::Busy(name) => vec![("bucket", name.to_string())],
            Self::Group(error) => error.details(),
            Self::NotReady => Vec::new(),
        }
    }
}

/// A command that the cluster does not take yet (rules.md 9).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the cluster uses version {version} of its commands, and this needs {needed}: when every server runs this \
     release, raise it with `marram admin finalize-version`"
)]
pub(crate) struct GateClosed {
    version: u8,
    needed: u8,
}

impl Fault for GateClosed {
    fn reason(&self) -> Reason {
        Reason::VersionGateClosed
    }

    fn details(&self) -> Vec<(&'static str, String)> {
        vec![
            ("version", self.version.to_string()),
            ("needed", self.needed.to_string()),
        ]
    }
}

/// The seams of a [`Core`].
pub(crate) struct Seams {
    pub(crate) groups: Arc<dyn Groups>,
    pub(crate) drives: Arc<dyn Drives>,
    pub(crate) nodes: Arc<dyn Nodes>,
    pub(crate) view: watch::Receiver<Arc<ClusterView>>,
    pub(crate) health: watch::Receiver<Arc<ClusterHealth>>,
    pub(crate) kek: Arc<Kek>,
    pub(crate) name: String,
    pub(crate) process: Arc<dyn OwnProcess>,
    pub(crate) calls: Arc<Calls>,
    pub(crate) watchers: Arc<Watchers>,
    pub(crate) ready: watch::Receiver<Arc<Verdict>>,
    pub(crate) now_ms: fn() -> u64,
}

impl Core {
    pub(crate) fn new(seams: Seams) -> Self {
        let places = Mutex::new(Arc::new(Places::of(&seams.view.borrow())));
        Self {
            groups: seams.groups,
            drives: seams.drives,
            nodes: seams.nodes,
            health: seams.health,
            watchers: Arc::new(Semaphore::new(WATCHERS_MAX)),
            room_makers: Semaphore::new(ROOM_MAKERS_MAX),
            view: seams.view,
            kek: seams.kek,
            name: seams.name,
            process: seams.process,
            calls: seams.calls,
            ready: seams.ready,
            now_ms: seams.now_ms,
            tasks: TaskTracker::new(),
            stopping: CancellationToken::new(),
            memory: Memory::default(),
            begins: BeginCache::default(),
            group_time: GroupTime::default(),
            conditions: Conditions::default(),
            reports: Reports::default(),
            long_reads: LongReads::default(),
            watch: Watch::new(seams.watchers),
            places,
            standing: Mutex::default(),
        }
    }

    /// How the nodes are, by the word of several.
    pub(crate) fn health(&self) -> Arc<ClusterHealth> {
        self.health.borrow().clone()
    }

    /// Whether a drive failed a moment ago. One whose node did not answer is free of it as soon as
    /// anything comes from the node: it is back.
    pub(crate) fn is_suspect(&self, place: Place) -> bool {
        match self.conditions.suspicion(place.drive) {
            None => false,
            Some(Suspicion { away: false, .. }) => true,
            Some(suspicion) => !self.drives.answered_since(place.node, suspicion.since),
        }
    }

    /// Whether others should be asked before this node, where there are others: it is slow, comes and
    /// goes, is about to stop, or was excused by an operator.
    pub(crate) fn prefers_others(&self, node: NodeId) -> bool {
        let excused = || {
            let view = self.view.borrow();
            let record = view.nodes.get(&node);
            record.is_some_and(|n| n.absence.maintenance_until_ms.is_some())
        };
        self.health.borrow().prefers_others(node) || self.nodes.is_leaving(node) || excused()
    }

    /// The cluster as this server knows it now.
    pub(crate) fn view(&self) -> Arc<ClusterView> {
        self.view.borrow().clone()
    }

    /// Where drives and placement groups are, as this server knows it now.
    pub(crate) fn places(&self) -> Arc<Places> {
        let view = self.view();
        let mut places = self.places.lock();
        if places.index() != view.index {
            *places = Arc::new(Places::of(&view));
        }
        places.clone()
    }

    /// How far the layout is from where the duties want it, planned once for each view.
    pub(crate) fn standing(&self) -> Arc<Standing> {
        let view = self.view();
        let mut standing = self.standing.lock();
        match standing.as_ref().filter(|known| known.index == view.index) {
            Some(known) => known.clone(),
            None => standing.insert(Arc::new(Standing::of(&view))).clone(),
        }
    }

    /// Until the view changes, or a moment has passed.
    pub(crate) async fn wait_for_view(&self) {
        let mut view = self.view.clone();
        view.mark_unchanged();
        tokio::select! {
            changed = view.changed() => {
                if changed.is_err() {
                    // The server is on its way down; nothing will change any more.
                    pace::bucket_poll().await;
                }
            }
            () = pace::bucket_poll() => {}
        }
    }

    /// The cluster as the root group's leader knows it, or as this server does if that is newer:
    /// it contains every root decision that was answered before the call.
    pub(crate) async fn fresh_view(&self) -> Result<Arc<ClusterView>, GroupError> {
        let query = self
            .groups
            .query(GroupId::ROOT, Bytes::new(), true, QUERY_TIME);
        let answer = query.await?;
        let fetched = ClusterView::decode(&answer.bytes)?;
        let known = self.view();
        if known.index >= fetched.index {
            Ok(known)
        } else {
            Ok(Arc::new(fetched))
        }
    }

    /// The record of a bucket that can be used. A bucket that this server does not know is asked
    /// for at the root group, because another server may have made it a moment ago.
    pub(crate) async fn bucket(&self, name: &BucketName) -> Result<BucketRecord, BucketError> {
        let known = self.view().buckets.get(name).cloned();
        if let Some(record) = known.filter(|record| is_usable(record.state)) {
            return Ok(record);
        }
        let deadline = Instant::now() + BUCKET_WAIT;
        loop {
            match self.fresh_view().await?.buckets.get(name) {
                None => return Err(BucketError::NotFound(name.clone())),
                // The record is kept until every group was told.
                Some(record) if record.state == BucketState::Deleted => {
                    return Err(BucketError::NotFound(name.clone()));
                }
                Some(record) if is_usable(record.state) => return Ok(record.clone()),
                Some(_) if Instant::now() >= deadline => {
                    return Err(BucketError::Busy(name.clone()));
                }
                Some(_) => pace::bucket_poll().await,
            }
        }
    }

    /// Whether the cluster takes commands of this version: what it does not take would be refused where
    /// it is proposed, with less to say (rules.md 9).
    pub(crate) fn pass_gate(&self, needed: u8) -> Result<(), GateClosed> {
        let version = self.view().cluster.as_ref().map_or(0, |c| c.version);
        if version < needed {
            return Err(GateClosed { version, needed });
        }
        Ok(())
    }

    /// The object group of a key.
    pub(crate) fn group_of(
        &self,
        bucket: &BucketRecord,
        key: &ObjectKey,
    ) -> Result<GroupId, BucketError> {
        let groups = self.object_groups()?;
        Ok(GroupId::of_key(bucket.bucket, key.as_str(), groups))
    }

    /// How many object groups there are.
    pub(crate) fn object_groups(&self) -> Result<u16, BucketError> {
        let view = self.view();
        let cluster = view.cluster.as_ref().ok_or(BucketError::NotReady)?;
        Ok(cluster.object_groups)
    }

    /// Asks an object group.
    pub(crate) async fn ask(
        &self,
        group: GroupId,
        query: &ObjectQuery,
        linearizable: bool,
    ) -> Result<ObjectAnswer, GroupError> {
        let query = query.encode().into();
        let answer = self
            .groups
            .query(group, query, linearizable, QUERY_TIME)
            .await?;
        Ok(ObjectAnswer::decode(&answer.bytes)?)
    }

    /// Asks an object group, linearizably: the answer, and the group's applied index as of which it holds.
    pub(crate) async fn ask_when(
        &self,
        group: GroupId,
        query: &ObjectQuery,
    ) -> Result<(ObjectAnswer, u64), GroupError> {
        let query = query.encode().into();
        let asked = self.groups.query(group, query, true, QUERY_TIME);
        let answer = asked.await?;
        Ok((ObjectAnswer::decode(&answer.bytes)?, answer.applied))
    }

    /// Has an object group carry out a mutation, once, however often it has to be sent.
    pub(crate) async fn command(
        &self,
        group: GroupId,
        request: RequestId,
        command: &ObjectCommand,
    ) -> Result<ObjectOutcome, GroupError> {
        let deadline_ms = self.group_time.deadline_ms(group, (self.now_ms)());
        let sealed = Envelope::seal(Some(request), deadline_ms, command);
        let outcome = self.propose(group, Some(request), sealed.into()).await?;
        let outcome = ObjectOutcome::decode(&outcome)?;
        if matches!(outcome, ObjectOutcome::Refused(Refusal::DeadlinePassed)) {
            self.learn_time(group).await;
        }
        Ok(outcome)
    }

    /// Has a group carry out a sealed command. One whose outcome is lost is asked for again under its
    /// request id: the group answers with what came of it, or carries it out now, or says that it never
    /// will, because its deadline has passed. Only when it does not answer either is the outcome unknown.
    async fn propose(
        &self,
        group: GroupId,
        request: Option<RequestId>,
        sealed: Bytes,
    ) -> Result<Bytes, GroupError> {
        let lost = match self
            .groups
            .propose(group, sealed.clone(), COMMAND_TIME)
            .await
        {
            Err(lost @ GroupError::OutcomeUnknown { .. }) => lost,
            known => return known,
        };
        if request.is_none() {
            return Err(lost);
        }
        tracing::info!(%group, "the outcome of a command was lost and is asked for");
        let asked = self.groups.propose(group, sealed, READ_BACK_TIME).await;
        asked.map_err(|_| GroupError::OutcomeUnknown { group, request })
    }

    /// The group's time is ahead of this server's: the next deadlines are counted from there. What was
    /// refused has to be asked for again, because its data may be dropped already.
    async fn learn_time(&self, group: GroupId) {
        match self.ask(group, &ObjectQuery::Status, true).await {
            Ok(ObjectAnswer::Status(counters)) => self.group_time.saw(group, counters.time_ms),
            Ok(_) => {}
            Err(error) => tracing::info!(%group, %error, "a group does not tell its time"),
        }
    }

    /// Has an object group carry out a command of the system itself, which changes nothing when it
    /// is applied again.
    pub(crate) async fn internal_command(
        &self,
        group: GroupId,
        command: &ObjectCommand,
    ) -> Result<ObjectOutcome, GroupError> {
        let sealed = Envelope::seal_internal(command);
        let proposed = self.groups.propose(group, sealed.into(), COMMAND_TIME);
        Ok(ObjectOutcome::decode(&proposed.await?)?)
    }

    /// Has the root group carry out a mutation.
    pub(crate) async fn root_command(
        &self,
        request: RequestId,
        command: &RootCommand,
    ) -> Result<RootOutcome, GroupError> {
        self.root_sealed(Some(request), command).await
    }

    /// The same for a decision that changes nothing when it is made again.
    pub(crate) async fn root_decision(
        &self,
        command: &RootCommand,
    ) -> Result<RootOutcome, GroupError> {
        self.root_sealed(None, command).await
    }

    async fn root_sealed(
        &self,
        request: Option<RequestId>,
        command: &RootCommand,
    ) -> Result<RootOutcome, GroupError> {
        let now_ms = (self.now_ms)();
        let sealed = Envelope::seal(request, self.group_time.root_deadline_ms(now_ms), command);
        let outcome = self.propose(GroupId::ROOT, request, sealed.into()).await?;
        let outcome = RootOutcome::decode(&outcome)?;
        if matches!(outcome, RootOutcome::Refused(Refusal::DeadlinePassed)) {
            self.group_time.root_is_ahead(now_ms);
        }
        Ok(outcome)
    }
}

/// Whether gateways use a bucket in this state. A bucket under deletion is used: reads find what is
/// left, and writes are refused, retryably, by its groups.
fn is_usable(state: BucketState) -> bool {
    match state {
        BucketState::Active | BucketState::Changing | BucketState::Deleting => true,
        BucketState::Creating | BucketState::Deleted => false,
    }
}
