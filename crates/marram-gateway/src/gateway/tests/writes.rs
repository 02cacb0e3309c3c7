//! Resumable writes over the API: recorded, gone on with, finished, and every refusal (rules.md 33).

use bytes::Bytes;
use marram_proto::v1;
use marram_proto::v1::write_object_request::Message;
use marram_types::caps::{MIB, WRITE_RUN_BYTES_MAX, WRITE_UNRECORDED_BYTES_MAX};
use marram_types::{Crc64Nvme, crc32c};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};
use tonic_types::StatusExt;

use super::kit::{Client, cluster, content, eventually, reason};
use super::uploads;

fn named(upload: &str) -> (String, String, String) {
    ("bucket".to_owned(), "k".to_owned(), upload.to_owned())
}

fn request_id(sequence: u64) -> Option<v1::RequestId> {
    Some(v1::RequestId {
        client: Bytes::from_static(&[8; 16]),
        sequence,
    })
}

async fn start(client: &mut Client) -> String {
    let request = v1::StartWriteRequest {
        bucket: "bucket".to_owned(),
        key: "k".to_owned(),
        content_type: "video/mp4".to_owned(),
        metadata: [("a".to_owned(), "b".to_owned())].into(),
        request_id: None,
        tags: [("stage".to_owned(), "raw".to_owned())].into(),
        profile: String::new(),
    };
    let started = client.writes.start_write(request).await.unwrap();
    started.into_inner().upload_id
}

/// A WriteObject call that is under way.
struct Call {
    to: mpsc::Sender<v1::WriteObjectRequest>,
    answers: Streaming<v1::WriteObjectResponse>,
}

impl Call {
    async fn open(client: &mut Client, upload: &str, offset: u64) -> Result<Self, Status> {
        let (to, from) = mpsc::channel(4);
        let (bucket, key, upload_id) = named(upload);
        let header = v1::WriteObjectHeader {
            bucket,
            key,
            upload_id,
            offset,
        };
        let message = Some(Message::Header(header));
        to.send(v1::WriteObjectRequest { message }).await.unwrap();
        let answers = client
            .writes
            .write_object(ReceiverStream::new(from))
            .await?;
        let mut call = Self {
            to,
            answers: answers.into_inner(),
        };
        assert_eq!(call.persisted().await?, offset, "the first answer");
        Ok(call)
    }

    async fn message(&self, message: Message) {
        let message = Some(message);
        self.to
            .send(v1::WriteObjectRequest { message })
            .await
            .unwrap();
    }

    async fn send(&self, bytes: &[u8]) {
        for piece in bytes.chunks(700_000) {
            let data = Bytes::copy_from_slice(piece);
            let crc32c = crc32c(piece);
            self.message(Message::Chunk(v1::Chunk { data, crc32c }))
                .await;
        }
    }

    async fn flush(&self) {
        self.message(Message::Flush(v1::FlushWrite {})).await;
    }

    /// The next answer.
    async fn persisted(&mut self) -> Result<u64, Status> {
        let answer = self.answers.message().await?;
        Ok(answer.expect("the server goes on").persisted_size)
    }

    async fn until(&mut self, size: u64) {
        while self.persisted().await.unwrap() < size {}
    }

    /// Ends the caller's side and hears what is recorded then.
    async fn end(self) -> Result<Option<v1::WriteObjectResponse>, Status> {
        let Self { to, mut answers } = self;
        drop(to);
        let mut last = None;
        while let Some(answer) = answers.message().await? {
            last = Some(answer);
        }
        Ok(last)
    }

    async fn error(self) -> Status {
        self.end().await.unwrap_err()
    }
}

async fn query(client: &mut Client, upload: &str) -> Result<v1::QueryWriteResponse, Status> {
    let (bucket, key, upload_id) = named(upload);
    let request = v1::QueryWriteRequest {
        bucket,
        key,
        upload_id,
    };
    Ok(client.writes.query_write(request).await?.into_inner())
}

fn finishing(upload: &str, size: u64) -> v1::FinishWriteRequest {
    let (bucket, key, upload_id) = named(upload);
    v1::FinishWriteRequest {
        bucket,
        key,
        upload_id,
        size: Some(size),
        ..v1::FinishWriteRequest::default()
    }
}

async fn finish(
    client: &mut Client,
    request: v1::FinishWriteRequest,
) -> Result<v1::ObjectInfo, Status> {
    let finished = client.writes.finish_write(request).await?;
    Ok(finished.into_inner().object.unwrap())
}

