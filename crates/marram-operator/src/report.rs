//! What is said of a cluster: the status, and the conditions in it. A condition always has a sentence, and its
//! time changes only when what it says changes.

mod conditions;
mod requests;

use marram_client::{ClusterStatus, NodeStatus};

use crate::api::{
    Capacity, ClusterPhase, MarramClusterStatus, Member, OperationKind, Phase, RedundancyStatus,
};
use crate::step::Hold;
use crate::view::{View, is_up};

pub use requests::request;

/// The status to write: what was seen, with what stands against more. The operation and what was decided
/// before stay as they are in the view.
#[must_use]
pub fn report(view: &View, generation: Option<i64>, hold: Option<&Hold>) -> MarramClusterStatus {
    let mut status = view.status.clone();
    status.observed_generation = generation;
    status.nodes = view.set.as_ref().map(|set| set.replicas).or(status.nodes);
    status.selector = view.names.selector_text();
    status.version = version(view);
    if let Ok(cluster) = &view.cluster {
        seen(view, &cluster.status, &mut status);
    } else {
        status.ready_nodes = 0;
    }
    let ready = conditions::ready(view, &status, hold);
    status.phase = Some(phase(view, &status, hold));
    status.message = conditions::sentence(view, &status, hold);
    let now = conditions::all(view, &status, hold, ready);
    status.conditions = conditions::merge(&view.status.conditions, now, generation, view.now);
    status
}

fn seen(view: &View, cluster: &ClusterStatus, status: &mut MarramClusterStatus) {
    let up = cluster.nodes.iter().filter(|node| is_up(node)).count();
    status.ready_nodes = whole(up as u64);
    status.members = cluster.nodes.iter().take(256).map(member).collect();
    let drives = || cluster.nodes.iter().flat_map(|node| &node.drives);
    let total: u64 = drives().map(|drive| drive.capacity_bytes).sum();
    let free: u64 = drives().map(|drive| drive.free_bytes).sum();
    let used = total.saturating_sub(free);
    let share = (used * 100).checked_div(total).unwrap_or(0);
    status.capacity = Some(Capacity {
        total_bytes: i64::try_from(total).unwrap_or(i64::MAX),
        used_bytes: i64::try_from(used).unwrap_or(i64::MAX),
        used: format!("{share}%"),
    });
    status.redundancy = cluster.redundancy.as_ref().map(|said| {
        let before = view.status.redundancy.as_ref().and_then(|r| r.since);
        RedundancyStatus {
            fully_redundant: said.fully_redundant,
            tolerated_losses: said.tolerated_losses,
            writable: said.writable,
            repairs_waiting: said.repairs_waiting.and_then(|n| i64::try_from(n).ok()),
            moves_to_go: i64::try_from(cluster.placement_groups_to_move).unwrap_or(i64::MAX),
            since: said.fully_redundant.then(|| before.unwrap_or(view.now)),
        }
    });
}

fn whole(number: u64) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

fn member(node: &NodeStatus) -> Member {
    Member {
        name: node.name.clone(),
        node_id: node.node_id.to_string(),
        zone: node.zone.clone(),
        health: format!("{:?}", node.condition.health).to_lowercase(),
        duty: format!("{:?}", node.duty).to_lowercase(),
        slots: i64::try_from(node.slots).unwrap_or(i64::MAX),
    }
}

/// The tag of the image, or the tags that there are while pods differ.
fn version(view: &View) -> String {
    let tag = |image: &str| {
        let last = image.rsplit('/').next().unwrap_or(image);
        let tag = last
            .rsplit_once([':', '@'])
            .map_or("latest", |(_, tag)| tag);
        tag.chars().take(64).collect::<String>()
    };
    let mut tags: Vec<String> = view.pods.values().map(|pod| tag(&pod.image)).collect();
    tags.sort();
    tags.dedup();
    tags.truncate(3);
    tags.join(",")
}

fn phase(view: &View, status: &MarramClusterStatus, hold: Option<&Hold>) -> ClusterPhase {
    if view.spec.paused {
        return ClusterPhase::Paused;
    }
    if hold.is_some_and(|hold| matches!(hold.condition, "Stalled" | "DataLossRisk")) {
        return ClusterPhase::Stalled;
    }
    let creating = status
        .operation
        .as_ref()
        .is_some_and(|op| op.kind == OperationKind::Create);
    if status.cluster_id.is_none() || creating {
        return ClusterPhase::Creating;
    }
    match conditions::sleeps(status) {
        Some(Phase::Asleep) => return ClusterPhase::Hibernated,
        Some(_) => return ClusterPhase::Changing,
        None => {}
    }
    let Some(redundancy) = status.redundancy.as_ref().filter(|_| view.cluster.is_ok()) else {
        return ClusterPhase::Unavailable;
    };
    if !redundancy.writable || redundancy.tolerated_losses < 0 {
        return ClusterPhase::Unavailable;
    }
    if status.operation.is_some() {
        return ClusterPhase::Changing;
    }
    let all = status
        .nodes
        .is_some_and(|nodes| status.ready_nodes >= nodes);
    match redundancy.fully_redundant && all && status.upgrade.is_none() {
        true => ClusterPhase::Ready,
        false => ClusterPhase::Degraded,
    }
}

#[cfg(test)]
mod tests;
