//! `marram admin repair`.

use std::time::Duration;

use marram_client::{AbsentNode, DriveEntry, PausableWork, RepairLevel, RepairStart, RepairStatus};

use super::scrub::{behind_lines, pause, since};
use super::status::time;
use crate::cli::{RepairAction, RepairArgs};
use crate::commands::Context;
use crate::failure::Failure;
use crate::output::{Output, printable};
use crate::units::size;

/// How often what is watched is looked at.
const WATCH_EVERY: Duration = Duration::from_secs(1);

/// Runs `admin repair`.
pub(super) async fn run(context: &Context<'_>, args: RepairArgs) -> Result<(), Failure> {
    match args.action {
        None if args.watch => watch(context).await,
        None | Some(RepairAction::Status) => {
            let status = context.client()?.repair_status().await;
            let status = status.map_err(Failure::at("cluster"))?;
            if context.output.json {
                return context.output.value(&status);
            }
            print(&context.output, &status)
        }
        Some(RepairAction::Start { target }) => {
            let started = context.client()?.start_repair(&target).await;
            let started = started.map_err(Failure::at(&target))?;
            context.output.done(&started, || started_text(&started))
        }
        Some(RepairAction::Pause) => pause(context, (PausableWork::Repair, true)).await,
        Some(RepairAction::Resume) => pause(context, (PausableWork::Repair, false)).await,
    }
}

/// Says how far it is until nothing lacks redundancy. Somebody has to let paused repairs go on first, and
/// whoever waits is told.
async fn watch(context: &Context<'_>) -> Result<(), Failure> {
    let client = context.client()?;
    let output = &context.output;
    let mut said = None;
    loop {
        let status = client.repair_status().await;
        let status = status.map_err(Failure::at("cluster"))?;
        let now = (
            status.levels.clone(),
            status.misplaced,
            status.paused_since_ms,
        );
        if said.as_ref() != Some(&now) {
            output.done(&status, || progress(&status))?;
            output.flush()?;
            said = Some(now);
        }
        let quiet = status.levels.is_empty() && status.misplaced == 0;
        if quiet && status.silent_groups.is_empty() {
            return Ok(());
        }
        if status.paused_since_ms.is_some() {
            return Err(Failure::RepairPaused);
        }
        tokio::time::sleep(WATCH_EVERY).await;
    }
}

fn started_text(started: &RepairStart) -> String {
    let node = printable(&started.node);
    let (what, until) = match started.drive_id {
        None => (node, " until it returns"),
        // One that failed does not.
        Some(drive) => (format!("drive {drive} of {node}"), ""),
    };
    match (started.unchanged, started.slots) {
        (true, 0) => format!("{what} was given up before; all that it had is elsewhere"),
        (true, slots) => format!("{what} was given up before; {slots} slots are to be rebuilt"),
        (false, slots) => format!("{what} is given up{until}; {slots} slots are rebuilt"),
    }
}

