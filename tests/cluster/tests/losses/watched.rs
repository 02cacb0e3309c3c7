//! Objects are watched while the node that leads most groups is killed under writers who compare and
//! swap: no change is left out, and those of each key come in their order.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::future::join_all;
use marram_client::{
    Client, ClientError, ErrorKind, ObjectEventKind, ObjectWatch, Preconditions, PutBody,
    PutOptions, VersionQuery, Versioning, WatchOptions,
};
use marram_cluster_tests::{Cluster, Options, Scratch, room};
use tokio::task::JoinHandle;

use super::leader::busiest_leader;

const BUCKET: &str = "watched";
const PREFIX: &str = "chain/";
/// Keys, over all groups, each with writers that race.
const KEYS: usize = 12;
const RACERS: usize = 2;
const WRITE_BEFORE: Duration = Duration::from_secs(1);
const WRITE_AFTER: Duration = Duration::from_secs(4);
/// What is written last, and ends the watchers.
const END: &str = "chain/end";
const BOOKMARKS: Duration = Duration::from_secs(1);
/// Bookmarks in a row after the end: every group has told what it had by then.
const QUIET: usize = 2;
const HEARD_WITHIN: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_over_a_killed_leader_leaves_nothing_out() {
    let _room = room().await;
    let scratch = Scratch::new("watched");
    let options = Options {
        nodes: 3,
        ..Options::default()
    };
    let cluster = Cluster::start(scratch.path(), &options);
    let client = cluster.client();
    client.create_bucket(BUCKET, None).await.expect("made");
    let on = client.set_versioning(BUCKET, Versioning::On);
    on.await.expect("every version is kept");
    let leader = busiest_leader(&client, 0).await;
    let survivor = if leader == 1 { 2 } else { 1 };
    // One hears of it by the node that is killed, and goes on elsewhere; one by a node that stays.
    let mut config = cluster.config();
    config
        .endpoints
        .sort_by_key(|at| at != cluster.endpoint(leader));
    let moved = Client::connect(config).expect("a client");
    let mut watchers = Vec::new();
    for through in [&moved, &cluster.client_of(survivor)] {
        watchers.push(begin(through).await);
    }
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..KEYS * RACERS)
        .map(|number| {
            let key = format!("{PREFIX}{}", number % KEYS);
            tokio::spawn(swap(client.clone(), key, Arc::clone(&stop)))
        })
        .collect();
    tokio::time::sleep(WRITE_BEFORE).await;
    cluster.kill(&[leader]);
    tokio::time::sleep(WRITE_AFTER).await;
    stop.store(true, Ordering::Relaxed);
    let mut acknowledged: BTreeMap<String, BTreeSet<u64>> = BTreeMap::new();
    for written in join_all(writers).await {
        let (key, generations) = written.expect("no writer fails");
        acknowledged.entry(key).or_default().extend(generations);
    }
    let end = put(&client, END, None).await.expect("written");
    acknowledged.entry(END.to_owned()).or_default().insert(end);
    let all: usize = acknowledged.values().map(BTreeSet::len).sum();
    println!("{all} changes were acknowledged");
    assert!(all > KEYS * 10, "the writers came to nothing");
    let there = versions(&client).await;
    for (key, generations) in &acknowledged {
        let kept: BTreeSet<u64> = there[key].iter().copied().collect();
        assert!(
            generations.is_subset(&kept),
            "{key}: an acknowledged write is lost"
        );
    }
    for watcher in watchers {
        let heard = tokio::time::timeout(HEARD_WITHIN, watcher).await;
        let (heard, again) = heard.expect("the end is heard").expect("the watch goes on");
        assert_eq!(
            heard, there,
            "what was told is what happened, in this order"
        );
        println!("{again} changes were told again");
    }
}

/// Begins to watch; returns when the watch has begun.
async fn begin(client: &Client) -> JoinHandle<(BTreeMap<String, Vec<u64>>, usize)> {
    let options = WatchOptions {
        prefix: PREFIX.to_owned(),
        bookmarks: Some(BOOKMARKS),
        ..WatchOptions::default()
    };
    let mut watch = client.watch(BUCKET, options);
    let first = watch.next().await.expect("it begins");
    assert_eq!(first.events, []);
    tokio::spawn(hear(watch))
}

/// The generations of each key in the order in which they were told, and how many were told again.
async fn hear(mut watch: ObjectWatch) -> (BTreeMap<String, Vec<u64>>, usize) {
    let mut heard: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    let mut again = 0;
    loop {
        let batch = watch.next().await.expect("the watch goes on");
        for event in batch.events {
            assert_eq!(event.kind, ObjectEventKind::Put);
            let ends = event.key == END;
            let known = heard.entry(event.key).or_default();
            if known.contains(&event.generation) {
                again += 1;
            } else {
                known.push(event.generation);
            }
            if ends {
                // The end was written after everything else, in a group of its own.
                return (rest(watch, heard).await, again);
            }
        }
    }
}

/// What other groups tell yet.
async fn rest(
    mut watch: ObjectWatch,
    mut heard: BTreeMap<String, Vec<u64>>,
) -> BTreeMap<String, Vec<u64>> {
    let mut quiet = 0;
    while quiet < QUIET {
        let batch = watch.next().await.expect("the watch goes on");
        quiet = match batch.events.is_empty() {
            true => quiet + 1,
            false => 0,
        };
        for event in batch.events {
            let known = heard.entry(event.key).or_default();
            if !known.contains(&event.generation) {
                known.push(event.generation);
            }
        }
    }
    heard
}

async fn put(client: &Client, key: &str, over: Option<u64>) -> Result<u64, ClientError> {
    let preconditions = Preconditions {
        if_generation_match: over,
        ..Preconditions::default()
    };
    let options = PutOptions {
        preconditions,
        ..PutOptions::default()
    };
    let body = PutBody::from(key.as_bytes().to_vec());
    let written = client.put(BUCKET, key, body, options).await?;
    Ok(written.generation)
}

/// Replaces what it knows to be there, again and again; the generations that were acknowledged.
async fn swap(client: Client, key: String, stop: Arc<AtomicBool>) -> (String, Vec<u64>) {
    let (mut present, mut written) = (0, Vec::new());
    while !stop.load(Ordering::Relaxed) {
        match put(&client, &key, Some(present)).await {
            Ok(generation) => {
                written.push(generation);
                present = generation;
            }
            Err(error) if error.kind() == ErrorKind::Precondition => {
                // The other one was faster.
                let there = client.head(BUCKET, &key).await.expect("somebody wrote it");
                present = there.generation;
            }
            Err(error) => panic!("{key}: {error}"),
        }
    }
    (key, written)
}

/// The generations of all versions, by key, the oldest first.
async fn versions(client: &Client) -> BTreeMap<String, Vec<u64>> {
    let query = VersionQuery {
        prefix: PREFIX.to_owned(),
        ..VersionQuery::default()
    };
    let mut pages = client.list_versions(BUCKET, query);
    let mut all: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    while let Some(page) = pages.next().await.expect("listed") {
        for version in page.versions {
            all.entry(version.key)
                .or_default()
                .insert(0, version.generation);
        }
    }
    all
}
