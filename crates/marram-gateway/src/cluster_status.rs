//! How the cluster is, and what that means for the data.

mod condition;
pub(crate) mod ok_to_stop;
mod redundancy;
#[cfg(test)]
pub(crate) use redundancy::testing;
pub(crate) mod watching;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use marram_meta::{
    ClusterView, DriveRecord, GroupRecord, NodeRecord, NodeState, ObjectAnswer, ObjectQuery, Usage,
};
use marram_proto::mesh::v1::HeardGateway;
use marram_proto::v1;
use marram_types::{GroupId, NodeId, ReplicaId};

use crate::admin;
use crate::core::{BucketError, Core};
use crate::drives::{DriveHealth, DriveReport, NodeReport};
use crate::groups::GroupError;
use crate::layout::Standing;
use crate::upkeep::drive_duty;
use redundancy::Facts;

/// How long a node may take to say how full its drives are: a status must not wait for the slowest.
const REPORT_TIME: Duration = Duration::from_secs(2);

/// How long the root group may take to say how new a view must be.
const VIEW_TIME: Duration = Duration::from_secs(1);
/// What is said when it does not.
const MAY_BE_OLD: &str = "The root group does not answer this server: what it says of nodes and \
                          moves may be old.";

/// How the cluster is. An operator decides by it, so it holds everything that was decided before it
/// was asked for; where the root group cannot be asked, it says so, and promises nothing.
pub(crate) async fn get(core: &Core) -> Result<v1::GetClusterStatusResponse, BucketError> {
    let latest = tokio::time::timeout(VIEW_TIME, core.fresh_view()).await;
    let latest = latest.ok().and_then(Result::ok);
    let may_be_old = latest.is_none();
    let view = latest.unwrap_or_else(|| core.view());
    let cluster = view.cluster.as_ref().ok_or(BucketError::NotReady)?;
    let reports = join_all(members(&view).map(|node| report(core, node)));
    let usage = usage(core, cluster.object_groups);
    let tickets = tickets(core, cluster.object_groups);
    let asked = tokio::join!(reports, usage, tickets, learn_root_leader(core));
    let (reports, usage, tickets, ()) = asked;
    let mut said: BTreeMap<NodeId, (String, Vec<String>)> = BTreeMap::new();
    let mut drives: BTreeMap<NodeId, Option<Vec<DriveReport>>> = BTreeMap::new();
    let mut heard = Vec::new();
    for (node, report) in reports {
        let report = report.map(|report| {
            heard.extend(report.gateways);
            said.insert(node, (report.metrics_address, report.not_ready));
            report.drives
        });
        drives.insert(node, report);
    }
    let standing = match core.standing() {
        own if own.index == view.index => own,
        _ => Arc::new(Standing::of(&view)),
    };
    let facts = Facts::new(&view, &drives, usage, |node| core.drives.is_up(node))
        .with_work(&standing, tickets);
    let nodes = members(&view)
        .map(|node| {
            let report = drives.get(&node.node).and_then(Option::as_ref);
            let (metrics_address, not_ready) = said.remove(&node.node).unwrap_or_default();
            v1::NodeStatus {
                slots: standing.slots.get(&node.node).copied().unwrap_or(0),
                metrics_address,
                not_ready,
                ..node_status(node, report, core)
            }
        })
        .collect();
    let groups = view
        .groups
        .values()
        .map(|group| group_status(core, &view, group))
        .collect();
    let mut redundancy = facts.redundancy();
    if may_be_old {
        redundancy.fully_redundant = false;
        redundancy.under_way.push(MAY_BE_OLD.to_owned());
    }
    Ok(v1::GetClusterStatusResponse {
        cluster_id: cluster.cluster.to_string(),
        cluster_name: cluster.name.clone(),
        nodes,
        groups,
        redundancy: Some(redundancy),
        default_profile: cluster
            .default_profile
            .map(|profile| profile.to_string())
            .unwrap_or_default(),
        answered_by: core.name.clone(),
        moves_under_way: standing.moving,
        placement_groups_to_move: standing.to_move,
        work: Some(condition::of_work(&core.health())),
        layout_epoch: view.layout.epoch,
        rebalancing: view.layout.rebalance > 0,
        gateways: gateways(heard),
        last_backup: view.upkeep.backup.map(admin::backup::note),
    })
}

/// Each gateway once, as the node says that heard it last.
fn gateways(mut heard: Vec<HeardGateway>) -> Vec<v1::GatewayStatus> {
    heard.sort_by_cached_key(|g| (g.name.clone(), g.public_key.clone(), g.heard_ms_ago));
    heard.dedup_by(|next, kept| next.public_key == kept.public_key);
    let status = |heard: HeardGateway| {
        let note = heard.note.unwrap_or_default();
        v1::GatewayStatus {
            name: heard.name,
            version: note.version,
            api_address: note.api_address,
            metrics_address: note.metrics_address,
            heard_ms_ago: heard.heard_ms_ago,
            not_ready: note.not_ready,
        }
    };
    heard.into_iter().map(status).collect()
}

/// The nodes that belong to the cluster, by id.
pub(crate) fn members(view: &ClusterView) -> impl Iterator<Item = &NodeRecord> {
    view.nodes
        .values()
        .filter(|node| node.state == NodeState::Active)
}

