//! The API's certificate and its CA: made, renewed, replaced. All of the CA stands in one Secret, which is changed
//! on the version that was read, so that two operators never take two steps.

use k8s_openapi::api::core::v1::Secret;

use super::error::ReconcileError;
use super::kube_api::{OWNER, Objects};
use super::secrets::text;
use crate::api::{AuthorityState, AuthorityStatus, CertificateStatus, MarramClusterSpec};
use crate::build::{self, AUTHORITY_HEARD, AUTHORITY_SINCE};
use crate::certificates::{self, Authority, Pair, Policy, Turn};
use crate::fault;
use crate::names::Names;

/// How the certificate is, and what is to be told of its CA.
pub(super) struct Certified {
    pub(super) status: CertificateStatus,
    pub(super) turned: Option<&'static str>,
}

/// Makes or renews the certificate of the API, its CA where there is none, and takes the step of the CA's
/// replacement that is due.
pub(super) async fn ensure(
    objects: &Objects,
    names: &Names,
    spec: &MarramClusterSpec,
    now: i64,
) -> Result<Certified, ReconcileError> {
    let tls = spec.tls.clone().unwrap_or_default();
    let wanted = tls.authority.clone().unwrap_or_default();
    let policy = Policy {
        overlap: wanted.overlap(),
        wish: wanted.trigger.as_deref(),
    };
    let (mut authority, mut version) = ca(objects, names, policy, now).await?;
    let turn = authority.due(policy, now);
    if let Some(turn) = turn {
        let fresh = match turn {
            Turn::Announce(_) => Some(certificates::make_ca(&names.name, now)?),
            Turn::Switch | Turn::Forget => None,
        };
        authority = authority.turned(turn, policy.wish, fresh);
        version = keep(objects, names, &authority, &version).await?;
        tracing::info!(cluster = names.name, ?turn, "the CA of the API is replaced");
    }
    let leaf = leaf(objects, names, &authority, (&tls, now)).await?;
    let bundle = authority.bundle();
    objects.apply(&build::api_trust(names, &bundle)).await?;
    // The time until the next step runs from when everybody can see this one.
    if authority.changes() && authority.since.is_none() {
        authority.since = Some(now);
        keep(objects, names, &authority, &version).await?;
    }
    let not_after = certificates::read(&leaf)?.not_after;
    let status = CertificateStatus {
        not_after,
        renew_at: not_after - tls.renew_before(),
        authority: Some(AuthorityStatus {
            not_after: certificates::read(&authority.signer.certificate)?.not_after,
            state: match (&authority.next, &authority.previous) {
                (Some(_), _) => AuthorityState::NextTrusted,
                (None, Some(_)) => AuthorityState::PreviousTrusted,
                (None, None) => AuthorityState::AtRest,
            },
            next_step_at: authority.next_step(policy.overlap),
        }),
    };
    let turned = turn.map(told);
    Ok(Certified { status, turned })
}

fn told(turn: Turn) -> &'static str {
    match turn {
        Turn::Announce(_) => {
            "another CA of the API's certificates is trusted beside the one that issues them"
        }
        Turn::Switch => {
            "the API's certificates are of their next CA; the one before is trusted still"
        }
        Turn::Forget => "the CA before of the API's certificates is not trusted any more",
    }
}

/// The certificate that the servers have now: issued where it is due, and beside it what is to be trusted.
async fn leaf(
    objects: &Objects,
    names: &Names,
    authority: &Authority,
    (tls, now): (&crate::api::Tls, i64),
) -> Result<String, ReconcileError> {
    let live = objects.get::<Secret>(&names.api_tls()).await?;
    let part = |key: &str| live.as_ref().and_then(|live| text(live, key));
    let there = part("tls.crt").zip(part("tls.key"));
    let there = there.map(|(certificate, key)| Pair { certificate, key });
    let mut bears = names.certificate_names();
    bears.extend(tls.dns_names.iter().cloned());
    let certificate = there.as_ref().map(|there| there.certificate.as_str());
    let signer = &authority.signer;
    let times = (now, tls.renew_before());
    let due = certificates::is_due(certificate, (&signer.certificate, &bears), times);
    let bundle = authority.bundle();
    let leaf = match (due, there) {
        (None, Some(leaf)) if part("ca.crt").as_ref() == Some(&bundle) => {
            return Ok(leaf.certificate);
        }
        (None, Some(leaf)) => leaf,
        (why, _) => {
            let cluster = &names.name;
            tracing::info!(cluster, why, "a certificate of the API is issued");
            certificates::issue(signer, &bears, (now, tls.duration()))?
        }
    };
    let secret = build::api_tls(names, &leaf.certificate, &leaf.key, &bundle);
    fault::point("certificate.before");
    objects.apply(&secret).await?;
    fault::point("certificate.after");
    Ok(leaf.certificate)
}

