//! Who may do what: each kind of call under each grant, and what happens when grants are taken back.

use marram_proto::v1;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::{Code, Request, Status};
use tonic_prost::ProstCodec;

use super::kit::{Client, chunk, cluster, content, eventually, header, message, reason, token_of};
use super::security::methods;
use crate::testing::{ACCESS_KEY, Cluster, now_ms};

fn grant(text: &str) -> v1::Grant {
    let grant: marram_types::Grant = text.parse().unwrap();
    v1::Grant::from(&grant)
}

/// A key with these grants and a client that uses it.
pub(super) async fn key(
    cluster: &Cluster,
    admin: &mut Client,
    grants: &[&str],
) -> (v1::CreateAccessKeyResponse, Client) {
    let request = v1::CreateAccessKeyRequest {
        note: "tests".to_owned(),
        grants: grants.iter().map(|text| grant(text)).collect(),
        expires_ms: 0,
        ..v1::CreateAccessKeyRequest::default()
    };
    let made = admin.iam.create_access_key(request).await.unwrap();
    let made = made.into_inner();
    let id = made.key.as_ref().unwrap().id.clone();
    let client = Client::signed(cluster.channel().await, token_of(&id, &made.secret));
    (made, client)
}

pub(super) fn id(made: &v1::CreateAccessKeyResponse) -> String {
    made.key.as_ref().unwrap().id.clone()
}

/// What a call came to: `yes`, or the reason why not.
fn said<T>(answer: Result<T, Status>) -> String {
    answer.map_or_else(|status| reason(&status), |_| "yes".to_owned())
}

/// A server that lags behind the root group looks there before it says that it does not know a key.
#[tokio::test]
async fn a_key_that_was_just_made_is_known_where_the_view_lags() {
    let (cluster, mut admin) = cluster(1).await;
    cluster.groups.lag();
    let (_, mut client) = key(&cluster, &mut admin, &["list,read,write:bucket"]).await;
    let waiting = tokio::spawn(async move {
        let put = client.put("a", b"x").await;
        (put, client)
    });
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    assert!(!waiting.is_finished(), "it waits for the server's own view");
    cluster.groups.catch_up();
    let (put, mut client) = waiting.await.unwrap();
    put.unwrap();
    // What no server knows is told at once, and what cannot be found out is no verdict.
    let mut nobody = Client::signed(cluster.channel().await, token_of("MKNOBODY", "s"));
    assert_eq!(said(nobody.put("a", b"x").await), "KEY_UNKNOWN");
    cluster.groups.silence(marram_types::GroupId::ROOT);
    assert_eq!(said(nobody.put("a", b"x").await), "METADATA_UNAVAILABLE");
    client.put("a", b"y").await.unwrap();
}

const DENIED: &str = "PERMISSION_DENIED";

/// Every kind of call on `bucket` and on the key `2026/a` in it.
async fn all(client: &mut Client) -> Vec<(&'static str, String)> {
    let name = || ("bucket".to_owned(), "2026/a".to_owned());
    let (bucket, key) = name();
    let list = |prefix: &str| v1::ListObjectsRequest {
        bucket: "bucket".to_owned(),
        prefix: prefix.to_owned(),
        ..v1::ListObjectsRequest::default()
    };
    let head = v1::HeadObjectRequest {
        bucket: bucket.clone(),
        key: key.clone(),
        ..v1::HeadObjectRequest::default()
    };
    let delete = v1::DeleteObjectRequest {
        bucket: bucket.clone(),
        key: key.clone(),
        ..v1::DeleteObjectRequest::default()
    };
    let make = v1::CreateBucketRequest {
        bucket: "bucket".to_owned(),
        ..v1::CreateBucketRequest::default()
    };
    let seen = v1::HeadBucketRequest { bucket };
    let status = v1::GetClusterStatusRequest::default();
    vec![
        ("put", said(client.put(&key, b"x").await)),
        ("get", said(client.get(&key).await)),
        ("head", said(client.objects.head_object(head).await)),
        ("list", said(client.list(list("2026/")).await)),
        ("list all", said(client.list(list("")).await)),
        ("delete", said(client.objects.delete_object(delete).await)),
        ("bucket", said(client.buckets.head_bucket(seen).await)),
        ("make", said(client.buckets.create_bucket(make).await)),
        (
            "status",
            said(client.admin.get_cluster_status(status).await),
        ),
        (
            "keys",
            said(
                client
                    .iam
                    .list_access_keys(v1::ListAccessKeysRequest {})
                    .await,
            ),
        ),
    ]
}

