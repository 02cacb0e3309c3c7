//! Clocks ten minutes apart: a node that is ahead and one that is behind, from before the cluster is made.
//! Everything works through each of them, nothing is lost, and the status names them.

use std::fs;
use std::time::Duration;

use marram_client::{Client, ListQuery, Preconditions};
use marram_cluster_tests::{
    Cluster, Options, Pool, Scratch, http_get, put_all, read_page, room, run, until, verify_all,
};

const BUCKET: &str = "clocks";
const SOON: Duration = Duration::from_secs(60);
const TEN_MIN_MS: i64 = 600_000;
/// Pings of loaded machines tell clocks no better.
const ABOUT_MS: i64 = 5_000;

/// By name, how far the clocks are ahead that the status calls wrong.
async fn wrong_clocks(client: &Client) -> Result<Vec<(String, i64)>, String> {
    let status = client.cluster_status().await.map_err(|e| e.to_string())?;
    let nodes = status.nodes.iter();
    let wrong = nodes.filter(|node| node.condition.clock_ahead_ms != 0);
    let wrong = wrong.map(|node| (node.name.clone(), node.condition.clock_ahead_ms));
    let mut wrong: Vec<_> = wrong.collect();
    // Nodes are listed by their ids, which follow the order in which they joined.
    wrong.sort_unstable();
    Ok(wrong)
}

async fn until_wrong(client: &Client, wrong: &[(&str, i64)]) {
    until("the status names the wrong clocks", SOON, async || {
        let seen = wrong_clocks(client).await?;
        let fits = seen.len() == wrong.len() && { seen.iter().zip(wrong) }
            .all(|((name, ahead), (node, by))| name == node && (ahead - by).abs() < ABOUT_MS);
        fits.then_some(()).ok_or_else(|| format!("{seen:?}"))
    })
    .await;
}

/// Puts, gets, lists and deletes through this node's gateway alone.
async fn works_through(cluster: &Cluster, node: u16) {
    let client = cluster.client_of(node);
    let mut objects = Pool::new(u64::from(node), 512 << 10);
    let prefix = format!("through-{node}/");
    let made: Vec<_> = [100, 200 << 10, 400 << 10]
        .map(|len| objects.object(format!("{prefix}{len}"), len))
        .into();
    put_all(&client, BUCKET, &made).await;
    verify_all(&client, BUCKET, &made).await;
    assert_eq!(listed(&client, &prefix).await, made.len(), "node-{node}");
    for object in &made {
        let always = Preconditions::default();
        let gone = client.delete(BUCKET, &object.key, &always).await;
        assert!(gone.expect("deleted"), "node-{node}");
    }
    assert_eq!(listed(&client, &prefix).await, 0, "node-{node}");
}

async fn listed(client: &Client, prefix: &str) -> usize {
    let query = ListQuery {
        prefix: prefix.to_owned(),
        ..ListQuery::default()
    };
    let mut pages = client.list(BUCKET, query);
    let mut count = 0;
    while let Some(page) = pages.next().await.expect("listed") {
        count += page.objects.len();
    }
    count
}

#[tokio::test(flavor = "multi_thread")]
async fn clocks_ten_minutes_apart_do_no_harm_and_are_named() {
    let _room = room().await;
    let scratch = Scratch::new("clocks");
    let folder = scratch.path().join("faults");
    fs::create_dir_all(&folder).expect("made");
    let set = |node: u16, ahead_ms: i64| {
        let file = folder.join(format!("clock-node-{node}"));
        fs::write(file, ahead_ms.to_string()).expect("written");
    };
    set(2, TEN_MIN_MS);
    set(3, -TEN_MIN_MS);
    let options = Options {
        nodes: 4,
        quick_garbage: true,
        env: vec![("MARRAM_FAULT_DIR", folder.to_str().unwrap().to_owned())],
        ..Options::default()
    };
    let mut cluster = Cluster::start(&scratch.path().join("cluster"), &options);
    let client = cluster.client();
    let wrong = [("node-2", TEN_MIN_MS), ("node-3", -TEN_MIN_MS)];
    until_wrong(&client, &wrong).await;
    client.create_bucket(BUCKET, None).await.expect("made");
    let mut objects = Pool::new(9, 512 << 10);
    let kept: Vec<_> = (0..12)
        .map(|n| objects.object(format!("kept-{n}"), 1 + n * (40 << 10)))
        .collect();
    put_all(&client, BUCKET, &kept).await;
    for node in cluster.members() {
        works_through(&cluster, node).await;
    }
    // Another server may be asked, which hears of it within a second.
    until("the command names them", SOON, async || {
        let said = run(&cluster, &["admin", "status"]).done();
        let named = [
            "The clock of node-2 is 10 min ahead of those of the others",
            "The clock of node-3 is 10 min behind those of the others",
        ];
        let all = named.iter().all(|what| said.text().contains(what));
        all.then_some(()).ok_or_else(|| said.text().to_owned())
    })
    .await;
    metrics_tell(&client).await;

    // A node joins by its token, and the wrong ones start anew with their wrong clocks.
    let new = cluster.add_node();
    cluster.restart(&[2, 3]);
    cluster.healthy().await;
    until_wrong(&client, &wrong).await;
    for node in [2, 3, new] {
        works_through(&cluster, node).await;
    }
    verify_all(&client, BUCKET, &kept).await;

    // Somebody sets the clocks.
    set(2, 0);
    set(3, 0);
    until_wrong(&client, &[]).await;
    works_through(&cluster, 2).await;
    verify_all(&client, BUCKET, &kept).await;
}

/// The metrics of a node whose clock is right tell how far the others are off.
async fn metrics_tell(client: &Client) {
    let status = client.cluster_status().await.expect("answered");
    let node = |name: &str| status.nodes.iter().find(|node| node.name == name);
    let (first, second) = (
        node("node-1").expect("there"),
        node("node-2").expect("there"),
    );
    let (_, page) = http_get(&first.metrics_address, "/metrics", "").expect("answered");
    let page = read_page(&page).expect("a page");
    let samples = &page["marram_mesh_clock_ahead_seconds"].samples;
    let of = second.node_id.to_string();
    let ahead = samples.iter().find(|(_, labels, _)| labels["node"] == of);
    let ahead = ahead.expect("a sample").2;
    assert!((590.0..610.0).contains(&ahead), "{ahead}");
}
