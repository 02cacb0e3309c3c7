//! Many objects deleted with one call.

use marram_proto::v1;
use tonic::Code;

use super::kit::{Client, cluster, content, reason};

fn object(key: &str) -> v1::ObjectToDelete {
    v1::ObjectToDelete {
        key: key.to_owned(),
        ..v1::ObjectToDelete::default()
    }
}

/// A batch under one fixed id.
fn batch(bucket: &str, objects: Vec<v1::ObjectToDelete>) -> v1::DeleteObjectsRequest {
    v1::DeleteObjectsRequest {
        bucket: bucket.to_owned(),
        objects,
        request_id: Some(v1::RequestId {
            client: vec![9; 16].into(),
            sequence: 100,
        }),
    }
}

async fn delete(client: &mut Client, request: v1::DeleteObjectsRequest) -> Vec<v1::DeleteResult> {
    let answer = client.objects.delete_objects(request).await.unwrap();
    answer.into_inner().results
}

#[tokio::test]
async fn each_object_of_a_batch_has_its_own_answer() {
    let (_cluster, mut client) = cluster(6).await;
    let large = client.put("large", &content(300_000, 1)).await.unwrap();
    client.put("small", b"x").await.unwrap();
    let guarded = |key: &str, generation| v1::ObjectToDelete {
        key: key.to_owned(),
        preconditions: Some(v1::Preconditions {
            if_generation_match: Some(generation),
            ..v1::Preconditions::default()
        }),
        generation: None,
    };
    let objects = || {
        vec![
            guarded("large", large.generation),
            object("absent"),
            guarded("small", large.generation + 1000),
            object(""),
        ]
    };
    let results = delete(&mut client, batch("bucket", objects())).await;
    let told: Vec<_> = results
        .iter()
        .map(|result| {
            let failure = result.failure.as_ref();
            (result.existed, failure.map_or("", |f| f.reason.as_str()))
        })
        .collect();
    let wanted = [
        (true, ""),
        (false, ""),
        (false, "PRECONDITION_FAILED"),
        (false, "INVALID_KEY"),
    ];
    assert_eq!(told, wanted);
    // The deletion has a generation of its own, which its event tells; what was not there has none.
    assert!(results[0].generation > large.generation, "{results:?}");
    assert_eq!(results[1].generation, 0);
    let stale = results[2].failure.as_ref().unwrap();
    assert_eq!(stale.code, Code::FailedPrecondition as i32);
    let small = client.get_range("small", None).await.unwrap().0.object;
    assert_eq!(
        stale.metadata["current_generation"],
        small.unwrap().generation.to_string()
    );
    assert!(client.get("large").await.is_err());
    // The same batch again is answered as it was, and deletes nothing that came since.
    let newer = content(200_000, 2);
    client.put("absent", &newer).await.unwrap();
    let again = delete(&mut client, batch("bucket", objects())).await;
    assert_eq!(again, results);
    assert_eq!(client.get("absent").await.unwrap(), newer);
}

#[tokio::test]
async fn a_thousand_objects_go_with_one_call_and_no_more() {
    let (_cluster, mut client) = cluster(1).await;
    let keys: Vec<String> = (0..1001).map(|n| format!("key {n}")).collect();
    for key in keys.iter().step_by(10) {
        client.put(key, b"x").await.unwrap();
    }
    let objects: Vec<_> = keys.iter().map(|key| object(key)).collect();
    let too_many = batch("bucket", objects.clone());
    let refused = client.objects.delete_objects(too_many).await.unwrap_err();
    assert_eq!(reason(&refused), "INVALID_ARGUMENT");
    let results = delete(&mut client, batch("bucket", objects[..1000].to_vec())).await;
    assert_eq!(results.len(), 1000);
    for (n, result) in results.iter().enumerate() {
        assert_eq!((result.existed, &result.failure), (n % 10 == 0, &None));
    }
    let left = client
        .list(v1::ListObjectsRequest {
            bucket: "bucket".to_owned(),
            ..v1::ListObjectsRequest::default()
        })
        .await
        .unwrap();
    let left: Vec<_> = left.objects.into_iter().map(|object| object.key).collect();
    assert_eq!(left, ["key 1000"]);
    for (bucket, objects, wanted) in [
        ("bucket", vec![], "INVALID_ARGUMENT"),
        ("bucket", vec![object("a"), object("a")], "INVALID_ARGUMENT"),
        ("nowhere", vec![object("a")], "BUCKET_NOT_FOUND"),
        ("No", vec![object("a")], "INVALID_BUCKET_NAME"),
    ] {
        let wrong = batch(bucket, objects);
        let refused = client.objects.delete_objects(wrong).await.unwrap_err();
        assert_eq!(reason(&refused), wanted);
    }
}
