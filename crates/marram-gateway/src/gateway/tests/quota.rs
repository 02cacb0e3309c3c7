//! What a bucket may hold, over the API: to the last byte, and no further.

use futures::future::join_all;
use marram_metrics::QuotaFound;
use marram_proto::v1;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use super::kit::{Client, cluster, content, reason};
use super::uploads;

async fn set(client: &mut Client, quota: Option<v1::Quota>) -> v1::Bucket {
    let request = v1::SetQuotaRequest {
        bucket: "bucket".to_owned(),
        quota,
        ..v1::SetQuotaRequest::default()
    };
    let answer = client.buckets.set_quota(request).await.unwrap();
    answer.into_inner().bucket.unwrap()
}

fn limits(bytes: Option<u64>, objects: Option<u64>) -> Option<v1::Quota> {
    Some(v1::Quota { bytes, objects })
}

async fn usage(client: &mut Client) -> v1::GetBucketUsageResponse {
    let request = v1::GetBucketUsageRequest {
        bucket: "bucket".to_owned(),
    };
    let answer = client.buckets.get_bucket_usage(request).await.unwrap();
    answer.into_inner()
}

async fn delete(client: &mut Client, key: &str) {
    let request = v1::DeleteObjectRequest {
        bucket: "bucket".to_owned(),
        key: key.to_owned(),
        ..v1::DeleteObjectRequest::default()
    };
    client.objects.delete_object(request).await.unwrap();
}

/// The metadata of a refusal by quota: what, quota, used, asked.
fn told(status: &Status) -> [String; 4] {
    assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
    assert_eq!(reason(status), "QUOTA_EXCEEDED");
    let details = status.get_error_details();
    assert!(
        details.retry_info().is_none(),
        "nothing gets better by itself"
    );
    let info = details.error_info().unwrap();
    ["what", "quota", "used", "asked"].map(|name| info.metadata[name].clone())
}

#[tokio::test]
async fn a_bucket_is_filled_to_the_last_byte_of_its_quota_and_no_further() {
    let (_cluster, mut client) = cluster(6).await;
    client.put("before", &[1; 1000]).await.unwrap();
    let bucket = set(&mut client, limits(Some(10_500), None)).await;
    assert_eq!(bucket.quota.unwrap().bytes, Some(10_500));
    for n in 0..9 {
        client.put(&format!("k-{n}"), &[1; 1000]).await.unwrap();
    }
    let full = client.put("more", &[1; 1000]).await.unwrap_err();
    assert_eq!(
        told(&full),
        ["bytes", "10500", "10000", "1000"].map(str::to_owned)
    );
    assert!(
        full.message().contains("delete something"),
        "{}",
        full.message()
    );
    client.put("rest", &[1; 500]).await.unwrap();
    let one = client.put("one", &[1; 1]).await.unwrap_err();
    assert_eq!(told(&one)[2], "10500");
    let held = usage(&mut client).await;
    assert_eq!(
        (held.bytes, held.quota),
        (10_500, limits(Some(10_500), None))
    );
    // What is deleted makes room for any other key, in whatever group it is.
    delete(&mut client, "k-3").await;
    client.put("other", &[1; 1000]).await.unwrap();
    // Overwriting needs room for the difference only.
    client.put("other", &[1; 900]).await.unwrap();
    client.put("k-4", &[1; 1100]).await.unwrap();
    told(&client.put("k-4", &[1; 1101]).await.unwrap_err());
    // Without bytes there are objects: as many as there are.
    set(&mut client, limits(None, Some(11))).await;
    let many = client.put("twelfth", &[]).await.unwrap_err();
    assert_eq!(told(&many), ["objects", "11", "11", "1"].map(str::to_owned));
    client.put("k-4", &content(300_000, 1)).await.unwrap();
    let bucket = set(&mut client, None).await;
    assert_eq!(bucket.quota, None);
    client.put("twelfth", &content(300_000, 1)).await.unwrap();
    assert_eq!(usage(&mut client).await.quota, None);
}

