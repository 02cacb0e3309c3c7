//! Objects copied inside the cluster.

use marram_proto::v1;
use marram_proto::v1::copy_object_response::Message as Told;
use tonic::{Code, Status};

use super::kit::{Client, cluster, content, eventually, header, reason};

pub(super) fn copy(from: &str, to: (&str, &str)) -> v1::CopyObjectRequest {
    v1::CopyObjectRequest {
        source_bucket: "bucket".to_owned(),
        source_key: from.to_owned(),
        bucket: to.0.to_owned(),
        key: to.1.to_owned(),
        ..v1::CopyObjectRequest::default()
    }
}

/// Follows a copy to its end.
pub(super) async fn copied(
    client: &mut Client,
    request: v1::CopyObjectRequest,
) -> Result<v1::ObjectInfo, Status> {
    let mut told = client.objects.copy_object(request).await?.into_inner();
    let mut last = 0;
    while let Some(next) = told.message().await? {
        match next.message.expect("a message") {
            Told::Progress(progress) => {
                assert!(last <= progress.copied && progress.copied <= progress.size);
                last = progress.copied;
            }
            Told::Object(object) => return Ok(object),
        }
    }
    panic!("the copy ended without an object");
}

#[tokio::test]
async fn a_copy_is_the_source_in_all_size_classes() {
    let (_cluster, mut client) = cluster(6).await;
    client.make_bucket("other").await;
    for size in [0, 1, 4096, 4097, 100_000, 3_000_000, 20_000_000] {
        let data = content(size, 5);
        let mut put = header("bucket", "source", Some(size as u64));
        put.content_type = "text/plain".to_owned();
        put.metadata = [("colour".to_owned(), "red".to_owned())].into();
        put.compute = vec![v1::ChecksumKind::Md5.into()];
        let source = client.put_with(put, &data).await.unwrap();
        for to in [
            ("other", "target"),
            ("bucket", "target"),
            ("bucket", "source"),
        ] {
            let target = copied(&mut client, copy("source", to)).await.unwrap();
            assert_eq!(target.size, source.size);
            assert_eq!(target.crc64nvme, source.crc64nvme);
            assert_eq!(target.etag, source.etag, "an MD5 stays the entity tag");
            assert_eq!(target.content_type, "text/plain");
            assert_eq!(target.metadata, source.metadata);
            if to == ("bucket", "source") {
                assert!(target.generation > source.generation);
            }
        }
        assert_eq!(client.get("target").await.unwrap(), data);
        assert_eq!(client.get("source").await.unwrap(), data);
    }
}

#[tokio::test]
async fn attributes_are_kept_or_replaced_together() {
    let (_cluster, mut client) = cluster(6).await;
    let mut put = header("bucket", "source", Some(1));
    put.content_type = "text/plain".to_owned();
    put.metadata = [("colour".to_owned(), "red".to_owned())].into();
    client.put_with(put, b"x").await.unwrap();
    let mut request = copy("source", ("bucket", "source"));
    request.replace = Some(v1::ObjectAttributes {
        content_type: "image/png".to_owned(),
        metadata: [("shape".to_owned(), "round".to_owned())].into(),
    });
    let target = copied(&mut client, request.clone()).await.unwrap();
    assert_eq!(target.content_type, "image/png");
    assert_eq!(target.metadata.len(), 1);
    assert_eq!(target.metadata["shape"], "round");
    let too_long = [("shape".to_owned(), "x".repeat(3000))].into();
    request.replace = Some(v1::ObjectAttributes {
        content_type: String::new(),
        metadata: too_long,
    });
    let refused = copied(&mut client, request).await.expect_err("too long");
    assert_eq!(refused.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn conditions_are_of_the_source_and_of_the_target() {
    let (_cluster, mut client) = cluster(6).await;
    let source = client.put("source", b"one").await.unwrap();
    let mut request = copy("source", ("bucket", "target"));
    request.preconditions = Some(v1::Preconditions {
        if_generation_match: Some(0),
        ..v1::Preconditions::default()
    });
    request.source_conditions = Some(v1::ReadConditions {
        if_generation_match: Some(source.generation),
        ..v1::ReadConditions::default()
    });
    copied(&mut client, request.clone()).await.unwrap();
    let there = copied(&mut client, request.clone())
        .await
        .expect_err("it is there");
    assert_eq!(reason(&there), "PRECONDITION_FAILED");
    request.preconditions = None;
    client.put("source", b"two").await.unwrap();
    let other = copied(&mut client, request)
        .await
        .expect_err("another version");
    assert_eq!(reason(&other), "PRECONDITION_FAILED");
    assert_eq!(client.get("target").await.unwrap(), b"one");
    for (request, wanted) in [
        (copy("never", ("bucket", "target")), "OBJECT_NOT_FOUND"),
        (copy("source", ("never", "target")), "BUCKET_NOT_FOUND"),
        (copy("source", ("bucket", "")), "INVALID_KEY"),
        (copy("source", ("B", "k")), "INVALID_BUCKET_NAME"),
    ] {
        let refused = copied(&mut client, request).await.expect_err("refused");
        assert_eq!(reason(&refused), wanted, "{refused:?}");
    }
}

#[tokio::test]
async fn the_second_attempt_of_a_copy_is_the_first() {
    let (_cluster, mut client) = cluster(6).await;
    client.put("source", &content(200_000, 1)).await.unwrap();
    let mut request = copy("source", ("bucket", "target"));
    request.request_id = Some(v1::RequestId {
        client: vec![4; 16].into(),
        sequence: 9,
    });
    let first = copied(&mut client, request.clone()).await.unwrap();
    client.put("target", b"later").await.unwrap();
    let again = copied(&mut client, request).await.unwrap();
    assert_eq!(again.generation, first.generation);
    assert_eq!(client.get("target").await.unwrap(), b"later");
}

#[tokio::test]
async fn a_copy_that_nobody_waits_for_leaves_nothing() {
    let (cluster, mut client) = cluster(6).await;
    client.put("source", &content(40 << 20, 2)).await.unwrap();
    let shards = cluster.drives.shards();
    // A node that stands still keeps the copy from its end.
    cluster.drives.stick(cluster.nodes[0]);
    let request = copy("source", ("bucket", "target"));
    let mut told = client
        .objects
        .copy_object(request)
        .await
        .unwrap()
        .into_inner();
    told.message().await.unwrap().expect("progress");
    drop(told);
    cluster.drives.start(cluster.nodes[0]);
    let drives = cluster.drives.clone();
    eventually("the shards of the copy go", move || {
        drives.shards() == shards
    })
    .await;
    let missing = client.get("target").await.expect_err("nothing is there");
    assert_eq!(reason(&missing), "OBJECT_NOT_FOUND");
}

#[tokio::test]
async fn a_source_that_cannot_be_read_ends_the_copy_with_its_reason() {
    let (cluster, mut client) = cluster(6).await;
    client.put("source", &content(40 << 20, 2)).await.unwrap();
    cluster.drives.lose_all();
    let lost = copied(&mut client, copy("source", ("bucket", "target"))).await;
    assert_eq!(reason(&lost.expect_err("lost")), "DATA_UNAVAILABLE");
}
