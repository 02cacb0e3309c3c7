//! Pods, claims and hosts as they are seen.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Node, PersistentVolume, PersistentVolumeClaim, Pod};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};

use crate::names::{DOMAIN_LABEL, NODE_ANNOTATION, RETIRED_LABEL};
use crate::view::{ClaimView, HostView, PodView};

/// The taint of a node that is out of service for good.
const OUT_OF_SERVICE: &str = "node.kubernetes.io/out-of-service";
/// Why a container waits, where it is only starting.
const STARTING: [&str; 2] = ["ContainerCreating", "PodInitializing"];

fn seconds(time: Option<&Time>) -> Option<i64> {
    time.map(|time| time.0.as_second())
}

fn label(meta: &ObjectMeta, key: &str) -> Option<String> {
    meta.labels.as_ref()?.get(key).cloned()
}

/// A pod.
pub(super) fn pod(pod: &Pod) -> PodView {
    let meta = &pod.metadata;
    let spec = pod.spec.as_ref();
    let status = pod.status.clone().unwrap_or_default();
    let container = status.container_statuses.iter().flatten().next();
    let state = container.and_then(|container| container.state.as_ref());
    let condition = |kind: &str| {
        let conditions = status.conditions.iter().flatten();
        conditions
            .into_iter()
            .find(|condition| condition.type_ == kind)
    };
    let waiting = state
        .and_then(|state| state.waiting.as_ref())
        .and_then(|waiting| {
            let reason = waiting
                .reason
                .clone()
                .filter(|r| !STARTING.contains(&r.as_str()))?;
            let message = waiting.message.clone().unwrap_or_default();
            Some(
                format!("{reason}: {message}")
                    .trim_end_matches([':', ' '])
                    .to_owned(),
            )
        });
    let unplaced = condition("PodScheduled")
        .filter(|condition| condition.status == "False")
        .map(|condition| {
            condition
                .message
                .clone()
                .unwrap_or_else(|| "it has no place".to_owned())
        });
    PodView {
        name: meta.name.clone().unwrap_or_default(),
        uid: meta.uid.clone().unwrap_or_default(),
        revision: label(meta, "controller-revision-hash").unwrap_or_default(),
        host: spec.and_then(|spec| spec.node_name.clone()),
        address: status.pod_ip.clone().filter(|address| !address.is_empty()),
        running_since: state
            .and_then(|state| state.running.as_ref())
            .map(|running| seconds(running.started_at.as_ref()).unwrap_or(0)),
        ready: condition("Ready").is_some_and(|condition| condition.status == "True"),
        waits_for_token: false,
        deleting: meta.deletion_timestamp.is_some(),
        trouble: unplaced.or(waiting),
        domain: label(meta, DOMAIN_LABEL),
        image: spec
            .and_then(|spec| spec.containers.first())
            .and_then(|container| container.image.clone())
            .unwrap_or_default(),
        created_at: seconds(meta.creation_timestamp.as_ref()).unwrap_or(0),
    }
}

/// A claim. Where its volume is bound to comes from the volume.
pub(super) fn claim(claim: &PersistentVolumeClaim) -> ClaimView {
    let meta = &claim.metadata;
    let annotations = meta.annotations.as_ref();
    let phase = claim
        .status
        .as_ref()
        .and_then(|status| status.phase.as_deref());
    let spec = claim.spec.as_ref();
    let status = claim.status.as_ref();
    let size = |sizes: Option<&BTreeMap<String, Quantity>>| Some(sizes?.get("storage")?.0.clone());
    let condition = |kinds: &[&str]| {
        let mut conditions = status?.conditions.iter().flatten();
        conditions.find(|said| kinds.contains(&said.type_.as_str()) && said.status == "True")
    };
    ClaimView {
        name: meta.name.clone().unwrap_or_default(),
        uid: meta.uid.clone().unwrap_or_default(),
        node_id: annotations.and_then(|all| all.get(NODE_ANNOTATION).cloned()),
        retired: label(meta, RETIRED_LABEL).is_some(),
        deleting: meta.deletion_timestamp.is_some(),
        lost: phase == Some("Lost"),
        host: None,
        requested: size(spec.and_then(|spec| spec.resources.as_ref()?.requests.as_ref())),
        capacity: size(status.and_then(|status| status.capacity.as_ref())),
        class: spec.and_then(|spec| spec.storage_class_name.clone()),
        resize_pending: condition(&["FileSystemResizePending"]).is_some(),
        resize_trouble: condition(&["ControllerResizeError", "NodeResizeError"])
            .and_then(|said| said.message.clone()),
    }
}

