//! The Secret in which an application finds its key.

use k8s_openapi::ByteString;
use kube::Resource;
use serde_json::{Value, json};

use crate::api::AccessKey;
use crate::names::ACCESS_KEY_LABEL;

/// What an application needs. The names of the variables are those that `marram` reads.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// Where the API is.
    pub endpoint: String,
    /// The key's id.
    pub id: String,
    /// Its secret.
    pub secret: String,
    /// The CA of the API's certificates.
    pub ca: String,
}

/// Logs must not hold the secret.
impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl Credentials {
    /// The Secret's keys with their values.
    #[must_use]
    pub fn entries(&self) -> [(&'static str, &str); 4] {
        [
            ("MARRAM_ENDPOINT", &self.endpoint),
            ("MARRAM_ACCESS_KEY", &self.id),
            ("MARRAM_SECRET_KEY", &self.secret),
            ("ca.crt", &self.ca),
        ]
    }
}

/// The Secret of an AccessKey. It goes with the resource.
#[must_use]
pub fn credentials(key: &AccessKey, credentials: &Credentials) -> Value {
    let bytes = |text: &str| json!(ByteString(text.as_bytes().to_vec()));
    let entries = credentials.entries();
    let data: serde_json::Map<String, Value> = entries
        .iter()
        .map(|(name, text)| ((*name).to_owned(), bytes(text)))
        .collect();
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": key.secret_name(),
            "namespace": key.metadata.namespace,
            "labels": {
                ACCESS_KEY_LABEL: key.spec.cluster_ref.name,
                "app.kubernetes.io/name": "marram",
                "app.kubernetes.io/managed-by": "marram-operator",
            },
            "ownerReferences": [key.controller_owner_ref(&())],
        },
        "type": "Opaque",
        "data": data,
    })
}
