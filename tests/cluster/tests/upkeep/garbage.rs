//! Garbage collection is paused and resumed; what a writer left behind that died goes in time.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use marram_client::{Checksums, Client, Preconditions, PutBody, PutOptions};
use marram_cluster_tests::{Cluster, Options, Pool, Scratch, put_all, room, run, until};

use super::kit::{WITHIN, drives, settled};
use super::twice::what_is_said_twice_is_done_once;

const BUCKET: &str = "garbage";
/// Seconds that an upload may take here.
const FLOOR_LAG_S: u64 = 8;
const READ_LAG_S: u64 = 2;
const SCAN_EVERY_S: u64 = 2;
/// What the manual promises: twice the lag and two searches. A busy machine needs its time to start a server.
const STATED: Duration = Duration::from_secs(2 * FLOOR_LAG_S + 2 * SCAN_EVERY_S + 40);

fn options() -> Options {
    let seconds = |name, seconds: u64| (name, seconds.to_string());
    Options {
        nodes: 3,
        env: vec![
            seconds("MARRAM_GC_FLOOR_LAG", FLOOR_LAG_S),
            seconds("MARRAM_GC_READ_LAG", READ_LAG_S),
            seconds("MARRAM_GC_SCAN_EVERY", SCAN_EVERY_S),
        ],
        ..Options::default()
    }
}

