//! The client against a server that fails on demand.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use marram_types::Crc64Nvme;
use marram_types::caps::MIB;

use crate::{
    ByteRange, Client, ClientConfig, CopyOptions, ErrorKind, ListQuery, Preconditions, PutBody,
    PutOptions, ReadConditions, RequestId, RetryPolicy, VersionQuery, Watcher,
};

mod direct;
mod fake;
mod streams;
use fake::{Fake, Fault};

/// A client of one or two fake servers, with short limits and the given number of attempts.
fn client(servers: &[&Fake], attempts_max: u32) -> Client {
    let endpoints: Vec<&str> = servers.iter().map(|server| server.address()).collect();
    client_of(&endpoints.join(","), attempts_max)
}

fn client_of(endpoints: &str, attempts_max: u32) -> Client {
    let mut config = ClientConfig::new(endpoints, "MKTEST", "secret");
    config.first_endpoint = Some(0);
    config.stall_timeout = Duration::from_secs(5);
    config.retry = RetryPolicy {
        attempts_max,
        base: Duration::from_millis(1),
        cap: Duration::from_millis(5),
    };
    Client::connect(config).expect("a valid configuration")
}

fn bytes(count: usize) -> Vec<u8> {
    (0..count).map(|i| (i * 7 + i / 251) as u8).collect()
}

#[tokio::test]
async fn a_put_is_repeated_elsewhere_with_the_same_request_id() {
    let (first, second) = (Fake::start().await, Fake::start().await);
    first.fail([Fault::Unavailable]);
    let content = bytes(2 * MIB + 5);
    let put = client(&[&first, &second], 3)
        .put("abc", "k", content.clone().into(), PutOptions::default())
        .await
        .expect("the second attempt works");
    assert_eq!(put.size, content.len() as u64);
    assert_eq!(put.crc64nvme, Crc64Nvme::of(&content));
    assert_eq!(second.content(), content);
    let (failed, worked) = (first.request_ids(), second.request_ids());
    assert_eq!(failed.len(), 1);
    assert_eq!(failed, worked);
}

#[tokio::test]
async fn an_unknown_outcome_is_asked_for_again() {
    let server = Fake::start().await;
    server.fail([Fault::OutcomeUnknown, Fault::OutcomeUnknown]);
    let client = client(&[&server], 3);
    client
        .put("abc", "k", "hello".into(), PutOptions::default())
        .await
        .expect("the third attempt works");
    let ids = server.request_ids();
    assert!(ids.len() == 3 && ids.iter().all(|id| *id == ids[0]));
    client
        .put("abc", "k", "again".into(), PutOptions::default())
        .await
        .expect("works");
    assert_ne!(
        server.request_ids()[3],
        ids[0],
        "another mutation, another id"
    );
}

#[tokio::test]
async fn what_came_of_a_change_is_asked_for_by_another_client() {
    let server = Fake::start().await;
    server.fail([Fault::OutcomeUnknown]);
    let put = async |client: Client| {
        let body = PutBody::from("hello");
        client.put("abc", "k", body, PutOptions::default()).await
    };
    let unknown = put(client(&[&server], 1)).await.expect_err("unknown");
    assert_eq!(unknown.kind(), ErrorKind::OutcomeUnknown);
    let (id, sequence) = server.request_ids()[0].clone();
    let mut config = ClientConfig::new(server.address(), "MKTEST", "secret");
    config.first_request = Some(RequestId {
        client: u128::from_be_bytes(id.as_slice().try_into().unwrap()),
        sequence,
    });
    put(Client::connect(config).unwrap()).await.unwrap();
    let ids = server.request_ids();
    assert_eq!(ids, [(id.clone(), sequence), (id, sequence)]);
}

#[tokio::test]
async fn attempts_end_and_refusals_are_final() {
    let server = Fake::start().await;
    let client = client(&[&server], 2);
    server.fail([Fault::Unavailable, Fault::Unavailable, Fault::Unavailable]);
    let none = Preconditions::default();
    let error = client.delete("abc", "k", &none).await.expect_err("fails");
    assert_eq!(
        (error.kind(), error.attempts()),
        (ErrorKind::Unavailable, 2)
    );
    server.fail([Fault::Denied]);
    let error = client.head("abc", "k").await.expect_err("fails");
    assert_eq!((error.kind(), error.attempts()), (ErrorKind::Denied, 1));
    assert_eq!(error.reason(), Some("KEY_UNKNOWN"));
}

#[tokio::test]
async fn a_dead_server_is_left_for_a_living_one() {
    let (dead, living) = (Fake::start().await, Fake::start().await);
    dead.stop().await;
    let client = client(&[&dead, &living], 3);
    for _ in 0..3 {
        let none = Preconditions::default();
        client
            .delete("abc", "k", &none)
            .await
            .expect("the living one");
    }
    assert_eq!(living.request_ids().len(), 3);
}

