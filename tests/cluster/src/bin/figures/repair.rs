//! A node is lost for good: how long until every object has all of its shards again, what that reads
//! and writes, who does it, and what applications feel of it.

use std::path::Path;
use std::time::{Duration, Instant};

use marram_client::Client;
use marram_cluster_tests::{Cluster, Object, Options, Pool, put_all, run as command, settled};

use crate::foreground::Foreground;
use crate::io::{Counters, Io};
use crate::{MIB, machine};

const BUCKET: &str = "figures";
/// Bytes of each object.
const OBJECT_BYTES: usize = 16 << 20;
/// Seconds after which what an upload has written counts as abandoned: what applications overwrite
/// goes soon.
const FLOOR_LAG: &str = "5";
/// How long applications are measured.
const MEASURED_FOR: Duration = Duration::from_secs(10);
/// How long repair may take at most.
const REPAIRED_WITHIN: Duration = Duration::from_secs(1200);

pub(crate) async fn run(folder: &Path, mib: u64) {
    machine::print(folder);
    let options = Options {
        nodes: 8,
        segment_mib: 64,
        quick_garbage: true,
        env: vec![("MARRAM_GC_FLOOR_LAG", FLOOR_LAG.to_owned())],
        ..Options::default()
    };
    let cluster = Cluster::start(&folder.join("cluster"), &options);
    let client = cluster.client();
    client
        .create_bucket(BUCKET, Some("4+2"))
        .await
        .expect("made");
    let mut pool = Pool::new(7, OBJECT_BYTES * 2);
    let count = (mib << 20) / OBJECT_BYTES as u64;
    let objects = (0..count).map(|i| pool.object(format!("data/{i}"), OBJECT_BYTES));
    let objects: Vec<Object> = objects.collect();
    put_all(&client, BUCKET, &objects).await;
    let foreground = Foreground::new(&client, BUCKET).await;
    println!(
        "8 nodes, 4+2, {count} objects of {:.0} MiB",
        OBJECT_BYTES as f64 / MIB
    );
    alone(&cluster, &client).await;
    beside(&cluster, &client, &foreground).await;
}

/// Kills a node and gives it up; returns the bytes that it held.
async fn lose(cluster: &Cluster, client: &Client, node: u16) -> u64 {
    let name = format!("node-{node}");
    let status = client.cluster_status().await.expect("answered");
    let held = status.nodes.iter().find(|n| n.name == name);
    let drives = held.into_iter().flat_map(|n| &n.drives);
    let bytes = drives.map(|d| d.record_bytes).sum();
    cluster.kill(&[node]);
    let _said = command(cluster, &["admin", "fence", &name, "--force"]).done();
    bytes
}

/// Nothing else goes on.
async fn alone(cluster: &Cluster, client: &Client) {
    let before = Counters::of(cluster);
    let began = Instant::now();
    let bytes = lose(cluster, client, 7).await;
    settled(client, REPAIRED_WITHIN, &[], &["node-7"]).await;
    let took = began.elapsed();
    let by_node = Counters::of(cluster).since(&before);
    let sum = |of: fn(&Io) -> u64| by_node.values().map(of).sum::<u64>() as f64;
    let (read, written) = (sum(|io| io.read), sum(|io| io.written));
    println!(
        "a node with {:.0} MiB is lost, nothing else goes on: fully redundant after {:.1} s, {:.1} \
         MiB/s; {:.2} bytes read and {:.2} written per byte repaired",
        bytes as f64 / MIB,
        took.as_secs_f64(),
        bytes as f64 / MIB / took.as_secs_f64(),
        read / bytes as f64,
        written / bytes as f64
    );
    for (node, io) in &by_node {
        println!(
            "  node {node}: {:.0} MiB read, {:.0} MiB written",
            io.read as f64 / MIB,
            io.written as f64 / MIB
        );
    }
}

/// Applications go on at half the rate that they can have.
async fn beside(cluster: &Cluster, client: &Client, foreground: &Foreground) {
    let saturated = foreground.saturated(MEASURED_FOR).await;
    let paced = saturated / 2.0;
    let running = foreground.start(Some(paced));
    tokio::time::sleep(MEASURED_FOR).await;
    let undisturbed = running.stop().await;
    println!(
        "applications make {saturated:.1} calls/s of 1 MiB (7 gets, 3 puts of ten) at most; paced at \
         {paced:.1}/s they make {undisturbed:.1}/s"
    );

    let began = Instant::now();
    let running = foreground.start(Some(paced));
    let bytes = lose(cluster, client, 8).await;
    settled(client, REPAIRED_WITHIN, &[], &["node-8"]).await;
    let took = began.elapsed();
    let meanwhile = running.stop().await;
    println!(
        "a second node with {:.0} MiB is lost meanwhile: fully redundant after {:.1} s; they make \
         {meanwhile:.1}/s, {:.0} % of what they make undisturbed",
        bytes as f64 / MIB,
        took.as_secs_f64(),
        100.0 * meanwhile / undisturbed
    );
}
