//! Every node of a cluster is stopped in order and started again, one after the other, while the cluster is
//! used: no call fails, and nobody has to wait for long.

use std::time::{Duration, Instant};

use marram_cluster_tests::{Cluster, Load, Options, Scratch, room, until};
use rustix::process::Signal;

const BUCKET: &str = "rolling";
const NODES: u16 = 4;
/// How long an orderly stop may take on a busy machine; the calls that run are short.
const STOPPED_WITHIN: Duration = Duration::from_secs(12);

#[tokio::test(flavor = "multi_thread")]
async fn every_node_is_restarted_in_turn_and_no_call_fails() {
    let _room = room().await;
    let scratch = Scratch::new("rolling");
    let options = Options {
        nodes: NODES,
        // Connections end all the while, too.
        env: vec![("MARRAM_API_CONNECTION_AGE", "1".to_owned())],
        ..Options::default()
    };
    let cluster = Cluster::start(scratch.path(), &options);
    let client = cluster.client();
    client.create_bucket(BUCKET, None).await.expect("made");
    cluster.healthy().await;
    let mut load = Load::start(&client, BUCKET, 77);
    let began = Instant::now();
    for node in 1..=NODES {
        let pid = cluster.pid(node).expect("it runs");
        cluster.signal(node, Signal::TERM);
        let what = format!("node {node} has stopped");
        until(&what, STOPPED_WITHIN, async || match cluster.pid(node) {
            Some(now) if now == pid => Err(format!("process {pid} is there")),
            _ => Ok(()),
        })
        .await;
        load.check().await;
        cluster.restart(&[node]);
        cluster.healthy().await;
        load.check().await;
    }
    let done = load.stop().await;
    println!(
        "{NODES} nodes restarted in {:?}: {} calls, the longest took {:?}",
        began.elapsed(),
        done.calls,
        done.longest
    );
    assert!(done.calls > 100, "{}", done.calls);
    marram_cluster_tests::verify_all(&client, BUCKET, &done.objects).await;
}
