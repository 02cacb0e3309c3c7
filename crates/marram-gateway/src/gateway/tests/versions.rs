//! Buckets that keep versions, over the API.

use marram_meta::COMMAND_VERSION;
use marram_proto::v1;
use marram_proto::v1::copy_object_response::Message as Told;
use marram_proto::v1::get_object_response::Message as Got;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use super::kit::{Client, cluster, content, reason};
use crate::status;
use crate::testing::Cluster;

async fn versioning(client: &mut Client, versioning: v1::Versioning) -> Result<v1::Bucket, Status> {
    let request = v1::SetVersioningRequest {
        bucket: "bucket".to_owned(),
        versioning: versioning.into(),
        ..v1::SetVersioningRequest::default()
    };
    let answer = client.buckets.set_versioning(request).await?;
    Ok(answer.into_inner().bucket.unwrap())
}

/// A cluster whose bucket keeps versions.
async fn versioned(nodes: u8) -> (Cluster, Client) {
    let (cluster, mut client) = cluster(nodes).await;
    let bucket = versioning(&mut client, v1::Versioning::On).await.unwrap();
    assert_eq!(bucket.versioning(), v1::Versioning::On);
    (cluster, client)
}

async fn get(client: &mut Client, key: &str, generation: Option<u64>) -> Result<Vec<u8>, Status> {
    let request = v1::GetObjectRequest {
        bucket: "bucket".to_owned(),
        key: key.to_owned(),
        generation,
        ..v1::GetObjectRequest::default()
    };
    let mut stream = client.objects.get_object(request).await?.into_inner();
    let mut data = Vec::new();
    while let Some(next) = stream.message().await? {
        match next.message.unwrap() {
            Got::Header(header) => {
                let found = header.object.unwrap().generation;
                assert_eq!(generation.unwrap_or(found), found);
            }
            Got::Chunk(chunk) => data.extend_from_slice(&chunk.data),
            Got::Plan(_) => panic!("a plan was not asked for"),
        }
    }
    Ok(data)
}

async fn head(
    client: &mut Client,
    key: &str,
    generation: Option<u64>,
) -> Result<v1::ObjectInfo, Status> {
    let request = v1::HeadObjectRequest {
        bucket: "bucket".to_owned(),
        key: key.to_owned(),
        generation,
        ..v1::HeadObjectRequest::default()
    };
    let answer = client.objects.head_object(request).await?;
    Ok(answer.into_inner().object.unwrap())
}

async fn delete(
    client: &mut Client,
    key: &str,
    generation: Option<u64>,
) -> v1::DeleteObjectResponse {
    let request = v1::DeleteObjectRequest {
        bucket: "bucket".to_owned(),
        key: key.to_owned(),
        generation,
        ..v1::DeleteObjectRequest::default()
    };
    let answer = client.objects.delete_object(request).await;
    answer.unwrap().into_inner()
}

/// Key, generation, and whether it is a marker, current and null.
type Shown = (String, u64, bool, bool, bool);

async fn list(client: &mut Client, request: v1::ListObjectVersionsRequest) -> Vec<Shown> {
    let mut request = v1::ListObjectVersionsRequest {
        bucket: "bucket".to_owned(),
        ..request
    };
    let mut all = Vec::new();
    loop {
        let answer = client.objects.list_object_versions(request.clone()).await;
        let page = answer.unwrap().into_inner();
        all.extend(page.versions.into_iter().map(|v| {
            assert_eq!(v.etag.is_empty(), v.delete_marker);
            (
                v.key,
                v.generation,
                v.delete_marker,
                v.is_current,
                v.is_null,
            )
        }));
        all.extend(
            page.common_prefixes
                .into_iter()
                .map(|prefix| (prefix, 0, false, false, false)),
        );
        if page.next_page_token.is_empty() {
            return all;
        }
        request.page_token = page.next_page_token;
    }
}

async fn usage(client: &mut Client) -> v1::GetBucketUsageResponse {
    let request = v1::GetBucketUsageRequest {
        bucket: "bucket".to_owned(),
    };
    let answer = client.buckets.get_bucket_usage(request).await;
    answer.unwrap().into_inner()
}

fn detail(status: &Status, name: &str) -> String {
    let details = status.get_error_details();
    let info = details.error_info().expect("a reason");
    info.metadata.get(name).cloned().unwrap_or_default()
}

