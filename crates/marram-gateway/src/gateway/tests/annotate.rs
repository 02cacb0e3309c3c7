//! Tags and metadata of objects, given with them and later.

use std::collections::HashMap;

use marram_proto::v1;
use marram_proto::v1::copy_object_response::Message as Told;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use super::kit::{Client, cluster, content, header, reason};

fn map(pairs: &[(&str, &str)]) -> HashMap<String, String> {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    pairs.iter().map(owned).collect()
}

fn field(status: &Status) -> String {
    let details = status.get_error_details();
    let info = details.error_info().expect("a reason");
    info.metadata.get("field").cloned().unwrap_or_default()
}

async fn head(client: &mut Client, key: &str) -> v1::ObjectInfo {
    let request = v1::HeadObjectRequest {
        bucket: "bucket".to_owned(),
        key: key.to_owned(),
        ..v1::HeadObjectRequest::default()
    };
    let answer = client.objects.head_object(request).await.unwrap();
    answer.into_inner().object.unwrap()
}

async fn tags(client: &mut Client, key: &str) -> Result<HashMap<String, String>, Status> {
    let request = v1::GetObjectTagsRequest {
        bucket: "bucket".to_owned(),
        key: key.to_owned(),
        generation: None,
    };
    let answer = client.objects.get_object_tags(request).await?;
    Ok(answer.into_inner().tags)
}

fn set(key: &str, tags: &[(&str, &str)]) -> v1::SetObjectTagsRequest {
    v1::SetObjectTagsRequest {
        bucket: "bucket".to_owned(),
        key: key.to_owned(),
        tags: map(tags),
        ..v1::SetObjectTagsRequest::default()
    }
}

fn update(key: &str) -> v1::UpdateObjectMetadataRequest {
    v1::UpdateObjectMetadataRequest {
        bucket: "bucket".to_owned(),
        key: key.to_owned(),
        ..v1::UpdateObjectMetadataRequest::default()
    }
}

#[tokio::test]
async fn tags_are_given_with_an_object_and_later() {
    let (_cluster, mut client) = cluster(3).await;
    let data = content(300_000, 5);
    let mut put = header("bucket", "a", Some(data.len() as u64));
    put.tags = map(&[("stage", "raw"), ("team", "\u{17e} 7")]);
    let written = client.put_with(put, &data).await.unwrap();
    assert_eq!(
        written.tags,
        map(&[("stage", "raw"), ("team", "\u{17e} 7")])
    );
    assert_eq!(tags(&mut client, "a").await.unwrap(), written.tags);
    let answer = client
        .objects
        .set_object_tags(set("a", &[("stage", "done")]));
    let answer = answer.await.unwrap().into_inner();
    assert_eq!(answer.generation, written.generation);
    let changed = head(&mut client, "a").await;
    assert_eq!(changed.tags, map(&[("stage", "done")]));
    let same = v1::ObjectInfo {
        tags: written.tags.clone(),
        ..changed
    };
    assert_eq!(same, written, "nothing but the tags was changed");
    let request = v1::DeleteObjectTagsRequest {
        bucket: "bucket".to_owned(),
        key: "a".to_owned(),
        ..v1::DeleteObjectTagsRequest::default()
    };
    let answer = client.objects.delete_object_tags(request).await.unwrap();
    assert_eq!(answer.into_inner().generation, written.generation);
    assert!(tags(&mut client, "a").await.unwrap().is_empty());
    assert_eq!(client.get("a").await.unwrap(), data);
}

#[tokio::test]
async fn a_copy_keeps_tags_or_replaces_them() {
    let (_cluster, mut client) = cluster(3).await;
    let mut put = header("bucket", "a", Some(1));
    put.tags = map(&[("stage", "raw")]);
    client.put_with(put, b"x").await.unwrap();
    for (replace, expected) in [
        (None, map(&[("stage", "raw")])),
        (Some(map(&[("by", "me")])), map(&[("by", "me")])),
        (Some(map(&[])), map(&[])),
    ] {
        let request = v1::CopyObjectRequest {
            source_bucket: "bucket".to_owned(),
            source_key: "a".to_owned(),
            bucket: "bucket".to_owned(),
            key: "b".to_owned(),
            replace_tags: replace.map(|tags| v1::ObjectTags { tags }),
            ..v1::CopyObjectRequest::default()
        };
        let answer = client.objects.copy_object(request).await.unwrap();
        let mut told = answer.into_inner();
        while let Some(next) = told.message().await.unwrap() {
            if let Some(Told::Object(object)) = next.message {
                assert_eq!(object.tags, expected);
            }
        }
        assert_eq!(tags(&mut client, "b").await.unwrap(), expected);
    }
}

