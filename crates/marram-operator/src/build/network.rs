//! Who may reach the pods, and as whom they run.

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

/// The mesh is for the cluster's own pods; the API authenticates its callers, and metrics hold no
/// secrets.
#[must_use]
pub fn network_policy(names: &Names) -> Value {
    let port = |port: u16| json!({ "port": port, "protocol": "TCP" });
    json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": names.owned(&names.name),
        "spec": {
            "podSelector": { "matchLabels": names.selector() },
            "policyTypes": ["Ingress"],
            "ingress": [
                {
                    "from": [{ "podSelector": { "matchLabels": names.selector() } }],
                    "ports": [port(MESH_PORT)],
                },
                { "ports": [port(API_PORT), port(METRICS_PORT)] },
            ],
        },
    })
}
