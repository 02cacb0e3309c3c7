//! `marram admin status`.

use marram_client::{ClusterStatus, DriveState, DriveStatus, GroupStatus, NodeState, NodeStatus};

use crate::commands::Context;
use crate::failure::Failure;
use crate::output::{Output, printable};
use crate::units::size;

/// Says how the cluster is, and what that means for the data.
pub(super) async fn status(context: &Context<'_>) -> Result<(), Failure> {
    let status = context
        .client()?
        .cluster_status()
        .await
        .map_err(Failure::at("cluster"))?;
    if context.output.json {
        return context.output.value(&status);
    }
    print(&context.output, &status)
}

fn print(output: &Output, status: &ClusterStatus) -> Result<(), Failure> {
    output.line(&format!(
        "cluster {} ({}), default profile {}, as seen by {}",
        printable(&status.cluster_name),
        status.cluster_id,
        status.default_profile,
        printable(&status.answered_by)
    ))?;
    output.line("")?;
    let heads = ("id", "node", "zone", "state", "api", "drives");
    let (id, name, zone, state, api, drives) = heads;
    output.line(&format!(
        "{id:>6}  {name:<12} {zone:<10} {state:<7} {api:<21} {drives}"
    ))?;
    for node in &status.nodes {
        output.line(&node_line(node))?;
    }
    output.line("")?;
    for group in &status.groups {
        output.line(&group_line(group, &status.nodes))?;
    }
    let Some(redundancy) = &status.redundancy else {
        return Ok(());
    };
    output.line("")?;
    redundancy
        .sentences
        .iter()
        .try_for_each(|sentence| output.line(&printable(sentence)))
}

fn node_line(node: &NodeStatus) -> String {
    let state = match node.state {
        NodeState::Up => "up",
        NodeState::Away => "AWAY",
        NodeState::Unknown => "?",
    };
    let drives: Vec<String> = node.drives.iter().map(drive_text).collect();
    format!(
        "{:>6}  {:<12} {:<10} {state:<7} {:<21} {}",
        node.node_id,
        printable(&node.name),
        printable(&node.zone),
        printable(&node.api_address),
        drives.join("; ")
    )
}

fn drive_text(drive: &DriveStatus) -> String {
    let state = match drive.state {
        DriveState::Active => "",
        DriveState::Full => " FULL",
        DriveState::Retired => " RETIRED",
        DriveState::Unknown => return format!("{} unknown", drive.drive_id),
    };
    format!(
        "{}{state} {} of {} free, records {}",
        drive.drive_id,
        size(drive.free_bytes),
        size(drive.capacity_bytes),
        size(drive.record_bytes)
    )
}

fn group_line(group: &GroupStatus, nodes: &[NodeStatus]) -> String {
    let name = |id: u64| {
        nodes
            .iter()
            .find(|node| node.node_id == id)
            .map_or_else(|| id.to_string(), |node| printable(&node.name))
    };
    let title = match group.group {
        0 => "root group".to_owned(),
        number => format!("group {number}"),
    };
    let leader = group.leader_node_id.map_or_else(
        || "NO LEADER".to_owned(),
        |id| format!("led by {}", name(id)),
    );
    let voters: Vec<String> = group.voter_node_ids.iter().map(|id| name(*id)).collect();
    format!(
        "{title:<11} {leader:<20} {} of {} voters up: {}",
        group.voters_up,
        voters.len(),
        voters.join(", ")
    )
}
