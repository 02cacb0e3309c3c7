//! Single drives: what there is, what it is there for, and its removal with the same proof as a
//! node's.

use std::collections::BTreeMap;

use futures::future::join_all;
use marram_meta::{
    ClusterView, DRAINS_SINCE, DrainCommand, DriveCommand, DriveDuty, DriveRecord, DriveRefusal,
    NodeRecord, Refusal, RootCommand, leaving,
};
use marram_proto::v1;
use marram_types::DriveId;

use super::{UPKEEP_TIME, members};
use crate::admin::removal::held_by_groups;
use crate::admin::{AdminError, LOOKS_MAX, decide, is_outdated, member, plan, until_seen};
use crate::core::Core;
use crate::drives::{DriveHealth, DriveReport};
use crate::layout::slots_of;
use crate::validate::InvalidField;

/// A duty as the API has it.
pub(crate) fn to_wire(duty: DriveDuty) -> v1::DriveDuty {
    match duty {
        DriveDuty::Serving => v1::DriveDuty::Serving,
        DriveDuty::Draining => v1::DriveDuty::Draining,
        DriveDuty::Away | DriveDuty::AwayDraining => v1::DriveDuty::Away,
        DriveDuty::Failed => v1::DriveDuty::Failed,
        // Removed drives are not told of.
        DriveDuty::Removed => v1::DriveDuty::Unspecified,
    }
}

/// The drive of an id, or of NODE/NUMBER; also one that was removed, by its id.
pub(super) fn find<'v>(
    view: &'v ClusterView,
    wanted: &str,
) -> Result<(&'v NodeRecord, &'v DriveRecord), AdminError> {
    let none = || AdminError::NoDrive(wanted.to_owned());
    if let Some((node, number)) = wanted.rsplit_once('/') {
        let record = member(view, node)?;
        let number: u8 = number.parse().map_err(|_| none())?;
        let mut drives = record.present_drives();
        let held = drives.find(|held| held.ordinal == number);
        return held.map(|held| (record, held)).ok_or_else(none);
    }
    let id = DriveId(wanted.parse().map_err(|_| none())?);
    let nodes = view.nodes.values();
    let mut held = nodes.filter_map(|node| Some((node, node.drive(id)?)));
    held.next().ok_or_else(none)
}

/// How an operator calls a drive.
pub(super) fn name(node: &NodeRecord, held: &DriveRecord) -> String {
    format!("drive {} ({}/{})", held.drive, node.name, held.ordinal)
}

/// Lists the drives of all nodes, or of one.
pub(crate) async fn list(
    core: &Core,
    request: v1::ListDrivesRequest,
) -> Result<v1::ListDrivesResponse, AdminError> {
    let view = core.fresh_view().await?;
    let nodes: Vec<&NodeRecord> = match request.node.as_str() {
        "" => members(&view).collect(),
        wanted => vec![member(&view, wanted)?],
    };
    let mut slots: BTreeMap<DriveId, u64> = BTreeMap::new();
    for drive in slots_of(&view) {
        *slots.entry(drive).or_default() += 1;
    }
    let reports = join_all(nodes.iter().map(|node| async {
        if core.drives.is_up(node.node) {
            let report = core.drives.report(node.node, UPKEEP_TIME).await;
            report.ok().map(|report| report.drives)
        } else {
            None
        }
    }));
    let mut drives = Vec::new();
    for (node, reports) in nodes.iter().zip(reports.await) {
        let of_drive = |drive| {
            let reports = reports.as_ref()?;
            Some(reports.iter().find(|report| report.drive == drive))
        };
        let entry = |held: &DriveRecord| {
            let report = of_drive(held.drive);
            let known = report.flatten();
            v1::DriveEntry {
                node_id: node.node.0,
                node: node.name.clone(),
                drive_id: held.drive.0,
                number: u32::from(held.ordinal),
                duty: to_wire(held.duty).into(),
                capacity_bytes: held.capacity,
                record_bytes: known.map(|report| report.record_bytes),
                free_bytes: known.map(|report| report.free),
                slots: slots.get(&held.drive).copied().unwrap_or(0),
                state: state(report).to_owned(),
            }
        };
        drives.extend(node.present_drives().map(entry));
    }
    Ok(v1::ListDrivesResponse { drives })
}

