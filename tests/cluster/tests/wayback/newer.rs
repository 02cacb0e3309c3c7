//! Nodes that joined after the backup: the restored cluster does not know them, and they have shards that it
//! needs.

use std::fs;
use std::time::Duration;

use marram_client::NodeState;
use marram_cluster_tests::{
    Cluster, Object, Pool, Scratch, Server, put_all, room, run, settled, until, verify_all,
};

use super::support::{answers, quick_garbage, refused, replica, unreadable, voters};

const BUCKET: &str = "newer";
/// Nodes that the backup knows.
const NODES: u16 = 3;
const OBJECTS: usize = 60;
/// How long data may take to move to two nodes on a busy machine.
const MOVED_WITHIN: Duration = Duration::from_secs(120);
/// How long a node may take to be a member again.
const MEMBER_WITHIN: Duration = Duration::from_secs(120);
/// How long shards may take to come home.
const HOME_WITHIN: Duration = Duration::from_secs(120);

/// A fresh token for a storage node, as the shell has it.
fn token(cluster: &Cluster) -> String {
    let made = run(cluster, &["admin", "token", "create", "--role", "storage"]).done();
    made.text().trim().to_owned()
}

/// Restores the backup on the first node and starts the nodes that it knows.
async fn restored(cluster: &Cluster, backup: &str) -> Vec<Server> {
    let dir = cluster.dir();
    let restore = format!("--restore={backup}");
    let aware = "--i-know-that-newer-writes-are-lost".to_owned();
    let mut first = Server::start(dir, 1, &[restore, aware]);
    answers(&cluster.client_of(1), &mut first).await;
    let mut servers = vec![first];
    servers.extend((2..=NODES).map(|node| Server::start(dir, node, &[])));
    let known: Vec<_> = (1..=NODES).collect();
    up(cluster, &known, &mut servers).await;
    servers
}

/// Waits until these nodes are up, and no other is known.
async fn up(cluster: &Cluster, nodes: &[u16], servers: &mut [Server]) {
    let client = cluster.client_of(1);
    let wanted: Vec<_> = nodes.iter().map(|node| format!("node-{node}")).collect();
    until("the nodes are up", MEMBER_WITHIN, async || {
        for server in &mut *servers {
            assert!(!server.ended(), "it ended:\n{}", server.said());
        }
        let status = client.cluster_status().await.map_err(|e| e.to_string())?;
        let up = status.nodes.iter().filter(|n| n.state == NodeState::Up);
        let mut up: Vec<_> = up.map(|node| node.name.clone()).collect();
        up.sort();
        let only = up.len() == status.nodes.len();
        (only && up == wanted)
            .then_some(())
            .ok_or_else(|| format!("{:?}", status.nodes))
    })
    .await;
}

/// What a node that returns is refused, and then both of them return: one with the metadata that it had, one
/// that lost it.
async fn they_return(cluster: &Cluster, servers: &mut Vec<Server>) {
    let dir = cluster.dir();
    let flags = |token: String| vec!["--adopt-drives".to_owned(), format!("--token={token}")];
    let refuses = |node, more: &[String], parts: &[&str]| {
        refused(Server::run(dir, node, more), parts);
    };
    let used = token(cluster);
    let before = [4, 5].map(|node| replica(&cluster.drive(node)));
    fs::remove_dir_all(cluster.drive(5).join("raft")).expect("removed");
    servers.push(Server::start(dir, 4, &flags(used.clone())));
    up(cluster, &[1, 2, 3, 4], servers).await;
    refuses(5, &flags(used), &["token was used"]);
    servers.push(Server::start(dir, 5, &flags(token(cluster))));
    up(cluster, &[1, 2, 3, 4, 5], servers).await;
    for (node, before) in [4, 5].into_iter().zip(before) {
        let fresh = replica(&cluster.drive(node));
        assert!(
            fresh > before + (1 << 34),
            "node {node}: {fresh} after {before}"
        );
    }
    voters(cluster, 5).await;
    // A member needs no token, and gives up nothing.
    let member = servers.pop().expect("node 5 runs");
    member.stop();
    refuses(
        5,
        &flags(token(cluster)),
        &["the cluster knows node", "without --adopt-drives"],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_joined_after_the_backup_return_with_the_shards_that_it_needs() {
    let _room = room().await;
    let scratch = Scratch::new("newer");
    let dir = scratch.path();
    let options = quick_garbage(NODES);
    let mut cluster = Cluster::start(dir, &options);
    let client = cluster.client();
    let made = client.create_bucket(BUCKET, Some("2+1")).await;
    made.expect("made");
    let mut pool = Pool::new(36, 16 << 20);
    let objects: Vec<Object> = (0..OBJECTS)
        .map(|i| pool.object(format!("object/{i}"), 200_000 + i))
        .collect();
    put_all(&client, BUCKET, &objects).await;
    let file = dir.join("meta.backup");
    let path = file.to_str().expect("a plain path");
    let _said = run(&cluster, &["admin", "backup", "metadata", path]).done();
    for _ in 0..2 {
        cluster.add_node();
    }
    let newer = ["node-4", "node-5"];
    settled(&cluster.client(), MOVED_WITHIN, &newer, &[]).await;
    let newest = [pool.object("newest", 300_000)];
    put_all(&cluster.client(), BUCKET, &newest).await;
    cluster.stop();
    for node in 1..=NODES {
        fs::remove_dir_all(cluster.drive(node).join("raft")).expect("removed");
    }

    let mut servers = restored(&cluster, path).await;
    let failed = unreadable(&cluster, BUCKET, &objects).await;
    assert!(failed > 0, "what moved to the newer nodes is not needed");
    println!("{failed} of {OBJECTS} objects cannot be read without the newer nodes");
    they_return(&cluster, &mut servers).await;
    for server in servers {
        server.stop();
    }

    // From now on everybody starts as ever.
    let nodes = NODES + 2;
    let mut cluster = Cluster::start(dir, &quick_garbage(nodes));
    cluster.healthy().await;
    let client = cluster.client();
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
    let lost = client.get(BUCKET, "newest", None).await;
    assert!(lost.is_err(), "it is newer than the backup");
    let audited = run(&cluster, &["--json", "admin", "audit"]).done();
    let found = &audited.json_lines()[0];
    assert_eq!((&found["lost"], &found["unknown"]), (&0.into(), &0.into()));
    cluster.stop();
}
