//! What goes by itself, by real servers: rules of a day in the past, which has come.

use std::fs;
use std::time::Duration;

use marram_client::{Client, ErrorKind, LifecycleRule, ListQuery, PutBody, PutOptions, Versioning};
use marram_cluster_tests::{Scratch, Shared, run};

async fn keys(client: &Client, bucket: &str) -> Vec<String> {
    let mut pages = client.list(bucket, ListQuery::all(""));
    let mut all = Vec::new();
    while let Some(page) = pages.next().await.expect("a page") {
        all.extend(page.objects.into_iter().map(|object| object.key));
    }
    all
}

async fn put(client: &Client, bucket: &str, key: &str, bytes: Vec<u8>) -> u64 {
    let put = client.put(bucket, key, PutBody::from(bytes), PutOptions::default());
    put.await.expect("put").generation
}

/// A rule by which everything below a prefix has been due for ever.
fn past(id: &str, prefix: &str) -> LifecycleRule {
    LifecycleRule {
        prefix: prefix.to_owned(),
        expire_on_ms: Some(0),
        ..LifecycleRule::new(id)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_due_goes_and_the_rest_stays() {
    let cluster = Shared::cluster();
    let client = cluster.client();
    let _ = run(&cluster, &["mb", "m://going"]).done();
    client
        .set_versioning("going", Versioning::On)
        .await
        .expect("set");
    for n in 0..12 {
        put(&client, "going", &format!("old/{n}"), vec![7; 1000]).await;
        put(&client, "going", &format!("kept/{n}"), vec![7; 200_000]).await;
    }
    let scratch = Scratch::new("lifecycle");
    let file = scratch.path().join("rules.toml");
    let rules = "[[rule]]\nid = \"old\"\nprefix = \"old/\"\nexpire_on = \"2020-01-01\"\n";
    fs::write(&file, rules).expect("written");
    let file = file.to_str().expect("UTF-8");
    let tried = run(&cluster, &["lifecycle", "m://going", "dry-run", file]).done();
    assert!(
        tried.text().contains("rule old: expire: 12"),
        "{}",
        tried.text()
    );
    assert_eq!(
        keys(&client, "going").await.len(),
        24,
        "a dry run removes nothing"
    );
    let _ = run(&cluster, &["lifecycle", "m://going", "set", file]).done();
    let shown = run(&cluster, &["lifecycle", "m://going", "get"]).done();
    assert!(
        shown.text().contains("expire_on = \"2020-01-01\""),
        "{}",
        shown.text()
    );
    let began = std::time::Instant::now();
    while keys(&client, "going").await.len() > 12 {
        assert!(
            began.elapsed() < Duration::from_secs(60),
            "what is due is still there"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let left = keys(&client, "going").await;
    assert!(left.iter().all(|key| key.starts_with("kept/")), "{left:?}");
    let usage = client.bucket_usage("going").await.expect("told");
    assert_eq!((usage.noncurrent_versions, usage.delete_markers), (12, 12));
    let bad = "[[rule]]\nid = \"idle\"\n";
    let wrong = scratch.path().join("wrong.toml");
    fs::write(&wrong, bad).expect("written");
    let wrong = wrong.to_str().expect("UTF-8");
    let refused = run(&cluster, &["lifecycle", "m://going", "set", wrong]);
    assert_ne!(refused.code, 0);
    assert!(refused.err.contains("idle"), "{}", refused.err);
    let _ = run(&cluster, &["lifecycle", "m://going", "remove"]).done();
    let _ = run(&cluster, &["rb", "--force", "m://going"]).done();
}

/// Writers overwrite keys through two servers while rules come and go that make all of them due. Nothing
/// that was acknowledged after a rule was taken away is missing, and no object is ever half there.
#[tokio::test(flavor = "multi_thread")]
async fn a_put_that_races_with_a_rule_is_there_after_the_rule_is_gone() {
    const WRITERS: usize = 3;
    const ROUNDS: usize = 4;
    let cluster = Shared::cluster();
    let client = cluster.client();
    client.create_bucket("expiring", None).await.expect("made");
    for round in 0..ROUNDS {
        let rules = vec![past(&format!("all-{round}"), "")];
        let writers = (0..WRITERS).map(|writer| {
            let client = cluster.client_of(u16::try_from(1 + writer % 2).expect("small"));
            tokio::spawn(async move {
                let mut last = 0;
                for n in 0..12 {
                    let size = if n % 2 == 0 { 1000 } else { 150_000 };
                    let bytes = vec![u8::try_from(round * 12 + n).expect("small"); size];
                    last = put(&client, "expiring", &format!("k{writer}"), bytes).await;
                    match client.head("expiring", &format!("k{writer}")).await {
                        Ok(info) => assert_eq!(info.generation, last),
                        Err(error) => assert_eq!(error.kind(), ErrorKind::NotFound, "{error}"),
                    }
                }
                last
            })
        });
        let writers: Vec<_> = writers.collect();
        client.set_lifecycle("expiring", rules).await.expect("set");
        tokio::time::sleep(Duration::from_millis(300)).await;
        client
            .set_lifecycle("expiring", Vec::new())
            .await
            .expect("taken away");
        // From here on nothing goes any more, whatever a worker has found before.
        let after = put(&client, "expiring", "after", vec![1; 1000]).await;
        for (writer, task) in writers.into_iter().enumerate() {
            let last = task.await.expect("a writer");
            let key = format!("k{writer}");
            match client.head("expiring", &key).await {
                Ok(info) => assert_eq!(info.generation, last, "the last one that was acknowledged"),
                Err(error) => assert_eq!(error.kind(), ErrorKind::NotFound, "{error}"),
            }
            // Written again without a rule, it stays.
            let again = put(&client, "expiring", &key, vec![2; 150_000]).await;
            let info = client.head("expiring", &key).await.expect("there");
            assert_eq!(info.generation, again);
        }
        let info = client.head("expiring", "after").await.expect("there");
        assert_eq!(info.generation, after);
    }
    let all = keys(&client, "expiring").await;
    assert_eq!(all.len(), WRITERS + 1, "{all:?}");
}
