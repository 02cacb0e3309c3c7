//! A cluster in one process: hosts with runtimes and folders of their own, and a network that can
//! be cut.

use std::collections::{HashMap, HashSet};
use std::ops::Bound;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;
use marram_meta::{KvRead, KvWrite, Table};
use marram_store::OsVfs;
use marram_store::wal::{Wal, WalOptions};
use marram_types::{GroupId, ReplicaId};
use parking_lot::{Mutex, RwLock};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::{
    CheckpointPolicy, GroupLogic, HostConfig, LogicError, RaftHost, RaftMethod, RaftTimers, Role,
    Room, Transport, TransportError,
};

/// The group of most tests: not the root group, whose applies are never put off.
pub(crate) const GROUP: GroupId = GroupId(1);
/// Long enough for anything on a loaded machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Commands are 8 bytes of time and `key=value`; the outcome is the index and the old value.
pub(crate) struct TestLogic;

pub(crate) fn put(key: &str, value: &str) -> Vec<u8> {
    [&[0; 8], key.as_bytes(), b"=", value.as_bytes()].concat()
}

impl GroupLogic for TestLogic {
    fn stamp(&self, _: GroupId, command: &mut [u8], time_ms: u64) -> Result<(), LogicError> {
        let place = command
            .get_mut(..8)
            .ok_or_else(|| LogicError::new("too short"))?;
        place.copy_from_slice(&time_ms.to_be_bytes());
        Ok(())
    }

    /// Everything but removals, which are written `key=`.
    fn grows(&self, _: GroupId, command: &[u8]) -> bool {
        command.last() != Some(&b'=')
    }

    fn apply(
        &self,
        _: GroupId,
        state: &mut dyn KvWrite,
        index: u64,
        command: &[u8],
    ) -> Result<Vec<u8>, LogicError> {
        let at = command.iter().skip(8).position(|b| *b == b'=');
        let at = 8 + at.ok_or_else(|| LogicError::new("no value"))?;
        let (key, value) = (&command[8..at], &command[at + 1..]);
        if value == b"poison" {
            return Err(LogicError::new("a command of a newer release"));
        }
        let old = state.get(Table::Objects, key).map_err(LogicError::new)?;
        state
            .put(Table::Objects, key, value)
            .map_err(LogicError::new)?;
        let stamped = command[..8] != [0; 8];
        assert!(stamped, "a command that no leader has stamped");
        let old = String::from_utf8_lossy(&old.unwrap_or_default()).into_owned();
        Ok(format!("{index}:{old}").into_bytes())
    }

    fn query(
        &self,
        _: GroupId,
        state: &dyn KvRead,
        _applied: u64,
        query: &[u8],
    ) -> Result<Vec<u8>, LogicError> {
        let value = state.get(Table::Objects, query).map_err(LogicError::new)?;
        Ok(value.unwrap_or_default())
    }
}

/// All rows that the test's state machine keeps.
pub(crate) fn rows(state: &dyn KvRead) -> Vec<(String, String)> {
    let mut all = Vec::new();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let read = state.scan(
        Table::Objects,
        Bound::Unbounded,
        Bound::Unbounded,
        &mut |k, v| {
            all.push((text(k), text(v)));
            std::ops::ControlFlow::Continue(())
        },
    );
    read.expect("readable");
    all
}

/// The network between hosts.
#[derive(Default)]
pub(crate) struct Net {
    hosts: RwLock<HashMap<ReplicaId, Weak<RaftHost>>>,
    cut: RwLock<HashSet<ReplicaId>>,
    /// What is said to or by a replica takes so long, each way.
    slow: RwLock<HashMap<ReplicaId, Duration>>,
    sent: Mutex<HashMap<RaftMethod, u64>>,
    delivered: Mutex<HashMap<RaftMethod, u64>>,
    /// The n-th snapshot piece from now on is lost; 0 = none.
    lose_piece: AtomicU64,
    /// Pieces of snapshots that still pass before all are lost, and how many passed with bytes, and how
    /// many bytes.
    pieces: Mutex<Pieces>,
}

struct Pieces {
    left: u64,
    passed: u64,
    bytes: u64,
}

impl Default for Pieces {
    fn default() -> Self {
        Self {
            left: u64::MAX,
            passed: 0,
            bytes: 0,
        }
    }
}

impl Net {
    /// Cuts a replica off from all others, or lets it back.
    pub(crate) fn cut(&self, replica: ReplicaId, off: bool) {
        let mut cut = self.cut.write();
        if off {
            cut.insert(replica);
        } else {
            cut.remove(&replica);
        }
    }

    /// Has all that is said to or by a replica take so long, each way.
    pub(crate) fn slow_down(&self, replica: ReplicaId, each_way: Duration) {
        self.slow.write().insert(replica, each_way);
    }

    async fn travel(&self, a: ReplicaId, b: ReplicaId) {
        let takes = {
            let slow = self.slow.read();
            let of = |replica: ReplicaId| slow.get(&replica).copied().unwrap_or_default();
            of(a).max(of(b))
        };
        if !takes.is_zero() {
            tokio::time::sleep(takes).await;
        }
    }