/// The calls that are not denied.
async fn permitted(client: &mut Client) -> Vec<&'static str> {
    let calls = all(client).await.into_iter();
    calls
        .filter(|(_, said)| said != DENIED)
        .map(|(what, _)| what)
        .collect()
}

#[tokio::test]
async fn a_grant_permits_what_it_says_where_it_says_and_nothing_else() {
    let (cluster, mut admin) = cluster(6).await;
    let cases: [(&[&str], &[&str]); 8] = [
        (&["read:bucket/2026/"], &["get", "head", "bucket"]),
        (&["list:bucket/2026/"], &["list", "bucket"]),
        (&["list:bucket"], &["list", "list all", "bucket"]),
        (&["write:bucket/2026/"], &["put", "delete", "bucket"]),
        (&["list,read,write:bucket/2025/"], &["bucket"]),
        (&["list,read,write:other", "admin:another"], &[]),
        (
            &["admin:bucket"],
            &[
                "put", "get", "head", "list", "list all", "delete", "bucket", "make",
            ],
        ),
        (
            &["list,read,write:*"],
            &["put", "get", "head", "list", "list all", "delete", "bucket"],
        ),
    ];
    for (grants, wanted) in cases {
        let (_, mut client) = key(&cluster, &mut admin, grants).await;
        assert_eq!(permitted(&mut client).await, wanted, "{grants:?}");
    }
    let (_, mut client) = key(&cluster, &mut admin, &["admin:*"]).await;
    assert_eq!(permitted(&mut client).await.len(), 10);
}

#[tokio::test]
async fn a_key_without_a_grant_reaches_no_method() {
    let (cluster, mut admin) = cluster(1).await;
    let (made, mut client) = key(&cluster, &mut admin, &[]).await;
    let token = token_of(&id(&made), &made.secret);
    // These answer every key, with what its grants show: nothing.
    let open = [
        "/marram.v1.BucketService/ListBuckets",
        "/marram.v1.ObjectService/ReadShard",
    ];
    for path in methods() {
        let mut raw = tonic::client::Grpc::new(cluster.channel().await);
        raw.ready().await.unwrap();
        let mut request = Request::new(tokio_stream::iter([()]));
        request
            .metadata_mut()
            .insert("authorization", token.clone());
        let at = PathAndQuery::try_from(path.clone()).unwrap();
        let codec = ProstCodec::<(), ()>::default();
        let answer = raw.streaming(request, at, codec).await;
        match answer {
            Ok(_) => assert!(open.contains(&path.as_str()), "{path} answered"),
            Err(status) if open.contains(&path.as_str()) => {
                assert_ne!(reason(&status), DENIED, "{path}");
            }
            Err(status) => {
                assert_eq!(status.code(), Code::PermissionDenied, "{path}: {status:?}");
                assert_eq!(reason(&status), DENIED, "{path}");
            }
        }
    }
    let buckets = client
        .buckets
        .list_buckets(v1::ListBucketsRequest::default());
    assert!(buckets.await.unwrap().into_inner().buckets.is_empty());
}

#[tokio::test]
async fn what_may_not_be_seen_is_not_told_apart_from_what_is_not_there() {
    let (cluster, mut admin) = cluster(6).await;
    admin.put("2026/a", b"x").await.unwrap();
    let (_, mut client) = key(&cluster, &mut admin, &["read:elsewhere"]).await;
    for key in ["2026/a", "2026/never"] {
        let status = client.get(key).await.expect_err("denied");
        assert_eq!(reason(&status), DENIED);
        assert!(status.message().contains("read"), "{status:?}");
    }
    for bucket in ["bucket", "never"] {
        let bucket = bucket.to_owned();
        let answer = client.buckets.head_bucket(v1::HeadBucketRequest { bucket });
        assert_eq!(said(answer.await), DENIED);
    }
    let listed = client
        .buckets
        .list_buckets(v1::ListBucketsRequest::default());
    assert!(listed.await.unwrap().into_inner().buckets.is_empty());
}

