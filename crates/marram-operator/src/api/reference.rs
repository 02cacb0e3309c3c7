//! How resources name one another.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The cluster that a resource is about.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClusterRef {
    /// The name of a MarramCluster.
    #[schemars(length(min = 1, max = 40))]
    pub name: String,
    /// Its namespace; that of the resource where it is not given. Another one must be listed in the
    /// cluster's spec.allowedNamespaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub namespace: Option<String>,
}

impl ClusterRef {
    /// Namespace and name, for a resource of this namespace.
    #[must_use]
    pub fn from(&self, namespace: &str) -> (String, String) {
        let of = self.namespace.as_deref().unwrap_or(namespace);
        (of.to_owned(), self.name.clone())
    }
}

/// The Bucket that a grant is about.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BucketRef {
    /// The name of a Bucket.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Its namespace; that of the access key where it is not given. A Bucket of another one must list the
    /// access key's in its spec.allowedNamespaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub namespace: Option<String>,
}

/// Whether a list of namespaces has this one, or all.
#[must_use]
pub fn lists(namespaces: &[String], namespace: &str) -> bool {
    namespaces
        .iter()
        .any(|listed| listed == namespace || listed == "*")
}

/// The form of an entry of such a list.
pub(super) const NAMESPACE_PATTERN: &str = "^(\\*|[a-z0-9]([-a-z0-9]*[a-z0-9])?)$";

/// Namespaces by name, or `*` for all.
pub(super) fn namespaces() -> serde_json::Value {
    serde_json::json!({ "type": "string", "minLength": 1, "maxLength": 63, "pattern": NAMESPACE_PATTERN })
}
