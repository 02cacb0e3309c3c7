//! Keeps this process's certificate good, and says what it has (rules.md 5).
//!
//! What is to be done is derived anew from the certificate and the cluster's view each time, so it does
//! not matter where it was interrupted. A renewal changes no connection: who we are is our key, and
//! until when that is good is in the view of every peer.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use async_trait::async_trait;
use bytes::Bytes;
use marram_mesh::{Identity, Mesh, Renew};
use marram_meta::ClusterView;
use marram_proto::mesh::v1 as wire;
use tokio::sync::watch;

use super::lifetime::now_ms;
use super::own::Own;

/// Pause after an attempt that failed.
const RETRY_AFTER: Duration = Duration::from_millis(500);
/// Attempts that failed between two lines in the log.
const FAILURES_PER_LINE: u32 = 20;
/// How long the view may lag behind a renewal before that is asked for again.
const SEEN_WITHIN: Duration = Duration::from_secs(5);
/// Renewals and reports in a row, after which something is wrong: a replacement of the CA takes three.
const SUSPECT_AFTER: u32 = 6;
/// Pause between them from then on.
const SUSPECT_PAUSE: Duration = Duration::from_secs(30);
/// Longest pause between two looks at the clock, which may be set.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// Certificates begin to count this long before they are made.
const BACKDATED_S: i64 = 3600;

/// Who renews.
#[async_trait]
pub(super) trait Renewer: Send + Sync {
    /// Reports, and asks for a certificate.
    async fn renew(&self, request: wire::RenewRequest) -> Result<wire::RenewResponse>;
}

/// What is to be done about a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Need {
    /// Nothing for so many seconds.
    Nothing(i64),
    /// The cluster does not know what we have.
    Report,
    /// Another certificate.
    Renewal,
}

/// What we have.
struct Has {
    key: [u8; 32],
    begun_s: i64,
    until_s: i64,
    trusts: Vec<[u8; 32]>,
    issuer: [u8; 32],
}

impl Has {
    fn of(identity: &Identity) -> Self {
        let certificate = identity.certificate();
        Self {
            key: certificate.public_key,
            begun_s: certificate.not_before + BACKDATED_S,
            until_s: certificate.not_after,
            trusts: identity.trusts(),
            issuer: identity.issuer(),
        }
    }
}

/// Renewed at half of its lifetime, when an operator wishes, and when another CA issues by now.
fn need(now_s: i64, has: &Has, view: &ClusterView) -> Need {
    let Some(issuing) = view.issuing() else {
        // Who has expired is not told the view before it has renewed.
        return match now_s >= has.until_s {
            true => Need::Renewal,
            false => Need::Nothing(1),
        };
    };
    let half_s = has.begun_s + (has.until_s - has.begun_s) / 2;
    let record = view.identities.get(&has.key);
    let wished = record.is_some_and(|record| record.granted < record.wanted);
    if wished || has.issuer != issuing.fingerprint || now_s >= half_s {
        return Need::Renewal;
    }
    let known = record.is_some_and(|record| {
        record.issuer == Some(has.issuer)
            && record.trusts.len() == has.trusts.len()
            && has.trusts.iter().all(|print| record.trusts.contains(print))
    });
    match known {
        true => Need::Nothing(half_s - now_s),
        false => Need::Report,
    }
}

/// The CAs of the view, when they are others than those we trust. Never none.
fn other_trust(has: &Has, view: &ClusterView) -> Option<Vec<Vec<u8>>> {
    let wanted = view.authorities.values();
    let same = view.authorities.len() == has.trusts.len()
        && wanted.clone().all(|a| has.trusts.contains(&a.fingerprint));
    // Our own certificate's CA goes only when we have a certificate of another.
    let keeps = wanted.clone().any(|a| a.fingerprint == has.issuer);
    (!same && keeps).then(|| wanted.map(|a| a.certificate.clone()).collect())
}

