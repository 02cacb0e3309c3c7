//! Drives that are full refuse writes and keep serving reads; what a broken upload wrote goes away.

use std::time::Duration;

use marram_client::{Client, ErrorKind, Preconditions};
use marram_cluster_tests::{
    ALONE, Cluster, Object, Options, Pool, Raw, Scratch, put, put_all, until, verify_all,
};

const MIB: usize = 1 << 20;
const BUCKET: &str = "full";
/// Small drives, so that they are full soon.
const DRIVE_BYTES: u64 = 160 << 20;
const OBJECT: usize = 16 * MIB;
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
    let _alone = ALONE.lock().await;
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
