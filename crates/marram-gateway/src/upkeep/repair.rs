//! What lacks redundancy and what is done about it; and the end of the grace for what is away.

use std::collections::{BTreeMap, BTreeSet};

use futures::future::join_all;
use marram_meta::{
    AWAY_DRAINING_SINCE, ClusterView, DriveCommand, DriveDuty, DriveRecord, LostTotals, NodeDuty,
    NodeRecord, ObjectAnswer, ObjectQuery, Pausable, RootCommand,
};
use marram_placement::Standing;
use marram_proto::v1;
use marram_types::{ClusterHealth, DriveId, GroupId, Health, NodeId};

use super::drives::{self, find, name};
use super::{UPKEEP_TIME, ask, behind, members};
use crate::admin::{AdminError, decide, member, until_seen};
use crate::core::Core;
use crate::layout::{Standing as Layout, slots_of};

/// Says what lacks redundancy.
pub(crate) async fn get(core: &Core) -> Result<v1::GetRepairResponse, AdminError> {
    let view = core.fresh_view().await?;
    let groups = view.cluster.as_ref().map_or(0, |c| c.object_groups);
    let asked = (1..=groups).map(|number| async move {
        let group = GroupId(number);
        let lost = core.ask(group, &ObjectQuery::LostTotals, true);
        let counters = core.ask(group, &ObjectQuery::Status, true);
        let both = async { tokio::join!(lost, counters) };
        match tokio::time::timeout(UPKEEP_TIME, both).await {
            Ok((Ok(ObjectAnswer::LostTotals(lost)), Ok(ObjectAnswer::Status(counters)))) => {
                (group, Some((lost, counters.reencodings)))
            }
            _ => (group, None),
        }
    });
    let listed = drives::list(core, v1::ListDrivesRequest::default());
    let (found, said, listed) =
        tokio::join!(join_all(asked), ask(core, members(&view), false), listed);
    let drives: Vec<v1::DriveEntry> = listed?.drives.into_iter().filter(is_absent).collect();
    let health = core.health();
    let work = health.work;
    let is_up = |node| core.drives.is_up(node);
    let ids = drives.iter().map(|drive| DriveId(drive.drive_id));
    let lacking = Lacking::of(&view, is_up, &ids.collect());
    let mut status = v1::RepairStatus {
        paused_since_ms: view.upkeep.paused(Pausable::Repair),
        moves_paused_since_ms: view.upkeep.paused(Pausable::Moves),
        waiting_for_ms: work.tickets_for_ms,
        repaired: work.repaired,
        bytes_per_s: work.written_per_s,
        extents_left_ms: work.tickets_left_ms(),
        placement_groups_left_ms: work.left_ms(),
        nodes: absent(&view, &health, is_up, &lacking.urgent),
        drives,
        notes: health.notes.clone(),
        behind: behind(&view, &said),
        ..v1::RepairStatus::default()
    };
    let levels = lacking.levels.into_iter();
    let mut levels: BTreeMap<i32, (u64, u64)> =
        levels.map(|(spare, groups)| (spare, (0, groups))).collect();
    let (mut reencodings, mut total) = (0, LostTotals::default());
    for (group, found) in found {
        let Some((lost, waiting)) = found else {
            status.silent_groups.push(u32::from(group.0));
            continue;
        };
        reencodings += waiting;
        total.bytes += lost.bytes;
        total.misplaced += lost.misplaced;
        total.more |= lost.more;
        for (spare, extents) in lost.spare {
            levels.entry(i32::from(spare)).or_default().0 += extents;
        }
    }
    (status.bytes, status.misplaced, status.more) = (total.bytes, total.misplaced, total.more);
    status.reencodings = status.silent_groups.is_empty().then_some(reencodings);
    status.levels = levels
        .into_iter()
        .map(|(spare, (extents, placement_groups))| v1::RepairLevel {
            spare,
            extents,
            placement_groups,
        })
        .collect();
    let repair = Some(status);
    Ok(v1::GetRepairResponse { repair })
}

/// Placement groups with slots on drives that are gone or do not answer.
#[derive(Debug, Default, PartialEq, Eq)]
struct Lacking {
    /// How many, by how many more shards they may lose.
    levels: BTreeMap<i32, u64>,
    /// Nodes with a slot of one that may lose no more.
    urgent: BTreeSet<NodeId>,
}