/// Runs until the view's sender is gone.
pub(super) async fn keep_renewed(
    mut own: Own,
    mesh: Mesh,
    mut view: watch::Receiver<Arc<ClusterView>>,
    renewer: impl Renewer,
) {
    let (mut failures, mut in_a_row) = (0_u32, 0_u32);
    loop {
        let seen = view.borrow_and_update().clone();
        let wait = match step(&mut own, &mesh, &seen, &renewer).await {
            Ok(Need::Nothing(seconds)) => {
                in_a_row = 0;
                let seconds = u64::try_from(seconds).unwrap_or(0).max(1);
                Duration::from_secs(seconds).min(LOOK_EVERY)
            }
            Ok(Need::Report | Need::Renewal) => {
                failures = 0;
                let (key, known) = (own.key(), seen.identities.get(&own.key()).cloned());
                let news = view.wait_for(|v| v.identities.get(&key) != known.as_ref());
                if let Ok(Err(_)) = tokio::time::timeout(SEEN_WITHIN, news).await {
                    return;
                }
                in_a_row = in_a_row.saturating_add(1);
                if in_a_row == SUSPECT_AFTER {
                    tracing::warn!(
                        "certificates that were issued just now are to be renewed already: is the \
                         clock of this machine hours ahead of that of the root group's leader?"
                    );
                }
                if in_a_row >= SUSPECT_AFTER {
                    tokio::time::sleep(SUSPECT_PAUSE).await;
                }
                continue;
            }
            Err(error) => {
                if failures % FAILURES_PER_LINE == 0 {
                    let error = format!("{error:#}");
                    tracing::warn!(error, "the certificate cannot be renewed yet");
                }
                failures = failures.saturating_add(1);
                tokio::time::sleep(RETRY_AFTER).await;
                continue;
            }
        };
        if let Ok(Err(_)) = tokio::time::timeout(wait, view.changed()).await {
            return;
        }
    }
}

/// Does what is needed now, and says what that was.
async fn step(
    own: &mut Own,
    mesh: &Mesh,
    view: &ClusterView,
    renewer: &impl Renewer,
) -> Result<Need> {
    if let Some(authorities) = other_trust(&Has::of(&own.identity()?), view) {
        own.trust(authorities)?;
        mesh.set_identity(own.identity()?)?;
        tracing::info!(
            count = own.authorities().len(),
            "the trusted CAs have changed"
        );
    }
    let has = Has::of(&own.identity()?);
    let now_s = i64::try_from(now_ms() / 1000).unwrap_or(i64::MAX);
    let need = need(now_s, &has, view);
    let public_key_info = match need {
        Need::Nothing(_) => return Ok(need),
        Need::Report => Vec::new(),
        Need::Renewal => own.key_info(),
    };
    let prints = has.trusts.iter().map(|print| Bytes::copy_from_slice(print));
    let request = wire::RenewRequest {
        public_key_info: public_key_info.into(),
        trusts: prints.collect(),
        issuer: Bytes::copy_from_slice(&has.issuer),
        key: Bytes::new(),
    };
    let answer = renewer.renew(request).await?;
    if need == Need::Renewal {
        let authorities = answer.authorities.iter().map(|der| der.to_vec());
        own.take(answer.certificate.to_vec(), authorities.collect())
            .context("the certificate that was issued is of no use")?;
        mesh.set_identity(own.identity()?)?;
    }
    Ok(need)
}

/// A process without a replica of the root group asks any server.
pub(super) struct AskServers {
    pub mesh: Mesh,
    pub servers: Vec<String>,
    pub view: watch::Receiver<Arc<ClusterView>>,
}

/// How long one server may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(7);

#[async_trait]
impl Renewer for AskServers {
    async fn renew(&self, request: wire::RenewRequest) -> Result<wire::RenewResponse> {
        let view = self.view.borrow().clone();
        let mut last = anyhow::anyhow!("no server is known");
        for node in view.nodes.keys().filter(|node| self.mesh.is_up(**node)) {
            let ask = self
                .mesh
                .call::<Renew>(*node, request.clone(), Bytes::new(), ANSWER_WITHIN);
            match ask.await {
                Ok((answer, _)) => return Ok(answer),
                Err(error) => last = error.into(),
            }
        }
        for server in &self.servers {
            let ask =
                self.mesh
                    .call_addr::<Renew>(server, request.clone(), Bytes::new(), ANSWER_WITHIN);
            match ask.await {
                Ok((answer, _)) => return Ok(answer),
                Err(error) => last = error.into(),
            }
        }
        Err(last)
    }
}

