//! Which cluster it is about, and what Kubernetes knows of it.

use serde::Deserialize;
use serde_json::Value;

use super::error::PluginError;
use super::kubectl::Kubectl;

/// The resource, of which only what is shown is read.
#[derive(Debug, Deserialize)]
struct Resource {
    metadata: Metadata,
    #[serde(default)]
    status: Status,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Metadata {
    pub(super) name: String,
    #[serde(default)]
    pub(super) namespace: String,
    #[serde(default)]
    deletion_timestamp: Option<String>,
}

/// What the operator saw last.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Status {
    pub(super) phase: String,
    pub(super) message: String,
    pub(super) nodes: Option<i64>,
    pub(super) ready_nodes: i64,
    pub(super) version: String,
    pub(super) redundancy: Option<Redundancy>,
    pub(super) capacity: Option<Capacity>,
    pub(super) members: Vec<Member>,
    pub(super) operation: Option<Operation>,
    pub(super) conditions: Vec<Condition>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Redundancy {
    pub(super) fully_redundant: bool,
    pub(super) tolerated_losses: i64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Capacity {
    pub(super) total_bytes: u64,
    pub(super) used: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Member {
    pub(super) name: String,
    pub(super) node_id: String,
    pub(super) zone: String,
    pub(super) health: String,
    pub(super) duty: String,
    pub(super) slots: i64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Operation {
    pub(super) kind: String,
    pub(super) phase: String,
    pub(super) summary: String,
    pub(super) message: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Condition {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) status: String,
    pub(super) message: String,
}

/// A pod, of which only what is shown is read.
#[derive(Debug, Deserialize)]
pub(super) struct Pod {
    pub(super) metadata: Metadata,
    #[serde(default)]
    spec: PodSpec,
    #[serde(default)]
    status: PodStatus,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PodSpec {
    node_name: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PodStatus {
    phase: String,
    conditions: Vec<Condition>,
    container_statuses: Vec<ContainerStatus>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ContainerStatus {
    restart_count: u32,
    state: Value,
}

impl Pod {
    pub(super) fn is_ready(&self) -> bool {
        let mut conditions = self.status.conditions.iter();
        let ready = conditions.any(|it| it.kind == "Ready" && it.status == "True");
        ready && self.metadata.deletion_timestamp.is_none()
    }

    /// In a word, as `kubectl get pods` has it.
    pub(super) fn state(&self) -> String {
        if self.metadata.deletion_timestamp.is_some() {
            return "Terminating".to_owned();
        }
        let containers = &self.status.container_statuses;
        let mut waiting = containers
            .iter()
            .filter_map(|it| it.state.pointer("/waiting/reason")?.as_str());
        let said = waiting.next().map(str::to_owned);
        said.unwrap_or_else(|| match (self.status.phase.as_str(), self.is_ready()) {
            ("Running", true) => "Ready".to_owned(),
            ("Running", false) => "NotReady".to_owned(),
            (phase, _) => phase.to_owned(),
        })
    }

    pub(super) fn host(&self) -> &str {
        &self.spec.node_name
    }

    pub(super) fn restarts(&self) -> u32 {
        let containers = &self.status.container_statuses;
        containers.iter().map(|it| it.restart_count).sum()
    }
}

#[derive(Debug, Deserialize)]
struct List<T> {
    items: Vec<T>,
}

/// The cluster that it is about.
#[derive(Debug)]
pub(super) struct Cluster {
    pub(super) name: String,
    pub(super) namespace: String,
    pub(super) status: Status,
    /// The whole resource.
    pub(super) whole: Value,
}

impl Cluster {
    /// The one of this name; the only one where none is said.
    pub(super) fn find(kubectl: &Kubectl, name: Option<&str>) -> Result<Self, PluginError> {
        match name {
            Some(name) => Self::of(kubectl.json(&["get", "marramcluster", name])?),
            None => Self::only(kubectl.json::<List<Value>>(&["get", "marramclusters"])?),
        }
    }

    fn only(mut list: List<Value>) -> Result<Self, PluginError> {
        if list.items.len() > 1 {
            let names = list.items.iter().map(|it| &it["metadata"]["name"]);
            let names: Vec<&str> = names.filter_map(Value::as_str).collect();
            return Err(PluginError::Several(names.join(", ")));
        }
        Self::of(list.items.pop().ok_or(PluginError::NoCluster)?)
    }

    fn of(whole: Value) -> Result<Self, PluginError> {
        let read: Result<Resource, _> = serde_json::from_value(whole.clone());
        let resource = read.map_err(|error| PluginError::Answer {
            what: "get marramclusters".to_owned(),
            problem: error.to_string(),
        })?;
        let Metadata {
            name, namespace, ..
        } = resource.metadata;
        Ok(Self {
            name,
            namespace,
            status: resource.status,
            whole,
        })
    }

    /// The labels of its storage pods, or of its gateways.
    pub(super) fn selector(&self, gateways: bool) -> String {
        let component = if gateways { "gateway" } else { "storage" };
        let name = &self.name;
        format!("marram.dev/cluster={name},app.kubernetes.io/component={component}")
    }

    /// Its storage pods.
    pub(super) fn pods(&self, kubectl: &Kubectl) -> Result<Vec<Pod>, PluginError> {
        let selector = self.selector(false);
        let list: List<Pod> = kubectl.json(&["get", "pods", "-l", &selector])?;
        Ok(list.items)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::json;

    use super::*;

    /// A cluster, as its resource has it.
    pub(in super::super) fn cluster(status: &Value) -> Cluster {
        let metadata = json!({ "name": "store", "namespace": "data" });
        Cluster::of(json!({ "metadata": metadata, "status": status })).expect("readable")
    }

    /// A pod.
    pub(in super::super) fn pod(name: &str, status: &Value) -> Pod {
        let spec = json!({ "nodeName": "n1" });
        let value = json!({ "metadata": { "name": name }, "spec": spec, "status": status });
        serde_json::from_value(value).expect("readable")
    }

    #[test]
    fn the_only_one_needs_no_name() {
        let named = |name: &str| json!({ "metadata": { "name": name, "namespace": "data" } });
        let of = |items: Vec<Value>| Cluster::only(List { items });
        let one = of(vec![named("store")]).expect("found");
        assert_eq!(
            (one.name.as_str(), one.namespace.as_str()),
            ("store", "data")
        );
        assert!(matches!(of(Vec::new()), Err(PluginError::NoCluster)));
        let several = of(vec![named("a"), named("b")]).expect_err("which?");
        assert!(several.to_string().ends_with("which of a, b"), "{several}");
    }

    #[test]
    fn a_pod_says_in_a_word_how_it_is() {
        let ready = json!([{ "type": "Ready", "status": "True", "message": "" }]);
        let state = |status: &Value| pod("store-0", status).state();
        assert_eq!(
            state(&json!({ "phase": "Running", "conditions": ready })),
            "Ready"
        );
        assert_eq!(state(&json!({ "phase": "Running" })), "NotReady");
        assert_eq!(state(&json!({ "phase": "Pending" })), "Pending");
        let waits =
            json!([{ "restartCount": 3, "state": { "waiting": { "reason": "ErrImagePull" } } }]);
        let broken = pod(
            "store-0",
            &json!({ "phase": "Running", "containerStatuses": waits }),
        );
        assert_eq!(
            (broken.state().as_str(), broken.restarts()),
            ("ErrImagePull", 3)
        );
        assert!(!broken.is_ready());
    }
}