impl Lacking {
    fn of(view: &ClusterView, is_up: impl Fn(NodeId) -> bool, absent: &BTreeSet<DriveId>) -> Self {
        let members = members(view).flat_map(|node| {
            let here = move |held: &DriveRecord| (held.drive, (node.node, node.standing_of(held)));
            node.present_drives().map(here)
        });
        let homes: BTreeMap<DriveId, (NodeId, Standing)> = members.collect();
        let lacks = |drive: &&DriveId| {
            let home = homes.get(*drive);
            let here = home.is_some_and(|(node, standing)| {
                *standing != Standing::Gone && is_up(*node) && !absent.contains(*drive)
            });
            !drive.is_vacant() && !here
        };
        let mut lacking = Self::default();
        for (pool, table) in &view.pools {
            // Of a pool that nothing with parity uses, nothing may be lost.
            let parity = view.pool_parity(*pool).unwrap_or(0);
            let parity = i32::try_from(parity).unwrap_or(i32::MAX);
            for row in &table.rows {
                let lost: Vec<DriveId> = row.drives.iter().filter(lacks).copied().collect();
                if lost.is_empty() {
                    continue;
                }
                let spare = parity.saturating_sub(i32::try_from(lost.len()).unwrap_or(i32::MAX));
                *lacking.levels.entry(spare).or_default() += 1;
                if spare <= 0 {
                    let homes = lost.iter().filter_map(|drive| homes.get(drive));
                    lacking.urgent.extend(homes.map(|(node, _)| *node));
                }
            }
        }
        lacking
    }
}

/// Whether a drive is not what it should be.
fn is_absent(drive: &v1::DriveEntry) -> bool {
    let given_up = matches!(drive.duty(), v1::DriveDuty::Away | v1::DriveDuty::Failed);
    given_up || matches!(drive.state.as_str(), "away" | "retired")
}

/// The nodes that do not answer, or were given up.
fn absent(
    view: &ClusterView,
    health: &ClusterHealth,
    is_up: impl Fn(NodeId) -> bool,
    urgent: &BTreeSet<NodeId>,
) -> Vec<v1::AbsentNode> {
    let is_absent = |node: &&NodeRecord| node.is_gone() || !is_up(node.node);
    let slots = Layout::slots(view);
    let entry = |node: &NodeRecord| {
        let seen = health.nodes.get(&node.node).copied().unwrap_or_default();
        let away = matches!(seen.health, Health::Dead | Health::Suspect);
        let for_ms = if away { seen.for_ms } else { 0 };
        let excused = node.absence.maintenance_until_ms;
        let grace_ms = match urgent.contains(&node.node) {
            true => health.urgent_ms,
            false => health.grace_ms,
        };
        let comes = away && !node.is_gone() && excused.is_none() && health.grace_ms > 0;
        v1::AbsentNode {
            node_id: node.node.0,
            node: node.name.clone(),
            for_ms,
            rebuild_in_ms: comes.then(|| grace_ms.saturating_sub(for_ms)),
            rebuilt_elsewhere: node.is_gone(),
            maintenance_until_ms: excused.unwrap_or(0),
            slots: slots.get(&node.node).copied().unwrap_or(0),
        }
    };
    members(view).filter(is_absent).map(entry).collect()
}

/// Has what a node or drive had be rebuilt at once.
pub(crate) async fn start(
    core: &Core,
    request: v1::StartRepairRequest,
) -> Result<v1::StartRepairResponse, AdminError> {
    let view = core.fresh_view().await?;
    match member(&view, &request.target) {
        Ok(node) => of_node(core, &view, node).await,
        Err(AdminError::NoNode(wanted)) => match find(&view, &wanted) {
            Ok(_) => of_drive(core, &view, &wanted).await,
            Err(AdminError::NoDrive(_)) => Err(AdminError::NoNode(wanted)),
            Err(other) => Err(other),
        },
        Err(other) => Err(other),
    }
}