    pub(crate) fn sent(&self, method: RaftMethod) -> u64 {
        self.sent.lock().get(&method).copied().unwrap_or(0)
    }

    /// Requests that reached a host that runs.
    pub(crate) fn delivered(&self, method: RaftMethod) -> u64 {
        self.delivered.lock().get(&method).copied().unwrap_or(0)
    }

    pub(crate) fn lose_piece(&self, nth: u64) {
        self.lose_piece.store(nth, Ordering::SeqCst);
    }

    /// Loses every piece of a snapshot after the next `count`.
    pub(crate) fn pass_pieces(&self, count: u64) {
        self.pieces.lock().left = count;
    }

    /// How many more pieces of snapshots pass.
    pub(crate) fn pieces_left(&self) -> u64 {
        self.pieces.lock().left
    }

    /// Pieces of snapshots that arrived, and their bytes.
    pub(crate) fn pieces_passed(&self) -> (u64, u64) {
        let pieces = self.pieces.lock();
        (pieces.passed, pieces.bytes)
    }

    fn passes(&self, method: RaftMethod, payload: &Bytes) -> bool {
        if method != RaftMethod::Snapshot || payload.is_empty() {
            return true;
        }
        let mut pieces = self.pieces.lock();
        if pieces.left == 0 {
            return false;
        }
        pieces.left = pieces.left.saturating_sub(1);
        pieces.passed += 1;
        pieces.bytes += payload.len() as u64;
        true
    }

    pub(crate) fn host(&self, replica: ReplicaId) -> Option<Arc<RaftHost>> {
        self.hosts.read().get(&replica)?.upgrade()
    }

    fn is_lost(&self, method: RaftMethod) -> bool {
        method == RaftMethod::Snapshot
            && self
                .lose_piece
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1))
                == Ok(1)
    }

    pub(crate) fn is_cut(&self, a: ReplicaId, b: ReplicaId) -> bool {
        let cut = self.cut.read();
        cut.contains(&a) || cut.contains(&b)
    }
}

/// One replica's end of the network.
struct End {
    net: Arc<Net>,
    me: ReplicaId,
}

#[async_trait::async_trait]
impl Transport for End {
    async fn send(
        &self,
        target: ReplicaId,
        method: RaftMethod,
        header: Bytes,
        payload: Bytes,
        timeout: Duration,
    ) -> Result<(Bytes, Bytes), TransportError> {
        let away = || TransportError::Unreachable("cut off".to_owned());
        *self.net.sent.lock().entry(method).or_default() += 1;
        if self.net.is_cut(self.me, target) || self.net.is_lost(method) {
            return Err(away());
        }
        let host = self.net.host(target).ok_or_else(away)?;
        if !self.net.passes(method, &payload) {
            return Err(away());
        }
        *self.net.delivered.lock().entry(method).or_default() += 1;
        let runtime = host.runtime().clone();
        // On the target's runtime, so that it ends with the target.
        let (net, me) = (self.net.clone(), self.me);
        let handled = runtime.spawn(async move {
            net.travel(me, target).await;
            let handled = host.handle(method, header, payload).await;
            net.travel(me, target).await;
            handled
        });
        let answer = match tokio::time::timeout(timeout, handled).await {
            Ok(Ok(answer)) => answer.map_err(|e| TransportError::Refused(e.to_string()))?,
            Ok(Err(_)) => return Err(away()),
            Err(_) => return Err(TransportError::Timeout),
        };
        if self.net.is_cut(self.me, target) {
            return Err(away());
        }
        Ok(answer)
    }
}

/// A node: what survives a kill is its folder.
pub(crate) struct Node {
    pub(crate) replica: ReplicaId,
    pub(crate) wal: Option<Wal>,
    host: Option<Arc<RaftHost>>,
    runtime: Option<Runtime>,
    dir: TempDir,
    net: Arc<Net>,
    policy: CheckpointPolicy,
    /// What the node believes to have left.
    pub(crate) room: Arc<Mutex<Room>>,
}

/// Short, and long enough for a machine that is busy with other tests: who has a leader keeps it.
const TIMERS: RaftTimers = RaftTimers {
    heartbeat_ms: 100,
    election_min_ms: 800,
    election_max_ms: 1600,
};

pub(crate) fn open_wal(dir: &Path) -> Wal {
    let options = WalOptions {
        segment_bytes: 1 << 20,
        ..WalOptions::default()
    };
    Wal::open(Arc::new(OsVfs), &dir.join("wal"), options).expect("a log")
}

impl Node {
    /// A node that does not run, with this folder.
    pub(crate) fn at(
        dir: TempDir,
        replica: ReplicaId,
        net: &Arc<Net>,
        policy: CheckpointPolicy,
    ) -> Self {
        Self {
            replica,
            wal: None,
            host: None,
            runtime: None,
            dir,
            net: net.clone(),
            policy,
            room: Arc::new(Mutex::new(Room::Ample)),
        }
    }

