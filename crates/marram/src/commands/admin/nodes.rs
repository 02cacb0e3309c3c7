//! `marram admin cordon`, `uncordon`, `drain`, `fence`, `remove` and `layout plan`.

use std::time::Duration;

use marram_client::{
    Client, ClusterStatus, Consent, DutyChange, LayoutPlan, NodeDuty, NodeStatus, PlannedNode,
};

use super::status::time;
use crate::cli::{DrainArgs, FenceArgs, LayoutPlanArgs, NodeArg, RemoveArgs};
use crate::commands::Context;
use crate::failure::Failure;
use crate::output::{Output, printable};
use crate::units::size;

/// How often a drain that is watched is looked at.
const WATCH_EVERY: Duration = Duration::from_secs(1);

/// The word for a duty.
pub(super) fn duty_text(duty: NodeDuty) -> &'static str {
    match duty {
        NodeDuty::Serving => "serving",
        NodeDuty::Cordoned => "cordoned",
        NodeDuty::Draining => "draining",
        NodeDuty::Fenced => "fenced",
        NodeDuty::Unknown => "?",
    }
}

async fn set(
    context: &Context<'_>,
    client: &Client,
    node: &str,
    (duty, consent): (NodeDuty, Consent),
    if_epoch: Option<u64>,
) -> Result<DutyChange, Failure> {
    let changed = client.set_node_duty(node, duty, consent, if_epoch).await;
    let changed = changed.map_err(Failure::at(node))?;
    context.output.done(&changed, || {
        let (name, now) = (printable(&changed.name), duty_text(changed.duty));
        if changed.before == changed.duty {
            format!("{name} is {now} already")
        } else {
            format!("{name} is {now} now; it was {}", duty_text(changed.before))
        }
    })?;
    Ok(changed)
}

/// No new data goes to the node.
pub(super) async fn cordon(context: &Context<'_>, args: NodeArg) -> Result<(), Failure> {
    let client = context.client()?;
    let wanted = (NodeDuty::Cordoned, Consent::NONE);
    let set = set(context, &client, &args.node, wanted, args.epoch.if_epoch);
    set.await.map(|_| ())
}

/// The node serves again.
pub(super) async fn uncordon(context: &Context<'_>, args: NodeArg) -> Result<(), Failure> {
    let client = context.client()?;
    let wanted = (NodeDuty::Serving, Consent::NONE);
    let set = set(context, &client, &args.node, wanted, args.epoch.if_epoch);
    set.await.map(|_| ())
}

/// What the node had is rebuilt elsewhere.
pub(super) async fn fence(context: &Context<'_>, args: FenceArgs) -> Result<(), Failure> {
    let client = context.client()?;
    let consent = Consent {
        force: args.force,
        ..Consent::NONE
    };
    let wanted = (NodeDuty::Fenced, consent);
    let set = set(context, &client, &args.node, wanted, args.epoch.if_epoch);
    set.await.map(|_| ())
}

/// The node gives up what it has, or no longer.
pub(super) async fn drain(context: &Context<'_>, args: DrainArgs) -> Result<(), Failure> {
    let client = context.client()?;
    let duty = match args.cancel {
        true => NodeDuty::Serving,
        false => NodeDuty::Draining,
    };
    let consent = Consent {
        force: args.force,
        narrower: args.allow_narrower,
    };
    let wanted = (duty, consent);
    let changed = set(context, &client, &args.node, wanted, args.epoch.if_epoch).await?;
    if args.watch {
        watch(&context.output, &client, changed.node_id).await?;
    }
    Ok(())
}

/// Says how far a drain is until nothing is left to be moved.
async fn watch(output: &Output, client: &Client, node: u64) -> Result<(), Failure> {
    let mut said = None;
    loop {
        let status = client.cluster_status().await;
        let status = status.map_err(Failure::at("cluster"))?;
        let Some(found) = status.nodes.iter().find(|status| status.node_id == node) else {
            // Removed meanwhile: nothing of it is left to watch.
            return Ok(());
        };
        if found.duty != NodeDuty::Draining {
            return Err(Failure::DrainEnded(printable(&found.name)));
        }
        let votes = status.groups.iter();
        let votes = votes.filter(|group| group.voter_node_ids.contains(&node));
        let votes = votes.count();
        let now = (found.slots, record_bytes(found), status.moves_under_way);
        if said != Some(now) {
            say_progress(output, found, &status)?;
            said = Some(now);
        }
        if now == (0, 0, 0) && votes == 0 {
            return Ok(());
        }
        tokio::time::sleep(WATCH_EVERY).await;
    }
}

