//! The mesh of one process: call, serve, peers, liveness.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use marram_proto::mesh::v1::{Method, PingResponse, RpcCode};
use marram_trace::Instrument;
use marram_types::NodeId;
use parking_lot::{Mutex, RwLock};
use prost::Message;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

use crate::allow::{PeerRole, allowed_expired};
use crate::class::Class;
use crate::client::Answer;
use crate::clock;
use crate::dial::{Link, Target};
use crate::figures::Figures;
use crate::frame::{OutFrame, Prefix, TooLarge};
use crate::identity::{Identity, IdentityError, PeerCertificate};
use crate::liveness::{Heard, Liveness, LivenessView, Watchers};
use crate::peers::{Peer, PeerTable};
use crate::rpc::{CallError, Rpc, RpcFailure, Service};
use crate::server::{self, unix_seconds};
use crate::tls::Tls;
use crate::traced;
use crate::words::{PeerWord, Words};

/// Addresses dialed without knowing the node (joining, a gateway's start) whose connections are
/// kept.
const ADDR_LINKS_MAX: usize = 64;

/// Refusals in a row after which this process takes a peer's word that it was removed: one that has
/// just joined may be unknown to some for a moment.
const REMOVED_AFTER: u32 = 5;

/// Connections without a certificate that are served at once.
const STRANGERS_MAX: usize = 64;

/// An answer to a ping that took longer says too little about the peer's clock.
const CLOCK_TELLS_WITHIN: Duration = Duration::from_secs(1);

/// What a mesh needs to start.
#[derive(Debug)]
pub struct MeshOptions {
    /// Who we are.
    pub identity: Identity,
    /// Our node id, if we have one already.
    pub node: Option<NodeId>,
    /// The runtime of Raft's connections; the current one when absent.
    pub raft_runtime: Option<Handle>,
}

/// A handle on the mesh; clones share it. It lives until [`Mesh::close`], since accepted
/// connections hold it too.
#[derive(Clone)]
pub struct Mesh {
    shared: Arc<Shared>,
}

pub(crate) struct Shared {
    certificate: RwLock<Arc<PeerCertificate>>,
    tls: RwLock<Arc<Tls>>,
    pub(crate) strangers: Arc<Semaphore>,
    pub(crate) main: Handle,
    pub(crate) raft: Handle,
    pub(crate) stop: CancellationToken,
    pub(crate) started_ms: u64,
    pub(crate) liveness: watch::Sender<LivenessView>,
    node: OnceLock<NodeId>,
    service: OnceLock<Arc<dyn Service>>,
    peers: RwLock<Arc<PeerTable>>,
    links: RwLock<HashMap<NodeId, Arc<Link>>>,
    addr_links: Mutex<HashMap<String, Arc<Link>>>,
    watchers: Watchers,
    pub(crate) words: Words,
    /// The connections.
    pub(crate) figures: Arc<Figures>,
    /// This process is about to stop; pings say so.
    pub(crate) leaving: AtomicBool,
    /// Of each peer that answered: how often in a row it said that this process was removed.
    pub(crate) removed: Mutex<BTreeMap<NodeId, u32>>,
}

impl Shared {
    pub(crate) fn node(&self) -> Option<NodeId> {
        self.node.get().copied()
    }

    pub(crate) fn peers(&self) -> Arc<PeerTable> {
        Arc::clone(&self.peers.read())
    }

    pub(crate) fn tls(&self) -> Arc<Tls> {
        Arc::clone(&self.tls.read())
    }

    pub(crate) fn runtime(&self, class: Class) -> &Handle {
        match class {
            Class::Raft => &self.raft,
            Class::Control | Class::Bulk => &self.main,
        }
    }

