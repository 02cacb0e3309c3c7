//! What has to move, by the duties that nodes have: the same plan that the mover acts on.
//!
//! Pure: from one view of the cluster to numbers. Nothing is moved from here.

use std::collections::{BTreeMap, BTreeSet};

use marram_meta::ClusterView;
use marram_types::{DriveId, NodeId, PoolId};

/// The layout as it is, and how far it is from where the present duties want it.
#[derive(Debug, Default)]
pub(crate) struct Standing {
    /// The index of the view that this is of.
    pub(crate) index: u64,
    /// Slots that are read from each node's drives; nodes without any are not listed.
    pub(crate) slots: BTreeMap<NodeId, u64>,
    /// Placement groups with a move under way.
    pub(crate) moving: u64,
    /// Placement groups to move, those under way included.
    pub(crate) to_move: u64,
}

impl Standing {
    pub(crate) fn of(view: &ClusterView) -> Self {
        let seats = view.seats();
        let mut groups: BTreeSet<(PoolId, u16)> = BTreeSet::new();
        let mut moving = 0;
        for (pool, table) in &view.pools {
            for (pg, row) in (0..=u16::MAX).zip(&table.rows) {
                if row.moving.is_some() {
                    moving += 1;
                    groups.insert((*pool, pg));
                }
            }
            match view.plan_of(table, &seats) {
                Ok(plan) if plan.worth || view.layout.rebalance > 0 => {
                    groups.extend(plan.pgs().into_iter().map(|pg| (*pool, pg)));
                }
                Ok(_) => {}
                Err(error) => tracing::warn!(pool = pool.0, %error, "a pool cannot be planned"),
            }
        }
        Self {
            index: view.index,
            slots: Self::slots(view),
            moving,
            to_move: groups.len() as u64,
        }
    }

    /// Slots that are read from each node's drives; nodes without any are not listed.
    pub(crate) fn slots(view: &ClusterView) -> BTreeMap<NodeId, u64> {
        let nodes: BTreeMap<DriveId, NodeId> = view
            .nodes
            .values()
            .flat_map(|node| node.drives.iter().map(|drive| (drive.drive, node.node)))
            .collect();
        let mut slots = BTreeMap::new();
        for drive in slots_of(view) {
            if let Some(node) = nodes.get(&drive) {
                *slots.entry(*node).or_default() += 1;
            }
        }
        slots
    }
}

/// The drive of every slot of every pool, as readers see it.
pub(crate) fn slots_of(view: &ClusterView) -> impl Iterator<Item = DriveId> {
    let rows = view.pools.values().flat_map(|table| &table.rows);
    rows.flat_map(|row| row.drives.iter().copied())
}

#[cfg(test)]
mod tests {
    use super::*;
    use marram_meta::{DriveRecord, NodeDuty, NodeRecord, NodeState};
    use marram_placement::{Topology, plan_pool};

    fn node(number: u64, duty: NodeDuty) -> NodeRecord {
        NodeRecord {
            node: NodeId(number),
            name: format!("node-{number}"),
            mesh_addr: String::new(),
            api_addr: String::new(),
            public_key: [0; 32],
            zone: String::new(),
            drives: vec![DriveRecord::new(DriveId(number * 10), 0, 1 << 30)],
            replica: None,
            replicas_past: Vec::new(),
            state: NodeState::Active,
            duty,
            absence: marram_meta::Absence::default(),
        }
    }

    /// Six nodes with a pool of `width`, then those of `more`.
    fn view(width: usize, more: &[NodeDuty]) -> ClusterView {
        let mut view = ClusterView::default();
        for number in 1..=6 {
            let record = node(number, NodeDuty::Serving);
            view.nodes.insert(record.node, record);
        }
        let drives = view.seats().into_iter().map(|seat| seat.info).collect();
        let table = plan_pool(&Topology { drives }, width).expect("drives enough");
        view.pools.insert(table.pool(), table);
        for (number, duty) in (7..).zip(more) {
            let record = node(number, *duty);
            view.nodes.insert(record.node, record);
        }
        view
    }

    fn set(view: &mut ClusterView, number: u64, duty: NodeDuty) {
        view.nodes.get_mut(&NodeId(number)).expect("there").duty = duty;
    }

    #[test]
    fn a_fresh_layout_is_where_it_should_be() {
        let standing = Standing::of(&view(6, &[]));
        assert_eq!((standing.moving, standing.to_move), (0, 0));
        assert_eq!(standing.slots.values().sum::<u64>(), 6 * 512);
    }

    #[test]
    fn a_node_that_comes_gets_a_share_unless_it_is_cordoned() {
        assert!(Standing::of(&view(3, &[NodeDuty::Serving])).to_move > 100);
        for duty in [NodeDuty::Cordoned, NodeDuty::Draining, NodeDuty::Fenced] {
            assert_eq!(Standing::of(&view(3, &[duty])).to_move, 0, "{duty:?}");
        }
    }

    #[test]
    fn a_drained_node_gives_up_everything_and_a_cordoned_one_nothing() {
        let mut view = view(3, &[]);
        let held = Standing::of(&view).slots[&NodeId(2)];
        set(&mut view, 2, NodeDuty::Draining);
        assert_eq!(Standing::of(&view).to_move, held);
        set(&mut view, 2, NodeDuty::Cordoned);
        assert_eq!(Standing::of(&view).to_move, 0);
    }

    #[test]
    fn what_has_no_other_place_stays_and_is_not_called_a_move() {
        let mut view = view(6, &[]);
        set(&mut view, 2, NodeDuty::Draining);
        assert_eq!(Standing::of(&view).to_move, 0);
    }

    #[test]
    fn a_rebalance_that_was_asked_for_counts_however_small() {
        let mut view = view(3, &[NodeDuty::Serving]);
        let moves = {
            let table = view.pools.values().next().expect("a pool");
            view.plan_of(table, &view.seats()).expect("planned").moves
        };
        let table = view.pools.values_mut().next().expect("a pool");
        for m in &moves[3..] {
            table.rows[usize::from(m.pg)].drives[usize::from(m.slot)] = m.to;
        }
        assert_eq!(Standing::of(&view).to_move, 0, "not worth it by itself");
        view.layout.rebalance = 1;
        assert_eq!(Standing::of(&view).to_move, 3);
    }
}