async fn abort(client: &mut Client, upload: &str) -> Result<(), Status> {
    let (bucket, key, upload_id) = named(upload);
    let request = v1::AbortUploadRequest {
        bucket,
        key,
        upload_id,
        request_id: None,
    };
    client.uploads.abort_upload(request).await.map(|_| ())
}

fn detail(status: &Status, name: &str) -> String {
    let details = status.get_error_details();
    let info = details.error_info().expect("the error has its info");
    info.metadata.get(name).cloned().unwrap_or_default()
}

/// A write of these bytes, recorded.
async fn written(client: &mut Client, bytes: &[u8]) -> String {
    let upload = start(client).await;
    let call = Call::open(client, &upload, 0).await.unwrap();
    call.send(bytes).await;
    let last = call.end().await.unwrap();
    assert_eq!(last.unwrap().persisted_size, bytes.len() as u64);
    upload
}

#[tokio::test]
async fn a_write_goes_on_where_it_was_recorded_and_becomes_an_object_like_any_other() {
    let (_cluster, mut client) = cluster(6).await;
    let bytes = content(3 * MIB + 77, 1);
    let upload = start(&mut client).await;
    let mut call = Call::open(&mut client, &upload, 0).await.unwrap();
    call.send(&bytes[..MIB]).await;
    call.flush().await;
    call.until(MIB as u64).await;
    assert_eq!(
        reason(&client.get("k").await.unwrap_err()),
        "OBJECT_NOT_FOUND"
    );
    // The caller goes away with bytes on their way, and another one goes on.
    call.send(&bytes[MIB..MIB + 10]).await;
    drop(call);
    let mut at = query(&mut client, &upload).await.unwrap().persisted_size;
    let call = loop {
        match Call::open(&mut client, &upload, at).await {
            Ok(call) => break call,
            // What was on its way was recorded in between.
            Err(status) => {
                assert_eq!(reason(&status), "WRONG_OFFSET");
                at = detail(&status, "persisted_size").parse().unwrap();
            }
        }
    };
    assert!(at == MIB as u64 || at == MIB as u64 + 10, "{at}");
    call.send(&bytes[usize::try_from(at).unwrap()..]).await;
    let last = call.end().await.unwrap().unwrap();
    let (size, crc64) = (bytes.len() as u64, Crc64Nvme::of(&bytes));
    assert_eq!((last.persisted_size, last.crc64nvme), (size, crc64));
    let known = query(&mut client, &upload).await.unwrap();
    assert_eq!((known.persisted_size, known.crc64nvme), (size, crc64));
    assert_eq!(known.crc32c, crc32c(&bytes));

    let mut request = finishing(&upload, size);
    request.request_id = request_id(1);
    request.checksums = Some(v1::Checksums {
        crc64nvme: Some(crc64),
        crc32c: Some(crc32c(&bytes)),
        ..v1::Checksums::default()
    });
    let object = finish(&mut client, request.clone()).await.unwrap();
    assert_eq!((object.size, object.crc64nvme), (size, crc64));
    assert_eq!(object.content_type, "video/mp4");
    assert_eq!(
        (&*object.metadata["a"], &*object.tags["stage"]),
        ("b", "raw")
    );
    assert!(client.get("k").await.unwrap() == bytes);
    // The entity tag is that of a put of the same bytes.
    let put = client.put("other", &bytes).await.unwrap();
    assert_eq!(put.etag, object.etag);

    // The same request has the same answer, another one an error that says what happened.
    assert_eq!(finish(&mut client, request.clone()).await.unwrap(), object);
    request.request_id = request_id(2);
    let other = finish(&mut client, request).await.unwrap_err();
    assert_eq!(reason(&other), "UPLOAD_COMPLETED");
    assert_eq!(detail(&other, "generation"), object.generation.to_string());
    let known = query(&mut client, &upload).await.unwrap();
    assert_eq!(known.finished_generation, Some(object.generation));
    let late = Call::open(&mut client, &upload, size).await.err().unwrap();
    assert_eq!(reason(&late), "UPLOAD_COMPLETED");
}

