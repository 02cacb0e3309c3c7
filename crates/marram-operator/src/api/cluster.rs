//! `MarramCluster`: one cluster, as a person wants it.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::reference::namespaces;
use super::rules::rules;
use super::{
    Disruption, GatewaySpec, MarramClusterStatus, Metrics, Replacement, Retention, ScaleDown,
    ServerSettings, Storage, Tls, Upgrade,
};

/// Rules on the whole of the specification. They stand here, on the parent, with `has()` on both sides:
/// on the field itself they would be got round by unsetting it first.
const SPEC_RULES: &[(&str, &str)] = &[
    (
        "has(self.clusterDomain) == has(oldSelf.clusterDomain) && (!has(self.clusterDomain) || \
         self.clusterDomain == oldSelf.clusterDomain)",
        "spec.clusterDomain cannot change: the members know each other by names under it",
    ),
    (
        "has(self.topologyKey) == has(oldSelf.topologyKey) && (!has(self.topologyKey) || \
         self.topologyKey == oldSelf.topologyKey)",
        "spec.topologyKey cannot change: a member keeps the zone that it joined with",
    ),
    (
        "has(self.groups) == has(oldSelf.groups) && (!has(self.groups) || self.groups == \
         oldSelf.groups)",
        "spec.groups cannot change: it says which metadata group an object is in",
    ),
    (
        "!has(self.volumeRetention) || !has(self.volumeRetention.onDelete) || \
         self.volumeRetention.onDelete != 'Delete' || has(self.volumeRetention.confirmDelete)",
        "spec.volumeRetention.onDelete Delete destroys all data with the resource: say the cluster's \
         name in spec.volumeRetention.confirmDelete",
    ),
];

/// A cluster of Marram, an object store: objects are erasure-coded over the volumes of its pods.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema, CustomResource)]
#[kube(
    group = "marram.dev",
    version = "v1alpha1",
    kind = "MarramCluster",
    plural = "marramclusters",
    shortname = "marram",
    category = "all",
    namespaced,
    status = "MarramClusterStatus",
    derive = "PartialEq",
    doc = "A cluster of Marram, an object store: objects are erasure-coded over the volumes of its pods.",
    scale(
        spec_replicas_path = ".spec.storage.nodes",
        status_replicas_path = ".status.nodes",
        label_selector_path = ".status.selector"
    ),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Nodes", type_ = "integer", json_path = ".spec.storage.nodes"),
    printcolumn(name = "Ready", type_ = "integer", json_path = ".status.readyNodes"),
    printcolumn(
        name = "Redundant",
        type_ = "boolean",
        json_path = ".status.redundancy.fullyRedundant"
    ),
    printcolumn(name = "Version", type_ = "string", json_path = ".status.version"),
    printcolumn(name = "Used", type_ = "string", json_path = ".status.capacity.used"),
    printcolumn(name = "Operation", type_ = "string", json_path = ".status.operation.summary"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.message",
        priority = 1
    ),
    validation = Rule::new("self.metadata.name.matches('^[a-z]([-a-z0-9]{0,38}[a-z0-9])?$')").message(
        "metadata.name must have at most 40 characters, a-z, 0-9 and -, begin with a letter and not end \
         with -: pods and Services are named after it"
    ),
    validation = Rule::new(
        "!has(self.spec.volumeRetention) || !has(self.spec.volumeRetention.confirmDelete) || \
         self.spec.volumeRetention.confirmDelete == self.metadata.name"
    ).message("spec.volumeRetention.confirmDelete must be the cluster's name"),
    validation = Rule::new(
        "!self.metadata.name.endsWith('-gateway') && !self.metadata.name.endsWith('-peers')"
    ).message(
        "metadata.name must not end with -gateway or -peers: objects of a cluster whose name is what is before \
         that are called so"
    )
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules(SPEC_RULES)))]
pub struct MarramClusterSpec {
    /// The image of the pods; that of the operator where it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub image: Option<String>,
    /// Secrets with which the image is pulled.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub image_pull_secrets: Vec<PullSecret>,
    /// The storage nodes: each is a pod with a volume.
    pub storage: Storage,
    /// Gateways of their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<GatewaySpec>,
    /// Settings of the servers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<ServerSettings>,
    /// Who may read the metrics of the pods, and whether they name buckets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics: Option<Metrics>,
    /// The label of Kubernetes nodes that says which fail together; topology.kubernetes.io/zone where it
    /// is not given. Where no node bears it, each node is a zone of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 316))]
    pub topology_key: Option<String>,
    /// The domain of the Kubernetes cluster's names; cluster.local where it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 128),
        regex(pattern = "^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")
    )]
    pub cluster_domain: Option<String>,
    /// Metadata groups of a new cluster, for good; 8 where it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 256))]
    pub groups: Option<u16>,
    /// Certificates of the API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
    /// How a change of the pods is rolled out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upgrade: Option<Upgrade>,
    /// How a node that is gone is replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replacement: Option<Replacement>,
    /// What may stand against a smaller number of nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale_down: Option<ScaleDown>,
    /// What becomes of volumes that are not used any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume_retention: Option<Retention>,
    /// How evictions are held within what the data bears.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disruption: Option<Disruption>,
    /// Namespaces besides its own whose Buckets and AccessKeys may name this cluster; * is all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("items" = namespaces()))]
    pub allowed_namespaces: Vec<String>,
    /// All pods stop, when all data is proven to be redundant, and all volumes stay; false brings the cluster
    /// back.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub hibernate: bool,
    /// The operator looks on and changes nothing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub paused: bool,
}

/// A Secret with which the image is pulled.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct PullSecret {
    /// Its name, in the cluster's namespace.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

impl MarramClusterSpec {
    /// The storage nodes that are wanted. The API server refuses a resource that does not say.
    #[must_use]
    pub fn nodes(&self) -> i32 {
        self.storage.nodes.map_or(0, i32::from)
    }

    /// The gateways that are wanted; none where they are not.
    #[must_use]
    pub fn gateways(&self) -> Option<&GatewaySpec> {
        self.gateway.as_ref().filter(|gateway| gateway.enabled)
    }

    /// The domain of the names of Services.
    #[must_use]
    pub fn domain(&self) -> &str {
        self.cluster_domain.as_deref().unwrap_or("cluster.local")
    }

    /// The label of nodes that says their zone.
    #[must_use]
    pub fn zone_label(&self) -> &str {
        self.topology_key
            .as_deref()
            .unwrap_or("topology.kubernetes.io/zone")
    }
}
