//! Nodes, redundancy, consensus.

use marram_meta::{BucketRecord, BucketState, NodeDuty, NodeRecord};
use marram_proto::v1;
use marram_types::{NodeId, Profile};
use v1::Severity::{Critical, Note, Warning};

use super::super::facts::Facts;
use super::super::say::{count, found, time};

/// Entries that a voter may be behind: what a leader takes in some seconds at full load.
const BEHIND_MAX: u64 = 20_000;

/// Do all nodes answer?
pub(super) fn nodes(facts: &Facts) -> Vec<v1::Finding> {
    let of_node = |status: &v1::NodeStatus| {
        let node = facts.view.nodes.get(&NodeId(status.node_id))?;
        let condition = status.condition.unwrap_or_default();
        // It was given up: `work` says what is left to do.
        if node.duty == NodeDuty::Fenced {
            return None;
        }
        if status.state() == v1::NodeState::Away {
            return Some(away(facts, node, condition));
        }
        slow(status, condition).or_else(|| silent(facts, node))
    };
    facts.status.nodes.iter().filter_map(of_node).collect()
}

/// Do all nodes and gateways that answer take clients? One that was told to go is as it should be.
pub(super) fn readiness(facts: &Facts) -> Vec<v1::Finding> {
    let of_node = |(node, said): (&NodeRecord, &v1::NodeInspection)| {
        let leaves = matches!(node.duty, NodeDuty::Draining | NodeDuty::Fenced);
        (!leaves && !said.not_ready.is_empty()).then(|| unready(&node.name, &said.not_ready))
    };
    let of_gateway = |gateway: &v1::GatewayStatus| {
        (!gateway.not_ready.is_empty()).then(|| unready(&gateway.name, &gateway.not_ready))
    };
    let nodes = facts.answered().filter_map(of_node);
    nodes
        .chain(facts.status.gateways.iter().filter_map(of_gateway))
        .collect()
}

fn unready(name: &str, why: &[String]) -> v1::Finding {
    found(
        Warning,
        name,
        format!(
            "it answers, and is not ready for clients: {}",
            why.join("; ")
        ),
        "clients are sent to others meanwhile; if it stays so, look at its network and its log. See \
         docs/runbooks/not-ready.md",
    )
}

fn away(facts: &Facts, node: &NodeRecord, condition: v1::NodeCondition) -> v1::Finding {
    let unreadable = redundancy_of(facts).is_none_or(|known| known.tolerated_losses < 0);
    let since = match condition.health() {
        v1::NodeHealth::Dead | v1::NodeHealth::Suspect => {
            format!(" for {}", time(condition.health_for_ms))
        }
        _ => String::new(),
    };
    let others = match condition.peers_heard {
        0 => String::new(),
        heard => format!(
            "; {} of {heard} peers do not reach it",
            condition.peers_unreached
        ),
    };
    let decided = match node.absence.lost {
        Some(lost) if lost.rebuild => "; what it had is rebuilt elsewhere until it returns",
        Some(_) => "; its votes went to others",
        None if node.absence.maintenance_until_ms.is_some() => {
            "; it is in maintenance, and nothing is rebuilt"
        }
        None => "",
    };
    let severity = if unreadable { Critical } else { Warning };
    found(
        severity,
        &node.name,
        format!("it does not answer{since}{others}{decided}"),
        format!(
            "start its process or machine, or mend its network; if it never comes back, \
             `marram admin fence {}`. See docs/runbooks/node-away.md",
            node.name
        ),
    )
}

fn slow(status: &v1::NodeStatus, condition: v1::NodeCondition) -> Option<v1::Finding> {
    let (evidence, remedy) = match condition.health() {
        v1::NodeHealth::Slow => (
            format!(
                "it answers {} times slower than the others",
                condition.slowness_permille / 1000
            ),
            "look at its processors, memory, drives and network",
        ),
        v1::NodeHealth::Suspect | v1::NodeHealth::Dead => (
            format!(
                "it comes and goes: {} of {} peers do not reach it",
                condition.peers_unreached, condition.peers_heard
            ),
            "look at its network, and at its log for restarts",
        ),
        v1::NodeHealth::Up | v1::NodeHealth::Unspecified => return None,
    };
    Some(found(Warning, &status.name, evidence, remedy))
}

/// A node that answers pings and does not say how it is may have threads that hang, or an older release.
fn silent(facts: &Facts, node: &NodeRecord) -> Option<v1::Finding> {
    let told = facts.nodes.get(&node.node);
    let why = match told.map(|told| &told.said) {
        Some(Ok(_)) => return None,
        Some(Err(why)) => why.as_str(),
        None => "it joined a moment ago",
    };
    Some(found(
        Warning,
        &node.name,
        format!("it answers, and does not say how it is: {why}"),
        "ask again; if it stays so, give it this release, or look at its log and its drives for what hangs",
    ))
}

