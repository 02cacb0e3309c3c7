//! Multipart uploads over the API: parts in any order, put together, and every refusal.

use bytes::Bytes;
use marram_proto::v1;
use marram_proto::v1::upload_part_request::Message;
use marram_types::caps::MIB;
use marram_types::{Crc64Nvme, crc32c};
use tonic::{Code, Status};

use super::kit::{Client, cluster, content, reason};

const PART: usize = 5 * MIB;

fn request_id(sequence: u64) -> Option<v1::RequestId> {
    Some(v1::RequestId {
        client: Bytes::from_static(&[9; 16]),
        sequence,
    })
}

fn message(message: Message) -> v1::UploadPartRequest {
    v1::UploadPartRequest {
        message: Some(message),
    }
}

fn part_header(upload: &str, number: u32, data: &[u8]) -> v1::UploadPartHeader {
    v1::UploadPartHeader {
        bucket: "bucket".to_owned(),
        key: "k".to_owned(),
        upload_id: upload.to_owned(),
        part_number: number,
        size: Some(data.len() as u64),
        ..v1::UploadPartHeader::default()
    }
}

async fn send(
    client: &mut Client,
    header: v1::UploadPartHeader,
    data: &[u8],
) -> Result<v1::UploadedPart, Status> {
    let mut all = vec![message(Message::Header(header))];
    all.extend(data.chunks(700_000).map(|piece| {
        message(Message::Chunk(v1::Chunk {
            data: Bytes::copy_from_slice(piece),
            crc32c: crc32c(piece),
        }))
    }));
    let answer = client.uploads.upload_part(tokio_stream::iter(all)).await?;
    Ok(answer.into_inner().part.unwrap())
}

pub(super) async fn part(
    client: &mut Client,
    upload: &str,
    number: u32,
    data: &[u8],
) -> Result<v1::UploadedPart, Status> {
    send(client, part_header(upload, number, data), data).await
}

pub(super) async fn begin(client: &mut Client) -> String {
    let request = v1::CreateUploadRequest {
        bucket: "bucket".to_owned(),
        key: "k".to_owned(),
        content_type: "video/mp4".to_owned(),
        metadata: [("a".to_owned(), "b".to_owned())].into(),
        request_id: None,
        tags: [("stage".to_owned(), "raw".to_owned())].into(),
        profile: String::new(),
    };
    let created = client.uploads.create_upload(request).await.unwrap();
    created.into_inner().upload_id
}

pub(super) fn completion(upload: &str, parts: &[&v1::UploadedPart]) -> v1::CompleteUploadRequest {
    let named = |part: &&v1::UploadedPart| v1::CompletedPart {
        part_number: part.part_number,
        etag: part.etag.clone(),
        checksums: part.checksums.clone(),
    };
    v1::CompleteUploadRequest {
        bucket: "bucket".to_owned(),
        key: "k".to_owned(),
        upload_id: upload.to_owned(),
        parts: parts.iter().map(named).collect(),
        ..v1::CompleteUploadRequest::default()
    }
}

pub(super) async fn complete(
    client: &mut Client,
    request: v1::CompleteUploadRequest,
) -> Result<v1::CompleteUploadResponse, Status> {
    Ok(client.uploads.complete_upload(request).await?.into_inner())
}

async fn refused(client: &mut Client, request: v1::CompleteUploadRequest) -> (Code, String) {
    let status = complete(client, request).await.unwrap_err();
    (status.code(), reason(&status))
}

#[tokio::test]
async fn parts_in_any_order_become_an_object_that_is_read_like_any_other() {
    let (_cluster, mut client) = cluster(6).await;
    let upload = begin(&mut client).await;
    let bytes = [content(PART, 1), content(PART + 77, 2), content(1234, 3)];
    let last = part(&mut client, &upload, 9, &bytes[2]).await.unwrap();
    part(&mut client, &upload, 4, &bytes[0]).await.unwrap();
    let middle = part(&mut client, &upload, 4, &bytes[1]).await.unwrap();
    let first = part(&mut client, &upload, 1, &bytes[0]).await.unwrap();
    assert_eq!(
        reason(&client.get("k").await.unwrap_err()),
        "OBJECT_NOT_FOUND"
    );

    let whole = bytes.concat();
    let mut request = completion(&upload, &[&first, &middle, &last]);
    request.request_id = request_id(1);
    request.size = Some(whole.len() as u64);
    request.checksums = Some(v1::Checksums {
        crc64nvme: Some(Crc64Nvme::of(&whole)),
        ..v1::Checksums::default()
    });
    let done = complete(&mut client, request.clone()).await.unwrap();
    let object = done.object.clone().unwrap();
    assert_eq!(
        (object.size, object.content_type.as_str()),
        (whole.len() as u64, "video/mp4")
    );
    assert_eq!(object.metadata["a"], "b");
    assert_eq!(object.tags["stage"], "raw");
    assert_eq!(object.crc64nvme, Crc64Nvme::of(&whole));
    assert!(object.etag.ends_with("-3\""), "{}", object.etag);
    assert!(client.get("k").await.unwrap() == whole);
    let range = v1::ByteRange {
        offset: PART as i64 - 10,
        length: 500_000,
    };
    let (_, ranged) = client.get_range("k", Some(range)).await.unwrap();
    assert!(ranged[..] == whole[PART - 10..PART - 10 + 500_000]);

    // The same request has the same answer, another one an error that says what happened.
    let again = complete(&mut client, request.clone()).await.unwrap();
    assert_eq!(again.object.as_ref(), Some(&object));
    request.request_id = request_id(2);
    let other = refused(&mut client, request).await;
    assert_eq!(
        other,
        (Code::FailedPrecondition, "UPLOAD_COMPLETED".to_owned())
    );
    let late = part(&mut client, &upload, 5, b"late").await.unwrap_err();
    assert_eq!(reason(&late), "UPLOAD_COMPLETED");
    let abort = v1::AbortUploadRequest {
        bucket: "bucket".to_owned(),
        key: "k".to_owned(),
        upload_id: upload,
        request_id: None,
    };
    let abort = client.uploads.abort_upload(abort).await.unwrap_err();
    assert_eq!(reason(&abort), "UPLOAD_COMPLETED");
}

