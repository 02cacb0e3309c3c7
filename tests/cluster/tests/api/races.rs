//! A bucket is removed while others write into it, through three servers: either it goes with nothing in
//! it, or it stays with everything.

use std::time::Duration;

use marram_client::{Client, ErrorKind, PutBody, PutOptions};
use marram_cluster_tests::Shared;

const BUCKET: &str = "contested";

/// Writes two objects, one in a row and one in shards: the names of those that were acknowledged. What is
/// refused must be so for want of a bucket.
async fn write(client: Client, writer: usize, after: Duration) -> Vec<(String, usize)> {
    tokio::time::sleep(after).await;
    let mut done = Vec::new();
    for size in [1000, 150_000] {
        let key = format!("{writer}-{size}");
        let body = PutBody::from(vec![7; size]);
        match client.put(BUCKET, &key, body, PutOptions::default()).await {
            Ok(_) => done.push((key, size)),
            Err(error) => assert_eq!(error.kind(), ErrorKind::NotFound, "{error}"),
        }
    }
    done
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_goes_empty_or_stays_with_all_that_was_acknowledged() {
    let cluster = Shared::cluster();
    let remover = cluster.client_of(3);
    let (mut gone, mut stayed) = (0, 0);
    for round in 0..10_u64 {
        if let Err(error) = remover.create_bucket(BUCKET, None).await {
            panic!("round {round}: {error}");
        }
        let writers: Vec<_> = (0..2_usize)
            .map(|writer| {
                let client = cluster.client_of(u16::try_from(1 + writer).expect("small"));
                let after = Duration::from_millis((round % 5) * 15);
                tokio::spawn(write(client, writer, after))
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(10)).await;
        let removed = remover.delete_bucket(BUCKET).await;
        let mut acknowledged = Vec::new();
        for writer in writers {
            acknowledged.extend(writer.await.expect("a writer"));
        }
        match removed {
            Ok(()) => {
                assert_eq!(acknowledged, [], "round {round}: they are lost");
                let head = remover.head_bucket(BUCKET).await;
                assert_eq!(head.expect_err("it is gone").kind(), ErrorKind::NotFound);
                gone += 1;
            }
            Err(error) => {
                assert_eq!(error.reason(), Some("BUCKET_NOT_EMPTY"), "{error}");
                assert_eq!(
                    acknowledged.len(),
                    4,
                    "round {round}: it stays, and takes everything"
                );
                let reader = cluster.client_of(2);
                for (key, size) in acknowledged {
                    let got = reader.get(BUCKET, &key, None).await.expect("there");
                    let bytes = got.bytes(1 << 20).await.expect("read");
                    assert_eq!(bytes, vec![7; size]);
                    let none = marram_client::Preconditions::default();
                    reader.delete(BUCKET, &key, &none).await.expect("deleted");
                }
                remover.delete_bucket(BUCKET).await.expect("empty now");
                stayed += 1;
            }
        }
    }
    println!("{gone} went, {stayed} stayed");
}
