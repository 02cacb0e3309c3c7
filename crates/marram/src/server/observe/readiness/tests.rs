use marram_meta::{Absence, ClusterRecord, GroupRecord, NodeRecord};
use marram_types::ClusterId;

use super::*;

const NODES: u64 = 3;

fn node(number: u64) -> NodeRecord {
    NodeRecord {
        node: NodeId(number),
        name: format!("node-{number}"),
        mesh_addr: String::new(),
        api_addr: String::new(),
        public_key: [0; 32],
        zone: String::new(),
        drives: Vec::new(),
        replica: Some(ReplicaId(100 + number)),
        replicas_past: Vec::new(),
        state: NodeState::Active,
        duty: NodeDuty::Serving,
        absence: Absence::default(),
    }
}

/// Three nodes that vote in the root group and in two object groups.
fn view() -> ClusterView {
    let voters: Vec<ReplicaId> = (1..=NODES).map(|n| ReplicaId(100 + n)).collect();
    let group = |number| {
        let group = GroupId(number);
        (group, GroupRecord::new(group, voters.clone()))
    };
    ClusterView {
        index: 42,
        cluster: Some(ClusterRecord {
            cluster: ClusterId(1),
            name: "dune".to_owned(),
            version: 1,
            object_groups: 2,
            expected_nodes: 3,
            default_profile: None,
        }),
        nodes: (1..=NODES).map(|n| (NodeId(n), node(n))).collect(),
        groups: (0..=2).map(group).collect(),
        ..ClusterView::default()
    }
}

fn not_ready(view: &ClusterView, own: Option<u64>, up: &[u64]) -> Vec<String> {
    let up = |node: NodeId| up.contains(&node.0);
    let bad = judge(view, own.map(NodeId), up).into_iter();
    bad.filter(|c| !c.holds)
        .map(|c| format!("{}: {}", c.name, c.says))
        .collect()
}

#[test]
fn a_node_that_reaches_a_majority_is_ready_and_one_that_is_cut_off_is_not() {
    let view = view();
    assert!(not_ready(&view, Some(1), &[1, 2, 3]).is_empty());
    assert!(not_ready(&view, Some(1), &[1, 3]).is_empty());
    let cut_off = ["groups: a majority of 0 of 2 object groups answers this process"];
    assert_eq!(not_ready(&view, Some(1), &[1]), cut_off);
    assert!(
        not_ready(&view, None, &[2, 3]).is_empty(),
        "a gateway is no voter"
    );
    assert_eq!(not_ready(&view, None, &[2]), cut_off);
}

#[test]
fn one_group_without_a_majority_makes_nobody_unready() {
    let mut view = view();
    let elsewhere = GroupRecord::new(GroupId(2), vec![ReplicaId(900), ReplicaId(901)]);
    view.groups.insert(GroupId(2), elsewhere);
    assert!(not_ready(&view, Some(1), &[1, 2]).is_empty());
}

#[test]
fn nothing_is_ready_before_objects_have_a_place() {
    let mut view = view();
    view.groups.retain(|group, _| *group == GroupId::ROOT);
    view.nodes.remove(&NodeId(3));
    assert_eq!(
        not_ready(&view, Some(1), &[1, 2]),
        ["groups: objects have no place yet: 2 nodes have joined, 3 are expected"]
    );
    let unknown = ["view: no server has told this one lately how the cluster is"];
    assert_eq!(not_ready(&ClusterView::default(), None, &[]), unknown);
}

#[test]
fn a_node_on_its_way_out_is_not_ready() {
    let up = [1, 2, 3];
    let with = |change: fn(&mut NodeRecord)| {
        let mut view = view();
        change(view.nodes.get_mut(&NodeId(1)).expect("there"));
        not_ready(&view, Some(1), &up)
    };
    assert!(with(|n| n.duty = NodeDuty::Cordoned).is_empty());
    let draining = with(|n| n.duty = NodeDuty::Draining);
    assert_eq!(draining, ["duty: this node is being drained"]);
    assert_eq!(
        with(|n| n.duty = NodeDuty::Fenced),
        ["duty: this node was fenced"]
    );
    let gone = ["duty: this node is not, or no longer, a member"];
    assert_eq!(with(|n| n.state = NodeState::Tombstoned), gone);
}

#[test]
fn what_is_told_follows_the_life_of_the_process() {
    let readiness = Readiness::default();
    let seen = readiness.subscribe();
    readiness.joining("waiting for a join token in /join/token: it is empty");
    assert_eq!(
        seen.borrow().text(false),
        "[-] member: waiting for a join token in /join/token: it is empty\nnot ready\n"
    );
    readiness.stopping();
    readiness.joining("too late");
    assert!(
        seen.borrow()
            .text(false)
            .starts_with("[-] api: this process was told to stop")
    );
}