/// What a drive says of itself: its node may not answer, or answer without it.
fn state(report: Option<Option<&DriveReport>>) -> &'static str {
    match report {
        None => "unknown",
        Some(None) => "away",
        Some(Some(report)) => match report.health {
            DriveHealth::Active => "active",
            DriveHealth::Full => "full",
            DriveHealth::Retired => "retired",
        },
    }
}

/// Changes what a drive is there for.
pub(crate) async fn set_duty(
    core: &Core,
    request: v1::SetDriveDutyRequest,
) -> Result<v1::SetDriveDutyResponse, AdminError> {
    for _ in 1..LOOKS_MAX {
        let done = set_duty_once(core, &request).await;
        if !is_outdated(&done) {
            return done;
        }
    }
    set_duty_once(core, &request).await
}

async fn set_duty_once(
    core: &Core,
    request: &v1::SetDriveDutyRequest,
) -> Result<v1::SetDriveDutyResponse, AdminError> {
    let duty = match request.duty() {
        v1::DriveDuty::Serving => DriveDuty::Serving,
        v1::DriveDuty::Draining => DriveDuty::Draining,
        v1::DriveDuty::Failed => DriveDuty::Failed,
        v1::DriveDuty::Away | v1::DriveDuty::Unspecified => {
            return Err(InvalidField::Wrong {
                field: "duty",
                rule: "it must be serving, draining or failed",
            }
            .into());
        }
    };
    let view = core.fresh_view().await?;
    let (node, held) = find(&view, &request.drive)?;
    let (drive, before, called) = (held.drive, held.duty, name(node, held));
    if before == DriveDuty::Removed {
        return Err(AdminError::NoDrive(request.drive.clone()));
    }
    let begins_drain = duty == DriveDuty::Draining && before == DriveDuty::Serving;
    if begins_drain {
        refuse_too_few(&view, (node, held))?;
        if !request.force {
            refuse_no_way(core, &view, (node, held)).await?;
        }
    }
    let command = match begins_drain && core.pass_gate(DRAINS_SINCE).is_ok() {
        true => {
            let leaving = (!request.force).then(|| leaving(view.nodes.values()));
            RootCommand::Drain(DrainCommand::Drive { drive, leaving })
        }
        false => RootCommand::Drives(DriveCommand::SetDuty { drive, duty }),
    };
    decide(core, &called, &command).await?;
    until_seen(core, |view| {
        let nodes = view.nodes.values();
        let mut held = nodes.filter_map(|node| node.drive(drive));
        held.next().is_none_or(|held| held.duty == duty)
    })
    .await;
    tracing::info!(target: "admin", %drive, ?before, ?duty, "duty of a drive set");
    Ok(v1::SetDriveDutyResponse {
        drive_id: drive.0,
        node: node.name.clone(),
        duty: to_wire(duty).into(),
        before: to_wire(before).into(),
    })
}

/// Refuses to drain the last drive of a node that serves where its node could not be drained: what stays is too
/// few nodes for what buckets ask for.
fn refuse_too_few(
    view: &ClusterView,
    (node, held): (&NodeRecord, &DriveRecord),
) -> Result<(), AdminError> {
    let stays = |other: &DriveRecord| other.drive != held.drive && other.duty == DriveDuty::Serving;
    let serves_on = node.present_drives().any(stays);
    if !serves_on && let Some(refusal) = view.leaves_too_few(node.node, false) {
        let name = name(node, held);
        return Err(AdminError::Refused { name, refusal });
    }
    Ok(())
}

/// Refuses to drain a drive whose shards have no other place, or no room there.
async fn refuse_no_way(
    core: &Core,
    view: &ClusterView,
    (node, held): (&NodeRecord, &DriveRecord),
) -> Result<(), AdminError> {
    let name = name(node, held);
    let leaving = [held.drive];
    plan::refuse_without_places(view, (&leaving, &name))?;
    plan::refuse_without_room(core, view, (&leaving, &name)).await
}

