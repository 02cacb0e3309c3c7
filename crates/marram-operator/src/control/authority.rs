//! The API's certificate and its CA: made, renewed, replaced. All of the CA stands in one Secret, which is changed
//! on the version that was read, so that two operators never take two steps.

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::ResourceExt;
use kube::api::ListParams;

use super::context::Context;
use super::error::ReconcileError;
use super::kube_api::{OWNER, Objects};
use super::observe::Seen;
use super::secrets::text;
use crate::api::{AuthorityState, AuthorityStatus, CertificateStatus, OperationKind, Tls};
use crate::build::{self, AUTHORITY_HEARD, AUTHORITY_SINCE};
use crate::certificates::{self, Authority, Pair, Policy, Turn};
use crate::fault;
use crate::names::{ACCESS_KEY_LABEL, Names};

/// How many Secrets that lag are named.
const LAG_SHOWN: usize = 5;
/// For so many overlaps more applications are waited for whose Secrets lag: one that nobody can write must not
/// hold up for ever that a CA goes.
const LAG_OVERLAPS: i64 = 3;

/// How the certificate is, and what is to be told of its CA.
pub(super) struct Certified {
    pub(super) status: CertificateStatus,
    pub(super) turned: Option<&'static str>,
}

/// Makes or renews the certificate of the API, its CA where there is none, and takes the step of the CA's
/// replacement that is due.
pub(super) async fn ensure(
    context: &Context,
    objects: &Objects,
    seen: &Seen,
) -> Result<Certified, ReconcileError> {
    let view = &seen.view;
    let (names, spec, now) = (&view.names, &view.spec, view.now);
    let operation = view.status.operation.as_ref();
    let asleep = spec.hibernate || operation.is_some_and(|it| it.kind == OperationKind::Hibernate);
    let tls = spec.tls.clone().unwrap_or_default();
    let wanted = tls.authority.clone().unwrap_or_default();
    let policy = Policy {
        overlap: wanted.overlap(),
        wish: wanted.trigger.as_deref(),
    };
    let (mut authority, mut version) = ca(objects, names, policy, now).await?;
    // While it sleeps nobody hears of a step.
    let (turn, lag) = match asleep {
        true => (None, String::new()),
        false => held(context, objects, &mut authority, (names, policy, now)).await?,
    };
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
    let (given, trouble) = match &seen.others.given {
        None => (None, String::new()),
        Some(Ok(given)) => (Some(given), String::new()),
        Some(Err(trouble)) => (None, trouble.clone()),
    };
    let bundle = seen.others.beside(authority.bundle());
    objects.apply(&build::api_trust(names, &bundle)).await?;
    // The time until the next step runs from when everybody can see this one, and not while nobody looks.
    let since = match asleep {
        true => None,
        false => authority.since.filter(|since| *since <= now).or(Some(now)),
    };
    if authority.changes() && authority.since != since {
        authority.since = since;
        keep(objects, names, &authority, &version).await?;
    }
    let shown = given.map_or(&leaf, |given| &given.certificate);
    let not_after = certificates::read(shown)?.not_after;
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
            waits_for: lag,
        }),
        trouble,
    };
    let turned = turn.map(told);
    Ok(Certified { status, turned })
}