async fn of_node(
    core: &Core,
    view: &ClusterView,
    record: &NodeRecord,
) -> Result<v1::StartRepairResponse, AdminError> {
    let (node, name) = (record.node, record.name.clone());
    let mut answer = v1::StartRepairResponse {
        node_id: node.0,
        node: name.clone(),
        slots: Layout::slots(view).get(&node).copied().unwrap_or(0),
        ..v1::StartRepairResponse::default()
    };
    let given_up = record.absence.lost.is_some_and(|lost| lost.rebuild);
    if given_up || record.duty == NodeDuty::Fenced {
        answer.unchanged = true;
        return Ok(answer);
    }
    let by_peers = core.health().of(node);
    if core.drives.is_up(node) || matches!(by_peers, Health::Up | Health::Slow) {
        return Err(AdminError::Works { name });
    }
    if record.absence.maintenance_until_ms.is_some() {
        return Err(AdminError::Excused { name });
    }
    let drives: Vec<DriveId> = record.present_drives().map(|held| held.drive).collect();
    refuse_unheld(view, &name, &drives)?;
    let rebuild = true;
    decide(core, &name, &RootCommand::GiveUp { node, rebuild }).await?;
    until_seen(core, |view| {
        view.nodes.get(&node).is_none_or(NodeRecord::is_gone)
    })
    .await;
    tracing::info!(target: "admin", node = node.0, %name, slots = answer.slots, "what an absent node had is rebuilt at once");
    Ok(answer)
}

async fn of_drive(
    core: &Core,
    view: &ClusterView,
    wanted: &str,
) -> Result<v1::StartRepairResponse, AdminError> {
    let (node, held) = find(view, wanted)?;
    let (drive, called) = (held.drive, name(node, held));
    let of_drive = |of: &DriveId| *of == drive;
    let mut answer = v1::StartRepairResponse {
        node_id: node.node.0,
        node: node.name.clone(),
        drive_id: Some(drive.0),
        slots: slots_of(view).filter(of_drive).count() as u64,
        ..v1::StartRepairResponse::default()
    };
    match held.duty {
        DriveDuty::Removed => return Err(AdminError::NoDrive(wanted.to_owned())),
        DriveDuty::Away | DriveDuty::AwayDraining | DriveDuty::Failed => {
            answer.unchanged = true;
            return Ok(answer);
        }
        DriveDuty::Serving | DriveDuty::Draining => {}
    }
    let request = v1::ListDrivesRequest {
        node: node.node.0.to_string(),
    };
    let listed = drives::list(core, request).await?.drives;
    let state = listed.iter().find(|one| one.drive_id == drive.0);
    let version = view.cluster.as_ref().map_or(0, |cluster| cluster.version);
    let duty = match state.map_or("unknown", |one| one.state.as_str()) {
        "away" if held.duty == DriveDuty::Draining && version >= AWAY_DRAINING_SINCE => {
            DriveDuty::AwayDraining
        }
        "away" => DriveDuty::Away,
        "retired" => DriveDuty::Failed,
        "unknown" => return Err(AdminError::Silent(node.name.clone())),
        _ => return Err(AdminError::Works { name: called }),
    };
    refuse_unheld(view, &called, &[drive])?;
    let command = DriveCommand::SetDuty { drive, duty };
    decide(core, &called, &RootCommand::Drives(command)).await?;
    until_seen(core, |view| {
        let mut held = view.nodes.values().filter_map(|node| node.drive(drive));
        held.next().is_none_or(|held| held.duty == duty)
    })
    .await;
    tracing::info!(target: "admin", %drive, ?duty, slots = answer.slots, "what an absent drive had is rebuilt at once");
    Ok(answer)
}

