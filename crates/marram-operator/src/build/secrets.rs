//! The Secrets. Their random parts come from outside.

use std::collections::BTreeMap;
use std::fmt;

use k8s_openapi::ByteString;
use serde_json::{Value, json};

use crate::api::MarramClusterSpec;
use crate::certificates::Authority;
use crate::names::{AUTHORITY_ANNOTATION, Names, TOKEN_ANNOTATION};

/// Since when what is trusted of the API is published, on the Secret of its CA.
pub(crate) const AUTHORITY_SINCE: &str = "ca.marram.dev/since";
/// The wish for another CA that was heard last, there.
pub(crate) const AUTHORITY_HEARD: &str = "ca.marram.dev/heard";

/// The volume of the API's certificate in a pod.
pub(crate) const API_TLS: &str = "api-tls";

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

/// The name of the Secret whose certificate the servers show.
#[must_use]
pub(crate) fn api_secret(names: &Names, spec: &MarramClusterSpec) -> String {
    let given = spec.tls.as_ref().and_then(|tls| tls.secret_name.clone());
    given.unwrap_or_else(|| names.api_tls())
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
pub fn api_ca(names: &Names, authority: &Authority) -> Value {
    let mut metadata = names.owned(&names.api_ca());
    let annotations = [
        (
            AUTHORITY_SINCE,
            authority.since.map(|since| since.to_string()),
        ),
        (AUTHORITY_HEARD, authority.heard.clone()),
    ];
    metadata["annotations"] = annotations
        .into_iter()
        .filter_map(|(key, value)| Some((key.to_owned(), Value::from(value?))))
        .collect();
    let (signer, next) = (&authority.signer, authority.next.as_ref());
    let parts = [
        ("tls.crt", Some(&signer.certificate)),
        ("tls.key", Some(&signer.key)),
        ("next.crt", next.map(|next| &next.certificate)),
        ("next.key", next.map(|next| &next.key)),
        ("previous.crt", authority.previous.as_ref()),
    ];
    let data: BTreeMap<&str, ByteString> = parts
        .into_iter()
        .filter_map(|(key, text)| Some((key, ByteString(text?.clone().into_bytes()))))
        .collect();
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": metadata,
        "type": "kubernetes.io/tls",
        "data": data,
    })
}

/// What makes of that Secret, as it is, this one: it is merged, and what is there no more is null.
pub(crate) fn api_ca_patch(names: &Names, authority: &Authority, version: &str) -> Value {
    let mut patch = api_ca(names, authority);
    patch["metadata"]["resourceVersion"] = json!(version);
    for key in ["next.crt", "next.key", "previous.crt"] {
        if patch["data"].get(key).is_none() {
            patch["data"][key] = Value::Null;
        }
    }
    if authority.since.is_none() {
        patch["metadata"]["annotations"][AUTHORITY_SINCE] = Value::Null;
    }
    patch
}

/// What is to be trusted of the API, for those who may not read Secrets: a gateway before the cluster, for one.
#[must_use]
pub fn api_trust(names: &Names, bundle: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": names.owned(&names.api_ca()),
        "data": { "ca.crt": bundle },
    })
}
