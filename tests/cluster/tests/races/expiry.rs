//! Objects are overwritten through one gateway while rules that make them due come and go through another.

use std::collections::BTreeMap;
use std::time::Duration;

use marram_client::{Client, ErrorKind, LifecycleRule, PutBody, PutOptions};

use super::kit::{Arena, counted};

const BUCKET: &str = "expiry";
const WRITERS: usize = 4;
/// How long a rule holds, and how long none does.
const HOLDS: Duration = Duration::from_millis(700);

/// What a writer saw.
#[derive(Default)]
struct Seen {
    /// The generation that was acknowledged last, by key.
    last: BTreeMap<String, u64>,
    /// How often what was written was gone when it was written again.
    gone: usize,
    writes: usize,
}

async fn put(client: &Client, key: &str, size: usize) -> u64 {
    let body = PutBody::from(vec![9; size]);
    let put = client.put(BUCKET, key, body, PutOptions::default());
    match put.await {
        Ok(info) => info.generation,
        Err(error) => panic!("{key}: {error}"),
    }
}

/// Whether a key has what was written last: it has nothing else, and may only be without where it is due.
async fn is_there(client: &Client, key: &str, last: u64) -> bool {
    match client.head(BUCKET, key).await {
        Ok(info) => {
            assert_eq!(info.generation, last, "{key} is what was written last");
            true
        }
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
            assert!(key.starts_with("due/"), "{key} is due by no rule");
            false
        }
    }
}

async fn write(client: Client, writer: usize, over: impl Fn() -> bool) -> Seen {
    let mut seen = Seen::default();
    for round in 0.. {
        if over() {
            break;
        }
        let size = [500, 90_000, 300_000][round % 3];
        for below in ["kept", "due"] {
            let key = format!("{below}/{writer}/{}", round % 4);
            if let Some(last) = seen.last.get(&key) {
                seen.gone += usize::from(!is_there(&client, &key, *last).await);
            }
            let generation = put(&client, &key, size).await;
            seen.writes += 1;
            seen.last.insert(key, generation);
        }
    }
    seen
}

/// Sets the rule and takes it away, again and again; it is away in the end.
async fn rule(client: Client, over: impl Fn() -> bool) -> usize {
    let rule = LifecycleRule {
        prefix: "due/".to_owned(),
        expire_on_ms: Some(0),
        ..LifecycleRule::new("due")
    };
    let mut rounds = 0;
    while !over() {
        for rules in [vec![rule.clone()], Vec::new()] {
            let set = client.set_lifecycle(BUCKET, rules).await;
            set.expect("set");
            tokio::time::sleep(HOLDS).await;
        }
        rounds += 1;
    }
    rounds
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_again_is_never_taken_for_what_was_due() {
    let mut arena = Arena::new("expiry").await;
    let client = arena.cluster.client();
    client.create_bucket(BUCKET, None).await.expect("made");
    arena.harm();
    let writers = (0..WRITERS).map(|writer| {
        let task = write(arena.gateway(0), writer, arena.over());
        tokio::spawn(task)
    });
    let writers: Vec<_> = writers.collect();
    let rules = tokio::spawn(rule(arena.gateway(1), arena.over()));
    arena.race().await;
    let mut all = Seen::default();
    for writer in writers {
        let seen = writer.await.expect("no writer fails");
        all.last.extend(seen.last);
        all.gone += seen.gone;
        all.writes += seen.writes;
    }
    let rounds = rules.await.expect("rules come and go");
    arena.peace().await;
    let (listed, usage) = counted(&client, BUCKET).await;
    let mut expired = 0;
    for (key, generation) in &all.last {
        let there = is_there(&client, key, *generation).await;
        assert_eq!(there, listed.contains_key(key), "{key}");
        expired += usize::from(!there);
    }
    println!(
        "{} writes, {rounds} rules, {} gone before the next write, {expired} gone in the end",
        all.writes, all.gone
    );
    assert!(all.writes > 60 && rounds > 2, "no race");
    assert!(all.gone + expired > 5, "no rule ever held");
    assert_eq!(usage.noncurrent_versions, 0);
    // Without a rule, what is written stays.
    let mut again = BTreeMap::new();
    for key in all.last.keys() {
        again.insert(key.clone(), put(&client, key, 2000).await);
    }
    for (key, generation) in &again {
        let info = client.head(BUCKET, key).await.expect("there");
        assert_eq!(info.generation, *generation);
    }
    let (listed, _) = counted(&client, BUCKET).await;
    assert!(listed.keys().eq(again.keys()), "{listed:?}");
}
