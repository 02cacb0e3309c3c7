//! What is there of a cluster, read anew from the API server for each step: what a cache says may be old.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::core::v1::{
    Event, Node, PersistentVolume, PersistentVolumeClaim, Pod, Secret,
};
use k8s_openapi::api::storage::v1::StorageClass;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use kube::api::ListParams;
use marram_client::{Client, ScrubStatus};

use super::context::{Context, now};
use super::error::ReconcileError;
use super::kube_api::Objects;
use super::trust::{self, Others};
use super::{ensure, link, pods, probe, requests, secrets};
use crate::api::{ClusterOperation, MarramCluster, OperationKind, OperationType};
use crate::build::{TEMPLATE_ANNOTATION, Template};
use crate::names::Names;
use crate::step::expansion_is_wanted;
use crate::view::{ClaimView, GatewaysView, HostView, PodView, RequestView, SetView, View, is_up};

/// An event that is older says nothing about now: what is refused is tried again within that time.
const FRESH_SECONDS: i64 = 120;

/// What was seen, and what it was seen by.
pub(super) struct Seen {
    pub(super) view: View,
    /// The ClusterOperations as they are, in the order of the view's.
    pub(super) requests: Vec<ClusterOperation>,
    /// The StatefulSet as it is.
    pub(super) live: Option<StatefulSet>,
    /// The cluster, where it answers.
    pub(super) cluster: Option<Client>,
    /// The operator's key and the CA, where they are there.
    pub(super) access: Option<secrets::Access>,
    /// Certificates that others keep.
    pub(super) others: Others,
}

/// Looks at everything.
pub(super) async fn observe(
    context: &Context,
    objects: &Objects,
    (resource, names): (&MarramCluster, &Names),
    template: &Template,
) -> Result<Seen, ReconcileError> {
    let selected = ListParams::default().labels(&names.selector_text());
    let live = objects.get::<StatefulSet>(&names.name).await?;
    let pods_seen = objects.of::<Pod>().list(&selected).await;
    let pods_seen = pods_seen.map_err(ReconcileError::kubernetes("list the pods"))?;
    let claims = objects.of::<PersistentVolumeClaim>().list(&selected).await;
    let claims = claims.map_err(ReconcileError::kubernetes("list the claims"))?;
    let hosts = objects.global::<Node>().list(&ListParams::default()).await;
    let hosts = hosts.map_err(ReconcileError::kubernetes("list the nodes"))?;
    let requests = requests::list(objects, names).await?;
    let join = objects.get::<Secret>(&names.join()).await?;
    let keys_exist = objects.get::<Secret>(&names.keys()).await?.is_some();
    let others = trust::others(objects, names, &resource.spec).await?;
    let access = secrets::access(objects, names, &others).await?;

    let pods: BTreeMap<i32, PodView> = pods_seen
        .iter()
        .filter_map(|pod| Some((names.ordinal(&pod.name_any())?, pods::pod(pod))))
        .collect();
    let claims_seen = claims
        .iter()
        .filter_map(|claim| Some((names.claim_ordinal(&claim.name_any())?, pods::claim(claim))))
        .collect();
    let zone_label = resource.spec.zone_label();
    let host = |node: &Node| (node.name_any(), pods::host(node, zone_label));
    let hosts: BTreeMap<String, HostView> = hosts.iter().map(host).collect();
    let mut view = View {
        now: now(),
        names: names.clone(),
        spec: resource.spec.clone(),
        status: resource.status.clone().unwrap_or_default(),
        template_hash: template.hash.clone(),
        set: live.as_ref().map(set),
        pods,
        claims: claims_seen,
        classes: BTreeMap::new(),
        gateways: gateways(objects, resource, names).await?,
        hosts,
        requests: requests.iter().map(requests::view).collect(),
        scrub: None,
        tokens: secrets::tokens(join.as_ref()),
        keys_exist,
        cluster: Err("no pod is ready".to_owned()),
    };
    ask_pods(&mut view).await;
    let cluster = ask(context, &mut view, access.as_ref()).await;
    look_closer(objects, &mut view, &claims.items).await?;
    Ok(Seen {
        view,
        requests,
        live,
        cluster,
        access,
        others,
    })
}

fn set(live: &StatefulSet) -> SetView {
    let status = live.status.clone().unwrap_or_default();
    SetView {
        replicas: live
            .spec
            .as_ref()
            .and_then(|spec| spec.replicas)
            .unwrap_or(1),
        update_revision: status.update_revision.unwrap_or_default(),
        uid: live.uid().unwrap_or_default(),
        claim_size: ensure::live_size(Some(live)),
        template: live.annotations().get(TEMPLATE_ANNOTATION).cloned(),
        is_current: status.observed_generation == live.metadata.generation,
        deleting: live.metadata.deletion_timestamp.is_some(),
        trouble: None,
    }
}

/// The gateways, where there are any or are to be.
async fn gateways(
    objects: &Objects,
    resource: &MarramCluster,
    names: &Names,
) -> Result<GatewaysView, ReconcileError> {
    let known = resource
        .status
        .as_ref()
        .is_some_and(|s| s.gateway.is_some());
    if !known && resource.spec.gateways().is_none() {
        return Ok(GatewaysView::default());
    }
    let live = objects.get::<Deployment>(&names.gateway()).await?;
    let spec = live.as_ref().and_then(|live| live.spec.as_ref());
    let template = spec.and_then(|spec| spec.template.spec.as_ref());
    let container = template.and_then(|template| template.containers.first());
    let selected = ListParams::default().labels(&names.gateway_selector_text());
    let pods = objects.of::<Pod>().list(&selected).await;
    let pods = pods.map_err(ReconcileError::kubernetes("list the gateways' pods"))?;
    Ok(GatewaysView {
        replicas: spec.map(|spec| spec.replicas.unwrap_or(1)),
        image: container.and_then(|container| container.image.clone()),
        pods: pods.iter().map(pods::pod).collect(),
        trouble: live.as_ref().and_then(no_replicas),
    })
}