fn record_bytes(node: &NodeStatus) -> u64 {
    node.drives.iter().map(|drive| drive.record_bytes).sum()
}

fn say_progress(output: &Output, node: &NodeStatus, status: &ClusterStatus) -> Result<(), Failure> {
    let work = status.work.as_ref();
    let now = serde_json::json!({
        "node_id": node.node_id,
        "name": node.name,
        "slots": node.slots,
        "record_bytes": record_bytes(node),
        "moves_under_way": status.moves_under_way,
        "bytes_per_s": work.map(|work| work.bytes_per_s),
        "left_ms": work.and_then(|work| work.left_ms),
    });
    output.done(&now, || {
        let left = work.and_then(|work| work.left_ms);
        let left = left.map_or_else(String::new, |ms| format!(", about {} left", time(ms)));
        format!(
            "{}: {} slots and {} of records to go, {} moves under way, {}/s{left}",
            printable(&node.name),
            node.slots,
            size(record_bytes(node)),
            status.moves_under_way,
            size(work.map_or(0, |work| work.bytes_per_s))
        )
    })?;
    // Whoever watches sees it now.
    output.flush()
}

/// The node is gone for ever.
pub(super) async fn remove(context: &Context<'_>, args: RemoveArgs) -> Result<(), Failure> {
    let client = context.client()?;
    let consent = Consent {
        narrower: args.allow_narrower,
        ..Consent::NONE
    };
    let removed = client
        .remove_node(&args.node, consent, args.epoch.if_epoch)
        .await;
    let removed = removed.map_err(Failure::at(&args.node))?;
    context.output.done(&removed, || {
        format!("{} is removed", printable(&removed.name))
    })
}

/// Says what would be moved.
pub(super) async fn plan(context: &Context<'_>, args: LayoutPlanArgs) -> Result<(), Failure> {
    let with = args.with.iter().map(|capacity| PlannedNode {
        zone: args.zone.clone(),
        drive_capacity_bytes: vec![*capacity],
    });
    let with: Vec<PlannedNode> = with.collect();
    let client = context.client()?;
    let plan = client.plan_layout(&args.without, &args.add, &with).await;
    let plan = plan.map_err(Failure::at("cluster"))?;
    if context.output.json {
        return context.output.value(&plan);
    }
    print(&context.output, &plan)
}

fn print(output: &Output, plan: &LayoutPlan) -> Result<(), Failure> {
    let (id, name) = ("id", "node");
    let (before, after, bytes_in, bytes_out) = ("slots", "then", "in", "out");
    output.line(&format!(
        "{id:>6}  {name:<12} {before:>7} {after:>7} {bytes_in:>12} {bytes_out:>12}"
    ))?;
    for node in &plan.nodes {
        let id = node
            .node_id
            .map_or_else(|| "-".to_owned(), |id| id.to_string());
        output.line(&format!(
            "{id:>6}  {:<12} {:>7} {:>7} {:>12} {:>12}",
            printable(&node.name),
            node.slots_before,
            node.slots_after,
            size(node.bytes_in),
            size(node.bytes_out)
        ))?;
    }
    output.line("")?;
    for pool in &plan.pools {
        let unplaced = match pool.unplaced {
            0 => String::new(),
            unplaced => format!("; {unplaced} slots have no other place: add nodes"),
        };
        output.line(&format!(
            "width {}: {} slots move, largest deviation {:.1} % -> {:.1} %{unplaced}",
            pool.width,
            pool.slots,
            percent(pool.deviation_before_permille),
            percent(pool.deviation_after_permille)
        ))?;
    }
    let worth = match (plan.slots, plan.worth_it) {
        (0, _) => "Nothing would move.".to_owned(),
        (_, worth_it) => format!(
            "{} slots of {} placement groups would move, about {}{}.",
            plan.slots,
            plan.placement_groups,
            size(plan.bytes),
            if worth_it {
                ""
            } else {
                "; too little for the cluster to begin by itself"
            }
        ),
    };
    output.line(&worth)?;
    match &plan.plan_id {
        Some(id) if plan.slots > 0 => output.line(&format!(
            "Plan {}: `marram admin rebalance --plan ID` makes it so now.",
            printable(id)
        )),
        _ => Ok(()),
    }
}

fn percent(permille: u64) -> f64 {
    permille as f64 / 10.0
}
