//! Situations and the moves that follow.

use std::collections::BTreeSet;

use marram_meta::{DriveRecord, NodeDuty, NodeRecord, NodeState};
use marram_placement::{PgRow, Topology, plan_pool};

use super::*;

fn node(id: u64, duty: NodeDuty) -> NodeRecord {
    NodeRecord {
        node: NodeId(id),
        name: format!("n{id}"),
        mesh_addr: String::new(),
        api_addr: String::new(),
        public_key: [0; 32],
        zone: String::new(),
        drives: vec![DriveRecord::new(DriveId(100 + id), 0, 1 << 40)],
        replica: None,
        replicas_past: Vec::new(),
        state: NodeState::Active,
        duty,
        absence: marram_meta::Absence::default(),
    }
}

fn cluster(nodes: u64) -> (ClusterView, PoolTable) {
    let mut view = ClusterView::default();
    for id in 1..=nodes {
        view.nodes.insert(NodeId(id), node(id, NodeDuty::Serving));
    }
    let drives = view.seats().into_iter().map(|seat| seat.info).collect();
    let table = plan_pool(&Topology { drives }, 3).unwrap();
    (view, table)
}

fn planned(view: &ClusterView, table: &PoolTable) -> PoolPlan {
    view.plan_of(table, &view.seats()).unwrap()
}

fn duty(view: &mut ClusterView, id: u64, duty: NodeDuty) {
    view.nodes.get_mut(&NodeId(id)).unwrap().duty = duty;
}

#[test]
fn a_tombstoned_and_a_fenced_node_are_emptied_first() {
    let (mut view, table) = cluster(8);
    duty(&mut view, 1, NodeDuty::Draining);
    duty(&mut view, 8, NodeDuty::Fenced);
    let plan = planned(&view, &table);
    let homes = Homes::of(&view);
    let chosen = choose(&plan, &table, &homes, |_| true, (|_: &SlotMove| true, 24));
    assert_eq!(chosen.len(), 24);
    assert!(chosen.iter().all(|m| m.from == DriveId(108)));
    let pgs: BTreeSet<u16> = chosen.iter().map(|m| m.pg).collect();
    assert_eq!(pgs.len(), 24);
    let up = |node| node != NodeId(2);
    let chosen = choose(&plan, &table, &homes, up, (|_: &SlotMove| true, 24));
    assert!(chosen.iter().all(|m| m.to != DriveId(102)));
    view.nodes.get_mut(&NodeId(8)).unwrap().state = NodeState::Tombstoned;
    assert!(planned(&view, &table).empties);
}

/// Two nodes are lost: rows that lost a slot on both may lose no more, and are rebuilt before all others.
#[test]
fn rows_that_lost_most_are_rebuilt_first() {
    let (mut view, table) = cluster(8);
    let lost = [DriveId(103), DriveId(106)];
    for id in [3, 6] {
        duty(&mut view, id, NodeDuty::Fenced);
    }
    let homes = Homes::of(&view);
    let of = |pg: u16| {
        let drives = &table.rows[usize::from(pg)].drives;
        lost.iter().filter(|lost| drives.contains(lost)).count()
    };
    let rows = 0..u16::try_from(table.rows.len()).unwrap();
    let twice: BTreeSet<u16> = rows.clone().filter(|pg| of(*pg) == 2).collect();
    let once = rows.filter(|pg| of(*pg) == 1).count();
    assert!(twice.len() > 2 && once > 24, "{twice:?}, {once} once");
    assert_ne!(twice.iter().next(), Some(&0), "the first row is no such");
    let plan = planned(&view, &table);
    let all = |_: &SlotMove| true;
    let first = choose(&plan, &table, &homes, |_| true, (all, twice.len()));
    let first: BTreeSet<u16> = first.iter().map(|m| m.pg).collect();
    assert_eq!(first, twice);
    let more = choose(&plan, &table, &homes, |_| true, (all, twice.len() + 24));
    assert!(twice.iter().all(|pg| more.iter().any(|m| m.pg == *pg)));
    assert_eq!(more.len(), twice.len() + 24);
}

