//! A cluster for the tests of this folder.

use marram_meta::{
    Absence, ClusterRecord, ClusterView, DriveRecord, NodeDuty, NodeRecord, NodeState,
};
use marram_placement::{DriveInfo, Topology, plan_pool};
use marram_types::{ClusterId, DriveId, NodeId, Profile, ReplicaId};

/// `nodes` nodes with one drive each, and a pool of `width` with as much as half of it parity.
pub(crate) fn cluster(nodes: u64, width: usize) -> ClusterView {
    let m = width / 2;
    let profile: Profile = format!("{}+{m}", width - m).parse().expect("a profile");
    let mut view = ClusterView {
        index: 10,
        cluster: Some(ClusterRecord {
            cluster: ClusterId(7),
            name: "test".into(),
            version: 1,
            object_groups: 8,
            expected_nodes: 1,
            default_profile: Some(profile),
        }),
        nodes: (1..=nodes).map(|id| (NodeId(id), node(id))).collect(),
        ..ClusterView::default()
    };
    let drives = (1..=nodes).map(|id| DriveInfo {
        drive: DriveId(100 + id),
        node: NodeId(id),
        zone: String::new(),
        weight: 1 << 40,
    });
    let topology = Topology {
        drives: drives.collect(),
    };
    let table = plan_pool(&topology, width).expect("drives enough");
    view.pools.insert(table.pool(), table);
    view
}

fn node(id: u64) -> NodeRecord {
    NodeRecord {
        node: NodeId(id),
        name: format!("node-{id}"),
        mesh_addr: String::new(),
        api_addr: String::new(),
        public_key: [0; 32],
        zone: String::new(),
        drives: vec![DriveRecord::new(DriveId(100 + id), 0, 1 << 40)],
        replica: Some(ReplicaId(id)),
        replicas_past: Vec::new(),
        state: NodeState::Active,
        duty: NodeDuty::Serving,
        absence: Absence::default(),
    }
}
