//! Counters that are read, raised by one and written back on condition of their generation.

use std::collections::BTreeMap;

use marram_client::{Client, ErrorKind, Preconditions, PutBody, PutOptions};
use marram_cluster_tests::get;

use super::kit::{Arena, counted};

const BUCKET: &str = "counters";
const COUNTERS: usize = 4;
const WORKERS: usize = 8;

fn key(counter: usize) -> String {
    format!("counter/{counter}")
}

async fn put(client: &Client, key: &str, value: u64, over: u64) -> Result<u64, ErrorKind> {
    let options = PutOptions {
        preconditions: Preconditions {
            if_generation_match: Some(over),
            ..Preconditions::default()
        },
        ..PutOptions::default()
    };
    let body = PutBody::from(value.to_string().into_bytes());
    match client.put(BUCKET, key, body, options).await {
        Ok(info) => Ok(info.generation),
        Err(error) if error.kind() == ErrorKind::Precondition => Err(error.kind()),
        Err(error) => panic!("{key}: {error}"),
    }
}

async fn read(client: &Client, key: &str) -> (u64, u64) {
    let got = client.get(BUCKET, key, None).await.expect("there");
    let generation = got.info().generation;
    let bytes = got.bytes(100).await.expect("read");
    let text = String::from_utf8(bytes).expect("digits");
    (text.parse().expect("a number"), generation)
}

/// Raises counters one after the other: how often each was acknowledged, and how often somebody else won.
async fn raise(
    client: Client,
    worker: usize,
    over: impl Fn() -> bool,
) -> (BTreeMap<usize, u64>, u64) {
    let (mut acknowledged, mut lost) = (BTreeMap::new(), 0);
    for round in 0.. {
        if over() {
            break;
        }
        // Half of the workers meet at the same counter.
        let counter = (worker / 2 + round) % COUNTERS;
        let (value, generation) = read(&client, &key(counter)).await;
        match put(&client, &key(counter), value + 1, generation).await {
            Ok(_) => *acknowledged.entry(counter).or_default() += 1,
            Err(_) => lost += 1,
        }
    }
    (acknowledged, lost)
}

#[tokio::test(flavor = "multi_thread")]
async fn counters_are_what_was_acknowledged() {
    let mut arena = Arena::new("counters").await;
    let client = arena.cluster.client();
    client.create_bucket(BUCKET, None).await.expect("made");
    for counter in 0..COUNTERS {
        put(&client, &key(counter), 0, 0).await.expect("begun");
    }
    arena.harm();
    let workers = (0..WORKERS).map(|worker| {
        let raise = raise(arena.gateway(worker), worker, arena.over());
        tokio::spawn(raise)
    });
    let workers: Vec<_> = workers.collect();
    arena.race().await;
    let (mut acknowledged, mut lost) = (BTreeMap::<usize, u64>::new(), 0);
    for worker in workers {
        let (counts, misses) = worker.await.expect("no worker fails");
        for (counter, count) in counts {
            *acknowledged.entry(counter).or_default() += count;
        }
        lost += misses;
    }
    arena.peace().await;
    let all: u64 = acknowledged.values().sum();
    println!("{all} increments were acknowledged, {lost} were refused");
    assert!(all > 100 && lost > 0, "{all} and {lost}: that was no race");
    for (counter, count) in acknowledged {
        for gateway in 0..2 {
            let bytes = get(&arena.gateway(gateway), BUCKET, &key(counter)).await;
            let text = String::from_utf8(bytes.expect("read")).expect("digits");
            assert_eq!(text, count.to_string(), "counter {counter}");
        }
    }
    let (all, usage) = counted(&client, BUCKET).await;
    assert_eq!(all.len(), COUNTERS);
    assert_eq!(usage.noncurrent_versions, 0);
}
