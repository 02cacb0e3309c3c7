//! The Secrets. Their random parts come from outside.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Value, json};

use crate::names::{AUTHORITY_ANNOTATION, Names, TOKEN_ANNOTATION};

/// What a cluster cannot be without.
#[derive(Clone, PartialEq, Eq)]
pub struct Keys {
    /// The key-encryption key, 64 hexadecimal digits.
    pub kek: String,
    /// The first admin key, `ID SECRET`: a person's.
    pub admin: String,
    /// The operator's admin key, `ID SECRET`.
    pub operator: String,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys(...)")
    }
}

/// The Secret of the keys. It does not go with the resource: volumes without it are lost.
#[must_use]
pub fn keys(names: &Names, keys: &Keys) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": names.kept(&names.keys()),
        "type": "Opaque",
        "stringData": { "kek": keys.kek, "admin": keys.admin, "operator": keys.operator },
    })
}

/// The Secret of the join tokens, by pod. It is mounted, so it is there when it is empty too.
#[must_use]
pub fn join(names: &Names, tokens: &BTreeMap<String, String>) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": names.owned(&names.join()),
        "type": "Opaque",
        "stringData": tokens,
    })
}

/// The Secret of the gateways' join token: when it was made, and by which CA its bearer knows the cluster.
#[must_use]
pub fn gateway_join(names: &Names, token: &str, (made, authority): (i64, &str)) -> Value {
    let mut metadata = names.owned_by_gateways(&names.gateway_join());
    metadata["annotations"] =
        json!({ TOKEN_ANNOTATION: made.to_string(), AUTHORITY_ANNOTATION: authority });
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": metadata,
        "type": "Opaque",
        "stringData": { "token": token },
    })
}

/// The Secret of the API's certificate.
#[must_use]
pub fn api_tls(names: &Names, certificate: &str, key: &str, ca: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": names.owned(&names.api_tls()),
        "type": "kubernetes.io/tls",
        "stringData": { "tls.crt": certificate, "tls.key": key, "ca.crt": ca },
    })
}

/// The Secret of the CA of the API's certificates.
#[must_use]
pub fn api_ca(names: &Names, certificate: &str, key: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": names.owned(&names.api_ca()),
        "type": "kubernetes.io/tls",
        "stringData": { "tls.crt": certificate, "tls.key": key },
    })
}
