//! Objects over the API when all is well.

use marram_proto::v1;
use marram_proto::v1::put_object_request::Message;
use marram_types::Crc64Nvme;
use tonic::Code;

use super::kit::{Client, chunk, cluster, content, header, message, reason};

const SIZES: [usize; 9] = [
    0, 1, 4096, 4097, 131_072, 131_073, 1_048_577, 8_388_608, 20_000_001,
];

#[tokio::test]
async fn what_is_put_is_got_in_all_size_classes_on_1_3_and_6_nodes() {
    for nodes in [1, 3, 6] {
        let (_cluster, mut client) = cluster(nodes).await;
        for (seed, size) in SIZES.into_iter().enumerate() {
            let data = content(size, seed as u64);
            let key = format!("key-{size}");
            let put = client.put(&key, &data).await.unwrap();
            assert_eq!(
                (put.size, put.crc64nvme),
                (size as u64, Crc64Nvme::of(&data))
            );
            let (header, got) = client.get_range(&key, None).await.unwrap();
            assert!(got == data, "{size} bytes on {nodes} nodes");
            let object = header.object.unwrap();
            assert_eq!(
                (&object.etag, object.generation),
                (&put.etag, put.generation)
            );
        }
    }
}

#[tokio::test]
async fn sizes_need_not_be_known() {
    let (_cluster, mut client) = cluster(6).await;
    for (size, kept) in [
        (0, "inline"),
        (4096, "inline"),
        (5000, "1+2"),
        (200_000, "4+2"),
    ] {
        let data = content(size, 3);
        let put = client
            .put_with(header("bucket", "k", None), &data)
            .await
            .unwrap();
        assert_eq!(put.profiles, [kept], "{size} bytes");
        assert_eq!(client.get("k").await.unwrap(), data);
    }
}

#[tokio::test]
async fn ranges_give_exactly_their_bytes() {
    let (_cluster, mut client) = cluster(6).await;
    let data = content(10_000_000, 1);
    client.put("large", &data).await.unwrap();
    client.put("small", &data[..100]).await.unwrap();
    for (key, offset, length, want) in [
        ("large", 0, 1, &data[..1]),
        ("large", 1_048_575, 2, &data[1_048_575..1_048_577]),
        ("large", 4_000_000, 5_000_000, &data[4_000_000..9_000_000]),
        ("large", 9_999_999, 0, &data[9_999_999..]),
        ("large", -7, 0, &data[9_999_993..]),
        ("large", 9_000_000, 9_000_000, &data[9_000_000..]),
        ("small", 10, 5, &data[10..15]),
        ("small", -1000, 3, &data[..3]),
    ] {
        let range = v1::ByteRange { offset, length };
        let (header, got) = client.get_range(key, Some(range)).await.unwrap();
        assert!(got == want, "{key} {offset} {length}");
        assert_eq!(header.object.unwrap().key, key);
    }
    let range = v1::ByteRange {
        offset: 100,
        length: 1,
    };
    let refused = client.get_range("small", Some(range)).await.unwrap_err();
    assert_eq!(refused.code(), Code::OutOfRange);
    assert_eq!(reason(&refused), "RANGE_NOT_SATISFIABLE");
}

#[tokio::test]
async fn uploads_that_do_not_keep_their_word_leave_nothing() {
    let (cluster, mut client) = cluster(6).await;
    let data = content(9_000_000, 1);
    let head = |size| message(Message::Header(header("bucket", "bad", Some(size))));
    let trailer = message(Message::Trailer(v1::PutObjectTrailer {
        crc64nvme: Some(1),
        checksums: None,
    }));
    let flipped = message(Message::Chunk(v1::Chunk {
        data: vec![1, 2].into(),
        crc32c: 0,
    }));
    let parts = || data.chunks(1 << 20).map(chunk);
    let whole = data.len() as u64;
    let cases: Vec<(Vec<v1::PutObjectRequest>, &str)> = vec![
        (
            std::iter::once(head(whole + 1)).chain(parts()).collect(),
            "SIZE_MISMATCH",
        ),
        (
            std::iter::once(head(whole - 1)).chain(parts()).collect(),
            "SIZE_MISMATCH",
        ),
        (
            std::iter::once(head(whole))
                .chain(parts())
                .chain([trailer])
                .collect(),
            "OBJECT_CHECKSUM_MISMATCH",
        ),
        (
            std::iter::once(head(whole + 2))
                .chain(parts())
                .chain([flipped])
                .collect(),
            "CHUNK_CHECKSUM_MISMATCH",
        ),
        (vec![], "INVALID_ARGUMENT"),
    ];
    for (messages, wanted) in cases {
        let refused = client
            .objects
            .put_object(tokio_stream::iter(messages))
            .await
            .unwrap_err();
        assert_eq!(reason(&refused), wanted);
    }
    assert_eq!(
        reason(&client.get("bad").await.unwrap_err()),
        "OBJECT_NOT_FOUND"
    );
    super::kit::eventually("the space comes back", || cluster.drives.shards() == 0).await;
}

