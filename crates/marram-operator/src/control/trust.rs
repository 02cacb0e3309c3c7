//! Certificates of the API that somebody else keeps, such as cert-manager, and whose CAs are trusted because of them:
//! beside the operator's own, because pods change from one to the other one by one.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::api::ListParams;

use super::error::ReconcileError;
use super::kube_api::Objects;
use super::secrets::text;
use crate::api::MarramClusterSpec;
use crate::build::API_TLS;
use crate::certificates;
use crate::names::{CLUSTER_LABEL, Names};

/// The certificate of the API that somebody else keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Given {
    pub(super) certificate: String,
    ca: String,
}

/// What others keep of a cluster's certificates.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Others {
    /// The certificate in `spec.tls.secretName`, or why it does not do; none where the operator's own is wanted.
    pub(super) given: Option<Result<Given, String>>,
    /// The CAs of that one, and of those that pods still show.
    cas: Vec<String>,
}

impl Others {
    /// What is to be trusted, with the operator's own.
    pub(super) fn beside(&self, own: String) -> String {
        let all = self.cas.iter().map(|ca| ca.trim_end());
        all.fold(own, |all, ca| all + ca + "\n")
    }
}

/// Looks for what others keep.
pub(super) async fn others(
    objects: &Objects,
    names: &Names,
    spec: &MarramClusterSpec,
) -> Result<Others, ReconcileError> {
    let wanted = spec.tls.as_ref().and_then(|tls| tls.secret_name.as_ref());
    let of = ListParams::default().labels(&format!("{CLUSTER_LABEL}={}", names.name));
    let pods = objects.of::<Pod>().list(&of).await;
    let pods = pods.map_err(ReconcileError::kubernetes("list the pods"))?;
    let mut secrets: BTreeSet<&String> = pods.items.iter().filter_map(shown).collect();
    secrets.extend(wanted);
    secrets.remove(&names.api_tls());
    let mut others = Others::default();
    for name in secrets {
        let live = objects.get::<Secret>(name).await?;
        others
            .cas
            .extend(live.as_ref().and_then(|live| text(live, "ca.crt")));
        if wanted == Some(name) {
            others.given = Some(usable(names, name, live.as_ref()));
        }
    }
    Ok(others)
}

/// The Secret whose certificate a pod shows.
fn shown(pod: &Pod) -> Option<&String> {
    let volumes = pod.spec.as_ref()?.volumes.as_ref()?;
    let volume = volumes.iter().find(|volume| volume.name == API_TLS)?;
    volume.secret.as_ref()?.secret_name.as_ref()
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use k8s_openapi::ByteString;
    use serde_json::json;

    use super::*;
    use crate::names::tests::names;

    #[test]
    fn a_pod_says_whose_certificate_it_shows() {
        let pod = |volumes: &serde_json::Value| -> Pod {
            let spec = json!({ "containers": [], "volumes": volumes });
            serde_json::from_value(json!({ "spec": spec })).expect("a pod")
        };
        let keys = json!({ "name": "keys", "secret": { "secretName": "store-keys" } });
        let tls = json!({ "name": "api-tls", "secret": { "secretName": "theirs" } });
        assert_eq!(
            shown(&pod(&json!([keys, tls]))).map(String::as_str),
            Some("theirs")
        );
        assert_eq!(shown(&pod(&json!([keys]))), None);
        assert_eq!(shown(&Pod::default()), None);
    }

    #[test]
    fn others_are_trusted_beside_the_operators_own() {
        let cas = vec!["b\n".to_owned(), "c".to_owned()];
        let others = Others { given: None, cas };
        assert_eq!(others.beside("a\n".to_owned()), "a\nb\nc\n");
        assert_eq!(Others::default().beside("a\n".to_owned()), "a\n");
    }

    #[test]
    fn a_certificate_of_somebody_else_must_do() {
        let names = names();
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
}