#[cfg(test)]
mod tests {
    use marram_meta::{AuthorityRecord, IdentityRecord, IdentityRole};

    use super::*;

    const KEY: [u8; 32] = [7; 32];
    const OLD: [u8; 32] = [1; 32];
    const NEW: [u8; 32] = [2; 32];

    fn has() -> Has {
        Has {
            key: KEY,
            begun_s: 1_000,
            until_s: 2_000,
            trusts: vec![OLD],
            issuer: OLD,
        }
    }

    fn view(authorities: &[([u8; 32], bool)]) -> ClusterView {
        let mut view = ClusterView::default();
        for (index, (fingerprint, issues)) in (1..).zip(authorities) {
            let record = AuthorityRecord {
                authority: index,
                fingerprint: *fingerprint,
                certificate: fingerprint.to_vec(),
                wrapped_key: Vec::new(),
                issues: *issues,
            };
            view.authorities.insert(index, record);
        }
        let known = IdentityRecord {
            key: KEY,
            role: IdentityRole::Node,
            name: "node-1".to_owned(),
            until_s: 2_000,
            granted: 5,
            wanted: 0,
            trusts: vec![OLD],
            issuer: Some(OLD),
            removed: false,
        };
        view.identities.insert(KEY, known);
        view
    }

    #[test]
    fn a_certificate_is_renewed_at_half_of_its_life() {
        let view = view(&[(OLD, true)]);
        assert_eq!(need(1_100, &has(), &view), Need::Nothing(400));
        assert_eq!(need(1_499, &has(), &view), Need::Nothing(1));
        assert_eq!(need(1_500, &has(), &view), Need::Renewal);
        assert_eq!(need(9_000, &has(), &view), Need::Renewal, "long expired");
        assert_eq!(
            need(1_100, &has(), &ClusterView::default()),
            Need::Nothing(1)
        );
        let unseen = need(2_000, &has(), &ClusterView::default());
        assert_eq!(unseen, Need::Renewal, "an expired gateway that starts");
    }

    #[test]
    fn wishes_and_another_issuer_renew_and_news_are_reported() {
        let mut wished = view(&[(OLD, true)]);
        wished.identities.get_mut(&KEY).unwrap().wanted = 6;
        assert_eq!(need(1_100, &has(), &wished), Need::Renewal);
        let issued = view(&[(OLD, false), (NEW, true)]);
        assert_eq!(need(1_100, &has(), &issued), Need::Renewal);
        let mut more = has();
        more.trusts.push(NEW);
        assert_eq!(need(1_100, &more, &view(&[(OLD, true)])), Need::Report);
        let mut silent = view(&[(OLD, true)]);
        silent.identities.clear();
        assert_eq!(need(1_100, &has(), &silent), Need::Report);
    }

    #[test]
    fn trust_follows_the_cluster_but_never_leaves_ones_own_issuer() {
        assert_eq!(other_trust(&has(), &view(&[(OLD, true)])), None);
        let both = other_trust(&has(), &view(&[(OLD, true), (NEW, false)]));
        assert_eq!(both, Some(vec![OLD.to_vec(), NEW.to_vec()]));
        assert_eq!(other_trust(&has(), &view(&[(NEW, true)])), None);
        assert_eq!(other_trust(&has(), &ClusterView::default()), None);
        let mut moved = has();
        moved.issuer = NEW;
        moved.trusts.push(NEW);
        let dropped = other_trust(&moved, &view(&[(NEW, true)]));
        assert_eq!(dropped, Some(vec![NEW.to_vec()]));
    }
}
