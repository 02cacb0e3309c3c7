//! `marram admin status`.

use std::collections::BTreeMap;

use marram_client::{
    ClusterStatus, DriveState, DriveStatus, GatewayStatus, GroupStatus, NodeHealth, NodeState,
    NodeStatus, WorkStatus,
};

use super::nodes;
use crate::cli::StatusArgs;
use crate::commands::Context;
use crate::failure::Failure;
use crate::output::{Output, Paint, printable};
use crate::units::{date, size};

/// Says how the cluster is, and what that means for the data.
pub(super) async fn run(context: &Context<'_>, args: StatusArgs) -> Result<(), Failure> {
    let client = context.client()?;
    if !args.watch {
        let status = client.cluster_status().await;
        return say(
            &context.output,
            &status.map_err(Failure::at("cluster"))?,
            &args,
        );
    }
    loop {
        let watch = client.watch_cluster_status().await;
        let mut watch = watch.map_err(Failure::at("cluster"))?;
        // A server that stops, or a broken connection, is no reason to stop watching: another server
        // is asked, and what cannot be reached at all ends the command above.
        while let Ok(Some(status)) = watch.next().await {
            say(&context.output, &status, &args)?;
            if !context.output.json {
                context.output.line("")?;
            }
            context.output.flush()?;
        }
    }
}

fn say(output: &Output, status: &ClusterStatus, args: &StatusArgs) -> Result<(), Failure> {
    if output.json {
        return output.value(status);
    }
    lines(status, args.groups, output.paint())
        .iter()
        .try_for_each(|line| output.line(line))
}

/// One screen: what the state means for the data, why, and then what the cluster is made of.
fn lines(status: &ClusterStatus, every_group: bool, paint: Paint) -> Vec<String> {
    let mut lines = vec![verdict(status, paint)];
    lines.extend(
        reasons(status)
            .into_iter()
            .map(|reason| format!("  {reason}")),
    );
    lines.push(String::new());
    let heads = ("id", "node", "zone", "state", "duty", "slots", "fill");
    let (id, name, zone, state, duty, slots, fill) = heads;
    let (api, drives) = ("api", "drives");
    lines.push(paint.quiet(&format!(
        "{id:>6}  {name:<12} {zone:<10} {state:<12} {duty:<9} {slots:>6} {fill:>5}  {api:<21} {drives}"
    )));
    lines.extend(status.nodes.iter().map(|node| node_line(node, paint)));
    lines.extend(zone_lines(status));
    lines.extend(status.gateways.iter().map(|one| gateway_line(one, paint)));
    lines.push(String::new());
    lines.extend(group_lines(status, every_group, paint));
    let rebalancing = if status.rebalancing {
        ", rebalancing"
    } else {
        ""
    };
    lines.push(paint.quiet(&format!(
        "cluster {} ({}), default profile {}, layout epoch {}{rebalancing}, as seen by {}",
        printable(&status.cluster_name),
        status.cluster_id,
        status.default_profile,
        status.layout_epoch,
        printable(&status.answered_by)
    )));
    lines.push(paint.quiet(&backup_line(status)));
    lines
}

/// How old a way back is. Whether that is too old is for `doctor` to say.
fn backup_line(status: &ClusterStatus) -> String {
    let Some(backup) = &status.last_backup else {
        return "no backup of the metadata was told of".to_owned();
    };
    let at = |ms| date(i64::try_from(ms).unwrap_or(i64::MAX));
    format!(
        "last backup of the metadata made {} UTC ({}), what it names is kept until {} UTC",
        at(backup.made_ms),
        size(backup.bytes),
        at(backup.kept_until_ms)
    )
}

