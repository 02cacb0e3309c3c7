//! A cluster in memory: the real state machines and the real placement under fake transport, so
//! that every operation runs as in production down to the seams.

mod drives;
mod groups;
mod nodes;

use std::sync::Arc;

use marram_meta::{
    AccessKeyRecord, COMMAND_VERSION, ClusterRecord, DriveJoin, FOUNDER, GroupRecord, NodeJoin,
    RootCommand, RootOutcome,
};
use marram_metrics::{Condition, Verdict, Watchers};
use marram_placement::{DriveInfo, Topology, default_profile, plan_pool};
use marram_types::config::ApiLimits;
use marram_types::{ClusterHealth, ClusterId, GroupId, NodeId};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::transport::{Channel, Endpoint};

use crate::core::{Core, Seams};
use crate::gateway::{ApiListener, Gateway, ServeError};
use crate::secret::Kek;

pub(crate) use drives::{FakeDrives, Turns};
pub(crate) use groups::{FakeGroups, now_ms};
pub(crate) use nodes::{FakeNodes, FakeProcess};

pub(crate) const ACCESS_KEY: &str = "MKTEST";
pub(crate) const SECRET: &str = "a secret of the tests";
pub(crate) const GROUPS: u16 = 3;

/// A listener without TLS, with the usual limits.
pub(crate) fn plain(socket: TcpListener) -> ApiListener {
    ApiListener {
        socket,
        tls: None,
        limits: ApiLimits::default(),
        counts: Arc::default(),
    }
}

/// A running gateway over a cluster in memory.
pub(crate) struct Cluster {
    pub(crate) groups: Arc<FakeGroups>,
    pub(crate) drives: Arc<FakeDrives>,
    pub(crate) peers: Arc<FakeNodes>,
    pub(crate) health: watch::Sender<Arc<ClusterHealth>>,
    pub(crate) ready: watch::Sender<Arc<Verdict>>,
    pub(crate) watchers: Arc<Watchers>,
    pub(crate) nodes: Vec<NodeId>,
    pub(crate) addr: std::net::SocketAddr,
    pub(crate) core: Arc<Core>,
    stop: CancellationToken,
    serving: Option<JoinHandle<Result<(), ServeError>>>,
    _stop: DropGuard,
}

fn bootstrap(kek: &Kek) -> RootCommand {
    RootCommand::Bootstrap {
        cluster: ClusterRecord {
            cluster: ClusterId(7),
            name: "tests".to_owned(),
            version: COMMAND_VERSION,
            object_groups: GROUPS,
            expected_nodes: 6,
            default_profile: None,
        },
        keys: vec![AccessKeyRecord::of_admin(
            ACCESS_KEY.to_owned(),
            kek.wrap(ACCESS_KEY, SECRET).unwrap(),
        )],
    }
}

fn join(number: u8) -> RootCommand {
    RootCommand::AddNode(NodeJoin {
        name: format!("node-{number}"),
        mesh_addr: format!("127.0.0.1:{number}"),
        api_addr: format!("127.0.0.1:{number}"),
        public_key: [number; 32],
        zone: String::new(),
        drives: vec![DriveJoin {
            ordinal: 0,
            capacity: 1 << 40,
        }],
    })
}