#[tokio::test]
async fn a_source_that_shrinks_leaves_nothing_behind() {
    let server = Fake::start().await;
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("file");
    std::fs::write(&path, bytes(2 * MIB)).expect("written");
    let mut source = PutBody::file(&path).prepare().await.expect("a file");
    std::fs::write(&path, bytes(MIB)).expect("written");
    let (pieces, size) = (source.open(), source.size());
    let header = marram_proto::v1::PutObjectHeader {
        bucket: "abc".to_owned(),
        size,
        ..marram_proto::v1::PutObjectHeader::default()
    };
    let client = client(&[&server], 1);
    let error = client
        .attempts(|_| false, {
            let mut pieces = Some(pieces);
            let (client, header) = (client.clone(), header.clone());
            move |lane| {
                let (client, header) = (client.clone(), header.clone());
                let pieces = pieces.take().expect("one attempt");
                async move { client.put_once(lane, header, pieces, None).await }
            }
        })
        .await
        .expect_err("the file is shorter than it was");
    assert_eq!(error.kind(), ErrorKind::Changed);
    server.broken_off().await;
    assert!(server.content().is_empty(), "nothing was committed");
}

#[tokio::test]
async fn a_long_reader_is_sent_once_and_a_short_one_can_be_repeated() {
    let server = Fake::start().await;
    let client = client(&[&server], 3);
    let put = |content: Vec<u8>| {
        let body = PutBody::reader(std::io::Cursor::new(content));
        client.put("abc", "k", body, PutOptions::default())
    };
    server.fail([Fault::Unavailable]);
    put(bytes(1000)).await.expect("the second attempt works");
    assert_eq!(server.content(), bytes(1000));
    let long = bytes(3 * MIB + 1);
    put(long.clone()).await.expect("works");
    assert_eq!(server.content(), long);
    // A server of an older release has no resumable writes. The first fault meets the look at the bucket,
    // which is repeated; the second the upload.
    server.fail([Fault::Unavailable, Fault::None, Fault::Unavailable]);
    let error = put(long).await.expect_err("cannot be repeated");
    assert_eq!(
        (error.kind(), error.attempts()),
        (ErrorKind::Unavailable, 1)
    );
}

#[tokio::test]
async fn a_broken_read_goes_on_where_it_stopped() {
    let (first, second) = (Fake::start().await, Fake::start().await);
    let content = bytes(5 * MIB / 2);
    for server in [&first, &second] {
        server.keep(content.clone(), 7);
    }
    first.fail([Fault::BreakAfterChunk]);
    second.fail([Fault::CorruptChunk]);
    let client = client(&[&first, &second], 4);
    let download = client.get("abc", "k", None).await.expect("opened");
    assert_eq!(
        (download.offset(), download.length()),
        (0, content.len() as u64)
    );
    assert_eq!(download.bytes(10 * MIB).await.expect("all of it"), content);
    assert_eq!(second.ranges(), [(MIB as u64, content.len() - MIB)]);
    assert_eq!(first.ranges().len(), 2, "asked again after the bad chunk");
}

#[tokio::test]
async fn another_version_is_not_mixed_in() {
    let (first, second) = (Fake::start().await, Fake::start().await);
    first.keep(bytes(2 * MIB), 7);
    second.keep(bytes(2 * MIB), 8);
    first.fail([Fault::BreakAfterChunk]);
    let client = client(&[&first, &second], 4);
    let download = client.get("abc", "k", None).await.expect("opened");
    let error = download.bytes(10 * MIB).await.expect_err("replaced");
    assert_eq!(error.kind(), ErrorKind::Changed);
}

#[tokio::test]
async fn the_last_bytes_come_only_when_the_whole_is_right() {
    let server = Fake::start().await;
    server.keep(bytes(MIB + 1), 7);
    server.fail([Fault::WrongWholeChecksum]);
    let client = client(&[&server], 4);
    let mut download = client.get("abc", "k", None).await.expect("opened");
    let mut got = 0;
    let error = loop {
        match download.next().await {
            Some(Ok(piece)) => got += piece.len(),
            Some(Err(error)) => break error,
            None => panic!("the end, without an error"),
        }
    };
    assert_eq!((error.kind(), got), (ErrorKind::Corrupt, MIB));
    assert!(download.next().await.is_none(), "an error is the end");
}

#[tokio::test]
async fn ranges_and_empty_objects() {
    let server = Fake::start().await;
    let client = client(&[&server], 1);
    server.keep(bytes(1000), 1);
    let range = ByteRange::Span {
        offset: 10,
        length: 20,
    };
    let part = client.get("abc", "k", Some(range)).await.expect("opened");
    assert_eq!(part.bytes(100).await.expect("read"), bytes(1000)[10..30]);
    let all = client.get("abc", "k", None).await.expect("opened");
    let error = all.bytes(999).await.expect_err("more than wanted");
    assert_eq!(error.kind(), ErrorKind::Invalid);
    server.keep(Vec::new(), 2);
    let empty = client.get("abc", "k", None).await.expect("opened");
    assert_eq!(empty.bytes(0).await.expect("read"), Bytes::new());
}

