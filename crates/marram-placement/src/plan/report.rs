//! What a plan says about itself.

use std::collections::BTreeMap;

use marram_types::{DriveId, NodeId};

use crate::pool::{PoolTable, SlotMove, Spread};
use crate::topology::{DriveInfo, Topology};

/// The moves that fit a table to a topology, and what they are good for.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The moves, by placement group and slot. There may be several of one group.
    pub moves: Vec<SlotMove>,
    /// Slots whose drive must be emptied and that no other drive can take: there are fewer drives
    /// than slots in a row.
    pub unplaced: Vec<Unplaced>,
    /// Placement groups that were left alone, because they have a move under way. Plan again when
    /// it has ended.
    pub busy: Vec<u16>,
    /// The table as it is, moves under way taken as ended.
    pub before: Balance,
    /// The table when the moves have been made.
    pub after: Balance,
}

/// A slot that stays on a drive that must be emptied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Unplaced {
    /// The placement group, an index into the table's rows.
    pub pg: u16,
    /// The slot.
    pub slot: u8,
    /// The drive that holds it.
    pub drive: DriveId,
}

/// What a drive or node holds.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Load {
    /// Slots held.
    pub slots: u64,
    /// Slots that its weight gives it, as far as the spread of rows allows; 0 when it must be
    /// emptied.
    pub fair: f64,
}

/// How a table lies on a topology.
#[derive(Debug, Clone, PartialEq)]
pub struct Balance {
    /// Every drive that the topology lists or the table names.
    pub drives: BTreeMap<DriveId, Load>,
    /// Every node that the topology lists.
    pub nodes: BTreeMap<NodeId, Load>,
    /// The largest `|slots - fair| / fair` of a drive that may hold data.
    pub drive_deviation: f64,
    /// The same of a node.
    pub node_deviation: f64,
    /// How far the worst row reaches over the domains. Drives that the topology does not list count
    /// for nothing.
    pub spread: Spread,
}

/// The bytes that a plan moves.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PlanBytes {
    /// All of them. Bytes that move between drives of one node are counted in `within_nodes` too.
    pub total: u64,
    /// Bytes that stay on their node.
    pub within_nodes: u64,
    /// Bytes over the network, by node. What leaves drives that the topology does not list is in no
    /// node's `bytes_out`.
    pub nodes: BTreeMap<NodeId, NodeBytes>,
}

/// The bytes that a plan moves to and from a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NodeBytes {
    /// From other nodes.
    pub bytes_in: u64,
    /// To other nodes.
    pub bytes_out: u64,
}

impl Plan {
    /// The bytes that the moves carry, `held` being those that a slot of a placement group holds.
    #[must_use]
    pub fn bytes(&self, topology: &Topology, held: impl Fn(u16, u8) -> u64) -> PlanBytes {
        PlanBytes::of(&self.moves, topology, |m| held(m.pg, m.slot))
    }
}

impl PlanBytes {
    /// The bytes that moves carry, `held` being those of one move.
    pub(super) fn of(
        moves: &[SlotMove],
        topology: &Topology,
        held: impl Fn(&SlotMove) -> u64,
    ) -> Self {
        let infos = by_drive(topology);
        let mut sum = Self::default();
        for planned in moves {
            let bytes = held(planned);
            let node = |drive| infos.get(&drive).map(|info| info.node);
            let (from, to) = (node(planned.from), node(planned.to));
            sum.total = sum.total.saturating_add(bytes);
            if from == to {
                sum.within_nodes = sum.within_nodes.saturating_add(bytes);
                continue;
            }
            if let Some(from) = from {
                let out = &mut sum.nodes.entry(from).or_default().bytes_out;
                *out = out.saturating_add(bytes);
            }
            if let Some(to) = to {
                let into = &mut sum.nodes.entry(to).or_default().bytes_in;
                *into = into.saturating_add(bytes);
            }
        }
        sum
    }
}

impl PoolTable {
    /// How far the worst row reaches over the domains of a topology, by the drives that are read.
    /// Drives that it does not list count for nothing.
    #[must_use]
    pub fn spread_in(&self, topology: &Topology) -> Spread {
        let rows = self.rows.iter().map(|row| &row.drives[..]);
        spread_of(rows, &by_drive(topology))
    }
}

fn by_drive(topology: &Topology) -> BTreeMap<DriveId, &DriveInfo> {
    topology.drives.iter().map(|d| (d.drive, d)).collect()
}

fn spread_of<'r>(
    rows: impl Iterator<Item = &'r [DriveId]>,
    infos: &BTreeMap<DriveId, &DriveInfo>,
) -> Spread {
    let mut worst = Spread {
        zones: u8::MAX,
        nodes: u8::MAX,
        most_in_zone: 0,
        most_in_node: 0,
    };
    let mut any = false;
    let (mut nodes, mut zones): (Vec<NodeId>, Vec<&str>) = (Vec::new(), Vec::new());
    for row in rows {
        any = true;
        nodes.clear();
        zones.clear();
        for info in row.iter().filter_map(|drive| infos.get(drive)) {
            nodes.push(info.node);
            zones.push(&info.zone);
        }
        let ((nodes, in_node), (zones, in_zone)) = (groups(&mut nodes), groups(&mut zones));
        worst.nodes = worst.nodes.min(nodes);
        worst.zones = worst.zones.min(zones);
        worst.most_in_node = worst.most_in_node.max(in_node);
        worst.most_in_zone = worst.most_in_zone.max(in_zone);
    }
    if any { worst } else { Spread::default() }
}

/// How many different values there are, and how often the most frequent is there.
fn groups<T: Ord>(values: &mut [T]) -> (u8, u8) {
    values.sort_unstable();
    let (mut count, mut most) = (0_u8, 0_u8);
    for group in values.chunk_by(|a, b| a == b) {
        count = count.saturating_add(1);
        most = most.max(u8::try_from(group.len()).unwrap_or(u8::MAX));
    }
    (count, most)
}

pub(super) fn balance_of(
    rows: &[Vec<DriveId>],
    topology: &Topology,
    fair_of_drives: &BTreeMap<DriveId, f64>,
    fair_of_nodes: &BTreeMap<NodeId, f64>,
) -> Balance {
    let infos = by_drive(topology);
    let mut drives: BTreeMap<DriveId, Load> = BTreeMap::new();
    let mut nodes: BTreeMap<NodeId, Load> = BTreeMap::new();
    for info in &topology.drives {
        let fair = fair_of_drives.get(&info.drive).copied().unwrap_or(0.0);
        drives.insert(info.drive, Load { slots: 0, fair });
        let fair = fair_of_nodes.get(&info.node).copied().unwrap_or(0.0);
        nodes.insert(info.node, Load { slots: 0, fair });
    }
    for drive in rows.iter().flatten() {
        drives.entry(*drive).or_default().slots += 1;
        if let Some(info) = infos.get(drive) {
            nodes.entry(info.node).or_default().slots += 1;
        }
    }
    Balance {
        drive_deviation: deviation(drives.values()),
        node_deviation: deviation(nodes.values()),
        spread: spread_of(rows.iter().map(|row| &row[..]), &infos),
        drives,
        nodes,
    }
}

fn deviation<'l>(loads: impl Iterator<Item = &'l Load>) -> f64 {
    let relative = |load: &Load| (load.slots as f64 - load.fair).abs() / load.fair;
    let loads = loads.filter(|load| load.fair > 0.0);
    loads.map(relative).fold(0.0, f64::max)
}
