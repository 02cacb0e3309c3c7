//! Plans for changes of random clusters, and for some chosen ones.

use std::collections::BTreeSet;
use std::time::Instant;

use marram_types::NodeId;
use proptest::prelude::*;

use super::*;
use crate::plan::{mix, plan_pool, plan_rows};
use crate::pool::Spread;
use crate::row::Phase;
use crate::topology::DriveInfo;

mod cluster;

use cluster::{Cluster, applied, event, fewest_pairs, half_applied, pairs_of, usable};

/// Rows of the small tables, enough for shares of whole slots.
const ROWS: usize = 64;

/// Plans, and checks what holds for every plan.
fn checked(table: &PoolTable, topology: &Topology) -> Plan {
    let plan = plan_change(table, topology).expect("a plan");
    let mut reversed = topology.clone();
    reversed.drives.reverse();
    assert_eq!(plan_change(table, &reversed).as_ref(), Ok(&plan));
    let infos = usable(topology);
    assert!(plan.moves.is_sorted() && plan.moves.iter().all(|m| infos.contains_key(&m.to)));
    let next = applied(table, &plan);
    let width = usize::from(table.width);
    let fewest = fewest_pairs(width, &infos);
    let stays: BTreeSet<(u16, u8)> = plan.unplaced.iter().map(|u| (u.pg, u.slot)).collect();
    for (pg, (row, after)) in (0..).zip(table.rows.iter().zip(&next.rows)) {
        if row.moving.is_some() {
            assert!(
                row == after && plan.busy.contains(&pg),
                "a busy row is left alone"
            );
            continue;
        }
        let (good, bad): (Vec<DriveId>, Vec<DriveId>) =
            after.drives.iter().partition(|d| infos.contains_key(d));
        assert_eq!(pairs_of(&good, &infos), fewest, "the best spread");
        assert_eq!(bad.len(), width.saturating_sub(infos.len()), "emptied");
        for (slot, drive) in (0..).zip(&after.drives) {
            assert_eq!(bad.contains(drive), stays.contains(&(pg, slot)));
        }
    }
    if table.rows.iter().all(|row| row.moving.is_none()) {
        assert_eq!(plan.after.spread, next.spread_in(topology));
        // Exchanges for the spread may give a drive as much as they take from it; else, what a
        // drive gives is what it has too much of, but for the links of chains.
        let mut rows = table.rows.iter().map(|row| pairs_of(&row.drives, &infos));
        if rows.all(|pairs| pairs == fewest) {
            let (moves, least) = (plan.moves.len() as u64, given(&plan));
            assert!(
                moves <= 2 * least + 4,
                "{moves} moves, {least} slots too many"
            );
        }
    }
    plan
}

/// Slots by which drives hold less after a plan.
fn given(plan: &Plan) -> u64 {
    let drives = plan.before.drives.iter();
    let given =
        drives.map(|(drive, load)| load.slots.saturating_sub(plan.after.drives[drive].slots));
    given.sum()
}

/// The largest distance from the fair share in slots, over drives and nodes that hold data.
fn slots_off(plan: &Plan) -> f64 {
    let loads = plan.after.drives.values().chain(plan.after.nodes.values());
    let off = loads
        .filter(|l| l.fair > 0.0)
        .map(|l| (l.slots as f64 - l.fair).abs());
    off.fold(0.0, f64::max)
}

/// Plans and moves until nothing is left to move: at once, or after a second plan when the first
/// emptied drives.
fn settled_table(table: &PoolTable, plan: &Plan, topology: &Topology) -> PoolTable {
    let first = applied(table, plan);
    let second = checked(&first, topology);
    let found = usable(topology);
    let emptied = plan.moves.iter().any(|m| !found.contains_key(&m.from));
    assert!(
        emptied || second.moves.is_empty(),
        "{} moves more",
        second.moves.len()
    );
    let settled = applied(&first, &second);
    let third = checked(&settled, topology);
    assert_eq!(third.moves, []);
    assert!(
        !third.unplaced.is_empty() || slots_off(&third) <= 2.0,
        "off by {}",
        slots_off(&third)
    );
    settled
}

