//! What is asked once is done once: under one request id, whatever is lost, late, or changed between two attempts.

use marram_proto::v1;
use marram_types::{GroupId, RequestId};
use tonic::{Code, Status};
use tonic_types::StatusExt;

use super::copies::{copied, copy};
use super::kit::{Client, cluster, content, header, reason};
use crate::testing::GROUPS;

fn request(sequence: u64) -> Option<v1::RequestId> {
    Some(v1::RequestId {
        client: vec![7; 16].into(),
        sequence,
    })
}

async fn bucket(client: &mut Client) -> v1::Bucket {
    let request = v1::HeadBucketRequest {
        bucket: "bucket".to_owned(),
    };
    let answer = client.buckets.head_bucket(request).await.unwrap();
    answer.into_inner().bucket.unwrap()
}

/// The older decision, the newer one, and the older one once more, as an attempt that was late.
const ORDER: [u8; 3] = [1, 2, 1];

#[tokio::test]
async fn an_older_setting_of_a_bucket_that_comes_again_does_not_undo_a_newer_one() {
    let (_cluster, mut client) = cluster(6).await;
    for which in ORDER {
        let nth = usize::from(which - 1);
        let which = u64::from(which);
        let kept = [v1::Versioning::On, v1::Versioning::Suspended][nth];
        let set = v1::SetVersioningRequest {
            bucket: "bucket".to_owned(),
            versioning: kept.into(),
            request_id: request(which),
        };
        client.buckets.set_versioning(set).await.unwrap();
        let set = v1::SetQuotaRequest {
            bucket: "bucket".to_owned(),
            quota: Some(v1::Quota {
                bytes: Some(which << 30),
                objects: None,
            }),
            request_id: request(10 + which),
        };
        client.buckets.set_quota(set).await.unwrap();
        let set = v1::SetLifecycleRequest {
            bucket: "bucket".to_owned(),
            lifecycle: Some(v1::Lifecycle {
                rules: vec![v1::LifecycleRule {
                    id: format!("rule {which}"),
                    enabled: true,
                    expire_after_days: Some(7),
                    ..v1::LifecycleRule::default()
                }],
            }),
            request_id: request(20 + which),
        };
        client.buckets.set_lifecycle(set).await.unwrap();
        let set = v1::SetBucketProfileRequest {
            bucket: "bucket".to_owned(),
            profile: ["3+2", "2+2"][nth].to_owned(),
            request_id: request(30 + which),
        };
        client.admin.set_bucket_profile(set).await.unwrap();
    }
    let now = bucket(&mut client).await;
    assert_eq!(now.versioning(), v1::Versioning::Suspended);
    assert_eq!(now.quota.and_then(|quota| quota.bytes), Some(2 << 30));
    assert_eq!(now.profile, "2+2");
    let asked = v1::GetLifecycleRequest {
        bucket: "bucket".to_owned(),
    };
    let told = client.buckets.get_lifecycle(asked).await.unwrap();
    let rules = told.into_inner().lifecycle.unwrap().rules;
    assert_eq!(rules[0].id, "rule 2");
    let other = v1::SetQuotaRequest {
        bucket: "bucket".to_owned(),
        request_id: request(12),
        ..v1::SetQuotaRequest::default()
    };
    let refused = client.buckets.set_quota(other).await.expect_err("used");
    assert_eq!(reason(&refused), "INVALID_ARGUMENT");
    let details = refused.get_error_details();
    let field = details.error_info().unwrap().metadata["field"].clone();
    assert_eq!(field, "request_id");
}

#[tokio::test]
async fn an_access_key_is_made_changed_and_removed_once() {
    let (_cluster, mut client) = cluster(1).await;
    let create = v1::CreateAccessKeyRequest {
        note: "once".to_owned(),
        request_id: request(1),
        ..v1::CreateAccessKeyRequest::default()
    };
    let iam = &mut client.iam;
    let made = iam.create_access_key(create.clone()).await.unwrap();
    let made = made.into_inner();
    let again = iam.create_access_key(create.clone()).await.unwrap();
    assert_eq!(again.into_inner(), made, "the same key and secret");
    let other = v1::CreateAccessKeyRequest {
        request_id: request(2),
        ..create
    };
    let other = iam.create_access_key(other).await.unwrap().into_inner();
    assert_ne!((&other.key, &other.secret), (&made.key, &made.secret));
    let id = made.key.unwrap().id;

    let rotate = v1::RotateAccessKeyRequest {
        id: id.clone(),
        overlap_ms: 60_000,
        request_id: request(3),
    };
    let rotated = iam.rotate_access_key(rotate.clone()).await.unwrap();
    let rotated = rotated.into_inner();
    assert_ne!(rotated.secret, made.secret);
    let again = iam.rotate_access_key(rotate).await.unwrap().into_inner();
    assert_eq!(again, rotated, "one old secret, and the same new one");

    let mut seen = Vec::new();
    for which in ORDER {
        let switch = v1::UpdateAccessKeyRequest {
            id: id.clone(),
            disabled: Some(which == 1),
            request_id: request(u64::from(10 + which)),
            ..v1::UpdateAccessKeyRequest::default()
        };
        let now = iam.update_access_key(switch).await.unwrap().into_inner();
        seen.push(now.key.unwrap().disabled);
    }
    assert_eq!(seen, [true, false, false], "the newer change stands");
    let delete = v1::DeleteAccessKeyRequest {
        id,
        request_id: request(20),
    };
    for _ in 0..2 {
        let gone = iam.delete_access_key(delete.clone()).await.unwrap();
        assert!(gone.into_inner().existed, "there was one");
    }
    let later = v1::DeleteAccessKeyRequest {
        request_id: request(21),
        ..delete
    };
    let gone = iam.delete_access_key(later).await.unwrap();
    assert!(!gone.into_inner().existed);
}

