//! Many ranges of one version on one stream.

use std::ops::Range;

use marram_proto::v1;
use marram_proto::v1::read_ranges_response::Message;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use super::kit::{Client, cluster, content, reason};

fn request(key: &str, ranges: &[(i64, u64)]) -> v1::ReadRangesRequest {
    let range = |(offset, length): &(i64, u64)| v1::ByteRange {
        offset: *offset,
        length: *length,
    };
    v1::ReadRangesRequest {
        bucket: "bucket".to_owned(),
        key: key.to_owned(),
        ranges: ranges.iter().map(range).collect(),
        ..v1::ReadRangesRequest::default()
    }
}

/// What the header says of each range, and the bytes that came of it.
type Read = Vec<(Range<u64>, Vec<u8>)>;

async fn read(client: &mut Client, request: v1::ReadRangesRequest) -> Result<Read, Status> {
    let mut stream = client.objects.read_ranges(request).await?.into_inner();
    let first = stream.message().await?.and_then(|first| first.message);
    let Some(Message::Header(header)) = first else {
        panic!("no header");
    };
    let resolved = |r: &v1::ResolvedRange| (r.offset..r.offset + r.length, Vec::new());
    let mut all: Read = header.ranges.iter().map(resolved).collect();
    let mut at = 0;
    while let Some(next) = stream.message().await? {
        let Some(Message::Chunk(told)) = next.message else {
            panic!("no chunk");
        };
        let index = usize::try_from(told.range).unwrap();
        assert!(index >= at, "ranges come in order");
        at = index;
        let (range, bytes) = &mut all[index];
        assert_eq!(told.offset, range.start + bytes.len() as u64);
        let chunk = told.chunk.unwrap();
        assert_eq!(marram_types::crc32c(&chunk.data), chunk.crc32c);
        bytes.extend_from_slice(&chunk.data);
    }
    Ok(all)
}

#[tokio::test]
async fn ranges_come_in_order_with_exactly_their_bytes() {
    let (_cluster, mut client) = cluster(6).await;
    for size in [3000, 100_000, 3_000_000, 30_000_000] {
        let data = content(size, 5);
        client.put("a", &data).await.unwrap();
        let end = size as i64;
        let wanted = [
            (end - 10, 0),
            (0, 1),
            (-7, 3),
            (0, 0),
            (17, 2_000_000),
            (17, 2_000_000),
            (1, 9_000_000),
            (-1_000_000_000, 5),
        ];
        let found = read(&mut client, request("a", &wanted)).await.unwrap();
        assert_eq!(found.len(), wanted.len());
        for (range, bytes) in &found {
            let at = |offset: u64| usize::try_from(offset).unwrap();
            assert!(
                bytes[..] == data[at(range.start)..at(range.end)],
                "{range:?} of {size}"
            );
        }
        assert_eq!(found[2].0, size as u64 - 7..size as u64 - 4);
        assert_eq!(found[3].1.len(), size);
    }
}

#[tokio::test]
async fn all_ranges_are_of_the_version_that_was_there_at_first() {
    let (_cluster, mut client) = cluster(6).await;
    let old = content(12_000_000, 5);
    let written = client.put("a", &old).await.unwrap();
    let many: Vec<(i64, u64)> = (0..12).map(|n| (n * 1_000_000, 1_000_000)).collect();
    let mut stream = client
        .objects
        .read_ranges(request("a", &many))
        .await
        .unwrap()
        .into_inner();
    let first = stream.message().await.unwrap();
    client.put("a", &content(12_000_000, 6)).await.unwrap();
    let Some(Message::Header(header)) = first.and_then(|first| first.message) else {
        panic!("no header");
    };
    assert_eq!(header.object.unwrap().generation, written.generation);
    let mut bytes = Vec::new();
    while let Some(next) = stream.message().await.unwrap() {
        if let Some(Message::Chunk(told)) = next.message {
            bytes.extend_from_slice(&told.chunk.unwrap().data);
        }
    }
    assert!(bytes == old);
    let stale = v1::ReadRangesRequest {
        conditions: Some(v1::ReadConditions {
            if_generation_match: Some(written.generation),
            ..v1::ReadConditions::default()
        }),
        ..request("a", &many)
    };
    let refused = read(&mut client, stale).await.unwrap_err();
    assert_eq!(reason(&refused), "PRECONDITION_FAILED");
}

#[tokio::test]
async fn a_bad_range_is_named_and_nothing_is_sent() {
    let (_cluster, mut client) = cluster(3).await;
    client.put("a", &content(100_000, 5)).await.unwrap();
    let detail = |status: &Status, name: &str| {
        let details = status.get_error_details();
        let info = details.error_info().expect("a reason");
        info.metadata.get(name).cloned().unwrap_or_default()
    };
    let bad = request("a", &[(0, 5), (99_999, 9), (100_000, 1)]);
    let bad = read(&mut client, bad).await.unwrap_err();
    assert_eq!(bad.code(), Code::OutOfRange);
    assert_eq!(
        (detail(&bad, "range"), detail(&bad, "size")),
        ("2".into(), "100000".into())
    );
    let many = vec![(0, 1); 257];
    for wrong in [&[][..], &many] {
        let refused = read(&mut client, request("a", wrong)).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
        assert_eq!(detail(&refused, "field"), "ranges");
    }
    assert_eq!(
        read(&mut client, request("a", &many[1..]))
            .await
            .unwrap()
            .len(),
        256
    );
    let absent = read(&mut client, request("absent", &[(0, 1)]))
        .await
        .unwrap_err();
    assert_eq!(reason(&absent), "OBJECT_NOT_FOUND");
}
