//! A node that answers, but slowly: a state of its own. Reads and writes go around it and it keeps what it has;
//! when it is fast again it is used again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use marram_client::{Client, NodeHealth};
use marram_cluster_tests::{
    Cluster, Family, Object, Options, Pool, Scratch, Wires, http_get, put_all, read_page, room,
    until, verify_all,
};

const BUCKET: &str = "slow";
const SOON: Duration = Duration::from_secs(60);
/// The node that is slow.
const SLOW: u16 = 4;
/// In each direction. A ping takes twice as long, many times what others take, and Raft still works.
const HELD: Duration = Duration::from_millis(150);

/// How often everything is read while it is slow.
const ROUNDS: usize = 4;

async fn until_health(client: &Client, wanted: NodeHealth) {
    until(&format!("{wanted:?}"), SOON, async || {
        let status = client.cluster_status().await.map_err(|e| e.to_string())?;
        let health = |name: &str| {
            let node = status.nodes.iter().find(|node| node.name == name);
            node.map(|node| node.condition.health)
        };
        let seen = ["node-1", "node-2", "node-3", "node-4"].map(health);
        let up = Some(NodeHealth::Up);
        let fits = seen == [up, up, up, Some(wanted)];
        fits.then_some(()).ok_or_else(|| format!("{seen:?}"))
    })
    .await;
}

/// The metrics of a node.
async fn metrics(client: &Client, name: &str) -> BTreeMap<String, Family> {
    let status = client.cluster_status().await.expect("answered");
    let node = status.nodes.iter().find(|node| node.name == name);
    let address = &node.expect("there").metrics_address;
    let (_, page) = http_get(address, "/metrics", "").expect("answered");
    read_page(&page).expect("a page")
}

/// How many parts of shards the server that is asked had hedged, and how many of these came first.
async fn hedges(client: &Client) -> (f64, f64) {
    let page = metrics(client, "node-1").await;
    let of = |name: &str| page[name].samples.iter().map(|(.., count)| count).sum();
    (
        of("marram_read_hedges_total"),
        of("marram_read_hedges_won_total"),
    )
}

/// Reads until hedges came first.
async fn hedged_reads(client: &Client, objects: &[Object]) {
    until("hedges come first", SOON, async || {
        verify_all(client, BUCKET, objects).await;
        let (hedged, won) = hedges(client).await;
        let told = format!("{won} of {hedged} hedges came first");
        (won > 0.0).then_some(()).ok_or(told)
    })
    .await;
}

/// How many runs of shards the slow node has written, and how many parts of shards it has given.
async fn carried(client: &Client) -> (f64, f64) {
    let page = metrics(client, "node-4").await;
    let requests = &page["marram_mesh_requests_total"].samples;
    let of = |method: &str| {
        let of = requests
            .iter()
            .filter(|(_, labels, _)| labels["method"] == method);
        of.map(|(.., count)| count).sum()
    };
    (of("write_run"), of("read_shard"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_node_is_gone_around_and_used_again_when_it_is_fast() {
    let _room = room().await;
    let scratch = Scratch::new("slow");
    let wires = Arc::new(Wires::lay(scratch.path()));
    let options = Options {
        nodes: 4,
        ..Options::default()
    };
    let cluster = Cluster::start(scratch.path(), &options);
    // Applications reach it as before: only what peers say to it is slow.
    let client = cluster.client_of(1);
    client.create_bucket(BUCKET, None).await.expect("made");
    let mut pool = Pool::new(4, 1 << 20);
    let mut objects = |prefix: &str| -> Vec<_> {
        let sizes = (0..16).map(|n| 150_000 + n * 20_000);
        sizes
            .map(|len| pool.object(format!("{prefix}-{len}"), len))
            .collect()
    };
    let before = objects("before");
    put_all(&client, BUCKET, &before).await;
    verify_all(&client, BUCKET, &before).await;
    let (written, _) = carried(&client).await;
    assert!(written > 0.0, "four nodes share what is written");

    // It is read from while it gets slow: until somebody knows it, reads hedge.
    let slowed = Arc::clone(&wires);
    let slowing = tokio::task::spawn_blocking(move || slowed.slow_down([(SLOW, HELD)]));
    hedged_reads(&client, &before).await;
    slowing.await.expect("it is slow");
    until_health(&client, NodeHealth::Slow).await;

    let known = carried(&client).await;
    let meanwhile = objects("meanwhile");
    put_all(&client, BUCKET, &meanwhile).await;
    for _ in 0..ROUNDS {
        verify_all(&client, BUCKET, &before).await;
        verify_all(&client, BUCKET, &meanwhile).await;
    }
    let seen = carried(&client).await;
    let (written, read) = (seen.0 - known.0, seen.1 - known.1);
    assert!(
        written < 1.0,
        "{written} runs were written to it, others had room"
    );
    let all = (ROUNDS * (before.len() + meanwhile.len())) as f64;
    assert!(
        read < all / 10.0,
        "{read} of {all} reads came from it; a hedge may"
    );
    until_health(&client, NodeHealth::Slow).await;
    let status = client.cluster_status().await.expect("answered");
    let redundancy = status.redundancy.expect("said");
    assert!(
        redundancy.fully_redundant,
        "{redundancy:?}: it has what it has"
    );

    wires.slow_down([]);
    until_health(&client, NodeHealth::Up).await;
    let after = objects("after");
    put_all(&client, BUCKET, &after).await;
    assert!(carried(&client).await.0 > known.0, "it is written to again");
    verify_all(&client, BUCKET, &after).await;
}