fn once(from: &str, sequence: u64) -> v1::CopyObjectRequest {
    v1::CopyObjectRequest {
        request_id: request(sequence),
        ..copy(from, ("bucket", "target"))
    }
}

#[tokio::test]
async fn a_copy_that_is_asked_again_is_what_the_first_attempt_wrote() {
    let (_cluster, mut client) = cluster(6).await;
    let first = content(3_000_000, 1);
    client.put("source", &first).await.unwrap();
    let target = copied(&mut client, once("source", 1)).await.unwrap();
    client.put("source", b"another").await.unwrap();
    let again = copied(&mut client, once("source", 1)).await.unwrap();
    assert_eq!(again, target);
    let gone = v1::DeleteObjectRequest {
        bucket: "bucket".to_owned(),
        key: "source".to_owned(),
        ..v1::DeleteObjectRequest::default()
    };
    client.objects.delete_object(gone).await.unwrap();
    let again = copied(&mut client, once("source", 1)).await.unwrap();
    assert_eq!(again, target, "as of a move whose second step was made");
    assert_eq!(client.get("target").await.unwrap(), first);

    let other = copied(&mut client, once("target", 1)).await;
    let other = other.expect_err("another copy under the same id");
    assert_eq!(reason(&other), "INVALID_ARGUMENT");
    client.put("target", b"newer").await.unwrap();
    let again = copied(&mut client, once("source", 1)).await.unwrap();
    assert_eq!(again, target, "although it is not there any more either");
    assert_eq!(client.get("target").await.unwrap(), b"newer");
    // What the first attempt was refused, the second one is refused too.
    let absent = Some(v1::Preconditions {
        if_generation_match: Some(0),
        ..v1::Preconditions::default()
    });
    let mut wanted = once("target", 2);
    wanted.preconditions = absent;
    for _ in 0..2 {
        let refused = copied(&mut client, wanted.clone())
            .await
            .expect_err("there");
        assert_eq!(reason(&refused), "PRECONDITION_FAILED");
    }
}

fn metadata(status: &Status) -> std::collections::HashMap<String, String> {
    let details = status.get_error_details();
    details.error_info().expect("an ErrorInfo").metadata.clone()
}

/// Two attempts at once: neither knows of the other when it begins to read.
#[tokio::test]
async fn of_two_attempts_at_a_copy_the_second_tells_what_the_first_wrote() {
    let (cluster, mut client) = cluster(6).await;
    client.put("source", b"one").await.unwrap();
    cluster.groups.hold(true);
    let mut tried = client.clone();
    let first = tokio::spawn(async move { copied(&mut tried, once("source", 1)).await });
    cluster.groups.until_waiting(1).await;
    let mut tried = client.clone();
    let second = tokio::spawn(async move { copied(&mut tried, once("source", 1)).await });
    cluster.groups.until_waiting(2).await;
    cluster.groups.hold(false);
    let (first, second) = (first.await.unwrap(), second.await.unwrap());
    assert_eq!(first.unwrap(), second.unwrap());
}

fn lose_all(cluster: &crate::testing::Cluster, answers: usize) {
    for group in 0..=GROUPS {
        cluster.groups.lose(GroupId(group), answers);
    }
}

#[tokio::test]
async fn an_outcome_that_is_lost_is_read_back_before_the_caller_hears() {
    let (cluster, mut client) = cluster(6).await;
    lose_all(&cluster, 1);
    let put = client.put("k", b"one").await.unwrap();
    let head = v1::HeadObjectRequest {
        bucket: "bucket".to_owned(),
        key: "k".to_owned(),
        ..v1::HeadObjectRequest::default()
    };
    let found = client.objects.head_object(head).await.unwrap();
    assert_eq!(found.into_inner().object.unwrap(), put, "written once");
    lose_all(&cluster, 1);
    let set = v1::SetVersioningRequest {
        bucket: "bucket".to_owned(),
        versioning: v1::Versioning::On.into(),
        ..v1::SetVersioningRequest::default()
    };
    client.buckets.set_versioning(set).await.unwrap();
}

#[tokio::test]
async fn an_outcome_that_stays_unknown_comes_with_a_token_to_ask_again() {
    let (cluster, mut client) = cluster(6).await;
    lose_all(&cluster, 2);
    let unknown = client.put("k", b"one").await.expect_err("lost twice");
    assert_eq!(unknown.code(), Code::Unknown);
    assert_eq!(reason(&unknown), "OUTCOME_UNKNOWN");
    let details = unknown.get_error_details();
    assert!(details.retry_info().is_some(), "asking again can help");
    let told = metadata(&unknown)["request_id"].clone();
    assert!(unknown.message().contains(&told), "{}", unknown.message());
    let token: RequestId = told.parse().unwrap();
    let mut again = header("bucket", "k", Some(3));
    again.request_id = Some(v1::RequestId {
        client: token.client.to_be_bytes().to_vec().into(),
        sequence: token.sequence,
    });
    client.put("k", b"two").await.unwrap();
    let answer = client.put_with(again, b"one").await.unwrap();
    assert_eq!(client.get("k").await.unwrap(), b"two", "not done twice");
    assert!(answer.generation > 0);
    cluster.groups.lose(GroupId::ROOT, 2);
    let set = v1::SetVersioningRequest {
        bucket: "bucket".to_owned(),
        versioning: v1::Versioning::On.into(),
        request_id: request(5),
    };
    let unknown = client.buckets.set_versioning(set).await.expect_err("lost");
    let own = "07070707070707070707070707070707-5";
    assert_eq!(metadata(&unknown)["request_id"], own, "the caller's own");
}