/// Removes a drive for ever, when nothing is known to be on it (rules.md 25).
pub(crate) async fn remove(
    core: &Core,
    request: v1::RemoveDriveRequest,
) -> Result<v1::RemoveDriveResponse, AdminError> {
    let view = core.fresh_view().await?;
    let (node, held) = find(&view, &request.drive)?;
    let (drive, called) = (held.drive, name(node, held));
    let answer = v1::RemoveDriveResponse {
        drive_id: drive.0,
        node: node.name.clone(),
    };
    if held.duty == DriveDuty::Removed {
        return Ok(answer);
    }
    let held_by = |why: String| AdminError::Held {
        name: called.clone(),
        why,
    };
    if held.ordinal == 0 {
        let refusal = Refusal::Drive(DriveRefusal::Metadata { drive });
        return Err(held_by(refusal.to_string()));
    }
    if held.duty == DriveDuty::Serving {
        return Err(held_by("it serves; drain it first".to_owned()));
    }
    let slots = slots_of(&view).filter(|of| *of == drive).count();
    if slots > 0 {
        return Err(held_by(format!(
            "it still holds {slots} slots of placement groups; they are being moved away"
        )));
    }
    // A drive has no tombstone that the groups would be told of.
    let told = (0, held.duty.is_gone());
    if let Some(why) = held_by_groups(core, &view, &[drive], told).await? {
        return Err(held_by(why));
    }
    // What a drive has that failed or is away is given up.
    if held.duty == DriveDuty::Draining
        && let Some(why) = held_by_itself(core, &view, (node, drive)).await
    {
        return Err(held_by(why));
    }
    let command = RootCommand::Drives(DriveCommand::Remove { drive });
    decide(core, &called, &command).await?;
    until_seen(core, |view| {
        let mut nodes = view.nodes.values();
        !nodes.any(|node| node.present_drives().any(|held| held.drive == drive))
    })
    .await;
    tracing::info!(target: "admin", %drive, node = %node.name, "drive removed");
    Ok(answer)
}

/// What the drive says itself: no record at all must be left, and its node must know that it takes none.
async fn held_by_itself(
    core: &Core,
    view: &ClusterView,
    (node, drive): (&NodeRecord, DriveId),
) -> Option<String> {
    let said = core.drives.upkeep(node.node, false, UPKEEP_TIME).await;
    if said.is_ok_and(|said| said.view_index < view.index) {
        return Some("its node has not heard of the last decisions yet; try again".to_owned());
    }
    let Ok(report) = core.drives.report(node.node, UPKEEP_TIME).await else {
        return Some("its node does not answer, so nobody can say that it is empty".to_owned());
    };
    let Some(report) = report.drives.iter().find(|one| one.drive == drive) else {
        return Some(
            "its node does not find it, so nobody can say that it is empty; give it up with \
             `marram admin drive fail` if it does not come back"
                .to_owned(),
        );
    };
    (report.record_bytes > 0)
        .then(|| format!("it still holds {} bytes of records", report.record_bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use marram_meta::{NodeDuty, NodeState};
    use marram_types::NodeId;

    fn view() -> ClusterView {
        let drive = |id, ordinal, duty| DriveRecord {
            duty,
            ..DriveRecord::new(DriveId(id), ordinal, 1)
        };
        let node = NodeRecord {
            node: NodeId(5),
            name: "node-1".into(),
            mesh_addr: String::new(),
            api_addr: String::new(),
            public_key: [0; 32],
            zone: String::new(),
            drives: vec![
                drive(1280, 0, DriveDuty::Serving),
                drive(1281, 1, DriveDuty::Removed),
                drive(2305, 1, DriveDuty::Draining),
            ],
            replica: None,
            replicas_past: Vec::new(),
            state: NodeState::Active,
            duty: NodeDuty::Serving,
            absence: marram_meta::Absence::default(),
        };
        ClusterView {
            nodes: [(node.node, node)].into(),
            ..ClusterView::default()
        }
    }

    #[test]
    fn a_drive_is_found_by_its_id_or_its_place() {
        let view = view();
        let found = |wanted: &str| find(&view, wanted).map(|(_, held)| held.drive.0).ok();
        assert_eq!(found("1280"), Some(1280));
        assert_eq!(found("node-1/0"), Some(1280));
        assert_eq!(found("5/1"), Some(2305), "the one that is there now");
        assert_eq!(found("1281"), Some(1281), "a removed one, by its id");
        for wrong in [
            "", "7", "node-1", "node-1/9", "node-1/x", "node-2/0", "/0", "node-1/",
        ] {
            assert_eq!(found(wrong), None, "{wrong:?}");
        }
    }
}
