use marram_placement::Spread;
use marram_types::{ClusterId, PoolId};

use super::*;
use crate::{
    COMMAND_VERSION, DriveJoin, IdentityCommand, IdentityRefusal, MemKv, NewToken, Newcomer,
    Refusal, TokenRole, stamp, view,
};

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

const JUMP: Jump = Jump {
    root: 1 << 34,
    objects: 1 << 40,
};

/// Between two beginnings from one state the first one's logs grow by less than the second one jumps further.
#[test]
fn two_beginnings_from_one_state_share_no_index() {
    let (day, year) = (86_400, 31_557_600);
    let new_year = Jump::at(1_767_225_600);
    assert_eq!(new_year, JUMP);
    assert_eq!(Jump::at(0), JUMP, "a clock that was never set");
    let mut before = new_year;
    for seconds in [1, day, 30 * day, 20 * year] {
        let later = Jump::at(1_767_225_600 + seconds);
        assert!(later.root - new_year.root > 1_000 * seconds);
        assert!(later.objects - new_year.objects > 250_000 * seconds);
        assert!(before.root < later.root && before.objects < later.objects);
        before = later;
    }
    // A double has 53 bits; the id of a drive is 256 times an index. A hundred beginnings in ten years:
    let last = Jump::at(1_767_225_600 + 10 * year);
    assert!(100 * (last.root << 8) < 1 << 53 && 100 * last.objects < 1 << 53);
    let never = Jump::at(u64::MAX);
    assert!(never.root < 1 << 44 && never.objects < 1 << 52);
}