#[tokio::test]
async fn every_version_is_read_by_its_generation_in_all_size_classes() {
    let (_cluster, mut client) = versioned(6).await;
    for (key, len) in [("inline", 100), ("copies", 50_000), ("striped", 1_500_000)] {
        let mut written = Vec::new();
        for seed in 0..3 {
            let bytes = content(len + usize::try_from(seed).unwrap(), seed);
            let info = client.put(key, &bytes).await.unwrap();
            written.push((info.generation, bytes));
        }
        for (generation, bytes) in &written {
            let read = get(&mut client, key, Some(*generation)).await.unwrap();
            assert_eq!(&read, bytes, "{key} {generation}");
            let info = head(&mut client, key, Some(*generation)).await.unwrap();
            assert_eq!(info.size, bytes.len() as u64);
        }
        let (newest, bytes) = written.last().unwrap();
        assert_eq!(get(&mut client, key, None).await.unwrap(), *bytes);
        let none = get(&mut client, key, Some(newest + 1)).await.unwrap_err();
        assert_eq!(none.code(), Code::NotFound);
        assert_eq!(reason(&none), "VERSION_NOT_FOUND");
    }
    let held = usage(&mut client).await;
    assert_eq!((held.objects, held.noncurrent_versions), (3, 6));
    let sizes = [100_u64, 50_000, 1_500_000];
    assert_eq!(held.bytes, sizes.iter().map(|len| len + 2).sum::<u64>());
    let older = sizes.iter().map(|len| 2 * len + 1).sum::<u64>();
    assert_eq!((held.noncurrent_bytes, held.delete_markers), (older, 0));
}

#[tokio::test]
async fn a_delete_is_a_marker_and_says_so() {
    let (_cluster, mut client) = versioned(3).await;
    let bytes = content(200_000, 1);
    let written = client.put("a", &bytes).await.unwrap().generation;
    let done = delete(&mut client, "a", None).await;
    assert!(done.existed && done.delete_marker);
    let marker = done.generation;
    for gone in [
        get(&mut client, "a", None).await.map(|_| ()),
        head(&mut client, "a", None).await.map(|_| ()),
    ] {
        let gone = gone.unwrap_err();
        assert_eq!(gone.code(), Code::NotFound);
        assert_eq!(reason(&gone), "OBJECT_NOT_FOUND");
        assert_eq!(detail(&gone, "delete_marker"), "true");
        assert_eq!(detail(&gone, "generation"), marker.to_string());
    }
    let asked = head(&mut client, "a", Some(marker)).await.unwrap_err();
    assert_eq!(asked.code(), Code::FailedPrecondition);
    assert_eq!(reason(&asked), "IS_DELETE_MARKER");
    // What never was is not said to be deleted.
    let never = head(&mut client, "b", None).await.unwrap_err();
    assert_eq!(detail(&never, "delete_marker"), "");
    let page = client.list(v1::ListObjectsRequest {
        bucket: "bucket".to_owned(),
        ..v1::ListObjectsRequest::default()
    });
    assert!(page.await.unwrap().objects.is_empty());
    assert_eq!(get(&mut client, "a", Some(written)).await.unwrap(), bytes);
    // Without the marker the object is back.
    let done = delete(&mut client, "a", Some(marker)).await;
    assert!(done.existed && done.delete_marker && done.generation == marker);
    assert_eq!(get(&mut client, "a", None).await.unwrap(), bytes);
    let again = delete(&mut client, "a", Some(marker)).await;
    assert_eq!(again, v1::DeleteObjectResponse::default());
    // And without the version nothing is.
    let done = delete(&mut client, "a", Some(written)).await;
    assert!(done.existed && !done.delete_marker && done.generation == written);
    let gone = get(&mut client, "a", Some(written)).await.unwrap_err();
    assert_eq!(reason(&gone), "VERSION_NOT_FOUND");
}

#[tokio::test]
async fn an_old_version_is_copied_back() {
    let (_cluster, mut client) = versioned(6).await;
    let (old, new) = (content(300_000, 1), content(200_000, 2));
    let first = client.put("a", &old).await.unwrap().generation;
    client.put("a", &new).await.unwrap();
    let request = v1::CopyObjectRequest {
        source_bucket: "bucket".to_owned(),
        source_key: "a".to_owned(),
        source_generation: Some(first),
        bucket: "bucket".to_owned(),
        key: "a".to_owned(),
        ..v1::CopyObjectRequest::default()
    };
    let mut told = client
        .objects
        .copy_object(request)
        .await
        .unwrap()
        .into_inner();
    let mut copied = None;
    while let Some(message) = told.message().await.unwrap() {
        if let Some(Told::Object(object)) = message.message {
            copied = Some(object);
        }
    }
    assert!(copied.unwrap().generation > first);
    assert_eq!(get(&mut client, "a", None).await.unwrap(), old);
    assert_eq!(usage(&mut client).await.noncurrent_versions, 2);
}