fn plural(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// Everything in one line.
fn progress(status: &RepairStatus) -> String {
    let extents: u64 = status.levels.iter().map(|level| level.extents).sum();
    let groups: u64 = status
        .levels
        .iter()
        .map(|level| level.placement_groups)
        .sum();
    if extents + groups + status.misplaced == 0 {
        return "nothing lacks redundancy".to_owned();
    }
    let left = status.extents_left_ms.max(status.placement_groups_left_ms);
    let left = left.map_or_else(String::new, |ms| format!(", about {} left", time(ms)));
    format!(
        "{} lack shards, {} with slots on what is not there, {} out of place; {}/s{left}",
        plural(extents, "extent", "extents"),
        plural(groups, "placement group", "placement groups"),
        status.misplaced,
        size(status.bytes_per_s),
    )
}

fn print(output: &Output, status: &RepairStatus) -> Result<(), Failure> {
    if let Some(ms) = status.paused_since_ms {
        output.line(&format!(
            "REPAIRS PAUSED since {}: nothing is rebuilt; `marram admin repair resume`",
            since(ms)
        ))?;
    }
    if let Some(ms) = status.moves_paused_since_ms {
        output.line(&format!(
            "MOVES PAUSED since {}: drains wait; `marram admin rebalance resume`",
            since(ms)
        ))?;
    }
    output.line(&progress(status))?;
    for level in &status.levels {
        output.line(&level_line(level))?;
    }
    let extents: u64 = status.levels.iter().map(|level| level.extents).sum();
    if extents + status.misplaced > 0 {
        let more = if status.more {
            ", and more than were counted"
        } else {
            ""
        };
        output.line(&format!(
            "extents: {} to write{more}; there have been some for {}",
            size(status.bytes),
            time(status.waiting_for_ms)
        ))?;
    }
    if status.repaired > 0 {
        let done = plural(status.repaired, "extent was", "extents were");
        output.line(&format!("{done} repaired since the present leader leads"))?;
    }
    if let Some(waiting) = status.reencodings.filter(|waiting| *waiting > 0) {
        let what = plural(waiting, "extent waits", "extents wait");
        output.line(&format!(
            "{what} to be encoded anew by its bucket's profile"
        ))?;
    }
    for node in &status.nodes {
        output.line(&node_line(node))?;
    }
    for drive in &status.drives {
        output.line(&drive_line(drive))?;
    }
    for note in &status.notes {
        output.line(&printable(note))?;
    }
    for group in &status.silent_groups {
        output.line(&format!("group {group:<4} does not answer: not counted"))?;
    }
    behind_lines(output, &status.behind)
}

fn level_line(level: &RepairLevel) -> String {
    let spare = match level.spare {
        i32::MIN..=-1 => "TOO FEW TO READ  ".to_owned(),
        0 => "no more may be lost".to_owned(),
        spare => format!("{spare} more may be lost"),
    };
    format!(
        "  {spare:<20} {:>8} extents {:>8} placement groups",
        level.extents, level.placement_groups
    )
}

fn node_line(node: &AbsentNode) -> String {
    let name = printable(&node.node);
    let away = match node.for_ms {
        0 => "does not answer".to_owned(),
        ms => format!("does not answer for {}", time(ms)),
    };
    let slots = plural(node.slots, "slot", "slots");
    if node.rebuilt_elsewhere {
        return match node.slots {
            0 => format!("{name} was given up until it returns: all that it had is elsewhere"),
            _ => format!("{name} was given up: {slots} to rebuild elsewhere"),
        };
    }
    if let Some(until) = node.maintenance_until_ms {
        let until = since(until);
        return format!("{name} {away}, with {slots}: in maintenance until {until} UTC");
    }
    match node.rebuild_in_ms {
        Some(ms) => format!(
            "{name} {away}, with {slots}: rebuilt in {}; at once by `marram admin repair start {name}`",
            time(ms)
        ),
        None => format!("{name} {away}, with {slots}"),
    }
}

fn drive_line(drive: &DriveEntry) -> String {
    let (node, number) = (printable(&drive.node), drive.number);
    let slots = plural(drive.slots, "slot", "slots");
    format!(
        "drive {node}/{number} is {}, with {slots}; at once by `marram admin repair start {node}/{number}`",
        printable(&drive.state)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node() -> AbsentNode {
        AbsentNode {
            node_id: 5,
            node: "node-3".into(),
            for_ms: 61_000,
            rebuild_in_ms: Some(539_000),
            rebuilt_elsewhere: false,
            maintenance_until_ms: None,
            slots: 200,
        }
    }

    #[test]
    fn whoever_is_away_is_named_with_the_time_and_the_command() {
        let line = node_line(&node());
        assert!(
            line.contains("for 1m01s") && line.contains("rebuilt in 8m59s"),
            "{line}"
        );
        assert!(
            line.ends_with("`marram admin repair start node-3`"),
            "{line}"
        );
        let excused = AbsentNode {
            rebuild_in_ms: None,
            maintenance_until_ms: Some(3_600_000),
            ..node()
        };
        assert!(node_line(&excused).contains("in maintenance until 1970-01-01"));
        let gone = AbsentNode {
            rebuilt_elsewhere: true,
            slots: 1,
            ..node()
        };
        assert_eq!(
            node_line(&gone),
            "node-3 was given up: 1 slot to rebuild elsewhere"
        );
    }

    #[test]
    fn levels_say_what_may_still_happen() {
        let level = |spare| {
            level_line(&RepairLevel {
                spare,
                extents: 2,
                placement_groups: 3,
            })
        };
        assert!(level(-1).contains("TOO FEW"));
        assert!(level(0).contains("no more may be lost"));
        assert!(level(1).contains("1 more may be lost"));
    }
}
