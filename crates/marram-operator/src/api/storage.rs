//! The storage nodes of a cluster: their number, volumes, places and settings.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Toleration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::rules::rules;

const STORAGE_RULES: &[(&str, &str)] = &[(
    "has(self.nodes)",
    "spec.storage.nodes must be given, and cannot be taken out again: it is how many storage nodes there \
     are (with Helm and kubectl scale, see storage.externallyScaled)",
)];

const VOLUME_RULES: &[(&str, &str)] = &[
    (
        "has(self.storageClassName) == has(oldSelf.storageClassName) && \
         (!has(self.storageClassName) || self.storageClassName == oldSelf.storageClassName)",
        "spec.storage.volume.storageClassName cannot change: a volume stays where it was made",
    ),
    (
        "quantity(self.size).compareTo(quantity(oldSelf.size)) >= 0",
        "spec.storage.volume.size cannot shrink: file systems only grow",
    ),
    (
        "quantity(self.size).compareTo(quantity('3Gi')) >= 0",
        "spec.storage.volume.size must be at least 3Gi: a volume with less than 2Gi free takes no data",
    ),
];

/// The storage nodes: each is a pod with a volume.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules(STORAGE_RULES)))]
pub struct Storage {
    /// How many. More join one by one; of fewer, the last ones are emptied first, one by one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 256))]
    pub nodes: Option<u16>,
    /// Their volumes.
    pub volume: Volume,
    /// What their pods ask for; 250m and 256Mi where it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// Labels that their Kubernetes nodes must have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32))]
    pub node_selector: BTreeMap<String, String>,
    /// Taints of Kubernetes nodes that they bear.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub tolerations: Vec<Toleration>,
    /// Whether two of them may be on one Kubernetes node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_spread: Option<HostSpread>,
    /// Their priority class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub priority_class_name: Option<String>,
}

/// The volume of each storage node.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules(VOLUME_RULES)))]
pub struct Volume {
    /// Its size, such as 100Gi.
    #[schemars(
        length(min = 1, max = 32),
        regex(pattern = "^[0-9]+(\\.[0-9]+)?(Mi|Gi|Ti|Pi|M|G|T|P)?$")
    )]
    pub size: String,
    /// Its storage class; the default one where it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub storage_class_name: Option<String>,
}

/// What a pod asks for and may take.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Resources {
    /// What it is sure to get, such as cpu: 500m and memory: 1Gi.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 8))]
    pub requests: BTreeMap<String, String>,
    /// What it may take.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 8))]
    pub limits: BTreeMap<String, String>,
}

/// Whether two storage nodes may be on one Kubernetes node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum HostSpread {
    /// Where there is no other place.
    #[default]
    Preferred,
    /// Never: a pod without a place of its own waits.
    Required,
}

/// Settings of the servers. What is not given is as `marram server --help` says.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServerSettings {
    /// Size of segment files in MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 8, max = 65536))]
    pub segment_mib: Option<u64>,
    /// Seconds that a node may be away before what it had is rebuilt elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 604_800))]
    pub repair_grace_seconds: Option<u64>,
    /// Seconds that a node in place of one that is gone is waited for before stripes get narrower.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 604_800))]
    pub narrow_grace_seconds: Option<u64>,
    /// Seconds that uploads are waited for which began before a node was to be drained.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 604_800))]
    pub drain_grace_seconds: Option<u64>,
    /// Seconds for which replaced and deleted data is kept for those who read it; a node that is emptied
    /// waits for them too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 604_800))]
    pub read_lag_seconds: Option<u64>,
    /// What the servers log, such as info or info,marram_raft=debug.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub log: Option<String>,
}
