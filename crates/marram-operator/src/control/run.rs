//! The process: one of several acts, the one that has the Lease; all answer for metrics and health.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::core::v1::{Node, PersistentVolumeClaim, Pod, Service};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::{Api, ListParams};
use kube::runtime::controller::{Config, Controller};
use kube::runtime::events::{Recorder, Reporter};
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::watcher;
use kube::{Client, Resource, ResourceExt};
use kube_lease_manager::LeaseManagerBuilder;
use marram_metrics::{Condition, Listener, Sources, Verdict};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::context::Context;
use super::link::Links;
use super::meter::{Meter, MeterSource};
use super::reconcile::{after_error, is_missing, reconcile};
use super::requests;
use crate::api::{ClusterOperation, MarramCluster};
use crate::names::CLUSTER_LABEL;

/// The Lease.
const LEASE: &str = "marram-operator";
/// Clusters that are looked after at once.
const CONCURRENCY: u16 = 8;
/// Seconds that a Lease is good for, and before its end at which it is renewed.
const LEASE_SECONDS: (u64, u64) = (15, 5);

/// How the operator runs.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The image of pods whose resource names none.
    pub image: String,
    /// The one namespace to look after; all where `None`.
    pub namespace: Option<String>,
    /// Where the Lease is.
    pub lease_namespace: String,
    /// Who this process is.
    pub identity: String,
    /// Where metrics and health are given.
    pub metrics_listen: SocketAddr,
    /// How soon a cluster is looked at again while something is under way.
    pub poll: Duration,
    /// How soon it is looked at again at rest.
    pub resync: Duration,
}

/// The operator cannot run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The API server.
    #[error("the API server cannot be reached: {0}")]
    Kubernetes(#[from] kube::Error),
    /// The definitions.
    #[error(
        "the API server does not know MarramClusters: install the definitions (marram-operator crdgen | kubectl apply --server-side -f -)"
    )]
    NoDefinition,
    /// The listener.
    #[error("cannot listen on {address} for metrics: {error}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why not.
        error: std::io::Error,
    },
    /// The Lease.
    #[error("the Lease {LEASE} in {namespace} cannot be used: {error}")]
    Lease {
        /// Where.
        namespace: String,
        /// Why not.
        error: String,
    },
    /// The Lease went to another.
    #[error("another operator leads now")]
    LostLease,
}

/// Runs until it is told to stop, or another one leads.
///
/// # Errors
/// When something is missing that it cannot be without.
pub async fn run(settings: Settings, stop: CancellationToken) -> Result<(), RunError> {
    let client = Client::try_default().await?;
    let meter = Arc::new(Meter::default());
    let (ready, said) = watch::channel(Arc::new(Verdict::default()));
    let listener = listen(&settings, said, Arc::clone(&meter)).await?;
    let serves = tokio::spawn(listener);
    let outcome = tokio::select! {
        outcome = lead(client, &settings, meter, ready) => outcome,
        () = stop.cancelled() => Ok(()),
    };
    serves.abort();
    outcome
}

async fn listen(
    settings: &Settings,
    ready: watch::Receiver<Arc<Verdict>>,
    meter: Arc<Meter>,
) -> Result<impl Future<Output = ()> + use<>, RunError> {
    let address = settings.metrics_listen;
    let socket = TcpListener::bind(address).await;
    let socket = socket.map_err(|error| RunError::Listen { address, error })?;
    let sources = Arc::new(Sources::default());
    sources.add(Arc::new(MeterSource(meter)));
    Ok(marram_metrics::serve(
        socket,
        Listener {
            sources,
            ready,
            token: None,
        },
    ))
}

