//! Keys and tokens of a cluster: read, and made where there are none.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use rand::RngExt;
use serde_json::json;

use super::error::ReconcileError;
use super::kube_api::{OWNER, Objects};
use super::trust::Others;
use crate::build::{self, Keys};
use crate::names::Names;

const ID_ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
const SECRET_ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
const ID_CHARS: usize = 18;
const SECRET_CHARS: usize = 40;

/// What the operator needs to speak to a cluster.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Access {
    pub(crate) id: String,
    pub(crate) secret: String,
    pub(crate) ca: String,
}

/// One value of a Secret, as text.
pub(crate) fn text(secret: &Secret, key: &str) -> Option<String> {
    let ByteString(bytes) = secret.data.as_ref()?.get(key)?;
    String::from_utf8(bytes.clone())
        .ok()
        .filter(|text| !text.is_empty())
}

fn random_text(alphabet: &[u8], length: usize) -> String {
    let mut rng = rand::rng();
    (0..length)
        .map(|_| char::from(alphabet[rng.random_range(0..alphabet.len())]))
        .collect()
}

fn access_key() -> String {
    let id = format!("MK{}", random_text(ID_ALPHABET, ID_CHARS));
    format!("{id} {}", random_text(SECRET_ALPHABET, SECRET_CHARS))
}

/// Makes the keys, where there are none. They are never made again.
pub(crate) async fn make_keys(objects: &Objects, names: &Names) -> Result<(), ReconcileError> {
    let kek: [u8; 32] = rand::rng().random();
    let keys = Keys {
        kek: kek.iter().map(|byte| format!("{byte:02x}")).collect(),
        admin: access_key(),
        operator: access_key(),
    };
    objects.create(&build::keys(names, &keys)).await?;
    Ok(())
}

/// The operator's key of a cluster with what is to be trusted of its API; none while there are none.
pub(crate) async fn access(
    objects: &Objects,
    names: &Names,
    others: &Others,
) -> Result<Option<Access>, ReconcileError> {
    let (keys, tls) = (
        objects.get::<Secret>(&names.keys()).await?,
        objects.get::<Secret>(&names.api_tls()).await?,
    );
    let (Some(keys), Some(tls)) = (keys, tls) else {
        return Ok(None);
    };
    let damaged = |name: String, key: &'static str| ReconcileError::Secret { name, key };
    let key = text(&keys, "operator").ok_or_else(|| damaged(names.keys(), "operator"))?;
    let (id, secret) = key
        .trim()
        .split_once(' ')
        .ok_or_else(|| damaged(names.keys(), "operator"))?;
    let own = text(&tls, "ca.crt").ok_or_else(|| damaged(names.api_tls(), "ca.crt"))?;
    Ok(Some(Access {
        id: id.to_owned(),
        secret: secret.trim().to_owned(),
        ca: others.beside(own),
    }))
}

/// Makes the Secret of the tokens, where there is none: it is mounted.
pub(crate) async fn ensure_join(objects: &Objects, names: &Names) -> Result<(), ReconcileError> {
    if objects.get::<Secret>(&names.join()).await?.is_none() {
        objects
            .create(&build::join(names, &BTreeMap::new()))
            .await?;
    }
    Ok(())
}

/// Gives a pod its token.
pub(crate) async fn put_token(
    objects: &Objects,
    names: &Names,
    (pod, token): (&str, &str),
    now: i64,
) -> Result<(), ReconcileError> {
    let patch = json!({
        "metadata": { "annotations": { minted(pod): now.to_string() } },
        "stringData": { pod: token },
    });
    objects
        .merge::<Secret>(&names.join(), super::kube_api::TOKENS, &patch)
        .await
        .map(drop)
}

/// Takes tokens away.
pub(crate) async fn drop_tokens(
    objects: &Objects,
    names: &Names,
    pods: &[String],
) -> Result<(), ReconcileError> {
    let mut patch = json!({ "metadata": { "annotations": {} }, "data": {} });
    for pod in pods {
        patch["metadata"]["annotations"][minted(pod)] = json!(null);
        patch["data"][pod] = json!(null);
    }
    objects
        .merge::<Secret>(&names.join(), super::kube_api::TOKENS, &patch)
        .await
        .map(drop)
}

/// The tokens that pods have: when each was made.
pub(crate) fn tokens(join: Option<&Secret>) -> BTreeMap<String, i64> {
    let Some(join) = join else {
        return BTreeMap::new();
    };
    let annotations = join.metadata.annotations.clone().unwrap_or_default();
    let made = |pod: &String| {
        let made = annotations
            .get(&minted(pod))
            .and_then(|time| time.parse().ok());
        (pod.clone(), made.unwrap_or(0))
    };
    join.data
        .iter()
        .flat_map(BTreeMap::keys)
        .map(made)
        .collect()
}

/// The annotation that says when a pod's token was made.
fn minted(pod: &str) -> String {
    format!("minted.marram.dev/{pod}")
}

/// Deletes what goes with the data.
pub(crate) async fn delete_keys(objects: &Objects, names: &Names) -> Result<(), ReconcileError> {
    if let Some(keys) = objects.get::<Secret>(&names.keys()).await? {
        let uid = keys.metadata.uid.unwrap_or_default();
        objects.delete::<Secret>(&names.keys(), &uid, false).await?;
    }
    tracing::info!(cluster = names.name, writer = OWNER, "the keys are deleted");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn access_keys_are_two_words_that_the_server_takes() {
        let key = access_key();
        let (id, secret) = key.split_once(' ').expect("two words");
        assert_eq!((id.len(), secret.len()), (20, 40));
        assert!(id.starts_with("MK") && id.bytes().all(|b| b.is_ascii_alphanumeric()));
        assert_ne!(key, access_key());
    }

    #[test]
    fn tokens_are_known_by_pod_with_their_time() {
        let secret: Secret = serde_json::from_value(json!({
            "metadata": { "annotations": { "minted.marram.dev/store-1": "77" } },
            "data": { "store-1": "eA==", "store-2": "eA==" },
        }))
        .expect("a Secret");
        let expected = [("store-1".to_owned(), 77), ("store-2".to_owned(), 0)];
        assert_eq!(tokens(Some(&secret)), expected.into());
        assert_eq!(text(&secret, "store-1").as_deref(), Some("x"));
        assert!(tokens(None).is_empty());
    }
}
