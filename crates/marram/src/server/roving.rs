//! A gateway without drives: it follows the root group's view from the servers it is given, and
//! keeps nothing.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use marram_gateway::{ApiListener, ApiTls, Gateway, GatewayDeps, Kek};
use marram_mesh::{Mesh, Role, RootView};
use marram_meta::ClusterView;
use marram_metrics::Verdict;
use marram_proto::mesh::v1 as wire;
use marram_raft::Router;
use marram_types::ClusterHealth;
use marram_types::config::GatewayConfig;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{logging, otlp, profile};

use super::addresses;
use super::args::{GatewayArgs, gateway_config};
use super::founder::Asking;
use super::health::{self, MeshWitnesses};
use super::inspect::GatewayInspector;
use super::invitation::Invitation;
use super::lifetime::{api_tls, listen, now_ms, shift_clock, stop_when_told};
use super::newcomer::{Answer, Asks, ask_until_admitted};
use super::observe::{Cluster, Facts, Observed, Peers, Readiness};
use super::own::Own;
use super::remote::MeshCalls;
use super::renew::{AskServers, keep_renewed};
use super::scrape_token::ScrapeToken;
use super::tasks::{Fate, Tasks};
use super::view;

/// How long a server holds the answer back when nothing is new. A change of keys or settings is
/// answered at once.
const WAIT_MS: u32 = 5_000;
/// How long to wait for an answer beyond that.
const ANSWER_WITHIN: Duration = Duration::from_secs(7);
/// How long the first answer may take.
const FIRST_ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// Cached keys and settings serve this long without an answer; then requests are refused as
/// unavailable rather than judged by the past (rules.md 6).
const STALE_AFTER: Duration = Duration::from_secs(30);
/// Pause after a server that did not answer.
const PAUSE: Duration = Duration::from_millis(100);

pub(super) async fn run(args: GatewayArgs) -> Result<()> {
    let config = gateway_config(&args)?;
    logging::set_format(config.log.format);
    profile::keep_files_in(config.identity.parent());
    shift_clock(config.name.as_deref());
    let kek = Arc::new(Kek::load(&config.kek_file)?);
    let tls = api_tls(config.api_tls()?)?;
    let listener = listen("the API", config.api_listen).await?;
    let token = ScrapeToken::load(config.metrics_token_file.as_deref())?;
    let observed = Observed::start("gateway", config.metrics_listen, token).await?;
    otlp::start(&config.tracing, origin(&config))?;
    let stop = stop_when_told(args.stop_when_stdin_closes)?;
    let mut own = Own::load_or_make(config.identity.clone())?;
    let joined = tokio::select! {
        joined = join(&config, &kek, &mut own, &observed.readiness) => joined?,
        () = stop.cancelled() => return Ok(()),
    };
    let certificate = own.certificate(Role::Gateway, config.name.as_deref())?;
    let mesh = own.mesh(None)?;
    let (sender, seen) = watch::channel(Arc::new(ClusterView::default()));
    view::publish(&mesh, &sender, joined);
    let router = router(&mesh, &seen);
    let health = watch::Sender::default();
    let gateway = Gateway::new(GatewayDeps {
        mesh: mesh.clone(),
        router: Arc::clone(&router),
        view: seen.clone(),
        health: health.subscribe(),
        kek,
        name: certificate.name.to_string(),
        process: Arc::new(inspector(&observed, &seen, tls.clone())),
        calls: Arc::clone(&observed.calls),
        watchers: Arc::clone(&observed.watchers),
        ready: observed.readiness.subscribe(),
    });
    observe(&observed, &mesh, (&seen, &health), tls.clone());
    let mut tasks = Tasks::default();
    let (servers, seen_by) = (config.join.clone(), seen.clone());
    let says = Says::of(&config, &observed);
    let feed = follow(mesh.clone(), servers.clone(), (sender, says), stop.clone());
    tasks.spawn("feed", feed);
    let ask = AskServers {
        mesh: mesh.clone(),
        servers,
        view: seen.clone(),
    };
    tasks.spawn("certificate", keep_renewed(own, mesh.clone(), seen_by, ask));
    let witnesses = MeshWitnesses::new(mesh.clone(), Arc::clone(&router), seen.clone());
    tasks.spawn("health", health::follow(witnesses, health));
    tasks.spawn("routes", view::routes(router, seen));
    let readiness = Arc::clone(&observed.readiness);
    tasks.spawn("readiness", readiness.stop_with(stop.clone()));
    tracing::info!(api = %config.api_listen, "serving");
    let api = ApiListener {
        socket: listener,
        tls,
        limits: config.api,
        counts: observed.connections.clone(),
    };
    let serving = async {
        let served = gateway.serve(api, stop.clone()).await;
        served.context("the API cannot be served")
    };
    let served = tasks.beside(serving, (&stop, &Fate::default())).await;
    tasks.shutdown().await;
    mesh.close();
    served
}