#[tokio::test]
async fn versions_are_listed_by_key_and_the_newest_first() {
    let (_cluster, mut client) = cluster(1).await;
    let null = client.put("a/1", b"before").await.unwrap().generation;
    versioning(&mut client, v1::Versioning::On).await.unwrap();
    let second = client.put("a/1", b"two").await.unwrap().generation;
    let marker = delete(&mut client, "a/1", None).await.generation;
    let mut many = Vec::new();
    for n in 0..5_u8 {
        many.push(client.put("b", &[n]).await.unwrap().generation);
    }
    let shown = |key: &str, generation, marker, current, null| {
        (key.to_owned(), generation, marker, current, null)
    };
    let of_a = vec![
        shown("a/1", marker, true, true, false),
        shown("a/1", second, false, false, false),
        shown("a/1", null, false, false, true),
    ];
    let of_b: Vec<Shown> = (0..5)
        .rev()
        .map(|at| shown("b", many[at], false, at == 4, false))
        .collect();
    let all = [of_a.clone(), of_b.clone()].concat();
    for page_size in [0, 1, 3] {
        let request = v1::ListObjectVersionsRequest {
            page_size,
            ..v1::ListObjectVersionsRequest::default()
        };
        assert_eq!(list(&mut client, request).await, all, "{page_size}");
    }
    let request = v1::ListObjectVersionsRequest {
        delimiter: "/".to_owned(),
        ..v1::ListObjectVersionsRequest::default()
    };
    let mut rolled = of_b.clone();
    rolled.push(("a/".to_owned(), 0, false, false, false));
    assert_eq!(list(&mut client, request).await, rolled);
    let request = v1::ListObjectVersionsRequest {
        key_marker: "b".to_owned(),
        generation_marker: Some(many[2]),
        ..v1::ListObjectVersionsRequest::default()
    };
    assert_eq!(list(&mut client, request).await, of_b[3..]);
    let request = v1::ListObjectVersionsRequest {
        prefix: "a".to_owned(),
        ..v1::ListObjectVersionsRequest::default()
    };
    assert_eq!(list(&mut client, request).await, of_a);
    let bad = client
        .objects
        .list_object_versions(v1::ListObjectVersionsRequest {
            bucket: "bucket".to_owned(),
            generation_marker: Some(1),
            ..v1::ListObjectVersionsRequest::default()
        })
        .await
        .unwrap_err();
    assert_eq!(reason(&bad), "INVALID_ARGUMENT");
}

#[tokio::test]
async fn a_suspended_bucket_keeps_what_it_has_and_replaces_the_null_version() {
    let (_cluster, mut client) = versioned(1).await;
    let kept = client.put("a", b"kept").await.unwrap().generation;
    let bucket = versioning(&mut client, v1::Versioning::Suspended).await;
    assert_eq!(bucket.unwrap().versioning(), v1::Versioning::Suspended);
    let first = client.put("a", b"first").await.unwrap().generation;
    let second = client.put("a", b"second").await.unwrap().generation;
    let gone = get(&mut client, "a", Some(first)).await.unwrap_err();
    assert_eq!(reason(&gone), "VERSION_NOT_FOUND");
    assert_eq!(get(&mut client, "a", Some(kept)).await.unwrap(), b"kept");
    let done = delete(&mut client, "a", None).await;
    assert!(done.existed && done.delete_marker);
    let gone = get(&mut client, "a", Some(second)).await.unwrap_err();
    assert_eq!(reason(&gone), "VERSION_NOT_FOUND");
    let held = usage(&mut client).await;
    assert_eq!(
        (held.objects, held.noncurrent_versions, held.delete_markers),
        (0, 1, 1)
    );
}

#[tokio::test]
async fn versioning_is_on_or_suspended_and_never_off_again() {
    let (cluster, mut client) = cluster(1).await;
    let closed = cluster.core.pass_gate(COMMAND_VERSION + 1).unwrap_err();
    assert_eq!(reason(&status::of(&closed)), "VERSION_GATE_CLOSED");
    let info = client
        .buckets
        .head_bucket(v1::HeadBucketRequest {
            bucket: "bucket".to_owned(),
        })
        .await
        .unwrap();
    let bucket = info.into_inner().bucket.unwrap();
    assert_eq!(bucket.versioning(), v1::Versioning::Off);
    for bad in [v1::Versioning::Off, v1::Versioning::Unspecified] {
        let refused = versioning(&mut client, bad).await.unwrap_err();
        assert_eq!(reason(&refused), "INVALID_ARGUMENT", "{bad:?}");
    }
    for _ in 0..2 {
        versioning(&mut client, v1::Versioning::On).await.unwrap();
    }
    let refused = versioning(&mut client, v1::Versioning::Off).await;
    assert_eq!(reason(&refused.unwrap_err()), "INVALID_ARGUMENT");
    let nowhere = client
        .buckets
        .set_versioning(v1::SetVersioningRequest {
            bucket: "nowhere".to_owned(),
            versioning: v1::Versioning::On.into(),
            ..v1::SetVersioningRequest::default()
        })
        .await
        .unwrap_err();
    assert_eq!(reason(&nowhere), "BUCKET_NOT_FOUND");
}

