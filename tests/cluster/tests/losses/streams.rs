//! A stream of unknown length goes on through another server when its own dies, and what is sent twice is
//! bounded and told (rules.md 33).

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use marram_client::{Client, ErrorKind, PutBody, PutOptions, Watcher, WriteName, Written};
use marram_cluster_tests::{Cluster, Options, Pool, Scratch, equal_both_ways, get, room, until};
use marram_types::caps::WRITE_UNRECORDED_BYTES_MAX;
use tokio::io::{AsyncWriteExt, DuplexStream};
use tokio::sync::watch;

const BUCKET: &str = "streams";
const MIB: usize = 1 << 20;
/// Not a whole number of anything.
const SIZE: usize = 200 * MIB + 12_345;
/// Where the first server is killed, and the second one.
const KILL_AT: [usize; 2] = [60 * MIB, 130 * MIB];
const WITHIN: Duration = Duration::from_secs(150);

fn options() -> Options {
    let seconds = |name, seconds: u64| (name, seconds.to_string());
    Options {
        env: vec![
            seconds("MARRAM_GC_FLOOR_LAG", 12),
            seconds("MARRAM_GC_READ_LAG", 2),
            seconds("MARRAM_GC_SCAN_EVERY", 2),
        ],
        ..Options::default()
    }
}

/// Gives all bytes, piece by piece, and says how many it has given.
async fn feed(mut to: DuplexStream, content: Bytes, given: watch::Sender<usize>) {
    for piece in content.chunks(64 << 10) {
        if to.write_all(piece).await.is_err() {
            return;
        }
        given.send_modify(|given| *given += piece.len());
    }
}

/// What a watcher was told.
#[derive(Default)]
struct Told {
    moved: u64,
    /// What each break had sent again.
    again: Vec<u64>,
}

fn watcher(told: &Arc<Mutex<Told>>) -> Watcher {
    let told = Arc::clone(told);
    Watcher::new(move |bytes| {
        let mut told = told.lock().expect("not poisoned");
        match u64::try_from(bytes) {
            Ok(moved) => told.moved += moved,
            Err(_) => told.again.push(bytes.unsigned_abs()),
        }
    })
}

