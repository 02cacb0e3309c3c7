//! A bucket that may hold so much, by the command line, and by writers through two gateways at its edge.

use std::time::Duration;

use marram_client::{BucketQuota, ErrorKind, Preconditions, PutBody, PutOptions};
use marram_cluster_tests::{Shared, run};

const BYTES: usize = 10_000;
const FIT: u64 = 60;

#[test]
fn a_quota_is_set_shown_and_taken_away() {
    let cluster = Shared::cluster();
    let _ = run(&cluster, &["mb", "m://bounded"]).done();
    let set = ["quota", "m://bounded", "--bytes", "1KiB"];
    let told = run(&cluster, &set).done();
    assert!(told.text().contains("0 B of 1.0 KiB"), "{}", told.text());
    let set = ["quota", "m://bounded", "--objects", "7", "--json"];
    let told = run(&cluster, &set).done().json_lines();
    assert_eq!(told[0]["quota"]["bytes"], 1024, "what is not named stays");
    assert_eq!(told[0]["quota"]["objects"], 7);
    let scratch = marram_cluster_tests::Scratch::new("quota");
    let file = scratch.path().join("large");
    std::fs::write(&file, vec![7; 2000]).expect("written");
    let file = file.to_str().expect("UTF-8");
    let refused = run(&cluster, &["cp", "-q", file, "m://bounded/large"]);
    assert_ne!(refused.code, 0);
    assert!(refused.err.contains("quota"), "{}", refused.err);
    assert!(refused.err.contains("1024"), "{}", refused.err);
    let _ = run(&cluster, &["quota", "m://bounded", "--none"]).done();
    let _ = run(&cluster, &["cp", "-q", file, "m://bounded/large"]).done();
    let shown = run(&cluster, &["du", "m://bounded"]).done();
    assert!(!shown.text().contains("quota"), "{}", shown.text());
    let _ = run(&cluster, &["quota", "m://bounded", "--bytes", "1KiB"]).done();
    let shown = run(&cluster, &["du", "m://bounded"]).done();
    assert!(shown.text().contains("quota"), "{}", shown.text());
    let _ = run(&cluster, &["rb", "--force", "m://bounded"]).done();
}

/// Writers through two servers, with keys in all groups: never more than the quota at any moment that is
/// looked at, all of it in the end, and what is deleted can be used again at once.
#[tokio::test(flavor = "multi_thread")]
async fn two_gateways_at_the_edge_never_exceed_the_quota() {
    const WRITERS: usize = 6;
    let cluster = Shared::cluster();
    let client = cluster.client();
    client.create_bucket("edge", None).await.expect("made");
    let quota = BucketQuota {
        bytes: Some(FIT * BYTES as u64),
        objects: None,
    };
    client.set_quota("edge", quota).await.expect("set");
    let writers = (0..WRITERS).map(|writer| {
        let client = cluster.client_of(u16::try_from(1 + writer % 2).expect("small"));
        tokio::spawn(async move {
            let (mut put, mut full) = (0, 0);
            for round in 0..20 {
                let key = format!("{writer}/{round}");
                let body = PutBody::from(vec![7; BYTES]);
                match client.put("edge", &key, body, PutOptions::default()).await {
                    Ok(_) => put += 1,
                    Err(error) => {
                        assert_eq!(error.reason(), Some("QUOTA_EXCEEDED"), "{error}");
                        assert_eq!(error.kind(), ErrorKind::Exhausted);
                        full += 1;
                    }
                }
            }
            (put, full)
        })
    });
    let writers: Vec<_> = writers.collect();
    let watch = tokio::spawn({
        let client = cluster.client_of(3);
        async move {
            loop {
                let usage = client.bucket_usage("edge").await.expect("told");
                assert!(usage.bytes <= FIT * BYTES as u64, "{usage:?}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    });
    let (mut put, mut full) = (0, 0);
    for writer in writers {
        let (did, refused) = writer.await.expect("a writer");
        put += did;
        full += refused;
    }
    watch.abort();
    assert!(
        watch.await.is_err_and(|error| error.is_cancelled()),
        "it never saw more"
    );
    assert_eq!(put, FIT, "as much as fits, and not less");
    assert_eq!(put + full, WRITERS as u64 * 20);
    let usage = client.bucket_usage("edge").await.expect("told");
    assert_eq!((usage.bytes, usage.objects), (FIT * BYTES as u64, FIT));
    // Deleted through one gateway, there is room through another one, for a key of any group.
    let mut pages = client.list("edge", marram_client::ListQuery::all(""));
    let page = pages.next().await.expect("a page").expect("not empty");
    for (at, object) in page.objects.iter().take(4).enumerate() {
        let any = Preconditions::default();
        client
            .delete("edge", &object.key, &any)
            .await
            .expect("deleted");
        let other = cluster.client_of(2);
        let body = PutBody::from(vec![8; BYTES]);
        let key = format!("again-{at}");
        let again = other.put("edge", &key, body, PutOptions::default()).await;
        again.expect("there is room");
    }
}
