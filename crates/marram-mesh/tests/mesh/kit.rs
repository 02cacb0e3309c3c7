//! A cluster of meshes in one process, and a service whose answers a test chooses.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use bytes::Bytes;
use marram_mesh::{
    Authority, GatewayEntry, Identity, Issued, Mesh, MeshOptions, Method, NodeKey, Peer, PeerEntry,
    PeerTable, Role, RpcCode, RpcFailure, Service, make_ca,
};
use marram_proto::mesh::v1 as wire;
use marram_types::{ClusterId, NodeId};
use prost::Message;
use tokio::net::TcpListener;
use tokio::runtime::{Handle, Runtime};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

pub(crate) const CLUSTER: ClusterId = ClusterId(0x5eed);
/// Longer than any test should take.
pub(crate) const LONG: Duration = Duration::from_secs(60);
const LIFETIME: Duration = Duration::from_secs(3600);

pub(crate) fn query(bytes: &'static [u8]) -> wire::QueryRequest {
    wire::QueryRequest {
        group: 1,
        query: Bytes::from_static(bytes),
        linearizable: true,
        ..wire::QueryRequest::default()
    }
}

pub(crate) fn unix_seconds() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(now.as_secs()).unwrap()
}

pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + LONG;
    while !holds() {
        assert!(Instant::now() < end, "never: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub(crate) fn raft_threads() -> Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("raft")
        .enable_all()
        .build()
        .unwrap()
}

#[derive(Clone, Copy)]
pub(crate) enum Answer {
    Echo,
    NotLeader(u64),
    Panic,
    Hang,
    /// Waits for `open_gate`.
    Gate,
}

pub(crate) struct TestService {
    answer: Mutex<Answer>,
    peer: Mutex<Option<Peer>>,
    thread: Mutex<Option<String>>,
    gate: Semaphore,
    pub(crate) calls: AtomicUsize,
    pub(crate) running: AtomicUsize,
    pub(crate) most_running: AtomicUsize,
}

impl TestService {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            answer: Mutex::new(Answer::Echo),
            peer: Mutex::default(),
            thread: Mutex::default(),
            gate: Semaphore::new(0),
            calls: AtomicUsize::new(0),
            running: AtomicUsize::new(0),
            most_running: AtomicUsize::new(0),
        })
    }

    pub(crate) fn answer(&self, answer: Answer) {
        *self.answer.lock().unwrap() = answer;
    }

    pub(crate) fn open_gate(&self) {
        self.gate.close();
    }

    pub(crate) fn last_peer(&self) -> Option<Peer> {
        self.peer.lock().unwrap().clone()
    }

    pub(crate) fn last_thread(&self) -> Option<String> {
        self.thread.lock().unwrap().clone()
    }
}

struct Running<'a>(&'a AtomicUsize);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[async_trait]
impl Service for TestService {
    async fn call(
        &self,
        peer: Peer,
        method: Method,
        header: Bytes,
        payload: Bytes,
    ) -> Result<(Bytes, Bytes), RpcFailure> {
        *self.peer.lock().unwrap() = Some(peer);
        *self.thread.lock().unwrap() = std::thread::current().name().map(str::to_owned);
        let running = self.running.fetch_add(1, Ordering::SeqCst) + 1;
        let _running = Running(&self.running);
        self.most_running.fetch_max(running, Ordering::SeqCst);
        self.calls.fetch_add(1, Ordering::SeqCst);
        let answer = *self.answer.lock().unwrap();
        match answer {
            Answer::Echo => {}
            Answer::NotLeader(leader) => return Err(RpcFailure::not_leader(Some(leader))),
            Answer::Panic => panic!("as the test asked"),
            Answer::Hang => std::future::pending().await,
            Answer::Gate => assert!(self.gate.acquire().await.is_err(), "the gate is closed"),
        }
        if method != Method::Query {
            return Ok((Bytes::new(), payload));
        }
        let query = wire::QueryRequest::decode(header)
            .map_err(|e| RpcFailure::new(RpcCode::Refused, e.to_string()))?;
        let response = wire::QueryResponse {
            answer: query.query,
            applied: 1,
        };
        Ok((response.encode_to_vec().into(), payload))
    }
}

/// One mesh with its listener.
pub(crate) struct Node {
    pub(crate) mesh: Mesh,
    pub(crate) addr: String,
    pub(crate) service: Arc<TestService>,
    issued: Issued,
    accepting: JoinHandle<()>,
    raft: Option<Handle>,
}

