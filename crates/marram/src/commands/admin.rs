//! `marram admin`: the status here, what changes nodes in a file of its own.

mod audit;
mod backup;
mod balance;
mod drives;
mod identity;
mod nodes;
mod profile;
mod scrub;

use marram_client::{ClusterStatus, DriveState, DriveStatus, GroupStatus, NodeState, NodeStatus};

use crate::cli::{AdminCommand, BucketCommand, LayoutCommand};
use crate::commands::Context;
use crate::failure::Failure;
use crate::output::{Output, printable};
use crate::units::size;

/// Runs a command of operators.
pub(super) async fn run(context: &Context<'_>, command: AdminCommand) -> Result<(), Failure> {
    match command {
        AdminCommand::Status => status(context).await,
        AdminCommand::Cordon(args) => nodes::cordon(context, args).await,
        AdminCommand::Uncordon(args) => nodes::uncordon(context, args).await,
        AdminCommand::Drain(args) => nodes::drain(context, args).await,
        AdminCommand::Fence(args) => nodes::fence(context, args).await,
        AdminCommand::Remove(args) => nodes::remove(context, args).await,
        AdminCommand::Rebalance(args) => balance::rebalance(context, args).await,
        AdminCommand::Compare => balance::compare(context).await,
        AdminCommand::Bucket(BucketCommand::SetProfile(args)) => profile::set(context, args).await,
        AdminCommand::Bucket(BucketCommand::Profile(args)) => profile::show(context, args).await,
        AdminCommand::Layout(LayoutCommand::Plan(args)) => nodes::plan(context, args).await,
        AdminCommand::Audit(args) => audit::run(context, args).await,
        AdminCommand::Backup(command) => backup::run(context, command).await,
        AdminCommand::FinalizeVersion => backup::finalize(context).await,
        AdminCommand::Token(command) => identity::token(context, command).await,
        AdminCommand::Ca(command) => identity::ca(context, command).await,
        AdminCommand::ReloadTls(args) => identity::reload_tls(context, args).await,
        AdminCommand::Gateway(command) => identity::gateway(context, command).await,
        AdminCommand::Scrub(args) => scrub::run(context, args).await,
        AdminCommand::Gc(command) => scrub::gc(context, command).await,
        AdminCommand::Drive(command) => drives::run(context, command).await,
    }
}

/// Says how the cluster is, and what that means for the data.
async fn status(context: &Context<'_>) -> Result<(), Failure> {
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
    output.line(&format!(
        "layout epoch {}{}",
        status.layout_epoch,
        if status.rebalancing {
            ", rebalancing"
        } else {
            ""
        }
    ))?;
    output.line("")?;
    let heads = ("id", "node", "zone", "state", "duty", "slots");
    let (id, name, zone, state, duty, slots) = heads;
    let (api, drives) = ("api", "drives");
    output.line(&format!(
        "{id:>6}  {name:<12} {zone:<10} {state:<7} {duty:<9} {slots:>6}  {api:<21} {drives}"
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
        .chain(&redundancy.under_way)
        .try_for_each(|sentence| output.line(&printable(sentence)))?;
    if redundancy.fully_redundant {
        output.line("Every object has all of its shards where they belong.")?;
    }
    Ok(())
}

fn node_line(node: &NodeStatus) -> String {
    let state = match node.state {
        NodeState::Up => "up",
        NodeState::Away => "AWAY",
        NodeState::Unknown => "?",
    };
    let drives: Vec<String> = node.drives.iter().map(drive_text).collect();
    format!(
        "{:>6}  {:<12} {:<10} {state:<7} {:<9} {:>6}  {:<21} {}",
        node.node_id,
        printable(&node.name),
        printable(&node.zone),
        nodes::duty_text(node.duty),
        node.slots,
        printable(&node.api_address),
        drives.join("; ")
    )
}

fn drive_text(drive: &DriveStatus) -> String {
    let state = match drive.state {
        DriveState::Active => "",
        DriveState::Full => " FULL",
        DriveState::Retired => " RETIRED",
        DriveState::Away => return format!("{} AWAY", drive.drive_id),
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
