use marram_meta::{BucketRecord, ClusterRecord, DriveRecord, GroupRecord, NodeRecord};
use marram_placement::{DriveInfo, Topology, plan_pool};
use marram_types::{BucketId, BucketName, ClusterId, GroupId, ReplicaId};

use super::*;

fn node(number: u64, drives: u64) -> NodeRecord {
    NodeRecord {
        node: NodeId(number),
        name: format!("node-{number}"),
        mesh_addr: String::new(),
        api_addr: String::new(),
        public_key: [0; 32],
        zone: String::new(),
        drives: (0..drives)
            .map(|ordinal| {
                let place = u8::try_from(ordinal).unwrap();
                DriveRecord::new(DriveId(number * 10 + ordinal), place, 1)
            })
            .collect(),
        replica: Some(ReplicaId(number)),
        replicas_past: Vec::new(),
        state: NodeState::Active,
        duty: marram_meta::NodeDuty::Serving,
        absence: marram_meta::Absence::default(),
    }
}

/// A cluster with one bucket of `profile`; the first `voters` nodes vote.
fn view(nodes: u64, drives: u64, voters: u64, profile: &str) -> ClusterView {
    let profile: Profile = profile.parse().unwrap();
    let mut topology = Topology::default();
    let mut view = ClusterView::default();
    for number in 1..=nodes {
        let record = node(number, drives);
        topology
            .drives
            .extend(record.drives.iter().map(|drive| DriveInfo {
                drive: drive.drive,
                node: record.node,
                zone: String::new(),
                weight: 1,
            }));
        view.nodes.insert(record.node, record);
    }
    let table = plan_pool(&topology, profile.width()).unwrap();
    view.pools.insert(table.pool(), table);
    for group in [GroupId(0), GroupId(1)] {
        let voters = (1..=voters).map(ReplicaId).collect();
        view.groups.insert(group, GroupRecord::new(group, voters));
    }
    view.cluster = Some(ClusterRecord {
        cluster: ClusterId(1),
        name: String::new(),
        version: 1,
        object_groups: 1,
        expected_nodes: 1,
        default_profile: Some(profile),
    });
    let name = BucketName::new("bucket").unwrap();
    let bucket = BucketRecord {
        bucket: BucketId(5),
        name: name.clone(),
        epoch: 1,
        state: BucketState::Active,
        profile,
        created_ms: 1,
    };
    view.buckets.insert(name, bucket);
    view
}

fn tolerated(view: &ClusterView, away: &[u64]) -> i32 {
    tolerated_with(view, away, Usage::default())
}

fn tolerated_with(view: &ClusterView, away: &[u64], usage: Usage) -> i32 {
    let reports = BTreeMap::new();
    let facts = Facts::new(view, &reports, Some(usage), |node| !away.contains(&node.0));
    facts.redundancy().tolerated_losses
}

#[test]
fn six_nodes_of_4_2_survive_any_two() {
    let view = view(6, 1, 5, "4+2");
    assert_eq!(tolerated(&view, &[]), 2);
    assert_eq!(tolerated(&view, &[6]), 1);
    assert_eq!(tolerated(&view, &[1, 6]), 0);
    assert_eq!(tolerated(&view, &[1, 2, 6]), -1);
}

#[test]
fn metadata_may_be_the_weaker_part() {
    let view = view(6, 1, 3, "4+2");
    assert_eq!(tolerated(&view, &[]), 1);
    assert_eq!(tolerated(&view, &[1]), 0);
    assert_eq!(tolerated(&view, &[1, 2]), -1);
}

#[test]
fn drives_of_one_node_are_lost_together() {
    assert_eq!(tolerated(&view(1, 6, 1, "4+2"), &[]), 0);
    assert_eq!(tolerated(&view(3, 2, 3, "4+2"), &[]), 1);
}

#[test]
fn under_protected_versions_lower_the_promise() {
    let view = view(6, 1, 5, "4+2");
    let usage = Usage {
        under_protected: 1,
        ..Usage::default()
    };
    assert_eq!(tolerated_with(&view, &[], usage), 1);
    assert_eq!(tolerated_with(&view, &[6], usage), 0);
}

#[test]
fn retired_and_full_drives_count_and_are_named() {
    let view = view(6, 1, 5, "4+2");
    let report = |drive, health| {
        Some(vec![DriveReport {
            drive: DriveId(drive),
            health,
            capacity: 1,
            free: 0,
            record_bytes: 0,
        }])
    };
    let reports: BTreeMap<NodeId, Option<Vec<DriveReport>>> = [
        (NodeId(1), report(10, DriveHealth::Retired)),
        (NodeId(2), report(20, DriveHealth::Full)),
    ]
    .into();
    let facts = Facts::new(&view, &reports, None, |_| true);
    let answer = facts.redundancy();
    assert_eq!((answer.tolerated_losses, answer.writable), (1, true));
    let text = answer.sentences.join("\n");
    for wanted in [
        "All 6 nodes answer.",
        "Any 1 more node may be lost",
        "Drive 10 of node-1 has failed",
        "Drive 20 of node-2 is full",
        "New objects of 4+2 are written 2+2",
        "counts of narrowed versions are not known",
    ] {
        assert!(text.contains(wanted), "{wanted:?} is not in:\n{text}");
    }
}

#[test]
fn a_cluster_without_a_majority_says_so() {
    let view = view(6, 1, 5, "4+2");
    let reports = BTreeMap::new();
    let facts = Facts::new(&view, &reports, None, |node| node.0 > 3);
    let answer = facts.redundancy();
    assert!(!answer.writable && answer.tolerated_losses < 0);
    let text = answer.sentences.join("\n");
    assert!(
        text.contains("group root has no majority (2 of 5 voters"),
        "{text}"
    );
}