#[tokio::test]
async fn of_two_writers_the_later_one_is_heard() {
    let (cluster, mut client) = cluster(6).await;
    let upload = start(&mut client).await;
    let mut first = Call::open(&mut client, &upload, 0).await.unwrap();
    let bytes = content(400_000, 1);
    first.send(&bytes).await;
    first.flush().await;
    first.until(400_000).await;
    let shards = cluster.drives.shards();
    let second = Call::open(&mut client, &upload, 400_000).await.unwrap();
    first.send(&content(300_000, 2)).await;
    let stale = first.error().await;
    assert_eq!(
        (stale.code(), reason(&stale).as_str()),
        (Code::FailedPrecondition, "WRITER_REPLACED")
    );
    assert!(detail(&stale, "epoch").parse::<u64>().unwrap() > 0);
    assert_eq!(
        query(&mut client, &upload).await.unwrap().persisted_size,
        400_000
    );
    second.send(&bytes).await;
    assert_eq!(second.end().await.unwrap().unwrap().persisted_size, 800_000);
    finish(&mut client, finishing(&upload, 800_000))
        .await
        .unwrap();
    assert!(client.get("k").await.unwrap() == [&bytes[..], &bytes].concat());
    // What the first one wrote after that is garbage in the group, and the two runs are there.
    assert!(cluster.drives.shards() > shards);
}