#[test]
fn one_node_goes_on_alone_with_ids_that_were_never_used() {
    let (mut kv, index) = cluster();
    let before = view(&kv).unwrap();
    let mut moved = join(2);
    moved.mesh_addr = "10.0.9.9:7071".to_owned();
    let begun = refound_root(&mut kv, (index, JUMP), moved, &BTreeMap::new()).unwrap();
    let after = view(&kv).unwrap();
    assert_eq!(after.index, JUMP.root_ends_at(index));
    assert_eq!(
        begun.replica.0,
        JUMP.root_ends_at(index),
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
    let begun = refound_root(&mut kv, (index, JUMP), join(9), &BTreeMap::new()).unwrap();
    assert_eq!(begun.node.0, index + JUMP.root);
    let (mut kv, index) = cluster();
    let first = *view(&kv).unwrap().nodes.keys().next().unwrap();
    let mut record = view(&kv).unwrap().nodes[&first].clone();
    record.state = NodeState::Tombstoned;
    store(&mut kv, Table::Nodes, &node::ser_key(first), &record).unwrap();
    let refused = refound_root(&mut kv, (index, JUMP), join(1), &BTreeMap::new());
    assert!(matches!(refused, Err(RefoundError::Refused(_))));
    let nothing = refound_root(&mut MemKv::new(), (5, JUMP), join(1), &BTreeMap::new());
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
    let begun = refound_root(&mut kv, (index, JUMP), join(1), &rows).unwrap();
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
    let begun = refound_root(&mut kv, (index, JUMP), anew, &BTreeMap::new()).unwrap();
    assert_eq!(begun.node, old[1]);
    let record = &view(&kv).unwrap().nodes[&begun.node];
    assert_eq!(record.public_key, [77; 32]);
    assert_eq!(kv.get(Table::NodeKeys, &[2; 32]).unwrap(), None);
}

const SECRET: [u8; 32] = [9; 32];

/// A cluster that began anew, and the index that its log goes on at; the last one of the old state.
fn anew() -> (MemKv, u64, u64) {
    let (mut kv, last) = cluster();
    refound_root(&mut kv, (last, JUMP), join(1), &BTreeMap::new()).unwrap();
    (kv, JUMP.root_ends_at(last) + 1, last)
}

/// What comes of a node that returns as this one with these drives, with a token of its own.
fn returns(
    kv: &mut MemKv,
    at: u64,
    join: NodeJoin,
    (node, drives): (u64, &[u64]),
) -> Result<(NodeId, Vec<DriveId>, ReplicaId), Refusal> {
    let mut told = |index, command| {
        let mut entry = Envelope::seal_internal(&RootCommand::Identity(command));
        stamp(&mut entry, 1_000).unwrap();
        RootOutcome::decode(&apply_root(kv, index, &entry).unwrap()).unwrap()
    };
    let token = NewToken {
        token: at,
        secret_hash: SECRET,
        role: TokenRole::Storage,
        name: None,
        zone: None,
        ttl_ms: 60_000,
    };
    let made = told(at, IdentityCommand::CreateToken(token));
    assert_eq!(made, RootOutcome::Done);
    let redeem = IdentityCommand::Redeem {
        token: at,
        secret_hash: SECRET,
        newcomer: Newcomer::Returning {
            join,
            node: NodeId(node),
            drives: drives.iter().copied().map(DriveId).collect(),
        },
        until_s: 500,
    };
    match told(at + 1, redeem) {
        RootOutcome::Admitted { node: Some(of), .. } => Ok((of.node, of.drives, of.replica)),
        RootOutcome::Refused(refusal) => Err(refusal),
        other => panic!("{other:?}"),
    }
}

fn with_drives(n: u8, ordinals: &[u8]) -> NodeJoin {
    let drive = |ordinal: &u8| DriveJoin {
        ordinal: *ordinal,
        capacity: 1 << 30,
    };
    NodeJoin {
        drives: ordinals.iter().map(drive).collect(),
        ..join(n)
    }
}

#[test]
fn a_node_that_the_state_does_not_know_returns_as_who_it_was() {
    let (mut kv, at, last) = anew();
    let id = last + 40;
    // A drive was added later than the others, and one was removed in between.
    let drives = [id << 8, (last + 90) << 8 | 2];
    let come = with_drives(7, &[0, 2]);
    let (node, held, replica) = returns(&mut kv, at, come.clone(), (id, &drives)).unwrap();
    assert_eq!((node.0, replica.0), (id, at + 1));
    assert_eq!(held, drives.map(DriveId));
    let record = view(&kv).unwrap().nodes[&node].clone();
    assert_eq!(record.drives[1].ordinal, 2);
    assert_eq!(
        (record.name.as_str(), record.state),
        ("node-7", NodeState::Active)
    );
    // An answer that was lost: the same node, with a replica that was never used.
    let (same, again, fresh) = returns(&mut kv, at + 2, come.clone(), (id, &drives)).unwrap();
    assert_eq!((same, again), (node, held));
    assert!(fresh > replica);
    // Its key is it and nobody else.
    let other = returns(&mut kv, at + 4, come, (id + 1, &drives));
    let refusal = IdentityRefusal::OtherNode { node };
    assert_eq!(other, Err(Refusal::Identity(refusal)));
}

#[test]
fn no_id_is_taken_that_the_cluster_may_have_given_out() {
    let (mut kv, mut at, last) = anew();
    let known = *view(&kv).unwrap().nodes.keys().next().unwrap();
    let lost = last + 40;
    let mut refused = |node: u64, drives: &[u64], ordinals: &[u8]| {
        at += 2;
        returns(&mut kv, at, with_drives(7, ordinals), (node, drives)).unwrap_err()
    };
    let first = last + JUMP.root;
    // In the state, its last index, and what the new log gives out: now and later.
    for node in [
        known.0,
        1,
        last,
        first,
        JUMP.root_ends_at(last),
        first + 500,
    ] {
        let refusal = IdentityRefusal::NodeNotLost { node: NodeId(node) };
        assert_eq!(
            refused(node, &[lost << 8], &[0]),
            Refusal::Identity(refusal)
        );
        let drives = [lost << 8, node << 8 | 3];
        let drive = DriveId(drives[1]);
        let refusal = IdentityRefusal::DriveNotLost { drive };
        assert_eq!(refused(lost, &drives, &[0, 3]), Refusal::Identity(refusal));
    }
    let malformed = Refusal::Malformed(crate::Malformed::Drives);
    for (drives, ordinals) in [
        (&[lost << 8][..], &[0, 1][..]),
        (&[lost << 8, lost << 8], &[0, 1]),
        (&[lost << 8, lost << 8 | 1], &[0, 0]),
        (&[lost << 8 | 1], &[1]),
        (&[], &[]),
    ] {
        assert_eq!(refused(lost, drives, ordinals), malformed, "{drives:?}");
    }
    assert_eq!(view(&kv).unwrap().nodes.len(), 3, "nobody came");
    // Another node has returned with the id, or with the drive.
    at += 2;
    returns(&mut kv, at, with_drives(7, &[0]), (lost, &[lost << 8])).unwrap();
    let refusal = IdentityRefusal::NodeNotLost { node: NodeId(lost) };
    let twice = returns(&mut kv, at + 2, join(8), (lost, &[(lost + 1) << 8]));
    assert_eq!(twice, Err(Refusal::Identity(refusal)));
    let drive = DriveId(lost << 8);
    let refusal = IdentityRefusal::DriveNotLost { drive };
    let twice = returns(&mut kv, at + 4, join(8), (lost + 1, &[drive.0]));
    assert_eq!(twice, Err(Refusal::Identity(refusal)));
}

#[test]
fn nobody_returns_to_a_cluster_that_never_began_anew() {
    let (mut kv, last) = cluster();
    let refused = returns(&mut kv, last + 10, join(7), (last + 2, &[(last + 2) << 8]));
    let node = NodeId(last + 2);
    let refusal = IdentityRefusal::NodeNotLost { node };
    assert_eq!(refused, Err(Refusal::Identity(refusal)));
    // One that began anew twice takes those of both times.
    let (mut kv, at, first) = anew();
    let second = at + 9;
    refound_root(&mut kv, (second, JUMP), join(1), &BTreeMap::new()).unwrap();
    let now = JUMP.root_ends_at(second) + 1;
    for (n, id) in [(7, first + 1), (8, second + 1)] {
        let node = returns(&mut kv, now + u64::from(n) * 2, join(n), (id, &[id << 8]));
        assert_eq!(node.unwrap().0, NodeId(id));
    }
}