/// Whether the data is safe, in one line.
pub(super) fn verdict(status: &ClusterStatus, paint: Paint) -> String {
    let Some(known) = &status.redundancy else {
        return paint
            .critical("UNKNOWN: this server does not say what the state means for the data.");
    };
    let left = known.tolerated_losses;
    if left < 0 && status.groups.len() == 1 {
        return paint.warning(
            "BEING FOUNDED: the cluster takes objects when as many nodes have joined as are expected.",
        );
    }
    if left < 0 {
        return paint.critical(
            "DATA OUT OF REACH: some objects may not be readable until nodes that are away come back.",
        );
    }
    if !known.writable {
        return paint.critical("NOT WRITABLE: every object can be read, and none can be written.");
    }
    let away = status.nodes.iter().any(|node| node.state != NodeState::Up);
    let reduced = away || known.under_protected_versions > 0;
    let nodes = match left {
        1 => "any 1 node".to_owned(),
        any => format!("any {any} nodes"),
    };
    match (left, known.fully_redundant) {
        (0, true) => paint
            .warning("NOT REDUNDANT: every object is there, and could be lost with a single node."),
        (0, false) => {
            paint.critical("AT RISK: every object can be read, and no further node may be lost.")
        }
        (_, true) => paint.good(&format!(
            "SAFE: every object survives the loss of {nodes}, and all of it is where it belongs."
        )),
        (_, false) if reduced => paint.warning(&format!(
            "REDUCED: every object can be read, and survives the loss of {nodes} more."
        )),
        (_, false) => paint.good(&format!(
            "SAFE, AT WORK: every object survives the loss of {nodes}; some of it is on its way."
        )),
    }
}

/// Why, and what is done about it.
fn reasons(status: &ClusterStatus) -> Vec<String> {
    let known = status.redundancy.iter();
    let said = known.flat_map(|known| known.sentences.iter().chain(&known.under_way));
    let mut reasons: Vec<String> = said.map(|sentence| printable(sentence)).collect();
    reasons.extend(status.nodes.iter().filter_map(absence));
    reasons.extend(status.nodes.iter().filter_map(unready));
    reasons.extend(status.work.iter().flat_map(work_lines));
    reasons
}

/// Groups that have no leader or no majority, each on a line of its own, and the others on one or two;
/// or every group.
fn group_lines(status: &ClusterStatus, every_one: bool, paint: Paint) -> Vec<String> {
    let goes_on = |group: &&GroupStatus| {
        let majority = group.voter_node_ids.len() / 2 + 1;
        group.leader_node_id.is_some() && group.voters_up as usize >= majority
    };
    let is_whole = |group: &&GroupStatus| group.voters_up as usize == group.voter_node_ids.len();
    let mut lines = Vec::new();
    for group in &status.groups {
        let line = || group_line(group, &status.nodes);
        match (goes_on(&group), is_whole(&group)) {
            (false, _) => lines.push(paint.critical(&line())),
            (true, false) if every_one => lines.push(paint.warning(&line())),
            (true, true) if every_one => lines.push(line()),
            (true, _) => {}
        }
    }
    if every_one {
        return lines;
    }
    let going = || status.groups.iter().filter(goes_on);
    let lacking = going().filter(|group| !is_whole(group)).count();
    if lacking > 0 {
        let text = format!(
            "{lacking} of {} metadata groups lack voters",
            status.groups.len()
        );
        lines.push(paint.warning(&format!(
            "{text}, and go on with the others (--groups shows which)"
        )));
    }
    let led = status.nodes.iter().filter_map(|node| {
        let led = going().filter(|group| group.leader_node_id == Some(node.node_id));
        let led = led.count();
        (led > 0).then(|| format!("{} {led}", printable(&node.name)))
    });
    let led: Vec<String> = led.collect();
    if !led.is_empty() {
        let all = going().count();
        lines.push(format!(
            "{all} metadata groups are led by {}",
            led.join(", ")
        ));
    }
    lines
}

/// A time for people, in its two largest units.
pub(super) fn time(ms: u64) -> String {
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

fn node_line(node: &NodeStatus, paint: Paint) -> String {
    let line = format!(
        "{:>6}  {:<12} {:<10} {:<12} {:<9} {:>6} {:>5}  {:<21} {}",
        node.node_id,
        printable(&node.name),
        printable(&node.zone),
        state(node),
        nodes::duty_text(node.duty),
        node.slots,
        percent(fill(node.drives.iter())),
        printable(&node.api_address),
        drives_text(&node.drives)
    );
    let is_well = node.state == NodeState::Up
        && node.not_ready.is_empty()
        && matches!(node.condition.health, NodeHealth::Up | NodeHealth::Unknown)
        && node
            .drives
            .iter()
            .all(|drive| drive.state == DriveState::Active);
    match (is_well, node.state) {
        (true, _) => line,
        (false, NodeState::Up) => paint.warning(&line),
        (false, _) => paint.critical(&line),
    }
}

/// A gateway without drives: it has no id, no duty and nothing to fill.
fn gateway_line(gateway: &GatewayStatus, paint: Paint) -> String {
    let name = printable(&gateway.name);
    let at = printable(&gateway.api_address);
    let why: Vec<String> = gateway.not_ready.iter().map(|why| printable(why)).collect();
    match why.is_empty() {
        true => format!("gateway {name}: up, {at}"),
        false => paint.warning(&format!(
            "gateway {name}: NOT READY, {at}: {}",
            why.join("; ")
        )),
    }
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

/// Why a node that answers should get no clients.
fn unready(node: &NodeStatus) -> Option<String> {
    let why: Vec<String> = node.not_ready.iter().map(|why| printable(why)).collect();
    let name = printable(&node.name);
    (!why.is_empty()).then(|| format!("{name} is not ready for clients: {}.", why.join("; ")))
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
            "Moving for {}: {} placement groups under way{waiting}, {} to go, {} written, {}/s now, {left}.",
            time(work.for_ms),
            work.moves_under_way,
            work.moves_to_go,
            size(work.written_bytes),
            size(work.bytes_per_s)
        ));
    }
    lines
}

