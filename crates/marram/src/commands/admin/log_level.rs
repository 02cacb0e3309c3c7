//! `marram admin log-level`.

use std::time::Duration;

use futures::StreamExt;
use futures::stream;
use marram_client::{Client, ClientError, LogLevel, LogLevelChange};

use crate::cli::LogLevelArgs;
use crate::commands::Context;
use crate::failure::Failure;
use crate::output::printable;

/// Nodes that are asked at once.
const NODES_AT_ONCE: usize = 8;

/// Says what is logged, or changes it.
pub(super) async fn run(context: &Context<'_>, args: LogLevelArgs) -> Result<(), Failure> {
    let change = match (args.reset, args.filter, args.time) {
        (true, ..) => Some(LogLevelChange::Reset),
        (false, Some(filter), None) => Some(LogLevelChange::Lasting(filter)),
        (false, Some(filter), Some(time)) => {
            let ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
            if ms == 0 {
                return Err(Failure::Usage(
                    "--for: write a time that is longer than nothing",
                ));
            }
            Some(LogLevelChange::ForMs(filter, ms))
        }
        (false, None, _) => None,
    };
    if change.is_some() && args.node.is_empty() && !args.all {
        return Err(Failure::Usage("say which nodes: --node NODE or --all"));
    }
    let client = context.client()?;
    let nodes = match args.node.is_empty() {
        false => args.node,
        true => members(&client).await?,
    };
    let all = nodes.len();
    let asked = nodes.into_iter().map(|node| {
        let (client, change) = (client.clone(), change.clone());
        async move {
            let said = ask(&client, &node, change).await;
            (node, said)
        }
    });
    let mut answers = stream::iter(asked).buffered(NODES_AT_ONCE);
    let mut failed = Vec::new();
    while let Some((node, said)) = answers.next().await {
        match said {
            Ok(level) => context.output.done(&level, || line(&level))?,
            Err(error) => failed.push((node, error)),
        }
    }
    finish(context, failed, all)
}

/// One failure is the command's; of several nodes each is told.
fn finish(
    context: &Context<'_>,
    mut failed: Vec<(String, ClientError)>,
    all: usize,
) -> Result<(), Failure> {
    match (failed.len(), all) {
        (0, _) => Ok(()),
        (1, 1) => {
            let (node, error) = failed.remove(0);
            Err(Failure::at(node)(error))
        }
        (count, _) => {
            for (node, error) in failed {
                Failure::at(node)(error).tell(context.output.json);
            }
            Err(Failure::Partly {
                failed: count as u64,
                all: all as u64,
            })
        }
    }
}

async fn ask(
    client: &Client,
    node: &str,
    change: Option<LogLevelChange>,
) -> Result<LogLevel, ClientError> {
    match change {
        Some(change) => client.set_log_level(node, change).await,
        None => client.log_level(node).await,
    }
}

async fn members(client: &Client) -> Result<Vec<String>, Failure> {
    let status = client.cluster_status().await;
    let status = status.map_err(Failure::at("cluster"))?;
    let ids = status.nodes.iter().map(|node| node.node_id.to_string());
    Ok(ids.collect())
}

fn line(level: &LogLevel) -> String {
    let (name, filter) = (printable(&level.name), printable(&level.filter));
    match level.ends_in_ms {
        None => format!("{name}: {filter}"),
        Some(ms) => {
            // As a time that can be given to `--for`.
            let left = Duration::from_millis(ms).as_secs().max(1);
            format!(
                "{name}: {filter}, for {left}s more, then {}",
                printable(&level.then)
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ends_is_told_with_what_comes_then() {
        let mut level = LogLevel {
            name: "node-1".to_owned(),
            filter: "debug".to_owned(),
            ends_in_ms: Some(90_500),
            then: "info".to_owned(),
        };
        assert_eq!(line(&level), "node-1: debug, for 90s more, then info");
        level.ends_in_ms = None;
        assert_eq!(line(&level), "node-1: debug");
    }
}