#[tokio::test]
async fn pages_are_asked_for_until_the_last() {
    let server = Fake::start().await;
    let client = client(&[&server], 1);
    let mut pages = client.list("abc", ListQuery::all("p/"));
    let mut keys = Vec::new();
    while let Some(page) = pages.next().await.expect("a page") {
        keys.extend(page.objects.into_iter().map(|object| object.key));
    }
    assert_eq!(keys, ["p/0", "p/1", "p/2"]);
    assert!(pages.next().await.expect("nothing more").is_none());
}

#[tokio::test]
async fn pages_of_versions_are_asked_for_until_the_last() {
    let server = Fake::start().await;
    let client = client(&[&server], 1);
    let query = VersionQuery {
        prefix: "p".to_owned(),
        ..VersionQuery::default()
    };
    let mut pages = client.list_versions("abc", query);
    let mut found = Vec::new();
    while let Some(page) = pages.next().await.expect("a page") {
        let versions = page.versions.into_iter();
        found.extend(versions.map(|v| (v.key, v.generation, v.is_current, v.delete_marker)));
    }
    let shown = |generation, current, marker| ("p".to_owned(), generation, current, marker);
    let wanted = [
        shown(9, true, false),
        shown(8, false, true),
        shown(7, false, false),
    ];
    assert_eq!(found, wanted);
    assert!(pages.next().await.expect("nothing more").is_none());
}

/// A copy is followed to its end; what a failed attempt told is taken back.
#[tokio::test]
async fn a_copy_is_repeated_and_told_of_once() {
    let server = Fake::start().await;
    let client = client(&[&server], 3);
    server.keep(bytes(1000), 7);
    let told = Arc::new(AtomicI64::new(0));
    let counted = Arc::clone(&told);
    let options = CopyOptions {
        watcher: Some(Watcher::new(move |bytes| {
            counted.fetch_add(bytes, Ordering::Relaxed);
        })),
        ..CopyOptions::default()
    };
    let copied = client.copy(("abc", "k"), ("abc", "l"), options).await;
    let copied = copied.expect("the second attempt works");
    assert_eq!((copied.source.generation, copied.target.size), (7, 1000));
    assert_eq!(told.load(Ordering::Relaxed), 1000);
    let ids = server.request_ids();
    assert!(ids.len() == 2 && ids[0] == ids[1]);
}

/// A batch is repeated as a whole under its one id while an object of it may fare better; what cannot
/// get better is told, beside what was done.
#[tokio::test]
async fn a_batch_is_repeated_for_what_may_fare_better() {
    let server = Fake::start().await;
    let client = client(&[&server], 3);
    let none = Preconditions::default;
    let keys = ["there", "flaky", "stale", "absent"];
    let batch: Vec<_> = keys.map(|key| (key.to_owned(), none())).into();
    let done = client.delete_many("abc", &batch).await.expect("answered");
    let told: Vec<_> = done
        .iter()
        .map(|one| one.as_ref().map(|done| done.existed))
        .map(|one| one.map_err(crate::ClientError::kind))
        .collect();
    assert_eq!(
        told,
        [Ok(true), Ok(true), Err(ErrorKind::Precondition), Ok(false)]
    );
    let ids = server.request_ids();
    assert_eq!(ids.len(), 2);
    assert_eq!(ids[0], ids[1]);
    // The next mutation uses none of the numbers of the batch.
    client.delete("abc", "k", &none()).await.expect("deleted");
    assert_eq!(server.request_ids()[2].1, ids[0].1 + 4);

    let many = vec![(String::from("k"), none()); 1001];
    let refused = client
        .delete_many("abc", &many)
        .await
        .expect_err("too many");
    assert_eq!(refused.kind(), ErrorKind::Invalid);
    assert_eq!(server.request_ids().len(), 3);
}

#[tokio::test]
async fn ranges_go_on_where_they_stopped() {
    let server = Fake::start().await;
    let client = client(&[&server], 4);
    let content = bytes(3 * MIB);
    client
        .put("abc", "k", content.clone().into(), PutOptions::default())
        .await
        .expect("written");
    let span = |offset, length| ByteRange::Span { offset, length };
    let ranges = [span(5, 10), span(100, 1_500_000), span(0, 3 * MIB as u64)];
    let always = ReadConditions::default();
    for breaks in 0..4 {
        server.fail(vec![Fault::BreakAfterChunk; breaks]);
        let read = client
            .get_ranges(("abc", "k"), None, &ranges, &always)
            .await;
        let read = read.expect("begun").bytes(5_000_000).await.expect("read");
        let expected = [&content[5..15], &content[100..1_500_100], &content[..]];
        assert!(read == expected, "{breaks} breaks");
    }
    let many = client
        .get_ranges(("abc", "k"), None, &ranges, &always)
        .await;
    let many = many.expect("begun").bytes(1_000_000).await;
    assert_eq!(many.expect_err("too much").kind(), ErrorKind::Invalid);
    for bad in [&[][..], &[ByteRange::Last(0)], &vec![span(0, 1); 257]] {
        let refused = client.get_ranges(("abc", "k"), None, bad, &always).await;
        assert_eq!(refused.expect_err("refused").kind(), ErrorKind::Invalid);
    }
}