/// The CA as it stands, with the version of its Secret; made where there is none.
async fn ca(
    objects: &Objects,
    names: &Names,
    policy: Policy<'_>,
    now: i64,
) -> Result<(Authority, String), ReconcileError> {
    if let Some(live) = objects.get::<Secret>(&names.api_ca()).await? {
        return read(names, &live);
    }
    let made = Authority::new(certificates::make_ca(&names.name, now)?, policy.wish);
    objects.create(&build::api_ca(names, &made)).await?;
    // Where another made one in the same moment, that one counts.
    match objects.get::<Secret>(&names.api_ca()).await? {
        Some(live) => read(names, &live),
        None => Err(damaged(names)),
    }
}

fn damaged(names: &Names) -> ReconcileError {
    ReconcileError::Secret {
        name: names.api_ca(),
        key: "tls.crt or tls.key",
    }
}

/// The CA in its Secret. A next one without its key is none: it could never issue.
fn read(names: &Names, live: &Secret) -> Result<(Authority, String), ReconcileError> {
    let pair = |certificate: &str, key: &str| {
        let (certificate, key) = (text(live, certificate)?, text(live, key)?);
        Some(Pair { certificate, key })
    };
    let annotation = |key: &str| live.metadata.annotations.as_ref()?.get(key).cloned();
    let authority = Authority {
        signer: pair("tls.crt", "tls.key").ok_or_else(|| damaged(names))?,
        next: pair("next.crt", "next.key"),
        previous: text(live, "previous.crt"),
        since: annotation(AUTHORITY_SINCE).and_then(|since| since.parse().ok()),
        heard: annotation(AUTHORITY_HEARD),
    };
    let version = live.metadata.resource_version.clone();
    Ok((authority, version.unwrap_or_default()))
}

/// Writes the CA down, where nobody has since it was read; says the version that it has then.
async fn keep(
    objects: &Objects,
    names: &Names,
    authority: &Authority,
    version: &str,
) -> Result<String, ReconcileError> {
    let patch = build::api_ca_patch(names, authority, version);
    fault::point("authority.before");
    let kept = objects
        .merge::<Secret>(&names.api_ca(), OWNER, &patch)
        .await?;
    fault::point("authority.after");
    Ok(kept.metadata.resource_version.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::names::tests::names;

    /// What the API server makes of a merge.
    fn merged(live: &Secret, authority: &Authority) -> Secret {
        let patch = build::api_ca_patch(&names(), authority, "7");
        let mut value = serde_json::to_value(live).expect("JSON");
        for part in ["/data", "/metadata/annotations"] {
            let fields = value
                .pointer_mut(part)
                .and_then(|part| part.as_object_mut());
            let fields = fields.expect("there");
            let patch = patch.pointer(part).and_then(|part| part.as_object());
            for (key, value) in patch.expect("there") {
                fields.insert(key.clone(), value.clone());
            }
            fields.retain(|_, value| !value.is_null());
        }
        value["metadata"]["resourceVersion"] = json!("8");
        serde_json::from_value(value).expect("a Secret")
    }

    #[test]
    fn the_secret_holds_all_of_it() {
        let pair = |name: &str| Pair {
            certificate: format!("{name} certificate"),
            key: format!("{name} key"),
        };
        let rests = Authority::new(pair("first"), Some("1"));
        let mut live: Secret =
            serde_json::from_value(build::api_ca(&names(), &rests)).expect("a Secret");
        let announced = rests
            .clone()
            .turned(Turn::Announce(""), Some("2"), Some(pair("second")));
        let published = Authority {
            since: Some(77),
            ..announced.clone()
        };
        let switched = published.clone().turned(Turn::Switch, None, None);
        let forgotten = switched.clone().turned(Turn::Forget, None, None);
        for authority in [announced, published, switched, forgotten] {
            live = merged(&live, &authority);
            let (read, version) = read(&names(), &live).expect("whole");
            assert_eq!(version, "8");
            assert_eq!(read.bundle(), authority.bundle());
            assert_eq!(read.signer.key, authority.signer.key);
            assert_eq!(
                read.next.map(|next| next.key),
                authority.next.map(|next| next.key)
            );
            assert_eq!((read.since, read.heard), (authority.since, authority.heard));
        }
        live.data.as_mut().expect("some").remove("tls.key");
        assert!(read(&names(), &live).is_err());
    }
}
