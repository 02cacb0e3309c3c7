//! Limits of the API that are reached over its transport; the table of all of them is `crate::limits`.

use std::time::Duration;

use marram_proto::v1;
use marram_types::caps::{CONTENT_TYPE_BYTES_MAX, KEY_BYTES_MAX, USER_METADATA_BYTES_MAX};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Status};
use tonic_types::StatusExt;

use super::kit::{Client, cluster, content, header, messages, reason, token};
use crate::auth::TOKEN_BYTES_MAX;
use crate::core::{DOWNLOAD_UNITS_MAX, TRANSFERS_MAX, UPLOAD_UNITS_MAX, WATCHERS_MAX};
use crate::gateway::transport::{HEADER_BYTES_MAX, STREAMS_MAX};
use crate::validate::ETAG_BYTES_MAX;

/// Long enough for a call that does not have to wait for another one.
const SOON: Duration = Duration::from_secs(20);
/// A call that has not ended after so long waits for another one.
const WAITS: Duration = Duration::from_millis(300);

fn field(status: &Status) -> String {
    let info = status.get_details_error_info().expect("a reason");
    info.metadata.get("field").cloned().unwrap_or_default()
}

#[tokio::test]
async fn texts_have_limits_and_the_field_is_named() {
    let (_cluster, mut client) = cluster(1).await;
    type Change = fn(&mut v1::PutObjectHeader, usize);
    let cases: [(&str, &str, usize, Change); 5] = [
        ("key", "INVALID_KEY", KEY_BYTES_MAX, |h, len| {
            h.key = "k".repeat(len);
        }),
        ("bucket", "INVALID_BUCKET_NAME", 63, |h, len| {
            h.bucket = "b".repeat(len);
        }),
        (
            "content_type",
            "INVALID_ARGUMENT",
            CONTENT_TYPE_BYTES_MAX,
            |h, len| {
                h.content_type = "t".repeat(len);
            },
        ),
        (
            "metadata",
            "INVALID_ARGUMENT",
            USER_METADATA_BYTES_MAX,
            |h, len| {
                h.metadata = [("m".to_owned(), "v".repeat(len - 1))].into();
            },
        ),
        (
            "if_etag_none_match",
            "INVALID_ARGUMENT",
            ETAG_BYTES_MAX,
            |h, len| {
                let if_etag_none_match = Some("e".repeat(len));
                h.preconditions = Some(v1::Preconditions {
                    if_etag_none_match,
                    ..v1::Preconditions::default()
                });
            },
        ),
    ];
    for (name, why, most, change) in cases {
        let mut put = async |len| {
            let mut header = header("bucket", "key", Some(3));
            change(&mut header, len);
            client.put_with(header, b"abc").await
        };
        match put(most).await {
            Ok(_) => {}
            Err(status) => assert_eq!(reason(&status), "BUCKET_NOT_FOUND", "{name}: {status}"),
        }
        let status = put(most + 1).await.expect_err("refused");
        assert_eq!(
            (reason(&status).as_str(), field(&status).as_str()),
            (why, name),
            "{status}"
        );
    }
    let request = |prefix: usize| v1::ListObjectsRequest {
        bucket: "bucket".to_owned(),
        prefix: "p".repeat(prefix),
        ..v1::ListObjectsRequest::default()
    };
    client.list(request(KEY_BYTES_MAX)).await.unwrap();
    let status = client
        .list(request(KEY_BYTES_MAX + 1))
        .await
        .expect_err("refused");
    assert_eq!(field(&status), "prefix");
}

#[tokio::test]
async fn headers_have_limits() {
    let (cluster, mut client) = cluster(1).await;
    let channel = cluster.channel().await;
    let ask = async |name: &'static str, value: String| {
        let mut client = Client::over(channel.clone());
        let mut request = Request::new(v1::ListBucketsRequest::default());
        request.metadata_mut().insert(name, value.parse().unwrap());
        client.buckets.list_buckets(request).await
    };
    ask("x-more", "x".repeat(HEADER_BYTES_MAX / 2))
        .await
        .unwrap();
    let refused = ask("x-more", "x".repeat(HEADER_BYTES_MAX)).await;
    assert!(refused.is_err(), "{refused:?}");
    ask("x-more", "x".to_owned())
        .await
        .expect("the connection stays");

    let signer = format!("Bearer {}", "x".repeat(TOKEN_BYTES_MAX + 1));
    let mut long = Client::signed(cluster.channel().await, signer.parse().unwrap());
    let status = long
        .buckets
        .list_buckets(v1::ListBucketsRequest::default())
        .await;
    let status = status.expect_err("refused");
    assert_eq!(reason(&status), "TOKEN_INVALID");
    assert!(status.message().contains("too long"), "{status}");
    client.put("key", b"abc").await.unwrap();
}