    /// Its folder.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn host(&self) -> Arc<RaftHost> {
        self.host.clone().expect("the node runs")
    }

    pub(crate) async fn start(&mut self) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let wal = open_wal(self.dir.path());
        let started = Instant::now();
        let host = loop {
            let opened = RaftHost::open(self.config(&wal, &runtime)).await;
            match opened {
                Ok(host) => break host,
                // The killed one may take a moment to let go of its files.
                Err(error) if started.elapsed() > PATIENCE => panic!("cannot open: {error}"),
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        };
        self.net
            .hosts
            .write()
            .insert(self.replica, Arc::downgrade(&host));
        (self.wal, self.host, self.runtime) = (Some(wal), Some(host), Some(runtime));
    }

    fn config(&self, wal: &Wal, runtime: &Runtime) -> HostConfig {
        HostConfig {
            dir: self.dir.path().join("sm"),
            vfs: Arc::new(OsVfs),
            wal: wal.clone(),
            replica: self.replica,
            transport: Arc::new(End {
                net: self.net.clone(),
                me: self.replica,
            }),
            logic: Arc::new(TestLogic),
            clock: Arc::new(|| 1_700_000_000_000),
            timers: TIMERS,
            checkpoint: self.policy,
            proposals: Arc::new(()),
            room: Arc::new({
                let room = self.room.clone();
                move || *room.lock()
            }),
            cache_bytes: 8 << 20,
            groups_expected: 2,
            runtime: Some(runtime.handle().clone()),
        }
    }

    /// Ends the node at once: no checkpoint, no farewell.
    pub(crate) fn kill(&mut self) {
        self.net.hosts.write().remove(&self.replica);
        drop(self.host.take());
        if let Some(runtime) = self.runtime.take() {
            tokio::task::block_in_place(|| runtime.shutdown_timeout(PATIENCE));
        }
        drop(self.wal.take());
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        drop(self.host.take());
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

pub(crate) struct Cluster {
    pub(crate) net: Arc<Net>,
    pub(crate) nodes: Vec<Node>,
}

impl Cluster {
    /// Nodes that run and have a replica of [`GROUP`], which has no members yet. Replica ids are
    /// 11, 12, ...
    pub(crate) async fn start(count: u64, policy: CheckpointPolicy) -> Self {
        let net = Arc::new(Net::default());
        let mut nodes = Vec::new();
        for at in 0..count {
            let dir = TempDir::new().expect("a folder");
            let mut node = Node::at(dir, ReplicaId(11 + at), &net, policy);
            node.start().await;
            node.host().create_group(GROUP).await.expect("a group");
            nodes.push(node);
        }
        Self { net, nodes }
    }

    /// As [`Self::start`], with every node a voter, and a leader.
    pub(crate) async fn of(count: u64) -> Self {
        let cluster = Self::start(count, CheckpointPolicy::default()).await;
        cluster.initialize().await;
        cluster
    }

    pub(crate) async fn initialize(&self) {
        let voters: Vec<_> = self.nodes.iter().map(|node| node.replica).collect();
        let first = self.nodes[0].host();
        first.initialize(GROUP, &voters).await.expect("initialized");
        self.leader().await;
    }

    pub(crate) fn node(&mut self, replica: ReplicaId) -> &mut Node {
        let found = self.nodes.iter_mut().find(|node| node.replica == replica);
        found.expect("a node of the cluster")
    }

    /// A replica that leads and that the others can reach.
    pub(crate) async fn leader(&self) -> Arc<RaftHost> {
        let leads = |host: &Arc<RaftHost>| {
            let status = host.status(GROUP);
            let leads = status.is_some_and(|status| status.role == Role::Leader);
            leads && !self.net.cut.read().contains(&host.replica())
        };
        let started = Instant::now();
        loop {
            let hosts = self.nodes.iter().filter_map(|node| node.host.clone());
            if let Some(leader) = { hosts }.find(leads) {
                return leader;
            }
            assert!(started.elapsed() < PATIENCE, "no leader");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Proposes at whoever leads until somebody answers; for commands that repeat harmlessly.
    pub(crate) async fn put(&self, key: &str, value: &str) {
        let started = Instant::now();
        loop {
            let leader = self.leader().await;
            let put = leader
                .propose(GROUP, &put(key, value), Duration::from_secs(2))
                .await;
            match put {
                Ok(_) => return,
                Err(error) if started.elapsed() > PATIENCE => panic!("{key}: {error}"),
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    }

    /// The value of a key, linearizable, from whoever leads.
    pub(crate) async fn get(&self, key: &str) -> String {
        let started = Instant::now();
        loop {
            match self.leader().await.query(GROUP, key.as_bytes(), true).await {
                Ok((value, _)) => return String::from_utf8(value.to_vec()).expect("text"),
                Err(error) if started.elapsed() > PATIENCE => panic!("{key}: {error}"),
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    }
}

/// Waits until `holds`.
pub(crate) async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < PATIENCE, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