impl Node {
    async fn start(issued: Issued, addr: &str, node: Option<NodeId>, raft: Option<Handle>) -> Self {
        let identity =
            Identity::from_pem(&issued.ca_pem, &issued.certificate_pem, &issued.key_pem).unwrap();
        let mesh = Mesh::new(MeshOptions {
            identity,
            node,
            raft_runtime: raft.clone(),
        })
        .unwrap();
        let service = TestService::new();
        mesh.set_service(service.clone());
        let listener = bind(addr).await;
        let addr = listener.local_addr().unwrap().to_string();
        let accepting = {
            let mesh = mesh.clone();
            tokio::spawn(async move { mesh.serve(listener).await })
        };
        Self {
            mesh,
            addr,
            service,
            issued,
            accepting,
            raft,
        }
    }

    pub(crate) fn entry(&self) -> PeerEntry {
        PeerEntry {
            node: self.mesh.node().unwrap(),
            addr: self.addr.clone(),
            public_key: self.issued.certificate.public_key,
            tombstoned: false,
            until_s: 0,
        }
    }

    /// Its entry as a gateway's.
    pub(crate) fn gateway_entry(&self) -> GatewayEntry {
        GatewayEntry {
            public_key: self.issued.certificate.public_key,
            removed: false,
            until_s: 0,
        }
    }

    /// Its key, for another certificate.
    pub(crate) fn key(&self) -> NodeKey {
        NodeKey::from_pem(&self.issued.key_pem).unwrap()
    }

    pub(crate) async fn stop(&mut self) {
        self.mesh.close();
        (&mut self.accepting).await.unwrap();
    }
}

/// The address of a node that was stopped is free once its sockets are.
async fn bind(addr: &str) -> TcpListener {
    let end = Instant::now() + LONG;
    loop {
        match TcpListener::bind(addr).await {
            Ok(listener) => return listener,
            Err(error) => assert!(Instant::now() < end, "{addr}: {error}"),
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub(crate) struct Kit {
    pub(crate) authority: Authority,
    pub(crate) nodes: Vec<Node>,
}

impl Kit {
    /// Nodes 1 to `count`, which know each other.
    pub(crate) async fn new(count: u64) -> Self {
        Self::with_raft(count, None).await
    }

    pub(crate) async fn with_raft(count: u64, raft: Option<Handle>) -> Self {
        let authority = make_ca(CLUSTER).unwrap();
        let mut nodes = Vec::new();
        for id in 1..=count {
            let issued = authority
                .issue(Role::Node, &format!("node-{id}"), LIFETIME)
                .unwrap();
            nodes.push(Node::start(issued, "127.0.0.1:0", Some(NodeId(id)), raft.clone()).await);
        }
        let kit = Self { authority, nodes };
        for node in &kit.nodes {
            node.mesh.set_peers(kit.entries().into_iter().collect());
        }
        kit
    }

    pub(crate) fn entries(&self) -> Vec<PeerEntry> {
        self.nodes.iter().map(Node::entry).collect()
    }

    /// All nodes and this gateway.
    pub(crate) fn table_with(&self, gateway: GatewayEntry) -> PeerTable {
        let nodes: PeerTable = self.entries().into_iter().collect();
        nodes.with_gateways([gateway])
    }

    pub(crate) fn issue(&self, role: Role, name: &str, lifetime: Duration) -> Issued {
        self.authority.issue(role, name, lifetime).unwrap()
    }

    /// Our CA's key signing for another cluster.
    pub(crate) fn authority_for(&self, cluster: ClusterId) -> Authority {
        Authority::from_der(
            cluster,
            self.authority.certificate(),
            self.authority.key_pem().to_owned(),
        )
        .unwrap()
    }

    /// A node with an id that the others do not know.
    pub(crate) async fn member(&self, id: u64, issued: Issued) -> Node {
        Node::start(issued, "127.0.0.1:0", Some(NodeId(id)), None).await
    }

    /// A process with a certificate and no node id.
    pub(crate) async fn outsider(&self, authority: &Authority, role: Role, name: &str) -> Node {
        let issued = authority.issue(role, name, LIFETIME).unwrap();
        Node::start(issued, "127.0.0.1:0", None, None).await
    }

    /// Starts a stopped node again, with its address and key.
    pub(crate) async fn restart(&mut self, at: usize) {
        let old = &self.nodes[at];
        let id = old.mesh.node();
        let node = Node::start(old.issued.clone(), &old.addr, id, old.raft.clone()).await;
        self.nodes[at] = node;
        self.nodes[at]
            .mesh
            .set_peers(self.entries().into_iter().collect());
    }

    pub(crate) fn close(&self) {
        for node in &self.nodes {
            node.mesh.close();
        }
    }
}
