//! One large object costs each process little memory, whatever the reader's speed.

use std::time::Duration;

use marram_client::{Client, PutBody, PutOptions};
use marram_cluster_tests::{
    Cluster, Options, Pool, Scratch, alone, own_bytes, peak_resident_bytes, reset_peak,
    resident_bytes,
};
use tokio::io::{AsyncRead, AsyncWriteExt};

const MIB: u64 = 1 << 20;
const BUCKET: &str = "memory";
/// Much more than a process may keep of it.
const OBJECT_MIB: u64 = 1100;
/// Resident memory of an idle process.
const IDLE_BYTES_MAX: u64 = 64 * MIB;
/// Of the program of a release build, so much is resident when it idles. That of the build under test is
/// larger, and is not counted.
const PROGRAM_BYTES: u64 = 27 * MIB;
/// Bytes on drives for each byte of a large object at 4+2: 1.5, headers and checksums.
const STORED_PER_BYTE_MAX: f64 = 1.51;
/// Memory that one object may cost a process.
const MORE_BYTES_MAX: u64 = 64 * MIB;

/// The same MiB again and again, marked with its number.
fn reader() -> impl AsyncRead + Send + Unpin + 'static {
    let (from, mut to) = tokio::io::duplex(1 << 20);
    tokio::spawn(async move {
        let mut piece = Pool::new(800, 2 << 20).content(1 << 20).to_vec();
        for number in 0..OBJECT_MIB {
            piece[..8].copy_from_slice(&number.to_le_bytes());
            if to.write_all(&piece).await.is_err() {
                return; // nobody reads any more
            }
        }
    });
    from
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_object_costs_little_memory() {
    let _alone = alone().await;
    let scratch = Scratch::new("memory");
    let options = Options {
        gateways: 1,
        segment_mib: 64,
        ..Options::default()
    };
    let cluster = Cluster::start(scratch.path(), &options);
    let gateway = cluster.client_of(cluster.nodes() + 1);
    gateway.create_bucket(BUCKET, None).await.expect("made");
    for pid in cluster.pids() {
        let idle = own_bytes(pid) + PROGRAM_BYTES;
        println!("idle: process {pid}: {} MiB", idle / MIB);
        assert!(idle < IDLE_BYTES_MAX, "an idle process holds {idle} bytes");
    }
    // The first object opens connections and files.
    let warm = Pool::new(801, 32 << 20).object("warm", 16 << 20);
    marram_cluster_tests::put(&gateway, BUCKET, &warm)
        .await
        .expect("put");
    marram_cluster_tests::verify(&gateway, BUCKET, &warm)
        .await
        .expect("exact");

    stored_per_byte(&gateway).await;
    let pids = cluster.pids();
    let before: Vec<u64> = pids.iter().map(|pid| resident_bytes(*pid)).collect();
    pids.iter().for_each(|pid| reset_peak(*pid));
    let check = |what: &str| {
        for (pid, before) in pids.iter().zip(&before) {
            let more = peak_resident_bytes(*pid).saturating_sub(*before);
            println!(
                "{what}: process {pid}: {} MiB before, {} more",
                before / MIB,
                more / MIB
            );
            assert!(
                more < MORE_BYTES_MAX,
                "{what}: {more} bytes more in process {pid}"
            );
        }
    };
    let body = PutBody::reader(reader());
    let info = gateway
        .put(BUCKET, "large", body, PutOptions::default())
        .await
        .expect("put");
    assert_eq!(info.size, OBJECT_MIB * MIB);
    check("put");

    let mut download = gateway.get(BUCKET, "large", None).await.expect("begun");
    let mut length = 0;
    let mut pause = 0;
    while let Some(piece) = download.next().await {
        length += piece.expect("exact").len() as u64;
        if length > pause {
            // Now and then the reader takes nothing for a while.
            pause += 200 * MIB;
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }
    assert_eq!(length, OBJECT_MIB * MIB);
    check("get");
}

async fn record_bytes(client: &Client) -> u64 {
    let status = client.cluster_status().await.expect("answered");
    status
        .nodes
        .iter()
        .flat_map(|node| &node.drives)
        .map(|drive| drive.record_bytes)
        .sum()
}

async fn stored_per_byte(client: &Client) {
    let before = record_bytes(client).await;
    let object = Pool::new(802, 65 << 20).object("overhead", 64 << 20);
    marram_cluster_tests::put(client, BUCKET, &object)
        .await
        .expect("put");
    let stored = (record_bytes(client).await - before) as f64 / object.content.len() as f64;
    println!("{stored:.4} bytes stored for each byte");
    assert!(
        (1.5..STORED_PER_BYTE_MAX).contains(&stored),
        "{stored} bytes for each byte"
    );
}
