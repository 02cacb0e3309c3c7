//! Deletes, preconditions, metadata, and requests that are sent twice.

use marram_client::{
    Client, ClientError, ErrorKind, ObjectInfo, Preconditions, PutBody, PutOptions,
};
use marram_cluster_tests::{Pool, Raw, Shared, get, put};
use marram_proto::v1;
use marram_proto::v1::put_object_request::Message;

async fn put_if(
    client: &Client,
    text: &'static str,
    preconditions: Preconditions,
) -> Result<ObjectInfo, ClientError> {
    let options = PutOptions {
        preconditions,
        ..PutOptions::default()
    };
    client
        .put("conditions", "one", PutBody::from(text), options)
        .await
}

fn generation(wanted: u64) -> Preconditions {
    Preconditions {
        if_generation_match: Some(wanted),
        ..Preconditions::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn preconditions_are_judged_at_the_change() {
    let cluster = Shared::cluster();
    let client = cluster.client();
    client
        .create_bucket("conditions", None)
        .await
        .expect("made");
    // Of many that want to be first exactly one is.
    let racers = (0..12).map(|_| put_if(&client, "first", generation(0)));
    let outcomes = futures::future::join_all(racers).await;
    let (won, lost): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_ok);
    assert_eq!(won.len(), 1);
    for error in lost.into_iter().filter_map(Result::err) {
        assert_eq!(
            (error.kind(), error.reason()),
            (ErrorKind::Precondition, Some("PRECONDITION_FAILED"))
        );
    }
    let now = client.head("conditions", "one").await.expect("there");
    let second = put_if(&client, "second", generation(now.generation))
        .await
        .expect("matches");
    let stale = put_if(&client, "third", generation(now.generation))
        .await
        .expect_err("stale");
    assert_eq!(stale.kind(), ErrorKind::Precondition);
    let etag = |etag: &str| Preconditions {
        if_etag_match: Some(etag.to_owned()),
        ..Preconditions::default()
    };
    put_if(&client, "fourth", etag("\"other\""))
        .await
        .expect_err("another tag");
    put_if(&client, "fourth", etag(&second.etag))
        .await
        .expect("its tag");
    let stale = client
        .delete("conditions", "one", &generation(second.generation))
        .await;
    assert_eq!(stale.expect_err("stale").kind(), ErrorKind::Precondition);
    assert_eq!(
        get(&client, "conditions", "one").await.expect("read"),
        b"fourth"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn deleted_is_gone_and_deleting_twice_is_no_error() {
    let cluster = Shared::cluster();
    let client = cluster.client();
    client.create_bucket("deletes", None).await.expect("made");
    let mut pool = Pool::new(30, 4 << 20);
    for size in [10, 50_000, 1 << 20] {
        let object = pool.object(format!("{size}"), size);
        put(&client, "deletes", &object).await.expect("put");
        let none = Preconditions::default();
        assert!(
            client
                .delete("deletes", &object.key, &none)
                .await
                .expect("deleted")
        );
        for node in 1..=cluster.nodes() + 1 {
            let error = cluster
                .client_of(node)
                .get("deletes", &object.key, None)
                .await;
            let error = error.expect_err("gone everywhere");
            assert_eq!(error.reason(), Some("OBJECT_NOT_FOUND"));
        }
        assert!(
            !client
                .delete("deletes", &object.key, &none)
                .await
                .expect("no error")
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_comes_back_and_has_a_limit() {
    let cluster = Shared::cluster();
    let client = cluster.client();
    client.create_bucket("metadata", None).await.expect("made");
    let told = |value: String| PutOptions {
        content_type: "image/jpeg".to_owned(),
        metadata: [
            ("camera".to_owned(), value),
            ("\u{e9}t\u{e9}".to_owned(), String::new()),
        ]
        .into(),
        ..PutOptions::default()
    };
    let body = || PutBody::from("x");
    client
        .put("metadata", "a", body(), told("a box".to_owned()))
        .await
        .expect("put");
    let info = client.head("metadata", "a").await.expect("there");
    assert_eq!(info.content_type, "image/jpeg");
    assert_eq!(info.metadata, told("a box".to_owned()).metadata);
    let error = client
        .put("metadata", "b", body(), told("x".repeat(2048)))
        .await;
    let error = error.expect_err("too much");
    assert_eq!(
        (error.kind(), error.reason()),
        (ErrorKind::Invalid, Some("INVALID_ARGUMENT"))
    );
    let plain = client
        .put("metadata", "c", body(), PutOptions::default())
        .await
        .expect("put");
    assert_eq!(plain.content_type, "application/octet-stream");
}

/// The same request id twice, at two servers: carried out once, answered twice the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_sent_twice_happens_once() {
    let cluster = Shared::cluster();
    let client = cluster.client();
    client.create_bucket("twice", None).await.expect("made");
    let id = v1::RequestId {
        client: vec![7; 16].into(),
        sequence: 1,
    };
    for (key, data) in [("inline", vec![1; 100]), ("large", vec![2; 1 << 20])] {
        let messages = |key: &str| {
            let mut header = Raw::header("twice", key, Some(data.len() as u64));
            if let Some(Message::Header(header)) = &mut header.message {
                header.request_id = Some(v1::RequestId {
                    sequence: data.len() as u64,
                    ..id.clone()
                });
            }
            vec![header, Raw::chunk(&data)]
        };
        let first = Raw::connect(&cluster, 1)
            .await
            .put(messages(key))
            .await
            .expect("put");
        let other = Pool::new(31, 1 << 20).object(key, 77);
        let between = put(&client, "twice", &other).await.expect("put");
        let again = Raw::connect(&cluster, 4)
            .await
            .put(messages(key))
            .await
            .expect("answered");
        let generation = |answer: &v1::PutObjectResponse| {
            answer
                .object
                .as_ref()
                .map(|object| (object.generation, object.version_id.clone()))
        };
        assert_eq!(generation(&first), generation(&again), "{key}");
        // The repeated request did not undo what came after it.
        let now = client.head("twice", key).await.expect("there");
        assert_eq!(now.generation, between.generation, "{key}");
    }
}
