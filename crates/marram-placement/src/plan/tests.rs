//! Plans of fixed and random topologies.

use std::collections::BTreeSet;

use marram_types::{DriveId, NodeId};
use proptest::prelude::*;

use super::*;
use crate::topology::DriveInfo;

/// `nodes[i]` = (zone, drive weights).
fn topology(nodes: &[(u8, Vec<u64>)]) -> Topology {
    let mut drives = Vec::new();
    for (node, (zone, weights)) in nodes.iter().enumerate() {
        for weight in weights {
            drives.push(DriveInfo {
                drive: DriveId(drives.len() as u64 + 10),
                node: NodeId(node as u64 + 1),
                zone: format!("z{zone}"),
                weight: *weight,
            });
        }
    }
    Topology { drives }
}

fn slots_of(table: &PoolTable) -> BTreeMap<DriveId, u64> {
    let mut slots = BTreeMap::new();
    for drive in table.rows.iter().flat_map(|r| &r.drives) {
        *slots.entry(*drive).or_default() += 1;
    }
    slots
}

#[test]
fn six_equal_nodes_share_4_2_evenly_in_every_slot() {
    let table = plan_pool(&topology(&vec![(0, vec![7]); 6]), 6).expect("fits");
    assert_eq!(table.rows.len(), usize::from(POOL_PGS));
    assert!(slots_of(&table).values().all(|s| *s == 512));
    assert_eq!((table.domains.nodes, table.domains.most_in_node), (6, 1));
    // Data slots, which are read most, are shared as well: 512 * 4 / 6 is about 341.
    let mut data = BTreeMap::<DriveId, i64>::new();
    for drive in table.rows.iter().flat_map(|r| &r.drives[..4]) {
        *data.entry(*drive).or_default() += 1;
    }
    assert!(data.values().all(|n| (n - 341).abs() <= 17), "{data:?}");
}

#[test]
fn twelve_equal_nodes_are_mixed_and_balanced() {
    let table = plan_pool(&topology(&vec![(0, vec![7]); 12]), 6).expect("fits");
    assert!(slots_of(&table).values().all(|s| *s == 256));
    let sets: BTreeSet<BTreeSet<DriveId>> = table
        .rows
        .iter()
        .map(|r| r.drives.iter().copied().collect())
        .collect();
    assert!(sets.len() > 200, "only {} different rows", sets.len());
}

#[test]
fn weights_rule_the_shares() {
    let nodes: Vec<_> = (0..10)
        .map(|n| (0, vec![if n < 5 { 100 } else { 200 }]))
        .collect();
    let slots = slots_of(&plan_pool(&topology(&nodes), 3).expect("fits"));
    let total = 512.0 * 3.0;
    for (drive, count) in slots {
        let share = if drive.0 < 15 { 1.0 / 15.0 } else { 2.0 / 15.0 };
        let want = total * share;
        assert!(
            (count as f64 - want).abs() <= 2.0,
            "{drive}: {count} of {want}"
        );
    }
}

#[test]
fn three_zones_of_two_nodes_hold_two_shards_each() {
    let nodes: Vec<_> = (0..6).map(|n| (n / 2, vec![1])).collect();
    let table = plan_pool(&topology(&nodes), 3).expect("fits");
    assert_eq!((table.domains.zones, table.domains.most_in_zone), (3, 1));
    let table = plan_pool(&topology(&nodes), 6).expect("fits");
    assert_eq!((table.domains.zones, table.domains.most_in_zone), (3, 2));
}

#[test]
fn one_node_codes_over_its_drives_and_says_so() {
    let table = plan_pool(&topology(&[(0, vec![1; 6])]), 6).expect("fits");
    assert_eq!((table.domains.nodes, table.domains.most_in_node), (1, 6));
}

#[test]
fn refusals() {
    let small = topology(&[(0, vec![1, 0]), (0, vec![1])]);
    let refused = |width| plan_pool(&small, width).expect_err("refused");
    assert_eq!(refused(0), PlanError::BadWidth { width: 0 });
    assert_eq!(refused(41), PlanError::BadWidth { width: 41 });
    assert_eq!(
        refused(3),
        PlanError::TooFewDrives {
            width: 3,
            drives: 2
        }
    );
    let mut twice = small.clone();
    twice.drives.push(twice.drives[0].clone());
    assert_eq!(
        plan_pool(&twice, 2),
        Err(PlanError::DuplicateDrive { drive: DriveId(10) })
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Rows have distinct drives on as many nodes as exist, order of the listing does not matter,
    /// and equal single-drive nodes in one zone differ by one slot at most.
    #[test]
    fn random_topologies(
        nodes in prop::collection::vec((0_u8..4, prop::collection::vec(1_u64..1000, 1..4)), 1..16),
        width in 1_usize..12,
    ) {
        let mut topology = topology(&nodes);
        let planned = plan_pool(&topology, width);
        if topology.drives.len() < width {
            prop_assert!(planned.is_err());
            return Ok(());
        }
        let table = planned.expect("enough drives");
        let node_of: BTreeMap<_, _> = topology.drives.iter().map(|d| (d.drive, d.node)).collect();
        let zone_of: BTreeMap<_, _> =
            topology.drives.iter().map(|d| (d.drive, d.zone.clone())).collect();
        for row in table.rows.iter().map(|r| &r.drives) {
            prop_assert_eq!(row.iter().collect::<BTreeSet<_>>().len(), width);
            let on: BTreeSet<_> = row.iter().map(|d| node_of[d]).collect();
            prop_assert_eq!(on.len(), width.min(nodes.len()));
            let zones: BTreeSet<_> = row.iter().map(|d| &zone_of[d]).collect();
            prop_assert!(zones.len() >= usize::from(table.domains.zones));
            if nodes.len() >= width {
                prop_assert_eq!(zones.len(), width.min(topology.zone_count()));
            }
        }
        topology.drives.reverse();
        prop_assert_eq!(plan_pool(&topology, width), Ok(table));
    }

    #[test]
    fn equal_nodes_are_balanced(nodes in 1_usize..20, width in 1_usize..10) {
        prop_assume!(width <= nodes);
        let table = plan_pool(&topology(&vec![(0, vec![5]); nodes]), width).expect("fits");
        let slots = slots_of(&table);
        let most = slots.values().max().expect("some");
        let least = slots.values().min().expect("some");
        prop_assert!(slots.len() == nodes && most - least <= 1);
    }
}
