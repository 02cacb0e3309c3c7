//! A healthy cluster for the tests of checks.

use std::sync::Arc;

use marram_meta::{ClusterView, IdentityRecord, IdentityRole};
use marram_proto::v1;
use marram_types::NodeId;
use v1::Severity;

use super::super::facts::{Facts, Told};
use crate::cluster_status::testing;

pub(in crate::doctor) const NOW_MS: u64 = 1_800_000_000_000;
const GIB: u64 = 1 << 30;

fn told(number: u64) -> Told {
    let folder = v1::FolderFacts {
        drive_id: number * 10,
        path: format!("/data/{number}"),
        metadata: true,
        file_system: "xfs".to_owned(),
        device: "8:0".to_owned(),
        direct_io: Some(true),
        capacity_bytes: 1000 * GIB,
        free_bytes: 900 * GIB,
        metadata_kept_bytes: GIB / 2,
        syncs: 1000,
        sync_p99_us: 5000,
        reads: 1000,
        read_p99_us: 2000,
        ..v1::FolderFacts::default()
    };
    let machine = v1::MachineFacts {
        boot_id: format!("machine-{number}"),
        kernel: "6.1".to_owned(),
        processors: 8,
        memory_bytes: Some(64 * GIB),
        memory_available_bytes: Some(32 * GIB),
        open_files: Some(100),
        open_files_max: Some(1 << 20),
        overcommit_memory: Some(0),
        max_map_count: Some(65_530),
        swapped_bytes: Some(0),
        ..v1::MachineFacts::default()
    };
    let replicas = [0, 1].map(|group| v1::ReplicaFacts {
        group,
        role: if number == 1 { "leader" } else { "follower" }.to_owned(),
        led: true,
        term: 3,
        last_index: 100,
        applied_index: 100,
        failure: String::new(),
    });
    Told {
        said: Ok(v1::NodeInspection {
            node_id: number,
            version: "1.2.3".to_owned(),
            clock_ms: NOW_MS,
            machine: Some(machine),
            folders: vec![folder],
            replicas: replicas.to_vec(),
            certificate_lifetime_s: 86_400,
            ..v1::NodeInspection::default()
        }),
    }
}

fn view(nodes: u64) -> ClusterView {
    let mut view = testing::view(nodes, 1, nodes.min(5), "4+2");
    for node in view.nodes.values_mut() {
        node.mesh_addr = format!("10.0.0.{}:7071", node.node);
        let key = [u8::try_from(node.node.0).expect("few nodes"); 32];
        node.public_key = key;
        let identity = IdentityRecord {
            key,
            role: IdentityRole::Node,
            name: node.name.clone(),
            until_s: NOW_MS / 1000 + 20 * 3600,
            granted: 1,
            wanted: 0,
            trusts: Vec::new(),
            issuer: None,
            removed: false,
        };
        view.identities.insert(key, identity);
        view.versions.insert(node.node, 1);
    }
    view
}

/// A cluster of so many nodes with a drive each, 4+2, in which all is well.
pub(in crate::doctor) fn facts(nodes: u64) -> Facts {
    let view = view(nodes);
    let node_status = |node: &marram_meta::NodeRecord| v1::NodeStatus {
        node_id: node.node.0,
        name: node.name.clone(),
        state: v1::NodeState::Up.into(),
        condition: Some(v1::NodeCondition {
            health: v1::NodeHealth::Up.into(),
            ..v1::NodeCondition::default()
        }),
        drives: vec![v1::DriveStatus {
            drive_id: node.node.0 * 10,
            state: v1::DriveState::Active.into(),
            capacity_bytes: 1000 * GIB,
            free_bytes: 900 * GIB,
            record_bytes: 90 * GIB,
            duty: v1::DriveDuty::Serving.into(),
        }],
        ..v1::NodeStatus::default()
    };
    let voters: Vec<u64> = (1..=nodes.min(5)).collect();
    let group = |group| v1::GroupStatus {
        group,
        leader_node_id: 1,
        voters_up: u32::try_from(voters.len()).expect("few"),
        voter_node_ids: voters.clone(),
    };
    let status = v1::GetClusterStatusResponse {
        nodes: view.nodes.values().map(node_status).collect(),
        groups: vec![group(0), group(1)],
        redundancy: Some(v1::Redundancy {
            tolerated_losses: 2,
            writable: true,
            fully_redundant: true,
            repairs_waiting: Some(0),
            reencodings_waiting: Some(0),
            ..v1::Redundancy::default()
        }),
        work: Some(v1::WorkStatus::default()),
        ..v1::GetClusterStatusResponse::default()
    };
    Facts {
        now_ms: NOW_MS,
        nodes: (1..=nodes).map(|n| (NodeId(n), told(n))).collect(),
        view: Arc::new(view),
        status,
        scrub: Some(v1::ScrubStatus::default()),
        garbage: Some(v1::GetGarbageResponse::default()),
        quotas: Vec::new(),
    }
}

impl Facts {
    /// What a node said, to be changed.
    pub(in crate::doctor) fn said(&mut self, node: u64) -> &mut v1::NodeInspection {
        let told = self.nodes.get_mut(&NodeId(node)).expect("a node");
        told.said.as_mut().expect("it answers")
    }

    /// What was decided, to be changed.
    pub(in crate::doctor) fn decided(&mut self) -> &mut ClusterView {
        Arc::make_mut(&mut self.view)
    }

    /// What the state means, to be changed.
    pub(in crate::doctor) fn redundancy(&mut self) -> &mut v1::Redundancy {
        self.status.redundancy.as_mut().expect("said")
    }
}

/// How much each finding matters.
pub(in crate::doctor) fn severities(findings: &[v1::Finding]) -> Vec<Severity> {
    findings.iter().map(v1::Finding::severity).collect()
}

/// The one finding, as (severity, subject, evidence); its remedy says something.
pub(in crate::doctor) fn only(findings: &[v1::Finding]) -> (Severity, String, String) {
    let [one] = findings else {
        panic!("not one finding: {findings:#?}");
    };
    assert!(one.remedy.len() > 10, "{one:?}");
    (one.severity(), one.subject.clone(), one.evidence.clone())
}
