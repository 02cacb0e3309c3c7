//! `ClusterOperation`: something that is done to a cluster once, by the operator and in its turn.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::rules::rules;

/// How long one that is over stays, in seconds, where nothing is said: a week.
const TTL_SECONDS: u32 = 604_800;

const SPEC_RULES: &[(&str, &str)] = &[
    (
        "self == oldSelf",
        "spec of a ClusterOperation cannot change: it is done once; write another one",
    ),
    (
        "self.type != 'ReplaceNode' || has(self.node)",
        "spec.node must say which node ReplaceNode replaces, such as store-3",
    ),
    (
        "!has(self.node) || self.type == 'ReplaceNode' || self.type == 'Scrub'",
        "spec.node is for ReplaceNode and Scrub only: the others are about the whole cluster or a domain",
    ),
    (
        "has(self.domain) == (self.type == 'DrainDomain' || self.type == 'RestoreDomain')",
        "spec.domain, such as z1, must be given for DrainDomain and RestoreDomain, and for no other type",
    ),
    (
        "!has(self.acceptDataLoss) || !self.acceptDataLoss || self.type == 'ReplaceNode'",
        "spec.acceptDataLoss is for ReplaceNode only: no other type gives data up",
    ),
];

/// Something that is done to a cluster once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, CustomResource)]
#[kube(
    group = "marram.dev",
    version = "v1alpha1",
    kind = "ClusterOperation",
    plural = "clusteroperations",
    shortname = "marramop",
    category = "marram",
    namespaced,
    status = "ClusterOperationStatus",
    derive = "PartialEq",
    doc = "Something that is done to a Marram cluster once.",
    printcolumn(
        name = "Cluster",
        type_ = "string",
        json_path = ".spec.clusterRef.name"
    ),
    printcolumn(name = "Type", type_ = "string", json_path = ".spec.type"),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Progress", type_ = "string", json_path = ".status.progress"),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    ),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.message",
        priority = 1
    ),
    validation = Rule::new(
        "!has(self.spec.node) || self.spec.node.startsWith(self.spec.clusterRef.name + '-')"
    ).message(
        "spec.node must be called as the cluster with a number, such as store-3: nodes are called as their pods"
    )
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules(SPEC_RULES)))]
pub struct ClusterOperationSpec {
    /// The cluster, in the namespace of this resource.
    pub cluster_ref: LocalClusterRef,
    /// What is done.
    #[serde(rename = "type")]
    pub kind: OperationType,
    /// The node that it is about, such as store-3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub node: Option<String>,
    /// The failure domain that it is about, such as z1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub domain: Option<String>,
    /// Replace the node although objects may be lost with it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub accept_data_loss: bool,
    /// Seconds for which this resource stays when it is over; 604800 (a week) where it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 60, max = 31_536_000))]
    pub ttl_seconds_after_finished: Option<u32>,
}

/// A cluster in the same namespace.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct LocalClusterRef {
    /// The name of a MarramCluster.
    #[schemars(length(min = 1, max = 40))]
    pub name: String,
}

/// What can be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OperationType {
    /// Data moves until every node holds its share.
    Rebalance,
    /// All data of all nodes, or of one, is read and compared, and what is damaged is repaired.
    Scrub,
    /// A node is given up, with its volume, and a new one takes its place.
    ReplaceNode,
    /// All nodes of a failure domain give their data to the others. They stay, and stay empty.
    DrainDomain,
    /// The nodes of a failure domain take data again.
    RestoreDomain,
}

/// How far one is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum RequestPhase {
    /// It waits for its turn, or for what stands against it.
    #[default]
    Pending,
    /// It is under way.
    Running,
    /// It is done.
    Succeeded,
    /// It cannot be done.
    Failed,
}

/// What the operator saw last of it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClusterOperationStatus {
    /// The generation of the resource that this is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// How far it is.
    #[serde(default)]
    pub phase: RequestPhase,
    /// In a sentence: what it waits for, does, or has done.
    #[serde(default)]
    #[schemars(length(max = 1024))]
    pub message: String,
    /// How much of it is done, as a share; none where that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 8))]
    pub progress: Option<String>,
    /// The most that was left of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<i64>,
    /// When it began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,
    /// When it was over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Time>,
    /// What holds and what does not, each with a sentence.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 8),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"])
    )]
    pub conditions: Vec<Condition>,
}

impl ClusterOperationSpec {
    /// Seconds for which it stays when it is over.
    #[must_use]
    pub fn ttl(&self) -> i64 {
        i64::from(self.ttl_seconds_after_finished.unwrap_or(TTL_SECONDS))
    }
}

impl ClusterOperation {
    /// Whether it is over.
    #[must_use]
    pub fn is_over(&self) -> bool {
        let phase = self.status.as_ref().map(|status| status.phase);
        matches!(phase, Some(RequestPhase::Succeeded | RequestPhase::Failed))
    }
}
