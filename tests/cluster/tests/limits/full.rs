//! Drives that are full refuse writes and keep serving reads; what a broken upload wrote goes away.

use std::time::Duration;

use futures::future::join_all;
use marram_client::{Client, ErrorKind, NodeState, Preconditions};
use marram_cluster_tests::{
    Cluster, Object, Options, Pool, Raw, Scratch, put, put_all, room, until, verify_all,
};

const MIB: usize = 1 << 20;
const BUCKET: &str = "full";
/// Small drives, so that they are full soon.
const DRIVE_BYTES: u64 = 160 << 20;
const OBJECT: usize = 16 * MIB;
/// Most of a drive is kept free of metadata, so that it is full soon.
const METADATA_DRIVE_BYTES: u64 = 96 << 20;
const METADATA_FREE: u64 = 64 << 20;
/// Objects that live in the metadata.
const SMALL: usize = 4096;
const SMALL_AT_ONCE: usize = 64;
/// More than fit.
const SMALL_MAX: usize = 40_000;
/// Space comes back within this time.
const FREED_WITHIN: Duration = Duration::from_secs(60);

fn options() -> Options {
    Options {
        segment_mib: 8,
        drive_capacity: Some(DRIVE_BYTES),
        ..Options::default()
    }
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

async fn freed(client: &Client, most: u64) {
    until(
        "the space comes back",
        FREED_WITHIN,
        async || match record_bytes(client).await {
            bytes if bytes <= most => Ok(()),
            bytes => Err(format!("{bytes} bytes, at most {most} should be left")),
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn full_drives_refuse_writes_and_serve_reads() {
    let _room = room().await;
    let scratch = Scratch::new("full");
    let cluster = Cluster::start(scratch.path(), &options());
    let client = cluster.client();
    client.create_bucket(BUCKET, None).await.expect("made");
    broken_uploads_leave_no_bytes(&cluster, &client).await;

    let mut pool = Pool::new(700, 32 * MIB);
    let mut objects: Vec<Object> = Vec::new();
    let refused = loop {
        let object = pool.object(format!("{}", objects.len()), OBJECT);
        match put(&client, BUCKET, &object).await {
            Ok(_) => objects.push(object),
            Err(error) => break error,
        }
        let stored = (objects.len() * OBJECT * 3 / 2) as u64;
        assert!(stored < 6 * DRIVE_BYTES, "the drives never got full");
    };
    assert_eq!(
        (refused.kind(), refused.reason()),
        (ErrorKind::Exhausted, Some("DRIVES_FULL")),
        "{refused}"
    );
    println!("full after {} objects", objects.len());
    assert!(
        objects.len() * OBJECT > 250 * MIB,
        "most of the space was used"
    );
    verify_all(&client, BUCKET, &objects).await;
    client.head(BUCKET, "0").await.expect("metadata is served");
    let missing = client.head(BUCKET, &format!("{}", objects.len())).await;
    assert_eq!(
        missing.expect_err("refused").reason(),
        Some("OBJECT_NOT_FOUND")
    );
}

/// Uploads that break off, at various points: what they wrote goes away.
async fn broken_uploads_leave_no_bytes(cluster: &Cluster, client: &Client) {
    let object = Pool::new(701, 4 * MIB).object("stays", 2 * MIB);
    put_all(client, BUCKET, std::slice::from_ref(&object)).await;
    let before = record_bytes(client).await;
    assert!(before > 2 * MIB as u64, "records are counted");
    for chunks in [3, 20, 40] {
        let raw = Raw::connect(cluster, 2).await;
        let (to, from) = tokio::sync::mpsc::channel(1);
        let request = raw.request(tokio_stream::wrappers::ReceiverStream::new(from));
        let call = tokio::spawn(async move { raw.objects().put_object(request).await });
        to.send(Raw::header(BUCKET, "broken", None))
            .await
            .expect("taken");
        for _ in 0..chunks {
            to.send(Raw::chunk(&vec![9; MIB])).await.expect("taken");
        }
        call.abort();
        let _ = call.await;
        freed(client, before).await;
    }
    client
        .delete(BUCKET, "broken", &Preconditions::default())
        .await
        .expect("no error");
    verify_all(client, BUCKET, &[object]).await;
}

/// Small objects live in the metadata. Where its drives have no room for more, they are refused, no
/// process ends, and reads and deletions go on.
#[tokio::test(flavor = "multi_thread")]
async fn full_metadata_drives_refuse_objects_and_go_on() {
    let _room = room().await;
    let scratch = Scratch::new("full-metadata");
    let options = Options {
        segment_mib: 8,
        drive_capacity: Some(METADATA_DRIVE_BYTES),
        metadata_free: Some(METADATA_FREE),
        ..Options::default()
    };
    let cluster = Cluster::start(scratch.path(), &options);
    let (client, pids) = (cluster.client(), cluster.pids());
    client.create_bucket(BUCKET, None).await.expect("made");
    let mut pool = Pool::new(702, MIB);
    let mut small = Vec::new();
    loop {
        let batch: Vec<Object> = (0..SMALL_AT_ONCE)
            .map(|n| pool.object(format!("small/{}/{n}", small.len()), SMALL))
            .collect();
        let puts = batch.iter().map(|object| put(&client, BUCKET, object));
        let refusals: Vec<_> = join_all(puts).await.into_iter().map(Result::err).collect();
        for refused in refusals.iter().flatten() {
            assert_eq!(
                (refused.kind(), refused.reason()),
                (ErrorKind::Exhausted, Some("METADATA_FULL")),
                "{refused}"
            );
        }
        let done = refusals.iter().all(Option::is_some);
        let taken = batch.into_iter().zip(refusals).filter(|(_, r)| r.is_none());
        small.extend(taken.map(|(object, _)| object));
        assert!(
            small.len() < SMALL_MAX,
            "the metadata drives never got full"
        );
        if done {
            break;
        }
    }
    println!("metadata full after {} small objects", small.len());
    verify_all(&client, BUCKET, &small).await;
    let anything = Preconditions::default();
    let deletions = small[..SMALL_AT_ONCE]
        .iter()
        .map(|object| client.delete(BUCKET, &object.key, &anything));
    for deleted in join_all(deletions).await {
        deleted.expect("deletions go on");
    }
    let gone = client.head(BUCKET, &small[0].key).await;
    assert_eq!(
        gone.expect_err("deleted").reason(),
        Some("OBJECT_NOT_FOUND")
    );
    let status = client.cluster_status().await.expect("answered");
    assert!(status.nodes.iter().all(|node| node.state == NodeState::Up));
    assert_eq!(cluster.pids(), pids, "a process ended");
}
