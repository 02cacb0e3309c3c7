//! Where data lies, how evenly, and whether it is where it belongs.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use marram_client::{Client, ClusterStatus, NodeDuty};

use crate::{Cluster, until};

/// Slots of placement groups by the names of the nodes that they are read from.
pub type Slots = BTreeMap<String, u64>;

/// The slots of each node that takes data.
#[must_use]
pub fn slots(status: &ClusterStatus) -> Slots {
    let serving = status.nodes.iter();
    let serving = serving.filter(|node| node.duty == NodeDuty::Serving);
    serving
        .map(|node| (node.name.clone(), node.slots))
        .collect()
}

/// Slots of all nodes together.
#[must_use]
pub fn total_slots(status: &ClusterStatus) -> u64 {
    status.nodes.iter().map(|node| node.slots).sum()
}

/// Waits until nothing moves and every shard is where it belongs, with data on some nodes and none on
/// others. Says how the cluster is then.
///
/// # Panics
/// When that does not come to be in time; the message says what lacks.
pub async fn settled(
    client: &Client,
    limit: Duration,
    with: &[&str],
    without: &[&str],
) -> ClusterStatus {
    placed(client, limit, (with, without), true).await
}

/// The same for a cluster with nodes that are away now and then: nothing has to move any more.
///
/// # Panics
/// As [`settled`].
pub async fn moved(
    client: &Client,
    limit: Duration,
    with: &[&str],
    without: &[&str],
) -> ClusterStatus {
    placed(client, limit, (with, without), false).await
}

async fn placed(
    client: &Client,
    limit: Duration,
    (with, without): (&[&str], &[&str]),
    whole: bool,
) -> ClusterStatus {
    let slots = |status: &ClusterStatus, name: &str| {
        let node = status.nodes.iter().find(|node| node.name == name);
        node.map_or(0, |node| node.slots)
    };
    let mut last = None;
    until("the data is where it belongs", limit, async || {
        let status = client.cluster_status().await.map_err(|e| e.to_string())?;
        let placed = with.iter().all(|name| slots(&status, name) > 0)
            && without.iter().all(|name| slots(&status, name) == 0);
        let left = status.moves_under_way + status.placement_groups_to_move;
        let redundancy = status.redundancy.clone();
        let is_whole = redundancy.as_ref().is_some_and(|r| r.fully_redundant);
        last = Some(status);
        if placed && left == 0 && (is_whole || !whole) {
            Ok(())
        } else {
            Err(format!("{left} to move: {redundancy:?}"))
        }
    })
    .await;
    last.expect("the cluster was asked")
}

/// Moves that leaders of the root group have begun so far, each of one slot, as their logs say.
///
/// # Panics
/// When a log cannot be read.
#[must_use]
pub fn moves_begun(cluster: &Cluster) -> u64 {
    let logs = (1..=cluster.nodes()).map(|n| cluster.dir().join(format!("node-{n}/server.log")));
    let of = |line: &str| -> Option<u64> {
        let number = line.split_once("moves begin")?.1.split_once("moves=")?.1;
        let end = number.find(|c: char| !c.is_ascii_digit());
        number[..end.unwrap_or(number.len())].parse().ok()
    };
    logs.map(|log| {
        let text = fs::read(&log).unwrap_or_else(|e| panic!("{}: {e}", log.display()));
        let text = String::from_utf8_lossy(&text);
        text.lines().filter_map(of).sum::<u64>()
    })
    .sum()
}