#[tokio::test]
async fn wrong_places_wrong_ids_and_wrong_streams_are_told_by_name() {
    let (_cluster, mut client) = cluster(1).await;
    let upload = written(&mut client, &content(5000, 1)).await;
    for offset in [0, 4999, 5001, u64::MAX] {
        let wrong = Call::open(&mut client, &upload, offset)
            .await
            .err()
            .unwrap();
        assert_eq!(
            (wrong.code(), reason(&wrong)),
            (Code::OutOfRange, "WRONG_OFFSET".to_owned())
        );
        assert_eq!(detail(&wrong, "persisted_size"), "5000");
        assert_eq!(detail(&wrong, "field"), "offset");
    }
    let unknown = "0".repeat(32);
    let wrong = Call::open(&mut client, &unknown, 0).await.err().unwrap();
    assert_eq!(reason(&wrong), "UPLOAD_NOT_FOUND");
    let wrong = query(&mut client, &unknown).await.unwrap_err();
    assert_eq!(reason(&wrong), "UPLOAD_NOT_FOUND");
    let wrong = query(&mut client, "nonsense").await.unwrap_err();
    assert_eq!(
        (reason(&wrong), detail(&wrong, "field")),
        ("INVALID_ARGUMENT".to_owned(), "upload_id".to_owned())
    );

    let call = Call::open(&mut client, &upload, 5000).await.unwrap();
    call.send(b"good").await;
    let data = Bytes::from_static(b"damaged");
    call.message(Message::Chunk(v1::Chunk { data, crc32c: 1 }))
        .await;
    let damaged = call.error().await;
    assert_eq!(reason(&damaged), "CHUNK_CHECKSUM_MISMATCH");
    // What came before it counts.
    assert_eq!(
        query(&mut client, &upload).await.unwrap().persisted_size,
        5004
    );
    let call = Call::open(&mut client, &upload, 5004).await.unwrap();
    call.message(Message::Header(v1::WriteObjectHeader::default()))
        .await;
    assert_eq!(reason(&call.error().await), "INVALID_ARGUMENT");
    let none = tokio_stream::iter(Vec::<v1::WriteObjectRequest>::new());
    let nothing = client.writes.write_object(none).await.err().unwrap();
    assert_eq!(nothing.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn a_finish_that_does_not_fit_what_is_recorded_leaves_the_write_as_it_was() {
    let (_cluster, mut client) = cluster(1).await;
    let bytes = content(300_000, 1);
    let upload = written(&mut client, &bytes).await;
    for size in [0, 299_999, 300_001] {
        let wrong = finish(&mut client, finishing(&upload, size))
            .await
            .unwrap_err();
        assert_eq!(
            (wrong.code(), reason(&wrong).as_str()),
            (Code::InvalidArgument, "SIZE_MISMATCH")
        );
        assert_eq!(detail(&wrong, "persisted_size"), "300000");
        assert_eq!(detail(&wrong, "field"), "size");
    }
    let mut without = finishing(&upload, 0);
    without.size = None;
    let wrong = finish(&mut client, without).await.unwrap_err();
    assert_eq!(
        (reason(&wrong), detail(&wrong, "field")),
        ("INVALID_ARGUMENT".to_owned(), "size".to_owned())
    );
    let told = |checksums: v1::Checksums| v1::FinishWriteRequest {
        checksums: Some(checksums),
        ..finishing(&upload, 300_000)
    };
    for (checksums, kind) in [
        (
            v1::Checksums {
                crc64nvme: Some(Crc64Nvme::of(&bytes) ^ 1),
                ..v1::Checksums::default()
            },
            "CRC64NVME",
        ),
        (
            v1::Checksums {
                crc32c: Some(crc32c(&bytes) ^ 1),
                ..v1::Checksums::default()
            },
            "CRC32C",
        ),
    ] {
        let wrong = finish(&mut client, told(checksums)).await.unwrap_err();
        assert_eq!(
            (wrong.code(), reason(&wrong).as_str()),
            (Code::DataLoss, "OBJECT_CHECKSUM_MISMATCH")
        );
        assert_eq!(detail(&wrong, "checksum"), kind);
    }
    let digest = v1::Checksums {
        sha256: Some(Bytes::from_static(&[1; 32])),
        ..v1::Checksums::default()
    };
    let wrong = finish(&mut client, told(digest)).await.unwrap_err();
    assert_eq!(detail(&wrong, "field"), "checksums");
    let given = v1::FinishWriteRequest {
        preconditions: Some(v1::Preconditions {
            if_generation_match: Some(99),
            ..v1::Preconditions::default()
        }),
        ..finishing(&upload, 300_000)
    };
    let wrong = finish(&mut client, given).await.unwrap_err();
    assert_eq!(reason(&wrong), "PRECONDITION_FAILED");
    finish(&mut client, finishing(&upload, 300_000))
        .await
        .unwrap();
    assert!(client.get("k").await.unwrap() == bytes);
}

#[tokio::test]
async fn a_write_of_nothing_is_an_empty_object() {
    let (_cluster, mut client) = cluster(1).await;
    let upload = start(&mut client).await;
    let object = finish(&mut client, finishing(&upload, 0)).await.unwrap();
    assert_eq!((object.size, object.crc64nvme), (0, Crc64Nvme::of(b"")));
    assert!(client.get("k").await.unwrap().is_empty());
}

#[tokio::test]
async fn writes_are_listed_beside_uploads_and_each_has_its_own_calls() {
    let (_cluster, mut client) = cluster(1).await;
    let upload = written(&mut client, &content(7000, 1)).await;
    let parts = uploads::begin(&mut client).await;
    let list = v1::ListUploadsRequest {
        bucket: "bucket".to_owned(),
        ..v1::ListUploadsRequest::default()
    };
    let listed = client
        .uploads
        .list_uploads(list)
        .await
        .unwrap()
        .into_inner()
        .uploads;
    let mut seen: Vec<_> = listed
        .into_iter()
        .map(|u| (u.upload_id, u.stream, u.bytes))
        .collect();
    seen.sort_by_key(|(_, stream, _)| *stream);
    assert_eq!(
        seen,
        [(parts.clone(), false, 0), (upload.clone(), true, 7000)]
    );

    let differs = |status: Status| {
        assert_eq!(status.code(), Code::FailedPrecondition, "{status:?}");
        assert_eq!(reason(&status), "UPLOAD_KIND_DIFFERS");
        assert_eq!(detail(&status, "field"), "upload_id");
    };
    differs(
        uploads::part(&mut client, &upload, 2, b"part")
            .await
            .unwrap_err(),
    );
    let part = v1::UploadedPart {
        part_number: 1,
        ..v1::UploadedPart::default()
    };
    let completion = uploads::completion(&upload, &[&part]);
    differs(
        uploads::complete(&mut client, completion)
            .await
            .unwrap_err(),
    );
    let (bucket, key, upload_id) = named(&upload);
    let list = v1::ListPartsRequest {
        bucket,
        key,
        upload_id,
        ..v1::ListPartsRequest::default()
    };
    differs(client.uploads.list_parts(list).await.unwrap_err());
    differs(query(&mut client, &parts).await.unwrap_err());
    differs(finish(&mut client, finishing(&parts, 0)).await.unwrap_err());
    differs(Call::open(&mut client, &parts, 0).await.err().unwrap());
}

#[tokio::test]
async fn a_write_that_is_aborted_takes_no_bytes_any_more() {
    let (_cluster, mut client) = cluster(6).await;
    let upload = written(&mut client, &content(300_000, 1)).await;
    let mut call = Call::open(&mut client, &upload, 300_000).await.unwrap();
    call.send(&content(100_000, 2)).await;
    call.flush().await;
    call.until(400_000).await;
    abort(&mut client, &upload).await.unwrap();
    call.send(&content(100_000, 3)).await;
    let late = call.error().await;
    assert_eq!(
        (late.code(), reason(&late).as_str()),
        (Code::NotFound, "UPLOAD_NOT_FOUND")
    );
    let again = finish(&mut client, finishing(&upload, 400_000))
        .await
        .unwrap_err();
    assert_eq!(reason(&again), "UPLOAD_NOT_FOUND");
    assert_eq!(
        reason(&abort(&mut client, &upload).await.unwrap_err()),
        "UPLOAD_NOT_FOUND"
    );
}

#[tokio::test]
async fn a_server_takes_no_more_than_two_runs_before_it_records_them() {
    let (cluster, mut client) = cluster(6).await;
    let bytes = content(40 * MIB, 1);
    let upload = start(&mut client).await;
    let mut call = Call::open(&mut client, &upload, 0).await.unwrap();
    cluster.groups.hold(true);
    let to = call.to.clone();
    let sent = bytes.clone();
    let sending = tokio::spawn(async move {
        for piece in sent.chunks(MIB) {
            let data = Bytes::copy_from_slice(piece);
            let crc32c = crc32c(piece);
            let message = Some(Message::Chunk(v1::Chunk { data, crc32c }));
            to.send(v1::WriteObjectRequest { message }).await.unwrap();
        }
    });
    // Of 4+2, and nothing is recorded: two runs are on the drives, and no byte of a third one comes.
    let taken = || cluster.drives.bytes() as u64 * 4 / 6;
    eventually("two runs are taken", || {
        taken() >= WRITE_UNRECORDED_BYTES_MAX
    })
    .await;
    for _ in 0..20 {
        assert_eq!(taken(), WRITE_UNRECORDED_BYTES_MAX);
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    cluster.groups.hold(false);
    for runs in 1..=2 {
        assert_eq!(call.persisted().await.unwrap(), runs * WRITE_RUN_BYTES_MAX);
    }
    sending.await.unwrap();
    let last = call.end().await.unwrap().unwrap();
    assert_eq!(last.persisted_size, bytes.len() as u64);
    finish(&mut client, finishing(&upload, last.persisted_size))
        .await
        .unwrap();
    assert!(client.get("k").await.unwrap() == bytes);
}

#[tokio::test]
async fn drives_that_fail_end_a_call_and_lose_nothing_that_was_recorded() {
    let (cluster, mut client) = cluster(6).await;
    let bytes = content(600_000, 1);
    let upload = written(&mut client, &bytes[..300_000]).await;
    for node in &cluster.nodes[..5] {
        cluster.drives.stop(*node);
    }
    let call = Call::open(&mut client, &upload, 300_000).await.unwrap();
    call.send(&bytes[300_000..]).await;
    let failed = call.error().await;
    assert_eq!(reason(&failed), "NOT_ENOUGH_NODES");
    for node in &cluster.nodes[..5] {
        cluster.drives.start(*node);
    }
    assert_eq!(
        query(&mut client, &upload).await.unwrap().persisted_size,
        300_000
    );
    let call = Call::open(&mut client, &upload, 300_000).await.unwrap();
    call.send(&bytes[300_000..]).await;
    call.end().await.unwrap();
    finish(&mut client, finishing(&upload, 600_000))
        .await
        .unwrap();
    assert!(client.get("k").await.unwrap() == bytes);
    eventually("what the broken call wrote goes", || {
        // Two runs of 4+2 in stripes.
        cluster.drives.shards() == 12
    })
    .await;
}

#[tokio::test]
async fn a_write_has_the_profile_that_it_was_begun_with() {
    let (_cluster, mut client) = cluster(6).await;
    let start = v1::StartWriteRequest {
        bucket: "bucket".to_owned(),
        key: "k".to_owned(),
        profile: "2+2".to_owned(),
        ..v1::StartWriteRequest::default()
    };
    let refused = client.writes.start_write(start.clone()).await.unwrap_err();
    assert_eq!(reason(&refused), "INVALID_PROFILE");
    let allow = v1::AllowBucketProfileRequest {
        bucket: "bucket".to_owned(),
        profile: "2+2".to_owned(),
        ..v1::AllowBucketProfileRequest::default()
    };
    client.admin.allow_bucket_profile(allow).await.unwrap();
    let started = client.writes.start_write(start).await.unwrap();
    let upload = started.into_inner().upload_id;
    let bytes = content(3_000_000, 4);
    let call = Call::open(&mut client, &upload, 0).await.unwrap();
    call.send(&bytes).await;
    call.end().await.unwrap();
    let object = finish(&mut client, finishing(&upload, 3_000_000)).await;
    let object = object.unwrap();
    assert_eq!(object.own_profile, "2+2");
    assert_eq!(object.profiles, ["2+2"]);
    assert_eq!(client.get("k").await.unwrap(), bytes);
}
