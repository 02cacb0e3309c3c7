//! A storage node: it founds a cluster, joins one or resumes, and then runs every role.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use async_trait::async_trait;
use marram_gateway::{ApiListener, ApiTls, Gateway, GatewayDeps, Kek, open_authority};
use marram_maintain::{
    Controller, EventsKept, Mover, MoverWaits, Pace, Patience, Reencode, Warden, hand_over_all,
    keep_voters, spread_leaders,
};
use marram_mesh::{Mesh, Peer, Role};
use marram_meta::ClusterView;
use marram_metrics::Runtime;
use marram_proto::mesh::v1 as wire;
use marram_raft::{CheckpointPolicy, HostConfig, MetaLogic, RaftHost, RaftTimers, Router};
use marram_store::wal::{Wal, WalOptions};
use marram_types::caps::OBJECT_GROUPS_DEFAULT;
use marram_types::config::ServerConfig;
use marram_types::{ClusterHealth, GroupId, NodeId, ReplicaId};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{logging, otlp, profile};

use super::args::{ServerArgs, server_config};
use super::gateways::HeardGateways;
use super::health::{HAND_OVER_WITHIN, MeshWitnesses};
use super::inspect::{Inspector, Settings};
use super::issuer::Issuer;
use super::lifetime::{api_tls, listen, now_ms, shift_clock, stop_when_told};
use super::local::{Local, MeshTransport};
use super::meshed::MeshShards;
use super::observe::{
    Buckets, Cluster, DriveSource, Facts, Groups, Lost, Observed, Peers, ProposalCounts, Readiness,
    Requests, UpkeepSource, keep_history,
};
use super::own::Own;
use super::process::Process;
use super::reencode::{LinkPace, MeshReencoders};
use super::remote::MeshCalls;
use super::renew::{Renewer, keep_renewed};
use super::scrape_token::ScrapeToken;
use super::service::NodeService;
use super::settings::Said;
use super::storage::{Drives, Start, Storage};
use super::tasks::{Fate, Tasks};
use super::wayback::{self, WaybackArgs};
use super::work::{MeshSources, Work};
use super::{catch_up, groups, pace, room, upkeep, view};

mod found;
mod join;
mod wait;

/// How long an orderly stop may take, beyond the hand-over and the grace of calls, before the process just
/// ends: everything acknowledged is durable at any moment, so nothing is lost by it.
const END_WITHIN: Duration = Duration::from_secs(2);

/// Memory of all redb caches of the state machines together (rules.md 10).
const REDB_CACHE_BYTES: usize = 24 << 20;

/// The listeners, opened before anything else: a port in use is told at once.
struct Listeners {
    api: TcpListener,
    tls: Option<Arc<ApiTls>>,
    mesh: TcpListener,
    /// Of metrics and health, which answers already.
    observed: Observed,
}

/// What a running node is made of.
pub(super) struct Node {
    host: Arc<RaftHost>,
    logic: Arc<MetaLogic>,
    local: Arc<Local>,
    mesh: Mesh,
    sender: watch::Sender<Arc<ClusterView>>,
    view: watch::Receiver<Arc<ClusterView>>,
    room: Arc<room::Gauge>,
    proposals: Arc<ProposalCounts>,
    health: watch::Sender<Arc<ClusterHealth>>,
}