async fn record_bytes(client: &Client) -> u64 {
    let drives = drives(client).await;
    drives
        .iter()
        .map(|drive| drive.record_bytes.unwrap_or(0))
        .sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_goes_while_it_is_paused_and_all_of_it_after() {
    let _room = room().await;
    let scratch = Scratch::new("gc-paused");
    let cluster = Cluster::start(scratch.path(), &options());
    let client = cluster.client();
    client.create_bucket(BUCKET, None).await.expect("made");
    let mut pool = Pool::new(980, 4 << 20);
    let objects: Vec<_> = (0..6)
        .map(|i| pool.object(format!("{i}"), 2 << 20))
        .collect();
    put_all(&client, BUCKET, &objects).await;
    let said = run(&cluster, &["admin", "gc", "pause", "--json"]).done();
    let said = &said.json_lines()[0];
    assert!(
        said["paused_since_ms"].is_u64() && said["behind"] == serde_json::json!([]),
        "{said}"
    );
    let full = record_bytes(&client).await;
    let shards = shards(&client).await;
    for object in &objects {
        let none = Preconditions::default();
        client
            .delete(BUCKET, &object.key, &none)
            .await
            .expect("deleted");
    }
    // All of it is due, and stays: another garbage that came later is due too by then.
    until("all of the garbage is due", WITHIN, async || {
        let status = client.garbage_status().await.map_err(|e| e.to_string())?;
        let all = objects.len() as u64;
        match status.due >= all && status.bytes >= 6 * (2 << 20) {
            true => Ok(()),
            false => Err(format!("{status:?}")),
        }
    })
    .await;
    // It outlives the process of every node.
    cluster.kill(&[1, 2, 3]);
    cluster.restart(&[1, 2, 3]);
    cluster.healthy().await;
    let client = cluster.client();
    scans_go_by(&client, 2).await;
    assert_eq!(record_bytes(&client).await, full, "nothing was removed");
    let status = client.garbage_status().await.expect("answered");
    assert!(
        status.paused_since_ms.is_some() && status.oldest_age_ms > 0,
        "{status:?}"
    );
    let text = run(&cluster, &["admin", "gc", "status"]).done();
    assert!(text.text().contains("PAUSED"), "{}", text.text());

    let _resumed = run(&cluster, &["admin", "gc", "resume"]).done();
    gone(&client, WITHIN).await;
    until("the queue is empty", WITHIN, async || {
        let status = client.garbage_status().await.map_err(|e| e.to_string())?;
        if status.entries == 0 {
            Ok(())
        } else {
            Err(format!("{status:?}"))
        }
    })
    .await;
    let told = removed(&cluster);
    assert_eq!(
        told.len() as u64,
        shards,
        "each removal is in the log: {told:?}"
    );
    what_is_said_twice_is_done_once(&cluster);
}

/// How many shards the metadata wants on the drives, all of which are there.
async fn shards(client: &Client) -> u64 {
    settled(client).await;
    let compared = client.compare_shards().await.expect("answered");
    assert!(compared.is_equal() && compared.wanted > 0, "{compared:?}");
    compared.wanted
}

/// The drives and shards that the nodes' logs say were removed.
fn removed(cluster: &Cluster) -> BTreeSet<String> {
    let logs = (1..=cluster.nodes()).map(|n| cluster.dir().join(format!("node-{n}/server.log")));
    let mut removed = BTreeSet::new();
    for log in logs {
        let log = std::fs::read_to_string(log).expect("a log");
        let lines = log
            .lines()
            .filter(|l| l.contains("shards are removed from a drive"));
        for line in lines {
            let of = |name: &str| {
                let value = line.split_once(name).expect("said").1;
                value.trim_start_matches('"').to_owned()
            };
            let drive = of(" drive=");
            let drive = drive.split(' ').next().expect("a drive");
            let shards = of(" shards=");
            let shards = shards.split(['"', '=']).next().expect("shards");
            let ids = shards
                .split(' ')
                .filter(|id| id.contains(|c: char| c.is_ascii_digit()));
            removed.extend(ids.map(|shard| format!("{drive} {shard}")));
        }
    }
    removed
}

/// Waits until every node has gone over its drives so often since its process began.
async fn scans_go_by(client: &Client, scans: u64) {
    until("the drives were scanned", WITHIN, async || {
        let status = client.scrub_status().await.map_err(|e| e.to_string())?;
        match status.scans.len() == 3 && status.scans.iter().all(|scan| scan.scans >= scans) {
            true => Ok(()),
            false => Err(format!("{:?}", status.scans)),
        }
    })
    .await;
}

async fn gone(client: &Client, within: Duration) {
    until("no record is left", within, async || {
        match record_bytes(client).await {
            0 => Ok(()),
            bytes => Err(format!("{bytes} bytes")),
        }
    })
    .await;
}

/// The gateway dies in the middle of an upload: nobody drops what it wrote, and no queue knows of it.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_dead_writer_left_goes_within_the_stated_time() {
    let _room = room().await;
    let scratch = Scratch::new("gc-orphans");
    let cluster = Cluster::start(scratch.path(), &options());
    let client = cluster.client();
    client.create_bucket(BUCKET, None).await.expect("made");
    settled(&client).await;
    let (writer, reader) = tokio::io::duplex(1 << 20);
    let through = cluster.client_of(1);
    let upload = tokio::spawn(async move {
        let body = PutBody::reader(reader);
        // With a digest to be compared it is no resumable write, which would go on.
        let options = PutOptions {
            checksums: Checksums {
                sha256: Some([0; 32]),
                ..Checksums::default()
            },
            ..PutOptions::default()
        };
        through.put(BUCKET, "never", body, options).await
    });
    let feed = tokio::spawn(async move {
        use tokio::io::AsyncWriteExt;
        let mut writer = writer;
        // It ends with the upload that takes it, which is killed.
        while writer.write_all(&[7; 1 << 16]).await.is_ok() {}
    });
    until("some of it is on the drives", WITHIN, async || {
        let written = record_bytes(&client).await;
        if written > 8 << 20 {
            Ok(())
        } else {
            Err(format!("{written} bytes"))
        }
    })
    .await;
    cluster.kill(&[1]);
    feed.abort();
    assert!(
        upload.await.expect("ends").is_err(),
        "it was never acknowledged"
    );
    let died = Instant::now();
    cluster.restart(&[1]);
    cluster.healthy().await;
    let client = cluster.client();
    gone(&client, WITHIN).await;
    // The floor has to pass it, from samples that a new leader begins anew, then a scan comes.
    let took = died.elapsed();
    println!("abandoned data was gone {took:?} after its writer died");
    assert!(took < STATED, "{took:?}, and the manual says {STATED:?}");
    assert!(!removed(&cluster).is_empty(), "each removal is in the log");
    assert!(client.head(BUCKET, "never").await.is_err());
}
