//! Watching objects, over a real socket.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use marram_proto::v1;
use marram_proto::v1::ObjectEventKind as Kind;
use tonic::{Code, Status, Streaming};
use tonic_types::StatusExt;

use super::grants::{id, key};
use super::kit::{Client, cluster, eventually, reason};
use crate::testing::Cluster;
use crate::watch::WATCHERS_MAX;

/// How long anything that must come may take.
const PATIENCE: Duration = Duration::from_secs(20);

type Stream = Streaming<v1::WatchObjectsResponse>;

fn request(prefix: &str, revision: &str) -> v1::WatchObjectsRequest {
    v1::WatchObjectsRequest {
        bucket: "bucket".to_owned(),
        prefix: prefix.to_owned(),
        revision: revision.to_owned(),
        bookmark_interval_ms: 1000,
    }
}

async fn watch(client: &mut Client, prefix: &str, revision: &str) -> Stream {
    let watching = client.watch.watch_objects(request(prefix, revision)).await;
    watching.expect("it begins").into_inner()
}

async fn next(stream: &mut Stream) -> Result<v1::WatchObjectsResponse, Status> {
    let next = tokio::time::timeout(PATIENCE, stream.message()).await;
    next.expect("something comes")
        .map(|m| m.expect("not the end"))
}

/// The next `count` events, and the revision behind them.
async fn events(stream: &mut Stream, count: usize) -> (Vec<v1::ObjectEvent>, String) {
    let (mut all, mut revision) = (Vec::new(), String::new());
    while all.len() < count {
        let message = next(stream).await.expect("the watch goes on");
        all.extend(message.events);
        revision = message.revision;
    }
    assert_eq!(all.len(), count, "{all:?}");
    (all, revision)
}

fn brief(events: &[v1::ObjectEvent]) -> Vec<(Kind, &str, u64)> {
    let brief = |event: &v1::ObjectEvent| event.kind();
    let each = events.iter();
    each.map(|event| (brief(event), event.key.as_str(), event.generation))
        .collect()
}

/// Deletes an object; the generation of its marker, where there is one.
async fn delete(client: &mut Client, key: &str) -> u64 {
    let request = v1::DeleteObjectRequest {
        bucket: "bucket".to_owned(),
        key: key.to_owned(),
        ..v1::DeleteObjectRequest::default()
    };
    let deleted = client.objects.delete_object(request).await.unwrap();
    deleted.into_inner().generation
}

async fn first_page(client: &mut Client) -> v1::ListObjectsResponse {
    let request = v1::ListObjectsRequest {
        bucket: "bucket".to_owned(),
        page_size: 2,
        ..v1::ListObjectsRequest::default()
    };
    client.list(request).await.unwrap()
}

#[tokio::test]
async fn what_happens_after_a_list_is_told_in_order() {
    let (_cluster, mut client) = cluster(6).await;
    client.put("before", b"x").await.unwrap();
    let revision = first_page(&mut client).await.revision;
    let one = client.put("a", b"one").await.unwrap();
    let two = client.put("a", b"three").await.unwrap();
    delete(&mut client, "a").await;
    let mut stream = watch(&mut client, "", &revision).await;
    let (told, after) = events(&mut stream, 3).await;
    let wanted = [
        (Kind::Put, "a", one.generation),
        (Kind::Put, "a", two.generation),
        (Kind::Deleted, "a", told[2].generation),
    ];
    assert_eq!(brief(&told), wanted);
    assert!(told[2].generation > two.generation);
    assert_eq!((told[1].size, &told[1].etag), (5, &two.etag));
    assert_eq!(told[1].time_ms, two.modified_ms as u64);
    let three = client.put("b", b"x").await.unwrap();
    let (told, _) = events(&mut stream, 1).await;
    assert_eq!(brief(&told), [(Kind::Put, "b", three.generation)]);
    // Taken up again where it was, as after a break.
    let mut stream = watch(&mut client, "", &after).await;
    let (told, _) = events(&mut stream, 1).await;
    assert_eq!(brief(&told), [(Kind::Put, "b", three.generation)]);
}

