//! Events are kept for as long as the settings of the servers say, and no longer.

use std::time::{Duration, Instant};

use marram_client::{Client, ErrorKind, ListQuery, PutBody, PutOptions, WatchOptions};
use marram_cluster_tests::{Cluster, Options, Scratch, room};

const BUCKET: &str = "kept";
/// How long it may take until old events are gone: the setting says one second.
const GONE_WITHIN: Duration = Duration::from_secs(40);

async fn put(client: &Client, key: &str) -> u64 {
    let body = PutBody::from("x");
    let put = client.put(BUCKET, key, body, PutOptions::default()).await;
    put.expect("written").generation
}

fn from(revision: &str) -> WatchOptions {
    WatchOptions {
        from: Some(revision.to_owned()),
        ..WatchOptions::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_go_when_the_settings_say_so() {
    let _room = room().await;
    let scratch = Scratch::new("events-kept");
    let options = Options {
        nodes: 1,
        env: vec![("MARRAM_EVENTS_KEPT", "1".to_owned())],
        ..Options::default()
    };
    let cluster = Cluster::start(scratch.path(), &options);
    let client = cluster.client();
    client.create_bucket(BUCKET, None).await.expect("made");
    let first = client.list(BUCKET, ListQuery::all("")).next().await;
    let old = first.expect("listed").and_then(|page| page.revision);
    let old = old.expect("the first page has a revision");
    put(&client, "first").await;
    // It is told as long as it is kept, and then where to begin anew.
    let until = Instant::now() + GONE_WITHIN;
    let refused = loop {
        assert!(
            Instant::now() < until,
            "events are kept for an hour, not for a second"
        );
        // Old events go with the entries that come after them.
        for key in 0..64 {
            put(&client, &key.to_string()).await;
        }
        match client.watch(BUCKET, from(&old)).next().await {
            Ok(_) => {}
            Err(refused) => break refused,
        }
    };
    assert_eq!(refused.kind(), ErrorKind::Compacted, "{refused}");
    let fresh = refused.metadata()["revision"].clone();
    let mut watch = client.watch(BUCKET, from(&fresh));
    let last = put(&client, "last").await;
    let told = loop {
        let batch = watch.next().await.expect("it goes on");
        if let Some(event) = batch.events.iter().find(|event| event.key == "last") {
            break event.generation;
        }
    };
    assert_eq!(told, last);
}
