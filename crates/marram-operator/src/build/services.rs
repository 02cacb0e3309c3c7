//! The Services: one under which pods find each other, one for applications.

use serde_json::{Value, json};

use crate::names::{API_PORT, MESH_PORT, METRICS_PORT, Names};

/// The headless Service. It gives the addresses of pods that are not ready too: a pod becomes ready by
/// being found by its peers.
#[must_use]
pub fn peer_service(names: &Names) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": names.owned(&names.peers()),
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": true,
            "selector": names.selector(),
            "ports": [
                { "name": "mesh", "port": MESH_PORT, "targetPort": MESH_PORT, "protocol": "TCP" },
                { "name": "api", "port": API_PORT, "targetPort": API_PORT, "protocol": "TCP" },
                { "name": "metrics", "port": METRICS_PORT, "targetPort": METRICS_PORT, "protocol": "TCP" },
            ],
        },
    })
}

/// The Service for applications. It goes to the gateways, or to the storage pods, which answer the API too.
#[must_use]
pub fn client_service(names: &Names, to_gateways: bool) -> Value {
    let selector = match to_gateways {
        true => names.gateway_selector(),
        false => names.selector(),
    };
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": names.owned(&names.name),
        "spec": {
            "type": "ClusterIP",
            "selector": selector,
            "ports": [
                { "name": "api", "port": API_PORT, "targetPort": API_PORT, "protocol": "TCP" },
            ],
        },
    })
}