async fn report(core: &Core, node: &NodeRecord) -> (NodeId, Option<NodeReport>) {
    if !core.drives.is_up(node.node) {
        return (node.node, None);
    }
    let report = core.drives.report(node.node, REPORT_TIME).await;
    (node.node, report.ok())
}

/// The counters of all buckets in all groups; nothing where a group does not answer. Asked of the
/// leaders, which is also how this server learns who leads the groups that it has no replica of.
async fn usage(core: &Core, object_groups: u16) -> Option<Usage> {
    let asked = (1..=object_groups).map(|number| async move {
        let group = GroupId(number);
        let query = ObjectQuery::Usage { bucket: None };
        let answer = tokio::time::timeout(REPORT_TIME, core.ask(group, &query, true)).await;
        match answer {
            Ok(Ok(ObjectAnswer::Usage(usage))) => Some(usage),
            Ok(Ok(_)) => {
                tracing::warn!(error = %GroupError::Kind(group), "a group's usage is not known");
                None
            }
            Ok(Err(_)) | Err(_) => None,
        }
    });
    let all: Option<Vec<Usage>> = join_all(asked).await.into_iter().collect();
    Some(all?.into_iter().fold(Usage::default(), Usage::plus))
}

/// Extents of all groups that wait for repair or for their place, and those that wait to be encoded
/// anew; nothing where a group does not answer.
async fn tickets(core: &Core, object_groups: u16) -> Option<(u64, u64)> {
    let asked = (1..=object_groups).map(|number| async move {
        let asked = core.ask(GroupId(number), &ObjectQuery::Status, true);
        match tokio::time::timeout(REPORT_TIME, asked).await {
            Ok(Ok(ObjectAnswer::Status(counters))) => {
                Some((counters.tickets, counters.reencodings))
            }
            _ => None,
        }
    });
    let all: Option<Vec<(u64, u64)>> = join_all(asked).await.into_iter().collect();
    let sum = |a: (u64, u64), b: (u64, u64)| (a.0 + b.0, a.1 + b.1);
    Some(all?.into_iter().fold((0, 0), sum))
}

/// A gateway without drives follows the root group through any server, so it learns who leads it only
/// by asking. The answer itself is not needed.
async fn learn_root_leader(core: &Core) {
    if core.groups.leader(GroupId::ROOT).is_none() {
        let asked = core
            .groups
            .query(GroupId::ROOT, Bytes::new(), true, REPORT_TIME);
        if let Err(error) = asked.await {
            tracing::debug!(%error, "the leader of the root group is not known");
        }
    }
}

fn node_status(
    node: &NodeRecord,
    report: Option<&Vec<DriveReport>>,
    core: &Core,
) -> v1::NodeStatus {
    let drives = node
        .present_drives()
        .map(|drive| {
            let known = report.map(|all| all.iter().find(|one| one.drive == drive.drive));
            drive_status(drive, known)
        })
        .collect();
    let state = if core.drives.is_up(node.node) {
        v1::NodeState::Up
    } else {
        v1::NodeState::Away
    };
    v1::NodeStatus {
        node_id: node.node.0,
        name: node.name.clone(),
        zone: node.zone.clone(),
        state: state.into(),
        api_address: node.api_addr.clone(),
        mesh_address: node.mesh_addr.clone(),
        drives,
        duty: admin::to_wire(node.duty).into(),
        condition: Some(condition::of_node(node, &core.health())),
        ..v1::NodeStatus::default()
    }
}

/// What is known of a drive: nothing, or that its node is without it, or what it said.
fn drive_status(held: &DriveRecord, known: Option<Option<&DriveReport>>) -> v1::DriveStatus {
    let state = match known {
        None => v1::DriveState::Unspecified,
        Some(_) => v1::DriveState::Away,
    };
    let Some(known) = known.flatten() else {
        return v1::DriveStatus {
            drive_id: held.drive.0,
            state: state.into(),
            duty: drive_duty(held.duty).into(),
            ..v1::DriveStatus::default()
        };
    };
    let state = match known.health {
        DriveHealth::Active => v1::DriveState::Active,
        DriveHealth::Full => v1::DriveState::Full,
        DriveHealth::Retired => v1::DriveState::Retired,
    };
    v1::DriveStatus {
        drive_id: held.drive.0,
        duty: drive_duty(held.duty).into(),
        state: state.into(),
        capacity_bytes: known.capacity,
        free_bytes: known.free,
        record_bytes: known.record_bytes,
    }
}

/// The node of a replica; past replicas belong to no one.
fn node_of(view: &ClusterView, replica: ReplicaId) -> Option<NodeId> {
    view.nodes
        .values()
        .find(|node| node.replica == Some(replica))
        .map(|node| node.node)
}

fn group_status(core: &Core, view: &ClusterView, group: &GroupRecord) -> v1::GroupStatus {
    let voters: Vec<NodeId> = group
        .voters
        .iter()
        .filter_map(|replica| node_of(view, *replica))
        .collect();
    let up = voters
        .iter()
        .filter(|node| core.drives.is_up(**node))
        .count();
    let leader = core
        .groups
        .leader(group.group)
        .and_then(|replica| node_of(view, replica))
        .filter(|node| core.drives.is_up(*node));
    v1::GroupStatus {
        group: u32::from(group.group.0),
        leader_node_id: leader.map_or(0, |node| node.0),
        voter_node_ids: voters.iter().map(|node| node.0).collect(),
        voters_up: u32::try_from(up).unwrap_or(u32::MAX),
    }
}