/// A put that has begun to write and does not go on, until what is returned is dropped.
fn hold(client: &Client, number: usize) -> mpsc::Sender<v1::PutObjectRequest> {
    let data = content(9_000, 1);
    let mut all = messages(
        header("bucket", &format!("held {number}"), Some(18_000)),
        &data,
    );
    all.truncate(2);
    let (sender, receiver) = mpsc::channel(4);
    for message in all {
        sender.try_send(message).unwrap();
    }
    let mut objects = client.objects.clone();
    tokio::spawn(async move { objects.put_object(ReceiverStream::new(receiver)).await });
    sender
}

#[tokio::test(flavor = "multi_thread")]
async fn transfers_have_a_limit_and_so_have_calls_of_a_connection() {
    let (cluster, mut other) = cluster(1).await;
    let mut full = Client::of(&cluster).await;
    assert_eq!(
        TRANSFERS_MAX, STREAMS_MAX as usize,
        "one connection reaches both"
    );
    let held: Vec<_> = (0..TRANSFERS_MAX)
        .map(|number| hold(&full, number))
        .collect();
    // One more before all of them have begun would take a place from one of them.
    let begun = tokio::time::timeout(SOON, async {
        while cluster.core.memory.places_left() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    begun.await.expect("all of them have begun");
    let data = content(9_000, 2);
    let refused = other.put("one more", &data).await.expect_err("refused");
    assert_eq!(
        (refused.code(), reason(&refused).as_str()),
        (Code::ResourceExhausted, "OVERLOADED")
    );
    let list = v1::ListBucketsRequest::default;
    other
        .buckets
        .list_buckets(list())
        .await
        .expect("other calls go on");
    let waits = tokio::time::timeout(WAITS, full.buckets.list_buckets(list())).await;
    assert!(
        waits.is_err(),
        "a connection has so many calls and no more: {waits:?}"
    );
    drop(held);
    let goes_on = tokio::time::timeout(SOON, full.buckets.list_buckets(list())).await;
    goes_on.expect("it goes on when one has ended").unwrap();
    let again = tokio::time::timeout(SOON, async {
        while let Err(status) = other.put("one more", &data).await {
            assert_eq!(reason(&status), "OVERLOADED", "{status}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    again.await.expect("there is room again");
}

#[tokio::test]
async fn without_memory_transfers_go_on_one_window_at_a_time() {
    let (cluster, mut client) = cluster(3).await;
    let memory = &cluster.core.memory;
    let all = |units: usize| u32::try_from(units).unwrap();
    let uploads = memory.uploads.clone();
    let downloads = memory.downloads.clone();
    let taken = (
        uploads
            .acquire_many_owned(all(UPLOAD_UNITS_MAX))
            .await
            .unwrap(),
        downloads
            .acquire_many_owned(all(DOWNLOAD_UNITS_MAX))
            .await
            .unwrap(),
    );
    let data = content(40 << 20, 3);
    client.put("large", &data).await.unwrap();
    assert_eq!(client.get("large").await.unwrap(), data);
    drop(taken);
    client.put("large", &data).await.unwrap();
    assert_eq!(client.get("large").await.unwrap(), data);
    // What they took is given back.
    assert_eq!(memory.uploads.available_permits(), UPLOAD_UNITS_MAX);
    assert_eq!(memory.downloads.available_permits(), DOWNLOAD_UNITS_MAX);
}

#[tokio::test]
async fn watches_of_the_status_have_a_limit() {
    let (cluster, mut client) = cluster(1).await;
    let mut watches = Vec::new();
    for _ in 0..WATCHERS_MAX {
        let watch = client
            .admin
            .watch_cluster_status(v1::WatchClusterStatusRequest::default());
        watches.push(watch.await.unwrap().into_inner());
    }
    let mut more = Client::signed(cluster.channel().await, token());
    let more = more
        .admin
        .watch_cluster_status(v1::WatchClusterStatusRequest::default());
    let status = more.await.expect_err("refused");
    assert_eq!(reason(&status), "OVERLOADED");
}