fn redundancy_of(facts: &Facts) -> Option<&v1::Redundancy> {
    facts.status.redundancy.as_ref()
}

/// Profiles in use: of buckets, and the default of the next one.
pub(super) fn profiles(facts: &Facts) -> std::collections::BTreeSet<Profile> {
    let buckets = facts.view.buckets.values();
    let of_buckets = buckets.filter(|bucket| bucket.state != BucketState::Deleted);
    let default = facts.view.cluster.as_ref();
    let default = default.and_then(|cluster| cluster.default_profile);
    let profiles = of_buckets.flat_map(BucketRecord::profiles);
    profiles.chain(default).collect()
}

/// How many nodes could be lost if all answered and held what they should, whichever they are.
fn promised(facts: &Facts) -> usize {
    let holding = facts.members().filter(|node| node.keeps_data()).count();
    let of_profile = |profile: Profile| {
        let on_one = profile.width().div_ceil(holding.max(1));
        (profile.m() / on_one.max(1)).min(holding.saturating_sub(1))
    };
    let data = profiles(facts).into_iter().map(of_profile).min();
    let groups = facts.view.groups.values();
    let metadata = groups.map(|group| group.voters.len().saturating_sub(1) / 2);
    let metadata = metadata.min().unwrap_or(0);
    data.unwrap_or(0).min(metadata)
}

/// Does every object survive what it should?
pub(super) fn redundancy(facts: &Facts) -> Vec<v1::Finding> {
    let Some(known) = redundancy_of(facts) else {
        let evidence = "the server does not say what the state means for the data";
        return vec![found(Critical, "", evidence, "ask another server")];
    };
    let runbook = "See docs/runbooks/data-at-risk.md";
    let mut findings = Vec::new();
    let promised = i32::try_from(promised(facts)).unwrap_or(i32::MAX);
    let left = known.tolerated_losses;
    if left < 0 {
        let remedy =
            format!("bring back nodes and drives that are away, whichever can be. {runbook}");
        let evidence = "some objects may not be readable until nodes that are away come back";
        findings.push(found(Critical, "", evidence, remedy));
    } else if left < promised {
        let severity = if left == 0 { Critical } else { Warning };
        let remedy = format!(
            "bring back what is away; lose nothing on purpose until then: ask `marram admin ok-to-stop` \
             before any restart. {runbook}"
        );
        let more = match left {
            0 => "no further node may be lost".to_owned(),
            left => format!("{left} more may be lost"),
        };
        let evidence = format!("{more}, where {promised} could be if all were well");
        findings.push(found(severity, "", evidence, remedy));
    }
    if !known.writable {
        let remedy = "bring back nodes, or make room: see what `nodes`, `drives` and `room` found";
        findings.push(found(Critical, "", "new objects cannot be written", remedy));
    }
    findings.extend(waiting(known));
    findings
}

/// What is not where it should be, and waits.
fn waiting(known: &v1::Redundancy) -> Vec<v1::Finding> {
    let mut findings = Vec::new();
    if known.under_protected_versions > 0 {
        let objects = count(known.under_protected_versions, "object has", "objects have");
        let evidence = format!("{objects} fewer parity shards than the bucket asks for");
        let remedy = "bring back or add nodes: they are repaired first, by themselves";
        findings.push(found(Warning, "", evidence, remedy));
    }
    match known.repairs_waiting {
        None => findings.push(found(
            Warning,
            "",
            "nobody can say how many repairs wait: a metadata group does not answer",
            "see what `consensus` found",
        )),
        Some(0) => {}
        Some(waiting) => findings.push(found(
            Warning,
            "",
            format!("{} for repair", count(waiting, "extent waits", "extents wait")),
            "they are repaired by themselves; if the number does not fall within some minutes, see what \
             `work` and `room` found",
        )),
    }
    if let Some(waiting @ 1..) = known.reencodings_waiting {
        let extents = count(waiting, "extent waits", "extents wait");
        let evidence = format!("{extents} to be encoded as the bucket's profile asks");
        findings.push(found(Note, "", evidence, "nothing: it happens by itself"));
    }
    if known.narrowed_versions > 0 {
        let objects = count(known.narrowed_versions, "object takes", "objects take");
        let evidence = format!("{objects} more room than need be, because nodes were away");
        let remedy = "nothing: it is mended when enough nodes are there";
        findings.push(found(Note, "", evidence, remedy));
    }
    findings
}