/// Why a Deployment does not get its pods: a quota, for example.
fn no_replicas(live: &Deployment) -> Option<String> {
    let mut conditions = live.status.as_ref()?.conditions.iter().flatten();
    let failure =
        conditions.find(|said| said.type_ == "ReplicaFailure" && said.status == "True")?;
    failure.message.clone()
}

/// Asks pods that are not ready for their own word.
async fn ask_pods(view: &mut View) {
    for pod in view.pods.values_mut() {
        let asks = pod.running_since.is_some() && !pod.ready && !pod.deleting;
        if let Some(address) = pod.address.as_ref().filter(|_| asks) {
            pod.waits_for_token = probe::waits_for_token(address).await;
        }
    }
}

/// Asks the cluster how it is.
async fn ask(
    context: &Context,
    view: &mut View,
    access: Option<&secrets::Access>,
) -> Option<Client> {
    let serving = link::serving(&view.pods);
    let access = access.filter(|_| !serving.is_empty())?;
    let client = match context.links.to(&view.names, access, &serving).await {
        Ok(client) => client,
        Err(error) => {
            view.cluster = Err(error.to_string());
            return None;
        }
    };
    let shrinks = view.spec.nodes() < view.replicas();
    let drains = |it: &RequestView| it.kind == OperationType::DrainDomain && !it.over;
    let with_buckets = shrinks || view.requests.iter().any(drains);
    match link::look(&client, with_buckets).await {
        Ok(cluster) => {
            view.cluster = Ok(cluster);
            view.scrub = scrubs(&client, view).await;
            Some(client)
        }
        Err(error) => {
            view.cluster = Err(error.to_string());
            None
        }
    }
}

/// How far the scrubs are, where an operation waits for them.
async fn scrubs(client: &Client, view: &View) -> Option<ScrubStatus> {
    let operation = view.status.operation.as_ref();
    operation.filter(|operation| operation.kind == OperationKind::Scrub)?;
    client.scrub_status().await.ok()
}

/// What is only asked where something is amiss: volumes for where they are bound to, events for what keeps
/// pods from being made.
async fn look_closer(
    objects: &Objects,
    view: &mut View,
    claims: &[PersistentVolumeClaim],
) -> Result<(), ReconcileError> {
    let away: Vec<i32> = (0..view.replicas())
        .filter(|n| {
            view.member(&view.names.pod(*n))
                .is_some_and(|member| !is_up(member))
        })
        .collect();
    for ordinal in away {
        let name = view.names.claim(ordinal);
        let volume = claims.iter().find(|claim| claim.name_any() == name);
        let volume = volume.and_then(|claim| claim.spec.as_ref()?.volume_name.clone());
        let (Some(volume), Some(claim)) = (volume, view.claims.get_mut(&ordinal)) else {
            continue;
        };
        let found = objects.global::<PersistentVolume>().get_opt(&volume).await;
        match found.map_err(ReconcileError::kubernetes(format!("read {volume}")))? {
            Some(volume) => claim.host = pods::volume_host(&volume),
            None => lose(claim),
        }
    }
    if expansion_is_wanted(view) {
        view.classes = classes(objects, view).await?;
    }
    let missing = view.pods.len() < usize::try_from(view.replicas()).unwrap_or(0);
    if missing && view.set.is_some() {
        let trouble = not_made(objects, &view.names.name, view.now).await?;
        if let Some(set) = &mut view.set {
            set.trouble = trouble;
        }
    }
    Ok(())
}

/// Whether the volumes of the claims' storage classes can get larger.
async fn classes(objects: &Objects, view: &View) -> Result<BTreeMap<String, bool>, ReconcileError> {
    let names = view.claims.values().filter_map(|it| it.class.clone());
    let mut classes = BTreeMap::new();
    for name in names.collect::<BTreeSet<String>>() {
        let found = objects.global::<StorageClass>().get_opt(&name).await;
        let found = found.map_err(ReconcileError::kubernetes(format!("read {name}")))?;
        if let Some(class) = found {
            classes.insert(name, class.allow_volume_expansion == Some(true));
        }
    }
    Ok(classes)
}

fn lose(claim: &mut ClaimView) {
    claim.lost = true;
}

/// Why the StatefulSet's controller could not make a pod: a quota, for example, shows nowhere else.
async fn not_made(
    objects: &Objects,
    name: &str,
    now: i64,
) -> Result<Option<String>, ReconcileError> {
    let fields =
        format!("involvedObject.name={name},involvedObject.kind=StatefulSet,reason=FailedCreate");
    let events = objects
        .of::<Event>()
        .list(&ListParams::default().fields(&fields))
        .await;
    let events = events.map_err(ReconcileError::kubernetes("list events"))?;
    let when = |event: &Event| {
        let last = event.last_timestamp.as_ref().map(|time| time.0);
        let time = last.or_else(|| event.event_time.as_ref().map(|time| time.0));
        time.map_or(0, Timestamp::as_second)
    };
    let latest = events.items.into_iter().max_by_key(when);
    let fresh = latest.filter(|event| now - when(event) < FRESH_SECONDS);
    Ok(fresh.and_then(|event| event.message))
}