#[tokio::test]
async fn a_batch_deletes_what_may_be_deleted_and_says_the_rest() {
    let (cluster, mut admin) = cluster(6).await;
    for name in ["in/a", "out/b"] {
        admin.put(name, b"x").await.unwrap();
    }
    let (_, mut client) = key(&cluster, &mut admin, &["write:bucket/in/"]).await;
    let object = |key: &str| v1::ObjectToDelete {
        key: key.to_owned(),
        ..v1::ObjectToDelete::default()
    };
    let request = v1::DeleteObjectsRequest {
        bucket: "bucket".to_owned(),
        objects: vec![object("in/a"), object("out/b")],
        request_id: Some(v1::RequestId {
            client: vec![8; 16].into(),
            sequence: 1,
        }),
    };
    let answer = client.objects.delete_objects(request).await.unwrap();
    let results = answer.into_inner().results;
    assert!(results[0].existed && results[0].failure.is_none());
    let failure = results[1].failure.as_ref().expect("refused");
    assert_eq!((failure.code, failure.reason.as_str()), (7, DENIED));
    assert_eq!(admin.get("out/b").await.unwrap(), b"x");
    assert!(admin.get("in/a").await.is_err());
}

#[tokio::test]
async fn a_copy_needs_to_read_here_and_to_write_there() {
    let (cluster, mut admin) = cluster(6).await;
    for name in ["in/a", "out/a"] {
        admin.put(name, b"x").await.unwrap();
    }
    let grants = ["read:bucket/in/", "write:bucket/out/"];
    let (_, mut client) = key(&cluster, &mut admin, &grants).await;
    let mut copy = async |from: &str, to: &str| {
        let request = v1::CopyObjectRequest {
            source_bucket: "bucket".to_owned(),
            source_key: from.to_owned(),
            bucket: "bucket".to_owned(),
            key: to.to_owned(),
            ..v1::CopyObjectRequest::default()
        };
        said(client.objects.copy_object(request).await)
    };
    assert_eq!(copy("in/a", "out/b").await, "yes");
    assert_eq!(copy("out/a", "out/b").await, DENIED);
    assert_eq!(copy("in/a", "in/b").await, DENIED);
}

