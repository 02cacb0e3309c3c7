//! `Bucket`: one bucket of a cluster, as a person wants it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::reference::namespaces;
use super::rules::rules;
use super::{ClusterRef, LifecycleRule};

const SPEC_RULES: &[(&str, &str)] = &[
    (
        "self.clusterRef == oldSelf.clusterRef",
        "spec.clusterRef cannot change: a bucket stays where its objects are; write another Bucket",
    ),
    (
        "has(self.bucket) == has(oldSelf.bucket) && (!has(self.bucket) || self.bucket == \
         oldSelf.bucket)",
        "spec.bucket cannot change: a bucket cannot be renamed; write another Bucket",
    ),
    (
        "!has(oldSelf.versioning) || oldSelf.versioning == 'Off' || (has(self.versioning) && \
         self.versioning != 'Off')",
        "spec.versioning cannot go back to Off or be left out once versions were kept: write Suspended",
    ),
];

const QUOTA_RULES: &[(&str, &str)] = &[(
    "has(self.size) || has(self.objects)",
    "spec.quota must say size or objects, or be left out: without both it limits nothing",
)];

/// A bucket of a cluster.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema, CustomResource)]
#[kube(
    group = "marram.dev",
    version = "v1alpha1",
    kind = "Bucket",
    plural = "buckets",
    category = "marram",
    namespaced,
    status = "BucketStatus",
    derive = "PartialEq",
    doc = "A bucket of a Marram cluster.",
    printcolumn(name = "Cluster", type_ = "string", json_path = ".spec.clusterRef.name"),
    printcolumn(name = "Bucket", type_ = "string", json_path = ".status.bucket"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Profile", type_ = "string", json_path = ".status.profile"),
    printcolumn(name = "Versioning", type_ = "string", json_path = ".status.versioning"),
    printcolumn(name = "Objects", type_ = "integer", json_path = ".status.objects"),
    printcolumn(name = "Bytes", type_ = "integer", json_path = ".status.bytes"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].message",
        priority = 1
    ),
    validation = Rule::new(
        "has(self.spec.bucket) || self.metadata.name.matches('^[a-z0-9][-a-z0-9.]{1,61}[a-z0-9]$')"
    ).message(
        "metadata.name is the bucket's name where spec.bucket is not given: it must have 3 to 63 \
         characters, a-z, 0-9, - and ., and begin and end with a letter or digit"
    )
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules(SPEC_RULES)))]
pub struct BucketSpec {
    /// The cluster.
    pub cluster_ref: ClusterRef,
    /// The bucket's name in the cluster; the resource's name where it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 3, max = 63),
        regex(pattern = "^[a-z0-9][-a-z0-9.]*[a-z0-9]$")
    )]
    pub bucket: Option<String>,
    /// Its erasure profile, such as 4+2; the cluster's where it is not given. Another one encodes what is
    /// there anew in the background.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 3, max = 5), regex(pattern = "^[0-9]{1,2}\\+[0-8]$"))]
    pub profile: Option<String>,
    /// Whether versions that others replace are kept; left as it is where it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub versioning: Option<Versioning>,
    /// What it may hold; anything where it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota: Option<Quota>,
    /// The rules by which what it holds goes by itself; nothing does where there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 64),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["id"])
    )]
    pub lifecycle: Vec<LifecycleRule>,
    /// What becomes of the bucket when this resource is deleted; Retain where it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion_policy: Option<DeletionPolicy>,
    /// Namespaces besides its own whose access keys may be granted something here; * is all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("items" = namespaces()))]
    pub allowed_namespaces: Vec<String>,
    /// Take a bucket over that is in the cluster already. Only in the cluster's own namespace.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub adopt_existing: bool,
}

/// Whether a bucket keeps the versions that others replace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Versioning {
    /// It never did.
    Off,
    /// It does.
    On,
    /// It did: what was kept stays.
    Suspended,
}

/// What a bucket may hold.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules(QUOTA_RULES)))]
pub struct Quota {
    /// Bytes, such as 100Gi: of all versions, and of the parts of uploads under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 24),
        regex(pattern = "^[0-9]{1,18}(Ki|Mi|Gi|Ti|Pi|k|M|G|T|P)?$")
    )]
    pub size: Option<String>,
    /// Objects: their versions, current or not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1_000_000_000_000_000_u64))]
    pub objects: Option<u64>,
}

/// What becomes of a bucket without its resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum DeletionPolicy {
    /// It stays in the cluster, with what is in it.
    #[default]
    Retain,
    /// It is deleted as soon as it is empty; the resource stays until then.
    DeleteWhenEmpty,
}

/// What was seen last of a bucket.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BucketStatus {
    /// The generation of the resource that this is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The bucket's name in the cluster, once it is this resource's: written down before it is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub bucket: Option<String>,
    /// Its erasure profile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 8))]
    pub profile: Option<String>,
    /// Whether it keeps versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub versioning: Option<Versioning>,
    /// Versions of objects in it, as they count against a quota.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objects: Option<i64>,
    /// Bytes in it, as they count against a quota.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<i64>,
    /// What holds and what does not, each with a sentence.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 8),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"])
    )]
    pub conditions: Vec<Condition>,
}

impl Bucket {
    /// The bucket's name in the cluster.
    #[must_use]
    pub fn bucket(&self) -> String {
        let name = self.metadata.name.clone().unwrap_or_default();
        self.spec.bucket.clone().unwrap_or(name)
    }
}