/// Brings the nodes in and makes groups, pool and default profile, as the servers do.
fn form(groups: &FakeGroups, count: u8) -> Vec<NodeId> {
    let mut nodes = Vec::new();
    let mut topology = Topology::default();
    let mut voters = Vec::new();
    for number in 1..=count {
        let RootOutcome::NodeAdded { node, drives } = groups.root(&join(number)) else {
            panic!("node {number} was not admitted");
        };
        let founder = number == 1;
        match groups.root(&RootCommand::AddReplica { node, founder }) {
            RootOutcome::ReplicaAdded { replica } => voters.push(replica),
            other => panic!("no replica: {other:?}"),
        }
        nodes.push(node);
        topology.drives.extend(drives.iter().map(|drive| DriveInfo {
            drive: *drive,
            node,
            zone: String::new(),
            weight: 1,
        }));
    }
    assert_eq!(voters[0], FOUNDER);
    voters.truncate(5);
    let records = (0..=GROUPS).map(|group| GroupRecord::new(GroupId(group), voters.clone()));
    let mut records: Vec<GroupRecord> = records.collect();
    let root = records.remove(0);
    groups.root(&RootCommand::CreateGroups(records));
    groups.root(&RootCommand::UpdateGroup(root));
    let profile = default_profile(usize::from(count), 1);
    let table = plan_pool(&topology, profile.width()).unwrap();
    groups.fence_pool(&table);
    groups.keep_events(3_600_000, 1 << 20);
    groups.root(&RootCommand::CreatePool(table));
    groups.root(&RootCommand::SetDefaultProfile(profile));
    nodes
}

impl Cluster {
    /// A cluster of `count` nodes with a drive each, and a gateway that serves it.
    pub(crate) async fn start(count: u8) -> Self {
        Self::start_limited(count, ApiLimits::default()).await
    }

    /// The same with other limits of its connections.
    pub(crate) async fn start_limited(count: u8, limits: ApiLimits) -> Self {
        let kek = Arc::new(Kek::from_bytes(&[5; 32]));
        let groups = Arc::new(FakeGroups::new(GROUPS));
        groups.root(&bootstrap(&kek));
        let nodes = form(&groups, count);
        let drives = Arc::new(FakeDrives::default());
        drives.know(groups.view());
        for node in groups.view().borrow().nodes.values() {
            for drive in &node.drives {
                drives.add(drive.drive, node.node);
            }
        }
        let peers = Arc::new(FakeNodes::default());
        let health: watch::Sender<Arc<ClusterHealth>> = watch::Sender::default();
        let conditions = vec![Condition::good("test", "made for it")];
        let ready = watch::Sender::new(Arc::new(Verdict { conditions }));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let watchers: Arc<Watchers> = Arc::default();
        let gateway = Gateway::over(Seams {
            groups: groups.clone(),
            drives: drives.clone(),
            nodes: peers.clone(),
            health: health.subscribe(),
            view: groups.view(),
            kek,
            name: "gateway-1".to_owned(),
            process: Arc::new(FakeProcess),
            calls: Arc::new(crate::calls()),
            watchers: Arc::clone(&watchers),
            ready: ready.subscribe(),
            now_ms,
        });
        let core = gateway.core();
        let stop = CancellationToken::new();
        let listener = ApiListener {
            limits,
            ..plain(listener)
        };
        let serving = tokio::spawn(gateway.serve(listener, stop.clone()));
        Self {
            groups,
            drives,
            peers,
            health,
            ready,
            watchers,
            nodes,
            addr,
            core,
            serving: Some(serving),
            stop: stop.clone(),
            _stop: stop.drop_guard(),
        }
    }

    /// Brings one more node in, `node-{number}`, which holds nothing yet.
    pub(crate) fn add_node(&self, number: u8) -> NodeId {
        let RootOutcome::NodeAdded { node, drives } = self.groups.root(&join(number)) else {
            panic!("node {number} was not admitted");
        };
        for drive in drives {
            self.drives.add(drive, node);
        }
        node
    }

    /// Tells the gateway to stop, and waits until it has.
    pub(crate) async fn stopped(&mut self) {
        self.stop.cancel();
        let serving = self.serving.take().expect("stopped once");
        serving.await.unwrap().unwrap();
    }

    pub(crate) fn endpoint(&self) -> Endpoint {
        Endpoint::from_shared(format!("http://{}", self.addr)).unwrap()
    }

    pub(crate) async fn channel(&self) -> Channel {
        self.endpoint().connect().await.unwrap()
    }
}
