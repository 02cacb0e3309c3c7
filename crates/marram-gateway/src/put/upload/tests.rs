use futures::stream;
use marram_types::{Crc64Nvme, crc32c};

use super::*;

fn message(message: Message) -> Result<v1::PutObjectRequest, Status> {
    Ok(v1::PutObjectRequest {
        message: Some(message),
    })
}

fn chunk(data: &'static [u8]) -> Result<v1::PutObjectRequest, Status> {
    message(Message::Chunk(v1::Chunk {
        data: Bytes::from_static(data),
        crc32c: crc32c(data),
    }))
}

fn trailer(crc64nvme: Option<u64>) -> Result<v1::PutObjectRequest, Status> {
    message(Message::Trailer(v1::PutObjectTrailer {
        crc64nvme,
        checksums: None,
    }))
}

async fn read(
    declared: Option<u64>,
    messages: Vec<Result<v1::PutObjectRequest, Status>>,
) -> Result<Vec<u8>, UploadError> {
    let mut upload = Upload::new(
        stream::iter(messages),
        declared,
        &Checks::default(),
        STALL_MAX,
    );
    let mut all = Vec::new();
    while let Some(bytes) = upload.next().await? {
        all.extend_from_slice(&bytes);
    }
    assert_eq!(upload.totals().crc64, Crc64Nvme::of(&all));
    Ok(all)
}

#[tokio::test]
async fn chunks_arrive_in_order_with_or_without_a_trailer() {
    let whole = Crc64Nvme::of(b"abcdef");
    for end in [vec![], vec![trailer(None)], vec![trailer(Some(whole))]] {
        let mut messages = vec![chunk(b"abc"), chunk(b""), chunk(b"def")];
        messages.extend(end);
        assert_eq!(read(Some(6), messages).await.unwrap(), b"abcdef");
    }
    assert_eq!(read(None, vec![trailer(None)]).await.unwrap(), b"");
}

/// The transport reports a cancelled call as the end of its stream.
#[tokio::test]
async fn an_end_without_declared_size_and_trailer_may_be_a_cut() {
    for messages in [vec![], vec![chunk(b"abc")]] {
        let cut = read(None, messages).await;
        assert!(matches!(cut, Err(UploadError::NoTrailer { .. })));
    }
}

#[tokio::test]
async fn sizes_and_checksums_are_enforced() {
    let more = read(Some(2), vec![chunk(b"abc")]).await;
    assert!(matches!(more, Err(UploadError::TooMany { .. })));
    let fewer = read(Some(4), vec![chunk(b"abc")]).await.unwrap_err();
    assert_eq!(fewer.reason(), Reason::SizeMismatch);
    let wrong = read(None, vec![chunk(b"abc"), trailer(Some(1))]).await;
    assert_eq!(wrong.unwrap_err().reason(), Reason::ObjectChecksumMismatch);
    let flipped = message(Message::Chunk(v1::Chunk {
        data: Bytes::from_static(b"abd"),
        crc32c: crc32c(b"abc"),
    }));
    let refused = read(None, vec![flipped]).await.unwrap_err();
    assert_eq!(refused.reason(), Reason::ChunkChecksumMismatch);
}

#[tokio::test]
async fn a_broken_stream_is_never_the_end() {
    let cut = read(None, vec![chunk(b"abc"), Err(Status::cancelled("reset"))]).await;
    assert!(matches!(cut, Err(UploadError::Broken { received: 3, .. })));
}

#[tokio::test]
async fn order_is_kept() {
    let header = || message(Message::Header(v1::PutObjectHeader::default()));
    for bad in [
        vec![header()],
        vec![trailer(None), chunk(b"a")],
        vec![trailer(None), trailer(None)],
        vec![Ok(v1::PutObjectRequest { message: None })],
    ] {
        assert!(matches!(read(None, bad).await, Err(UploadError::Order(_))));
    }
    let mut none = stream::iter(vec![chunk(b"a")]);
    let first = super::header(&mut none).await;
    assert!(matches!(first, Err(UploadError::Order(_))));
    let mut good = stream::iter(vec![header()]);
    assert!(super::header(&mut good).await.is_ok());
}

#[tokio::test]
async fn silence_ends_an_upload() {
    let silent = stream::iter(vec![chunk(b"abc")]).chain(stream::pending());
    let mut upload = Upload::new(
        Box::pin(silent),
        None,
        &Checks::default(),
        Duration::from_millis(20),
    );
    assert!(upload.next().await.unwrap().is_some());
    let stalled = upload.next().await.unwrap_err();
    assert_eq!(stalled.reason(), Reason::UploadStalled);
}
