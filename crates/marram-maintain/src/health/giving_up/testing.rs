//! A cluster for the tests of this folder.

use marram_meta::{
    Absence, ClusterRecord, ClusterView, DriveRecord, NodeDuty, NodeRecord, NodeState,
};
use marram_placement::{Topology, plan_pool};
use marram_types::{ClusterId, DriveId, NodeId, Profile, ReplicaId};

/// `nodes` nodes with one drive each, and a pool of `width` with as much as half of it parity.
pub(crate) fn cluster(nodes: u64, width: usize) -> ClusterView {
    let m = width / 2;
    wide(nodes, 1, &format!("{}+{m}", width - m))
}

/// `nodes` nodes with so many drives each, and a pool of a profile.
pub(crate) fn wide(nodes: u64, drives: u64, profile: &str) -> ClusterView {
    let profile: Profile = profile.parse().expect("a profile");
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
        nodes: (1..=nodes)
            .map(|id| (NodeId(id), node(id, drives)))
            .collect(),
        ..ClusterView::default()
    };
    let seats = view.seats().into_iter();
    let topology = Topology {
        drives: seats.map(|seat| seat.info).collect(),
    };
    let table = plan_pool(&topology, profile.width()).expect("drives enough");
    view.pools.insert(table.pool(), table);
    view
}

fn node(id: u64, drives: u64) -> NodeRecord {
    NodeRecord {
        node: NodeId(id),
        name: format!("node-{id}"),
        mesh_addr: String::new(),
        api_addr: String::new(),
        public_key: [0; 32],
        zone: String::new(),
        drives: (0..drives)
            .map(|drive| {
                let place = u8::try_from(drive).expect("few");
                DriveRecord::new(DriveId(100 + id + 1000 * drive), place, 1 << 40)
            })
            .collect(),
        replica: Some(ReplicaId(id)),
        replicas_past: Vec::new(),
        state: NodeState::Active,
        duty: NodeDuty::Serving,
        absence: Absence::default(),
    }
}
