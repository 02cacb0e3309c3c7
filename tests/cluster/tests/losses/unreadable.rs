//! An object of which too few shards are left keeps nothing else from moving: what drains goes on without it,
//! operators are told which it is, and once it is deleted the drained node can be removed.

use std::fs;
use std::time::Duration;

use marram_client::{Client, Preconditions};
use marram_cluster_tests::{
    Cluster, Options, Pool, Scratch, put, put_all, room, run, until, verify_all,
};

const BUCKET: &str = "unreadable";
const KEY: &str = "of which too little is left";
const WITHIN: Duration = Duration::from_secs(150);
/// Nodes that lose their shard of the object: one more than its parity.
const LOSE: usize = 3;

async fn notes(client: &Client) -> Result<String, String> {
    let status = client.cluster_status().await.map_err(|e| e.to_string())?;
    Ok(status
        .work
        .map(|work| work.notes.join(" "))
        .unwrap_or_default())
}

/// Nodes lose their shards of the object. Says which is the first of them.
async fn lose(cluster: &Cluster, client: &Client) -> String {
    // It is the only object, and six of the seven nodes have a shard of it.
    let drives = client.list_drives(None).await.unwrap();
    let holders = (1..=7).filter(|node| {
        let name = format!("node-{node}");
        let mut its = drives.iter().filter(|drive| drive.node == name);
        its.any(|drive| drive.record_bytes > Some(0))
    });
    let lose: Vec<u16> = holders.take(LOSE).collect();
    assert_eq!(lose.len(), LOSE, "{drives:?}");
    cluster.kill(&lose);
    for node in &lose {
        for file in fs::read_dir(cluster.drive(*node).join("segments")).unwrap() {
            fs::remove_file(file.unwrap().path()).unwrap();
        }
    }
    cluster.restart(&lose);
    cluster.healthy().await;
    format!("node-{}", lose[0])
}

/// A scrub finds out, and everybody is told which object it is.
async fn is_told_of(cluster: &Cluster, client: &Client) {
    let _said = run(cluster, &["admin", "scrub"]).done();
    let named = format!("m://{BUCKET}/{KEY}");
    until("the object is told of", WITHIN, async || {
        match notes(client).await? {
            notes if notes.contains(&named) => Ok(()),
            notes => Err(notes),
        }
    })
    .await;
    // Servers ask the one that knows once a second.
    until("the doctor tells of it", WITHIN, async || {
        let doctor = run(cluster, &["admin", "doctor"]);
        match doctor.text().contains(&named) {
            true => Ok(()),
            false => Err(doctor.text().to_owned()),
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_is_lost_holds_up_no_drain_and_is_told_of() {
    let _room = room().await;
    let scratch = Scratch::new("unreadable");
    let options = Options {
        nodes: 7,
        quick_garbage: true,
        env: vec![("MARRAM_GC_FLOOR_LAG", "20".to_owned())],
        ..Options::default()
    };
    let cluster = Cluster::start(scratch.path(), &options);
    let client = cluster.client();
    client.create_bucket(BUCKET, Some("4+2")).await.unwrap();
    let mut pool = Pool::new(300, 8 << 20);
    put(&client, BUCKET, &pool.object(KEY.to_owned(), 5 << 20))
        .await
        .unwrap();
    let drained = lose(&cluster, &client).await;
    let each = |i: usize| pool.object(format!("{i}"), 1 + i * 100_000);
    let objects: Vec<_> = (0..30).map(each).collect();
    put_all(&client, BUCKET, &objects).await;

    is_told_of(&cluster, &client).await;
    let _said = run(&cluster, &["admin", "drain", &drained]).done();
    until("the node is drained of all its slots", WITHIN, async || {
        let status = client.cluster_status().await.map_err(|e| e.to_string())?;
        let node = status.nodes.iter().find(|node| node.name == drained);
        match (node.map(|node| node.slots), status.moves_under_way) {
            (Some(0), 0) => Ok(()),
            left => Err(format!("{left:?}")),
        }
    })
    .await;
    verify_all(&client, BUCKET, &objects).await;
    let any = Preconditions::default();
    client.delete(BUCKET, KEY, &any).await.unwrap();
    until(
        "nothing is told of any more",
        WITHIN,
        async || match notes(&client).await? {
            notes if notes.contains(KEY) => Err(notes),
            _ => Ok(()),
        },
    )
    .await;
    until("the drained node is removed", WITHIN, async || {
        let removed = run(&cluster, &["admin", "remove", &drained]);
        if removed.code == 0 {
            Ok(())
        } else {
            Err(removed.err)
        }
    })
    .await;
    verify_all(&cluster.client_through_gateways(), BUCKET, &objects).await;
}
