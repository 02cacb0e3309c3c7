//! What the operator saw last of a cluster.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Operation;

/// In a word, how a cluster is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum ClusterPhase {
    /// It is not there yet.
    #[default]
    Creating,
    /// It is as it should be.
    Ready,
    /// It serves, and is being changed.
    Changing,
    /// It serves with less than all of its copies or nodes.
    Degraded,
    /// It does not serve, or cannot be asked.
    Unavailable,
    /// Something is needed that the operator cannot do by itself.
    Stalled,
    /// The operator looks on.
    Paused,
    /// No pod runs, as it is wanted; all volumes are kept.
    Hibernated,
}

/// What the operator saw last.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MarramClusterStatus {
    /// The generation of the resource that this is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// In a word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<ClusterPhase>,
    /// In a sentence.
    #[serde(default)]
    #[schemars(length(max = 1024))]
    pub message: String,
    /// Replicas of the StatefulSet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nodes: Option<i32>,
    /// Members that answer.
    #[serde(default)]
    pub ready_nodes: i32,
    /// The labels of the pods, for whoever scales.
    #[serde(default)]
    #[schemars(length(max = 512))]
    pub selector: String,
    /// The cluster's id; none until it was founded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub cluster_id: Option<String>,
    /// The image tag that all pods run, or `old -> new` while it is changed.
    #[serde(default)]
    #[schemars(length(max = 256))]
    pub version: String,
    /// What the state means for the data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redundancy: Option<RedundancyStatus>,
    /// How full it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capacity: Option<Capacity>,
    /// The members.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub members: Vec<Member>,
    /// The operation under way; at most one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<Operation>,
    /// The upgrade that was given up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upgrade: Option<UpgradeStatus>,
    /// Gateways of their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<GatewayStatus>,
    /// The failure domain whose pods may be evicted now, while others may not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub open_domain: Option<String>,
    /// When the number of nodes changed last, in seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scaled_at: Option<i64>,
    /// The API's certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<CertificateStatus>,
    /// What holds and what does not, each with a sentence.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 24),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"])
    )]
    pub conditions: Vec<Condition>,
}

/// What the state of a cluster means for the data.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RedundancyStatus {
    /// Every object has all of its shards where they belong.
    pub fully_redundant: bool,
    /// How many more nodes may be lost with every object still readable; negative when some may not be.
    pub tolerated_losses: i32,
    /// New objects can be written.
    pub writable: bool,
    /// Extents that wait for repair or for their place; none where that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repairs_waiting: Option<i64>,
    /// Placement groups from which data has yet to move.
    pub moves_to_go: i64,
    /// Since when it is fully redundant without a break, in seconds since 1970; none when it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<i64>,
}

/// How full a cluster is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Capacity {
    /// Bytes of all drives.
    pub total_bytes: i64,
    /// Bytes of them that are used.
    pub used_bytes: i64,
    /// The same as a share.
    #[schemars(length(max = 8))]
    pub used: String,
}

/// One member.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Member {
    /// Its name, which is its pod's.
    #[schemars(length(max = 63))]
    pub name: String,
    /// Its id.
    #[schemars(length(max = 20))]
    pub node_id: String,
    /// Its zone.
    #[schemars(length(max = 253))]
    pub zone: String,
    /// How it is by the word of its peers.
    #[schemars(length(max = 16))]
    pub health: String,
    /// What it is there for.
    #[schemars(length(max = 16))]
    pub duty: String,
    /// Slots of placement groups that are read from it.
    pub slots: i64,
}

/// An upgrade that was given up: the pods before it were put back, until the resource changes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UpgradeStatus {
    /// The pods' template that did not do, as a hash.
    #[schemars(length(max = 64))]
    pub failed_template: String,
    /// The revision that was put back.
    #[schemars(length(max = 253))]
    pub proven_revision: String,
    /// What was wrong.
    #[schemars(length(max = 1024))]
    pub reason: String,
}

/// How the gateways are.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GatewayStatus {
    /// How many there are to be now.
    pub replicas: i32,
    /// How many are ready.
    pub ready_replicas: i32,
    /// The Service of applications goes to them.
    pub serving: bool,
    /// The image that they run.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 512))]
    pub image: String,
}

/// A certificate.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CertificateStatus {
    /// Until when it is good, in seconds since 1970.
    pub not_after: i64,
    /// When it will be renewed, in seconds since 1970.
    pub renew_at: i64,
    /// The CA of the operator's own certificates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authority: Option<AuthorityStatus>,
    /// What is wrong with the certificates: of `spec.tls.secretName`, or with the operator's own.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 1024))]
    pub trouble: String,
}

/// A CA.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuthorityStatus {
    /// Until when the one that issues is good, in seconds since 1970.
    pub not_after: i64,
    /// How far it is replaced.
    pub state: AuthorityState,
    /// When the next step of that is done, in seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_step_at: Option<i64>,
    /// For whom a step that is due waits.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 4096))]
    pub waits_for: String,
}

/// How far a CA is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum AuthorityState {
    /// It is not.
    #[default]
    AtRest,
    /// The next one is trusted already.
    NextTrusted,
    /// The next one issues; the one before is trusted still.
    PreviousTrusted,
}