#[tokio::test]
async fn metadata_changes_under_a_new_generation_and_no_byte_is_written() {
    let (cluster, mut client) = cluster(3).await;
    let data = content(3_000_000, 5);
    let mut put = header("bucket", "a", Some(data.len() as u64));
    put.metadata = map(&[("colour", "red")]);
    put.tags = map(&[("stage", "raw")]);
    let written = client.put_with(put, &data).await.unwrap();
    let shards = cluster.drives.shards();
    let request = v1::UpdateObjectMetadataRequest {
        content_type: Some("image/png".to_owned()),
        preconditions: Some(v1::Preconditions {
            if_generation_match: Some(written.generation),
            ..v1::Preconditions::default()
        }),
        ..update("a")
    };
    let answer = client.objects.update_object_metadata(request.clone()).await;
    let answer = answer.unwrap().into_inner();
    assert!(answer.generation > written.generation);
    let found = head(&mut client, "a").await;
    let expected = v1::ObjectInfo {
        generation: answer.generation,
        modified_ms: answer.modified_ms,
        content_type: "image/png".to_owned(),
        ..written
    };
    assert_eq!(found, expected);
    assert_eq!(cluster.drives.shards(), shards);
    assert_eq!(client.get("a").await.unwrap(), data);
    // The generation that it was conditional on is gone.
    let again = client.objects.update_object_metadata(request).await;
    let again = again.unwrap_err();
    assert_eq!(reason(&again), "PRECONDITION_FAILED");
    let request = v1::UpdateObjectMetadataRequest {
        metadata: Some(v1::ObjectMetadata::default()),
        ..update("a")
    };
    client
        .objects
        .update_object_metadata(request)
        .await
        .unwrap();
    let found = head(&mut client, "a").await;
    assert_eq!(
        (found.metadata.len(), found.content_type.as_str()),
        (0, "image/png")
    );
}

#[tokio::test]
async fn what_is_wrong_with_tags_and_metadata_is_named() {
    let (_cluster, mut client) = cluster(3).await;
    client.put("a", b"x").await.unwrap();
    let many: Vec<String> = (0..11).map(|i| format!("k{i}")).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|key| (key.as_str(), "")).collect();
    let long = "v".repeat(257);
    let wrong: [&[(&str, &str)]; 5] = [
        &many,
        &[("", "v")],
        &[("k", &long)],
        &[("k", "a\nb")],
        &[("k*", "")],
    ];
    for tags in wrong {
        let refused = client
            .objects
            .set_object_tags(set("a", tags))
            .await
            .unwrap_err();
        assert_eq!(
            (refused.code(), field(&refused).as_str()),
            (Code::InvalidArgument, "tags")
        );
        let mut put = header("bucket", "a", Some(1));
        put.tags = map(tags);
        let refused = client.put_with(put, b"x").await.unwrap_err();
        assert_eq!(field(&refused), "tags");
    }
    for metadata in [
        map(&[("n\u{7}", "v")]),
        map(&[("n", "a\0b")]),
        map(&[("n", "a\r\nb")]),
    ] {
        let mut put = header("bucket", "a", Some(1));
        put.metadata = metadata.clone();
        let refused = client.put_with(put, b"x").await.unwrap_err();
        assert_eq!(
            (refused.code(), field(&refused).as_str()),
            (Code::InvalidArgument, "metadata")
        );
        let request = v1::UpdateObjectMetadataRequest {
            metadata: Some(v1::ObjectMetadata { metadata }),
            ..update("a")
        };
        let refused = client.objects.update_object_metadata(request).await;
        assert_eq!(field(&refused.unwrap_err()), "metadata");
    }
    let nothing = client.objects.update_object_metadata(update("a")).await;
    assert_eq!(field(&nothing.unwrap_err()), "metadata");
    for (call, expected) in [("absent", "OBJECT_NOT_FOUND"), ("a", "PRECONDITION_FAILED")] {
        let request = v1::SetObjectTagsRequest {
            preconditions: (call == "a").then(|| v1::Preconditions {
                if_generation_match: Some(1),
                ..v1::Preconditions::default()
            }),
            ..set(call, &[("k", "v")])
        };
        let refused = client.objects.set_object_tags(request).await.unwrap_err();
        assert_eq!(reason(&refused), expected);
    }
    let absent = tags(&mut client, "absent").await.unwrap_err();
    assert_eq!(reason(&absent), "OBJECT_NOT_FOUND");
}