#[tokio::test]
async fn without_a_revision_it_begins_now_and_says_so() {
    let (_cluster, mut client) = cluster(6).await;
    client.put("a", b"x").await.unwrap();
    let mut stream = watch(&mut client, "", "").await;
    let first = next(&mut stream).await.unwrap();
    assert_eq!(first.events, []);
    let put = client.put("b", b"x").await.unwrap();
    let (told, _) = events(&mut stream, 1).await;
    assert_eq!(brief(&told), [(Kind::Put, "b", put.generation)]);
    let mut again = watch(&mut client, "", &first.revision).await;
    assert_eq!(events(&mut again, 1).await.0, told);
}

#[tokio::test]
async fn only_the_prefix_is_told_and_bookmarks_pass_over_the_rest() {
    let (cluster, mut client) = cluster(6).await;
    client.make_bucket("other").await;
    let mut stream = watch(&mut client, "in/", "").await;
    next(&mut stream).await.unwrap();
    let began = Instant::now();
    for name in ["in/a", "out/b", "in"] {
        client.put(name, b"x").await.unwrap();
    }
    let (told, _) = events(&mut stream, 1).await;
    assert_eq!(told[0].key, "in/a");
    let bookmark = next(&mut stream).await.unwrap();
    assert_eq!(bookmark.events, []);
    assert!(
        began.elapsed() >= Duration::from_secs(1),
        "as often as was asked for"
    );
    // All of it lies behind the bookmark, also what was not told.
    let mut all = watch(&mut client, "", &bookmark.revision).await;
    assert_eq!(next(&mut all).await.unwrap().events, []);
    let last = client.put("out/c", b"x").await.unwrap();
    let (told, _) = events(&mut all, 1).await;
    assert_eq!(brief(&told), [(Kind::Put, "out/c", last.generation)]);
    drop((stream, all));
    eventually("nobody watches", || cluster.core.watch.watchers() == 0).await;
}

#[tokio::test]
async fn a_list_of_many_pages_and_its_watch_leave_no_gap() {
    let (_cluster, mut client) = cluster(6).await;
    for name in ["a", "b", "c", "d", "e"] {
        client.put(name, b"x").await.unwrap();
    }
    let mut page = first_page(&mut client).await;
    let mut stream = watch(&mut client, "", &page.revision).await;
    let mut known: BTreeMap<String, u64> = BTreeMap::new();
    let mut changes = 0;
    loop {
        // Between any two pages something changes, before and behind what was listed.
        for name in ["a", "d", "f"] {
            client.put(name, b"changed").await.unwrap();
            changes += 1;
        }
        delete(&mut client, "b").await;
        let listed = page.objects.into_iter();
        known.extend(listed.map(|object| (object.key, object.generation)));
        if page.next_page_token.is_empty() {
            break;
        }
        let request = v1::ListObjectsRequest {
            bucket: "bucket".to_owned(),
            page_size: 2,
            page_token: page.next_page_token,
            ..v1::ListObjectsRequest::default()
        };
        page = client.list(request).await.unwrap();
        assert_eq!(page.revision, "", "the first page has it");
    }
    let last = client.put("z", b"x").await.unwrap().generation;
    changes += 1;
    // A key that was deleted is deleted once.
    let (told, _) = events(&mut stream, changes + 1).await;
    for event in told {
        match event.kind() {
            Kind::Put => known.insert(event.key, event.generation),
            Kind::Deleted => known.remove(&event.key),
            other => panic!("{other:?}"),
        };
    }
    assert_eq!(known.remove("z"), Some(last));
    let request = v1::ListObjectsRequest {
        bucket: "bucket".to_owned(),
        ..v1::ListObjectsRequest::default()
    };
    let listed = client.list(request).await.unwrap().objects.into_iter();
    let mut there: BTreeMap<String, u64> = listed.map(|o| (o.key, o.generation)).collect();
    there.remove("z");
    assert_eq!(known, there);
}

#[tokio::test]
async fn who_reads_slowly_is_told_all_of_it_from_the_tables() {
    const CHANGES: usize = 1500;
    let (cluster, mut client) = cluster(6).await;
    // The wires hold little, so that the mailbox fills.
    let narrow = { cluster.endpoint() }
        .initial_stream_window_size(65_535)
        .initial_connection_window_size(65_535);
    let mut slow = Client::over(narrow.connect().await.unwrap());
    let mut stream = watch(&mut slow, "", "").await;
    next(&mut stream).await.unwrap();
    let mut wanted = Vec::new();
    for change in 0..CHANGES {
        let name = format!("{}{}", change % 5, "x".repeat(1000));
        let put = client.put(&name, b"x").await.unwrap();
        wanted.push((name, put.generation));
    }
    let (told, _) = events(&mut stream, CHANGES).await;
    for name in 0..5 {
        let of_key = |key: &str| key.starts_with(&name.to_string());
        let told = told.iter().filter(|event| of_key(&event.key));
        let told: Vec<u64> = told.map(|event| event.generation).collect();
        let wanted = wanted.iter().filter(|(key, _)| of_key(key));
        let wanted: Vec<u64> = wanted.map(|(_, generation)| *generation).collect();
        assert_eq!(told, wanted);
    }
    assert!(
        cluster.watchers.reads() > 0,
        "more than a mailbox and the wires hold"
    );
}