#[tokio::test]
async fn preconditions_decide() {
    let (_cluster, mut client) = cluster(1).await;
    let create = |key: &str| v1::PutObjectHeader {
        preconditions: Some(v1::Preconditions {
            if_generation_match: Some(0),
            ..v1::Preconditions::default()
        }),
        ..header("bucket", key, None)
    };
    let first = client.put_with(create("k"), b"one").await.unwrap();
    let second = client.put_with(create("k"), b"two").await.unwrap_err();
    assert_eq!(second.code(), Code::FailedPrecondition);
    assert_eq!(reason(&second), "PRECONDITION_FAILED");
    assert_eq!(client.get("k").await.unwrap(), b"one");
    let replace = v1::PutObjectHeader {
        preconditions: Some(v1::Preconditions {
            if_generation_match: Some(first.generation),
            if_etag_match: Some(first.etag),
            ..v1::Preconditions::default()
        }),
        ..header("bucket", "k", None)
    };
    client.put_with(replace, b"three").await.unwrap();
    assert_eq!(client.get("k").await.unwrap(), b"three");
}

#[tokio::test]
async fn the_same_request_writes_once() {
    let (_cluster, mut client) = cluster(6).await;
    let once = |data: &'static [u8]| {
        let head = v1::PutObjectHeader {
            request_id: Some(v1::RequestId {
                client: vec![4; 16].into(),
                sequence: 2,
            }),
            ..header("bucket", "k", None)
        };
        (head, data)
    };
    let (head, data) = once(b"first");
    let first = client.put_with(head, data).await.unwrap();
    let (head, data) = once(b"first");
    let second = client.put_with(head, data).await.unwrap();
    assert_eq!(first.generation, second.generation);
    let (head, data) = once(b"other");
    let other = client.put_with(head, data).await.unwrap_err();
    assert_eq!(other.code(), Code::InvalidArgument);
    assert_eq!(reason(&other), "INVALID_ARGUMENT");
    assert_eq!(client.get("k").await.unwrap(), b"first");
}

#[tokio::test]
async fn deleting_twice_succeeds() {
    let (_cluster, mut client) = cluster(3).await;
    client.put("k", &content(300_000, 1)).await.unwrap();
    let request = || v1::DeleteObjectRequest {
        bucket: "bucket".to_owned(),
        key: "k".to_owned(),
        ..v1::DeleteObjectRequest::default()
    };
    let existed = client
        .objects
        .delete_object(request())
        .await
        .unwrap()
        .into_inner()
        .existed;
    assert!(existed);
    let existed = client
        .objects
        .delete_object(request())
        .await
        .unwrap()
        .into_inner()
        .existed;
    assert!(!existed);
    let head = v1::HeadObjectRequest {
        bucket: "bucket".to_owned(),
        key: "k".to_owned(),
        ..v1::HeadObjectRequest::default()
    };
    let gone = client.objects.head_object(head).await.unwrap_err();
    assert_eq!(
        (gone.code(), reason(&gone).as_str()),
        (Code::NotFound, "OBJECT_NOT_FOUND")
    );
}

#[tokio::test]
async fn user_metadata_and_type_come_back() {
    let (_cluster, mut client) = cluster(1).await;
    let head = v1::PutObjectHeader {
        content_type: "image/jpeg".to_owned(),
        metadata: [("camera".to_owned(), "old".to_owned())].into(),
        ..header("bucket", "k", None)
    };
    client.put_with(head, b"x").await.unwrap();
    let request = v1::HeadObjectRequest {
        bucket: "bucket".to_owned(),
        key: "k".to_owned(),
        ..v1::HeadObjectRequest::default()
    };
    let object = client
        .objects
        .head_object(request)
        .await
        .unwrap()
        .into_inner()
        .object
        .unwrap();
    assert_eq!(object.content_type, "image/jpeg");
    assert_eq!(object.metadata["camera"], "old");
    assert_eq!(
        (object.size, object.profiles),
        (1, vec!["inline".to_owned()])
    );
}

