//! The StatefulSet. The operator says which pod restarts when (`OnDelete`), starts them all at once
//! (`Parallel`), and no volume goes with its pod (`Retain`).

use serde_json::{Value, json};

use super::pod::{
    METRICS_TOKEN, METRICS_TOKEN_DIR, Placed, container_security, environment, metrics_token,
    metrics_token_flag, mount, pod_security, port, probe, resources, secret,
};
use super::{API_TLS, api_secret};
use crate::api::{HostSpread, MarramClusterSpec};
use crate::names::{API_PORT, MESH_PORT, METRICS_PORT, Names};

/// Seconds that a pod has to stop: it hands its leaderships over.
const STOP_SECONDS: u32 = 60;
/// The annotation of the StatefulSet that says which template it has.
pub(crate) const TEMPLATE_ANNOTATION: &str = "marram.dev/template";

/// The template of the pods.
#[derive(Debug, Clone, PartialEq)]
pub struct Template {
    /// As it is applied.
    pub value: Value,
    /// What tells it from others.
    pub hash: String,
}

/// The template of the pods; `image` where the resource names none.
#[must_use]
pub fn template(names: &Names, spec: &MarramClusterSpec, image: &str) -> Template {
    let value = json!({
        "metadata": { "labels": names.labels() },
        "spec": pod(names, spec, image),
    });
    let hash = template_hash(&value);
    Template { value, hash }
}

/// What tells templates apart: FNV-1a over their text, whose keys are in order.
#[must_use]
pub fn template_hash(template: &Value) -> String {
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    let text = template.to_string();
    format!("{:016x}", text.bytes().fold(0xcbf2_9ce4_8422_2325, step))
}

/// The StatefulSet. `replicas` is always in it: left out, it would become 1.
#[must_use]
pub fn statefulset(
    names: &Names,
    spec: &MarramClusterSpec,
    template: &Template,
    (replicas, claim_size): (i32, &str),
) -> Value {
    let mut metadata = names.owned(&names.name);
    metadata["annotations"] = json!({ TEMPLATE_ANNOTATION: template.hash });
    let mut claim = json!({
        "accessModes": ["ReadWriteOnce"],
        "resources": { "requests": { "storage": claim_size } },
    });
    if let Some(class) = &spec.storage.volume.storage_class_name {
        claim["storageClassName"] = json!(class);
    }
    json!({
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": metadata,
        "spec": {
            "serviceName": names.peers(),
            "replicas": replicas,
            "podManagementPolicy": "Parallel",
            "updateStrategy": { "type": "OnDelete" },
            "persistentVolumeClaimRetentionPolicy": { "whenDeleted": "Retain", "whenScaled": "Retain" },
            "selector": { "matchLabels": names.selector() },
            "template": template.value,
            "volumeClaimTemplates": [{
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "metadata": { "name": "data", "labels": names.selector() },
                "spec": claim,
            }],
        },
    })
}

/// The size in the template of claims. A StatefulSet that is there keeps its own: it cannot change.
#[must_use]
pub fn claim_template_size(spec: &MarramClusterSpec, live: Option<&str>) -> String {
    live.unwrap_or(&spec.storage.volume.size).to_owned()
}

fn pod(names: &Names, spec: &MarramClusterSpec, image: &str) -> Value {
    let pod = json!({
        "serviceAccountName": names.name,
        "automountServiceAccountToken": false,
        "enableServiceLinks": false,
        "terminationGracePeriodSeconds": STOP_SECONDS,
        "securityContext": pod_security(),
        "affinity": affinity(names, spec.storage.host_spread.unwrap_or_default()),
        "topologySpreadConstraints": [{
            "maxSkew": 1,
            "topologyKey": spec.zone_label(),
            "whenUnsatisfiable": "ScheduleAnyway",
            "nodeTaintsPolicy": "Honor",
            "labelSelector": { "matchLabels": names.selector() },
        }],
        "containers": [container(names, spec, image)],
        "volumes": [
            secret("keys", &names.keys()),
            secret("join", &names.join()),
            secret(API_TLS, &api_secret(names, spec)),
        ],
    });
    let storage = &spec.storage;
    let placed = Placed {
        node_selector: &storage.node_selector,
        tolerations: &storage.tolerations,
        priority_class_name: storage.priority_class_name.as_deref(),
    };
    placed.complete(pod, spec)
}

