//! What storage pods and gateways have in common.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Toleration;
use serde_json::{Value, json};

use crate::api::{MarramClusterSpec, Resources};
use crate::names::METRICS_PORT;

/// The user and group of the pods.
const USER: u32 = 65_532;
/// Files of mounted Secrets: the group may read them.
const SECRET_MODE: u32 = 0o440;

/// The volume with the token that metrics ask for.
pub(super) const METRICS_TOKEN: &str = "metrics-token";
/// Where it is mounted.
pub(super) const METRICS_TOKEN_DIR: &str = "/metrics-token";

/// The Secret with the token that metrics ask for, where they do.
pub(super) fn metrics_token(spec: &MarramClusterSpec) -> Option<&str> {
    spec.metrics.as_ref()?.token_secret.as_deref()
}

/// The flag that says where the token is, where metrics ask for one.
pub(super) fn metrics_token_flag(spec: &MarramClusterSpec) -> Option<String> {
    metrics_token(spec)?;
    Some(format!("--metrics-token-file={METRICS_TOKEN_DIR}/token"))
}

/// As whom the pods run: nobody who could do more.
pub(super) fn pod_security() -> Value {
    json!({
        "runAsNonRoot": true,
        "runAsUser": USER,
        "runAsGroup": USER,
        "fsGroup": USER,
        "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": { "type": "RuntimeDefault" },
    })
}

pub(super) fn container_security() -> Value {
    json!({
        "allowPrivilegeEscalation": false,
        "readOnlyRootFilesystem": true,
        "capabilities": { "drop": ["ALL"] },
    })
}

/// A Secret as a volume.
pub(super) fn secret(volume: &str, name: &str) -> Value {
    json!({ "name": volume, "secret": { "secretName": name, "defaultMode": SECRET_MODE } })
}

/// One key of a Secret as a volume: whoever has it sees nothing else of the Secret.
pub(super) fn secret_key(volume: &str, name: &str, key: &str) -> Value {
    let mut secret = secret(volume, name);
    secret["secret"]["items"] = json!([{ "key": key, "path": key }]);
    secret
}

pub(super) fn mount(name: &str, path: &str, read_only: bool) -> Value {
    let mut mount = json!({ "name": name, "mountPath": path });
    if read_only {
        mount["readOnly"] = json!(true);
    }
    mount
}

pub(super) fn port(name: &str, port: u16) -> Value {
    json!({ "name": name, "containerPort": port, "protocol": "TCP" })
}

pub(super) fn probe(path: &str, period: u32, failures: u32) -> Value {
    json!({
        "httpGet": { "path": path, "port": METRICS_PORT, "scheme": "HTTP" },
        "periodSeconds": period,
        "timeoutSeconds": 5,
        "failureThreshold": failures,
    })
}

/// The pod's own name, and what its server logs.
pub(super) fn environment(log: Option<&String>) -> Vec<Value> {
    let mut env = vec![json!({
        "name": "POD",
        "valueFrom": { "fieldRef": { "apiVersion": "v1", "fieldPath": "metadata.name" } },
    })];
    if let Some(log) = log {
        env.push(json!({ "name": "RUST_LOG", "value": log }));
    }
    env
}

/// What a pod asks for, and may take.
pub(super) fn resources(given: Option<&Resources>) -> Value {
    let given = given.cloned().unwrap_or_default();
    let requests = if given.requests.is_empty() {
        json!({ "cpu": "250m", "memory": "256Mi" })
    } else {
        json!(given.requests)
    };
    if given.limits.is_empty() {
        json!({ "requests": requests })
    } else {
        json!({ "requests": requests, "limits": given.limits })
    }
}

/// Where pods may run, as the resource says it of storage pods and of gateways.
pub(super) struct Placed<'a> {
    pub(super) node_selector: &'a BTreeMap<String, String>,
    pub(super) tolerations: &'a [Toleration],
    pub(super) priority_class_name: Option<&'a str>,
}

impl Placed<'_> {
    /// The pod with that, with what its image is pulled with, and with the token that metrics ask for.
    pub(super) fn complete(&self, mut pod: Value, spec: &MarramClusterSpec) -> Value {
        if let Some(token) = metrics_token(spec) {
            let volumes = pod["volumes"].as_array_mut();
            let volumes = volumes.expect("every pod here has a list of volumes");
            volumes.push(secret(METRICS_TOKEN, token));
        }
        if !spec.image_pull_secrets.is_empty() {
            pod["imagePullSecrets"] = json!(spec.image_pull_secrets);
        }
        if !self.node_selector.is_empty() {
            pod["nodeSelector"] = json!(self.node_selector);
        }
        if !self.tolerations.is_empty() {
            pod["tolerations"] = json!(self.tolerations);
        }
        if let Some(class) = self.priority_class_name {
            pod["priorityClassName"] = json!(class);
        }
        pod
    }
}