/// Do the metadata groups have leaders and all voters?
pub(super) fn consensus(facts: &Facts) -> Vec<v1::Finding> {
    let mut findings: Vec<v1::Finding> = facts.status.groups.iter().filter_map(of_group).collect();
    for (node, said) in facts.answered() {
        for replica in said
            .replicas
            .iter()
            .filter(|replica| replica.role == "stopped")
        {
            findings.push(found(
                Critical,
                &node.name,
                format!("its replica of group {} has stopped: {}", replica.group, replica.failure),
                "look at its log; a replica that met a newer version goes on with a newer release, one with \
                 damage after a restart: it asks for a fresh replica by itself. See docs/runbooks/no-leader.md",
            ));
        }
    }
    findings.extend(without_some_voters(facts));
    findings.extend(behind(facts));
    findings
}

/// Groups that lack voters and go on: one finding for all of them, because one node that is away is
/// missed in most.
fn without_some_voters(facts: &Facts) -> Option<v1::Finding> {
    let lacks = |group: &&v1::GroupStatus| {
        let (up, voters) = (group.voters_up as usize, group.voter_node_ids.len());
        up < voters && up > voters / 2 && group.leader_node_id != 0
    };
    let lacking = facts.status.groups.iter().filter(lacks);
    let least = lacking.clone().min_by_key(|group| group.voters_up)?;
    let (name, up) = (group_name(least.group), least.voters_up);
    Some(found(
        Warning,
        "",
        format!(
            "{} without all of their voters; the fewest has {name}, {up} of {}",
            count(
                lacking.count() as u64,
                "metadata group is",
                "metadata groups are"
            ),
            least.voter_node_ids.len()
        ),
        "see what `nodes` found; a node that stays away loses its votes to others by itself",
    ))
}

fn group_name(group: u32) -> String {
    match group {
        0 => "root group".to_owned(),
        group => format!("group {group}"),
    }
}

fn of_group(group: &v1::GroupStatus) -> Option<v1::Finding> {
    let (name, up) = (group_name(group.group), group.voters_up);
    let voters = u32::try_from(group.voter_node_ids.len()).unwrap_or(u32::MAX);
    let runbook = "See docs/runbooks/no-leader.md";
    if up < voters / 2 + 1 {
        return Some(found(
            Critical,
            name,
            format!(
                "it has no majority: {up} of {voters} voters answer, so its objects can be neither read nor written"
            ),
            format!("bring back one of its voters. {runbook}"),
        ));
    }
    if group.leader_node_id == 0 {
        return Some(found(
            Critical,
            name,
            format!("it has no leader, though {up} of {voters} voters answer"),
            format!("ask again in some seconds: an election takes one or two. {runbook}"),
        ));
    }
    None
}

/// Voters far behind their leader: they count for the majority, and take long to be of use.
fn behind(facts: &Facts) -> Vec<v1::Finding> {
    let replicas = || {
        let told = facts.answered();
        told.flat_map(|(node, said)| said.replicas.iter().map(move |replica| (node, replica)))
    };
    let votes = |node: &NodeRecord, group: u32| {
        let mut groups = facts.status.groups.iter();
        groups.any(|g| g.group == group && g.voter_node_ids.contains(&node.node.0))
    };
    let late = replicas().filter_map(|(node, replica)| {
        let leader = replicas().find(|(_, other)| other.group == replica.group && other.role == "leader")?;
        let behind = leader.1.last_index.saturating_sub(replica.applied_index);
        (behind > BEHIND_MAX && votes(node, replica.group)).then(|| {
            found(
                Warning,
                &node.name,
                format!("its replica of {} is {behind} entries behind the leader", group_name(replica.group)),
                "look at its metadata drive and network; if it came back a moment ago, it catches up by itself",
            )
        })
    });
    late.collect()
}

#[cfg(test)]
mod tests {
    use super::super::testing::{facts, only, severities};
    use super::*;

    fn stop(facts: &mut Facts, node: u64) {
        let at = usize::try_from(node - 1).expect("few");
        facts.status.nodes[at].state = v1::NodeState::Away.into();
        let condition = facts.status.nodes[at].condition.as_mut().expect("there");
        condition.set_health(v1::NodeHealth::Dead);
        condition.health_for_ms = 61_000;
        (condition.peers_heard, condition.peers_unreached) = (6, 6);
    }

    #[test]
    fn a_node_that_is_away_is_found_with_what_was_decided() {
        let mut facts = facts(7);
        stop(&mut facts, 3);
        let (severity, subject, evidence) = only(&nodes(&facts));
        assert_eq!((severity, subject.as_str()), (Warning, "node-3"));
        assert_eq!(
            evidence,
            "it does not answer for 61 s; 6 of 6 peers do not reach it"
        );
        facts.redundancy().tolerated_losses = -1;
        assert_eq!(only(&nodes(&facts)).0, Critical);
        let absence = &mut facts
            .decided()
            .nodes
            .get_mut(&NodeId(3))
            .expect("there")
            .absence;
        absence.lost = Some(marram_meta::Lost {
            since_ms: 5,
            rebuild: true,
        });
        assert!(
            only(&nodes(&facts))
                .2
                .ends_with("rebuilt elsewhere until it returns")
        );
    }

