//! All six nodes are killed with SIGKILL in mid-write. After a restart every acknowledged object is
//! there, and no object is partial.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, stream};
use marram_client::{Client, ListQuery, RetryPolicy};
use marram_cluster_tests::{Cluster, Options, Pool, Scratch, get, put, room};

const ROUNDS: usize = 2;
const WRITERS: usize = 8;
/// How long the writers write before the end.
const WRITE_FOR: Duration = Duration::from_secs(3);
const BUCKET: &str = "crash";

/// What is known of a key: contents in the order in which they were sent, and the last of them that
/// was acknowledged.
#[derive(Debug, Default)]
struct Known {
    sent: Vec<Bytes>,
    acknowledged: Option<usize>,
}

type Book = Mutex<BTreeMap<String, Known>>;

#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_objects_survive_a_crash_of_all_nodes() {
    let _room = room().await;
    let scratch = Scratch::new("crash");
    let mut cluster = Cluster::start(scratch.path(), &Options::default());
    cluster
        .client()
        .create_bucket(BUCKET, None)
        .await
        .expect("made");
    let book = Book::default();
    let pool = tokio::sync::Mutex::new(Pool::new(200, 40 << 20));
    for round in 0..ROUNDS {
        let mut config = cluster.config();
        config.retry = RetryPolicy::never();
        let client = Client::connect(config).expect("a client");
        let writers = (0..WRITERS).map(|writer| write(&client, &book, &pool, round, writer));
        let killer = async {
            tokio::time::sleep(WRITE_FOR).await;
            cluster.kill(&[1, 2, 3, 4, 5, 6]);
        };
        tokio::select! {
            _ = futures::future::join_all(writers) => panic!("the writers never end"),
            () = killer => {}
        }
        let acknowledged = acknowledged(&book);
        println!("round {round}: {acknowledged} objects are acknowledged");
        assert!(acknowledged > WRITERS, "the writers came to nothing");
        cluster.stop();
        cluster = Cluster::start(scratch.path(), &Options::default());
        check(&cluster.client(), &book).await;
    }
}

fn acknowledged(book: &Book) -> usize {
    let book = book.lock().expect("not poisoned");
    book.values()
        .filter(|known| known.acknowledged.is_some())
        .count()
}

/// Puts objects of all classes for ever; every other key is overwritten again and again. A writer
/// has keys of its own, so the order of its writes is known.
async fn write(
    client: &Client,
    book: &Book,
    pool: &tokio::sync::Mutex<Pool>,
    round: usize,
    writer: usize,
) {
    for i in 0.. {
        let key = match i % 2 {
            0 => format!("fresh/{round}/{writer}/{i}"),
            _ => format!("again/{writer}/{}", i % 6),
        };
        let size = [900, 40_000, 700_000, 9_000_000][(i + writer) % 4];
        let object = {
            let mut pool = pool.lock().await;
            let size = size + pool.below(1000);
            pool.object(key.clone(), size)
        };
        let at = {
            let mut book = book.lock().expect("not poisoned");
            let known = book.entry(key.clone()).or_default();
            known.sent.push(object.content.clone());
            known.sent.len() - 1
        };
        match put(client, BUCKET, &object).await {
            Ok(_) => {
                let mut book = book.lock().expect("not poisoned");
                book.entry(key).or_default().acknowledged = Some(at);
            }
            // After the kill nobody answers; it is the end of this writer's time.
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

/// A key with what may be read under it, and whether something must be.
struct Expected {
    key: String,
    allowed: Vec<Bytes>,
    must_be_there: bool,
}

fn expected(book: &Book) -> Vec<Expected> {
    let book = book.lock().expect("not poisoned");
    let keys = book.iter().map(|(key, known)| Expected {
        key: key.clone(),
        // The last acknowledged content, or one that was sent after it.
        allowed: known.sent[known.acknowledged.unwrap_or(0)..].to_vec(),
        must_be_there: known.acknowledged.is_some(),
    });
    keys.collect()
}

async fn check(client: &Client, book: &Book) {
    let keys = expected(book);
    let listed = listed(client, &keys).await;
    stream::iter(&keys)
        .for_each_concurrent(6, async |expected| {
            let key = &expected.key;
            match get(client, BUCKET, key).await {
                Ok(bytes) => {
                    let known = expected.allowed.iter().any(|content| *content == bytes);
                    assert!(known, "{key}: {} bytes that were not put", bytes.len());
                    assert!(listed.contains(key), "{key} is there and not listed");
                }
                Err(error) => {
                    assert_eq!(error.reason(), Some("OBJECT_NOT_FOUND"), "{key}: {error}");
                    assert!(
                        !expected.must_be_there,
                        "{key} was acknowledged and is gone"
                    );
                    assert!(!listed.contains(key), "{key} is listed and not there");
                }
            }
        })
        .await;
}

/// The keys that the bucket lists, none of which is unknown.
async fn listed(client: &Client, keys: &[Expected]) -> BTreeSet<String> {
    let mut pages = client.list(BUCKET, ListQuery::all(""));
    let mut listed = BTreeSet::new();
    while let Some(page) = pages.next().await.expect("listed") {
        for object in page.objects {
            let known = keys.iter().find(|expected| expected.key == object.key);
            let known = known.unwrap_or_else(|| panic!("{} was never put", object.key));
            let sizes: Vec<u64> = known
                .allowed
                .iter()
                .map(|bytes| bytes.len() as u64)
                .collect();
            assert!(
                sizes.contains(&object.size),
                "{}: {} of {sizes:?}",
                object.key,
                object.size
            );
            listed.insert(object.key);
        }
    }
    listed
}
