//! A backup knows places as they were: shards that moved since lie where the restored layout does not look.

use std::fs;
use std::time::Duration;

use marram_client::Client;
use marram_cluster_tests::{
    Cluster, Object, Pool, Scratch, Server, put_all, room, run, settled, until, verify_all,
};

use super::support::{answers, quick_garbage, unreadable};

const BUCKET: &str = "moved";
const NODES: u16 = 6;
const OBJECTS: usize = 60;
/// How long the data of two nodes may take to move on a busy machine.
const MOVED_WITHIN: Duration = Duration::from_secs(120);
/// How long shards may take to come home.
const HOME_WITHIN: Duration = Duration::from_secs(90);

/// Both nodes are emptied, or take data again.
async fn both(cluster: &Cluster, client: &Client, drained: bool) {
    let nodes = ["node-5", "node-6"];
    for node in nodes {
        let said = match drained {
            true => run(cluster, &["admin", "drain", node, "--allow-narrower"]),
            false => run(cluster, &["admin", "uncordon", node]),
        };
        let _said = said.done();
    }
    let (with, without) = if drained {
        (&[][..], &nodes[..])
    } else {
        (&nodes[..], &[][..])
    };
    settled(client, MOVED_WITHIN, with, without).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn shards_that_moved_since_the_backup_come_home_though_readers_missed_them_first() {
    let _room = room().await;
    let scratch = Scratch::new("moved");
    let dir = scratch.path();
    let mut cluster = Cluster::start(dir, &quick_garbage(NODES));
    let client = cluster.client();
    let made = client.create_bucket(BUCKET, Some("2+1")).await;
    made.expect("made");
    let mut pool = Pool::new(35, 16 << 20);
    let objects: Vec<Object> = (0..OBJECTS)
        .map(|i| pool.object(format!("object/{i}"), 200_000 + i))
        .collect();
    put_all(&client, BUCKET, &objects).await;

    // Of a stripe over three nodes, two shards lie on these two now and then.
    both(&cluster, &client, true).await;
    // The scans of the restored cluster bring nothing home before they are let.
    let _said = run(&cluster, &["admin", "gc", "pause"]).done();
    let file = dir.join("meta.backup");
    let path = file.to_str().expect("a plain path");
    let _said = run(&cluster, &["admin", "backup", "metadata", path]).done();
    let _said = run(&cluster, &["admin", "gc", "resume"]).done();
    both(&cluster, &client, false).await;
    cluster.stop();
    for node in cluster.members() {
        fs::remove_dir_all(cluster.drive(node).join("raft")).expect("removed");
    }

    let restore = format!("--restore={path}");
    let aware = "--i-know-that-newer-writes-are-lost".to_owned();
    let mut server = Server::start(dir, 1, &[restore, aware]);
    answers(&cluster.client_of(1), &mut server).await;
    server.stop();
    let mut cluster = Cluster::start(dir, &quick_garbage(NODES));
    cluster.healthy().await;
    let client = cluster.client();
    let failed = unreadable(&cluster, BUCKET, &objects).await;
    assert!(failed > 0, "every object has shards enough where they were");
    println!("{failed} of {OBJECTS} objects cannot be read before a scan");

    let _said = run(&cluster, &["admin", "gc", "resume"]).done();
    until(
        "every shard is home",
        HOME_WITHIN,
        async || match unreadable(&cluster, BUCKET, &objects).await {
            0 => Ok(()),
            left => Err(format!("{left} objects cannot be read")),
        },
    )
    .await;
    verify_all(&client, BUCKET, &objects).await;
    // The audit says what readers see, whether or not the rows still mark the shards.
    let audited = run(&cluster, &["--json", "admin", "audit"]).done();
    let found = &audited.json_lines()[0];
    assert_eq!((&found["lost"], &found["unknown"]), (&0.into(), &0.into()));
    cluster.stop();
}
