//! `marram admin status`.

use std::collections::BTreeMap;

use marram_client::{
    ClusterStatus, DriveState, DriveStatus, GroupStatus, NodeHealth, NodeState, NodeStatus,
    WorkStatus,
};

use super::nodes;
use crate::cli::StatusArgs;
use crate::commands::Context;
use crate::failure::Failure;
use crate::output::{Output, printable};
use crate::units::{date, size};

/// Says how the cluster is, and what that means for the data.
pub(super) async fn run(context: &Context<'_>, args: StatusArgs) -> Result<(), Failure> {
    let client = context.client()?;
    if !args.watch {
        let status = client.cluster_status().await;
        return say(&context.output, &status.map_err(Failure::at("cluster"))?);
    }
    loop {
        let watch = client.watch_cluster_status().await;
        let mut watch = watch.map_err(Failure::at("cluster"))?;
        // A server that stops, or a broken connection, is no reason to stop watching: another server
        // is asked, and what cannot be reached at all ends the command above.
        while let Ok(Some(status)) = watch.next().await {
            say(&context.output, &status)?;
            if !context.output.json {
                context.output.line("")?;
            }
            context.output.flush()?;
        }
    }
}

fn say(output: &Output, status: &ClusterStatus) -> Result<(), Failure> {
    if output.json {
        return output.value(status);
    }
    print(output, status)
}

fn print(output: &Output, status: &ClusterStatus) -> Result<(), Failure> {
    output.line(&format!(
        "cluster {} ({}), default profile {}, as seen by {}",
        printable(&status.cluster_name),
        status.cluster_id,
        status.default_profile,
        printable(&status.answered_by)
    ))?;
    let rebalancing = if status.rebalancing {
        ", rebalancing"
    } else {
        ""
    };
    let epoch = status.layout_epoch;
    output.line(&format!("layout epoch {epoch}{rebalancing}"))?;
    output.line("")?;
    let heads = ("id", "node", "zone", "state", "duty", "slots", "fill");
    let (id, name, zone, state, duty, slots, fill) = heads;
    let (api, drives) = ("api", "drives");
    output.line(&format!(
        "{id:>6}  {name:<12} {zone:<10} {state:<12} {duty:<9} {slots:>6} {fill:>5}  {api:<21} {drives}"
    ))?;
    for node in &status.nodes {
        output.line(&node_line(node))?;
    }
    zone_lines(status)
        .iter()
        .try_for_each(|line| output.line(line))?;
    output.line("")?;
    for group in &status.groups {
        output.line(&group_line(group, &status.nodes))?;
    }
    let Some(redundancy) = &status.redundancy else {
        return Ok(());
    };
    output.line("")?;
    let absences = status.nodes.iter().filter_map(absence);
    let work = status.work.as_ref().map(work_lines).unwrap_or_default();
    let sentences = redundancy.sentences.iter().chain(&redundancy.under_way);
    let lines = sentences.map(|sentence| printable(sentence));
    lines
        .chain(absences)
        .chain(work)
        .try_for_each(|sentence| output.line(&sentence))?;
    if redundancy.fully_redundant {
        output.line("Every object has all of its shards where they belong.")?;
    }
    Ok(())
}

/// A time for people, in its two largest units.
fn time(ms: u64) -> String {
    let s = ms / 1000;
    match s {
        0..60 => format!("{s}s"),
        60..3600 => format!("{}m{:02}s", s / 60, s % 60),
        3600..86_400 => format!("{}h{:02}m", s / 3600, s / 60 % 60),
        _ => format!("{}d{:02}h", s / 86_400, s / 3600 % 24),
    }
}

/// How the node is: by the word of its peers, else as the server that answers sees it.
fn state(node: &NodeStatus) -> String {
    let since = || time(node.condition.health_for_ms);
    match (node.condition.health, node.state) {
        (NodeHealth::Dead, _) => format!("DEAD {}", since()),
        (NodeHealth::Suspect, _) => format!("suspect {}", since()),
        (NodeHealth::Slow, _) => format!("slow {}x", node.condition.slowness_permille / 1000),
        (_, NodeState::Up) => "up".to_owned(),
        (_, NodeState::Away) => "AWAY".to_owned(),
        (_, NodeState::Unknown) => "?".to_owned(),
    }
}

