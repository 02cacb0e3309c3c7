//! What has to move, by the duties that nodes have: the same view of it that the mover acts on.
//!
//! Pure: from one view of the cluster to numbers. Nothing is moved from here.

use std::collections::{BTreeMap, BTreeSet};

use marram_meta::{ClusterView, NodeDuty, NodeRecord, NodeState};
use marram_placement::{
    DriveInfo, Plan, PlanBytes, PlanError, PoolTable, SlotMove, Topology, plan_change,
};
use marram_types::{DriveId, NodeId, PoolId};

/// A plan that only balances is worth it when a node is this far from its fair share.
const WORTH_DEVIATION: f64 = 0.05;

/// The drives that may hold data, and those that shall give up theirs, which weigh nothing.
pub(crate) fn topology(view: &ClusterView) -> Topology {
    let drives = active(view).flat_map(|node| {
        let empties = matches!(node.duty, NodeDuty::Draining | NodeDuty::Fenced);
        node.drives.iter().map(move |drive| DriveInfo {
            drive: drive.drive,
            node: node.node,
            zone: node.zone.clone(),
            weight: if empties { 0 } else { drive.capacity },
        })
    });
    Topology {
        drives: drives.collect(),
    }
}

fn active(view: &ClusterView) -> impl Iterator<Item = &NodeRecord> {
    view.nodes
        .values()
        .filter(|node| node.state == NodeState::Active)
}

/// Nodes that keep what they have and take nothing new.
pub(crate) fn cordoned(view: &ClusterView) -> BTreeSet<NodeId> {
    active(view)
        .filter(|node| node.duty == NodeDuty::Cordoned)
        .map(|node| node.node)
        .collect()
}

/// What would be moved of one pool.
#[derive(Debug)]
pub(crate) struct Change {
    /// The plan; its moves to and from cordoned nodes are left out.
    pub(crate) plan: Plan,
    /// By node: slots held now and then.
    pub(crate) nodes: BTreeMap<NodeId, (u64, u64)>,
    /// Whether it is worth moving data for.
    pub(crate) worth_it: bool,
    /// The largest deviation of a node from its fair share when the moves have been made.
    pub(crate) deviation_after: f64,
}

impl Change {
    /// Plans the moves of a pool. What is cordoned keeps what it has.
    pub(crate) fn of(
        table: &PoolTable,
        topology: &Topology,
        cordoned: &BTreeSet<NodeId>,
    ) -> Result<Self, PlanError> {
        let mut plan = plan_change(table, topology)?;
        let infos: BTreeMap<DriveId, &DriveInfo> =
            topology.drives.iter().map(|d| (d.drive, d)).collect();
        let node = |drive: DriveId| infos.get(&drive).map(|info| info.node);
        let rests = |drive| node(drive).is_some_and(|node| cordoned.contains(&node));
        plan.moves
            .retain(|planned| !rests(planned.from) && !rests(planned.to));

        let mut nodes: BTreeMap<NodeId, (u64, u64)> = BTreeMap::new();
        for (node, load) in &plan.before.nodes {
            nodes.insert(*node, (load.slots, load.slots));
        }
        for planned in &plan.moves {
            if let Some((_, after)) = node(planned.from).and_then(|node| nodes.get_mut(&node)) {
                *after = after.saturating_sub(1);
            }
            if let Some((_, after)) = node(planned.to).and_then(|node| nodes.get_mut(&node)) {
                *after += 1;
            }
        }
        let fair = |node: &NodeId| plan.after.nodes.get(node).map_or(0.0, |load| load.fair);
        let emptied = |planned: &SlotMove| {
            let info = infos.get(&planned.from);
            info.is_none_or(|info| info.weight == 0)
        };
        let worth_it = !plan.moves.is_empty()
            && (plan.moves.iter().any(emptied)
                || plan.before.node_deviation > WORTH_DEVIATION
                || nodes.iter().any(|(n, (now, _))| *now == 0 && fair(n) > 0.0));
        let deviation_after = nodes
            .iter()
            .filter(|(node, _)| fair(node) > 0.0)
            .map(|(node, (_, after))| (*after as f64 - fair(node)).abs() / fair(node))
            .fold(0.0, f64::max);
        Ok(Self {
            nodes,
            worth_it,
            deviation_after,
            plan,
        })
    }

