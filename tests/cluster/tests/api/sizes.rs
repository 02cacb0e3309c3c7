//! Objects of every size class come back byte for byte, whole and in ranges.

use marram_client::{ByteRange, Client, ErrorKind, PutBody, PutOptions};
use marram_cluster_tests::{Object, Pool, Shared, get, put, verify};

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// Sizes around every boundary: inline, copies, one cell, one stripe, one window, several.
const SIZES: [usize; 25] = [
    0,
    1,
    2,
    100,
    4 * KIB - 1,
    4 * KIB,
    4 * KIB + 1,
    64 * KIB,
    64 * KIB + 1,
    128 * KIB - 1,
    128 * KIB,
    128 * KIB + 1,
    MIB - 1,
    MIB,
    MIB + 1,
    2 * MIB + 3,
    4 * MIB - 1,
    4 * MIB,
    4 * MIB + 1,
    8 * MIB - 1,
    8 * MIB,
    8 * MIB + 1,
    16 * MIB + 5,
    20 * MIB,
    33 * MIB + 7,
];

#[tokio::test(flavor = "multi_thread")]
async fn every_size_comes_back() {
    let cluster = Shared::cluster();
    let client = cluster.client();
    client.create_bucket("sizes", None).await.expect("made");
    let mut pool = Pool::new(20, 64 * MIB);
    for size in SIZES {
        let object = pool.object(format!("known-{size}"), size);
        let info = put(&client, "sizes", &object).await.expect("put");
        assert_eq!(info.size, size as u64);
        assert!(!info.under_protected, "{size}: {info:?}");
        let kept = match size {
            0..=4096 => "inline",
            4097..=131_072 => "1+2",
            _ => "4+2",
        };
        assert_eq!(info.profiles, [kept], "{size}");
        assert_eq!(client.head("sizes", &object.key).await.expect("head"), info);
        verify(&client, "sizes", &object).await.expect("exact");
        ranges(&client, &object, &mut pool).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_size_that_is_not_told_makes_no_difference() {
    let cluster = Shared::cluster();
    let client = cluster.client();
    client
        .create_bucket("unknown-sizes", None)
        .await
        .expect("made");
    let mut pool = Pool::new(21, 64 * MIB);
    for size in SIZES {
        let object = pool.object(format!("unknown-{size}"), size);
        let body = PutBody::reader(std::io::Cursor::new(object.content.clone()));
        let info = client
            .put("unknown-sizes", &object.key, body, PutOptions::default())
            .await
            .expect("put");
        assert_eq!(info.size, size as u64);
        verify(&client, "unknown-sizes", &object)
            .await
            .expect("exact");
    }
}

/// Ranges at the edges and at random places.
async fn ranges(client: &Client, object: &Object, pool: &mut Pool) {
    let size = object.content.len();
    if size == 0 {
        return;
    }
    let mut wanted = vec![
        (0, 1),
        (size - 1, 1),
        (0, size),
        (size / 2, size),
        (size - 1, 100),
    ];
    for _ in 0..4 {
        let offset = pool.below(size);
        wanted.push((offset, 1 + pool.below(size - offset)));
    }
    for (offset, length) in wanted {
        let range = ByteRange::Span {
            offset: offset as u64,
            length: length as u64,
        };
        let download = client
            .get("sizes", &object.key, Some(range))
            .await
            .expect("in range");
        let got = download.bytes(size).await.expect("read");
        let end = size.min(offset + length);
        assert!(
            got == object.content[offset..end],
            "{} bytes {offset}..{end}",
            object.key
        );
    }
    let last = ByteRange::Last(10);
    let download = client
        .get("sizes", &object.key, Some(last))
        .await
        .expect("in range");
    let got = download.bytes(size).await.expect("read");
    assert!(
        got == object.content[size.saturating_sub(10)..],
        "{}",
        object.key
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_range_beyond_the_end_is_out_of_range() {
    let cluster = Shared::cluster();
    let client = cluster.client();
    client.create_bucket("beyond", None).await.expect("made");
    let mut pool = Pool::new(22, 2 * MIB);
    for size in [0, 10, 10 * KIB, MIB] {
        let object = pool.object(format!("{size}"), size);
        put(&client, "beyond", &object).await.expect("put");
        for offset in [size, size + 1, size + MIB] {
            let range = ByteRange::From(offset as u64);
            let error = client
                .get("beyond", &object.key, Some(range))
                .await
                .expect_err("beyond");
            assert_eq!(
                (error.kind(), error.reason()),
                (
                    ErrorKind::RangeNotSatisfiable,
                    Some("RANGE_NOT_SATISFIABLE")
                ),
                "{size} from {offset}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_overwrite_replaces_the_whole_object() {
    let cluster = Shared::cluster();
    let client = cluster.client();
    client
        .create_bucket("overwrites", None)
        .await
        .expect("made");
    let mut pool = Pool::new(23, 16 * MIB);
    let mut generation = 0;
    for size in [5 * MIB, 10, 100 * KIB, 0, 9 * MIB, 4 * KIB] {
        let object = pool.object("one", size);
        let info = put(&client, "overwrites", &object).await.expect("put");
        assert!(info.generation > generation, "generations rise");
        generation = info.generation;
        for node in 1..=cluster.nodes() + 1 {
            let client = cluster.client_of(node);
            verify(&client, "overwrites", &object)
                .await
                .expect("the latest, at every node");
        }
    }
}

/// Many writers of one key at once: readers see one of their objects, never a mixture.
#[tokio::test(flavor = "multi_thread")]
async fn racing_writers_never_mix() {
    let cluster = Shared::cluster();
    let client = cluster.client();
    client.create_bucket("racing", None).await.expect("made");
    let mut pool = Pool::new(24, 8 * MIB);
    let contents: Vec<Object> = (0..16).map(|i| pool.object("one", 300 * KIB + i)).collect();
    put(&client, "racing", &contents[0]).await.expect("put");
    let writes = futures::future::join_all(contents.iter().map(|o| put(&client, "racing", o)));
    let reads = async {
        let mut seen = Vec::new();
        for _ in 0..20 {
            seen.push(get(&client, "racing", "one").await.expect("read"));
        }
        seen
    };
    let (written, seen) = futures::future::join(writes, reads).await;
    assert!(written.iter().all(Result::is_ok), "{written:?}");
    for bytes in seen {
        assert!(
            contents.iter().any(|object| object.content == bytes),
            "a mixture was read"
        );
    }
}