#[tokio::test]
async fn keys_end_are_switched_off_and_get_other_secrets() {
    let (cluster, mut admin) = cluster(1).await;
    let (made, mut client) = key(&cluster, &mut admin, &["list:bucket"]).await;
    let list = v1::ListObjectsRequest {
        bucket: "bucket".to_owned(),
        ..v1::ListObjectsRequest::default()
    };
    let update = |disabled, expires_ms| v1::UpdateAccessKeyRequest {
        id: id(&made),
        disabled,
        expires_ms,
        ..v1::UpdateAccessKeyRequest::default()
    };
    assert_eq!(said(client.list(list.clone()).await), "yes");
    admin
        .iam
        .update_access_key(update(Some(true), None))
        .await
        .unwrap();
    assert_eq!(said(client.list(list.clone()).await), "KEY_UNKNOWN");
    let past = i64::try_from(now_ms()).unwrap() - 1;
    admin
        .iam
        .update_access_key(update(Some(false), Some(past)))
        .await
        .unwrap();
    assert_eq!(said(client.list(list.clone()).await), "KEY_UNKNOWN");
    admin
        .iam
        .update_access_key(update(None, Some(0)))
        .await
        .unwrap();
    assert_eq!(said(client.list(list.clone()).await), "yes");

    let rotate = |overlap_ms| v1::RotateAccessKeyRequest {
        id: id(&made),
        overlap_ms,
        ..v1::RotateAccessKeyRequest::default()
    };
    let second = admin.iam.rotate_access_key(rotate(60_000)).await.unwrap();
    assert_eq!(
        said(client.list(list.clone()).await),
        "yes",
        "the old one holds"
    );
    let token = token_of(&id(&made), &second.into_inner().secret);
    let mut renewed = Client::signed(cluster.channel().await, token);
    assert_eq!(said(renewed.list(list.clone()).await), "yes");
    admin.iam.rotate_access_key(rotate(0)).await.unwrap();
    assert_eq!(said(client.list(list.clone()).await), "TOKEN_INVALID");
    assert_eq!(said(renewed.list(list.clone()).await), "TOKEN_INVALID");

    let delete = v1::DeleteAccessKeyRequest {
        id: id(&made),
        ..v1::DeleteAccessKeyRequest::default()
    };
    let deleted = admin.iam.delete_access_key(delete.clone()).await.unwrap();
    assert!(deleted.into_inner().existed);
    assert_eq!(said(client.list(list).await), "KEY_UNKNOWN");
    let again = admin.iam.delete_access_key(delete).await.unwrap();
    assert!(!again.into_inner().existed);
    let gone = admin.iam.update_access_key(update(Some(true), None)).await;
    assert_eq!(said(gone), "ACCESS_KEY_NOT_FOUND");
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_by_name() {
    let (_cluster, mut admin) = cluster(1).await;
    let mut create = async |grants: Vec<v1::Grant>, note: &str, expires_ms| {
        let request = v1::CreateAccessKeyRequest {
            note: note.to_owned(),
            grants,
            expires_ms,
            ..v1::CreateAccessKeyRequest::default()
        };
        said(admin.iam.create_access_key(request).await)
    };
    let odd = |permissions: &[i32], bucket: &str, prefix: &str| v1::Grant {
        permissions: permissions.to_vec(),
        bucket: bucket.to_owned(),
        prefix: prefix.to_owned(),
        everything: false,
    };
    let both = v1::Grant {
        everything: true,
        ..grant("read:bucket")
    };
    for wrong in [
        both,
        odd(&[4], "", ""),
        odd(&[], "bucket", ""),
        odd(&[0], "bucket", ""),
        odd(&[99], "bucket", ""),
        odd(&[2], "BUCKET", ""),
        odd(&[2], "", "prefix"),
        odd(&[4], "bucket", "prefix"),
        odd(&[2], "bucket", &"x".repeat(1025)),
    ] {
        let said = create(vec![wrong.clone()], "", 0).await;
        assert_eq!(said, "INVALID_ARGUMENT", "{wrong:?}");
    }
    let read = grant("read:bucket");
    assert_eq!(
        create(vec![read.clone(); 65], "", 0).await,
        "INVALID_ARGUMENT"
    );
    assert_eq!(
        create(vec![read.clone()], &"n".repeat(129), 0).await,
        "INVALID_ARGUMENT"
    );
    assert_eq!(create(vec![read.clone()], "", -1).await, "INVALID_ARGUMENT");
    assert_eq!(
        create(vec![read.clone()], "", 1).await,
        "INVALID_ARGUMENT",
        "ended already"
    );
    assert_eq!(create(vec![read; 64], &"n".repeat(128), 0).await, "yes");
    let mut rotate = async |overlap_ms| {
        let request = v1::RotateAccessKeyRequest {
            id: ACCESS_KEY.to_owned(),
            overlap_ms,
            ..v1::RotateAccessKeyRequest::default()
        };
        said(admin.iam.rotate_access_key(request).await)
    };
    let month = 30 * 24 * 3_600_000;
    assert_eq!(rotate(month + 1).await, "INVALID_ARGUMENT");
    assert_eq!(rotate(month).await, "yes");
}

#[tokio::test]
async fn the_last_admin_key_stays() {
    let (_cluster, mut admin) = cluster(1).await;
    let keys = admin.iam.list_access_keys(v1::ListAccessKeysRequest {});
    let keys = keys.await.unwrap().into_inner().keys;
    assert_eq!(keys.len(), 1);
    let id = keys[0].id.clone();
    let off = v1::UpdateAccessKeyRequest {
        id: id.clone(),
        disabled: Some(true),
        ..v1::UpdateAccessKeyRequest::default()
    };
    let refused = admin
        .iam
        .update_access_key(off)
        .await
        .expect_err("the last");
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert_eq!(reason(&refused), "LAST_ADMIN_KEY");
    let delete = v1::DeleteAccessKeyRequest {
        id,
        ..v1::DeleteAccessKeyRequest::default()
    };
    let refused = admin.iam.delete_access_key(delete).await;
    assert_eq!(said(refused), "LAST_ADMIN_KEY");
}

#[tokio::test]
async fn a_call_that_runs_is_cut_when_its_key_is_taken_back() {
    let (cluster, mut admin) = cluster(6).await;
    let data = content(24 << 20, 3);
    admin.put("large", &data).await.unwrap();
    let (made, mut client) = key(&cluster, &mut admin, &["read,write:bucket"]).await;
    let shards = cluster.drives.shards();

    // A download that its reader holds up.
    let request = v1::GetObjectRequest {
        bucket: "bucket".to_owned(),
        key: "large".to_owned(),
        ..v1::GetObjectRequest::default()
    };
    let answer = client.objects.get_object(request).await.unwrap();
    let mut stream = answer.into_inner();
    stream.message().await.unwrap().expect("a header");
    // An upload that has begun.
    let (sender, stream_in) = tokio::sync::mpsc::channel(1);
    let size = Some(data.len() as u64);
    let first = message(v1::put_object_request::Message::Header(header(
        "bucket", "new", size,
    )));
    let mut writer = client.clone();
    let upload = tokio::spawn(async move {
        let stream = tokio_stream::wrappers::ReceiverStream::new(stream_in);
        writer.objects.put_object(stream).await
    });
    sender.send(first).await.unwrap();
    sender.send(chunk(&data[..300_000])).await.unwrap();

    let delete = v1::DeleteAccessKeyRequest {
        id: id(&made),
        ..v1::DeleteAccessKeyRequest::default()
    };
    admin.iam.delete_access_key(delete).await.unwrap();
    let mut received = 0;
    let end = loop {
        match stream.message().await {
            Ok(Some(message)) => {
                if let Some(v1::get_object_response::Message::Chunk(chunk)) = message.message {
                    received += chunk.data.len();
                }
            }
            Ok(None) => break None,
            Err(status) => break Some(status),
        }
    };
    assert!(
        end.is_some() && received < data.len(),
        "{received} bytes came"
    );
    for part in data[300_000..].chunks(300_000) {
        if sender.send(chunk(part)).await.is_err() {
            break;
        }
    }
    drop(sender);
    let refused = upload.await.unwrap().expect_err("cut");
    assert_eq!(refused.code(), Code::Unauthenticated, "{refused:?}");
    assert_eq!(reason(&refused), "KEY_UNKNOWN");
    assert!(admin.get("new").await.is_err(), "nothing partial is there");
    let drives = cluster.drives.clone();
    eventually("what was written for it goes", move || {
        drives.shards() == shards
    })
    .await;
}

#[tokio::test]
async fn a_copy_whose_teller_nobody_reads_is_cut_too() {
    let (cluster, mut admin) = cluster(6).await;
    admin.put("large", &content(40 << 20, 3)).await.unwrap();
    let shards = cluster.drives.shards();
    let (made, mut client) = key(&cluster, &mut admin, &["read,write:bucket"]).await;
    // A node that stands still keeps the copy from its end.
    cluster.drives.stick(cluster.nodes[0]);
    let request = v1::CopyObjectRequest {
        source_bucket: "bucket".to_owned(),
        source_key: "large".to_owned(),
        bucket: "bucket".to_owned(),
        key: "copy".to_owned(),
        ..v1::CopyObjectRequest::default()
    };
    let unread = client.objects.copy_object(request).await.unwrap();
    let delete = v1::DeleteAccessKeyRequest {
        id: id(&made),
        ..v1::DeleteAccessKeyRequest::default()
    };
    admin.iam.delete_access_key(delete).await.unwrap();
    cluster.drives.start(cluster.nodes[0]);
    let drives = cluster.drives.clone();
    let tasks = cluster.core.tasks.clone();
    eventually("the copy ends", move || tasks.is_empty()).await;
    eventually("its shards go", move || drives.shards() == shards).await;
    let missing = admin.get("copy").await.expect_err("nothing is there");
    assert_eq!(reason(&missing), "OBJECT_NOT_FOUND");
    drop(unread);
}

#[tokio::test]
async fn a_batch_stops_when_its_key_is_taken_back() {
    const KEYS: usize = 100;
    let (cluster, mut admin) = cluster(1).await;
    for number in 0..KEYS {
        admin.put(&format!("{number:03}"), b"x").await.unwrap();
    }
    let (made, mut client) = key(&cluster, &mut admin, &["write:bucket"]).await;
    cluster.groups.hold(true);
    let objects = (0..KEYS).map(|number| v1::ObjectToDelete {
        key: format!("{number:03}"),
        ..v1::ObjectToDelete::default()
    });
    let request = v1::DeleteObjectsRequest {
        bucket: "bucket".to_owned(),
        objects: objects.collect(),
        request_id: None,
    };
    let batch = tokio::spawn(async move { client.objects.delete_objects(request).await });
    cluster.groups.until_waiting(1).await;
    let delete = v1::DeleteAccessKeyRequest {
        id: id(&made),
        ..v1::DeleteAccessKeyRequest::default()
    };
    admin.iam.delete_access_key(delete).await.unwrap();
    cluster.groups.hold(false);
    let results = batch.await.unwrap().unwrap().into_inner().results;
    let refused = |result: &&v1::DeleteResult| {
        let failure = result.failure.as_ref();
        failure.is_some_and(|failure| failure.reason == DENIED)
    };
    let denied = results.iter().filter(refused).count();
    let gone = results.iter().filter(|result| result.existed).count();
    assert!(results.last().is_some_and(|last| refused(&last)));
    assert_eq!(
        (gone > 0, denied + gone),
        (true, KEYS),
        "each has its answer"
    );
    let left = admin.list(v1::ListObjectsRequest {
        bucket: "bucket".to_owned(),
        ..v1::ListObjectsRequest::default()
    });
    assert_eq!(left.await.unwrap().objects.len(), denied);
}
