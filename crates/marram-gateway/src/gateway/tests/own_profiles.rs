//! Writes that ask for a profile beside their bucket's.

use marram_proto::v1;
use marram_types::caps::ALLOWED_PROFILES_MAX;
use tonic::{Code, Status};

use super::copies::{copied, copy};
use super::kit::{Client, cluster, content, header, reason};
use super::uploads::{complete, completion, part};

async fn allow(
    client: &mut Client,
    profile: &str,
    withdraw: bool,
) -> Result<v1::BucketProfile, Status> {
    let request = v1::AllowBucketProfileRequest {
        bucket: "bucket".to_owned(),
        profile: profile.to_owned(),
        withdraw,
        request_id: None,
    };
    let answer = client.admin.allow_bucket_profile(request).await?;
    Ok(answer.into_inner().profile.expect("the profile"))
}

async fn head(client: &mut Client, key: &str) -> v1::ObjectInfo {
    let request = v1::HeadObjectRequest {
        bucket: "bucket".to_owned(),
        key: key.to_owned(),
        ..v1::HeadObjectRequest::default()
    };
    let answer = client.objects.head_object(request).await.unwrap();
    answer.into_inner().object.expect("an object")
}

fn asks(key: &str, profile: &str) -> v1::PutObjectHeader {
    v1::PutObjectHeader {
        profile: profile.to_owned(),
        ..header("bucket", key, None)
    }
}

/// What is refused names the field, the bucket, and the command that helps.
fn is_not_allowed(refused: &Status, profile: &str) {
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert_eq!(reason(refused), "INVALID_PROFILE");
    let text = refused.message();
    let command = format!("marram admin bucket allow-profile m://bucket {profile}");
    assert!(
        text.starts_with("profile: ") && text.contains(&command),
        "{text}"
    );
}

#[tokio::test]
async fn a_put_with_a_profile_is_taken_where_the_bucket_allows_it() {
    let (cluster, mut client) = cluster(6).await;
    let large = content(3_000_000, 5);
    let refused = client.put_with(asks("a", "2+2"), &large).await.unwrap_err();
    is_not_allowed(&refused, "2+2");
    assert_eq!(cluster.drives.shards(), 0);
    let told = allow(&mut client, "2+2", false).await.unwrap();
    assert_eq!(
        (told.profile.as_str(), &told.allowed_profiles[..]),
        ("4+2", &["2+2".to_owned()][..])
    );
    for (key, size, kept) in [
        ("a", 3_000_000, "2+2"),
        ("b", 100_000, "1+2"),
        ("c", 10, "inline"),
    ] {
        let data = content(size, 6);
        let put = client.put_with(asks(key, "2+2"), &data).await.unwrap();
        assert_eq!(
            (put.own_profile.as_str(), &put.profiles[..]),
            ("2+2", &[kept.to_owned()][..])
        );
        assert_eq!(head(&mut client, key).await, put);
        assert_eq!(client.get(key).await.unwrap(), data);
    }
    // Without one, or with the bucket's own, it follows the bucket.
    for profile in ["", "4+2"] {
        let put = client.put_with(asks("d", profile), &large).await.unwrap();
        assert_eq!(
            (put.own_profile.as_str(), &put.profiles[..]),
            ("", &["4+2".to_owned()][..])
        );
    }
    let wrong = client.put_with(asks("a", "2-2"), b"x").await.unwrap_err();
    assert_eq!(reason(&wrong), "INVALID_PROFILE");
    // Two of four shards of the one, and of six of the other.
    cluster.drives.stop(cluster.nodes[1]);
    cluster.drives.stop(cluster.nodes[4]);
    assert_eq!(client.get("a").await.unwrap(), content(3_000_000, 6));
}

#[tokio::test]
async fn a_change_of_the_buckets_profile_leaves_versions_with_their_own_alone() {
    let (_cluster, mut client) = cluster(6).await;
    allow(&mut client, "2+2", false).await.unwrap();
    let data = content(2_000_000, 7);
    let own = client.put_with(asks("own", "2+2"), &data).await.unwrap();
    client.put("of-bucket", &data).await.unwrap();
    let set = v1::SetBucketProfileRequest {
        bucket: "bucket".to_owned(),
        profile: "3+2".to_owned(),
        request_id: None,
    };
    client.admin.set_bucket_profile(set).await.unwrap();
    assert_eq!(head(&mut client, "own").await, own);
    let told = allow(&mut client, "2+2", true).await.unwrap();
    assert_eq!(
        (told.profile.as_str(), told.allowed_profiles.len()),
        ("3+2", 0)
    );
    let refused = client
        .put_with(asks("own", "2+2"), &data)
        .await
        .unwrap_err();
    is_not_allowed(&refused, "2+2");
}

