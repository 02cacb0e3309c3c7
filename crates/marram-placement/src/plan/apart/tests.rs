//! Pools on nodes of several drives: nodes go and come.

use proptest::prelude::*;

use super::*;
use crate::topology::{DriveInfo, Topology};
use crate::{PgRow, PoolPlan, plan_pool};

const LOSSES: usize = 2;

/// So many serving nodes of so many drives, numbered from `first` on.
fn seats(first: u64, nodes: u64, drives: u64) -> Vec<Seat> {
    let seat = |node: u64, drive: u64| Seat {
        info: DriveInfo {
            drive: DriveId(node * 100 + drive),
            node: NodeId(node),
            zone: String::new(),
            weight: 1 << 40,
        },
        standing: Standing::Serving,
    };
    (first..first + nodes)
        .flat_map(|node| (0..drives).map(move |drive| seat(node, drive)))
        .collect()
}

fn pool(seats: &[Seat], width: usize) -> PoolTable {
    let drives = seats.iter().map(|seat| seat.info.clone()).collect();
    plan_pool(&Topology { drives }, width).expect("drives enough")
}

fn stand(seats: &mut [Seat], node: u64, standing: Standing) {
    let its = seats.iter_mut().filter(|s| s.info.node == NodeId(node));
    its.for_each(|seat| seat.standing = standing);
}

/// Makes the moves of a plan, and leaves the slots without a drive that have nowhere to go.
fn carried_out(table: &mut PoolTable, plan: &PoolPlan) {
    for planned in &plan.moves {
        table.rows[usize::from(planned.pg)].drives[usize::from(planned.slot)] = planned.to;
    }
    for lost in &plan.unplaced {
        let row = &mut table.rows[usize::from(lost.pg)];
        row.drives[usize::from(lost.slot)] = DriveId::vacant(lost.slot);
    }
}

/// Slots of a row that have a drive, and the nodes that they are on.
fn held(row: &PgRow, seats: &[Seat]) -> (usize, usize) {
    let drives: Vec<DriveId> = row
        .drives
        .iter()
        .copied()
        .filter(|d| !d.is_vacant())
        .collect();
    let home = |drive: &DriveId| seats.iter().find(|s| s.info.drive == *drive);
    let nodes: BTreeSet<NodeId> = drives
        .iter()
        .filter_map(home)
        .map(|s| s.info.node)
        .collect();
    (drives.len(), nodes.len())
}

#[test]
fn what_a_lost_node_had_goes_to_no_drive_of_the_others() {
    let mut all = seats(1, 6, 2);
    let mut table = pool(&all, 6);
    assert_eq!(Apart::of(&table, &all, LOSSES), Apart::Nodes);
    stand(&mut all, 3, Standing::Gone);
    let plan = PoolPlan::of(&table, &all, LOSSES).expect("planned");
    assert_eq!((plan.moves.len(), plan.unplaced.len()), (0, 512));
    assert!(plan.may_narrow && plan.holds());
    carried_out(&mut table, &plan);
    // The lost node is removed from the cluster, and rows are still apart by what they were.
    all.retain(|seat| seat.info.node != NodeId(3));
    table.domains = crate::Spread::default();
    assert_eq!(Apart::of(&table, &all, LOSSES), Apart::Nodes);
    let plan = PoolPlan::of(&table, &all, LOSSES).expect("planned");
    assert_eq!(plan.moves, []);
    all.extend(seats(7, 1, 2));
    let plan = PoolPlan::of(&table, &all, LOSSES).expect("planned");
    assert_eq!((plan.moves.len(), plan.unplaced.len()), (512, 0));
    assert!(
        plan.moves
            .iter()
            .all(|m| m.from.is_vacant() && m.to.0 / 100 == 7)
    );
}

#[test]
fn a_drive_less_is_made_good_by_its_node() {
    let mut all = seats(1, 6, 2);
    let table = pool(&all, 6);
    all[4].standing = Standing::Gone;
    let (gone, node) = (all[4].info.drive, all[4].info.node);
    let plan = PoolPlan::of(&table, &all, LOSSES).expect("planned");
    assert_eq!(plan.unplaced, []);
    assert!(
        plan.moves
            .iter()
            .all(|m| m.from == gone && m.to.0 / 100 == node.0)
    );
}