#[tokio::test]
async fn what_was_compacted_away_is_said_with_where_to_begin() {
    let (cluster, mut client) = cluster(6).await;
    let old = first_page(&mut client).await.revision;
    cluster.groups.keep_events(3_600_000, 500);
    for change in 0..200 {
        client.put(&change.to_string(), b"x").await.unwrap();
    }
    let mut stream = watch(&mut client, "", &old).await;
    let status = next(&mut stream).await.expect_err("compacted");
    assert_eq!(status.code(), Code::OutOfRange);
    assert_eq!(reason(&status), "REVISION_COMPACTED");
    let details = status.get_error_details();
    let fresh = details.error_info().unwrap().metadata["revision"].clone();
    let mut stream = watch(&mut client, "", &fresh).await;
    let put = client.put("a", b"x").await.unwrap();
    let (told, _) = events(&mut stream, 1).await;
    assert_eq!(brief(&told), [(Kind::Put, "a", put.generation)]);
}

#[tokio::test]
async fn versions_and_markers_are_told_apart() {
    let (_cluster, mut client) = cluster(6).await;
    let versioning = v1::SetVersioningRequest {
        bucket: "bucket".to_owned(),
        versioning: v1::Versioning::On.into(),
        ..v1::SetVersioningRequest::default()
    };
    client.buckets.set_versioning(versioning).await.unwrap();
    let mut stream = watch(&mut client, "", "").await;
    let put = client.put("a", b"x").await.unwrap().generation;
    let marker = delete(&mut client, "a").await;
    let request = v1::DeleteObjectRequest {
        bucket: "bucket".to_owned(),
        key: "a".to_owned(),
        generation: Some(marker),
        ..v1::DeleteObjectRequest::default()
    };
    client.objects.delete_object(request).await.unwrap();
    let (told, _) = events(&mut stream, 4).await;
    let wanted = [
        (Kind::Put, "a", put),
        (Kind::DeleteMarker, "a", marker),
        (Kind::VersionDeleted, "a", marker),
        (Kind::Restored, "a", put),
    ];
    assert_eq!(brief(&told), wanted);
    assert!(told[2].is_delete_marker);
}

#[tokio::test]
async fn a_watch_ends_with_its_bucket_after_the_last_deletion() {
    let (_cluster, mut client) = cluster(6).await;
    client.put("a", b"x").await.unwrap();
    let mut stream = watch(&mut client, "", "").await;
    next(&mut stream).await.unwrap();
    delete(&mut client, "a").await;
    let request = v1::DeleteBucketRequest {
        bucket: "bucket".to_owned(),
        ..v1::DeleteBucketRequest::default()
    };
    client.buckets.delete_bucket(request).await.unwrap();
    let (told, revision) = events(&mut stream, 1).await;
    assert_eq!((told[0].kind(), told[0].key.as_str()), (Kind::Deleted, "a"));
    let status = loop {
        if let Err(status) = next(&mut stream).await {
            break status;
        }
    };
    assert_eq!(reason(&status), "BUCKET_NOT_FOUND");
    let again = client
        .watch
        .watch_objects(request_of("bucket", &revision))
        .await;
    assert_eq!(reason(&again.expect_err("it is gone")), "BUCKET_NOT_FOUND");
}

fn request_of(bucket: &str, revision: &str) -> v1::WatchObjectsRequest {
    v1::WatchObjectsRequest {
        bucket: bucket.to_owned(),
        ..request("", revision)
    }
}

/// Ends without anything happening that a watcher would be told.
async fn cut(stream: &mut Stream) -> (Status, Duration) {
    let began = Instant::now();
    loop {
        if let Err(status) = next(stream).await {
            return (status, began.elapsed());
        }
    }
}

