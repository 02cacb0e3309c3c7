//! A cluster at rest, and what changes in it, case by case.

mod expansion;
mod gates;
mod hibernation;
mod lifecycle;
mod losses;
pub(crate) mod requests;
mod upgrades;

use std::collections::BTreeMap;

use marram_client::{
    ClusterStatus, DriveDuty, DriveState, DriveStatus, GroupStatus, NodeCondition, NodeDuty,
    NodeHealth, NodeState, NodeStatus, Redundancy,
};

use super::*;
use crate::api::{MarramClusterStatus, OperationKind, Phase};
use crate::names::tests::names;
use crate::view::{BucketNeed, ClaimView, ClusterView, GatewaysView, HostView, PodView, SetView};

pub(crate) const GB: u64 = 1 << 30;

pub(crate) fn operation(kind: OperationKind, phase: Phase, from: i32, to: i32) -> Operation {
    started(&resting(0), kind, phase, (from, to))
}

pub(crate) fn node(ordinal: i32) -> NodeStatus {
    NodeStatus {
        node_id: u64::try_from(ordinal).expect("not negative") + 1,
        name: format!("store-{ordinal}"),
        zone: format!("z{}", ordinal % 3),
        state: NodeState::Up,
        api_address: String::new(),
        mesh_address: String::new(),
        drives: vec![DriveStatus {
            drive_id: u64::try_from(ordinal).expect("not negative") + 1,
            state: DriveState::Active,
            capacity_bytes: 4 * GB,
            free_bytes: 3 * GB,
            record_bytes: GB,
            duty: DriveDuty::Serving,
        }],
        duty: NodeDuty::Serving,
        slots: 100,
        metrics_address: String::new(),
        not_ready: Vec::new(),
        condition: NodeCondition {
            health: NodeHealth::Up,
            ..NodeCondition::default()
        },
    }
}

pub(crate) fn pod(ordinal: i32) -> PodView {
    PodView {
        name: format!("store-{ordinal}"),
        uid: format!("pod-{ordinal}"),
        revision: "store-a".into(),
        host: Some(format!("n{}", ordinal % 3)),
        address: Some("10.0.0.1".into()),
        running_since: Some(0),
        ready: true,
        image: "registry:5000/marram:1.0".into(),
        ..PodView::default()
    }
}

pub(crate) fn claim(ordinal: i32) -> ClaimView {
    ClaimView {
        name: format!("data-store-{ordinal}"),
        uid: format!("claim-{ordinal}"),
        node_id: Some((ordinal + 1).to_string()),
        requested: Some("4Gi".into()),
        capacity: Some("4Gi".into()),
        class: Some("fast".into()),
        ..ClaimView::default()
    }
}

fn status(nodes: Vec<NodeStatus>) -> ClusterStatus {
    ClusterStatus {
        cluster_id: "c1".into(),
        cluster_name: "store".into(),
        default_profile: "2+1".into(),
        answered_by: "store-0".into(),
        groups: vec![GroupStatus {
            group: 0,
            leader_node_id: Some(1),
            voter_node_ids: nodes.iter().map(|node| node.node_id).collect(),
            voters_up: u32::try_from(nodes.len()).expect("few"),
        }],
        nodes,
        redundancy: Some(Redundancy {
            tolerated_losses: 1,
            writable: true,
            sentences: Vec::new(),
            narrowed_versions: 0,
            under_protected_versions: 0,
            fully_redundant: true,
            under_way: Vec::new(),
            repairs_waiting: Some(0),
            reencodings_waiting: Some(0),
        }),
        moves_under_way: 0,
        placement_groups_to_move: 0,
        work: None,
        layout_epoch: 1,
        rebalancing: false,
        gateways: Vec::new(),
        last_backup: None,
    }
}

/// A cluster of so many nodes, as it was wished for.
pub(crate) fn resting(nodes: i32) -> View {
    let spec = format!(r#"{{"storage":{{"nodes":{nodes},"volume":{{"size":"4Gi"}}}}}}"#);
    let host = |n: i32| HostView {
        zone: Some(format!("z{n}")),
        ready: true,
        ..HostView::default()
    };
    View {
        now: 1_000_000,
        names: names(),
        spec: serde_json::from_str(&spec).expect("valid"),
        status: MarramClusterStatus {
            cluster_id: Some("c1".into()),
            nodes: Some(nodes),
            ..MarramClusterStatus::default()
        },
        template_hash: "t1".into(),
        set: Some(SetView {
            replicas: nodes,
            update_revision: "store-a".into(),
            is_current: true,
            uid: "set-1".into(),
            claim_size: Some("4Gi".into()),
            template: Some("t1".into()),
            ..SetView::default()
        }),
        pods: (0..nodes).map(|n| (n, pod(n))).collect(),
        claims: (0..nodes).map(|n| (n, claim(n))).collect(),
        classes: BTreeMap::new(),
        gateways: GatewaysView::default(),
        requests: Vec::new(),
        scrub: None,
        hosts: (0..3).map(|n| (format!("n{n}"), host(n))).collect(),
        tokens: BTreeMap::new(),
        keys_exist: true,
        cluster: Ok(ClusterView {
            status: status((0..nodes).map(node).collect()),
            buckets: vec![BucketNeed {
                name: "photos".into(),
                profile: "2+1".into(),
                nodes: 3,
            }],
        }),
    }
}

impl View {
    pub(crate) fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    pub(crate) fn wants(self, nodes: u16) -> Self {
        self.with(|view| view.spec.storage.nodes = Some(nodes))
    }

    pub(crate) fn at(self, operation: Operation) -> Self {
        self.with(|view| view.status.operation = Some(operation))
    }

    pub(crate) fn cluster_mut(&mut self) -> &mut ClusterStatus {
        &mut self.cluster.as_mut().expect("it answers").status
    }

    pub(crate) fn node_mut(&mut self, ordinal: usize) -> &mut NodeStatus {
        &mut self.cluster_mut().nodes[ordinal]
    }

    pub(crate) fn dies(&mut self, ordinal: usize, seconds: u64) {
        let node = self.node_mut(ordinal);
        node.state = NodeState::Away;
        node.condition.health = NodeHealth::Dead;
        node.condition.health_for_ms = seconds * 1000;
    }

    pub(crate) fn degrades(&mut self, why: &str) {
        let redundancy = self.cluster_mut().redundancy.as_mut().expect("said");
        redundancy.fully_redundant = false;
        redundancy.under_way = vec![why.to_owned()];
    }
}

/// The operation that is written down.
pub(crate) fn recorded(step: Step) -> Operation {
    match step {
        Step::Record(operation) => *operation,
        other => panic!("expected an operation: {other:?}"),
    }
}

pub(crate) fn acted(step: Step) -> Act {
    match step {
        Step::Act(act) => act,
        other => panic!("expected an act: {other:?}"),
    }
}

pub(crate) fn held(step: Step) -> Hold {
    match step {
        Step::Hold(hold) => hold,
        other => panic!("expected a hold: {other:?}"),
    }
}

#[test]
fn nothing_is_done_at_rest_or_while_paused() {
    assert_eq!(next(&resting(3)), Step::Rest);
    let paused = resting(3).wants(5).with(|view| view.spec.paused = true);
    assert_eq!(next(&paused), Step::Rest);
}