#[tokio::test]
async fn parts_count_from_when_they_are_there_until_their_upload_ends() {
    let (_cluster, mut client) = cluster(6).await;
    set(&mut client, limits(Some(1_000_000), Some(1))).await;
    let upload = uploads::begin(&mut client).await;
    let data = content(600_000, 1);
    let first = uploads::part(&mut client, &upload, 1, &data).await.unwrap();
    let over = uploads::part(&mut client, &upload, 2, &data).await;
    assert_eq!(told(&over.unwrap_err())[2], "600000");
    // The same part again takes the place of the one that is there.
    let first_again = uploads::part(&mut client, &upload, 1, &data).await.unwrap();
    assert_eq!(first.etag, first_again.etag);
    assert_eq!(usage(&mut client).await.upload_bytes, 600_000);
    let request = uploads::completion(&upload, &[&first_again]);
    uploads::complete(&mut client, request).await.unwrap();
    let held = usage(&mut client).await;
    assert_eq!(
        (held.bytes, held.upload_bytes, held.objects),
        (600_000, 0, 1)
    );
    // An upload that is given up leaves nothing behind that counts.
    let upload = uploads::begin(&mut client).await;
    let small = content(300_000, 2);
    uploads::part(&mut client, &upload, 1, &small)
        .await
        .unwrap();
    let abort = v1::AbortUploadRequest {
        bucket: "bucket".to_owned(),
        key: "k".to_owned(),
        upload_id: upload,
        request_id: None,
    };
    client.uploads.abort_upload(abort).await.unwrap();
    assert_eq!(usage(&mut client).await.upload_bytes, 0);
    told(&client.put("second", &[1]).await.unwrap_err());
}

/// Whoever comes at once: never more than the quota, and all of it in the end.
#[tokio::test]
async fn writers_at_once_never_exceed_the_quota() {
    let (cluster, mut client) = cluster(6).await;
    set(&mut client, limits(Some(20_000), None)).await;
    let writes = (0..40).map(|n| {
        let mut client = client.clone();
        async move { client.put(&format!("raced-{n}"), &[1; 1000]).await }
    });
    let mut done = 0;
    for written in join_all(writes).await {
        match written {
            Ok(_) => done += 1,
            Err(status) if reason(&status) == "BUCKET_BUSY" => {}
            Err(status) => {
                told(&status);
            }
        }
    }
    assert!(done <= 20);
    assert_eq!(usage(&mut client).await.bytes, done * 1000);
    for n in done..20 {
        client.put(&format!("later-{n}"), &[1; 1000]).await.unwrap();
    }
    told(&client.put("over", &[1]).await.unwrap_err());
    // All of it was used through groups that began with a share each: some had to give back.
    let rooms = |found| cluster.core.calls.quota_rooms(found);
    assert!(rooms(QuotaFound::Free) > 0 && rooms(QuotaFound::Full) > 0);
    // A quota that is lowered takes nothing away, and lets nothing in.
    set(&mut client, limits(Some(5000), None)).await;
    assert_eq!(usage(&mut client).await.bytes, 20_000);
    told(&client.put("over", &[1]).await.unwrap_err());
    delete(&mut client, "raced-0").await;
}

#[tokio::test]
async fn what_is_wrong_with_a_request_is_said() {
    let (_cluster, mut client) = cluster(3).await;
    let absent = v1::SetQuotaRequest {
        bucket: "absent".to_owned(),
        quota: None,
        ..v1::SetQuotaRequest::default()
    };
    let status = client.buckets.set_quota(absent).await.unwrap_err();
    assert_eq!(reason(&status), "BUCKET_NOT_FOUND");
    let wrong = v1::SetQuotaRequest {
        bucket: "Not A Name".to_owned(),
        quota: None,
        ..v1::SetQuotaRequest::default()
    };
    let status = client.buckets.set_quota(wrong).await.unwrap_err();
    assert_eq!(reason(&status), "INVALID_BUCKET_NAME");
    // Nothing at all may be written into a bucket of nothing.
    set(&mut client, limits(Some(0), Some(0))).await;
    told(&client.put("k", &[]).await.unwrap_err());
}