    /// Answers a request, from a socket or from ourselves.
    pub(crate) async fn serve(
        &self,
        peer: Peer,
        method: Method,
        header: Bytes,
        payload: Bytes,
    ) -> Result<Answer, RpcFailure> {
        match self.service.get() {
            Some(service) => service.call(peer, method, header, payload).await,
            None => Err(RpcFailure::new(
                RpcCode::Unavailable,
                "this node is starting",
            )),
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Mesh {
    /// Makes the mesh of this process; nothing is dialed yet. Call it inside the main runtime.
    ///
    /// # Errors
    /// When certificate, key and CA do not fit together.
    pub fn new(options: MeshOptions) -> Result<Self, IdentityError> {
        let main = Handle::current();
        let started = SystemTime::now().duration_since(UNIX_EPOCH);
        let shared = Shared {
            tls: RwLock::new(Arc::new(Tls::new(&options.identity)?)),
            certificate: RwLock::new(Arc::new(options.identity.certificate)),
            strangers: Arc::new(Semaphore::new(STRANGERS_MAX)),
            raft: options.raft_runtime.unwrap_or_else(|| main.clone()),
            main,
            stop: CancellationToken::new(),
            started_ms: started.map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX)),
            liveness: watch::Sender::default(),
            node: options.node.map_or_else(OnceLock::new, OnceLock::from),
            service: OnceLock::new(),
            peers: RwLock::default(),
            links: RwLock::default(),
            addr_links: Mutex::default(),
            watchers: Watchers::default(),
            words: Words::default(),
            figures: Arc::default(),
            leaving: AtomicBool::new(false),
            removed: Mutex::default(),
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    pub(crate) fn from_shared(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Our own certificate.
    #[must_use]
    pub fn certificate(&self) -> Arc<PeerCertificate> {
        Arc::clone(&self.shared.certificate.read())
    }

    /// Takes a new certificate of our key, and the CAs to trust from now on. Connections stay as they
    /// are: what a peer is depends on its key, and until when it is good on the table of peers.
    ///
    /// # Errors
    /// When certificate, key and CAs do not fit together; nothing has changed then.
    pub fn set_identity(&self, identity: Identity) -> Result<(), IdentityError> {
        if identity.certificate.public_key != self.certificate().public_key {
            return Err(IdentityError::OtherKey);
        }
        let tls = Arc::new(Tls::new(&identity)?);
        *self.shared.tls.write() = tls;
        *self.shared.certificate.write() = Arc::new(identity.certificate);
        Ok(())
    }

    /// Our node id, once it is known.
    #[must_use]
    pub fn node(&self) -> Option<NodeId> {
        self.shared.node()
    }

    /// Says which node we are, after joining. A process is one node: a second call changes nothing.
    pub fn set_node(&self, node: NodeId) {
        let _already = self.shared.node.set(node);
        self.set_peers((*self.shared.peers()).clone());
    }

    /// Says who answers requests; until then they fail with [`RpcCode::Unavailable`]. A second call
    /// changes nothing.
    pub fn set_service(&self, service: Arc<dyn Service>) {
        let _already = self.shared.service.set(service);
    }

    /// Replaces the node table. Connections to nodes whose address or key changed, or that are
    /// gone, are closed; requests of tombstoned nodes are refused from now on.
    pub fn set_peers(&self, peers: PeerTable) {
        let own = self.node();
        let nodes: Vec<NodeId> = peers
            .all_live()
            .map(|entry| entry.node)
            .filter(|node| Some(*node) != own)
            .collect();
        // First the table, then the links: a link made from the old table meanwhile is removed.
        let peers = Arc::new(peers);
        *self.shared.peers.write() = Arc::clone(&peers);
        self.shared.links.write().retain(|node, link| {
            let keep = peers
                .live(*node)
                .is_some_and(|entry| target_of(entry) == link.target);
            if !keep {
                link.close();
            }
            keep
        });
        self.shared.watchers.set(&self.shared, &nodes);
    }

    /// The node table.
    #[must_use]
    pub fn peers(&self) -> Arc<PeerTable> {
        self.shared.peers()
    }

    /// Accepts connections until the mesh is closed.
    pub async fn serve(&self, listener: TcpListener) {
        server::accept(Arc::clone(&self.shared), listener).await;
    }

    /// Closes every connection and stops accepting. Calls fail from now on.
    pub fn close(&self) {
        self.shared.stop.cancel();
        self.shared.watchers.clear();
    }

    /// Calls a method of a node. A call to ourselves is a function call. Dropping the future
    /// withdraws the request.
    ///
    /// # Errors
    /// See [`CallError`]: only some of them mean that the request certainly did not happen.
    pub async fn call<R: Rpc>(
        &self,
        to: NodeId,
        request: R::Request,
        payload: Bytes,
        deadline: Duration,
    ) -> Result<(R::Response, Bytes), CallError> {
        let span = traced::asking(R::METHOD, to);
        let asked = self.ask::<R>(to, request, payload, deadline);
        let answer = asked.instrument(span.clone()).await;
        traced::asked(&span, &answer);
        answer
    }

    async fn ask<R: Rpc>(
        &self,
        to: NodeId,
        request: R::Request,
        payload: Bytes,
        deadline: Duration,
    ) -> Result<(R::Response, Bytes), CallError> {
        let answer = if Some(to) == self.node() {
            let header = Bytes::from(request.encode_to_vec());
            self.call_self(to, R::METHOD, header, payload, deadline)
                .await
        } else {
            let link = self.link(to)?;
            let (began, sent) = (Instant::now(), payload.len());
            let context = marram_trace::current();
            let frame = |prefix: Prefix| match context {
                None => OutFrame::message(prefix, &request, payload),
                Some(context) => {
                    let header = traced::with_context(&context, &request.encode_to_vec());
                    OutFrame::raw(prefix, header, payload)
                }
            };
            let answer = self.call_link(&link, R::METHOD, deadline, frame).await;
            self.note_carried::<R>(to, began, sent, &answer);
            answer
        };
        decode::<R>(|| format!("node {to}"), answer?)
    }

    /// The same with headers that are encoded already.
    ///
    /// # Errors
    /// As [`Self::call`].
    pub async fn call_raw(
        &self,
        to: NodeId,
        method: Method,
        header: Bytes,
        payload: Bytes,
        deadline: Duration,
    ) -> Result<(Bytes, Bytes), CallError> {
        let span = traced::asking(method, to);
        let asked = self.ask_raw(to, method, (header, payload), deadline);
        let answer = asked.instrument(span.clone()).await;
        traced::asked(&span, &answer);
        answer
    }

    async fn ask_raw(
        &self,
        to: NodeId,
        method: Method,
        (header, payload): (Bytes, Bytes),
        deadline: Duration,
    ) -> Result<Answer, CallError> {
        if Some(to) == self.node() {
            return self.call_self(to, method, header, payload, deadline).await;
        }
        let link = self.link(to)?;
        let header = match marram_trace::current() {
            None => header,
            Some(context) => traced::with_context(&context, &header),
        };
        let frame = |prefix: Prefix| OutFrame::raw(prefix, header, payload);
        self.call_link(&link, method, deadline, frame).await
    }

    /// Calls a method of whichever node of our cluster answers at an address: for joining, and for
    /// a gateway that does not know the nodes yet.
    ///
    /// # Errors
    /// As [`Self::call`].
    pub async fn call_addr<R: Rpc>(
        &self,
        addr: &str,
        request: R::Request,
        payload: Bytes,
        deadline: Duration,
    ) -> Result<(R::Response, Bytes), CallError> {
        let link = self.addr_link(addr);
        let frame = |prefix: Prefix| OutFrame::message(prefix, &request, payload);
        let answer = self.call_link(&link, R::METHOD, deadline, frame).await?;
        decode::<R>(|| addr.to_owned(), answer)
    }

    /// All peers as this node sees them, whenever that changes.
    #[must_use]
    pub fn liveness(&self) -> watch::Receiver<LivenessView> {
        self.shared.liveness.subscribe()
    }

    /// Whether a node answers. We ourselves always do.
    #[must_use]
    pub fn is_up(&self, node: NodeId) -> bool {
        Some(node) == self.node() || self.shared.liveness.borrow().get(&node) == Some(&Liveness::Up)
    }

    /// Whether anything came from a node after `then`. We ourselves always answer.
    #[must_use]
    pub fn answered_since(&self, node: NodeId, then: Instant) -> bool {
        Some(node) == self.node() || self.heard(node).is_some_and(|heard| heard.since(then))
    }

    /// What this node can say about each of its peers.
    #[must_use]
    pub fn words(&self) -> Vec<PeerWord> {
        self.shared.words.list(Instant::now())
    }

    /// The connections of this process, and those that failed.
    #[must_use]
    pub fn figures(&self) -> &Figures {
        &self.shared.figures
    }

    /// Whether a peer said that it is about to stop.
    #[must_use]
    pub fn is_leaving(&self, node: NodeId) -> bool {
        self.shared.words.is_leaving(node)
    }

    /// Tells the peers from now on that this process is about to stop.
    pub fn leave(&self) {
        self.shared.leaving.store(true, Ordering::Relaxed);
    }

    /// Whether this process was removed from the cluster, by the word of every peer that answers: it
    /// cannot hear of it in any other way.
    #[must_use]
    pub fn is_removed(&self) -> bool {
        let told = self.shared.removed.lock();
        !told.is_empty() && told.values().all(|times| *times >= REMOVED_AFTER)
    }

    /// A peer does not answer any more: what it said last is not known to hold.
    pub(crate) fn forget_told(&self, node: NodeId) {
        self.shared.removed.lock().remove(&node);
    }

    pub(crate) fn was_told(&self, node: NodeId, removed: bool) {
        let was = self.is_removed();
        {
            let mut told = self.shared.removed.lock();
            let times = told.entry(node).or_default();
            *times = if removed { times.saturating_add(1) } else { 0 };
        }
        if !was && self.is_removed() {
            tracing::error!(
                "every peer that answers says that this process was removed from the cluster: stop it, \
                 and empty its folders before it joins anew"
            );
        }
    }

    /// A peer has answered a ping just now, `took` after it was sent.
    pub(crate) fn pinged(&self, node: NodeId, took: Duration, pong: &PingResponse) {
        let words = &self.shared.words;
        words.pinged(node, took, pong.leaving, Instant::now());
        if pong.clock_ms > 0 && took < CLOCK_TELLS_WITHIN {
            // It was there for half of the time, as far as anybody knows.
            let half = u64::try_from((took / 2).as_millis()).unwrap_or(0);
            let then = clock::own_clock_ms().saturating_sub(half);
            words.clock(node, pong.clock_ms.cast_signed() - then.cast_signed());
            clock::hold_against(words.clocks());
        }
    }

    /// How long bulk bytes took is what tells a slow peer: its drive, its link or itself.
    fn note_carried<R: Rpc>(
        &self,
        to: NodeId,
        began: Instant,
        sent: usize,
        answer: &Result<Answer, CallError>,
    ) {
        let got = match answer {
            Ok((_, payload)) => payload.len(),
            Err(CallError::Deadline { .. }) => 0,
            Err(_) => return,
        };
        if Class::of(R::METHOD) == Some(Class::Bulk) {
            let words = &self.shared.words;
            words.carried(to, began.elapsed(), sent + got, Instant::now());
        }
    }

    async fn call_self(
        &self,
        to: NodeId,
        method: Method,
        header: Bytes,
        payload: Bytes,
        deadline: Duration,
    ) -> Result<Answer, CallError> {
        let call = self.shared.serve(Peer::Node(to), method, header, payload);
        match tokio::time::timeout(deadline, call).await {
            Ok(answer) => answer.map_err(CallError::Failed),
            Err(_) => Err(CallError::Deadline {
                peer: format!("node {to}"),
            }),
        }
    }

    async fn call_link(
        &self,
        link: &Link,
        method: Method,
        deadline: Duration,
        frame: impl FnOnce(Prefix) -> Result<OutFrame, TooLarge>,
    ) -> Result<Answer, CallError> {
        let peer = || link.target.label.to_string();
        let Some(class) = Class::of(method) else {
            return Err(CallError::Unreachable {
                peer: peer(),
                reason: "no such method".to_owned(),
            });
        };
        let call = async {
            let (connection, _place) = link.connection(&self.shared, class).await?;
            if !allowed_expired(PeerRole::Node, method) {
                let until = self.shared.peers().until_s(&connection.presented);
                let ago = unix_seconds().saturating_sub(until);
                if ago > 0 {
                    // It may have renewed since it showed that one, and who has no view of the
                    // cluster is not told: the next connection shows what it has.
                    connection.close_if_old();
                    let reason = format!("its certificate expired {ago} s ago");
                    let peer = peer();
                    return Err(CallError::Unreachable { peer, reason });
                }
            }
            connection.call(method, deadline, frame).await
        };
        match tokio::time::timeout(deadline, call).await {
            Ok(answer) => answer,
            Err(_) => Err(CallError::Deadline { peer: peer() }),
        }
    }

    fn link(&self, node: NodeId) -> Result<Arc<Link>, CallError> {
        if let Some(link) = self.shared.links.read().get(&node) {
            return Ok(Arc::clone(link));
        }
        let mut links = self.shared.links.write();
        let peers = self.shared.peers();
        let entry = peers.live(node).ok_or(CallError::UnknownNode(node))?;
        let link = links
            .entry(node)
            .or_insert_with(|| Arc::new(Link::new(target_of(entry))));
        Ok(Arc::clone(link))
    }

    fn addr_link(&self, addr: &str) -> Arc<Link> {
        let mut links = self.shared.addr_links.lock();
        if let Some(link) = links.get(addr) {
            return Arc::clone(link);
        }
        if links.len() >= ADDR_LINKS_MAX {
            links.clear();
        }
        let link = Arc::new(Link::new(Target {
            label: addr.into(),
            addr: addr.to_owned(),
            public_key: None,
        }));
        links.insert(addr.to_owned(), Arc::clone(&link));
        link
    }

    pub(crate) fn heard(&self, node: NodeId) -> Option<Arc<Heard>> {
        let links = self.shared.links.read();
        links.get(&node).map(|link| Arc::clone(&link.heard))
    }

    pub(crate) fn close_links(&self, node: NodeId) {
        if let Some(link) = self.shared.links.read().get(&node) {
            link.close();
        }
    }

    pub(crate) fn record(&self, node: NodeId, state: Liveness) {
        let answers = state == Liveness::Up;
        self.shared.words.saw(node, answers, Instant::now());
        self.shared.liveness.send_if_modified(|view| {
            let changed = view.get(&node) != Some(&state);
            if changed {
                Arc::make_mut(view).insert(node, state);
            }
            changed
        });
    }
}

fn target_of(entry: &crate::peers::PeerEntry) -> Target {
    Target {
        label: format!("node {}", entry.node).into(),
        addr: entry.addr.clone(),
        public_key: Some(entry.public_key),
    }
}

fn decode<R: Rpc>(
    peer: impl FnOnce() -> String,
    (header, payload): Answer,
) -> Result<(R::Response, Bytes), CallError> {
    match R::Response::decode(header) {
        Ok(response) => Ok((response, payload)),
        Err(error) => Err(CallError::Malformed {
            peer: peer(),
            reason: error.to_string(),
        }),
    }
}
