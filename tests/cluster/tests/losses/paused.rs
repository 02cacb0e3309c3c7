//! A node stands still (SIGSTOP) in the middle of large writes. The writes go on without it, and
//! once they are acknowledged any two other nodes may be lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures::future::{join, join_all};
use marram_client::{PutBody, PutOptions, Watcher};
use marram_cluster_tests::{Cluster, Object, Options, Pool, Scratch, put_all, room, verify_all};
use rustix::process::Signal;

const BUCKET: &str = "paused";
const LARGE: usize = 48 << 20;
const WRITES: usize = 3;
/// Bytes that the client has sent when the node is stopped: two thirds of all, which is more than
/// what connections and gateway hold back, so that something is durable on six nodes by then.
const STOP_AT: u64 = 96 << 20;
/// The node that stands still.
const STILL: u16 = 2;
/// How long writes may take with a node that stands still.
const WRITTEN_WITHIN: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_stands_still_weakens_nothing() {
    let _room = room().await;
    let scratch = Scratch::new("paused");
    let cluster = Cluster::start(scratch.path(), &Options::default());
    // A gateway on the node that stands still would take the upload down with it.
    let client = cluster.client_of(5);
    client.create_bucket(BUCKET, None).await.expect("made");
    let mut pool = Pool::new(400, 64 << 20);
    let mut objects: Vec<Object> = (0..WRITES)
        .map(|i| pool.object(format!("during/{i}"), LARGE + i))
        .collect();

    let moved = Arc::new(AtomicU64::new(0));
    let writes = join_all(objects.iter().map(|object| {
        let moved = Arc::clone(&moved);
        let watcher = Watcher::new(move |bytes| {
            moved.fetch_add(u64::try_from(bytes).unwrap_or(0), Ordering::Relaxed);
        });
        let options = PutOptions {
            watcher: Some(watcher),
            ..PutOptions::default()
        };
        let body = PutBody::from(object.content.clone());
        client.put(BUCKET, &object.key, body, options)
    }));
    let pauser = async {
        while moved.load(Ordering::Relaxed) < STOP_AT {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        cluster.signal(STILL, Signal::STOP);
        Instant::now()
    };
    let (written, stopped_at) = tokio::time::timeout(WRITTEN_WITHIN, join(writes, pauser))
        .await
        .expect("writes go on");
    println!(
        "written {:?} after the node was stopped",
        stopped_at.elapsed()
    );
    let written: Vec<_> = written
        .into_iter()
        .map(|info| info.expect("written"))
        .collect();
    assert!(
        written.iter().all(|info| !info.under_protected),
        "{written:?}"
    );
    assert!(
        written.iter().any(|info| info.profiles.len() > 1),
        "the node was stopped in the middle of a write: {written:?}"
    );
    let after: Vec<Object> = (0..6)
        .map(|i| pool.object(format!("after/{i}"), [900, 90_000, 5 << 20][i % 3]))
        .collect();
    put_all(&client, BUCKET, &after).await;
    objects.extend(after);
    verify_all(&client, BUCKET, &objects).await;

    cluster.signal(STILL, Signal::CONT);
    cluster.healthy().await;
    let others: Vec<u16> = (1..=6).filter(|node| *node != STILL).collect();
    let client = cluster.client();
    for (i, first) in others.iter().enumerate() {
        for second in &others[i + 1..] {
            let pair = [*first, *second];
            println!("nodes {first} and {second} are lost");
            cluster.kill(&pair);
            verify_all(&client, BUCKET, &objects).await;
            cluster.restart(&pair);
            cluster.healthy().await;
        }
    }
}
