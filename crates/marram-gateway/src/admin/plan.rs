//! What would be moved, by the duties that nodes have or might have; and a rebalance that does it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::future::join_all;
use marram_meta::{ClusterView, NodeState, RootCommand};
use marram_placement::{DriveInfo, Seat, Standing};
use marram_proto::v1;
use marram_types::{DriveId, NodeId};

use super::plan_id::PlanId;
use super::{AdminError, decide, member};
use crate::core::Core;
use crate::drives::DriveReport;
use crate::layout;
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
    let mut seats = view.seats();
    for (wanted, standing) in wishes(&request) {
        stand(&mut seats, member(&view, wanted)?.node, standing);
    }
    let planned = add(&mut seats, &request.with);
    let per_slot = bytes_per_slot(&view, &reports(core, &view).await);
    let mut answer = answer(&view, &seats, &planned, &per_slot)?;
    if seats == view.seats() {
        answer.plan_id = PlanId::of(&view).to_string();
    }
    Ok(answer)
}

/// Moves until the layout is as balanced as it can be, or no longer.
pub(crate) async fn rebalance(
    core: &Core,
    request: v1::RebalanceRequest,
) -> Result<v1::RebalanceResponse, AdminError> {
    let view = core.fresh_view().await?;
    if !request.plan_id.is_empty() {
        let given: PlanId = request.plan_id.parse().map_err(|()| InvalidField::Wrong {
            field: "plan_id",
            rule: "it is an id as a plan of the layout says it",
        })?;
        if let Some(changed) = given.changed_since(&PlanId::of(&view)) {
            return Err(AdminError::OldPlan(changed));
        }
    }
    let per_slot = bytes_per_slot(&view, &reports(core, &view).await);
    let planned = answer(&view, &view.seats(), &[], &per_slot)?;
    let already = (view.layout.rebalance > 0) != request.cancel;
    // What was planned is what is begun, or nothing.
    let if_epoch = (!request.plan_id.is_empty()).then_some(view.layout.epoch);
    let on = !request.cancel;
    decide(core, "the layout", &RootCommand::Rebalance { on, if_epoch }).await?;
    tracing::info!(target: "admin", on, slots = planned.slots, "rebalance");
    Ok(v1::RebalanceResponse {
        already,
        placement_groups: planned.placement_groups,
        slots: planned.slots,
        bytes: planned.bytes,
    })
}

/// Refuses a drain whose data has no room elsewhere below the fill limit. What nodes that do not
/// answer have is not known, and not refused for.
pub(crate) async fn refuse_without_room(
    core: &Core,
    view: &ClusterView,
    leaving: NodeId,
) -> Result<(), AdminError> {
    let mut seats = view.seats();
    stand(&mut seats, leaving, Standing::Leaving);
    let reports = reports(core, view).await;
    let per_slot = bytes_per_slot(view, &reports);
    let mut needed: BTreeMap<NodeId, u64> = BTreeMap::new();
    for table in view.pools.values() {
        let plan = view.plan_of(table, &seats)?;
        for (node, bytes) in plan.bytes(&per_slot).nodes {
            *needed.entry(node).or_default() += bytes.bytes_in;
        }
    }
    let mut lacks = Vec::new();
    for (node, bytes) in needed.iter().filter(|(_, bytes)| **bytes > 0) {
        let Some(record) = view.nodes.get(node) else {
            continue;
        };
        // What was removed or given up says nothing, and takes nothing.
        let held = record.present_drives().filter(|held| !held.duty.is_gone());
        let held: Vec<DriveId> = held.map(|held| held.drive).collect();
        let its = |report: &&DriveReport| held.contains(&report.drive);
        let known: Vec<&DriveReport> = reports.iter().filter(its).collect();
        let room: u64 = known.iter().map(|report| report.room()).sum();
        if known.len() == held.len() && *bytes > room {
            let name = &record.name;
            lacks.push(format!(
                "{name} would get {bytes} bytes and has room for {room}"
            ));
        }
    }
    if lacks.is_empty() {
        return Ok(());
    }
    Err(AdminError::NoRoom {
        name: view
            .nodes
            .get(&leaving)
            .map_or_else(String::new, |n| n.name.clone()),
        bytes: needed.values().sum(),
        lacks: lacks.join(", "),
    })
}

/// Nodes that shall be taken to be something else than they are.
fn wishes(request: &v1::PlanLayoutRequest) -> impl Iterator<Item = (&str, Standing)> {
    let without = request.without.iter();
    let add = request.add.iter();
    let without = without.map(|node| (node.as_str(), Standing::Leaving));
    without.chain(add.map(|node| (node.as_str(), Standing::Serving)))
}

fn stand(seats: &mut [Seat], node: NodeId, standing: Standing) {
    let its = seats.iter_mut().filter(|seat| seat.info.node == node);
    its.for_each(|seat| seat.standing = standing);
}

