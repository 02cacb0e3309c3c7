//! Buckets over the API: made, listed, deleted.

use tonic::Code;

use super::kit::{Client, cluster, reason};
use crate::testing::Cluster;
use marram_proto::v1;

fn create(name: &str, profile: &str) -> v1::CreateBucketRequest {
    v1::CreateBucketRequest {
        bucket: name.to_owned(),
        profile: profile.to_owned(),
        ..v1::CreateBucketRequest::default()
    }
}

fn delete(name: &str) -> v1::DeleteBucketRequest {
    v1::DeleteBucketRequest {
        bucket: name.to_owned(),
        ..v1::DeleteBucketRequest::default()
    }
}

fn head(name: &str) -> v1::HeadBucketRequest {
    v1::HeadBucketRequest {
        bucket: name.to_owned(),
    }
}

#[tokio::test]
async fn buckets_are_made_found_and_removed() {
    let cluster = Cluster::start(6).await;
    let mut client = Client::of(&cluster).await;
    let made = client
        .buckets
        .create_bucket(create("photos", ""))
        .await
        .unwrap();
    assert_eq!(made.into_inner().bucket.unwrap().profile, "4+2");
    let found = client.buckets.head_bucket(head("photos")).await.unwrap();
    assert_eq!(found.into_inner().bucket.unwrap().name, "photos");
    client
        .buckets
        .delete_bucket(delete("photos"))
        .await
        .unwrap();
    let gone = client
        .buckets
        .head_bucket(head("photos"))
        .await
        .unwrap_err();
    assert_eq!(
        (gone.code(), reason(&gone).as_str()),
        (Code::NotFound, "BUCKET_NOT_FOUND")
    );
    let again = client
        .buckets
        .delete_bucket(delete("photos"))
        .await
        .unwrap_err();
    assert_eq!(reason(&again), "BUCKET_NOT_FOUND");
}

#[tokio::test]
async fn what_cannot_be_made_is_refused_with_a_reason() {
    let (_cluster, mut client) = cluster(6).await;
    for (name, profile, code, wanted) in [
        ("bucket", "", Code::AlreadyExists, "BUCKET_EXISTS"),
        ("Bad_Name", "", Code::InvalidArgument, "INVALID_BUCKET_NAME"),
        (
            "other",
            "nonsense",
            Code::InvalidArgument,
            "INVALID_PROFILE",
        ),
        ("other", "8+3", Code::InvalidArgument, "INVALID_PROFILE"),
    ] {
        let refused = client
            .buckets
            .create_bucket(create(name, profile))
            .await
            .unwrap_err();
        assert_eq!(
            (refused.code(), reason(&refused).as_str()),
            (code, wanted),
            "{name} {profile}"
        );
    }
}

#[tokio::test]
async fn a_bucket_with_objects_stays() {
    let (_cluster, mut client) = cluster(1).await;
    client.put("key", b"data").await.unwrap();
    let refused = client
        .buckets
        .delete_bucket(delete("bucket"))
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert_eq!(reason(&refused), "BUCKET_NOT_EMPTY");
    client.put("other", b"the seal was lifted").await.unwrap();
    assert_eq!(client.get("key").await.unwrap(), b"data");
}

#[tokio::test]
async fn the_same_request_makes_one_bucket() {
    let cluster = Cluster::start(1).await;
    let mut client = Client::of(&cluster).await;
    let request = v1::CreateBucketRequest {
        request_id: Some(v1::RequestId {
            client: vec![9; 16].into(),
            sequence: 1,
        }),
        ..create("once", "")
    };
    client.buckets.create_bucket(request.clone()).await.unwrap();
    client.buckets.create_bucket(request).await.unwrap();
}

#[tokio::test]
async fn listing_goes_through_all_pages() {
    let cluster = Cluster::start(1).await;
    let mut client = Client::of(&cluster).await;
    let mut wanted: Vec<String> = (0..7).map(|i| format!("a-bucket-{i}")).collect();
    for name in &wanted {
        client.make_bucket(name).await;
    }
    client.make_bucket("z-other").await;
    let mut found = Vec::new();
    let mut request = v1::ListBucketsRequest {
        page_size: 3,
        prefix: "a-".to_owned(),
        ..v1::ListBucketsRequest::default()
    };
    loop {
        let page = client
            .buckets
            .list_buckets(request.clone())
            .await
            .unwrap()
            .into_inner();
        assert!(page.buckets.len() <= 3);
        found.extend(page.buckets.into_iter().map(|bucket| bucket.name));
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    wanted.sort();
    assert_eq!(found, wanted);
    request.page_token = "00".to_owned();
    let refused = client.buckets.list_buckets(request).await.unwrap_err();
    assert_eq!(reason(&refused), "INVALID_PAGE_TOKEN");
}
