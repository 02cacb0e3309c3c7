//! A cluster for the tests of the status.

use marram_meta::{
    BucketRecord, BucketState, ClusterRecord, ClusterView, DriveRecord, GroupRecord, NodeRecord,
    NodeState,
};
use marram_placement::{DriveInfo, Topology, plan_pool};
use marram_types::{BucketId, BucketName, ClusterId, DriveId, GroupId, NodeId, Profile, ReplicaId};

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
pub(crate) fn view(nodes: u64, drives: u64, voters: u64, profile: &str) -> ClusterView {
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
    for width in [profile.width(), profile.as_copies().width()] {
        let table = plan_pool(&topology, width).unwrap();
        view.pools.insert(table.pool(), table);
    }
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
        versioning: marram_meta::Versioning::Off,
        quota: None,
        lifecycle: None,
        allowed: Vec::new(),
    };
    view.buckets.insert(name, bucket);
    view
}
