//! What members run and show: releases, clocks, certificates.

use std::collections::BTreeMap;

use marram_mesh::ca_validity;
use marram_proto::v1;
use marram_types::NodeId;
use v1::Severity::{Critical, Note, Warning};

use super::super::facts::Facts;
use super::super::say::{found, time};
use crate::hex;

/// Certificates are good from an hour before they were issued: near that, peers refuse each other.
const CLOCK_MS_BAD: u64 = 45 * 60_000;
/// The certificate of the API comes from outside: somebody has to be told in time.
const API_CERTIFICATE_DAYS_MIN: i64 = 14;
/// A CA with fewer days left is to be replaced.
const CA_DAYS_MIN: i64 = 30;

/// Are certificates good for long enough?
pub(super) fn certificates(facts: &Facts) -> Vec<v1::Finding> {
    let mut findings = of_members(facts);
    findings.extend(of_authorities(facts));
    findings.extend(of_api(facts));
    if facts.view.authorities.len() > 1 {
        findings.push(found(
            Note,
            "",
            "the cluster's CA is being replaced",
            "go on with `marram admin ca rotate` when every member did the step before: `marram admin ca status`",
        ));
    }
    findings
}

/// Certificates of the mesh are renewed at half of their lifetime: one that has less than a third left
/// was not.
fn of_members(facts: &Facts) -> Vec<v1::Finding> {
    let lifetimes = facts
        .answered()
        .map(|(_, said)| said.certificate_lifetime_s);
    let longest = lifetimes.max().unwrap_or(0);
    let now_s = facts.now_ms / 1000;
    let identities = facts.view.identities.values();
    let known = identities.filter(|identity| !identity.removed && identity.until_s > 0);
    let late = known.filter(|identity| identity.until_s.saturating_sub(now_s) < longest / 3);
    let say = |identity: &marram_meta::IdentityRecord| {
        let left = identity.until_s.saturating_sub(now_s);
        let (severity, evidence) = match left {
            0 => (
                Critical,
                "its certificate of the mesh has expired".to_owned(),
            ),
            left => {
                let left = time(left * 1000);
                (
                    Warning,
                    format!(
                        "its certificate of the mesh expires in {left}, and was not renewed at half of its life"
                    ),
                )
            }
        };
        found(
            severity,
            &identity.name,
            evidence,
            "if it runs, its log says why; when it is started it renews by itself: `marram admin reload-tls`. See \
             docs/runbooks/certificates.md",
        )
    };
    late.map(say).collect()
}

/// A CA is replaced by hand only, in three steps between which every member has to be seen: that takes its time.
/// Past its date processes go on trusting it, as trust anchors of a handshake have no dates; whoever audits does not.
fn of_authorities(facts: &Facts) -> Vec<v1::Finding> {
    let now_s = i64::try_from(facts.now_ms / 1000).unwrap_or(i64::MAX);
    let late = facts.view.authorities.values().filter_map(|authority| {
        let validity = ca_validity(&authority.certificate).ok()?;
        let left = validity.not_after.saturating_sub(now_s);
        let evidence = match left {
            ..=0 => "its date is past: processes go on trusting it until it is replaced".to_owned(),
            left if left < CA_DAYS_MIN * 86_400 => {
                let left = time(u64::try_from(left).unwrap_or(0).saturating_mul(1000));
                format!("it expires in {left}")
            }
            _ => return None,
        };
        let print = hex::encode(&authority.fingerprint);
        let subject = format!("CA {}", print.get(..16).unwrap_or(&print));
        let remedy =
            "replace it: `marram admin ca rotate --watch`. See docs/runbooks/certificates.md";
        Some(found(Warning, subject, evidence, remedy))
    });
    late.collect()
}

fn of_api(facts: &Facts) -> Vec<v1::Finding> {
    let now_s = i64::try_from(facts.now_ms / 1000).unwrap_or(i64::MAX);
    let with_tls = facts
        .answered()
        .filter(|(_, said)| said.api_certificate_not_after_s != 0);
    let late = with_tls.filter_map(|(node, said)| {
        let left = said.api_certificate_not_after_s.saturating_sub(now_s);
        let (severity, evidence) = match left {
            ..=0 => (Critical, "the certificate that applications see has expired".to_owned()),
            left if left < API_CERTIFICATE_DAYS_MIN * 86_400 => {
                let left = time(u64::try_from(left).unwrap_or(0).saturating_mul(1000));
                (Warning, format!("the certificate that applications see expires in {left}"))
            }
            _ => return None,
        };
        let remedy = "put a new one into the files of --api-tls-cert and --api-tls-key; it is used within a minute";
        Some(found(severity, &node.name, evidence, remedy))
    });
    late.collect()
}

/// Do all nodes run one release, and is it in use?
pub(super) fn versions(facts: &Facts) -> Vec<v1::Finding> {
    let mut findings = Vec::new();
    let mut releases: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (node, said) in facts.answered() {
        releases.entry(&said.version).or_default().push(&node.name);
    }
    for gateway in &facts.status.gateways {
        let of = releases.entry(&gateway.version).or_default();
        of.push(&gateway.name);
    }
    if releases.len() > 1 {
        let runs = releases
            .iter()
            .map(|(release, nodes)| format!("{release} on {}", nodes.join(", ")));
        let runs: Vec<String> = runs.collect();
        findings.push(found(
            Warning,
            "",
            format!("different releases run: {}", runs.join("; ")),
            "fine during an upgrade: go on until all run the newer one",
        ));
    }
    let Some(cluster) = &facts.view.cluster else {
        return findings;
    };
    let known = |node: NodeId| facts.view.versions.get(&node).copied();
    let oldest = facts.members().map(|node| known(node.node)).min().flatten();
    if let Some(oldest) = oldest.filter(|oldest| *oldest > cluster.version) {
        findings.push(found(
            Warning,
            "",
            format!("the cluster uses version {} of its commands, and all nodes know version {oldest}", cluster.version),
            "when you are sure of the new release, `marram admin finalize-version`: until then it does not use \
             all that it can, and the old release can come back",
        ));
    }
    findings
}