pub(super) async fn run(args: ServerArgs, said: Said) -> Result<()> {
    let (config, file) = server_config(&args)?;
    logging::set_format(config.log.format);
    shift_clock(config.name.as_deref());
    let settings = Settings::of(&config, &said, &file);
    let kek = Arc::new(Kek::load(&config.kek_file)?);
    let storage = Storage::open(&config)?;
    profile::keep_files_in(config.data.first().map(PathBuf::as_path));
    let start = if args.wayback.begins_anew() {
        Start::Anew
    } else {
        storage.start(&config)?
    };
    if let Some(target) = &args.wayback.export_metadata {
        let Start::Resume { node, replica } = start else {
            bail!("this server is no member yet: it has no metadata to export");
        };
        return wayback::export(&storage, (node, replica), target);
    }
    let metrics_token = ScrapeToken::load(config.metrics_token_file.as_deref())?;
    let listeners = Listeners {
        tls: api_tls(config.api_tls()?)?,
        api: listen("the API", config.api_listen).await?,
        mesh: listen("the mesh", config.mesh_listen).await?,
        observed: Observed::start("server", config.metrics_listen, metrics_token).await?,
    };
    otlp::start(
        &config.tracing,
        otlp::Origin {
            kind: "server",
            name: or_listen(config.name.as_ref(), config.api_listen),
        },
    )?;
    let stop = stop_when_told(args.stop_when_stdin_closes)?;
    let fate = Fate::default();
    let within = HAND_OVER_WITHIN + Duration::from_secs(config.api.stop_grace_s) + END_WITHIN;
    tokio::select! {
        ran = start_and_serve(
            (config, settings, args.wayback),
            kek,
            storage,
            start,
            listeners,
            (stop.clone(), &fate),
        ) => ran,
        () = overdue(&stop, within) => {
            tracing::warn!("the orderly stop took too long");
            fate.judge()
        }
    }
}

async fn overdue(stop: &CancellationToken, within: Duration) {
    stop.cancelled().await;
    tokio::time::sleep(within).await;
}

async fn start_and_serve(
    (config, settings, way_back): (ServerConfig, Settings, WaybackArgs),
    kek: Arc<Kek>,
    mut storage: Storage,
    start: Start,
    listeners: Listeners,
    (stop, fate): (CancellationToken, &Fate),
) -> Result<()> {
    let threads = RaftThreads::start()?;
    let raft = threads.handle().clone();
    listeners.observed.add(Runtime::new("raft", raft.clone()));
    let (node, own) = match start {
        Start::Anew => {
            let begun = wayback::begin_anew(&config, &kek, &mut storage, &way_back).await?;
            let own = Own::load(storage.own_file())?;
            let mesh = own.mesh(Some(raft.clone()))?;
            let resumed = wayback::resume(&config, &mut storage, &mesh, &raft, begun, false);
            (resumed.await?, own)
        }
        Start::Resume { node, replica } if way_back.adopt_drives => {
            let (member, ready) = ((node, replica), &*listeners.observed.readiness);
            tokio::select! {
                adopted = wayback::adopt(&config, &kek, &mut storage, &raft, (member, ready)) => adopted?,
                () = stop.cancelled() => return Ok(()),
            }
        }
        _ if way_back.adopt_drives => bail!(
            "these folders belong to no node: --adopt-drives is for one that was a member, leave it out"
        ),
        Start::Resume { node, replica } => {
            let own = Own::load(storage.own_file())?;
            own.certificate(Role::Node, config.name.as_deref())?;
            let mesh = own.mesh(Some(raft.clone()))?;
            let (member, given_up) = ((node, replica), way_back.give_up_metadata);
            let resumed = tokio::select! {
                resumed = wayback::resume(&config, &mut storage, &mesh, &raft, member, given_up) => {
                    resumed?
                }
                () = stop.cancelled() => return Ok(()),
            };
            check_key(&kek, &resumed.view.borrow())?;
            (resumed, own)
        }
        Start::Found => {
            let beginning = found::Beginning::of(&config, &kek)?;
            found::found(&config, &kek, beginning, &mut storage, &raft).await?
        }
        Start::Join => tokio::select! {
            waited = wait::wait(&config, &kek, &mut storage, &raft, &listeners) => waited?,
            () = stop.cancelled() => return Ok(()),
        },
    };
    let told = (&config, settings);
    let served = serve(told, kek, storage, listeners, (&node, own), (&stop, fate)).await;
    node.host.shutdown().await;
    node.mesh.close();
    served
}

/// A server with another key-encryption key could read no secret of the cluster.
pub(super) fn check_key(kek: &Kek, view: &ClusterView) -> Result<()> {
    if let (Some(cluster), Some(record)) = (&view.cluster, view.issuing()) {
        open_authority(kek, cluster.cluster, record)?;
    }
    Ok(())
}

/// Raft has threads of its own: its timers must not wait behind bulk work (rules.md 8). They are let
/// go without waiting, because the last owner may itself be a task.
struct RaftThreads(Option<tokio::runtime::Runtime>);