/// The way to the metadata groups: this process has no replica of any.
fn router(mesh: &Mesh, view: &watch::Receiver<Arc<ClusterView>>) -> Arc<Router> {
    let calls = Arc::new(MeshCalls {
        mesh: mesh.clone(),
        view: view.clone(),
    });
    Arc::new(Router::new(None, calls))
}

/// What says how this process and its machine are.
fn inspector(
    observed: &Observed,
    view: &watch::Receiver<Arc<ClusterView>>,
    tls: Option<Arc<ApiTls>>,
) -> GatewayInspector {
    GatewayInspector {
        sources: observed.sources(),
        ready: observed.readiness.subscribe(),
        view: view.clone(),
        tls,
        started_ms: now_ms(),
    }
}

/// What the traces of this process are said to be of.
fn origin(config: &GatewayConfig) -> otlp::Origin {
    let name = config.name.clone();
    otlp::Origin {
        kind: "gateway",
        name: name.unwrap_or_else(|| config.api_listen.to_string()),
    }
}

/// Has operators see what this gateway knows, and that it serves now.
fn observe(
    observed: &Observed,
    mesh: &Mesh,
    (view, health): (
        &watch::Receiver<Arc<ClusterView>>,
        &watch::Sender<Arc<ClusterHealth>>,
    ),
    tls: Option<Arc<ApiTls>>,
) {
    observed.add(Peers {
        mesh: mesh.clone(),
        tls,
    });
    observed.add(Cluster {
        view: view.clone(),
        health: health.subscribe(),
    });
    observed.readiness.serving(Facts {
        view: view.clone(),
        mesh: mesh.clone(),
        name: format!("gateway {}", mesh.certificate().name),
    });
}

/// Joins where that is still to be done, and gives the view that came with the answer.
async fn join(
    config: &GatewayConfig,
    kek: &Kek,
    own: &mut Own,
    readiness: &Readiness,
) -> Result<ClusterView> {
    if own.is_member() {
        return Ok(ClusterView::default());
    }
    let (token, file) = (config.token.as_ref(), config.token_file.as_ref());
    let invitation = Invitation::of(token, file, config.await_token)?;
    let asks = Asks::Gateway(config.name.clone());
    let nobody = (readiness, &mut Asking::never());
    match ask_until_admitted(&config.join, kek, own, invitation, asks, nobody).await? {
        Answer::Admitted(admitted) => Ok(admitted.view),
        Answer::Asked(_) => bail!("a gateway founds no cluster"),
    }
}

/// What this gateway says of itself with each question for the view.
struct Says {
    api_address: String,
    metrics_address: String,
    ready: watch::Receiver<Arc<Verdict>>,
}

impl Says {
    fn of(config: &GatewayConfig, observed: &Observed) -> Self {
        Self {
            api_address: config.api_listen.to_string(),
            metrics_address: observed.address(&config.metrics_listen.to_string()),
            ready: observed.readiness.subscribe(),
        }
    }

    fn note(&self) -> wire::GatewayNote {
        wire::GatewayNote {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            api_address: self.api_address.clone(),
            metrics_address: self.metrics_address.clone(),
            not_ready: self.ready.borrow().reasons(),
        }
    }
}

/// Follows the view: from any known node while there are some, else from the servers given.
async fn follow(
    mesh: Mesh,
    servers: Vec<String>,
    (sender, says): (watch::Sender<Arc<ClusterView>>, Says),
    stop: CancellationToken,
) {
    let mut answered = Instant::now();
    for turn in 0_usize.. {
        if stop.is_cancelled() {
            return;
        }
        let Err(error) = ask(&mesh, &servers, turn, &sender, &says).await else {
            answered = Instant::now();
            continue;
        };
        tracing::debug!(%error, "no view of the cluster from this server");
        if answered.elapsed() > STALE_AFTER && sender.borrow().cluster.is_some() {
            tracing::error!("no server has answered for {STALE_AFTER:?}: requests are refused");
            sender.send_replace(Arc::default());
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn ask(
    mesh: &Mesh,
    servers: &[String],
    turn: usize,
    sender: &watch::Sender<Arc<ClusterView>>,
    says: &Says,
) -> Result<()> {
    let known = sender.borrow().clone();
    let request = wire::RootViewRequest {
        known_index: known.index,
        wait_ms: WAIT_MS,
        note: Some(says.note()),
    };
    let living: Vec<_> = known
        .nodes
        .keys()
        .copied()
        .filter(|n| mesh.is_up(*n))
        .collect();
    let answer = match living.get(turn % living.len().max(1)) {
        Some(node) => {
            mesh.call::<RootView>(*node, request, Bytes::new(), ANSWER_WITHIN)
                .await?
        }
        None => {
            let (addresses, failed) = addresses::resolve(servers).await;
            let server = addresses.get(turn % addresses.len().max(1));
            let server = server.with_context(|| failed.unwrap_or_default())?;
            mesh.call_addr::<RootView>(server, request, Bytes::new(), FIRST_ANSWER_WITHIN)
                .await?
        }
    };
    if !answer.0.view.is_empty() {
        let new = ClusterView::decode(&answer.0.view).context("the view cannot be read")?;
        view::publish(mesh, sender, new);
    }
    Ok(())
}