/// Do clocks agree? By the middle of all clocks, which every server goes by that knows it.
pub(super) fn clocks(facts: &Facts) -> Vec<v1::Finding> {
    let off = facts.status.nodes.iter().filter_map(|node| {
        let ahead = node.condition.as_ref()?.clock_ahead_ms;
        let severity = match ahead.unsigned_abs() {
            0 => return None,
            off if off > CLOCK_MS_BAD => Critical,
            _ => Warning,
        };
        let way = if ahead > 0 { "ahead of" } else { "behind" };
        let off = time(ahead.unsigned_abs());
        Some(found(
            severity,
            &node.name,
            format!("its clock is {off} {way} the middle of all clocks; it goes by that until its clock is set"),
            "let chrony or another NTP client keep its time: certificates are judged by its own clock, and allow an hour",
        ))
    });
    off.collect()
}

#[cfg(test)]
mod tests {
    use super::super::testing::{NOW_MS, facts, only};
    use super::*;

    #[test]
    fn certificates_that_were_not_renewed_are_found() {
        let mut facts = facts(7);
        let until = |facts: &mut Facts, s: u64| {
            let identities = facts.decided().identities.values_mut();
            let of = identities.filter(|identity| identity.name == "node-2");
            of.for_each(|identity| identity.until_s = NOW_MS / 1000 + s);
        };
        until(&mut facts, 28_800);
        assert_eq!(certificates(&facts), []);
        until(&mut facts, 28_799);
        assert!(only(&certificates(&facts)).2.contains("expires in 7 h"));
        until(&mut facts, 0);
        assert_eq!(only(&certificates(&facts)).0, Critical);
        let identities = facts.decided().identities.values_mut();
        identities.for_each(|identity| identity.removed = true);
        assert_eq!(certificates(&facts), []);
    }

    #[test]
    fn the_certificate_of_the_api_is_told_of_in_time() {
        let mut facts = facts(7);
        let now_s = i64::try_from(NOW_MS / 1000).expect("now");
        facts.said(1).api_certificate_not_after_s = now_s + 14 * 86_400;
        assert_eq!(certificates(&facts), []);
        facts.said(1).api_certificate_not_after_s -= 1;
        assert_eq!(only(&certificates(&facts)).0, Warning);
        facts.said(1).api_certificate_not_after_s = now_s;
        assert_eq!(only(&certificates(&facts)).0, Critical);
    }

    #[test]
    fn a_ca_is_told_of_a_month_before_it_expires() {
        let made = marram_mesh::make_ca(marram_types::ClusterId(7)).expect("made");
        let record = marram_meta::AuthorityRecord {
            authority: 3,
            fingerprint: [0xab; 32],
            certificate: made.certificate().to_vec(),
            wrapped_key: Vec::new(),
            issues: true,
        };
        let until = ca_validity(made.certificate()).expect("read").not_after;
        let until_ms = u64::try_from(until).expect("later than 1970") * 1000;
        let day = 86_400_000;
        let mut facts = facts(7);
        facts.decided().authorities.insert(3, record);
        let mut judged = |left_ms| {
            facts.now_ms = until_ms - left_ms;
            of_authorities(&facts)
        };
        assert_eq!(judged(30 * day), []);
        let (severity, subject, evidence) = only(&judged(30 * day - 1000));
        assert_eq!(
            (severity, subject.as_str()),
            (Warning, "CA abababababababab")
        );
        assert!(evidence.starts_with("it expires in 29 days"), "{evidence}");
        assert!(only(&judged(0)).2.contains("is past"));
    }

    #[test]
    fn mixed_releases_and_an_unused_one_are_found() {
        let mut facts = facts(7);
        facts.said(7).version = "1.3.0".to_owned();
        let evidence = only(&versions(&facts)).2;
        assert!(evidence.ends_with("node-6; 1.3.0 on node-7"), "{evidence}");
        facts.said(7).version = "1.2.3".to_owned();
        let all: Vec<NodeId> = facts.view.versions.keys().copied().collect();
        for node in all {
            assert_eq!(versions(&facts), [], "not all know it");
            facts.decided().versions.insert(node, 2);
        }
        assert!(only(&versions(&facts)).2.contains("uses version 1"));
        facts.decided().versions.remove(&NodeId(3));
        assert_eq!(versions(&facts), [], "one has not said what it knows");
    }

    #[test]
    fn clocks_that_are_off_are_told_of() {
        let mut facts = facts(7);
        let mut judged = |ahead| {
            let condition = facts.status.nodes[2].condition.as_mut().expect("there");
            condition.clock_ahead_ms = ahead;
            clocks(&facts)
        };
        assert_eq!(judged(0), []);
        let (severity, subject, evidence) = only(&judged(-5000));
        assert_eq!((severity, subject.as_str()), (Warning, "node-3"));
        assert!(
            evidence.starts_with("its clock is 5 s behind"),
            "{evidence}"
        );
        assert_eq!(only(&judged(3_000_000)).0, Critical);
    }
}
