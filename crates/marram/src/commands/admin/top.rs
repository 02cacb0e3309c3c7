//! `marram admin top`.
//!
//! The numbers are those of the metrics, asked for through the API: the same as on any dashboard, and
//! where the port of the metrics cannot be reached, too.
//!
//! ```text
//! page    samples of Prometheus text
//! row     two pages of a node -> what it did between them
//! table   rows -> lines
//! ```

use std::io::IsTerminal;
use std::time::Duration;

use futures::StreamExt;
use futures::stream;
use marram_client::{Client, ClusterStatus, InspectOptions, NodeState};
use serde::Serialize;
use tokio::time::Instant;

use crate::cli::TopArgs;
use crate::commands::Context;
use crate::failure::Failure;

mod page;
mod row;
mod table;

use super::gateways::{self, Gateway};
use page::Page;
use row::Row;

/// Nodes that are asked at once.
const NODES_AT_ONCE: usize = 16;
/// Shorter intervals cost more than they say.
const EVERY_MIN: Duration = Duration::from_millis(500);
/// Puts the cursor home and clears what is behind it: no flicker.
const REDRAW: &str = "\u{1b}[H\u{1b}[J";

/// What all nodes did in one interval.
#[derive(Debug, Serialize)]
struct Moment {
    /// The interval in milliseconds.
    interval_ms: u64,
    nodes: Vec<Row>,
}

/// What a node said, and when.
struct Seen {
    /// Two nodes have one name until the one that is replaced is removed; 0 for a gateway without drives.
    id: u64,
    name: String,
    page: Option<Page>,
    at: Instant,
}

/// Says what the nodes do, again and again.
pub(super) async fn run(context: &Context<'_>, args: TopArgs) -> Result<(), Failure> {
    let client = context.client()?;
    let every = args.every.max(EVERY_MIN);
    let output = &context.output;
    let live = !args.once && !output.json && std::io::stdout().is_terminal();
    let first = status(&client).await?;
    let gateways = gateways::named(context, &first).await?;
    let mut before = look(&client, &first, &gateways).await;
    loop {
        tokio::time::sleep(every).await;
        let status = status(&client).await?;
        let now = look(&client, &status, &gateways).await;
        let rows = now.iter().map(|seen| {
            let same = |old: &&Seen| old.id == seen.id && old.name == seen.name;
            let old = before.iter().find(same);
            let old = old.and_then(|old| Some((old.page.as_ref()?, old.at)));
            Row::of(
                &seen.name,
                seen.page.as_ref(),
                old.map(|(page, at)| (page, seen.at - at)),
            )
        });
        let moment = Moment {
            interval_ms: u64::try_from(every.as_millis()).unwrap_or(u64::MAX),
            nodes: rows.collect(),
        };
        if output.json {
            output.value(&moment)?;
        } else {
            if live {
                output.raw(REDRAW)?;
            }
            table::lines(&status, &moment.nodes, output.paint())
                .iter()
                .try_for_each(|line| output.line(line))?;
            if !live && !args.once {
                output.line("")?;
            }
        }
        output.flush()?;
        if args.once {
            return Ok(());
        }
        before = now;
    }
}

async fn status(client: &Client) -> Result<ClusterStatus, Failure> {
    let status = client.cluster_status().await;
    status.map_err(Failure::at("cluster"))
}

/// Asks every node that answers, and the gateways that were named, for the metrics that are shown.
async fn look(client: &Client, status: &ClusterStatus, gateways: &[Gateway]) -> Vec<Seen> {
    let nodes = status.nodes.iter().map(|node| {
        let asked = (node.state == NodeState::Up).then(|| node.node_id.to_string());
        (client, node.node_id, &node.name, asked)
    });
    // They have no id.
    let others = gateways.iter();
    let others = others.map(|one| (&one.client, 0, &one.name, Some(one.name.clone())));
    let asked = nodes
        .chain(others)
        .map(|(client, id, name, asked)| async move {
            let page = match asked {
                Some(asked) => page(client, &asked).await,
                None => None,
            };
            Seen {
                id,
                name: name.clone(),
                page,
                at: Instant::now(),
            }
        });
    stream::iter(asked).buffered(NODES_AT_ONCE).collect().await
}

async fn page(client: &Client, name: &str) -> Option<Page> {
    let options = InspectOptions {
        metrics: row::FAMILIES.map(str::to_owned).to_vec(),
        ..InspectOptions::default()
    };
    let said = client.inspect_node(name, options).await.ok()?;
    Some(Page::read(&said.metrics))
}