type Case = (Code, &'static str, v1::CompleteUploadRequest);

/// Lists of parts that are wrong whatever the upload has.
fn wrong_lists(upload: &str, one: &v1::UploadedPart, two: &v1::UploadedPart) -> Vec<Case> {
    let wrong = Code::InvalidArgument;
    let mut cases = vec![
        (wrong, "INVALID_PART_ORDER", completion(upload, &[two, one])),
        (wrong, "INVALID_PART_ORDER", completion(upload, &[one, one])),
        (wrong, "INVALID_PART_ORDER", completion(upload, &[])),
        (wrong, "INVALID_ARGUMENT", completion("nonsense", &[one])),
    ];
    for part_number in [0, 10_001, 70_000] {
        let numbered = v1::UploadedPart {
            part_number,
            ..one.clone()
        };
        cases.push((
            wrong,
            "INVALID_PART_NUMBER",
            completion(upload, &[&numbered]),
        ));
    }
    let many: Vec<_> = (1..=10_001)
        .map(|part_number| v1::UploadedPart {
            part_number,
            ..v1::UploadedPart::default()
        })
        .collect();
    let many: Vec<_> = many.iter().collect();
    cases.push((wrong, "INVALID_PART_NUMBER", completion(upload, &many)));
    cases
}

/// Completions that this upload does not allow.
fn wrong_wholes(upload: &str, parts: [&v1::UploadedPart; 3]) -> Vec<Case> {
    let [one, two, three] = parts;
    let failed = Code::FailedPrecondition;
    let absent = v1::UploadedPart {
        part_number: 7,
        ..one.clone()
    };
    let tagged = v1::UploadedPart {
        etag: "\"other\"".to_owned(),
        ..one.clone()
    };
    let sums = Some(v1::Checksums {
        crc64nvme: Some(1),
        ..v1::Checksums::default()
    });
    let summed = v1::UploadedPart {
        checksums: sums.clone(),
        ..one.clone()
    };
    let of = |parts: &[&v1::UploadedPart]| completion(upload, parts);
    let mut sized = of(&[one, two]);
    sized.size = Some(1);
    let mut whole = of(&[one, two]);
    whole.checksums = sums;
    let mut guarded = of(&[one, two]);
    guarded.preconditions = Some(v1::Preconditions {
        if_generation_match: Some(77),
        ..v1::Preconditions::default()
    });
    vec![
        (failed, "PART_TOO_SMALL", of(&[one, two, three])),
        (failed, "INVALID_PART", of(&[one, &absent])),
        (failed, "INVALID_PART", of(&[&tagged])),
        (failed, "INVALID_PART", of(&[&summed])),
        (
            Code::NotFound,
            "UPLOAD_NOT_FOUND",
            completion(&"0".repeat(32), &[one]),
        ),
        (Code::InvalidArgument, "SIZE_MISMATCH", sized),
        (Code::DataLoss, "OBJECT_CHECKSUM_MISMATCH", whole),
        (failed, "PRECONDITION_FAILED", guarded),
    ]
}

#[tokio::test]
async fn what_is_wrong_with_a_completion_is_told_and_changes_nothing() {
    let (_cluster, mut client) = cluster(1).await;
    let upload = begin(&mut client).await;
    let large = content(PART, 1);
    let one = part(&mut client, &upload, 1, &large).await.unwrap();
    let two = part(&mut client, &upload, 2, b"small").await.unwrap();
    let three = part(&mut client, &upload, 3, b"").await.unwrap();
    let mut cases = wrong_lists(&upload, &one, &two);
    cases.extend(wrong_wholes(&upload, [&one, &two, &three]));
    for (code, wanted, request) in cases {
        assert_eq!(
            refused(&mut client, request).await,
            (code, wanted.to_owned())
        );
    }
    let list = v1::ListPartsRequest {
        bucket: "bucket".to_owned(),
        key: "k".to_owned(),
        upload_id: upload.clone(),
        page_size: 2,
        page_token: String::new(),
    };
    let page = client.uploads.list_parts(list.clone()).await.unwrap();
    let page = page.into_inner();
    let both = [one.clone(), two.clone()].map(|part| same_time(&page, part));
    assert_eq!(page.parts, both);
    assert_eq!(page.upload.unwrap().parts, 3);
    let next = v1::ListPartsRequest {
        page_token: page.next_page_token,
        ..list
    };
    let rest = client.uploads.list_parts(next).await.unwrap().into_inner();
    assert_eq!((rest.parts.len(), rest.next_page_token.as_str()), (1, ""));
    let done = complete(&mut client, completion(&upload, &[&one, &two])).await;
    assert_eq!(done.unwrap().object.unwrap().size, PART as u64 + 5);
}

fn same_time(page: &v1::ListPartsResponse, part: v1::UploadedPart) -> v1::UploadedPart {
    let listed = page
        .parts
        .iter()
        .find(|p| p.part_number == part.part_number);
    v1::UploadedPart {
        modified_ms: listed.unwrap().modified_ms,
        ..part
    }
}

#[tokio::test]
async fn bad_parts_are_refused_and_leave_nothing() {
    let (cluster, mut client) = cluster(6).await;
    let upload = begin(&mut client).await;
    for number in [0, 10_001] {
        let wrong = part(&mut client, &upload, number, b"x").await.unwrap_err();
        assert_eq!(
            (wrong.code(), reason(&wrong).as_str()),
            (Code::InvalidArgument, "INVALID_PART_NUMBER")
        );
    }
    let mut large = part_header(&upload, 1, b"");
    large.size = Some((5 << 30) + 1);
    let wrong = send(&mut client, large, b"x").await.unwrap_err();
    assert_eq!(reason(&wrong), "PART_TOO_LARGE");
    let wrong = part(&mut client, &"1".repeat(32), 1, b"x")
        .await
        .unwrap_err();
    assert_eq!(
        (wrong.code(), reason(&wrong).as_str()),
        (Code::NotFound, "UPLOAD_NOT_FOUND")
    );
    let mut short = part_header(&upload, 1, &[0; 300_000]);
    short.size = Some(300_001);
    let wrong = send(&mut client, short, &[0; 300_000]).await.unwrap_err();
    assert_eq!(reason(&wrong), "SIZE_MISMATCH");
    let mut summed = part_header(&upload, 1, &[0; 300_000]);
    summed.checksums = Some(v1::Checksums {
        crc32c: Some(1),
        ..v1::Checksums::default()
    });
    let wrong = send(&mut client, summed, &[0; 300_000]).await.unwrap_err();
    assert_eq!(reason(&wrong), "OBJECT_CHECKSUM_MISMATCH");
    super::kit::eventually("the space comes back", || cluster.drives.shards() == 0).await;
}

#[tokio::test]
async fn uploads_are_listed_and_aborted() {
    let (_cluster, mut client) = cluster(1).await;
    let mut ids = Vec::new();
    for key in ["a/1", "a/2", "a/3", "b"] {
        let request = v1::CreateUploadRequest {
            bucket: "bucket".to_owned(),
            key: key.to_owned(),
            request_id: request_id(ids.len() as u64),
            ..v1::CreateUploadRequest::default()
        };
        let created = client
            .uploads
            .create_upload(request.clone())
            .await
            .unwrap()
            .into_inner();
        let again = client
            .uploads
            .create_upload(request)
            .await
            .unwrap()
            .into_inner();
        assert_eq!(created, again, "one request begins one upload");
        ids.push(created.upload_id);
    }
    let mut listed = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = v1::ListUploadsRequest {
            bucket: "bucket".to_owned(),
            prefix: "a/".to_owned(),
            page_size: 2,
            page_token,
        };
        let page = client
            .uploads
            .list_uploads(request)
            .await
            .unwrap()
            .into_inner();
        listed.extend(page.uploads.into_iter().map(|u| (u.key, u.upload_id)));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    let wanted: Vec<_> = ["a/1", "a/2", "a/3"]
        .map(str::to_owned)
        .into_iter()
        .zip(ids.clone())
        .collect();
    assert_eq!(listed, wanted);
    let abort = v1::AbortUploadRequest {
        bucket: "bucket".to_owned(),
        key: "b".to_owned(),
        upload_id: ids[3].clone(),
        request_id: None,
    };
    client.uploads.abort_upload(abort.clone()).await.unwrap();
    let again = client.uploads.abort_upload(abort).await.unwrap_err();
    assert_eq!(
        (again.code(), reason(&again).as_str()),
        (Code::NotFound, "UPLOAD_NOT_FOUND")
    );
}
