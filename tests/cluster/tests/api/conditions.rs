//! Deletes, preconditions, metadata, and requests that are sent twice.

use marram_client::{
    Checksums, Client, ClientError, ErrorKind, ObjectInfo, Preconditions, PutBody, PutOptions,
    ReadConditions,
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

/// Of many that replace a version by its entity tag, each asking another server, one wins each round.
#[tokio::test(flavor = "multi_thread")]
async fn reads_and_writes_are_conditional_on_entity_tags() {
    let cluster = Shared::cluster();
    let client = cluster.client();
    client.create_bucket("tags", None).await.expect("made");
    let put = |client: Client, text: String, preconditions| async move {
        let options = PutOptions {
            preconditions,
            ..PutOptions::default()
        };
        client
            .put("tags", "k", PutBody::from(text.into_bytes()), options)
            .await
    };
    let first = Preconditions {
        if_etag_none_match: Some("*".to_owned()),
        ..Preconditions::default()
    };
    let mut tag = put(client.clone(), "0".to_owned(), first.clone())
        .await
        .expect("there is none")
        .etag;
    let second = put(client.clone(), "x".to_owned(), first).await;
    assert_eq!(
        second.expect_err("there is one").kind(),
        ErrorKind::Precondition
    );
    for round in 1..=5 {
        let racers = (1..=cluster.nodes()).map(|node| {
            let is_it = Preconditions {
                if_etag_match: Some(tag.clone()),
                ..Preconditions::default()
            };
            put(cluster.client_of(node), format!("{round} by {node}"), is_it)
        });
        let outcomes = futures::future::join_all(racers).await;
        let won: Vec<_> = outcomes.into_iter().filter_map(Result::ok).collect();
        assert_eq!(won.len(), 1, "round {round}");
        let old = ReadConditions {
            if_etag_none_match: Some(tag),
            ..ReadConditions::default()
        };
        let news = client
            .head_if("tags", "k", &old)
            .await
            .expect("another one");
        assert_eq!(news.etag, won[0].etag);
        tag = news.etag;
        let same = ReadConditions {
            if_etag_none_match: Some(tag.clone()),
            ..ReadConditions::default()
        };
        for node in 1..=cluster.nodes() + 1 {
            let kept = cluster
                .client_of(node)
                .get_if("tags", "k", None, &same)
                .await;
            let kept = kept.expect_err("not modified");
            assert_eq!(kept.reason(), Some("NOT_MODIFIED"));
            assert_eq!(kept.metadata()["current_etag"], tag);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_caller_knows_of_the_bytes_is_checked_before_they_are_visible() {
    let cluster = Shared::cluster();
    let client = cluster.client();
    client.create_bucket("checksums", None).await.expect("made");
    let mut pool = Pool::new(31, 4 << 20);
    for size in [100, 50_000, 3 << 20] {
        let object = pool.object(format!("{size}"), size);
        let data = object.content.to_vec();
        let put = |checksums| {
            let options = PutOptions {
                checksums,
                ..PutOptions::default()
            };
            client.put(
                "checksums",
                &object.key,
                PutBody::from(data.clone()),
                options,
            )
        };
        let wrong = Checksums {
            sha256: Some([7; 32]),
            ..Checksums::default()
        };
        let refused = put(wrong).await.expect_err("other bytes");
        assert_eq!(refused.reason(), Some("OBJECT_CHECKSUM_MISMATCH"));
        let none = client.head("checksums", &object.key).await;
        assert_eq!(none.expect_err("nothing").kind(), ErrorKind::NotFound);
        let right = Checksums {
            crc32c: Some(marram_types::crc32c(&data)),
            ..Checksums::default()
        };
        put(right).await.expect("these bytes");
        assert_eq!(
            get(&client, "checksums", &object.key).await.expect("read"),
            data
        );
    }
}

/// More than one call takes, some of it deleted by others meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn batches_delete_what_is_there() {
    let cluster = Shared::cluster();
    let client = cluster.client();
    client.create_bucket("batches", None).await.expect("made");
    let keys: Vec<String> = (0..300).map(|n| format!("dir/{n:04}")).collect();
    for chunk in keys.chunks(32) {
        let puts = chunk
            .iter()
            .map(|key| client.put("batches", key, PutBody::from("x"), PutOptions::default()));
        futures::future::try_join_all(puts).await.expect("put");
    }
    let batch: Vec<_> = keys
        .iter()
        .map(|key| (key.clone(), Preconditions::default()))
        .collect();
    // Two servers get the same batch: each object is deleted by exactly one of them.
    let (one, two) = (cluster.client_of(1), cluster.client_of(2));
    let (one, two) = tokio::join!(
        one.delete_many("batches", &batch),
        two.delete_many("batches", &batch)
    );
    let (one, two) = (one.expect("answered"), two.expect("answered"));
    for (at, (one, two)) in one.iter().zip(&two).enumerate() {
        let (one, two) = (one.as_ref().expect("done"), two.as_ref().expect("done"));
        let (one, two) = (one.existed, two.existed);
        assert!(one ^ two, "{}: {one} {two}", keys[at]);
    }
    client.delete_bucket("batches").await.expect("empty");
}
