//! `marram admin scrub` and `marram admin gc`.

use std::time::Duration;

use marram_client::{
    Client, DriveScrub, GarbageStatus, PausableWork, PauseChange, ScrubFindings, ScrubStage,
    ScrubStatus,
};

use crate::cli::{GcCommand, ScrubAction, ScrubArgs};
use crate::commands::Context;
use crate::failure::Failure;
use crate::output::{Output, printable};
use crate::units::{date, size};

/// How often a pass that is watched is looked at.
const WATCH_EVERY: Duration = Duration::from_secs(1);

/// Runs `admin scrub`.
pub(super) async fn run(context: &Context<'_>, args: ScrubArgs) -> Result<(), Failure> {
    let client = context.client()?;
    let output = &context.output;
    match args.action {
        Some(ScrubAction::Status) => {
            let status = client.scrub_status().await;
            let status = status.map_err(Failure::at("cluster"))?;
            if output.json {
                return output.value(&status);
            }
            print(output, &status)
        }
        Some(ScrubAction::Pause) => pause(context, (PausableWork::Scrub, true)).await,
        Some(ScrubAction::Resume) => pause(context, (PausableWork::Scrub, false)).await,
        None => start(output, &client, args.node.as_deref(), args.watch).await,
    }
}

async fn start(
    output: &Output,
    client: &Client,
    node: Option<&str>,
    watches: bool,
) -> Result<(), Failure> {
    let before = client.scrub_status().await;
    let before = before.map_err(Failure::at("cluster"))?;
    let started = client.start_scrub(node).await;
    let started = started.map_err(Failure::at(node.unwrap_or("cluster")))?;
    output.done(&started, || said_started(&started))?;
    if watches {
        watch(output, client, &before, &started).await?;
    }
    Ok(())
}

fn said_started(status: &ScrubStatus) -> String {
    let under_way = status
        .drives
        .iter()
        .filter(|d| d.stage != ScrubStage::Resting);
    let mut said = format!(
        "a pass is under way, or over already, on {} drives ({} under way now)",
        status.drives.len(),
        under_way.count()
    );
    if status.paused_since_ms.is_some() {
        said.push_str("; scrubs are paused: it goes on after `marram admin scrub resume`");
    }
    if !status.away.is_empty() {
        let names: Vec<String> = status.away.iter().map(|name| printable(name)).collect();
        said.push_str(&format!("; no answer from {}", names.join(", ")));
    }
    said
}

/// Says how far a pass is until it has ended on every drive that it was begun on.
async fn watch(
    output: &Output,
    client: &Client,
    before: &ScrubStatus,
    started: &ScrubStatus,
) -> Result<(), Failure> {
    let ended_before = |drive: u64| {
        let known = before.drives.iter().find(|d| d.drive_id == drive);
        known.and_then(|d| d.last).map_or(0, |pass| pass.ended_ms)
    };
    let mut said = None;
    loop {
        let status = client.scrub_status().await;
        let status = status.map_err(Failure::at("cluster"))?;
        if status.paused_since_ms.is_some() {
            return Err(Failure::ScrubPaused);
        }
        let watched = status.drives.iter();
        let watched: Vec<&DriveScrub> = watched
            .filter(|d| started.drives.iter().any(|s| s.drive_id == d.drive_id))
            .collect();
        let goes_on = |d: &&&DriveScrub| {
            let ended = d.last.map_or(0, |pass| pass.ended_ms);
            d.stage != ScrubStage::Resting || ended <= ended_before(d.drive_id)
        };
        let left = watched.iter().filter(goes_on).count();
        let found = watched
            .iter()
            .map(|d| *shown(d))
            .fold(ScrubFindings::default(), plus);
        let now = (left, found.bytes, found.compared);
        if said != Some(now) {
            say_progress(output, left, &watched, &found)?;
            said = Some(now);
        }
        if left == 0 {
            return Ok(());
        }
        tokio::time::sleep(WATCH_EVERY).await;
    }
}

/// What is to be shown of a drive: the pass under way, or the last one.
fn shown(drive: &DriveScrub) -> &ScrubFindings {
    match (&drive.last, drive.stage) {
        (Some(pass), ScrubStage::Resting) => &pass.found,
        _ => &drive.found,
    }
}

fn plus(a: ScrubFindings, b: ScrubFindings) -> ScrubFindings {
    ScrubFindings {
        runs: a.runs + b.runs,
        bytes: a.bytes + b.bytes,
        compared: a.compared + b.compared,
        damaged: a.damaged + b.damaged,
        unreadable: a.unreadable + b.unreadable,
        gone: a.gone + b.gone,
        missing: a.missing + b.missing,
        tickets: a.tickets + b.tickets,
        mended: a.mended + b.mended,
    }
}

fn say_progress(
    output: &Output,
    left: usize,
    watched: &[&DriveScrub],
    found: &ScrubFindings,
) -> Result<(), Failure> {
    let total: u64 = watched.iter().map(|d| d.total_bytes).sum();
    let seconds = watched.iter().filter_map(|d| d.seconds_left).max();
    let now = serde_json::json!({
        "drives_left": left,
        "total_bytes": total,
        "seconds_left": seconds,
        "found": found,
    });
    output.done(&now, || {
        let time = seconds.map_or_else(String::new, |s| format!(", about {s} s left"));
        format!(
            "{left} drives to go, {} of {} read{time}; {}",
            size(found.bytes),
            size(total),
            findings_text(found)
        )
    })?;
    // Whoever watches sees it now.
    output.flush()
}

