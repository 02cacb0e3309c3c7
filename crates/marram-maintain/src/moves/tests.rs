//! Situations and the moves that follow.

use marram_meta::{DriveRecord, NodeRecord};
use marram_placement::{PgRow, plan_pool};

use super::*;

fn node(id: u64, duty: NodeDuty) -> NodeRecord {
    NodeRecord {
        node: NodeId(id),
        name: format!("n{id}"),
        mesh_addr: String::new(),
        api_addr: String::new(),
        public_key: [0; 32],
        zone: String::new(),
        drives: vec![DriveRecord {
            drive: DriveId(100 + id),
            ordinal: 0,
            capacity: 1 << 40,
        }],
        replica: None,
        replicas_past: Vec::new(),
        state: NodeState::Active,
        duty,
    }
}

fn cluster(nodes: u64) -> (ClusterView, PoolTable) {
    let mut view = ClusterView::default();
    for id in 1..=nodes {
        view.nodes.insert(NodeId(id), node(id, NodeDuty::Serving));
    }
    let table = plan_pool(&topology(&view, &BTreeMap::new()), 3).unwrap();
    (view, table)
}

fn planned(view: &ClusterView, table: &PoolTable) -> PoolPlan {
    plan(table, view, &Homes::of(view)).unwrap()
}

fn duty(view: &mut ClusterView, id: u64, duty: NodeDuty) {
    view.nodes.get_mut(&NodeId(id)).unwrap().duty = duty;
}

#[test]
fn at_rest_nothing_moves() {
    let (view, table) = cluster(5);
    assert_eq!(planned(&view, &table), PoolPlan::default());
}

#[test]
fn a_new_node_draws_its_share_and_a_small_deviation_nothing() {
    let (mut view, mut table) = cluster(5);
    view.nodes.insert(NodeId(6), node(6, NodeDuty::Serving));
    let plan = planned(&view, &table);
    assert!(plan.worth && !plan.empties);
    assert_eq!(plan.moves.len(), 256);
    for m in &plan.moves[3..] {
        table.rows[usize::from(m.pg)].drives[usize::from(m.slot)] = m.to;
    }
    let plan = planned(&view, &table);
    assert_eq!((plan.moves.len(), plan.worth), (3, false));
}

#[test]
fn a_cordoned_node_keeps_what_it_has_and_others_take_what_a_drain_gives() {
    let (mut view, table) = cluster(6);
    duty(&mut view, 2, NodeDuty::Cordoned);
    assert_eq!(planned(&view, &table), PoolPlan::default());
    duty(&mut view, 3, NodeDuty::Draining);
    let plan = planned(&view, &table);
    assert!(plan.empties);
    let from = |m: &&SlotMove| m.from == DriveId(103);
    assert_eq!(plan.moves.iter().filter(from).count(), 256);
    assert!(
        plan.moves
            .iter()
            .all(|m| m.to != DriveId(102) && m.from != DriveId(102))
    );
    // A cordoned node without anything gets nothing either.
    view.nodes.insert(NodeId(7), node(7, NodeDuty::Cordoned));
    let plan = planned(&view, &table);
    assert_eq!(plan.moves.iter().filter(from).count(), 256);
    assert!(plan.moves.iter().all(|m| m.to != DriveId(107)));
}

#[test]
fn a_tombstoned_and_a_fenced_node_are_emptied_first() {
    let (mut view, table) = cluster(8);
    duty(&mut view, 1, NodeDuty::Draining);
    duty(&mut view, 8, NodeDuty::Fenced);
    let plan = planned(&view, &table);
    let homes = Homes::of(&view);
    let chosen = choose(&plan, &table, &homes, |_| true, 24);
    assert_eq!(chosen.len(), 24);
    assert!(chosen.iter().all(|m| m.from == DriveId(108)));
    let pgs: BTreeSet<u16> = chosen.iter().map(|m| m.pg).collect();
    assert_eq!(pgs.len(), 24);
    let up = |node| node != NodeId(2);
    let chosen = choose(&plan, &table, &homes, up, 24);
    assert!(chosen.iter().all(|m| m.to != DriveId(102)));
    view.nodes.get_mut(&NodeId(8)).unwrap().state = NodeState::Tombstoned;
    assert!(planned(&view, &table).empties);
}

#[test]
fn too_few_nodes_are_told() {
    let (mut view, table) = cluster(3);
    duty(&mut view, 1, NodeDuty::Draining);
    let plan = planned(&view, &table);
    assert_eq!((plan.moves.len(), plan.unplaced), (0, 512));
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
    let what = |view: &ClusterView, m: Move| next(m, &Homes::of(view), all, none);
    assert_eq!(what(&view, dual), Next::Carry);
    assert_eq!(what(&view, cut), Next::Clean);
    let homes = Homes::of(&view);
    assert_eq!(next(dual, &homes, none, all), Next::Cancel);
    assert_eq!(next(cut, &homes, none, none), Next::End);
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