fn check(request: &v1::PlanLayoutRequest) -> Result<(), InvalidField> {
    let wrong = |field, rule| Err(InvalidField::Wrong { field, rule });
    let named = request.without.len() + request.add.len();
    if named > NODES_MAX || request.with.len() > NODES_MAX {
        return wrong("with", "at most 256 may change and 256 may come");
    }
    let gone: BTreeSet<&String> = request.without.iter().collect();
    if request.add.iter().any(|node| gone.contains(node)) {
        return wrong("add", "a node cannot both go and be added");
    }
    for node in &request.with {
        let drives = &node.drive_capacity_bytes;
        if drives.is_empty() || drives.len() > DRIVES_MAX || drives.contains(&0) {
            return wrong(
                "drive_capacity_bytes",
                "a node has 1 to 64 drives, none of them empty",
            );
        }
        if node.zone.len() > 255 {
            return wrong("zone", "it has at most 255 bytes");
        }
    }
    Ok(())
}

/// Adds nodes that are not there, with ids that none will ever have, in their order.
fn add(seats: &mut Vec<Seat>, nodes: &[v1::PlannedNode]) -> Vec<NodeId> {
    let mut ids = Vec::new();
    let base = u64::MAX - (NODES_MAX * DRIVES_MAX) as u64;
    let mut drive = base;
    for (number, planned) in (base..).zip(nodes) {
        let node = NodeId(number);
        ids.push(node);
        for weight in &planned.drive_capacity_bytes {
            drive += 1;
            let info = DriveInfo {
                drive: DriveId(drive),
                node,
                zone: planned.zone.clone(),
                weight: *weight,
            };
            let standing = Standing::Serving;
            seats.push(Seat { info, standing });
        }
    }
    ids
}

/// How full the drives of the nodes are that answer.
async fn reports(core: &Core, view: &ClusterView) -> Vec<DriveReport> {
    let nodes = view.nodes.values();
    let up = nodes.filter(|n| n.state == NodeState::Active && core.drives.is_up(n.node));
    let reports = join_all(up.map(|node| core.drives.report(node.node, REPORT_TIME))).await;
    let reports = reports.into_iter().flatten();
    reports.flat_map(|report| report.drives).collect()
}

/// The records of each drive over its slots: what one slot is taken to hold.
fn bytes_per_slot(view: &ClusterView, reports: &[DriveReport]) -> BTreeMap<DriveId, u64> {
    let mut slots: BTreeMap<DriveId, u64> = BTreeMap::new();
    for drive in layout::slots_of(view) {
        *slots.entry(drive).or_default() += 1;
    }
    reports
        .iter()
        .filter_map(|report| {
            let slots = slots.get(&report.drive).filter(|slots| **slots > 0)?;
            Some((report.drive, report.record_bytes / slots))
        })
        .collect()
}

fn answer(
    view: &ClusterView,
    seats: &[Seat],
    planned: &[NodeId],
    per_slot: &BTreeMap<DriveId, u64>,
) -> Result<v1::PlanLayoutResponse, AdminError> {
    let mut answer = v1::PlanLayoutResponse::default();
    let mut nodes: BTreeMap<NodeId, v1::NodePlan> = BTreeMap::new();
    for seat in seats {
        let node = seat.info.node;
        let record = view.nodes.get(&node);
        let place = planned.iter().position(|planned| *planned == node);
        let planned_name = || format!("new node {}", place.map_or(0, |place| place + 1));
        nodes.entry(node).or_insert_with(|| v1::NodePlan {
            node_id: record.map_or(0, |record| record.node.0),
            name: record.map_or_else(planned_name, |record| record.name.clone()),
            ..v1::NodePlan::default()
        });
    }
    for table in view.pools.values() {
        let plan = view.plan_of(table, seats)?;
        let bytes = plan.bytes(per_slot);
        answer.placement_groups += plan.pgs().len() as u64;
        answer.slots += plan.moves.len() as u64;
        answer.bytes = answer.bytes.saturating_add(bytes.total);
        answer.worth_it |= plan.worth;
        for (node, of_node) in &mut nodes {
            let (before, after) = plan.nodes.get(node).copied().unwrap_or_default();
            of_node.slots_before += before;
            of_node.slots_after += after;
            let moved = bytes.nodes.get(node).copied().unwrap_or_default();
            of_node.bytes_in = of_node.bytes_in.saturating_add(moved.bytes_in);
            of_node.bytes_out = of_node.bytes_out.saturating_add(moved.bytes_out);
        }
        answer.pools.push(v1::PoolPlan {
            width: u32::from(table.width),
            slots: plan.moves.len() as u64,
            unplaced: plan.unplaced.len() as u64,
            deviation_before_permille: permille(plan.deviation_before),
            deviation_after_permille: permille(plan.deviation_after),
        });
    }
    answer.nodes = nodes.into_values().collect();
    Ok(answer)
}

/// A share in thousandths. What is beyond any sense is the largest number.
fn permille(share: f64) -> u64 {
    (share * 1000.0).round().clamp(0.0, f64::from(u32::MAX)) as u64
}