#[tokio::test]
async fn a_bucket_with_versions_or_markers_is_not_removed() {
    let (_cluster, mut client) = versioned(1).await;
    let written = client.put("a", b"x").await.unwrap().generation;
    let marker = delete(&mut client, "a", None).await.generation;
    let remove = || v1::DeleteBucketRequest {
        bucket: "bucket".to_owned(),
        ..v1::DeleteBucketRequest::default()
    };
    for generation in [written, marker] {
        let kept = client.buckets.delete_bucket(remove()).await.unwrap_err();
        assert_eq!(reason(&kept), "BUCKET_NOT_EMPTY");
        delete(&mut client, "a", Some(generation)).await;
    }
    client.buckets.delete_bucket(remove()).await.unwrap();
}

#[tokio::test]
async fn a_batch_deletes_versions_and_objects() {
    let (_cluster, mut client) = versioned(1).await;
    let first = client.put("a", b"one").await.unwrap().generation;
    let second = client.put("a", b"two").await.unwrap().generation;
    client.put("b", b"x").await.unwrap();
    let object = |key: &str, generation| v1::ObjectToDelete {
        key: key.to_owned(),
        generation,
        ..v1::ObjectToDelete::default()
    };
    let objects = vec![
        object("a", Some(first)),
        object("a", Some(second)),
        object("b", None),
        object("a", Some(second + 1000)),
    ];
    let request = v1::DeleteObjectsRequest {
        bucket: "bucket".to_owned(),
        objects,
        request_id: Some(v1::RequestId {
            client: vec![3; 16].into(),
            sequence: 7,
        }),
    };
    let answer = client.objects.delete_objects(request).await.unwrap();
    let results = answer.into_inner().results;
    let told: Vec<_> = results
        .iter()
        .map(|result| {
            assert_eq!(result.failure, None);
            (result.existed, result.delete_marker, result.generation)
        })
        .collect();
    let marker = results[2].generation;
    assert!(marker > 0);
    let wanted = [
        (true, false, first),
        (true, false, second),
        (true, true, marker),
        (false, false, 0),
    ];
    assert_eq!(told, wanted);
    let held = usage(&mut client).await;
    assert_eq!(
        (held.objects, held.noncurrent_versions, held.delete_markers),
        (0, 1, 1)
    );
}

#[tokio::test]
async fn a_read_goes_on_with_a_version_that_is_replaced_meanwhile() {
    let (cluster, mut client) = cluster(6).await;
    let before = content(40_000_000, 1);
    // From before the bucket kept versions: it is the null version.
    client.put("k", &before).await.unwrap();
    versioning(&mut client, v1::Versioning::On).await.unwrap();
    let request = v1::GetObjectRequest {
        bucket: "bucket".to_owned(),
        key: "k".to_owned(),
        ..v1::GetObjectRequest::default()
    };
    let stream = client.objects.get_object(request).await.unwrap();
    let mut stream = stream.into_inner();
    let mut data = Vec::new();
    let mut replaced = false;
    while let Some(next) = stream.message().await.unwrap() {
        if let Got::Chunk(chunk) = next.message.unwrap() {
            data.extend_from_slice(&chunk.data);
            if !replaced {
                replaced = true;
                client.put("k", &content(1000, 2)).await.unwrap();
                // What is read next cannot be read for a moment: the object is looked up again.
                let gone = cluster.nodes[..3].to_vec();
                gone.iter().for_each(|node| cluster.drives.stop(*node));
                let drives = cluster.drives.clone();
                tokio::spawn(async move {
                    tokio::time::sleep(std::time::Duration::from_millis(700)).await;
                    gone.iter().for_each(|node| drives.start(*node));
                });
            }
        }
    }
    assert!(
        data == before,
        "one version from its first byte to its last"
    );
    assert_eq!(get(&mut client, "k", None).await.unwrap(), content(1000, 2));
}
