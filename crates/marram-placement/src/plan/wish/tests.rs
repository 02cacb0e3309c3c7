//! What moves, by what may be asked of drives.

use super::*;
use crate::plan_pool;

fn seat(id: u64, standing: Standing) -> Seat {
    let info = DriveInfo {
        drive: DriveId(100 + id),
        node: NodeId(id),
        zone: String::new(),
        weight: 1 << 40,
    };
    Seat { info, standing }
}

/// So many serving nodes with a drive each, and a pool over them.
fn cluster(nodes: u64, width: usize) -> (Vec<Seat>, PoolTable) {
    let seats: Vec<Seat> = (1..=nodes).map(|id| seat(id, Standing::Serving)).collect();
    let table = plan_pool(&topology(&seats, &BTreeMap::new()), width).unwrap();
    (seats, table)
}

fn planned(table: &PoolTable, seats: &[Seat]) -> PoolPlan {
    PoolPlan::of(table, seats, 1).unwrap()
}

#[test]
fn at_rest_nothing_moves() {
    let (seats, table) = cluster(5, 3);
    let plan = planned(&table, &seats);
    assert!(plan.moves.is_empty() && plan.unplaced.is_empty());
    assert!(!plan.worth && !plan.empties);
}

#[test]
fn a_new_node_draws_its_share_and_a_small_deviation_nothing() {
    let (mut seats, mut table) = cluster(5, 3);
    seats.push(seat(6, Standing::Serving));
    let plan = planned(&table, &seats);
    assert!(plan.worth && !plan.empties);
    assert_eq!((plan.moves.len(), plan.nodes[&NodeId(6)]), (256, (0, 256)));
    assert!(plan.deviation_before > 0.9 && plan.deviation_after < 0.01);
    for m in &plan.moves[3..] {
        table.rows[usize::from(m.pg)].drives[usize::from(m.slot)] = m.to;
    }
    let plan = planned(&table, &seats);
    assert_eq!((plan.moves.len(), plan.worth), (3, false));
}

#[test]
fn a_kept_drive_keeps_what_it_has_and_others_take_what_leaves() {
    let (mut seats, table) = cluster(6, 3);
    seats[1].standing = Standing::Kept;
    assert!(planned(&table, &seats).moves.is_empty());
    seats[2].standing = Standing::Leaving;
    let plan = planned(&table, &seats);
    assert!(plan.empties && plan.worth);
    let from = |m: &&SlotMove| m.from == DriveId(103);
    assert_eq!(plan.moves.iter().filter(from).count(), 256);
    let kept = |drive| drive == DriveId(102);
    assert!(!plan.moves.iter().any(|m| kept(m.to) || kept(m.from)));
    assert_eq!(plan.nodes[&NodeId(2)], (256, 256));
    assert_eq!(plan.nodes[&NodeId(3)], (256, 0));
    let bytes = plan.bytes(&[(DriveId(103), 10)].into());
    assert_eq!(bytes.total, 2560);
    assert_eq!(bytes.nodes[&NodeId(3)].bytes_out, 2560);
    // A kept drive without anything gets nothing either.
    seats.push(seat(7, Standing::Kept));
    let plan = planned(&table, &seats);
    assert_eq!(plan.moves.iter().filter(from).count(), 256);
    assert!(!plan.moves.iter().any(|m| m.to == DriveId(107)));
}

#[test]
fn a_drive_that_is_gone_or_not_listed_is_emptied() {
    let (mut seats, table) = cluster(6, 3);
    seats[5].standing = Standing::Gone;
    let gone = planned(&table, &seats);
    seats.pop();
    let unlisted = planned(&table, &seats);
    assert!(gone.empties && unlisted.empties);
    assert_eq!(gone.moves.len(), 256);
    assert_eq!(gone.moves, unlisted.moves);
}

#[test]
fn too_few_nodes_are_told() {
    let (mut seats, table) = cluster(3, 3);
    seats[0].standing = Standing::Leaving;
    let plan = planned(&table, &seats);
    assert_eq!((plan.moves.len(), plan.unplaced.len()), (0, 512));
    assert!(!plan.empties && !plan.worth);
}
