use marram_placement::Spread;
use marram_types::{ClusterId, PoolId};

use super::*;
use crate::{COMMAND_VERSION, DriveJoin, MemKv, stamp, view};

fn join(n: u8) -> NodeJoin {
    NodeJoin {
        name: format!("node-{n}"),
        mesh_addr: format!("10.0.0.{n}:7071"),
        api_addr: format!("10.0.0.{n}:7070"),
        public_key: [n; 32],
        zone: String::new(),
        drives: vec![DriveJoin {
            ordinal: 0,
            capacity: 1 << 40,
        }],
    }
}

/// A cluster of three nodes with a pool, and its last index.
fn cluster() -> (MemKv, u64) {
    let (mut kv, mut index) = (MemKv::new(), 10);
    let mut run = |command: &RootCommand| {
        index += 1;
        let mut entry = Envelope::seal_internal(command);
        stamp(&mut entry, 1_000).unwrap();
        RootOutcome::decode(&apply_root(&mut kv, index, &entry).unwrap()).unwrap()
    };
    run(&RootCommand::Bootstrap {
        cluster: ClusterRecord {
            cluster: ClusterId(42),
            name: "dune".to_owned(),
            version: COMMAND_VERSION,
            object_groups: 2,
            expected_nodes: 3,
            default_profile: None,
        },
        keys: vec![],
    });
    let mut drives = Vec::new();
    for n in 1..=3 {
        let RootOutcome::NodeAdded { node, drives: of } = run(&RootCommand::AddNode(join(n)))
        else {
            panic!("it is added");
        };
        drives.extend(of);
        run(&RootCommand::AddReplica {
            node,
            founder: n == 1,
        });
    }
    run(&RootCommand::CreatePool(PoolTable {
        width: 2,
        epoch: 1,
        rows: vec![PgRow::stable(1, drives[..2].to_vec()); 2],
        domains: Spread::default(),
    }));
    run(&RootCommand::HoldLayout { until_ms: 9_000 });
    (kv, index)
}

#[test]
fn one_node_goes_on_alone_with_ids_that_were_never_used() {
    let (mut kv, index) = cluster();
    let before = view(&kv).unwrap();
    let mut moved = join(2);
    moved.mesh_addr = "10.0.9.9:7071".to_owned();
    let begun = refound_root(&mut kv, index, moved, &BTreeMap::new()).unwrap();
    let after = view(&kv).unwrap();
    assert_eq!(after.index, refounded_at(index));
    assert_eq!(
        begun.replica.0,
        refounded_at(index),
        "what no log ever reached"
    );
    let old: Vec<_> = before.nodes.keys().copied().collect();
    assert_eq!(begun.node, old[1], "the key says who it is");
    assert_eq!(begun.drives, [before.nodes[&old[1]].drives[0].drive]);
    for (id, node) in &after.nodes {
        let own = (*id == begun.node).then_some(begun.replica);
        assert_eq!(node.replica, own);
        let was = before.nodes[id].replica.expect("it had one");
        assert!(node.replicas_past.contains(&was), "and it never returns");
    }
    assert_eq!(after.nodes[&begun.node].mesh_addr, "10.0.9.9:7071");
    for group in 0..=2 {
        let record = &after.groups[&GroupId(group)];
        assert_eq!(record.voters, [begun.replica]);
        let object = group != 0;
        assert_eq!(record.at > 0, object, "nobody begins it again");
    }
    // As the root group's leader writes its voters down.
    let voters = vec![begun.replica, ReplicaId(begun.replica.0 + 1)];
    let update = RootCommand::UpdateGroup(GroupRecord::new(GroupId::ROOT, voters.clone()));
    run(&mut kv, after.index + 1, &update).unwrap();
    assert_eq!(view(&kv).unwrap().groups[&GroupId::ROOT].voters, voters);
    assert_eq!(after.pools, before.pools);
    assert_eq!(kv.len(Table::Replicas), 4);
    // The hold of the backup that made the state is over.
    let cut = RootCommand::CutMoves {
        pool: PoolId(2),
        pgs: vec![],
    };
    let moved = run(&mut kv, after.index + 2, &cut).unwrap();
    assert!(matches!(moved, RootOutcome::Moved { .. }));
}

#[test]
fn a_node_that_was_never_there_may_go_on_and_a_removed_one_may_not() {
    let (mut kv, index) = cluster();
    let begun = refound_root(&mut kv, index, join(9), &BTreeMap::new()).unwrap();
    assert_eq!(begun.node.0, index + INDEX_JUMP);
    let (mut kv, index) = cluster();
    let first = *view(&kv).unwrap().nodes.keys().next().unwrap();
    let mut record = view(&kv).unwrap().nodes[&first].clone();
    record.state = NodeState::Tombstoned;
    store(&mut kv, Table::Nodes, &node::ser_key(first), &record).unwrap();
    let refused = refound_root(&mut kv, index, join(1), &BTreeMap::new());
    assert!(matches!(refused, Err(RefoundError::Refused(_))));
    let nothing = refound_root(&mut MemKv::new(), 5, join(1), &BTreeMap::new());
    assert!(matches!(nothing, Err(RefoundError::NoCluster)));
}

#[test]
fn what_a_group_knows_of_the_layout_the_root_had_decided() {
    let (mut kv, index) = cluster();
    let pool = PoolId(2);
    let pg = |index| PgId { pool, index };
    let held = view(&kv).unwrap().pools[&pool].rows[0].clone();
    let newer = PgRow::stable(7, held.drives.clone());
    let mut older = held.clone();
    older.epoch = 0;
    let rows = BTreeMap::from([(pg(0), newer.clone()), (pg(1), older)]);
    let begun = refound_root(&mut kv, index, join(1), &rows).unwrap();
    assert_eq!(begun.newer_rows, 1);
    let table = &view(&kv).unwrap().pools[&pool];
    assert_eq!((&table.rows[0], &table.rows[1]), (&newer, &held));
    assert_eq!(table.epoch, 7);
}

#[test]
fn a_node_that_lost_its_key_is_known_by_its_name() {
    let (mut kv, index) = cluster();
    let before = view(&kv).unwrap();
    let old: Vec<_> = before.nodes.keys().copied().collect();
    let mut anew = join(2);
    anew.public_key = [77; 32];
    let begun = refound_root(&mut kv, index, anew, &BTreeMap::new()).unwrap();
    assert_eq!(begun.node, old[1]);
    let record = &view(&kv).unwrap().nodes[&begun.node];
    assert_eq!(record.public_key, [77; 32]);
    assert_eq!(kv.get(Table::NodeKeys, &[2; 32]).unwrap(), None);
}