#[test]
fn nodes_that_never_were_enough_keep_shards_on_drives() {
    for (nodes, drives) in [(1, 6), (2, 3), (3, 3), (5, 2)] {
        let mut all = seats(1, nodes, drives);
        let table = pool(&all, 6);
        assert_eq!(Apart::of(&table, &all, LOSSES), Apart::Drives, "{nodes}");
        let (slots, on) = held(&table.rows[0], &all);
        assert_eq!((slots as u64, on as u64), (6, nodes));
        if nodes * drives > 6 && nodes > 1 {
            stand(&mut all, 1, Standing::Gone);
            let plan = PoolPlan::of(&table, &all, LOSSES).expect("planned");
            let left = usize::try_from((nodes - 1) * drives).expect("few");
            let lacking = 6_usize.saturating_sub(left);
            assert_eq!(plan.unplaced.len(), 512 * lacking, "{nodes} of {drives}");
        }
    }
}

#[test]
fn a_pool_that_grew_out_of_its_drives_is_apart_by_nodes() {
    let mut all = seats(1, 2, 3);
    let mut table = pool(&all, 6);
    all.extend(seats(3, 4, 3));
    let plan = PoolPlan::of(&table, &all, LOSSES).expect("planned");
    carried_out(&mut table, &plan);
    assert!(table.domains.most_in_node > 1, "as it was made");
    stand(&mut all, 2, Standing::Gone);
    assert_eq!(Apart::of(&table, &all, LOSSES), Apart::Nodes);
}

#[test]
fn where_no_data_shard_would_be_left_drives_are_better_than_nothing() {
    let mut all = seats(1, 6, 3);
    let table = pool(&all, 6);
    for node in 1..=3 {
        stand(&mut all, node, Standing::Gone);
    }
    assert_eq!(Apart::of(&table, &all, LOSSES), Apart::Nodes, "1+2");
    stand(&mut all, 4, Standing::Gone);
    assert_eq!(Apart::of(&table, &all, LOSSES), Apart::Drives);
    let plan = PoolPlan::of(&table, &all, LOSSES).expect("planned");
    assert_eq!(plan.unplaced, [], "six drives on two nodes");
}

#[test]
fn what_has_data_comes_before_what_has_none() {
    let mut all = seats(1, 6, 2);
    let mut table = pool(&all, 6);
    stand(&mut all, 3, Standing::Gone);
    let plan = PoolPlan::of(&table, &all, LOSSES).expect("planned");
    carried_out(&mut table, &plan);
    stand(&mut all, 5, Standing::Leaving);
    all.extend(seats(7, 1, 2));
    let plan = PoolPlan::of(&table, &all, LOSSES).expect("planned");
    assert_eq!((plan.moves.len(), plan.unplaced.len()), (512, 512));
    assert!(plan.moves.iter().all(|m| m.from.0 / 100 == 5));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Nodes go for good and come, in any order: no two slots of a row are ever on one node while more nodes
    /// are left than losses are promised, and each row has as many slots as there are nodes.
    #[test]
    fn no_two_slots_share_a_node_whatever_goes_and_comes(
        drives in 1_u64..4,
        events in prop::collection::vec(prop::option::of(1_u64..12), 1..8),
    ) {
        let mut all = seats(1, 7, drives);
        let mut table = pool(&all, 6);
        let mut next = 8;
        for event in events {
            let standing = |seat: &Seat| seat.standing == Standing::Serving;
            match event {
                None => {
                    all.extend(seats(next, 1, drives));
                    next += 1;
                }
                Some(node) => {
                    let left: BTreeSet<NodeId> =
                        all.iter().filter(|s| standing(s)).map(|s| s.info.node).collect();
                    if left.len() <= LOSSES + 1 {
                        continue;
                    }
                    stand(&mut all, node, Standing::Gone);
                }
            }
            for _ in 0..2 {
                let plan = PoolPlan::of(&table, &all, LOSSES).expect("planned");
                prop_assert!(plan.holds());
                carried_out(&mut table, &plan);
            }
            let nodes: BTreeSet<NodeId> =
                all.iter().filter(|s| standing(s)).map(|s| s.info.node).collect();
            for row in &table.rows {
                let (slots, on) = held(row, &all);
                prop_assert_eq!(slots, on, "{:?}", row);
                prop_assert_eq!(slots, nodes.len().min(6));
            }
        }
    }
}