impl RaftThreads {
    fn start() -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("marram-raft")
            .enable_all()
            .build();
        Ok(Self(Some(
            runtime.context("cannot start the threads of Raft")?,
        )))
    }

    fn handle(&self) -> &tokio::runtime::Handle {
        self.0.as_ref().expect("there until it is dropped").handle()
    }
}

impl Drop for RaftThreads {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

pub(super) fn open_log(storage: &Storage) -> Result<Wal> {
    open_log_in(storage, &storage.raft_dir())
}

/// Opens the log in another folder of the metadata drive.
pub(super) fn open_log_in(storage: &Storage, dir: &Path) -> Result<Wal> {
    let files = storage.metadata_files();
    files
        .create_dir(dir)
        .with_context(|| format!("cannot make {}", dir.display()))?;
    let space = files
        .space(dir)
        .with_context(|| format!("cannot measure {}", dir.display()))?;
    let options = WalOptions {
        segment_bytes: storage.limits().wal_segment_bytes(space.capacity),
        ..WalOptions::default()
    };
    Wal::open(files, &dir.join("log"), options).context("cannot open the Raft log")
}

/// Opens log and replicas. `admitted` is the view that came with the answer to a join; a node that
/// resumes reads its own.
pub(super) async fn open(
    storage: &Storage,
    mesh: &Mesh,
    replica: ReplicaId,
    raft: &tokio::runtime::Handle,
    admitted: Option<ClusterView>,
) -> Result<Node> {
    let vfs = storage.metadata_files();
    let dir = storage.raft_dir();
    let wal = open_log(storage)?;
    let first = Arc::new(admitted.unwrap_or_default());
    mesh.set_peers(view::peers(&first));
    let (sender, view) = watch::channel(first);
    let transport = Arc::new(MeshTransport {
        mesh: mesh.clone(),
        view: view.clone(),
    });
    let gauge = Arc::new(room::Gauge::default());
    let logic = Arc::new(MetaLogic::default());
    let proposals = Arc::<ProposalCounts>::default();
    let host = RaftHost::open(HostConfig {
        dir: dir.join("state"),
        vfs,
        wal,
        replica,
        transport,
        logic: logic.clone(),
        clock: Arc::new(now_ms),
        timers: RaftTimers::default(),
        checkpoint: CheckpointPolicy::default(),
        proposals: proposals.clone(),
        room: Arc::new({
            let gauge = Arc::clone(&gauge);
            move || gauge.room()
        }),
        cache_bytes: REDB_CACHE_BYTES,
        groups_expected: OBJECT_GROUPS_DEFAULT + 1,
        runtime: Some(raft.clone()),
    })
    .await?;
    host.create_group(GroupId::ROOT).await?;
    let own = view::read(&host).await?;
    if own.index > view.borrow().index {
        view::publish(mesh, &sender, own);
    }
    let calls = Arc::new(MeshCalls {
        mesh: mesh.clone(),
        view: view.clone(),
    });
    let router = Arc::new(Router::new(Some(Arc::clone(&host)), calls));
    let health: watch::Sender<Arc<ClusterHealth>> = watch::Sender::default();
    let local = Arc::new(Local {
        host: Arc::clone(&host),
        router,
        mesh: mesh.clone(),
        view: view.clone(),
        health: health.subscribe(),
    });
    Ok(Node {
        host,
        logic,
        local,
        mesh: mesh.clone(),
        sender,
        view,
        room: gauge,
        proposals,
        health,
    })
}

/// What issues certificates here.
fn issuer(config: &ServerConfig, kek: Arc<Kek>, node: &Node) -> Arc<Issuer> {
    Arc::new(Issuer {
        kek,
        lifetime: Duration::from_secs(config.certificate_lifetime_s),
        local: Arc::clone(&node.local),
        view: node.view.clone(),
    })
}

/// Runs every role until told to stop.
async fn serve(
    (config, settings): (&ServerConfig, Settings),
    kek: Arc<Kek>,
    storage: Storage,
    listeners: Listeners,
    (node, own): (&Node, Own),
    (stop, fate): (&CancellationToken, &Fate),
) -> Result<()> {
    let (raft_dir, limits) = (storage.raft_dir(), storage.limits());
    let drives = Arc::new(storage.drives(config)?);
    let pace = Arc::new(Pace::new(pace::settings(&config.background)));
    let shards = Arc::new(MeshShards::new(node.mesh.clone(), node.health.subscribe()));
    let mut tasks = Tasks::default();
    let upkeep = upkeep::spawn(&mut tasks, config, &node.local, &shards, (&drives, &pace));
    let issuer = issuer(config, Arc::clone(&kek), node);
    let gateway = gateway(&listeners.observed, node, &kek);
    let reencoder = gateway.reencoder(Arc::new(LinkPace(Arc::clone(&pace))));
    let (requests, observed) = (Arc::<Requests>::default(), upkeep.observed());
    let inspector = inspector(
        &listeners,
        node,
        &drives,
        (config, settings, (limits, raft_dir.clone())),
    );
    node.mesh.set_service(Arc::new(NodeService {
        requests: Arc::clone(&requests),
        inspector,
        host: Arc::clone(&node.host),
        local: Arc::clone(&node.local),
        drives: Arc::clone(&drives),
        work: worker(node, &drives, &pace),
        pace,
        upkeep,
        issuer: Arc::clone(&issuer),
        reencoder,
        view: node.view.clone(),
        metrics_address: listeners.observed.address(&mesh_address(config)),
        ready: listeners.observed.readiness.subscribe(),
        gateways: HeardGateways::default(),
    }));
    observe((&listeners, config), node, &drives, (requests, observed));
    tasks.spawn("mesh", {
        let mesh = node.mesh.clone();
        async move { mesh.serve(listeners.mesh).await }
    });
    watch_drives(&mut tasks, node, drives, (raft_dir, limits));
    let (mesh, view) = (node.mesh.clone(), node.view.clone());
    let renewer = Itself(issuer, mesh.clone());
    tasks.spawn("certificate", keep_renewed(own, mesh, view, renewer));
    follow_the_cluster(&mut tasks, node, config);
    maintain(config, node, shards, &mut tasks);
    let handed_over = CancellationToken::new();
    let readiness = listeners.observed.readiness.clone();
    let leaving = (stop.clone(), handed_over.clone());
    tasks.spawn(
        "stop",
        leave_in_order(node.local.clone(), readiness, leaving),
    );
    tracing::info!(node = ?node.mesh.node(), api = %config.api_listen, mesh = %config.mesh_listen, "serving");
    let api = api_listener((listeners.api, listeners.tls), config, &listeners.observed);
    let serving = async {
        tokio::select! {
            served = gateway.serve(api, handed_over) => served.context("the API cannot be served"),
            wrong = another_key(kek, node.view.clone()) => Err(wrong),
        }
    };
    let served = tasks.beside(serving, (stop, fate)).await;
    tasks.shutdown().await;
    served
}

fn api_listener(
    (socket, tls): (TcpListener, Option<Arc<ApiTls>>),
    config: &ServerConfig,
    observed: &Observed,
) -> ApiListener {
    ApiListener {
        socket,
        tls,
        limits: config.api,
        counts: Arc::clone(&observed.connections),
    }
}

/// The API of this node.
fn gateway(observed: &Observed, node: &Node, kek: &Arc<Kek>) -> Gateway {
    Gateway::new(GatewayDeps {
        mesh: node.mesh.clone(),
        router: Arc::clone(&node.local.router),
        view: node.view.clone(),
        health: node.health.subscribe(),
        kek: Arc::clone(kek),
        name: node.mesh.certificate().name.to_string(),
        process: Arc::new(Process),
        calls: Arc::clone(&observed.calls),
        watchers: Arc::clone(&observed.watchers),
        ready: observed.readiness.subscribe(),
    })
}

/// What says how this node and its machine are.
fn inspector(
    listeners: &Listeners,
    node: &Node,
    drives: &Arc<Drives>,
    (config, settings, limits): (&ServerConfig, Settings, (room::Limits, PathBuf)),
) -> Inspector {
    Inspector {
        sources: listeners.observed.sources(),
        ready: listeners.observed.readiness.subscribe(),
        drives: Arc::clone(drives),
        host: Arc::clone(&node.host),
        mesh: node.mesh.clone(),
        view: node.view.clone(),
        tls: listeners.tls.clone(),
        settings,
        certificate_lifetime_s: config.certificate_lifetime_s,
        limits,
        started_ms: now_ms(),
    }
}

/// Has operators see what this node is made of, and that it serves now.
fn observe(
    (listeners, config): (&Listeners, &ServerConfig),
    node: &Node,
    drives: &Arc<Drives>,
    (requests, upkeep): (Arc<Requests>, UpkeepSource),
) {
    let observed = &listeners.observed;
    observed.add_shared(requests);
    observed.add(upkeep);
    observed.add_shared(drives.disks().clone());
    observed.add(Peers {
        mesh: node.mesh.clone(),
        tls: listeners.tls.clone(),
    });
    observed.add(DriveSource(Arc::clone(drives)));
    observed.add(Groups {
        host: Arc::clone(&node.host),
        mesh: node.mesh.clone(),
        view: node.view.clone(),
        lost: Lost::default(),
        proposals: node.proposals.clone(),
    });
    if config.metrics_buckets > 0 {
        let (host, router) = (Arc::clone(&node.host), Arc::clone(&node.local.router));
        let view = node.view.clone();
        observed.add(Buckets::new(config.metrics_buckets, host, router, view));
    }
    observed.add_shared(node.proposals.clone());
    observed.add(Cluster {
        view: node.view.clone(),
        health: node.health.subscribe(),
    });
    let certificate = node.mesh.certificate();
    observed.readiness.serving(Facts {
        view: node.view.clone(),
        mesh: node.mesh.clone(),
        name: format!("node {}", certificate.name),
    });
}

/// Ends when the cluster turns out to have another key-encryption key: what is known at the start may
/// be from before its CA.
async fn another_key(kek: Arc<Kek>, mut view: watch::Receiver<Arc<ClusterView>>) -> anyhow::Error {
    let mut checked = None;
    loop {
        let seen = view.borrow_and_update().clone();
        let issuing = seen.issuing().map(|record| record.fingerprint);
        if issuing != checked
            && let Err(error) = check_key(&kek, &seen)
        {
            return error;
        }
        checked = issuing;
        if view.changed().await.is_err() {
            return std::future::pending().await;
        }
    }
}

/// A planned stop: peers are told to prefer others, what this server leads goes to others, and only
/// then the API closes. Writes pause for a hand-over, not for an election.
async fn leave_in_order(
    local: Arc<Local>,
    readiness: Arc<Readiness>,
    (stop, handed_over): (CancellationToken, CancellationToken),
) {
    stop.cancelled().await;
    readiness.stopping();
    local.mesh.leave();
    let view = local.view.borrow().clone();
    let done = hand_over_all(local.as_ref(), &view, HAND_OVER_WITHIN).await;
    tracing::info!(handed = done.handed.len(), kept = ?done.kept, "leaderships before the stop");
    handed_over.cancel();
}

/// Measures what is left of the metadata drive, and how all drives do lately.
fn watch_drives(
    tasks: &mut Tasks,
    node: &Node,
    drives: Arc<Drives>,
    (raft_dir, limits): (PathBuf, room::Limits),
) {
    tasks.spawn("history of disks", keep_history(drives.disks().clone()));
    let room = Arc::clone(&node.room);
    tasks.spawn("room", room::watch(room, raft_dir, drives, limits));
}

/// What this node does and says because of what the cluster has decided.
fn follow_the_cluster(tasks: &mut Tasks, node: &Node, config: &ServerConfig) {
    let (host, mesh, view) = (&node.host, &node.mesh, &node.view);
    let catch_up = catch_up::catch_up(
        Arc::clone(host),
        mesh.clone(),
        config.join.clone(),
        node.sender.clone(),
    );
    tasks.spawn("catch up", catch_up);
    let logic = Arc::clone(&node.logic);
    tasks.spawn("version gate", wayback::follow_gate(logic, view.clone()));
    let report = wayback::report_version(Arc::clone(&node.local));
    tasks.spawn_finite("version report", report);
    tasks.spawn("groups", groups::follow(Arc::clone(host), view.clone()));
    let router = Arc::clone(&node.local.router);
    tasks.spawn("routes", view::routes(router, view.clone()));
    let sender = node.sender.clone();
    tasks.spawn("view", follow_view(Arc::clone(host), mesh.clone(), sender));
}

/// What works on this node's shards for those who move and repair.
fn worker(node: &Node, drives: &Arc<Drives>, pace: &Arc<Pace>) -> Arc<Work> {
    let sources = MeshSources::new(node.mesh.clone(), node.view.clone(), Arc::clone(pace));
    let (view, root) = (node.view.clone(), node.local.router.clone());
    Arc::new(Work::new(
        Arc::clone(drives),
        view,
        root,
        sources,
        Arc::clone(pace),
    ))
}

/// Begins the work in the background.
fn maintain(config: &ServerConfig, node: &Node, shards: Arc<MeshShards>, tasks: &mut Tasks) {
    let (local, view) = (&node.local, &node.view);
    let events = EventsKept {
        for_ms: config.watch.events_kept_s.saturating_mul(1000),
        bytes: config.watch.events_kept_mib.saturating_mul(1 << 20),
    };
    let controller = Controller::new(Arc::clone(local), view.clone(), events);
    tasks.spawn("controller", controller.run());
    let waits = MoverWaits {
        narrow: Duration::from_secs(config.narrow_grace_s),
        balance: Duration::from_secs(config.balance_quiet_s),
    };
    let mover = Mover::waiting(Arc::clone(local), shards, view.clone(), waits);
    let (mesh, router) = (node.mesh.clone(), Arc::clone(&local.router));
    let warden = Warden::new(
        Arc::clone(local),
        Arc::new(MeshWitnesses::new(mesh, router, view.clone())),
        view.clone(),
        mover.progress(),
        Patience::new(config.repair_grace_s.saturating_mul(1000)),
        node.health.clone(),
    );
    tasks.spawn("warden", warden.run());
    tasks.spawn("mover", mover.run());
    let reencoders = Arc::new(MeshReencoders::new(node.mesh.clone()));
    let reencode = Reencode::new(Arc::clone(local), reencoders, view.clone());
    tasks.spawn("encoding anew", reencode.run());
    tasks.spawn("voters", keep_voters(Arc::clone(local), view.clone()));
    tasks.spawn("leaders", spread_leaders(Arc::clone(local), view.clone()));
}

async fn follow_view(host: Arc<RaftHost>, mesh: Mesh, sender: watch::Sender<Arc<ClusterView>>) {
    if let Err(error) = view::follow(host, mesh, sender).await {
        tracing::error!(
            error = format!("{error:#}"),
            "the view of the cluster stands still"
        );
    }
}

/// A server asks itself, which sends it on to the root group's leader if that is another one.
struct Itself(Arc<Issuer>, Mesh);

#[async_trait]
impl Renewer for Itself {
    async fn renew(&self, request: wire::RenewRequest) -> Result<wire::RenewResponse> {
        let own = self.1.node().context("this server is no member yet")?;
        Ok(self.0.renew(Peer::Node(own), request).await?)
    }
}

fn or_listen(given: Option<&String>, listen: SocketAddr) -> String {
    given.cloned().unwrap_or_else(|| listen.to_string())
}

/// How peers reach this node.
fn mesh_address(config: &ServerConfig) -> String {
    or_listen(config.mesh_advertise.as_ref(), config.mesh_listen)
}

/// What a node tells of itself.
pub(super) fn describe(
    config: &ServerConfig,
    storage: &Storage,
    public_key: [u8; 32],
) -> Result<marram_meta::NodeJoin> {
    Ok(marram_meta::NodeJoin {
        name: config.name.clone().unwrap_or_default(),
        mesh_addr: mesh_address(config),
        api_addr: or_listen(config.api_advertise.as_ref(), config.api_listen),
        public_key,
        zone: config.zone.clone().unwrap_or_default(),
        drives: storage.offered(config.drive_capacity)?,
    })
}

/// The node that this server is, once it is known.
pub(super) fn settle(mesh: &Mesh, node: NodeId) {
    tracing::info!(%node, "this server is a member");
    mesh.set_node(node);
}
