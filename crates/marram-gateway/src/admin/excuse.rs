//! Nodes that are excused for a while, and leaderships that are handed to others.

use std::collections::BTreeSet;
use std::time::Duration;

use marram_meta::{ClusterView, NodeRecord, NodeState, Pause, RootCommand};
use marram_proto::v1;
use marram_types::NodeId;
use marram_types::caps::PAUSE_MS_MAX;

use super::{AdminError, decide, member, until_seen};
use crate::core::Core;
use crate::validate::InvalidField;

/// How long a node may take to hand its leaderships over.
const HAND_OVER_TIME: Duration = Duration::from_secs(5);

fn wrong(field: &'static str, rule: &'static str) -> AdminError {
    InvalidField::Wrong { field, rule }.into()
}

fn time(field: &'static str, ms: u64) -> Result<u64, AdminError> {
    match ms {
        1..=PAUSE_MS_MAX => Ok(ms),
        _ => Err(wrong(field, "it must be from a millisecond to a week")),
    }
}

/// The nodes that are named, and those of the zone.
fn named<'v>(
    view: &'v ClusterView,
    names: &[String],
    zone: &str,
) -> Result<Vec<&'v NodeRecord>, AdminError> {
    let mut ids: BTreeSet<NodeId> = BTreeSet::new();
    for name in names {
        ids.insert(member(view, name)?.node);
    }
    let active = view.nodes.values();
    let active = active.filter(|node| node.state == NodeState::Active);
    if !zone.is_empty() {
        let before = ids.len();
        let of_zone = active.filter(|node| node.zone == zone);
        ids.extend(of_zone.map(|node| node.node));
        if ids.len() == before && names.is_empty() {
            return Err(AdminError::NoZone(zone.to_owned()));
        }
    }
    if ids.is_empty() {
        return Err(wrong("nodes", "name a node or a zone"));
    }
    Ok(ids.iter().filter_map(|id| view.nodes.get(id)).collect())
}

/// Excuses nodes, or no longer.
pub(crate) async fn maintenance(
    core: &Core,
    request: v1::SetMaintenanceRequest,
) -> Result<v1::SetMaintenanceResponse, AdminError> {
    let ttl_ms = match request.end {
        true => 0,
        false => time("ttl_ms", request.ttl_ms)?,
    };
    let view = core.fresh_view().await?;
    let nodes = named(&view, &request.nodes, &request.zone)?;
    let ids: Vec<NodeId> = nodes.iter().map(|node| node.node).collect();
    let names: Vec<&str> = nodes.iter().map(|node| node.name.as_str()).collect();
    let names = names.join(", ");
    let pause = Pause::Maintenance;
    if request.end {
        for node in &nodes {
            let command = RootCommand::EndPause {
                node: node.node,
                pause,
                only: None,
            };
            decide(core, &node.name, &command).await?;
        }
    } else {
        let command = RootCommand::Pause {
            nodes: ids.clone(),
            pause,
            ttl_ms,
        };
        decide(core, &names, &command).await?;
    }
    let after = core.fresh_view().await?;
    until_seen(core, |view| view.index >= after.index).await;
    tracing::info!(target: "admin", %names, ttl_ms, end = request.end, "maintenance");
    let nodes = ids.iter().filter_map(|id| after.nodes.get(id));
    let nodes = nodes.map(|node| v1::MaintenanceNode {
        node_id: node.node.0,
        name: node.name.clone(),
        until_ms: node.absence.maintenance_until_ms.unwrap_or(0),
    });
    Ok(v1::SetMaintenanceResponse {
        nodes: nodes.collect(),
    })
}

/// Hands the leaderships of a node to others, and keeps them from it for a while.
pub(crate) async fn transfer_leader(
    core: &Core,
    request: v1::TransferLeaderRequest,
) -> Result<v1::TransferLeaderResponse, AdminError> {
    let hold_ms = time("hold_ms", request.hold_ms)?;
    let view = core.fresh_view().await?;
    let record = member(&view, &request.node)?;
    let (node, name) = (record.node, record.name.clone());
    let command = RootCommand::Pause {
        nodes: vec![node],
        pause: Pause::Leading,
        ttl_ms: hold_ms,
    };
    decide(core, &name, &command).await?;
    let done = core.nodes.hand_over(node, HAND_OVER_TIME).await;
    let done = done.map_err(|error| AdminError::NotHanded {
        name: name.clone(),
        error,
    })?;
    let numbers = |groups: Vec<marram_types::GroupId>| {
        let numbers = groups.into_iter().map(|group| u32::from(group.0));
        numbers.collect::<Vec<_>>()
    };
    let answer = v1::TransferLeaderResponse {
        node_id: node.0,
        name,
        handed: numbers(done.handed),
        kept: numbers(done.kept),
    };
    tracing::info!(target: "admin", node = node.0, handed = ?answer.handed, kept = ?answer.kept, "leaderships handed over");
    Ok(answer)
}
