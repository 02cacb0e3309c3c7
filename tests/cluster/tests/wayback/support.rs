//! What the ways back have in common.

use std::fs;
use std::path::Path;
use std::time::Duration;

use marram_client::{Client, RetryPolicy};
use marram_cluster_tests::{Cluster, Object, Options, Server, until};

/// How long a server may take to begin the cluster anew.
const ANEW_WITHIN: Duration = Duration::from_secs(120);

/// A cluster whose garbage goes after some seconds, if nothing keeps it.
pub(crate) fn quick_garbage(nodes: u16) -> Options {
    let env = [
        ("MARRAM_GC_FLOOR_LAG", "10"),
        ("MARRAM_GC_READ_LAG", "4"),
        ("MARRAM_GC_SCAN_EVERY", "3"),
    ];
    Options {
        nodes,
        env: env.map(|(name, value)| (name, value.to_owned())).into(),
        ..Options::default()
    }
}

/// The replica that a node's metadata drive names: the last eight bytes before the checksum.
pub(crate) fn replica(drive: &Path) -> u64 {
    let identity = fs::read(drive.join("marram.identity")).expect("the drive has an identity");
    let end = identity.len() - 4;
    let bytes = identity[end - 8..end].try_into().expect("eight bytes");
    u64::from_be_bytes(bytes)
}

/// Waits until a server that was started by hand answers operators.
pub(crate) async fn answers(client: &Client, server: &mut Server) {
    until("the server answers", ANEW_WITHIN, async || {
        assert!(!server.ended(), "it ended:\n{}", server.said());
        let status = client.cluster_status().await;
        status.map(drop).map_err(|error| error.to_string())
    })
    .await;
}

/// Checks that what a refused server said names these things.
#[track_caller]
pub(crate) fn refused((done, said): (bool, String), parts: &[&str]) {
    assert!(!done, "it did it:\n{said}");
    for part in parts {
        assert!(said.contains(part), "{part:?} is missing in:\n{said}");
    }
}

/// Bytes of live records on all drives.
pub(crate) async fn record_bytes(cluster: &Cluster) -> u64 {
    let status = cluster.client().cluster_status().await.expect("a status");
    let drives = status.nodes.iter().flat_map(|node| &node.drives);
    drives.map(|drive| drive.record_bytes).sum()
}

/// Waits until every group, the root group too, has this many voters, and all of them answer.
pub(crate) async fn voters(cluster: &Cluster, count: usize) {
    let client = cluster.client();
    until("every group has its voters", ANEW_WITHIN, async || {
        let status = client.cluster_status().await;
        let groups = status.map_err(|error| error.to_string())?.groups;
        let full = groups.iter().all(|group| {
            group.voter_node_ids.len() == count && usize::try_from(group.voters_up) == Ok(count)
        });
        full.then_some(()).ok_or_else(|| format!("{groups:?}"))
    })
    .await;
}

/// How many of the objects cannot be read now.
pub(crate) async fn unreadable(cluster: &Cluster, bucket: &str, objects: &[Object]) -> usize {
    let mut config = cluster.config();
    config.direct_reads = false;
    config.retry = RetryPolicy::never();
    let client = Client::connect(config).expect("a valid configuration");
    let mut failed = 0;
    for object in objects {
        let read = client.get(bucket, &object.key, None).await;
        let bytes = match read {
            Ok(read) => read.bytes(4 << 20).await.ok(),
            Err(_) => None,
        };
        match bytes {
            Some(bytes) => assert!(bytes == object.content, "{}", object.key),
            None => failed += 1,
        }
    }
    failed
}
