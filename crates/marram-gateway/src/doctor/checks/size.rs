//! Whether there are enough nodes and zones for the profiles in use.

use std::collections::BTreeSet;

use marram_proto::v1;
use v1::Severity::{Note, Warning};

use super::super::facts::Facts;
use super::super::say::{count, found};
use super::cluster::profiles;

/// Are there enough nodes and zones for the profiles?
pub(super) fn enough(facts: &Facts) -> Vec<v1::Finding> {
    let holding = || facts.members().filter(|node| node.keeps_data());
    let nodes = holding().count();
    if nodes == 1 {
        let evidence = "there is one node: nothing survives its loss";
        return vec![found(
            Note,
            "",
            evidence,
            "add nodes where the data matters",
        )];
    }
    let zones: BTreeSet<&str> = holding().map(|node| node.zone.as_str()).collect();
    let mut findings = Vec::new();
    for profile in profiles(facts) {
        let (width, m) = (profile.width(), profile.m());
        let on_one_node = width.div_ceil(nodes.max(1));
        if on_one_node > 1 {
            let losses = count((m / on_one_node) as u64, "lost node", "lost nodes");
            findings.push(found(
                Warning,
                profile.to_string(),
                format!("{nodes} nodes hold {width} shards of each object, several on one node: it survives {losses} instead of {m}"),
                format!("add nodes until there are {width} or more, or give the buckets a narrower profile"),
            ));
        } else if m == 0 {
            let remedy =
                "give the buckets a profile with parity: `marram admin bucket set-profile`";
            let evidence = "objects are not redundant: the loss of one node loses data";
            findings.push(found(Warning, profile.to_string(), evidence, remedy));
        }
        let in_one_zone = width.div_ceil(zones.len().max(1));
        if zones.len() > 1 && in_one_zone > m {
            let zones = zones.len();
            findings.push(found(
                Note,
                profile.to_string(),
                format!(
                    "{zones} zones hold {width} shards of each object, {in_one_zone} in one of them: more than the {m} \
                     that may be lost, so objects do not survive the loss of a zone"
                ),
                "add zones, or use a profile whose width over the zones is at most its parity, where a zone may fail",
            ));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use marram_types::NodeId;

    use super::super::testing::{facts, only, severities};
    use super::*;

    fn without_nodes_from(first: u64) -> Facts {
        let mut facts = facts(6);
        facts.decided().nodes.retain(|node, _| node.0 < first);
        facts
    }

    #[test]
    fn fewer_nodes_than_shards_are_found() {
        assert_eq!(enough(&without_nodes_from(7)), []);
        let (severity, subject, evidence) = only(&enough(&without_nodes_from(6)));
        assert_eq!((severity, subject.as_str()), (Warning, "4+2"));
        assert!(
            evidence.ends_with("it survives 1 lost node instead of 2"),
            "{evidence}"
        );
        assert_eq!(only(&enough(&without_nodes_from(2))).0, Note);
    }

    #[test]
    fn a_cordoned_node_still_holds_what_it_has_and_a_draining_one_does_not_for_long() {
        let mut facts = facts(6);
        let mut judged = |duty| {
            let node = facts.decided().nodes.get_mut(&NodeId(2)).expect("there");
            node.duty = duty;
            enough(&facts)
        };
        assert_eq!(judged(marram_meta::NodeDuty::Cordoned), []);
        assert_eq!(
            severities(&judged(marram_meta::NodeDuty::Draining)),
            [Warning]
        );
    }

    #[test]
    fn zones_that_cannot_be_lost_are_told_of() {
        let mut facts = facts(6);
        let zone = |facts: &mut Facts, zones: u64| {
            for node in facts.decided().nodes.values_mut() {
                node.zone = format!("zone-{}", node.node.0 % zones);
            }
        };
        zone(&mut facts, 3);
        assert_eq!(enough(&facts), [], "two shards in each");
        zone(&mut facts, 2);
        assert!(only(&enough(&facts)).2.contains("2 zones hold 6 shards"));
    }

    #[test]
    fn a_profile_without_parity_is_found() {
        let mut facts = facts(6);
        let profile = "1+0".parse().expect("a profile");
        let view = facts.decided();
        view.cluster.as_mut().expect("there").default_profile = Some(profile);
        view.buckets.clear();
        assert!(
            only(&enough(&facts))
                .2
                .starts_with("objects are not redundant")
        );
    }
}
