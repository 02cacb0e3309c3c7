//! A bucket is removed through one gateway while others write into it: either it goes with nothing in it, or
//! it stays with everything that was acknowledged.

use std::time::Duration;

use marram_client::{Client, ErrorKind, Preconditions, PutBody, PutOptions};
use marram_cluster_tests::get;

use super::kit::{Arena, counted};

const BUCKET: &str = "removed";
const WRITERS: usize = 3;
const SIZES: [usize; 2] = [1000, 150_000];

/// The keys that were acknowledged, with their sizes. What is refused must be so for want of a bucket.
async fn write(client: Client, writer: usize, after: Duration) -> Vec<(String, usize)> {
    tokio::time::sleep(after).await;
    let mut done = Vec::new();
    for size in SIZES {
        let key = format!("{writer}-{size}");
        let body = PutBody::from(vec![7; size]);
        match client.put(BUCKET, &key, body, PutOptions::default()).await {
            Ok(_) => done.push((key, size)),
            Err(error) => assert_eq!(error.kind(), ErrorKind::NotFound, "{error}"),
        }
    }
    done
}

/// Makes the bucket. An attempt whose answer was lost made it too.
async fn make(client: &Client) {
    match client.create_bucket(BUCKET, None).await {
        Ok(_) => {}
        Err(error) => {
            let again = error.kind() == ErrorKind::AlreadyExists && error.attempts() > 1;
            assert!(again, "{error}");
        }
    }
}

/// Removes it: false where it is not empty.
async fn remove(client: &Client) -> bool {
    match client.delete_bucket(BUCKET).await {
        Ok(()) => true,
        Err(error) if error.reason() == Some("BUCKET_NOT_EMPTY") => false,
        Err(error) => {
            // The attempt before removed it, and its answer was lost.
            let again = error.kind() == ErrorKind::NotFound && error.attempts() > 1;
            assert!(again, "{error}");
            true
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_goes_empty_or_stays_with_all_that_was_acknowledged() {
    let mut arena = Arena::new("bucket-races").await;
    let remover = arena.gateway(1);
    let (mut gone, mut stayed) = (0, 0);
    arena.harm();
    let over = arena.over();
    let rounds = async {
        let mut round = 0;
        while !over() {
            make(&remover).await;
            let writers = (0..WRITERS).map(|writer| {
                let after = Duration::from_millis((round % 5) * 15);
                tokio::spawn(write(arena.gateway(writer), writer, after))
            });
            let writers: Vec<_> = writers.collect();
            tokio::time::sleep(Duration::from_millis(10)).await;
            let removed = remove(&remover).await;
            let mut acknowledged = Vec::new();
            for writer in writers {
                acknowledged.extend(writer.await.expect("a writer"));
            }
            if removed {
                assert_eq!(acknowledged, [], "round {round}: they are lost");
                let head = remover.head_bucket(BUCKET).await;
                assert_eq!(head.expect_err("gone").kind(), ErrorKind::NotFound);
                gone += 1;
            } else {
                let all = WRITERS * SIZES.len();
                assert_eq!(acknowledged.len(), all, "round {round}: it stays");
                let reader = arena.gateway(0);
                let (listed, _) = counted(&reader, BUCKET).await;
                assert_eq!(listed.len(), all);
                for (key, size) in acknowledged {
                    let bytes = get(&reader, BUCKET, &key).await.expect("read");
                    assert!(bytes == vec![7; size], "{key}");
                    let any = Preconditions::default();
                    reader.delete(BUCKET, &key, &any).await.expect("deleted");
                }
                assert!(remove(&remover).await, "it is empty now");
                stayed += 1;
            }
            round += 1;
        }
    };
    tokio::join!(rounds, arena.race());
    arena.peace().await;
    println!("{gone} went, {stayed} stayed");
    assert!(gone + stayed > 3, "{gone} and {stayed}: that was no race");
    let client = arena.cluster.client();
    let left = client.list_buckets(BUCKET).await.expect("listed");
    assert_eq!(left, []);
    arena.drives_get_empty().await;
}
