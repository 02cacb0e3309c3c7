//! What would be moved, by the duties that nodes have or might have.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::future::join_all;
use marram_meta::{ClusterView, NodeState};
use marram_placement::{DriveInfo, Topology};
use marram_proto::v1;
use marram_types::{DriveId, NodeId};

use super::{AdminError, member};
use crate::core::Core;
use crate::layout::{self, Change};
use crate::validate::InvalidField;

/// How long a node may take to say how full its drives are.
const REPORT_TIME: Duration = Duration::from_secs(2);
/// Nodes of a request, at most: of those to go, and of those to come.
const NODES_MAX: usize = 256;
/// Drives of a planned node, at most.
const DRIVES_MAX: usize = 64;

/// Says what would be moved.
pub(crate) async fn plan(
    core: &Core,
    request: v1::PlanLayoutRequest,
) -> Result<v1::PlanLayoutResponse, AdminError> {
    check(&request)?;
    let view = core.fresh_view().await?;
    let mut topology = layout::topology(&view);
    let mut cordoned = layout::cordoned(&view);
    for wanted in &request.without {
        let gone = member(&view, wanted)?.node;
        cordoned.remove(&gone);
        let its = topology
            .drives
            .iter_mut()
            .filter(|drive| drive.node == gone);
        its.for_each(|drive| drive.weight = 0);
    }
    let planned = add(&mut topology, &request.with);
    let per_slot = bytes_per_slot(core, &view).await;
    answer(&view, &topology, &cordoned, &planned, &per_slot)
}

fn check(request: &v1::PlanLayoutRequest) -> Result<(), InvalidField> {
    let wrong = |field, rule| Err(InvalidField::Wrong { field, rule });
    if request.without.len() > NODES_MAX || request.with.len() > NODES_MAX {
        return wrong("nodes", "at most 256 may go and 256 may come");
    }
    for node in &request.with {
        let drives = &node.drive_capacity_bytes;
        if drives.is_empty() || drives.len() > DRIVES_MAX || drives.contains(&0) {
            return wrong("drives", "a node has 1 to 64 drives, none of them empty");
        }
        if node.zone.len() > 255 {
            return wrong("zone", "it has at most 255 bytes");
        }
    }
    Ok(())
}

/// Adds nodes that are not there, with ids that none will ever have, in their order.
fn add(topology: &mut Topology, nodes: &[v1::PlannedNode]) -> Vec<NodeId> {
    let mut ids = Vec::new();
    let base = u64::MAX - (NODES_MAX * DRIVES_MAX) as u64;
    let mut drive = base;
    for (number, planned) in (base..).zip(nodes) {
        let node = NodeId(number);
        ids.push(node);
        for weight in &planned.drive_capacity_bytes {
            drive += 1;
            topology.drives.push(DriveInfo {
                drive: DriveId(drive),
                node,
                zone: planned.zone.clone(),
                weight: *weight,
            });
        }
    }
    ids
}

/// The records of each drive over its slots: what one slot is taken to hold.
async fn bytes_per_slot(core: &Core, view: &ClusterView) -> BTreeMap<DriveId, u64> {
    let mut slots: BTreeMap<DriveId, u64> = BTreeMap::new();
    for drive in layout::slots_of(view) {
        *slots.entry(drive).or_default() += 1;
    }
    let nodes = view.nodes.values();
    let up = nodes.filter(|n| n.state == NodeState::Active && core.drives.is_up(n.node));
    let reports = join_all(up.map(|node| core.drives.reports(node.node, REPORT_TIME))).await;
    let reports = reports.into_iter().flatten().flatten();
    reports
        .filter_map(|report| {
            let slots = slots.get(&report.drive).filter(|slots| **slots > 0)?;
            Some((report.drive, report.record_bytes / slots))
        })
        .collect()
}

fn answer(
    view: &ClusterView,
    topology: &Topology,
    cordoned: &BTreeSet<NodeId>,
    planned: &[NodeId],
    per_slot: &BTreeMap<DriveId, u64>,
) -> Result<v1::PlanLayoutResponse, AdminError> {
    let mut answer = v1::PlanLayoutResponse::default();
    let mut nodes: BTreeMap<NodeId, v1::NodePlan> = BTreeMap::new();
    for drive in &topology.drives {
        let record = view.nodes.get(&drive.node);
        let place = planned.iter().position(|node| *node == drive.node);
        let planned_name = || format!("new node {}", place.map_or(0, |place| place + 1));
        nodes.entry(drive.node).or_insert_with(|| v1::NodePlan {
            node_id: record.map_or(0, |record| record.node.0),
            name: record.map_or_else(planned_name, |record| record.name.clone()),
            ..v1::NodePlan::default()
        });
    }
    for table in view.pools.values() {
        let change = Change::of(table, topology, cordoned)?;
        let bytes = change.bytes(table, topology, per_slot);
        answer.placement_groups += change.placement_groups().len() as u64;
        answer.slots += change.plan.moves.len() as u64;
        answer.bytes = answer.bytes.saturating_add(bytes.total);
        answer.worth_it |= change.worth_it;
        for (node, plan) in &mut nodes {
            let (before, after) = change.nodes.get(node).copied().unwrap_or_default();
            plan.slots_before += before;
            plan.slots_after += after;
            let moved = bytes.nodes.get(node).copied().unwrap_or_default();
            plan.bytes_in = plan.bytes_in.saturating_add(moved.bytes_in);
            plan.bytes_out = plan.bytes_out.saturating_add(moved.bytes_out);
        }
        answer.pools.push(v1::PoolPlan {
            width: u32::from(table.width),
            slots: change.plan.moves.len() as u64,
            unplaced: change.plan.unplaced.len() as u64,
            deviation_before_permille: permille(change.plan.before.node_deviation),
            deviation_after_permille: permille(change.deviation_after),
        });
    }
    answer.nodes = nodes.into_values().collect();
    Ok(answer)
}

/// A share in thousandths. What is beyond any sense is the largest number.
fn permille(share: f64) -> u64 {
    (share * 1000.0).round().clamp(0.0, f64::from(u32::MAX)) as u64
}
