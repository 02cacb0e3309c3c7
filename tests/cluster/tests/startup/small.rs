//! One node, one node with several drives, three nodes.

use marram_cluster_tests::{Cluster, Object, Options, Pool, Scratch, put_all, room, verify_all};

const BUCKET: &str = "small";

fn objects(prefix: &str) -> Vec<Object> {
    let mut pool = Pool::new(500, 16 << 20);
    let sizes = [0, 100, 4096, 4097, 100_000, 1 << 20, 9 << 20];
    sizes
        .iter()
        .map(|size| pool.object(format!("{prefix}/{size}"), *size))
        .collect()
}

fn options(nodes: u16, drives: u16) -> Options {
    Options {
        nodes,
        drives,
        ..Options::default()
    }
}

/// Starts, writes, stops, starts again, reads.
async fn starts_again(name: &str, options: &Options, profile: &str) {
    let _room = room().await;
    let scratch = Scratch::new(name);
    let mut cluster = Cluster::start(scratch.path(), options);
    let client = cluster.client();
    let bucket = client.create_bucket(BUCKET, None).await.expect("made");
    assert_eq!(bucket.profile, profile);
    let before = objects("before");
    for info in put_all(&client, BUCKET, &before).await {
        if info.size > 128 << 10 {
            assert_eq!(info.profiles, [profile]);
        }
    }
    cluster.stop();
    let cluster = Cluster::start(scratch.path(), options);
    let client = cluster.client();
    verify_all(&client, BUCKET, &before).await;
    let after = objects("after");
    put_all(&client, BUCKET, &after).await;
    verify_all(&client, BUCKET, &after).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_node_with_one_drive() {
    starts_again("one-node", &options(1, 1), "1+0").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_node_with_four_drives() {
    starts_again("four-drives", &options(1, 4), "2+2").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_nodes_and_one_of_them_lost() {
    let _room = room().await;
    let scratch = Scratch::new("three-nodes");
    let cluster = Cluster::start(scratch.path(), &options(3, 1));
    let client = cluster.client();
    let bucket = client.create_bucket(BUCKET, None).await.expect("made");
    assert_eq!(bucket.profile, "1+2");
    let mut all = objects("before");
    put_all(&client, BUCKET, &all).await;
    for node in 1..=3 {
        cluster.kill(&[node]);
        verify_all(&client, BUCKET, &all).await;
        let new = objects(&format!("without-{node}"));
        put_all(&client, BUCKET, &new).await;
        verify_all(&client, BUCKET, &new).await;
        all.extend(new);
        cluster.restart(&[node]);
        cluster.healthy().await;
    }
    verify_all(&client, BUCKET, &all).await;
}