#[tokio::test]
async fn a_watch_is_cut_with_its_grant_and_with_its_key() {
    let (cluster, mut admin) = cluster(6).await;
    let (made, mut client) = key(&cluster, &mut admin, &["list:bucket/in/"]).await;
    let mut rare = request("in/", "");
    rare.bookmark_interval_ms = 0;
    let watching = client.watch.watch_objects(rare.clone()).await;
    let mut stream = watching.unwrap().into_inner();
    next(&mut stream).await.unwrap();
    let elsewhere = client.watch.watch_objects(request("out/", "")).await;
    assert_eq!(reason(&elsewhere.expect_err("denied")), "PERMISSION_DENIED");
    let expires_ms = i64::try_from(crate::testing::now_ms()).unwrap() + 1200;
    let ends_soon = v1::UpdateAccessKeyRequest {
        id: id(&made),
        expires_ms: Some(expires_ms),
        ..v1::UpdateAccessKeyRequest::default()
    };
    admin
        .iam
        .update_access_key(ends_soon.clone())
        .await
        .unwrap();
    let (status, after) = cut(&mut stream).await;
    assert_eq!(reason(&status), "KEY_UNKNOWN");
    assert!(after > Duration::from_millis(500) && after < Duration::from_secs(5));
    let for_ever = v1::UpdateAccessKeyRequest {
        expires_ms: Some(0),
        ..ends_soon
    };
    admin.iam.update_access_key(for_ever).await.unwrap();
    let mut stream = client.watch.watch_objects(rare).await.unwrap().into_inner();
    next(&mut stream).await.unwrap();
    let gone = v1::DeleteAccessKeyRequest {
        id: id(&made),
        ..v1::DeleteAccessKeyRequest::default()
    };
    admin.iam.delete_access_key(gone).await.unwrap();
    let (status, after) = cut(&mut stream).await;
    assert_eq!(reason(&status), "KEY_UNKNOWN");
    assert!(after < Duration::from_secs(5), "{after:?}");
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_by_name() {
    let (_cluster, mut client) = cluster(6).await;
    let mut refused = async |request: v1::WatchObjectsRequest| {
        let status = client.watch.watch_objects(request).await;
        let status = status.expect_err("refused");
        let details = status.get_error_details();
        let info = details.error_info().expect("an ErrorInfo").clone();
        (info.reason, info.metadata.get("field").cloned())
    };
    let field = |name: &str| Some(name.to_owned());
    let forged = refused(request("", "01ab")).await;
    assert_eq!(forged, ("INVALID_REVISION".to_owned(), field("revision")));
    let long = refused(request(&"p".repeat(1025), "")).await;
    assert_eq!(long, ("INVALID_ARGUMENT".to_owned(), field("prefix")));
    let mut often = request("", "");
    for interval in [999, 600_001] {
        often.bookmark_interval_ms = interval;
        assert_eq!(
            refused(often.clone()).await,
            ("INVALID_ARGUMENT".to_owned(), field("bookmark_interval_ms"))
        );
    }
    let nowhere = refused(request_of("nowhere", "")).await;
    assert_eq!(nowhere.0, "BUCKET_NOT_FOUND");
}

#[tokio::test]
async fn a_server_that_stops_sends_its_watchers_elsewhere() {
    let (mut cluster, mut client): (Cluster, Client) = cluster(6).await;
    let mut stream = watch(&mut client, "", "").await;
    next(&mut stream).await.unwrap();
    let stopped = tokio::spawn(async move { cluster.stopped().await });
    let (status, _) = cut(&mut stream).await;
    assert_eq!(
        (status.code(), reason(&status).as_str()),
        (Code::Unavailable, "WATCH_MOVED")
    );
    stopped.await.unwrap();
}

#[tokio::test]
async fn a_server_has_so_many_watchers_and_no_more() {
    let (cluster, mut client) = cluster(1).await;
    let others = cluster.core.watch.take_places(WATCHERS_MAX - 1);
    let mut stream = watch(&mut client, "", "").await;
    next(&mut stream).await.unwrap();
    let refused = client.watch.watch_objects(request("", "")).await;
    let refused = refused.expect_err("one too many");
    assert_eq!(reason(&refused), "OVERLOADED");
    assert!(refused.get_error_details().retry_info().is_some());
    drop(others);
    let mut more = watch(&mut client, "", "").await;
    next(&mut more).await.unwrap();
}