/// The one host that a volume is bound to.
pub(super) fn volume_host(volume: &PersistentVolume) -> Option<String> {
    let affinity = volume.spec.as_ref()?.node_affinity.as_ref()?;
    let terms = &affinity.required.as_ref()?.node_selector_terms;
    let mut named = terms
        .iter()
        .flat_map(|term| term.match_expressions.iter().flatten())
        .filter(|expression| {
            expression.key == "kubernetes.io/hostname" && expression.operator == "In"
        });
    match (named.next()?.values.as_deref(), named.next()) {
        (Some([host]), None) => Some(host.clone()),
        _ => None,
    }
}

/// A Kubernetes node.
pub(super) fn host(node: &Node, zone_label: &str) -> HostView {
    let spec = node.spec.clone().unwrap_or_default();
    let taints = spec.taints.unwrap_or_default();
    let conditions = node
        .status
        .as_ref()
        .and_then(|status| status.conditions.clone());
    let ready = conditions.unwrap_or_default();
    HostView {
        zone: label(&node.metadata, zone_label).filter(|zone| !zone.is_empty()),
        out_of_service: taints.iter().any(|taint| taint.key == OUT_OF_SERVICE),
        cordoned: spec.unschedulable.unwrap_or(false),
        ready: ready
            .iter()
            .any(|c| c.type_ == "Ready" && c.status == "True"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(status: &serde_json::Value) -> PodView {
        let value = json!({
            "metadata": { "name": "store-1", "labels": { "controller-revision-hash": "store-a" } },
            "spec": { "containers": [{ "name": "marram", "image": "marram:1" }] },
            "status": status,
        });
        pod(&serde_json::from_value(value).expect("a pod"))
    }

    #[test]
    fn a_pods_trouble_is_said_in_words() {
        let waiting = |reason: &str| {
            json!({ "containerStatuses": [{
            "name": "marram", "image": "", "imageID": "", "ready": false, "restartCount": 0,
            "state": { "waiting": { "reason": reason, "message": "no such image" } },
        }] })
        };
        let said = |status: serde_json::Value| read(&status).trouble;
        assert_eq!(
            said(waiting("ErrImagePull")).as_deref(),
            Some("ErrImagePull: no such image")
        );
        assert_eq!(said(waiting("ContainerCreating")), None);
        let unplaced = json!({ "conditions": [
            { "type": "PodScheduled", "status": "False", "message": "0/3 nodes are available" },
        ] });
        assert_eq!(said(unplaced).as_deref(), Some("0/3 nodes are available"));
        let view = read(&json!({ "conditions": [{ "type": "Ready", "status": "True" }] }));
        assert!(view.ready && view.trouble.is_none() && view.revision == "store-a");
    }

    #[test]
    fn a_local_volume_names_its_host() {
        let volume = |values: &[&str]| {
            let value = json!({ "spec": { "nodeAffinity": { "required": { "nodeSelectorTerms": [
                { "matchExpressions": [{ "key": "kubernetes.io/hostname", "operator": "In", "values": values }] },
            ] } } } });
            volume_host(&serde_json::from_value(value).expect("a volume"))
        };
        assert_eq!(volume(&["n1"]).as_deref(), Some("n1"));
        assert_eq!(volume(&["n1", "n2"]), None);
        assert_eq!(volume_host(&PersistentVolume::default()), None);
    }
}
