//! Random clusters, what happens to them, and what their rows should look like.

use std::collections::BTreeMap;

use marram_types::{DriveId, NodeId};
use proptest::prelude::*;

use super::super::*;
use crate::plan::mix;
use crate::topology::DriveInfo;

/// What happens to a cluster. Numbers choose among what there is.
#[derive(Debug, Clone)]
pub(super) enum Event {
    AddNode(u8, Vec<u64>),
    RemoveNode(usize),
    AddDrive(usize, u64),
    RemoveDrive(usize),
    Weigh(usize, u64),
    Zone(usize, u8),
}

pub(super) fn event() -> impl Strategy<Value = Event> {
    let weights = prop::collection::vec(1_u64..5, 1..4);
    prop_oneof![
        (0_u8..4, weights).prop_map(|(zone, weights)| Event::AddNode(zone, weights)),
        any::<usize>().prop_map(Event::RemoveNode),
        (any::<usize>(), 1_u64..5).prop_map(|(node, weight)| Event::AddDrive(node, weight)),
        any::<usize>().prop_map(Event::RemoveDrive),
        (any::<usize>(), 0_u64..5).prop_map(|(drive, weight)| Event::Weigh(drive, weight)),
        (any::<usize>(), 0_u8..4).prop_map(|(node, zone)| Event::Zone(node, zone)),
    ]
}

#[derive(Debug, Clone)]
pub(super) struct Cluster {
    pub(super) topology: Topology,
    next: u64,
}

impl Cluster {
    pub(super) fn new(nodes: &[(u8, Vec<u64>)]) -> Self {
        let mut cluster = Self {
            topology: Topology::default(),
            next: 1,
        };
        for (zone, weights) in nodes {
            cluster.add_node(*zone, weights);
        }
        cluster
    }

    pub(super) fn add_node(&mut self, zone: u8, weights: &[u64]) -> NodeId {
        let node = NodeId(self.next);
        for weight in weights {
            self.add_drive(node, &format!("z{zone}"), *weight);
        }
        node
    }

    pub(super) fn add_drive(&mut self, node: NodeId, zone: &str, weight: u64) {
        self.topology.drives.push(DriveInfo {
            drive: DriveId(self.next),
            node,
            zone: zone.to_owned(),
            weight,
        });
        self.next += 1;
    }

    pub(super) fn some_drive(&self, choice: usize) -> usize {
        choice % self.topology.drives.len()
    }

    pub(super) fn happen(&mut self, event: &Event) {
        if let Event::AddNode(zone, weights) = event {
            self.add_node(*zone, weights);
        }
        if self.topology.drives.is_empty() {
            return;
        }
        match event {
            Event::AddNode(..) => {}
            Event::RemoveNode(choice) => {
                let node = self.topology.drives[self.some_drive(*choice)].node;
                self.topology.drives.retain(|d| d.node != node);
            }
            Event::AddDrive(choice, weight) => {
                let beside = self.topology.drives[self.some_drive(*choice)].clone();
                self.add_drive(beside.node, &beside.zone, *weight);
            }
            Event::RemoveDrive(choice) => {
                let drive = self.some_drive(*choice);
                self.topology.drives.remove(drive);
            }
            Event::Weigh(choice, weight) => {
                let drive = self.some_drive(*choice);
                self.topology.drives[drive].weight = *weight;
            }
            Event::Zone(choice, zone) => {
                let node = self.topology.drives[self.some_drive(*choice)].node;
                for drive in &mut self.topology.drives {
                    if drive.node == node {
                        drive.zone = format!("z{zone}");
                    }
                }
            }
        }
    }
}

/// The table when all moves of a plan have been made.
pub(super) fn applied(table: &PoolTable, plan: &Plan) -> PoolTable {
    let mut table = table.clone();
    for planned in &plan.moves {
        let row = &mut table.rows[usize::from(planned.pg)];
        assert_eq!(row.read_place(planned.slot), Some(planned.from));
        row.drives[usize::from(planned.slot)] = planned.to;
        row.epoch += 1;
    }
    assert!(
        table.rows.iter().all(PgRow::is_sound),
        "drives twice in a row"
    );
    table
}

/// The table when the executor stopped in the middle: the last move of some rows is in phase Dual
/// or Cut.
pub(super) fn half_applied(table: &PoolTable, plan: &Plan, seed: u64) -> PoolTable {
    let mut stopped = applied(table, plan);
    for planned in &plan.moves {
        let row = &mut stopped.rows[usize::from(planned.pg)];
        let other = row.drives.contains(&planned.from);
        if row.moving.is_some() || other || !mix(seed, u64::from(planned.pg)).is_multiple_of(3) {
            continue;
        }
        row.drives[usize::from(planned.slot)] = planned.from;
        let dual = row.begin(planned.slot, planned.to, row.epoch + 1);
        *row = dual.expect("the target is not in the row");
        if seed.is_multiple_of(2) {
            *row = row.cut(row.epoch + 1).expect("Dual");
        }
    }
    stopped
}

pub(super) type Pairs = (usize, usize);

/// Pairs of a row's drives on the same node, and in the same zone.
pub(super) fn pairs_of(drives: &[DriveId], infos: &BTreeMap<DriveId, DriveInfo>) -> Pairs {
    let known: Vec<&DriveInfo> = drives.iter().filter_map(|d| infos.get(d)).collect();
    let mut pairs = (0, 0);
    for (at, a) in known.iter().enumerate() {
        for b in &known[..at] {
            pairs.0 += usize::from(a.node == b.node);
            pairs.1 += usize::from(a.zone == b.zone);
        }
    }
    pairs
}

/// The fewest pairs that a row can have, by choosing drive after drive.
pub(super) fn fewest_pairs(width: usize, infos: &BTreeMap<DriveId, DriveInfo>) -> Pairs {
    let mut row: Vec<DriveId> = Vec::new();
    for _ in 0..width.min(infos.len()) {
        let free = infos.keys().filter(|d| !row.contains(d));
        let next = free.min_by_key(|d| {
            let longer: Vec<DriveId> = row.iter().copied().chain([**d]).collect();
            pairs_of(&longer, infos)
        });
        row.push(*next.expect("a drive is free"));
    }
    pairs_of(&row, infos)
}

pub(super) fn usable(topology: &Topology) -> BTreeMap<DriveId, DriveInfo> {
    let usable = topology.usable().cloned();
    usable.map(|info| (info.drive, info)).collect()
}