async fn reaches(given: &mut watch::Receiver<usize>, count: usize) {
    given.wait_for(|given| *given >= count).await.expect("fed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_survives_the_death_of_its_server_twice() {
    let _room = room().await;
    let scratch = Scratch::new("streams");
    let cluster = Cluster::start(scratch.path(), &options());
    let all = cluster.client();
    all.create_bucket(BUCKET, None).await.expect("made");
    let content = Pool::new(33, SIZE + MIB).content(SIZE);

    let mut config = cluster.config();
    config.endpoints = [1, 2]
        .map(|node| cluster.endpoint(node).to_owned())
        .to_vec();
    config.first_endpoint = Some(0);
    let client = Client::connect(config).expect("a client");
    let told = Arc::new(Mutex::new(Told::default()));
    let options = PutOptions {
        content_type: "video/mp4".to_owned(),
        watcher: Some(watcher(&told)),
        ..PutOptions::default()
    };
    let (writer, reader) = tokio::io::duplex(MIB);
    let (given, mut fed) = watch::channel(0);
    let feeding = tokio::spawn(feed(writer, content.clone(), given));
    let putting = tokio::spawn(async move {
        client
            .put(BUCKET, "k", PutBody::reader(reader), options)
            .await
    });
    reaches(&mut fed, KILL_AT[0]).await;
    cluster.kill(&[1]);
    reaches(&mut fed, KILL_AT[1]).await;
    assert!(
        all.head(BUCKET, "k").await.is_err(),
        "nothing partial is visible"
    );
    let under_way = uploads(&all).await;
    assert_eq!(under_way.len(), 1, "{under_way:?}");
    assert!(
        under_way[0].stream && under_way[0].bytes > 0,
        "{under_way:?}"
    );
    cluster.restart(&[1]);
    cluster.healthy().await;
    cluster.kill(&[2]);
    let object = putting.await.expect("ends").expect("the stream survives");
    feeding.await.expect("ends");
    assert_eq!(
        (object.size, object.content_type.as_str()),
        (SIZE as u64, "video/mp4")
    );
    cluster.restart(&[2]);
    cluster.healthy().await;
    let read = get(&all, BUCKET, "k").await.expect("read");
    assert!(read == content, "every byte is what was given");

    {
        let told = told.lock().expect("not poisoned");
        println!("sent again after each break: {:?} bytes", told.again);
        let again: u64 = told.again.iter().sum();
        assert!(told.again.len() <= 4, "breaks: {:?}", told.again);
        assert!(
            told.again
                .iter()
                .all(|bytes| *bytes <= WRITE_UNRECORDED_BYTES_MAX)
        );
        assert_eq!(told.moved, SIZE as u64 + again);
    }
    assert!(uploads(&all).await.is_empty());
    // What the dead servers had written and nothing records goes, and the rest is all there.
    equal_both_ways(&cluster, WITHIN).await;
    stays(&all, &content).await;
}

/// The object is there, and nothing of its upload counts any more.
async fn stays(client: &Client, content: &Bytes) {
    assert!(get(client, BUCKET, "k").await.expect("read") == *content);
    let usage = client.bucket_usage(BUCKET).await.expect("answered");
    assert_eq!((usage.bytes, usage.upload_bytes), (content.len() as u64, 0));
}

async fn uploads(client: &Client) -> Vec<marram_client::UploadInfo> {
    let mut pages = client.list_uploads(BUCKET, "");
    let mut all = Vec::new();
    while let Some(page) = pages.next().await.expect("listed") {
        all.extend(page);
    }
    all
}

/// An application does it by hand: it dies with bytes on their way, another one asks where the write goes
/// on, goes on through another server, and finishes through a third one.
#[tokio::test(flavor = "multi_thread")]
async fn a_write_is_gone_on_with_by_another_process_through_another_server() {
    let _room = room().await;
    let scratch = Scratch::new("streams-by-hand");
    let cluster = Cluster::start(scratch.path(), &options());
    let all = cluster.client();
    all.create_bucket(BUCKET, None).await.expect("made");
    let content = Pool::new(34, 90 * MIB).content(70 * MIB + 1);
    let first = cluster.client_of(1);
    let none = PutOptions::default();
    let write = first.start_write(BUCKET, "k", &none).await.expect("begun");

    let (mut writer, reader) = tokio::io::duplex(MIB);
    let by_first = write.clone();
    let writing = tokio::spawn(async move {
        let rest = PutBody::reader(reader);
        first.go_on_writing(&by_first, 0, rest, None).await
    });
    writer.write_all(&content[..40 * MIB]).await.expect("taken");
    until(
        "some of it is recorded",
        WITHIN,
        async || match persisted(&all, &write).await {
            bytes if bytes >= 16 << 20 => Ok(()),
            bytes => Err(format!("{bytes} bytes")),
        },
    )
    .await;
    // The process is gone, and its server a moment later.
    writing.abort();
    cluster.kill(&[1]);

    let second = cluster.client_of(2);
    let written = go_on(&second, &write, &content).await;
    assert_eq!(written.persisted_size, content.len() as u64);
    let third = cluster.client_of(3);
    let object = third
        .finish_write(&write, written.persisted_size, &none)
        .await;
    assert_eq!(object.expect("finished").size, content.len() as u64);
    cluster.restart(&[1]);
    cluster.healthy().await;
    assert!(get(&all, BUCKET, "k").await.expect("read") == content);
    let told = all.query_write(&write).await.expect("answered");
    assert!(told.finished_generation.is_some());
    equal_both_ways(&cluster, WITHIN).await;
}

/// Adds what is missing of `content`, from where the write is recorded to.
async fn go_on(client: &Client, write: &WriteName, content: &Bytes) -> Written {
    loop {
        let at = persisted(client, write).await;
        let from = usize::try_from(at).expect("a few MiB");
        let rest = PutBody::from(content.slice(from..));
        match client.go_on_writing(write, at, rest, None).await {
            Ok(written) => return written,
            // What the dead server had proposed was committed in between.
            Err(error) if error.kind() == ErrorKind::RangeNotSatisfiable => {}
            Err(error) => panic!("{error}"),
        }
    }
}

async fn persisted(client: &Client, write: &WriteName) -> u64 {
    let told = client.query_write(write).await.expect("answered");
    told.persisted_size
}