/// The step that is taken now, of the one that is due; or for whom it waits. One that is not everywhere where it
/// was published is published again, and its time runs anew; applications are waited for whose Secrets lag.
async fn held(
    context: &Context,
    objects: &Objects,
    authority: &mut Authority,
    (names, policy, now): (&Names, Policy<'_>, i64),
) -> Result<(Option<Turn>, String), ReconcileError> {
    let due = authority.due(policy, now);
    let published = authority.next_step(policy.overlap);
    // What is due without its time is of a CA that has ended.
    let Some(due_since) = published.filter(|at| *at <= now && due.is_some()) else {
        return Ok((due, String::new()));
    };
    let tls = objects.get::<Secret>(&names.api_tls()).await?;
    let tls = tls.and_then(|tls| text(&tls, "ca.crt"));
    let map = objects.get::<ConfigMap>(&names.api_ca()).await?;
    let map = map.and_then(|map| map.data?.remove("ca.crt"));
    let seen = |text: Option<String>| text.is_some_and(|text| authority.is_published(&text));
    if !(seen(tls) && seen(map)) {
        authority.since = None;
        return Ok((None, String::new()));
    }
    let lag = lagging(context, authority, names).await?;
    if lag.is_empty() || now >= due_since + LAG_OVERLAPS * policy.overlap {
        return Ok((due, String::new()));
    }
    let shown = lag.iter().take(LAG_SHOWN).cloned().collect::<Vec<_>>();
    let count = lag.len();
    let lag = format!(
        "{count} Secrets of access keys do not hold the CAs that are to be trusted: {}",
        shown.join(", ")
    );
    Ok((None, lag))
}

/// The Secrets of this cluster's access keys that do not hold yet what is to be trusted.
async fn lagging(
    context: &Context,
    authority: &Authority,
    names: &Names,
) -> Result<Vec<String>, ReconcileError> {
    let of = ListParams::default().labels(&format!("{ACCESS_KEY_LABEL}={}", names.name));
    let secrets = context.watched::<Secret>().list(&of).await;
    let secrets = secrets.map_err(ReconcileError::kubernetes(
        "list the Secrets of access keys",
    ))?;
    // One of a cluster of this name in another namespace has another endpoint.
    let endpoint = names.endpoint();
    let lags = |secret: &Secret| {
        text(secret, "MARRAM_ENDPOINT").as_ref() == Some(&endpoint)
            && !text(secret, "ca.crt").is_some_and(|ca| authority.is_published(&ca))
    };
    let named = |secret: Secret| {
        let namespace = secret.namespace().unwrap_or_default();
        format!("{namespace}/{}", secret.name_any())
    };
    Ok(secrets.items.into_iter().filter(lags).map(named).collect())
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
    (tls, now): (&Tls, i64),
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

/// The CA in its Secret. A next one that is damaged, or without its key, is none: it could never issue.
fn read(names: &Names, live: &Secret) -> Result<(Authority, String), ReconcileError> {
    let pair = |certificate: &str, key: &str| {
        let (certificate, key) = (text(live, certificate)?, text(live, key)?);
        Some(Pair { certificate, key })
    };
    let annotation = |key: &str| live.metadata.annotations.as_ref()?.get(key).cloned();
    let signer = pair("tls.crt", "tls.key").filter(certificates::is_whole);
    let next = pair("next.crt", "next.key").filter(certificates::is_whole);
    let announced = ["next.crt", "next.key"];
    let announced = announced.iter().any(|key| text(live, key).is_some());
    let authority = Authority {
        signer: signer.ok_or_else(|| damaged(names))?,
        previous: text(live, "previous.crt"),
        since: annotation(AUTHORITY_SINCE).and_then(|since| since.parse().ok()),
        // The wish for one that was damaged was not fulfilled.
        heard: annotation(AUTHORITY_HEARD).filter(|_| next.is_some() || !announced),
        next,
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
    use k8s_openapi::ByteString;
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
        let pair = |at: i64| certificates::make_ca("store", at).expect("a CA");
        let rests = Authority::new(pair(1), Some("1"));
        let mut live: Secret =
            serde_json::from_value(build::api_ca(&names(), &rests)).expect("a Secret");
        let announced = rests
            .clone()
            .turned(Turn::Announce(""), Some("2"), Some(pair(2)));
        let published = Authority {
            since: Some(77),
            ..announced.clone()
        };
        let switched = published.clone().turned(Turn::Switch, None, None);
        let other = announced.clone();
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
        let damages = |secret: &Secret, key: &str| {
            let mut secret = secret.clone();
            let bytes = ByteString(b"no PEM".to_vec());
            secret
                .data
                .as_mut()
                .expect("some")
                .insert(key.to_owned(), bytes);
            secret
        };
        let (read_next, _) =
            read(&names(), &damages(&merged(&live, &other), "next.key")).expect("readable");
        assert!(
            read_next.next.is_none() && read_next.heard.is_none(),
            "it is made anew"
        );
        live.data.as_mut().expect("some").remove("tls.key");
        assert!(read(&names(), &live).is_err());
    }
}
