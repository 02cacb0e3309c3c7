//! Gateways of their own: a Deployment, by what there are more or fewer of its pods, and how many may be evicted.

use serde_json::{Value, json};

use super::pod::{
    METRICS_TOKEN, METRICS_TOKEN_DIR, Placed, container_security, environment, metrics_token,
    metrics_token_flag, mount, pod_security, port, probe, resources, secret, secret_key,
};
use super::{API_TLS, api_secret};
use crate::api::{Autoscaling, GatewaySpec, MarramClusterSpec};
use crate::names::{API_PORT, MESH_PORT, METRICS_PORT, Names};

/// Seconds that a gateway goes on as before when it is told to go: until then, no node of the Kubernetes
/// cluster sends it further connections.
const LEAVE_SECONDS: u32 = 8;
/// Seconds that calls which run may go on then.
const STOP_GRACE: u32 = 120;
/// Seconds that a pod has for both.
const STOP_SECONDS: u32 = LEAVE_SECONDS + STOP_GRACE + 12;

/// The Deployment. It says nothing of `replicas`: they have writers of their own, the operator's patch or the
/// autoscaler, and what is applied here once and left out later would become 1.
#[must_use]
pub fn deployment(
    names: &Names,
    spec: &MarramClusterSpec,
    gateway: &GatewaySpec,
    image: &str,
) -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": names.owned_by_gateways(&names.gateway()),
        "spec": {
            "selector": { "matchLabels": names.gateway_selector() },
            // A new one serves before an old one goes.
            "strategy": {
                "type": "RollingUpdate",
                "rollingUpdate": { "maxSurge": 1, "maxUnavailable": 0 },
            },
            "revisionHistoryLimit": 3,
            "template": {
                "metadata": { "labels": names.gateway_labels() },
                "spec": pod(names, spec, gateway, image),
            },
        },
    })
}

/// What says how many gateways there are, where the resource does not.
#[must_use]
pub fn autoscaler(names: &Names, autoscaling: &Autoscaling) -> Value {
    json!({
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": names.owned_by_gateways(&names.gateway()),
        "spec": {
            "scaleTargetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": names.gateway() },
            "minReplicas": autoscaling.least(),
            "maxReplicas": autoscaling.max_replicas,
            "metrics": [{
                "type": "Resource",
                "resource": {
                    "name": "cpu",
                    "target": { "type": "Utilization", "averageUtilization": autoscaling.target() },
                },
            }],
            "behavior": { "scaleDown": {
                "stabilizationWindowSeconds": autoscaling.stabilization(),
                // One at a time: connections move to the others as they age.
                "policies": [{ "type": "Pods", "value": 1, "periodSeconds": 60 }],
            } },
        },
    })
}

/// One gateway at a time may be evicted.
#[must_use]
pub fn gateway_budget(names: &Names) -> Value {
    json!({
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": names.owned_by_gateways(&names.gateway_budget()),
        "spec": {
            "maxUnavailable": 1,
            "selector": { "matchLabels": names.gateway_selector() },
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
        },
    })
}

fn pod(names: &Names, spec: &MarramClusterSpec, gateway: &GatewaySpec, image: &str) -> Value {
    let spread = |key: &str| {
        json!({
            "maxSkew": 1,
            "topologyKey": key,
            "whenUnsatisfiable": "ScheduleAnyway",
            "nodeTaintsPolicy": "Honor",
            "labelSelector": { "matchLabels": names.gateway_selector() },
        })
    };
    let pod = json!({
        "serviceAccountName": names.name,
        "automountServiceAccountToken": false,
        "enableServiceLinks": false,
        "terminationGracePeriodSeconds": STOP_SECONDS,
        "securityContext": pod_security(),
        "topologySpreadConstraints": [spread(spec.zone_label()), spread("kubernetes.io/hostname")],
        "containers": [container(names, spec, gateway, image)],
        "volumes": [
            // What makes it a member stays as long as the pod: a container that starts again is the same one.
            { "name": "identity", "emptyDir": { "sizeLimit": "256Mi" } },
            secret_key("keys", &names.keys(), "kek"),
            secret("join", &names.gateway_join()),
            secret(API_TLS, &api_secret(names, spec)),
        ],
    });
    let placed = Placed {
        node_selector: &gateway.node_selector,
        tolerations: &gateway.tolerations,
        priority_class_name: gateway.priority_class_name.as_deref(),
    };
    placed.complete(pod, spec)
}

fn container(names: &Names, spec: &MarramClusterSpec, gateway: &GatewaySpec, image: &str) -> Value {
    let log = spec.server.as_ref().and_then(|server| server.log.as_ref());
    let mut mounts = vec![
        mount("identity", "/identity", false),
        mount("keys", "/keys", true),
        mount("join", "/join", true),
        mount(API_TLS, "/api-tls", true),
    ];
    if metrics_token(spec).is_some() {
        mounts.push(mount(METRICS_TOKEN, METRICS_TOKEN_DIR, true));
    }
    json!({
        "name": "marram",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["/marram"],
        "args": arguments(names, spec),
        "env": environment(log),
        "ports": [port("api", API_PORT), port("metrics", METRICS_PORT)],
        "resources": resources(gateway.resources.as_ref()),
        "securityContext": container_security(),
        "lifecycle": { "preStop": { "sleep": { "seconds": LEAVE_SECONDS } } },
        "startupProbe": probe("/livez", 2, 60),
        "livenessProbe": probe("/livez", 10, 6),
        "readinessProbe": probe("/readyz", 2, 3),
        "volumeMounts": mounts,
    })
}

fn arguments(names: &Names, spec: &MarramClusterSpec) -> Vec<String> {
    let mut arguments = vec![
        "gateway".to_owned(),
        "--name=$(POD)".to_owned(),
        "--identity=/identity/gateway".to_owned(),
        "--kek-file=/keys/kek".to_owned(),
        format!("--api-listen=0.0.0.0:{API_PORT}"),
        "--api-tls-cert=/api-tls/tls.crt".to_owned(),
        "--api-tls-key=/api-tls/tls.key".to_owned(),
        format!("--metrics-listen=0.0.0.0:{METRICS_PORT}"),
        format!("--join={}:{MESH_PORT}", names.peers_host()),
        "--token-file=/join/token".to_owned(),
        "--await-token".to_owned(),
        format!("--stop-grace={STOP_GRACE}"),
    ];
    arguments.extend(metrics_token_flag(spec));
    arguments
}