fn findings_text(found: &ScrubFindings) -> String {
    let counts = [
        (found.damaged, "damaged"),
        (found.unreadable, "unreadable"),
        (found.gone, "in files that are gone"),
        (found.missing, "missing"),
        (found.mended, "segment headers mended"),
    ];
    let faults = counts.iter().filter(|(count, _)| *count > 0);
    let faults: Vec<String> = faults
        .map(|(count, what)| format!("{count} {what}"))
        .collect();
    if faults.is_empty() {
        return "nothing wrong".to_owned();
    }
    format!("{}; {} shards to repair", faults.join(", "), found.tickets)
}

pub(super) fn since(ms: u64) -> String {
    date(i64::try_from(ms).unwrap_or(i64::MAX))
}

fn print(output: &Output, status: &ScrubStatus) -> Result<(), Failure> {
    if let Some(ms) = status.paused_since_ms {
        output.line(&format!("PAUSED since {}", since(ms)))?;
    }
    let (node, drive, stage, read) = ("node", "drive", "pass", "read");
    output.line(&format!(
        "{node:<12} {drive:>8}  {stage:<10} {read:>24}  found; last full pass"
    ))?;
    for drive in &status.drives {
        output.line(&drive_line(drive))?;
    }
    for name in &status.away {
        output.line(&format!("{:<12} does not answer", printable(name)))?;
    }
    output.line("")?;
    for scan in status.scans.iter().filter(|scan| scan.scans > 0) {
        output.line(&format!(
            "{:<12} shards of nobody: {} looked at, {} removed, {} copies cleaned, {} wait",
            printable(&scan.node),
            scan.shards,
            scan.removed,
            scan.cleaned,
            scan.waiting
        ))?;
    }
    let different = status.comparisons.iter();
    for compared in different.filter(|c| !c.different_node_ids.is_empty()) {
        output.line(&format!(
            "METADATA GROUP {} DIFFERS at index {} on nodes {:?} from its leader: keep their drives, \
             and see docs/operations.md",
            compared.group, compared.index, compared.different_node_ids
        ))?;
    }
    let equal = status.comparisons.iter().filter(|c| c.equal > 0).count();
    output.line(&format!(
        "replicas of {equal} of {} metadata groups compared were equal",
        status.comparisons.len()
    ))
}

fn drive_line(drive: &DriveScrub) -> String {
    let stage = match drive.stage {
        ScrubStage::Resting => "rests",
        ScrubStage::Reading => "reads",
        ScrubStage::Comparing => "compares",
        ScrubStage::Unknown => "?",
    };
    let found = shown(drive);
    let last = drive
        .last
        .map_or_else(|| "never".to_owned(), |pass| since(pass.ended_ms));
    let read = format!("{} of {}", size(found.bytes), size(drive.total_bytes));
    let left = drive
        .seconds_left
        .map_or_else(String::new, |s| format!(", {s} s left"));
    let stuck = if drive.stuck { ", TRIES AGAIN" } else { "" };
    format!(
        "{:<12} {:>8}  {stage:<10} {read:>24}  {}{left}{stuck}; {last}",
        printable(&drive.node),
        drive.drive_id,
        findings_text(found)
    )
}

/// Runs `admin gc`.
pub(super) async fn gc(context: &Context<'_>, command: GcCommand) -> Result<(), Failure> {
    match command {
        GcCommand::Status => {
            let status = context.client()?.garbage_status().await;
            let status = status.map_err(Failure::at("cluster"))?;
            if context.output.json {
                return context.output.value(&status);
            }
            print_garbage(&context.output, &status)
        }
        GcCommand::Pause => pause(context, (PausableWork::Garbage, true)).await,
        GcCommand::Resume => pause(context, (PausableWork::Garbage, false)).await,
    }
}

fn print_garbage(output: &Output, status: &GarbageStatus) -> Result<(), Failure> {
    if let Some(ms) = status.paused_since_ms {
        output.line(&format!("PAUSED since {}: nothing is removed", since(ms)))?;
    }
    output.line(&format!(
        "{} extents wait to be removed, about {}; {} may go now; the oldest has waited {} s",
        status.entries,
        size(status.bytes),
        status.due,
        status.oldest_age_ms / 1000
    ))?;
    for group in status.groups.iter().filter(|group| group.entries > 0) {
        output.line(&format!(
            "group {:<4} {}{} extents, about {}; {} due; oldest {} s",
            group.group,
            if group.more { "more than " } else { "" },
            group.entries,
            size(group.bytes),
            group.due,
            group.oldest_age_ms / 1000
        ))?;
    }
    for group in &status.silent_groups {
        output.line(&format!("group {group:<4} does not answer: not counted"))?;
    }
    behind_lines(output, &status.behind)
}

pub(super) fn behind_lines(output: &Output, behind: &[String]) -> Result<(), Failure> {
    behind.iter().try_for_each(|name| {
        output.line(&format!(
            "{} has not taken the last decision about pausing over yet",
            printable(name)
        ))
    })
}

/// Pauses work, or lets it go on.
pub(super) async fn pause(
    context: &Context<'_>,
    (work, paused): (PausableWork, bool),
) -> Result<(), Failure> {
    let changed = context.client()?.set_paused(work, paused).await;
    let changed = changed.map_err(Failure::at("cluster"))?;
    context
        .output
        .done(&changed, || pause_text(work, &changed))?;
    if !context.output.json && !context.output.quiet {
        behind_lines(&context.output, &changed.behind)?;
    }
    Ok(())
}

fn pause_text(work: PausableWork, changed: &PauseChange) -> String {
    let what = match work {
        PausableWork::Garbage => "garbage collection",
        PausableWork::Scrub => "the scrub",
        PausableWork::Repair => "repair",
        PausableWork::Moves => "the moving of data",
    };
    let already = if changed.unchanged { " already" } else { "" };
    match changed.paused_since_ms {
        Some(ms) => format!("{what} is paused{already}, since {}", since(ms)),
        None => format!("{what} goes on{already}"),
    }
}