/// How many drives there are and what is free on them, and each that is not as it should be.
fn drives_text(drives: &[DriveStatus]) -> String {
    let odd = drives.iter().filter_map(|drive| {
        let state = match drive.state {
            DriveState::Active | DriveState::Unknown => return None,
            DriveState::Full => "FULL",
            DriveState::Retired => "RETIRED",
            DriveState::Away => "AWAY",
        };
        Some(format!("drive {} {state}", drive.drive_id))
    });
    let free = drives.iter().map(|drive| drive.free_bytes).sum();
    let all = drives.iter().map(|drive| drive.capacity_bytes).sum();
    let count = match drives.len() {
        1 => "1 drive".to_owned(),
        many => format!("{many} drives"),
    };
    let unheard = drives
        .iter()
        .any(|drive| drive.state == DriveState::Unknown);
    let known = match all {
        0 if unheard => format!("{count}, not heard from"),
        0 => count,
        all => format!("{count}, {} of {} free", size(free), size(all)),
    };
    std::iter::once(known)
        .chain(odd)
        .collect::<Vec<_>>()
        .join("; ")
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
    use marram_client::Redundancy;

    use super::*;

    fn status(tolerated_losses: i32, fully_redundant: bool) -> ClusterStatus {
        let known = Redundancy {
            tolerated_losses,
            writable: true,
            sentences: vec!["Because.".to_owned()],
            narrowed_versions: 0,
            under_protected_versions: 0,
            fully_redundant,
            under_way: Vec::new(),
            repairs_waiting: Some(0),
            reencodings_waiting: Some(0),
        };
        let group = |group| GroupStatus {
            group,
            leader_node_id: Some(1),
            voter_node_ids: vec![1, 2, 3],
            voters_up: 3,
        };
        ClusterStatus {
            cluster_id: "7".to_owned(),
            cluster_name: "tests".to_owned(),
            default_profile: "4+2".to_owned(),
            answered_by: "node-1".to_owned(),
            nodes: vec![node(NodeState::Up)],
            groups: vec![group(0), group(1)],
            redundancy: Some(known),
            moves_under_way: 0,
            placement_groups_to_move: 0,
            work: None,
            layout_epoch: 3,
            rebalancing: false,
            gateways: Vec::new(),
            last_backup: None,
        }
    }

    fn node(state: NodeState) -> NodeStatus {
        NodeStatus {
            node_id: 1,
            name: "node-1".to_owned(),
            zone: String::new(),
            state,
            api_address: "127.0.0.1:7070".to_owned(),
            mesh_address: String::new(),
            drives: Vec::new(),
            duty: marram_client::NodeDuty::Serving,
            slots: 1,
            metrics_address: String::new(),
            not_ready: Vec::new(),
            condition: marram_client::NodeCondition::default(),
        }
    }

    #[test]
    fn the_first_line_says_whether_the_data_is_safe() {
        let said = |status: &ClusterStatus| verdict(status, Paint::none());
        for (left, whole, word) in [
            (
                2,
                true,
                "SAFE: every object survives the loss of any 2 nodes, and",
            ),
            (
                1,
                false,
                "SAFE, AT WORK: every object survives the loss of any 1 node; some",
            ),
            (0, true, "NOT REDUNDANT"),
            (0, false, "AT RISK"),
            (-1, false, "DATA OUT OF REACH"),
        ] {
            assert!(
                said(&status(left, whole)).starts_with(word),
                "{left} {whole}"
            );
        }
        let mut founded = status(-1, false);
        founded.groups.truncate(1);
        assert!(said(&founded).starts_with("BEING FOUNDED"));
        let mut reduced = status(1, false);
        reduced.nodes.push(node(NodeState::Away));
        assert!(said(&reduced).starts_with("REDUCED"));
        let mut full = status(2, true);
        full.redundancy.as_mut().expect("there").writable = false;
        assert!(said(&full).starts_with("NOT WRITABLE"));
        full.redundancy = None;
        assert!(said(&full).starts_with("UNKNOWN"));
    }

    #[test]
    fn groups_that_are_whole_are_one_line() {
        let mut status = status(2, true);
        let said = group_lines(&status, false, Paint::none());
        assert_eq!(said, ["2 metadata groups are led by node-1 2"]);
        assert_eq!(group_lines(&status, true, Paint::none()).len(), 2);
        status.groups[0].voters_up = 2;
        let said = group_lines(&status, false, Paint::none());
        assert!(
            said[0].starts_with("1 of 2 metadata groups lack voters"),
            "{said:?}"
        );
        status.groups[1].leader_node_id = None;
        let said = group_lines(&status, false, Paint::none());
        assert!(said[0].contains("NO LEADER") && said.len() == 3, "{said:?}");
        let screen = lines(&status, false, Paint::none());
        assert!(
            screen[0].starts_with("SAFE") && screen[1] == "  Because.",
            "{screen:?}"
        );
    }

    #[test]
    fn the_last_line_says_how_old_the_way_back_is() {
        let mut status = status(2, true);
        let last = |status: &ClusterStatus| lines(status, false, Paint::none()).pop();
        let none = "no backup of the metadata was told of";
        assert_eq!(last(&status).as_deref(), Some(none));
        status.last_backup = Some(marram_client::BackupNote {
            made_ms: 1_000_000_000_000,
            kept_until_ms: 1_000_086_400_000,
            bytes: 2048,
            root_index: 7,
        });
        let said = last(&status).expect("a line");
        let expected = "last backup of the metadata made 2001-09-09";
        assert!(said.starts_with(expected), "{said}");
        assert!(
            said.contains("(2.0 KiB)") && said.contains("2001-09-10"),
            "{said}"
        );
    }

    #[test]
    fn a_node_that_takes_no_clients_says_why() {
        let mut status = status(2, true);
        assert_eq!(status.nodes.iter().find_map(unready), None);
        status.nodes[0].not_ready = vec!["duty: this node is being drained".to_owned()];
        let expected = "  node-1 is not ready for clients: duty: this node is being drained.";
        let screen = lines(&status, false, Paint::none());
        assert!(screen.iter().any(|line| line == expected), "{screen:?}");
    }

    #[test]
    fn gateways_have_lines_of_their_own() {
        let mut status = status(2, true);
        status.gateways = vec![GatewayStatus {
            name: "front-1".to_owned(),
            version: "1".to_owned(),
            api_address: "127.0.0.1:7077".to_owned(),
            metrics_address: String::new(),
            heard_ms_ago: 10,
            not_ready: Vec::new(),
        }];
        let has = |status: &ClusterStatus, line: &str| {
            let screen = lines(status, false, Paint::none());
            assert!(screen.iter().any(|one| one == line), "{screen:?}");
        };
        has(&status, "gateway front-1: up, 127.0.0.1:7077");
        status.gateways[0].not_ready = vec!["view: no server has told".to_owned()];
        let line = "gateway front-1: NOT READY, 127.0.0.1:7077: view: no server has told";
        has(&status, line);
    }

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
        let moving = "Moving for 1m01s: 2 placement groups under way, 3 to go, 0 B written, 0 B/s now, about 10s left.";
        assert_eq!(lines[1], moving);
        assert!(work_lines(&WorkStatus::default()).is_empty());
    }

    #[test]
    fn drives_that_nobody_hears_of_have_no_state() {
        let drive = |drive_id, state, capacity_bytes| DriveStatus {
            drive_id,
            state,
            capacity_bytes,
            free_bytes: capacity_bytes / 2,
            record_bytes: 0,
            duty: marram_client::DriveDuty::Serving,
        };
        let away = [drive(3328, DriveState::Unknown, 0)];
        assert_eq!(drives_text(&away), "1 drive, not heard from");
        let odd = [
            drive(1, DriveState::Active, 2048),
            drive(2, DriveState::Retired, 0),
        ];
        assert_eq!(
            drives_text(&odd),
            "2 drives, 1.0 KiB of 2.0 KiB free; drive 2 RETIRED"
        );
    }
}
