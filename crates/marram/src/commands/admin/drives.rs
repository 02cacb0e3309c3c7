//! `marram admin drive`.

use std::time::Duration;

use marram_client::{Client, DriveDuty, DriveEntry};

use crate::cli::{DriveCommand, DriveDrainArgs};
use crate::commands::Context;
use crate::failure::Failure;
use crate::output::{Output, printable};
use crate::units::size;

/// How often a drain that is watched is looked at.
const WATCH_EVERY: Duration = Duration::from_secs(1);

/// Runs `admin drive`.
pub(super) async fn run(context: &Context<'_>, command: DriveCommand) -> Result<(), Failure> {
    let client = context.client()?;
    match command {
        DriveCommand::List(args) => {
            let place = args.node.as_deref().unwrap_or("cluster");
            let drives = client.list_drives(args.node.as_deref()).await;
            list(&context.output, &drives.map_err(Failure::at(place))?)
        }
        DriveCommand::Drain(args) => drain(&context.output, &client, &args).await,
        DriveCommand::Fail(args) => {
            let failed = (DriveDuty::Failed, false);
            let set = set(&context.output, &client, &args.drive, failed).await;
            set.map(|_| ())
        }
        DriveCommand::Remove(args) => {
            let removed = client.remove_drive(&args.drive).await;
            let removed = removed.map_err(Failure::at(&args.drive))?;
            context.output.done(&removed, || {
                let node = printable(&removed.node);
                format!("drive {} of {node} is removed", removed.drive_id)
            })
        }
    }
}

fn duty_text(duty: DriveDuty) -> &'static str {
    match duty {
        DriveDuty::Serving => "serving",
        DriveDuty::Draining => "draining",
        DriveDuty::Away => "AWAY",
        DriveDuty::Failed => "FAILED",
        DriveDuty::Unknown => "?",
    }
}

fn list(output: &Output, drives: &[DriveEntry]) -> Result<(), Failure> {
    if output.json {
        return drives.iter().try_for_each(|drive| output.value(drive));
    }
    let (name, id, duty, state, slots) = ("drive", "id", "duty", "state", "slots");
    let (records, free, capacity) = ("records", "free", "size");
    output.line(&format!(
        "{name:<16} {id:>8}  {duty:<9} {state:<8} {slots:>6} {records:>12} {free:>12} {capacity:>12}"
    ))?;
    for drive in drives {
        let known = |bytes: Option<u64>| bytes.map_or_else(|| "?".to_owned(), size);
        output.line(&format!(
            "{:<16} {:>8}  {:<9} {:<8} {:>6} {:>12} {:>12} {:>12}",
            format!("{}/{}", printable(&drive.node), drive.number),
            drive.drive_id,
            duty_text(drive.duty),
            printable(&drive.state),
            drive.slots,
            known(drive.record_bytes),
            known(drive.free_bytes),
            size(drive.capacity_bytes)
        ))?;
    }
    Ok(())
}

async fn set(
    output: &Output,
    client: &Client,
    drive: &str,
    (duty, force): (DriveDuty, bool),
) -> Result<u64, Failure> {
    let changed = client.set_drive_duty(drive, duty, force).await;
    let changed = changed.map_err(Failure::at(drive))?;
    output.done(&changed, || {
        let (id, node) = (changed.drive_id, printable(&changed.node));
        let now = duty_text(changed.duty);
        if changed.before == changed.duty {
            format!("drive {id} of {node} is {now} already")
        } else {
            let before = duty_text(changed.before);
            format!("drive {id} of {node} is {now} now; it was {before}")
        }
    })?;
    Ok(changed.drive_id)
}

async fn drain(output: &Output, client: &Client, args: &DriveDrainArgs) -> Result<(), Failure> {
    let duty = match args.cancel {
        true => DriveDuty::Serving,
        false => DriveDuty::Draining,
    };
    let drive = set(output, client, &args.drive, (duty, args.force)).await?;
    if args.watch {
        watch(output, client, drive).await?;
    }
    Ok(())
}

/// Says how far a drain is until nothing is left on the drive.
async fn watch(output: &Output, client: &Client, drive: u64) -> Result<(), Failure> {
    let mut said = None;
    loop {
        let drives = client.list_drives(None).await;
        let drives = drives.map_err(Failure::at("cluster"))?;
        let Some(found) = drives.iter().find(|entry| entry.drive_id == drive) else {
            // Removed meanwhile: nothing of it is left to watch.
            return Ok(());
        };
        if found.duty != DriveDuty::Draining {
            return Err(Failure::DrainEnded(format!("drive {drive}")));
        }
        let now = (found.slots, found.record_bytes);
        if said != Some(now) {
            output.done(found, || {
                let bytes = found.record_bytes.map_or_else(|| "?".to_owned(), size);
                let slots = found.slots;
                format!("drive {drive}: {slots} slots and {bytes} of records to go")
            })?;
            // Whoever watches sees it now.
            output.flush()?;
            said = Some(now);
        }
        if now == (0, Some(0)) {
            return Ok(());
        }
        tokio::time::sleep(WATCH_EVERY).await;
    }
}