/// Used and all bytes of drives that are known.
fn fill<'a>(drives: impl Iterator<Item = &'a DriveStatus>) -> (u64, u64) {
    drives.fold((0, 0), |(used, all), drive| {
        let taken = drive.capacity_bytes.saturating_sub(drive.free_bytes);
        (used + taken, all + drive.capacity_bytes)
    })
}

fn percent((used, all): (u64, u64)) -> String {
    match all {
        0 => "-".to_owned(),
        all => format!("{}%", u128::from(used) * 100 / u128::from(all)),
    }
}

fn node_line(node: &NodeStatus) -> String {
    let drives: Vec<String> = node.drives.iter().map(drive_text).collect();
    format!(
        "{:>6}  {:<12} {:<10} {:<12} {:<9} {:>6} {:>5}  {:<21} {}",
        node.node_id,
        printable(&node.name),
        printable(&node.zone),
        state(node),
        nodes::duty_text(node.duty),
        node.slots,
        percent(fill(node.drives.iter())),
        printable(&node.api_address),
        drives.join("; ")
    )
}

/// A line for each zone, where there are several.
fn zone_lines(status: &ClusterStatus) -> Vec<String> {
    let mut zones: BTreeMap<&str, Vec<&NodeStatus>> = BTreeMap::new();
    for node in &status.nodes {
        zones.entry(&node.zone).or_default().push(node);
    }
    if zones.len() < 2 {
        return Vec::new();
    }
    let line = |(zone, nodes): (&str, Vec<&NodeStatus>)| {
        let up = nodes.iter().filter(|n| n.state == NodeState::Up).count();
        let (used, all) = fill(nodes.iter().flat_map(|node| &node.drives));
        format!(
            "zone {}: {up} of {} nodes up, {} of {} used ({})",
            printable(zone),
            nodes.len(),
            size(used),
            size(all),
            percent((used, all))
        )
    };
    zones.into_iter().map(line).collect()
}

/// What an operator, or the cluster, has decided about a node for a while.
fn absence(node: &NodeStatus) -> Option<String> {
    let at = |ms: Option<u64>| ms.and_then(|ms| i64::try_from(ms).ok()).map(date);
    let name = printable(&node.name);
    let condition = &node.condition;
    if let Some(until) = at(condition.maintenance_until_ms) {
        return Some(format!("{name} is in maintenance until {until} UTC."));
    }
    if let Some(until) = at(condition.leads_not_until_ms) {
        return Some(format!("{name} leads nothing until {until} UTC."));
    }
    let since = at(condition.given_up_at_ms)?;
    let what = match condition.rebuilt_elsewhere {
        true => "its votes and shards go to others",
        false => "its votes go to others",
    };
    Some(format!(
        "{name} is given up since {since} UTC: {what} until it returns."
    ))
}

fn work_lines(work: &WorkStatus) -> Vec<String> {
    let mut lines: Vec<String> = work.notes.iter().map(|note| printable(note)).collect();
    if work.moves_under_way + work.moves_to_go > 0 {
        let left = work.left_ms.map_or_else(
            || "time left not known yet".to_owned(),
            |ms| format!("about {} left", time(ms)),
        );
        let waiting = match work.moves_waiting {
            0 => String::new(),
            waiting => format!(" ({waiting} wait)"),
        };
        lines.push(format!(
            "Moving for {}: {} placement groups under way{waiting}, {} to go, {} written, {left}.",
            time(work.for_ms),
            work.moves_under_way,
            work.moves_to_go,
            size(work.written_bytes)
        ));
    }
    lines
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_at_a_glance() {
        let said = [900, 59_000, 61_000, 3_600_000, 90_000_000].map(time);
        assert_eq!(said, ["0s", "59s", "1m01s", "1h00m", "1d01h"]);
    }

    #[test]
    fn work_says_how_long_it_takes() {
        let work = WorkStatus {
            moves_under_way: 2,
            moves_to_go: 3,
            for_ms: 61_000,
            left_ms: Some(10_000),
            notes: vec!["Add a node.".to_owned()],
            ..WorkStatus::default()
        };
        let lines = work_lines(&work);
        assert_eq!(lines[0], "Add a node.");
        let moving =
            "Moving for 1m01s: 2 placement groups under way, 3 to go, 0 B written, about 10s left.";
        assert_eq!(lines[1], moving);
        assert!(work_lines(&WorkStatus::default()).is_empty());
    }
}