    /// The placement groups that it moves data from.
    pub(crate) fn placement_groups(&self) -> BTreeSet<u16> {
        self.plan.moves.iter().map(|planned| planned.pg).collect()
    }

    /// The bytes that it moves, when a slot of a drive holds so many.
    pub(crate) fn bytes(
        &self,
        table: &PoolTable,
        topology: &Topology,
        per_slot: &BTreeMap<DriveId, u64>,
    ) -> PlanBytes {
        self.plan.bytes(topology, |pg, slot| {
            let row = table.rows.get(usize::from(pg));
            let drive = row.and_then(|row| row.drives.get(usize::from(slot)));
            drive.and_then(|d| per_slot.get(d)).copied().unwrap_or(0)
        })
    }
}

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
        let (topology, cordoned) = (topology(view), cordoned(view));
        let mut groups: BTreeSet<(PoolId, u16)> = BTreeSet::new();
        let mut moving = 0;
        for (pool, table) in &view.pools {
            for (pg, row) in (0..=u16::MAX).zip(&table.rows) {
                if row.moving.is_some() {
                    moving += 1;
                    groups.insert((*pool, pg));
                }
            }
            match Change::of(table, &topology, &cordoned) {
                Ok(change) if change.worth_it => {
                    groups.extend(change.placement_groups().into_iter().map(|pg| (*pool, pg)));
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
    use marram_meta::DriveRecord;
    use marram_placement::plan_pool;

    fn node(number: u64, duty: NodeDuty) -> NodeRecord {
        NodeRecord {
            node: NodeId(number),
            name: format!("node-{number}"),
            mesh_addr: String::new(),
            api_addr: String::new(),
            public_key: [0; 32],
            zone: String::new(),
            drives: vec![DriveRecord {
                drive: DriveId(number * 10),
                ordinal: 0,
                capacity: 1 << 30,
            }],
            replica: None,
            replicas_past: Vec::new(),
            state: NodeState::Active,
            duty,
        }
    }

    /// Six nodes with a pool of `width`, then those of `more`.
    fn view(width: usize, more: &[NodeDuty]) -> ClusterView {
        let mut view = ClusterView::default();
        for number in 1..=6 {
            let record = node(number, NodeDuty::Serving);
            view.nodes.insert(record.node, record);
        }
        let table = plan_pool(&topology(&view), width).expect("drives enough");
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
        let (topology, resting) = (topology(&view), cordoned(&view));
        let table = view.pools.values().next().expect("a pool");
        let change = Change::of(table, &topology, &resting).expect("planned");
        assert_eq!(change.nodes[&NodeId(2)], (held, 0));
        assert!(change.worth_it && change.deviation_after < 0.05);
        let per_slot = [(DriveId(20), 10)].into();
        let bytes = change.bytes(table, &topology, &per_slot);
        assert_eq!(bytes.total, held * 10);
        set(&mut view, 2, NodeDuty::Cordoned);
        assert_eq!(Standing::of(&view).to_move, 0);
    }

    #[test]
    fn what_has_no_other_place_stays_and_is_not_called_a_move() {
        let mut view = view(6, &[]);
        set(&mut view, 2, NodeDuty::Draining);
        let table = view.pools.values().next().expect("a pool");
        let change = Change::of(table, &topology(&view), &cordoned(&view)).expect("planned");
        assert_eq!(change.plan.unplaced.len(), 512);
        assert_eq!(Standing::of(&view).to_move, 0);
    }
}
