//! Writers through two gateways at the edge of a quota: it is never exceeded, counters stay true, and in the
//! end it can be filled to the last object.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use marram_client::{
    BucketQuota, Client, ClientError, ErrorKind, Preconditions, PutBody, PutOptions,
};

use super::kit::{Arena, counted};

const OBJECTS: u64 = 30;
const BYTES: usize = 5000;
const WRITERS: usize = 6;
/// Keys of each writer: together more than fit.
const KEYS: usize = 12;
/// A writer that was refused so often knows that the bucket is full.
const REFUSALS: usize = 3;
const LOOK_EVERY: Duration = Duration::from_millis(40);

async fn put(client: &Client, bucket: &str, key: &str) -> Result<(), ClientError> {
    let body = PutBody::from(vec![7; BYTES]);
    let put = client.put(bucket, key, body, PutOptions::default());
    put.await.map(|_| ())
}

/// What is known of a bucket.
#[derive(Default)]
struct Known {
    there: BTreeSet<String>,
    /// Nobody knows: the last answer was none.
    perhaps: BTreeSet<String>,
    full: usize,
    looks: usize,
}

impl Known {
    fn add(&mut self, other: Self) {
        self.there.extend(other.there);
        self.perhaps.extend(other.perhaps);
        self.full += other.full;
        self.looks += other.looks;
    }
}

/// Writes new objects, and old ones again, until the bucket is full.
async fn write(client: Client, bucket: String, writer: usize) -> Known {
    let mut known = Known::default();
    for round in 0..KEYS * 2 {
        let key = format!("{writer}/{}", round / 2);
        match put(&client, &bucket, &key).await {
            Ok(()) => {
                known.there.insert(key);
            }
            Err(error) if error.reason() == Some("QUOTA_EXCEEDED") => {
                assert_eq!(error.kind(), ErrorKind::Exhausted);
                assert!(!known.there.contains(&key), "it is no larger: {error}");
                known.full += 1;
                if known.full == REFUSALS {
                    break;
                }
            }
            // A group that has a part of the quota cannot be reached.
            Err(error) if error.reason() == Some("BUCKET_BUSY") => {
                known.perhaps.insert(key);
            }
            Err(error) => panic!("{bucket}/{key}: {error}"),
        }
    }
    known
}

/// Nothing is deleted meanwhile, so the groups' counters together are never more than there was.
async fn look(client: Client, bucket: String, done: Arc<AtomicBool>) -> usize {
    let mut looks = 0;
    while !done.load(Ordering::Relaxed) {
        let usage = client.bucket_usage(&bucket).await.expect("told");
        assert!(usage.objects <= OBJECTS, "{usage:?}");
        assert!(usage.bytes <= OBJECTS * BYTES as u64, "{usage:?}");
        looks += 1;
        tokio::time::sleep(LOOK_EVERY).await;
    }
    looks
}

/// Fills a bucket from both gateways at once.
async fn fill(arena: &Arena, bucket: &str) -> Known {
    let client = arena.gateway(0);
    if let Err(error) = client.create_bucket(bucket, None).await {
        let again = error.kind() == ErrorKind::AlreadyExists && error.attempts() > 1;
        assert!(again, "{error}");
    }
    let quota = BucketQuota {
        bytes: Some(OBJECTS * BYTES as u64),
        objects: Some(OBJECTS),
    };
    client.set_quota(bucket, quota).await.expect("set");
    let done = Arc::new(AtomicBool::new(false));
    let task = look(arena.gateway(1), bucket.to_owned(), Arc::clone(&done));
    let looks = tokio::spawn(task);
    let writers = (0..WRITERS).map(|writer| {
        let task = write(arena.gateway(writer), bucket.to_owned(), writer);
        tokio::spawn(task)
    });
    let writers: Vec<_> = writers.collect();
    let mut all = Known::default();
    for writer in writers {
        all.add(writer.await.expect("no writer fails"));
    }
    done.store(true, Ordering::Relaxed);
    all.looks += looks.await.expect("it is never exceeded");
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quota_holds_and_its_counters_stay_true() {
    let mut arena = Arena::new("quota-edge").await;
    let over = arena.over();
    arena.harm();
    let mut buckets = Vec::new();
    let rounds = async {
        while !over() {
            let bucket = format!("edge-{}", buckets.len());
            let known = fill(&arena, &bucket).await;
            buckets.push((bucket, known));
        }
    };
    tokio::join!(rounds, arena.race());
    arena.peace().await;
    let client = arena.cluster.client();
    let (mut full, mut unknown, mut looks) = (0, 0, 0);
    for (bucket, known) in &buckets {
        let (listed, _) = counted(&client, bucket).await;
        let keys: BTreeSet<String> = listed.into_keys().collect();
        assert!(keys.len() as u64 <= OBJECTS, "{bucket}: {keys:?}");
        let lost: Vec<_> = known.there.difference(&keys).collect();
        assert!(
            lost.is_empty(),
            "{bucket}: acknowledged, not there: {lost:?}"
        );
        let may_be: BTreeSet<_> = known.there.union(&known.perhaps).cloned().collect();
        let strange: Vec<_> = keys.difference(&may_be).collect();
        assert!(
            strange.is_empty(),
            "{bucket}: refused, and there: {strange:?}"
        );
        all_of_it_can_be_used(&arena, bucket, keys).await;
        full += known.full;
        unknown += known.perhaps.len();
        looks += known.looks;
    }
    let count = buckets.len();
    println!("{count} buckets, {full} refusals, {unknown} unknown, {looks} looks at the usage");
    assert!(count > 1 && full > 0 && looks > 5, "no race");
}

/// By keys of any group, and nothing more; what is deleted makes room.
async fn all_of_it_can_be_used(arena: &Arena, bucket: &str, mut keys: BTreeSet<String>) {
    let client = arena.gateway(0);
    for number in keys.len()..usize::try_from(OBJECTS).expect("small") {
        let key = format!("fill/{number}");
        let fits = put(&arena.gateway(number), bucket, &key).await;
        fits.expect("there is room");
        keys.insert(key);
    }
    let more = put(&client, bucket, "more").await.expect_err("it is full");
    assert_eq!(more.reason(), Some("QUOTA_EXCEEDED"));
    let any = Preconditions::default();
    let one = keys.first().expect("it is full");
    client.delete(bucket, one, &any).await.expect("deleted");
    put(&arena.gateway(1), bucket, "more").await.expect("room");
    let (_, usage) = counted(&client, bucket).await;
    let all = (OBJECTS, OBJECTS * BYTES as u64);
    assert_eq!((usage.objects, usage.bytes), all);
}
