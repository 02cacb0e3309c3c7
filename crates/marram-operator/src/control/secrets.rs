//! Keys and tokens of a cluster: read, and made where there are none.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use rand::RngExt;
use serde_json::json;

use super::error::ReconcileError;
use super::kube_api::{OWNER, Objects};
use crate::api::MarramClusterSpec;
use crate::build::{self, Keys};
use crate::certificates;
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

/// The certificate of the API that somebody else keeps.
pub(crate) struct Given {
    pub(crate) certificate: String,
    pub(crate) ca: String,
}

/// The certificate in `spec.tls.secretName`, or why it does not do; none where the operator's own is wanted.
pub(crate) async fn given(
    objects: &Objects,
    names: &Names,
    spec: &MarramClusterSpec,
) -> Result<Option<Result<Given, String>>, ReconcileError> {
    let Some(name) = spec.tls.as_ref().and_then(|tls| tls.secret_name.as_ref()) else {
        return Ok(None);
    };
    let live = objects.get::<Secret>(name).await?;
    Ok(Some(usable(names, name, live.as_ref())))
}

fn usable(names: &Names, name: &str, live: Option<&Secret>) -> Result<Given, String> {
    let live =
        live.ok_or_else(|| format!("the Secret {name} of spec.tls.secretName is not there"))?;
    let part = |key: &str| {
        text(live, key)
            .ok_or_else(|| format!("the Secret {name} of spec.tls.secretName has no {key}"))
    };
    let given = Given {
        certificate: part("tls.crt")?,
        ca: part("ca.crt")?,
    };
    part("tls.key")?;
    let facts = certificates::read(&given.certificate);
    let facts = facts.map_err(|error| format!("tls.crt in the Secret {name}: {error}"))?;
    let host = names.api_host();
    match facts.names.contains(&host) {
        true => Ok(given),
        false => Err(format!(
            "the certificate in the Secret {name} does not bear {host}; it bears {}",
            facts.names.join(", ")
        )),
    }
}

/// The operator's key of a cluster with what is to be trusted of its API; none while there are none.
pub(crate) async fn access(
    objects: &Objects,
    names: &Names,
    spec: &MarramClusterSpec,
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
    // Both, because pods change from one certificate to the other one by one.
    let mut ca = text(&tls, "ca.crt").ok_or_else(|| damaged(names.api_tls(), "ca.crt"))?;
    if let Some(Ok(given)) = given(objects, names, spec).await? {
        ca += given.ca.trim_end();
        ca.push('\n');
    }
    Ok(Some(Access {
        id: id.to_owned(),
        secret: secret.trim().to_owned(),
        ca,
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
    fn a_certificate_of_somebody_else_must_do() {
        let names = crate::names::tests::names();
        let host = names.api_host();
        let ca = certificates::make_ca("other", 1_800_000_000).expect("a CA");
        let secret = |bears: &str, keys: &[&str]| -> Secret {
            let times = (1_800_000_000, 1000);
            let leaf = certificates::issue(&ca, &[bears.to_owned()], times).expect("issued");
            let all = [
                ("tls.crt", leaf.certificate),
                ("tls.key", leaf.key),
                ("ca.crt", ca.certificate.clone()),
            ];
            let all = all.into_iter().filter(|(key, _)| keys.contains(key));
            let data: BTreeMap<String, ByteString> = all
                .map(|(key, text)| (key.to_owned(), ByteString(text.into_bytes())))
                .collect();
            Secret {
                data: Some(data),
                ..Secret::default()
            }
        };
        let all = ["tls.crt", "tls.key", "ca.crt"];
        let said = |live: Option<&Secret>| usable(&names, "theirs", live).err();
        assert_eq!(said(Some(&secret(&host, &all))), None);
        let missing = said(None).expect("refused");
        assert!(missing.ends_with("is not there"), "{missing}");
        let public = said(Some(&secret(&host, &all[..2]))).expect("refused");
        assert!(public.ends_with("has no ca.crt"), "{public}");
        let other = said(Some(&secret("objects.example.org", &all))).expect("refused");
        assert!(
            other.contains(&format!(
                "does not bear {host}; it bears objects.example.org"
            )),
            "{other}"
        );
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