/// A slot that has no drive is not lost: what waits to be widened comes after what may lose no more.
#[test]
fn slots_without_a_drive_are_filled_after_lost_ones_are_rebuilt() {
    let (mut view, mut table) = cluster(8);
    let rows = table.rows.iter_mut();
    for row in rows.filter(|row| !row.drives.contains(&DriveId(103))) {
        row.drives[0] = DriveId::vacant(0);
    }
    duty(&mut view, 3, NodeDuty::Fenced);
    let homes = Homes::of(&view);
    let lost = table.rows.iter().filter(|row| lost_slots(row, &homes) == 1);
    let lost = lost.count();
    assert!((1..table.rows.len()).contains(&lost));
    let plan = planned(&view, &table);
    let all = |_: &SlotMove| true;
    let first = choose(&plan, &table, &homes, |_| true, (all, lost));
    assert_eq!(first.len(), lost);
    assert!(first.iter().all(|m| m.from == DriveId(103)), "{first:?}");
}

#[test]
fn what_a_move_needs() {
    let (mut view, _) = cluster(5);
    let dual = PgRow::stable(1, [101, 102, 103].map(DriveId).into());
    let dual = dual.begin(0, DriveId(104), 2).unwrap();
    let cut = dual.cut(3).unwrap().moving.unwrap();
    let dual = dual.moving.unwrap();
    let all = |_: NodeId| true;
    let none = |_: NodeId| false;
    let what =
        |view: &ClusterView, m: Move| next(m, &Homes::of(view), (all, none), Doubt::default());
    assert_eq!(what(&view, dual), Next::Carry);
    assert_eq!(what(&view, cut), Next::Clean);
    let homes = Homes::of(&view);
    let calm = Doubt::default();
    assert_eq!(next(dual, &homes, (none, all), calm), Next::Cancel);
    assert_eq!(next(cut, &homes, (none, none), calm), Next::End);
    let stuck = Doubt {
        is_stuck: true,
        to_unfit: false,
    };
    assert_eq!(next(dual, &homes, (all, none), stuck), Next::Cancel);
    assert_eq!(next(cut, &homes, (all, none), stuck), Next::End);
    let full = Doubt {
        is_stuck: false,
        to_unfit: true,
    };
    assert_eq!(next(dual, &homes, (all, none), full), Next::Cancel);
    assert_eq!(next(cut, &homes, (all, none), full), Next::Clean);
    duty(&mut view, 4, NodeDuty::Draining);
    assert_eq!(what(&view, dual), Next::Cancel);
    assert_eq!(what(&view, cut), Next::Clean);
    duty(&mut view, 1, NodeDuty::Fenced);
    assert_eq!(what(&view, dual), Next::Carry);
    assert_eq!(what(&view, cut), Next::End);
    duty(&mut view, 1, NodeDuty::Serving);
    duty(&mut view, 4, NodeDuty::Fenced);
    assert_eq!(what(&view, dual), Next::Cancel);
    assert_eq!(what(&view, cut), Next::End);
}

#[test]
fn what_waits_or_is_carried_keeps_no_rebuilding_from_its_beginning() {
    let calm = RowsMoving::default();
    assert_eq!(calm.room(24), (24, false));
    let drains = RowsMoving { carry: 24, ..calm };
    assert_eq!(drains.room(24), (24, true), "beside a drain");
    let rebuilds = |rebuild| RowsMoving { rebuild, ..drains };
    assert_eq!(rebuilds(13).room(24), (0, true), "more than half are left");
    assert_eq!(rebuilds(12).room(24), (12, true));
    let waits = |wait| RowsMoving { wait, ..calm };
    assert_eq!(waits(MOVES_MAX).room(24), (24, false));
    assert_eq!(waits(WAITING_MAX + MOVES_MAX - 5).room(24), (5, false));
    assert_eq!(waits(WAITING_MAX + MOVES_MAX).room(24), (0, false));
    let cut = |other| RowsMoving { other, ..calm };
    assert_eq!(cut(MOVES_MAX - 3).room(24), (3, false));
    assert_eq!(cut(MOVES_MAX).room(24), (0, false));
}

#[test]
fn small_moves_are_begun_in_larger_numbers_and_large_ones_are_not() {
    let seconds = Duration::from_secs;
    assert_eq!(at_once(None), MOVES_AT_ONCE);
    let twice = at_once(Some((MOVES_AT_ONCE, seconds(1))));
    assert_eq!(twice, 2 * MOVES_AT_ONCE);
    assert_eq!(at_once(Some((twice, seconds(1)))), SMALL_MOVES_AT_ONCE);
    assert_eq!(
        at_once(Some((SMALL_MOVES_AT_ONCE, seconds(2)))),
        SMALL_MOVES_AT_ONCE
    );
    assert_eq!(at_once(Some((twice, seconds(10)))), twice);
    assert_eq!(
        at_once(Some((SMALL_MOVES_AT_ONCE, seconds(90)))),
        MOVES_AT_ONCE
    );
}
