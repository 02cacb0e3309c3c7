//! A node whose Raft log is gone or damaged gets a fresh replica and keeps its drives (rules.md 2).

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use marram_cluster_tests::{Cluster, Load, Options, Scratch, room, until, verify_all};

use super::support::{replica, voters};

const BUCKET: &str = "lost-log";
/// Where records begin in a segment of the log; before them is a header.
const RECORDS_AT: usize = 4096;

/// The files that hold shards.
fn segments(drive: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(drive.join("segments")).expect("a drive has segments");
    let mut files: Vec<_> = files.map(|file| file.expect("listed").path()).collect();
    files.sort();
    files
}

/// Drives by node, and slots of placement groups: what must not change.
async fn layout(cluster: &Cluster) -> Vec<(u64, Vec<u64>, u64)> {
    let status = cluster.client().cluster_status().await.expect("a status");
    let drives =
        |node: &marram_client::NodeStatus| node.drives.iter().map(|drive| drive.drive_id).collect();
    let nodes = status.nodes.iter();
    nodes
        .map(|node| (node.node_id, drives(node), node.slots))
        .collect()
}

/// Kills a node under load, does something to its log, and starts it again.
async fn lose(cluster: &Cluster, node: u16, damage: impl FnOnce(&Path)) {
    let drive = cluster.drive(node);
    let before = layout(cluster).await;
    cluster.kill(&[node]);
    let (lost, held) = (replica(&drive), segments(&drive));
    damage(&drive.join("raft/log"));
    cluster.restart(&[node]);
    until(
        "the node has a fresh replica",
        Duration::from_secs(60),
        async || {
            let now = replica(&drive);
            (now != lost)
                .then_some(())
                .ok_or_else(|| format!("replica {now}"))
        },
    )
    .await;
    cluster.healthy().await;
    assert!(replica(&drive) > lost, "an id that was never used");
    let aside = drive.join(format!("raft.lost-{lost}"));
    assert!(
        aside.join("state").is_dir(),
        "the old state is kept: {}",
        aside.display()
    );
    let now = segments(&drive);
    assert!(
        held.iter().all(|file| now.contains(file)),
        "the drive keeps its shards"
    );
    assert_eq!(layout(cluster).await, before, "nothing moves because of it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_without_its_log_or_with_a_damaged_one_goes_on_with_a_fresh_replica() {
    let _room = room().await;
    let scratch = Scratch::new("lost-log");
    let options = Options {
        nodes: 5,
        ..Options::default()
    };
    let mut cluster = Cluster::start(scratch.path(), &options);
    let client = cluster.client();
    client.create_bucket(BUCKET, None).await.expect("made");
    cluster.healthy().await;
    let load = Load::start(&client, BUCKET, 71);

    lose(&cluster, 2, |log| fs::remove_dir_all(log).expect("removed")).await;
    // One bit of a record that many later batches follow: it was durable.
    lose(&cluster, 3, |log| {
        let mut files: Vec<_> = fs::read_dir(log)
            .expect("a log has files")
            .map(|file| file.expect("listed").path())
            .filter(|path| path.extension().is_some_and(|name| name == "wal"))
            .collect();
        files.sort();
        let newest = files.last().expect("a segment");
        let mut bytes = fs::read(newest).expect("read");
        bytes[RECORDS_AT + 24] ^= 1;
        fs::write(newest, bytes).expect("written");
    })
    .await;

    let done = load.stop().await;
    assert!(done.calls > 30, "{} calls", done.calls);
    // Again with everybody started anew: the fresh replicas are what the drives name.
    cluster.stop();
    let cluster = Cluster::start(scratch.path(), &options);
    cluster.healthy().await;
    voters(&cluster, 5).await;
    verify_all(&cluster.client(), BUCKET, &done.objects).await;
}
