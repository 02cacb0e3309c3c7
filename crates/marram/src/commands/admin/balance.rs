//! `marram admin rebalance` and `compare`.

use marram_client::PausableWork;

use super::scrub;
use crate::cli::{RebalanceAction, RebalanceArgs};
use crate::commands::Context;
use crate::failure::Failure;
use crate::output::printable;
use crate::units::size;

/// Differences that are printed; JSON has those that the cluster lists.
const DIFFERENCES_PRINTED: usize = 20;

/// Moves until the layout is as balanced as it can be, or no longer.
pub(super) async fn rebalance(context: &Context<'_>, args: RebalanceArgs) -> Result<(), Failure> {
    let paused = match args.action {
        Some(RebalanceAction::Pause) => Some(true),
        Some(RebalanceAction::Resume) => Some(false),
        None => None,
    };
    if let Some(paused) = paused {
        return scrub::pause(context, (PausableWork::Moves, paused)).await;
    }
    let client = context.client()?;
    let begun = client.rebalance(args.plan.as_deref(), args.cancel).await;
    let begun = begun.map_err(Failure::at("cluster"))?;
    context
        .output
        .done(&begun, || match (args.cancel, begun.already) {
            (true, true) => "no rebalance is under way".to_owned(),
            (true, false) => "the rebalance ends; moves under way come to their end".to_owned(),
            (false, _) if begun.slots == 0 => "the layout is as balanced as it can be".to_owned(),
            (false, already) => format!(
                "{} slots of {} placement groups move{}, about {}",
                begun.slots,
                begun.placement_groups,
                if already { " already" } else { "" },
                size(begun.bytes)
            ),
        })
}

/// Says what lacks on drives, and what is too much.
pub(super) async fn compare(context: &Context<'_>) -> Result<(), Failure> {
    let compared = context.client()?.compare_shards().await;
    let compared = compared.map_err(Failure::at("cluster"))?;
    let output = &context.output;
    if output.json {
        output.value(&compared)?;
    } else {
        output.line(&format!(
            "{} shards wanted, {} held: {} lack, {} are too much, {} wait for their time",
            compared.wanted, compared.held, compared.lacking, compared.extra, compared.waiting
        ))?;
        for one in compared.differences.iter().take(DIFFERENCES_PRINTED) {
            output.line(&format!(
                "{} node {} drive {} placement group {}/{} shard {}",
                if one.lacks { "lacks" } else { "extra" },
                one.node_id,
                one.drive_id,
                one.pool,
                one.placement_group,
                printable(&one.shard)
            ))?;
        }
        for node in &compared.silent_node_ids {
            output.line(&format!("node {node} did not say what it holds"))?;
        }
    }
    if compared.is_equal() {
        return Ok(());
    }
    Err(Failure::Different {
        lacking: compared.lacking,
        extra: compared.extra,
        silent: compared.silent_node_ids.len() as u64,
    })
}
