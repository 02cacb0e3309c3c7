//! Who may reach the pods, and as whom they run.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::names::{API_PORT, MESH_PORT, METRICS_PORT, Names};

/// The account of the pods. They ask nothing of the API server, so it is not mounted.
#[must_use]
pub fn account(names: &Names) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": names.owned(&names.name),
        "automountServiceAccountToken": false,
    })
}

/// The mesh is for the cluster's own pods, gateways among them; the API authenticates its callers, and
/// metrics hold no secrets.
#[must_use]
pub fn network_policy(names: &Names) -> Value {
    let pods =
        |labels: BTreeMap<String, String>| json!({ "podSelector": { "matchLabels": labels } });
    json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": names.owned(&names.name),
        "spec": {
            "podSelector": { "matchLabels": names.selector() },
            "policyTypes": ["Ingress"],
            "ingress": [
                {
                    "from": [pods(names.selector()), pods(names.gateway_selector())],
                    "ports": [port(MESH_PORT)],
                },
                { "ports": [port(API_PORT), port(METRICS_PORT)] },
            ],
        },
    })
}

/// Gateways are called by applications only: they ask their peers, and none asks them.
#[must_use]
pub fn gateway_policy(names: &Names) -> Value {
    json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": names.owned_by_gateways(&names.gateway()),
        "spec": {
            "podSelector": { "matchLabels": names.gateway_selector() },
            "policyTypes": ["Ingress"],
            "ingress": [{ "ports": [port(API_PORT), port(METRICS_PORT)] }],
        },
    })
}

fn port(port: u16) -> Value {
    json!({ "port": port, "protocol": "TCP" })
}
