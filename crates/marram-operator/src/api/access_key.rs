//! `AccessKey`: what an application may do in a cluster, and the Secret in which it finds its key.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::rules::rules;
use super::{BucketRef, ClusterRef};

/// For how long replaced secrets hold where nothing is said, in seconds.
const OVERLAP_SECONDS: u32 = 3600;

const SPEC_RULES: &[(&str, &str)] = &[
    (
        "self.clusterRef == oldSelf.clusterRef",
        "spec.clusterRef cannot change: a key is known to one cluster; write another AccessKey",
    ),
    (
        "has(self.secretName) == has(oldSelf.secretName) && (!has(self.secretName) || \
         self.secretName == oldSelf.secretName)",
        "spec.secretName cannot change: applications look for the key there; write another AccessKey",
    ),
];

const GRANT_RULES: &[(&str, &str)] = &[(
    "!has(self.prefix) || !self.permissions.exists(p, p == 'Admin')",
    "Admin in spec.grants is of a whole bucket: take prefix away, or grant List, Read and Write there",
)];

const ROTATION_RULES: &[(&str, &str)] = &[(
    "!has(self.everySeconds) || (has(self.overlapSeconds) ? self.overlapSeconds : 3600) < \
     self.everySeconds",
    "spec.rotation.overlapSeconds (3600 where it is not given) must be less than \
     spec.rotation.everySeconds, or replaced secrets would add up",
)];

/// A key with which an application uses a cluster.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema, CustomResource)]
#[kube(
    group = "marram.dev",
    version = "v1alpha1",
    kind = "AccessKey",
    plural = "accesskeys",
    category = "marram",
    namespaced,
    status = "AccessKeyStatus",
    derive = "PartialEq",
    doc = "A key with which an application uses a Marram cluster, and the Secret that holds it.",
    printcolumn(name = "Cluster", type_ = "string", json_path = ".spec.clusterRef.name"),
    printcolumn(name = "Secret", type_ = "string", json_path = ".status.secretName"),
    printcolumn(name = "Key", type_ = "string", json_path = ".status.accessKeyId"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Rotated", type_ = "date", json_path = ".status.rotatedAt"),
    printcolumn(name = "Expires", type_ = "date", json_path = ".spec.expiresAt"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].message",
        priority = 1
    ),
    validation = Rule::new("!has(self.spec.secretName) || self.spec.secretName.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$')").message(
        "spec.secretName must be a name that a Secret can have: a-z, 0-9, - and ., beginning and ending with \
         a letter or digit"
    )
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules(SPEC_RULES)))]
pub struct AccessKeySpec {
    /// The cluster.
    pub cluster_ref: ClusterRef,
    /// What it may do. What no grant permits is denied.
    #[schemars(length(min = 1, max = 64))]
    pub grants: Vec<Grant>,
    /// The Secret that is written, in the resource's namespace; the resource's name where it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub secret_name: Option<String>,
    /// When it gets another secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotation: Option<Rotation>,
    /// When it ends; never where it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Time>,
}

/// Permissions in a bucket, or on what begins so.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules(GRANT_RULES)))]
pub struct Grant {
    /// The Bucket.
    pub bucket_ref: BucketRef,
    /// Keys that begin so; all, and the bucket itself, where it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub prefix: Option<String>,
    /// What is permitted there.
    #[schemars(length(min = 1, max = 4), extend("x-kubernetes-list-type" = "set"))]
    pub permissions: Vec<GrantPermission>,
}

/// One thing that can be permitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum GrantPermission {
    /// See which keys there are.
    List,
    /// Read objects and what they are.
    Read,
    /// Write and delete objects.
    Write,
    /// All of that, and change the bucket.
    Admin,
}

/// When a key gets another secret. The one before holds for a while.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules(ROTATION_RULES)))]
pub struct Rotation {
    /// Seconds after which it does by itself; never where it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 60, max = 31_536_000))]
    pub every_seconds: Option<u32>,
    /// Seconds for which the secret before holds; 3600 where it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 2_592_000))]
    pub overlap_seconds: Option<u32>,
    /// Any text: when it changes, the key gets another secret now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub trigger: Option<String>,
}

/// What is under way with a key: written down before it is done, because a secret is shown once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Pending {
    /// The key is being made.
    Create,
    /// It is getting another secret.
    Rotate,
}

/// What was seen last of a key.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AccessKeyStatus {
    /// The generation of the resource that this is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub secret_name: Option<String>,
    /// The key's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub access_key_id: Option<String>,
    /// SHA-256 of the secret that was put into the Secret last, by which another one there is known. The secret
    /// is random, so that nothing is told by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub secret_hash: Option<String>,
    /// When the key got its secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotated_at: Option<Time>,
    /// The trigger for which it got it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub trigger: Option<String>,
    /// What is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending: Option<Pending>,
    /// What holds and what does not, each with a sentence.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 8),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"])
    )]
    pub conditions: Vec<Condition>,
}

impl AccessKey {
    /// The Secret's name.
    #[must_use]
    pub fn secret_name(&self) -> String {
        let name = self.metadata.name.clone().unwrap_or_default();
        self.spec.secret_name.clone().unwrap_or(name)
    }
}

impl AccessKeySpec {
    /// For how long the secret before holds, in seconds.
    #[must_use]
    pub fn overlap_seconds(&self) -> u64 {
        let said = self.rotation.as_ref().and_then(|r| r.overlap_seconds);
        u64::from(said.unwrap_or(OVERLAP_SECONDS))
    }
}