    #[test]
    fn slow_ones_and_those_that_say_nothing_are_found() {
        let mut facts = facts(7);
        let condition = facts.status.nodes[1].condition.as_mut().expect("there");
        condition.set_health(v1::NodeHealth::Slow);
        condition.slowness_permille = 12_000;
        assert!(only(&nodes(&facts)).2.contains("12 times slower"));
        let told = facts.nodes.get_mut(&NodeId(5)).expect("there");
        told.said = Err("deadline".to_owned());
        assert_eq!(severities(&nodes(&facts)), [Warning, Warning]);
    }

    #[test]
    fn nodes_that_answer_and_take_no_clients_are_found() {
        let mut facts = facts(7);
        let why = "groups: a majority of 0 of 8 object groups answers this process";
        facts.said(3).not_ready = vec![why.to_owned()];
        let (severity, _, evidence) = only(&readiness(&facts));
        assert_eq!(severity, Warning);
        assert!(evidence.ends_with(why), "{evidence}");
        let node = facts.decided().nodes.get_mut(&NodeId(3)).expect("there");
        node.duty = NodeDuty::Draining;
        assert_eq!(readiness(&facts), [], "it is as it should be");
        facts.status.gateways = vec![v1::GatewayStatus {
            name: "front-1".to_owned(),
            not_ready: vec![why.to_owned()],
            ..v1::GatewayStatus::default()
        }];
        let (severity, subject, _) = only(&readiness(&facts));
        assert_eq!((severity, &*subject), (Warning, "front-1"));
    }

    #[test]
    fn fewer_losses_than_could_be_are_found() {
        let mut facts = facts(7);
        facts.redundancy().tolerated_losses = 1;
        let (severity, _, evidence) = only(&redundancy(&facts));
        assert_eq!(severity, Warning);
        assert_eq!(
            evidence,
            "1 more may be lost, where 2 could be if all were well"
        );
        for left in [0, -1] {
            facts.redundancy().tolerated_losses = left;
            assert_eq!(only(&redundancy(&facts)).0, Critical);
        }
        facts.status.redundancy = None;
        assert_eq!(only(&redundancy(&facts)).0, Critical);
    }

    #[test]
    fn a_small_cluster_is_not_blamed_for_being_small() {
        let mut facts = facts(6);
        let view = facts.decided();
        for group in view.groups.values_mut() {
            group.voters.truncate(3);
        }
        facts.redundancy().tolerated_losses = 1;
        assert_eq!(redundancy(&facts), []);
    }

    #[test]
    fn what_waits_is_found() {
        let mut facts = facts(7);
        *facts.redundancy() = v1::Redundancy {
            tolerated_losses: 2,
            writable: false,
            narrowed_versions: 1,
            under_protected_versions: 2,
            repairs_waiting: Some(3),
            reencodings_waiting: Some(4),
            ..v1::Redundancy::default()
        };
        let findings = redundancy(&facts);
        assert_eq!(
            severities(&findings),
            [Critical, Warning, Warning, Note, Note]
        );
        facts.redundancy().repairs_waiting = None;
        assert!(redundancy(&facts)[2].evidence.contains("nobody can say"));
    }

    #[test]
    fn groups_without_leader_majority_or_some_voter_are_found() {
        let mut facts = facts(7);
        facts.status.groups[1].leader_node_id = 0;
        assert_eq!(only(&consensus(&facts)).0, Critical);
        facts.status.groups[1].leader_node_id = 2;
        facts.status.groups[1].voters_up = 4;
        let (severity, _, evidence) = only(&consensus(&facts));
        assert_eq!(severity, Warning);
        assert!(
            evidence.ends_with("the fewest has group 1, 4 of 5"),
            "{evidence}"
        );
        facts.status.groups[1].voters_up = 2;
        assert!(only(&consensus(&facts)).2.contains("no majority"));
    }

    #[test]
    fn stopped_and_late_replicas_are_found() {
        let mut facts = facts(7);
        facts.said(2).replicas[1].role = "stopped".to_owned();
        facts.said(2).replicas[1].failure = "damaged".to_owned();
        assert!(only(&consensus(&facts)).2.ends_with("stopped: damaged"));
        facts.said(2).replicas[1].role = "follower".to_owned();
        facts.said(1).replicas[1].last_index = 100 + BEHIND_MAX;
        assert_eq!(consensus(&facts), []);
        facts.said(3).replicas[1].applied_index = 99;
        facts.said(7).replicas[1].applied_index = 0;
        assert_eq!(only(&consensus(&facts)).1, "node-3", "7 does not vote");
    }
}