fn affinity(names: &Names, spread: HostSpread) -> Value {
    let term = json!({
        "topologyKey": "kubernetes.io/hostname",
        "labelSelector": { "matchLabels": names.selector() },
    });
    match spread {
        HostSpread::Preferred => json!({ "podAntiAffinity": {
            "preferredDuringSchedulingIgnoredDuringExecution": [{ "weight": 100, "podAffinityTerm": term }],
        } }),
        HostSpread::Required => json!({ "podAntiAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": [term],
        } }),
    }
}

fn container(names: &Names, spec: &MarramClusterSpec, image: &str) -> Value {
    let log = spec.server.as_ref().and_then(|server| server.log.as_ref());
    let mut mounts = vec![
        mount("data", "/data", false),
        mount("keys", "/keys", true),
        mount("join", "/join", true),
        mount(API_TLS, "/api-tls", true),
    ];
    if metrics_token(spec).is_some() {
        mounts.push(mount(METRICS_TOKEN, METRICS_TOKEN_DIR, true));
    }
    json!({
        "name": "marram",
        "image": spec.image.as_deref().unwrap_or(image),
        "imagePullPolicy": "IfNotPresent",
        "command": ["/marram"],
        "args": arguments(names, spec),
        "env": environment(log),
        "ports": [port("api", API_PORT), port("mesh", MESH_PORT), port("metrics", METRICS_PORT)],
        "resources": resources(spec.storage.resources.as_ref()),
        "securityContext": container_security(),
        // A server that opens its drives after a crash reads its segments first: it is given ten minutes.
        "startupProbe": probe("/livez", 5, 120),
        "livenessProbe": probe("/livez", 10, 6),
        "readinessProbe": probe("/readyz", 5, 3),
        "volumeMounts": mounts,
    })
}

fn arguments(names: &Names, spec: &MarramClusterSpec) -> Vec<String> {
    let host = names.host("$(POD)");
    let mut arguments = vec![
        "server".to_owned(),
        "--name=$(POD)".to_owned(),
        "--data=/data/d1".to_owned(),
        "--kek-file=/keys/kek".to_owned(),
        format!("--mesh-listen=0.0.0.0:{MESH_PORT}"),
        format!("--mesh-advertise={host}:{MESH_PORT}"),
        format!("--api-listen=0.0.0.0:{API_PORT}"),
        format!("--api-advertise={host}:{API_PORT}"),
        "--api-tls-cert=/api-tls/tls.crt".to_owned(),
        "--api-tls-key=/api-tls/tls.key".to_owned(),
        format!("--metrics-listen=0.0.0.0:{METRICS_PORT}"),
        format!("--join={}:{MESH_PORT}", names.peers_host()),
        "--token-file=/join/$(POD)".to_owned(),
        "--await-token".to_owned(),
        "--operator-key-file=/keys/operator".to_owned(),
        "--admin-key-file=/keys/admin".to_owned(),
    ];
    let server = spec.server.clone().unwrap_or_default();
    let settings = [
        ("segment-mib", server.segment_mib),
        ("repair-grace", server.repair_grace_seconds),
        ("narrow-grace", server.narrow_grace_seconds),
        ("gc-drain-grace", server.drain_grace_seconds),
        ("gc-read-lag", server.read_lag_seconds),
    ];
    let given = settings
        .into_iter()
        .filter_map(|(flag, value)| Some((flag, value?)));
    arguments.extend(given.map(|(flag, value)| format!("--{flag}={value}")));
    arguments.extend(metrics_token_flag(spec));
    if let Some(buckets) = spec.metrics.as_ref().and_then(|metrics| metrics.buckets) {
        arguments.push(format!("--metrics-buckets={buckets}"));
    }
    arguments
}
