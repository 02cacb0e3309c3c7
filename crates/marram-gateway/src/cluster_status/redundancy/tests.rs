use super::testing::view;
use super::*;

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
fn a_profile_that_writes_may_ask_for_may_be_the_weaker_one() {
    let mut view = view(6, 1, 5, "4+2");
    let bucket = view.buckets.values_mut().next().unwrap();
    bucket.allowed = vec!["5+1".parse().unwrap()];
    assert_eq!(tolerated(&view, &[]), 1);
    assert_eq!(tolerated(&view, &[6]), 0);
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

/// Small objects are whole copies in a pool of their own, and it may be the weaker one.
#[test]
fn copies_that_share_a_node_lower_the_promise() {
    let mut view = view(6, 2, 5, "4+2");
    assert_eq!(tolerated(&view, &[]), 2);
    let copies: Profile = "1+2".parse().unwrap();
    let table = view.pools.get_mut(&pool_of(copies.width())).unwrap();
    // All three copies of one row lie on three nodes; now two of them on one.
    let row = &mut table.rows[7];
    row.drives[0] = DriveId(row.drives[1].0 ^ 1);
    assert_eq!(tolerated(&view, &[]), 1);
    // Nodes 1 to 3 alone have that row, and two of them are away.
    let table = view.pools.get_mut(&pool_of(copies.width())).unwrap();
    table.rows[7].drives = vec![DriveId(10), DriveId(20), DriveId(30)];
    assert_eq!(tolerated(&view, &[1, 2]), 0);
    assert_eq!(tolerated(&view, &[1]), 1);
    let lost = |view: &ClusterView| {
        let reports = BTreeMap::new();
        let usage = Some(Usage::default());
        Facts::new(view, &reports, usage, |node| node.0 > 3).data_tolerated()
    };
    assert!(lost(&view) < 0, "all copies of some objects are away");
}

/// The same is what stands behind SAFE and `ok-to-stop`: only the pool of the copies lacks anything.
#[test]
fn a_pool_of_copies_alone_may_say_that_something_is_lost() {
    let mut view = view(9, 1, 5, "2+2");
    let wide = pool_of("2+2".parse::<Profile>().unwrap().width());
    let copies = pool_of(3);
    let ten = |row: &mut PgRow, drives: [u64; 3]| row.drives = drives.map(DriveId).to_vec();
    for row in &mut view.pools.get_mut(&copies).unwrap().rows {
        ten(row, [70, 80, 90]);
    }
    for row in &mut view.pools.get_mut(&wide).unwrap().rows {
        row.drives = [10, 20, 30, 40].map(DriveId).to_vec();
    }
    let reports = BTreeMap::new();
    let facts = Facts::new(&view, &reports, Some(Usage::default()), |node| node.0 < 7);
    assert!(facts.data_tolerated() < 0);
    assert!(!facts.writable(), "small objects find no place");
    let said = "New small objects of 2+2 cannot be written";
    let sentences = facts.sentences();
    assert!(
        sentences.iter().any(|s| s.starts_with(said)),
        "{sentences:?}"
    );
    view.pools.remove(&copies);
    let facts = Facts::new(&view, &reports, Some(Usage::default()), |_| true);
    assert_eq!(
        facts.data_tolerated(),
        2,
        "small objects are among the large ones"
    );
    assert!(facts.writable());
    view.pools.remove(&wide);
    let facts = Facts::new(&view, &reports, Some(Usage::default()), |_| true);
    assert_eq!(facts.data_tolerated(), 0, "there is no pool yet");
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
        "Every object survives the loss of any 1 node.",
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

/// What a lost node had is on drives of the others, two shards of one placement group on one of them.
#[test]
fn shards_that_came_to_share_a_node_are_not_full_redundancy() {
    let mut shared = view(6, 2, 5, "4+2");
    let wide = pool_of(6);
    let row = &mut shared.pools.get_mut(&wide).unwrap().rows[0];
    // The other drive of the node that has the second shard.
    row.drives[0] = DriveId(row.drives[1].0 ^ 1);
    let lacks = |view: &ClusterView| {
        let reports = BTreeMap::new();
        let standing = Standing::default();
        let facts = Facts::new(view, &reports, Some(Usage::default()), |_| true);
        facts.with_work(&standing, Some((0, 0))).lacks()
    };
    let said = lacks(&shared);
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(
        said[0].starts_with("1 placement group has several shards on one node"),
        "{said:?}"
    );
    assert_eq!(lacks(&view(6, 2, 5, "4+2")), Vec::<String>::new());
    // When a node is removed, that is no small cluster.
    let gone = shared.pools[&wide].rows[0].drives[3].0 / 10;
    shared.nodes.remove(&NodeId(gone));
    assert!(
        lacks(&shared)
            .iter()
            .any(|said| said.contains("several shards on one node"))
    );
    for small in [view(1, 6, 1, "4+2"), view(3, 2, 3, "4+2")] {
        assert_eq!(lacks(&small), Vec::<String>::new(), "by its size");
    }
}

/// A small cluster says that it keeps shards on drives.
#[test]
fn shards_on_drives_of_one_node_are_said() {
    let said = |view: &ClusterView| {
        let reports = BTreeMap::new();
        let facts = Facts::new(view, &reports, Some(Usage::default()), |_| true);
        facts.sentences().join("\n")
    };
    let needs =
        "on different drives and not on different nodes: 4+2 needs 6 nodes for that, and there";
    let two = said(&view(2, 3, 1, "4+2"));
    assert!(two.contains(&format!("{needs} are 2 nodes.")), "{two}");
    let one = said(&view(1, 6, 1, "4+2"));
    assert!(one.contains(&format!("{needs} is 1 node.")), "{one}");
    let six = said(&view(6, 2, 5, "4+2"));
    assert!(!six.contains("different drives"), "{six}");
}
