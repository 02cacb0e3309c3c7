//! Three of five voters lose their metadata for good: two survivors go on with the longest logs.

use std::fs;
use std::path::Path;

use marram_cluster_tests::{
    Cluster, Options, Pool, Scratch, Server, put_all, room, until, verify_all,
};

use super::support::{answers, refused, replica, voters};

const BUCKET: &str = "majority";
/// How long a node may take to come back with a fresh replica.
const BACK_WITHIN: std::time::Duration = std::time::Duration::from_secs(60);
const GONE: &str = "node-3,node-4,node-5";

fn file(dir: &Path, node: u16) -> String {
    let file = dir.join(format!("node-{node}.export"));
    file.display().to_string()
}

fn recover(dir: &Path, files: &[u16], gone: &str) -> Vec<String> {
    let files: Vec<_> = files.iter().map(|node| file(dir, *node)).collect();
    vec![
        format!("--recover={}", files.join(",")),
        format!("--gone={gone}"),
        "--i-know-that-newer-writes-are-lost".to_owned(),
    ]
}

/// Exports what three nodes have, and checks what is refused while it might not be needed.
async fn export_and_be_refused(dir: &Path) {
    for node in 1..=3 {
        let export = [format!("--export-metadata={}", file(dir, node))];
        let (done, said) = Server::run(dir, node, &export);
        assert!(done && said.contains("group root: entry"), "{said}");
    }
    let refuses = |more: &[String], parts: &[&str]| refused(Server::run(dir, 1, more), parts);
    refuses(&recover(dir, &[1, 2, 3], GONE), &["nothing is lost"]);
    let names = ["node-3, node-4, node-5", "exactly"];
    refuses(&recover(dir, &[1, 2], "node-4,node-5"), &names);
    let mut unaware = recover(dir, &[1, 2], GONE);
    let aware = unaware.pop().expect("it is the last one");
    refuses(&unaware, &[&aware]);
    // A voter that is called gone and answers is not gone.
    let four = Server::start(dir, 4, &[]);
    until("node 4 answers", BACK_WITHIN, async || {
        let serves = four.said().contains("serving");
        serves.then_some(()).ok_or_else(|| four.said())
    })
    .await;
    refuses(&recover(dir, &[1, 2], GONE), &["node-4", "answers"]);
    four.stop();
}

/// The first survivor begins anew; the second one's metadata is from before.
async fn begin_anew(cluster: &Cluster) {
    let dir = cluster.dir();
    let mut one = Server::start(dir, 1, &recover(dir, &[1, 2], GONE));
    answers(&cluster.client_of(1), &mut one).await;
    assert!(one.said().contains("known_committed"), "{}", one.said());
    let old = replica(&cluster.drive(2));
    let two = Server::start(dir, 2, &["--give-up-metadata".to_owned()]);
    until("node 2 has a fresh replica", BACK_WITHIN, async || {
        let now = replica(&cluster.drive(2));
        let fresh = now > old + (1 << 34);
        fresh.then_some(()).ok_or_else(|| two.said())
    })
    .await;
    two.stop();
    one.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn two_survivors_of_five_voters_go_on() {
    let _room = room().await;
    let scratch = Scratch::new("majority");
    let dir = scratch.path();
    let options = Options {
        nodes: 5,
        ..Options::default()
    };
    let mut cluster = Cluster::start(dir, &options);
    let client = cluster.client();
    client.create_bucket(BUCKET, None).await.expect("made");
    let mut pool = Pool::new(35, 8 << 20);
    let sizes = [0, 700, 60_000, 900_000, 3 << 20].iter().cycle().take(20);
    let objects: Vec<_> = sizes
        .enumerate()
        .map(|(i, size)| pool.object(format!("{i}"), *size))
        .collect();
    let written = put_all(&client, BUCKET, &objects).await;
    let generations = written.iter().map(|info| info.generation);
    let newest = generations.max().expect("some");
    cluster.healthy().await;
    cluster.stop();

    export_and_be_refused(dir).await;
    let untouched = cluster.drive(1).join("raft/state").is_dir();
    assert!(untouched, "a refusal changes nothing");
    for node in 3..=5 {
        fs::remove_dir_all(cluster.drive(node).join("raft")).expect("removed");
    }
    begin_anew(&cluster).await;

    let mut cluster = Cluster::start(dir, &options);
    cluster.healthy().await;
    voters(&cluster, 5).await;
    let client = cluster.client();
    verify_all(&client, BUCKET, &objects).await;
    let more = [pool.object("more", 900_000)];
    let written = put_all(&client, BUCKET, &more).await;
    assert!(written[0].generation > newest);
    verify_all(&client, BUCKET, &more).await;
    cluster.stop();
}
