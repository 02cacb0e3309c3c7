//! Reads under conditions, and checksums of the caller's choice.

use marram_proto::v1;
use marram_proto::v1::get_object_response::Message as Got;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use super::kit::{Client, cluster, content, eventually, header, reason};

async fn read_if(client: &mut Client, key: &str, conditions: &v1::ReadConditions) -> [String; 2] {
    let told = |result: Result<(), Status>| match result {
        Ok(()) => "read".to_owned(),
        Err(status) => {
            assert_eq!(status.code(), Code::FailedPrecondition);
            let details = status.get_error_details();
            let info = details.error_info().unwrap();
            assert!(info.metadata.contains_key("current_generation"));
            assert!(info.metadata.contains_key("current_etag"));
            info.reason.clone()
        }
    };
    let get = v1::GetObjectRequest {
        bucket: "bucket".to_owned(),
        key: key.to_owned(),
        conditions: Some(conditions.clone()),
        ..v1::GetObjectRequest::default()
    };
    let head = v1::HeadObjectRequest {
        bucket: "bucket".to_owned(),
        key: key.to_owned(),
        conditions: Some(conditions.clone()),
        generation: None,
    };
    let get = client.objects.get_object(get).await.map(|_| ());
    let head = client.objects.head_object(head).await.map(|_| ());
    [told(get), told(head)]
}

#[tokio::test]
async fn reads_say_whether_what_the_caller_has_is_what_is_there() {
    let (_cluster, mut client) = cluster(6).await;
    for (key, size) in [("inline", 10), ("striped", 300_000)] {
        let object = client.put(key, &content(size, 1)).await.unwrap();
        let none = v1::ReadConditions::default;
        for (conditions, wanted) in [
            (none(), "read"),
            (
                v1::ReadConditions {
                    if_etag_none_match: Some(object.etag.clone()),
                    ..none()
                },
                "NOT_MODIFIED",
            ),
            (
                v1::ReadConditions {
                    if_etag_match: Some(object.etag.clone()),
                    ..none()
                },
                "read",
            ),
            (
                v1::ReadConditions {
                    if_generation_match: Some(object.generation + 1),
                    ..none()
                },
                "PRECONDITION_FAILED",
            ),
            (
                v1::ReadConditions {
                    if_modified_since_ms: Some(object.modified_ms),
                    ..none()
                },
                "NOT_MODIFIED",
            ),
            (
                v1::ReadConditions {
                    if_unmodified_since_ms: Some(object.modified_ms - 1),
                    ..none()
                },
                "PRECONDITION_FAILED",
            ),
        ] {
            let told = read_if(&mut client, key, &conditions).await;
            assert_eq!(told, [wanted, wanted], "{key} {conditions:?}");
        }
    }
}

/// The object is replaced, and its bytes are gone, between the look at it and the first byte.
#[tokio::test]
async fn conditions_hold_of_the_version_that_is_read() {
    let (cluster, mut client) = cluster(6).await;
    let mut present = client.put("k", &content(300_000, 1)).await.unwrap();
    for guarded in [true, false] {
        let conditions = v1::ReadConditions {
            if_generation_match: guarded.then_some(present.generation),
            ..v1::ReadConditions::default()
        };
        let get = v1::GetObjectRequest {
            bucket: "bucket".to_owned(),
            key: "k".to_owned(),
            conditions: Some(conditions),
            ..v1::GetObjectRequest::default()
        };
        let before = cluster.drives.reads();
        cluster.nodes.iter().for_each(|n| cluster.drives.stick(*n));
        let mut reading = client.clone();
        let reading = tokio::spawn(async move { reading.objects.get_object(get).await });
        eventually("it reads", || cluster.drives.reads() > before).await;
        cluster.drives.lose_all();
        cluster.nodes.iter().for_each(|n| cluster.drives.start(*n));
        present = client.put("k", &content(400_000, 2)).await.unwrap();
        match reading.await.unwrap() {
            Err(refused) => {
                assert!(guarded, "{refused}");
                assert_eq!(reason(&refused), "PRECONDITION_FAILED");
            }
            Ok(answer) => {
                assert!(!guarded, "it has another generation");
                let first = answer.into_inner().message().await.unwrap().unwrap();
                let Some(Got::Header(header)) = first.message else {
                    panic!("a header comes first");
                };
                let read = header.object.unwrap();
                assert_eq!(read.generation, present.generation);
            }
        }
    }
}

#[tokio::test]
async fn a_put_with_a_wrong_checksum_leaves_nothing() {
    let (cluster, mut client) = cluster(6).await;
    let sums = |md5: [u8; 16]| v1::Checksums {
        md5: Some(md5.to_vec().into()),
        ..v1::Checksums::default()
    };
    for size in [100, 50_000, 300_000] {
        let data = content(size, 7);
        let wrong = v1::PutObjectHeader {
            checksums: Some(sums([1; 16])),
            ..header("bucket", "k", None)
        };
        let refused = client.put_with(wrong, &data).await.unwrap_err();
        assert_eq!(refused.code(), Code::DataLoss);
        assert_eq!(reason(&refused), "OBJECT_CHECKSUM_MISMATCH");
        assert_eq!(
            reason(&client.get("k").await.unwrap_err()),
            "OBJECT_NOT_FOUND"
        );
    }
    eventually("the space comes back", || cluster.drives.shards() == 0).await;
}

#[tokio::test]
async fn an_md5_that_was_asked_for_is_the_entity_tag() {
    let (_cluster, mut client) = cluster(1).await;
    let asked = v1::PutObjectHeader {
        compute: vec![v1::ChecksumKind::Md5 as i32],
        ..header("bucket", "k", None)
    };
    let put = client.put_with(asked, b"abc").await.unwrap();
    assert_eq!(put.etag, "\"900150983cd24fb0d6963f7d28e17f72\"");
    // It stands in the row: later reads tell the same, and it can be compared with.
    let got = client.get_range("k", None).await.unwrap().0.object.unwrap();
    assert_eq!(got.etag, put.etag);
    let replace = v1::PutObjectHeader {
        preconditions: Some(v1::Preconditions {
            if_etag_none_match: Some(put.etag.clone()),
            ..v1::Preconditions::default()
        }),
        ..header("bucket", "k", None)
    };
    let refused = client.put_with(replace, b"abcd").await.unwrap_err();
    assert_eq!(reason(&refused), "PRECONDITION_FAILED");
}