#[tokio::test]
async fn a_copy_has_the_profile_that_it_asks_for_and_not_its_sources() {
    let (_cluster, mut client) = cluster(6).await;
    let data = content(2_000_000, 8);
    client.put("source", &data).await.unwrap();
    let mut request = copy("source", ("bucket", "target"));
    request.profile = "2+2".to_owned();
    let refused = copied(&mut client, request.clone()).await.unwrap_err();
    is_not_allowed(&refused, "2+2");
    allow(&mut client, "2+2", false).await.unwrap();
    let target = copied(&mut client, request).await.unwrap();
    assert_eq!(
        (target.own_profile.as_str(), &target.profiles[..]),
        ("2+2", &["2+2".to_owned()][..])
    );
    assert_eq!(head(&mut client, "target").await, target);
    let back = copied(&mut client, copy("target", ("bucket", "back")))
        .await
        .unwrap();
    assert_eq!(
        (back.own_profile.as_str(), &back.profiles[..]),
        ("", &["4+2".to_owned()][..])
    );
    assert_eq!(client.get("back").await.unwrap(), data);
}

#[tokio::test]
async fn a_profile_that_the_cluster_cannot_hold_is_not_allowed() {
    let (_cluster, mut client) = cluster(6).await;
    for wrong in ["", "5+2", "2+3", "x"] {
        let refused = allow(&mut client, wrong, false).await.unwrap_err();
        assert_eq!(reason(&refused), "INVALID_PROFILE", "{wrong}: {refused:?}");
    }
    for profile in ["2+2", "3+2", "2+1", "3+1"] {
        allow(&mut client, profile, false).await.unwrap();
        let again = allow(&mut client, profile, false).await.unwrap();
        assert!(again.allowed_profiles.contains(&profile.to_owned()));
    }
    let refused = allow(&mut client, "1+2", false).await.unwrap_err();
    assert_eq!(reason(&refused), "INVALID_PROFILE");
    assert!(
        refused
            .message()
            .contains(&ALLOWED_PROFILES_MAX.to_string()),
        "{refused:?}"
    );
}

#[tokio::test]
async fn an_upload_has_the_profile_that_it_was_begun_with() {
    let (cluster, mut client) = cluster(6).await;
    let create = v1::CreateUploadRequest {
        bucket: "bucket".to_owned(),
        key: "k".to_owned(),
        profile: "2+2".to_owned(),
        ..v1::CreateUploadRequest::default()
    };
    let refused = client.uploads.create_upload(create.clone()).await;
    is_not_allowed(&refused.unwrap_err(), "2+2");
    allow(&mut client, "2+2", false).await.unwrap();
    let created = client.uploads.create_upload(create).await.unwrap();
    let upload = created.into_inner().upload_id;
    let set = v1::SetBucketProfileRequest {
        bucket: "bucket".to_owned(),
        profile: "3+2".to_owned(),
        request_id: None,
    };
    client.admin.set_bucket_profile(set).await.unwrap();
    let data = content(2_000_000, 9);
    let stored = part(&mut client, &upload, 1, &data).await.unwrap();
    let done = complete(&mut client, completion(&upload, &[&stored])).await;
    let object = done.unwrap().object.unwrap();
    assert_eq!(object.own_profile, "2+2");
    assert_eq!(object.profiles, ["2+2"]);
    cluster.drives.stop(cluster.nodes[0]);
    cluster.drives.stop(cluster.nodes[3]);
    assert_eq!(client.get("k").await.unwrap(), data);
}

#[tokio::test]
async fn what_was_done_is_answered_again_whatever_is_allowed_now() {
    let (_cluster, mut client) = cluster(6).await;
    let id = |sequence| {
        Some(v1::RequestId {
            client: bytes::Bytes::from_static(&[7; 16]),
            sequence,
        })
    };
    allow(&mut client, "2+2", false).await.unwrap();
    let data = content(2_000_000, 4);
    let put = v1::PutObjectHeader {
        request_id: id(1),
        ..asks("a", "2+2")
    };
    let first = client.put_with(put.clone(), &data).await.unwrap();
    // The bucket's own is not among those that it allows.
    let of_bucket = v1::PutObjectHeader {
        request_id: id(2),
        ..asks("b", "4+2")
    };
    let second = client.put_with(of_bucket.clone(), &data).await.unwrap();
    let create = v1::CreateUploadRequest {
        bucket: "bucket".to_owned(),
        key: "k".to_owned(),
        profile: "2+2".to_owned(),
        request_id: id(3),
        ..v1::CreateUploadRequest::default()
    };
    let created = client.uploads.create_upload(create.clone()).await.unwrap();
    allow(&mut client, "2+2", true).await.unwrap();
    allow(&mut client, "4+2", false).await.unwrap();
    let again = client.put_with(put.clone(), &data).await.unwrap();
    assert_eq!(again.generation, first.generation);
    let again = client.put_with(of_bucket, &data).await.unwrap();
    assert_eq!(again.generation, second.generation);
    let again = client.uploads.create_upload(create).await.unwrap();
    assert_eq!(again.into_inner(), created.into_inner());
    // Another profile is another request.
    let other = v1::PutObjectHeader {
        profile: "4+2".to_owned(),
        ..put
    };
    let reused = client.put_with(other, &data).await.unwrap_err();
    assert_eq!(reason(&reused), "INVALID_ARGUMENT");
    assert!(reused.message().contains("request"), "{reused:?}");
}
