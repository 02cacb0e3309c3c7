//! `marram admin ok-to-stop`, `maintenance` and `transfer-leader`.

use marram_client::MaintenanceNode;

use crate::cli::{MaintenanceArgs, OkToStopArgs, TransferLeaderArgs};
use crate::commands::Context;
use crate::failure::Failure;
use crate::output::printable;
use crate::units::date;

/// Whether nodes may stop now; the exit code says it too.
pub(super) async fn ok_to_stop(context: &Context<'_>, args: OkToStopArgs) -> Result<(), Failure> {
    let names = args.nodes.join(", ");
    let answer = context.client()?.ok_to_stop(&args.nodes, args.margin).await;
    let answer = answer.map_err(Failure::at(&names))?;
    let names = printable(&names);
    if context.output.json {
        context.output.value(&answer)?;
    } else {
        for reason in &answer.reasons {
            context.output.line(&printable(reason))?;
        }
        if answer.ok {
            let more = answer.tolerated_losses;
            context.output.line(&format!(
                "{names} may stop: every object stays readable and writable, and readable with any \
                 {more} more nodes lost"
            ))?;
        }
    }
    match answer.ok {
        true => Ok(()),
        false => Err(Failure::NotNow(names)),
    }
}

/// Nodes are excused for a while, or no longer.
pub(super) async fn maintenance(
    context: &Context<'_>,
    args: MaintenanceArgs,
) -> Result<(), Failure> {
    let ttl = args.ttl.filter(|_| !args.end);
    let zone = args.zone.as_deref();
    let place = zone.map_or_else(|| args.nodes.join(", "), |zone| format!("zone {zone}"));
    let nodes = context
        .client()?
        .set_maintenance(&args.nodes, zone, ttl)
        .await;
    let nodes = nodes.map_err(Failure::at(&place))?;
    nodes
        .iter()
        .try_for_each(|node| context.output.done(node, || maintenance_line(node)))
}

fn maintenance_line(node: &MaintenanceNode) -> String {
    let name = printable(&node.name);
    match node.until_ms.and_then(|ms| i64::try_from(ms).ok()) {
        Some(until) => format!("{name} is in maintenance until {} UTC", date(until)),
        None => format!("{name} is in no maintenance"),
    }
}

/// Others lead instead of a node.
pub(super) async fn transfer_leader(
    context: &Context<'_>,
    args: TransferLeaderArgs,
) -> Result<(), Failure> {
    let done = context
        .client()?
        .transfer_leader(&args.node, args.hold)
        .await;
    let done = done.map_err(Failure::at(&args.node))?;
    let name = printable(&done.name);
    context.output.done(&done, || {
        let handed = match done.handed.len() {
            0 => format!("{name} led nothing that it could hand over"),
            1 => format!("{name} handed 1 group over"),
            many => format!("{name} handed {many} groups over"),
        };
        let seconds = args.hold.as_secs_f32();
        format!("{handed}; it leads nothing for {seconds} s")
    })?;
    match done.kept.is_empty() {
        true => Ok(()),
        false => Err(Failure::StillLeads {
            name,
            groups: done.kept.len(),
        }),
    }
}