fn nodes(zones: u8, count: std::ops::Range<usize>) -> impl Strategy<Value = Vec<(u8, Vec<u64>)>> {
    let weights = prop::collection::vec(1_u64..5, 1..4);
    prop::collection::vec((0..zones, weights), count)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn whatever_happens_to_a_cluster(
        nodes in nodes(4, 1..12),
        width in 1_usize..9,
        events in prop::collection::vec((event(), any::<u64>()), 1..7),
    ) {
        let mut cluster = Cluster::new(&nodes);
        let Ok(mut table) = plan_rows(&cluster.topology, width, ROWS) else {
            return Ok(());
        };
        prop_assert_eq!(checked(&table, &cluster.topology).moves, [], "a new table is balanced");
        for (event, seed) in &events {
            cluster.happen(event);
            let plan = checked(&table, &cluster.topology);
            // Sometimes the executor is stopped in the middle, and the moves end after the next plan.
            let stopped = half_applied(&table, &plan, *seed);
            checked(&stopped, &cluster.topology);
            table = settled_table(&table, &plan, &cluster.topology);
        }
    }

    #[test]
    fn a_node_less_moves_only_what_it_held(
        nodes in nodes(4, 2..14),
        width in 1_usize..9,
        gone in any::<usize>(),
        drained in any::<bool>(),
    ) {
        let mut cluster = Cluster::new(&nodes);
        let Ok(table) = plan_rows(&cluster.topology, width, ROWS) else {
            return Ok(());
        };
        let node = cluster.topology.drives[cluster.some_drive(gone)].node;
        let of_node = |d: &&DriveInfo| d.node == node;
        let held: BTreeSet<DriveId> =
            cluster.topology.drives.iter().filter(of_node).map(|d| d.drive).collect();
        if drained {
            let drives = cluster.topology.drives.iter_mut();
            drives.filter(|d| d.node == node).for_each(|d| d.weight = 0);
        } else {
            cluster.topology.drives.retain(|d| d.node != node);
        }
        let plan = checked(&table, &cluster.topology);
        prop_assert!(plan.moves.iter().all(|m| held.contains(&m.from)));
        let slots = table.rows.iter().flat_map(|r| &r.drives).filter(|d| held.contains(d));
        prop_assert_eq!(plan.moves.len() + plan.unplaced.len(), slots.count());
    }

    #[test]
    fn an_equal_node_more_moves_its_share(
        count in 1_usize..24,
        drives in 1_usize..4,
        width in 1_usize..10,
    ) {
        let mut cluster = Cluster::new(&vec![(0, vec![7; drives]); count]);
        let Ok(table) = plan_rows(&cluster.topology, width, 512) else {
            return Ok(());
        };
        cluster.add_node(0, &vec![7; drives]);
        let plan = checked(&table, &cluster.topology);
        let share = (512 * width) as f64 / (count + 1) as f64;
        prop_assert!(plan.moves.len() as f64 <= 1.05 * share, "{} of {share}", plan.moves.len());
        prop_assert!(slots_off(&plan) <= 1.0, "off by {}", slots_off(&plan));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Drives of any weights in one zone: the new node gets its share by weight, and nothing else moves
    /// but what rounding shifts.
    #[test]
    fn a_node_of_any_weight_more_moves_its_share_by_weight(
        nodes in prop::collection::vec(prop::collection::vec(2_u64..6, 1..4), 6..20),
        new in prop::collection::vec(2_u64..6, 1..4),
        width in 1_usize..4,
    ) {
        let nodes: Vec<_> = nodes.into_iter().map(|weights| (0, weights)).collect();
        let mut cluster = Cluster::new(&nodes);
        let table = plan_rows(&cluster.topology, width, 512).expect("fits");
        let node = cluster.add_node(0, &new);
        let plan = checked(&table, &cluster.topology);
        let share = plan.after.nodes[&node].fair;
        let moves = plan.moves.len() as f64;
        prop_assert!(moves <= 1.05 * share + 2.0, "{moves} moves of {share}");
    }

    /// Equal nodes in zones of equal size, one more in each zone.
    #[test]
    fn a_node_more_in_each_zone_moves_their_share(
        zones in 2_u8..5,
        in_each in 1_usize..7,
        weights in prop::collection::vec(1_u64..5, 1..4),
        width in 1_usize..9,
    ) {
        let zone_of: Vec<u8> = (0..zones).collect();
        let nodes: Vec<_> = zone_of.repeat(in_each).into_iter().map(|z| (z, weights.clone())).collect();
        // Rows that share nodes are spread better by more nodes, which is another matter than balance.
        prop_assume!(width <= nodes.len());
        let mut cluster = Cluster::new(&nodes);
        let table = plan_rows(&cluster.topology, width, 512).expect("fits");
        let new: Vec<_> = zone_of.iter().map(|zone| cluster.add_node(*zone, &weights)).collect();
        let plan = checked(&table, &cluster.topology);
        let share = (512 * width) as f64 / (in_each + 1) as f64;
        let (moves, slack) = (plan.moves.len() as f64, f64::from(zones));
        prop_assert!(moves <= 1.05 * share + slack, "{moves} moves of {share}");
        for node in new {
            let load = plan.after.nodes[&node];
            prop_assert!((load.slots as f64 - load.fair).abs() <= 1.5, "{load:?}");
        }
    }
}

/// The way of the test: 3 -> 12 -> 6 -> 9 nodes of two drives, one at a time.
#[test]
fn growing_and_shrinking_by_one_moves_the_least() {
    for width in [3, 6] {
        let mut cluster = Cluster::new(&vec![(0, vec![7, 7]); 3]);
        let mut table = plan_pool(&cluster.topology, width).expect("fits");
        let slots = 512.0 * width as f64;
        let steps = [vec![true; 9], vec![false; 6], vec![true; 3]].concat();
        for grows in steps {
            let before = cluster.topology.node_count() as f64;
            let least = if grows {
                cluster.add_node(0, &[7, 7]);
                slots / (before + 1.0)
            } else {
                let node = cluster.topology.drives[0].node;
                cluster.topology.drives.retain(|d| d.node != node);
                slots / before
            };
            let plan = checked(&table, &cluster.topology);
            let moves = plan.moves.len() as f64;
            assert!(moves <= 1.05 * least, "{moves} moves, {least} at least");
            assert!(slots_off(&plan) <= 1.5, "off by {}", slots_off(&plan));
            table = applied(&table, &plan);
            assert_eq!(checked(&table, &cluster.topology).moves, []);
        }
    }
}

#[test]
fn shards_that_share_a_node_are_separated_when_nodes_come() {
    let mut cluster = Cluster::new(&vec![(0, vec![5, 5]); 3]);
    let table = plan_pool(&cluster.topology, 6).expect("fits");
    assert_eq!((table.domains.nodes, table.domains.most_in_node), (3, 2));
    for _ in 0..3 {
        cluster.add_node(0, &[5, 5]);
    }
    let plan = checked(&table, &cluster.topology);
    let spread = |nodes, most_in_node| Spread {
        zones: 1,
        nodes,
        most_in_zone: 6,
        most_in_node,
    };
    assert_eq!(plan.before.spread, spread(3, 2));
    assert_eq!(plan.after.spread, spread(6, 1));
    assert_eq!(plan.moves.len(), 512 * 3);
    assert!(plan.after.nodes.values().all(|load| load.slots == 512));
}

#[test]
fn the_target_of_a_move_under_way_counts_as_taken() {
    let mut cluster = Cluster::new(&vec![(0, vec![1]); 4]);
    let mut table = plan_rows(&cluster.topology, 2, 6).expect("fits");
    let new = cluster.add_node(0, &[1]);
    let to = DriveId(new.0);
    for (at, row) in table.rows.iter_mut().enumerate().take(3) {
        *row = row.begin(0, to, 2).expect("stable");
        if at == 0 {
            *row = row.cut(3).expect("Dual");
        }
    }
    let plan = checked(&table, &cluster.topology);
    assert_eq!(plan.busy, [0, 1, 2]);
    assert_eq!(plan.before.drives[&to].slots, 3);
    assert!(
        plan.moves.iter().all(|m| m.to != to),
        "12 slots on 5 drives"
    );
    let cancelled = table.rows[1].cancel(9).expect("Dual");
    assert_eq!(cancelled.moving.map(|m| m.phase), Some(Phase::Cut));
    table.rows[1] = cancelled;
    let plan = checked(&table, &cluster.topology);
    assert_eq!(plan.before.drives[&to].slots, 2);
}

#[test]
fn too_few_drives_are_a_value() {
    let mut cluster = Cluster::new(&vec![(0, vec![1]); 3]);
    let table = plan_rows(&cluster.topology, 3, 5).expect("fits");
    cluster.topology.drives[1].weight = 0;
    let plan = checked(&table, &cluster.topology);
    assert_eq!(plan.moves, []);
    assert_eq!(plan.unplaced.len(), 5);
    assert!(plan.unplaced.iter().all(|u| u.drive == DriveId(2)));
    assert_eq!(plan.after.drives[&DriveId(2)].fair, 0.0);
    let none = checked(&table, &Topology::default());
    assert_eq!((none.moves.len(), none.unplaced.len()), (0, 15));
}

#[test]
fn refusals() {
    let cluster = Cluster::new(&vec![(0, vec![1]); 3]);
    let table = plan_rows(&cluster.topology, 2, 4).expect("fits");
    let refused = |change: &dyn Fn(&mut PoolTable)| {
        let mut table = table.clone();
        change(&mut table);
        plan_change(&table, &cluster.topology).expect_err("refused")
    };
    let bad = PlanError::BadRow { row: 2 };
    assert_eq!(refused(&|t| t.rows[2].drives.truncate(1)), bad);
    assert_eq!(refused(&|t| t.rows[2].drives[0] = t.rows[2].drives[1]), bad);
    assert_eq!(refused(&|t| t.width = 0), PlanError::BadWidth { width: 0 });
    let many = refused(&|t| t.rows = vec![t.rows[0].clone(); 65_537]);
    assert_eq!(many, PlanError::TooManyRows { rows: 65_537 });
    let mut twice = cluster.topology.clone();
    twice.drives.push(twice.drives[0].clone());
    let drive = DriveId(1);
    assert_eq!(
        plan_change(&table, &twice),
        Err(PlanError::DuplicateDrive { drive })
    );
}

#[test]
fn bytes_are_summed_by_node() {
    let mut cluster = Cluster::new(&vec![(0, vec![1, 1]); 3]);
    let table = plan_rows(&cluster.topology, 2, 30).expect("fits");
    let gone = cluster.topology.drives.remove(0);
    let new = cluster.add_node(0, &[2]);
    let plan = checked(&table, &cluster.topology);
    let held = |pg: u16, slot: u8| 1000 * u64::from(pg) + u64::from(slot);
    let bytes = plan.bytes(&cluster.topology, held);
    assert_eq!(
        bytes.total,
        plan.moves.iter().map(|m| held(m.pg, m.slot)).sum::<u64>()
    );
    let into: u64 = bytes.nodes.values().map(|n| n.bytes_in).sum();
    let out: u64 = bytes.nodes.values().map(|n| n.bytes_out).sum();
    let unlisted = plan.moves.iter().filter(|m| m.from == gone.drive);
    let unlisted: u64 = unlisted.map(|m| held(m.pg, m.slot)).sum();
    assert!(unlisted > 0 && bytes.nodes[&new].bytes_in > 0);
    assert_eq!(into, out + unlisted);
    assert_eq!(bytes.total, into + bytes.within_nodes);
}

/// 10,000 drives and 65,536 placement groups. The times are printed (`--nocapture`), not judged.
#[test]
fn the_largest_cluster() {
    let nodes: Vec<_> = (0..1000_u64)
        .map(|n| ((n % 5) as u8, vec![4 + n % 3; 10]))
        .collect();
    let mut cluster = Cluster::new(&nodes);
    let timed = |what: &str, start: Instant, plan: &Plan| {
        let (spent, moves) = (start.elapsed(), plan.moves.len());
        println!(
            "{what}: {spent:?}, {moves} moves, off by {:.1} slots",
            slots_off(plan)
        );
    };
    let start = Instant::now();
    let table = plan_rows(&cluster.topology, 11, 65_536).expect("fits");
    println!("first table: {:?}", start.elapsed());
    assert_eq!((table.domains.nodes, table.domains.most_in_zone), (11, 3));
    cluster.add_node(0, &[5; 10]);
    let start = Instant::now();
    let plan = plan_change(&table, &cluster.topology).expect("a plan");
    timed("a node more", start, &plan);
    let share = 11.0 * 65_536.0 / 1001.0;
    assert!(plan.moves.len() as f64 <= 1.05 * share && slots_off(&plan) <= 2.0);
    let table = applied(&table, &plan);
    cluster.topology.drives.retain(|d| d.node != NodeId(71));
    let start = Instant::now();
    let plan = plan_change(&table, &cluster.topology).expect("a plan");
    timed("a node less", start, &plan);
    let gone = |m: &&SlotMove| (71..81).contains(&m.from.0);
    assert_eq!(plan.moves.iter().filter(gone).count(), plan.moves.len());
    let table = applied(&table, &plan);
    for drive in &mut cluster.topology.drives {
        drive.weight = 10 + mix(1, drive.drive.0) % 20;
    }
    let start = Instant::now();
    let plan = plan_change(&table, &cluster.topology).expect("a plan");
    timed("all weights changed", start, &plan);
    assert!(plan.unplaced.is_empty() && slots_off(&plan) <= 2.0);
    assert_eq!(
        applied(&table, &plan)
            .spread_in(&cluster.topology)
            .most_in_node,
        1
    );
}

/// A node of a third of all weight has a shard of every row of three. Where the last rows have only drives that
/// gave enough already, rows before them are given by others, and nothing moves twice.
#[test]
fn a_node_that_comes_into_every_row_moves_nothing_else() {
    let weights: [&[u64]; 6] = [&[3], &[2], &[4], &[2, 3], &[2], &[2]];
    let nodes = weights.map(|weights| (0, weights.to_vec()));
    let mut cluster = Cluster::new(&nodes);
    let table = plan_rows(&cluster.topology, 3, 512).expect("fits");
    let node = cluster.add_node(0, &[4, 5]);
    let plan = checked(&table, &cluster.topology);
    assert_eq!(plan.after.nodes[&node].slots, 512);
    assert_eq!(plan.moves.len(), 512);
}