async fn all(client: &mut Client, mut request: v1::ListObjectsRequest) -> Vec<String> {
    let mut found = Vec::new();
    loop {
        let page = client.list(request.clone()).await.unwrap();
        let objects = page.objects.into_iter().map(|object| object.key);
        let mut names: Vec<String> = objects.chain(page.common_prefixes).collect();
        names.sort();
        found.extend(names);
        if page.next_page_token.is_empty() {
            return found;
        }
        request.page_token = page.next_page_token;
    }
}

#[tokio::test]
async fn keys_are_listed_in_order_over_all_groups_and_pages() {
    let (_cluster, mut client) = cluster(1).await;
    let mut keys: Vec<String> = (0..40).map(|i| format!("dir-{}/k-{i:02}", i % 4)).collect();
    keys.push("top".to_owned());
    for key in &keys {
        client.put(key, b"x").await.unwrap();
    }
    keys.sort();
    let request = |prefix: &str, delimiter: &str, page_size| v1::ListObjectsRequest {
        bucket: "bucket".to_owned(),
        prefix: prefix.to_owned(),
        delimiter: delimiter.to_owned(),
        page_size,
        ..v1::ListObjectsRequest::default()
    };
    for page_size in [1, 7, 0] {
        assert_eq!(all(&mut client, request("", "", page_size)).await, keys);
        let rolled = all(&mut client, request("", "/", page_size)).await;
        assert_eq!(rolled, ["dir-0/", "dir-1/", "dir-2/", "dir-3/", "top"]);
        let of_one: Vec<String> = keys
            .iter()
            .filter(|key| key.starts_with("dir-2/"))
            .cloned()
            .collect();
        assert_eq!(
            all(&mut client, request("dir-2/", "/", page_size)).await,
            of_one
        );
    }
    let after = v1::ListObjectsRequest {
        start_after: "dir-3/k-39".to_owned(),
        ..request("", "", 5)
    };
    assert_eq!(all(&mut client, after).await, ["top"]);
    let mut first = request("", "", 5);
    first.page_token = client.list(first.clone()).await.unwrap().next_page_token;
    first.prefix = "dir".to_owned();
    let refused = client.list(first).await.unwrap_err();
    assert_eq!(
        reason(&refused),
        "INVALID_PAGE_TOKEN",
        "a token belongs to its question"
    );
}

#[tokio::test]
async fn an_unknown_bucket_is_not_found_by_every_method() {
    let (_cluster, mut client) = cluster(1).await;
    let put = client
        .put_with(header("nowhere", "k", None), b"x")
        .await
        .unwrap_err();
    let list = client
        .list(v1::ListObjectsRequest {
            bucket: "nowhere".to_owned(),
            ..v1::ListObjectsRequest::default()
        })
        .await
        .unwrap_err();
    for refused in [put, list] {
        assert_eq!(
            (refused.code(), reason(&refused).as_str()),
            (Code::NotFound, "BUCKET_NOT_FOUND")
        );
    }
}

/// Its data is garbage from then on, and stays for as long as readers may need it (rules.md 28).
#[tokio::test]
async fn who_reads_an_object_that_is_deleted_meanwhile_gets_all_of_it() {
    let (_cluster, mut client) = cluster(6).await;
    let before = content(40_000_000, 1);
    client.put("k", &before).await.unwrap();
    let request = v1::GetObjectRequest {
        bucket: "bucket".to_owned(),
        key: "k".to_owned(),
        ..v1::GetObjectRequest::default()
    };
    let stream = client.objects.get_object(request).await.unwrap();
    let mut stream = stream.into_inner();
    let mut data = Vec::new();
    let mut deleted = false;
    while let Some(next) = stream.message().await.unwrap() {
        if let v1::get_object_response::Message::Chunk(chunk) = next.message.unwrap() {
            data.extend_from_slice(&chunk.data);
            if !deleted {
                deleted = true;
                let request = v1::DeleteObjectRequest {
                    bucket: "bucket".to_owned(),
                    key: "k".to_owned(),
                    ..v1::DeleteObjectRequest::default()
                };
                client.objects.delete_object(request).await.unwrap();
            }
        }
    }
    assert!(data == before, "from its first byte to its last");
    let gone = client.get("k").await.unwrap_err();
    assert_eq!(gone.code(), Code::NotFound);
}