async fn lead(
    client: Client,
    settings: &Settings,
    meter: Arc<Meter>,
    ready: watch::Sender<Arc<Verdict>>,
) -> Result<(), RunError> {
    let clusters: Api<MarramCluster> = scoped(&client, settings);
    match clusters.list(&ListParams::default().limit(1)).await {
        Err(error) if is_missing(&error) => return Err(RunError::NoDefinition),
        other => drop(other?),
    }
    say(
        &ready,
        Condition::good("kubernetes", "the API server answers"),
    );
    let failed = |error: &dyn std::fmt::Display| RunError::Lease {
        namespace: settings.lease_namespace.clone(),
        error: error.to_string(),
    };
    let manager = LeaseManagerBuilder::new(client.clone(), LEASE)
        .with_namespace(&settings.lease_namespace)
        .with_identity(&settings.identity)
        .with_duration(LEASE_SECONDS.0)
        .with_grace(LEASE_SECONDS.1)
        .build()
        .await
        .map_err(|error| failed(&error))?;
    let (mut leads, _renews) = manager.watch().await;
    tracing::info!(identity = settings.identity, "waiting to lead");
    leads
        .wait_for(|leads| *leads)
        .await
        .map_err(|error| failed(&error))?;
    tracing::info!(identity = settings.identity, "leads");
    meter.leads();
    let lost = async {
        // An end of the channel is a loss too.
        drop(leads.wait_for(|leads| !*leads).await);
    };
    tokio::select! {
        () = control(client, clusters, settings, meter) => Ok(()),
        // Nothing that is under way is waited for: whoever leads now goes on by what is written down.
        () = lost => Err(RunError::LostLease),
    }
}

fn say(ready: &watch::Sender<Arc<Verdict>>, condition: Condition) {
    let conditions = vec![condition];
    ready.send_replace(Arc::new(Verdict { conditions }));
}

fn scoped<K>(client: &Client, settings: &Settings) -> Api<K>
where
    K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
{
    match &settings.namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    }
}

async fn control(
    client: Client,
    clusters: Api<MarramCluster>,
    settings: &Settings,
    meter: Arc<Meter>,
) {
    let reporter = Reporter {
        controller: "marram-operator".to_owned(),
        instance: Some(settings.identity.clone()),
    };
    let context = Arc::new(Context {
        recorder: Recorder::new(client.clone(), reporter),
        client: client.clone(),
        namespace: settings.namespace.clone(),
        image: settings.image.clone(),
        links: Links::default(),
        meter,
        poll: settings.poll,
        resync: settings.resync,
    });
    let ours = watcher::Config::default().labels(CLUSTER_LABEL);
    let controller = Controller::new(clusters, watcher::Config::default());
    let store = controller.store();
    let done = controller
        .with_config(Config::default().concurrency(CONCURRENCY))
        .owns(scoped::<StatefulSet>(&client, settings), ours.clone())
        .owns(scoped::<Deployment>(&client, settings), ours.clone())
        .owns(scoped::<Service>(&client, settings), ours.clone())
        .owns(
            scoped::<PodDisruptionBudget>(&client, settings),
            ours.clone(),
        )
        .watches(scoped::<Pod>(&client, settings), ours.clone(), |pod| {
            by_label(&pod)
        })
        .watches(
            scoped::<PersistentVolumeClaim>(&client, settings),
            ours,
            |claim| by_label(&claim),
        )
        .watches(
            scoped::<ClusterOperation>(&client, settings),
            watcher::Config::default(),
            |operation| requests::cluster(&operation),
        )
        .watches(
            Api::<Node>::all(client),
            watcher::Config::default(),
            move |_| all(&store),
        )
        .run(
            reconcile,
            |cluster, error, _| after_error(&cluster, error),
            Arc::clone(&context),
        );
    let done = done.for_each(|result| async {
        if let Err(error) = result {
            tracing::debug!(%error, "the controller");
        }
    });
    let asked = Box::pin(requests::control(Arc::clone(&context)));
    tokio::join!(done, asked, Box::pin(super::tenant::control(context)));
}

/// The cluster that an object's label names.
fn by_label<K: Resource>(object: &K) -> Option<ObjectRef<MarramCluster>> {
    let name = object.meta().labels.as_ref()?.get(CLUSTER_LABEL)?;
    let namespace = object.meta().namespace.as_ref()?;
    Some(ObjectRef::new(name).within(namespace))
}

/// All clusters.
fn all(store: &Store<MarramCluster>) -> Vec<ObjectRef<MarramCluster>> {
    let state = store.state();
    let reference = |cluster: &Arc<MarramCluster>| {
        let namespace = cluster.namespace().unwrap_or_default();
        ObjectRef::new(&cluster.name_any()).within(&namespace)
    };
    state.iter().map(reference).collect()
}