/// Refuses where not every slot finds a place without these drives.
fn refuse_unheld(view: &ClusterView, name: &str, without: &[DriveId]) -> Result<(), AdminError> {
    let mut seats = view.seats();
    for seat in &mut seats {
        if without.contains(&seat.info.drive) {
            seat.standing = Standing::Gone;
        }
    }
    for table in view.pools.values() {
        if view.plan_of(table, &seats)?.unplaced.is_empty() {
            continue;
        }
        let keeps = |node: &&NodeRecord| {
            let mut drives = node.present_drives();
            node.keeps_slots() && drives.any(|held| !without.contains(&held.drive))
        };
        return Err(AdminError::CannotHold {
            name: name.to_owned(),
            left: members(view).filter(keeps).count(),
            width: table.width,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster_status::testing;
    use marram_types::NodeHealth;

    fn away(view: &ClusterView, gone: &[u64], nodes: &[u64]) -> (ClusterHealth, Lacking) {
        let seen = |for_ms| NodeHealth {
            health: Health::Dead,
            for_ms,
            words: 3,
            ..NodeHealth::default()
        };
        let health = ClusterHealth {
            nodes: nodes.iter().map(|n| (NodeId(*n), seen(10_000))).collect(),
            grace_ms: 600_000,
            urgent_ms: 30_000,
            ..ClusterHealth::default()
        };
        let up = |node: NodeId| !gone.contains(&node.0);
        let lacking = Lacking::of(view, up, &BTreeSet::new());
        (health, lacking)
    }

    #[test]
    fn what_may_lose_no_more_comes_first_and_waits_less() {
        let view = testing::view(6, 1, 5, "4+2");
        let (_, none) = away(&view, &[], &[]);
        assert_eq!(none, Lacking::default());
        // Of the copies not every row has a slot of every node.
        let rows_of = |nodes: &[u64]| {
            let rows = view.pools.values().flat_map(|table| &table.rows);
            let has = |row: &&marram_placement::PgRow| {
                let mut drives = nodes.iter().map(|node| DriveId(node * 10));
                drives.all(|drive| row.drives.contains(&drive))
            };
            rows.filter(has).count() as u64
        };
        let (health, one) = away(&view, &[3], &[3]);
        assert!(one.urgent.is_empty(), "{one:?}");
        assert_eq!(
            one.levels.get(&1).copied(),
            Some(rows_of(&[3])),
            "those that have a slot there"
        );
        let up = |node: NodeId| node != NodeId(3);
        let nodes = absent(&view, &health, up, &one.urgent);
        assert_eq!(nodes.len(), 1);
        assert_eq!(nodes[0].rebuild_in_ms, Some(590_000));
        let (health, two) = away(&view, &[3, 4], &[3, 4]);
        assert_eq!(two.levels.get(&0).copied(), Some(rows_of(&[3, 4])));
        let up = |node: NodeId| node != NodeId(3) && node != NodeId(4);
        let nodes = absent(&view, &health, up, &two.urgent);
        let left: Vec<_> = nodes.iter().map(|node| node.rebuild_in_ms).collect();
        assert_eq!(left, [Some(20_000), Some(20_000)]);
    }

    #[test]
    fn who_is_excused_or_given_up_already_is_not_rebuilt_by_itself() {
        let mut view = testing::view(6, 1, 5, "4+2");
        let up = |node: NodeId| node != NodeId(3);
        let (health, lacking) = away(&view, &[3], &[3]);
        let absence = &mut view.nodes.get_mut(&NodeId(3)).unwrap().absence;
        absence.maintenance_until_ms = Some(9);
        let nodes = absent(&view, &health, up, &lacking.urgent);
        assert_eq!(
            (nodes[0].rebuild_in_ms, nodes[0].maintenance_until_ms),
            (None, 9)
        );
        let absence = &mut view.nodes.get_mut(&NodeId(3)).unwrap().absence;
        absence.maintenance_until_ms = None;
        absence.lost = Some(marram_meta::Lost {
            since_ms: 1,
            rebuild: true,
        });
        let nodes = absent(&view, &health, up, &lacking.urgent);
        assert_eq!(
            (nodes[0].rebuild_in_ms, nodes[0].rebuilt_elsewhere),
            (None, true)
        );
    }

    #[test]
    fn what_the_others_cannot_hold_is_refused_with_numbers() {
        let view = testing::view(6, 1, 5, "4+2");
        let drives: Vec<DriveId> = view.nodes[&NodeId(3)]
            .drives
            .iter()
            .map(|d| d.drive)
            .collect();
        let refused = refuse_unheld(&view, "node-3", &drives)
            .unwrap_err()
            .to_string();
        assert!(
            refused.contains("5 nodes are left") && refused.contains("6 shards"),
            "{refused}"
        );
        let more = testing::view(7, 1, 5, "4+2");
        let drives: Vec<DriveId> = more.nodes[&NodeId(3)]
            .drives
            .iter()
            .map(|d| d.drive)
            .collect();
        refuse_unheld(&more, "node-3", &drives).unwrap();
    }
}
