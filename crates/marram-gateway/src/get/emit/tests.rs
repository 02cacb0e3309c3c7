use marram_meta::Body;
use marram_types::{DataId, Generation, GroupId, Profile, VersionId};

use super::*;

fn row(content: &[u8]) -> VersionRow {
    VersionRow {
        version: VersionId(1),
        generation: Generation(2),
        modified_ms: 3,
        placed_ms: None,
        size: content.len() as u64,
        crc64: Crc64Nvme::of(content),
        etag: String::new(),
        content_type: String::new(),
        metadata: Vec::new(),
        tags: Vec::new(),
        body: Body::Inline {
            data: DataId {
                group: GroupId(1),
                begin: 1,
                random: 1,
            },
        },
        nominal: Profile::new(1, 0).unwrap(),
        own: None,
        narrowed: false,
        under_protected: false,
        off_profile: false,
        numbered: false,
    }
}

fn name() -> ObjectName {
    ObjectName::new("bucket".to_owned(), "key".to_owned()).unwrap()
}

fn chunks(out: &[v1::GetObjectResponse]) -> Vec<Bytes> {
    out.iter()
        .map(|response| match &response.message {
            Some(Message::Chunk(chunk)) => {
                assert_eq!(chunk.crc32c, crc32c(&chunk.data));
                assert!(chunk.data.len() <= API_DATA_BYTES_MAX);
                chunk.data.clone()
            }
            other => panic!("not a chunk: {other:?}"),
        })
        .collect()
}

#[test]
fn pieces_become_messages_of_at_most_a_mebibyte() {
    let content: Vec<u8> = (0..5_000_000_u32).map(|i| i.to_le_bytes()[1]).collect();
    let mut messages = Messages::new(&name(), &row(&content), 0..content.len() as u64);
    let mut out = Vec::new();
    let whole = Bytes::from(content.clone());
    messages.add(vec![whole.slice(..3_000_000)], &mut out);
    messages.add(
        vec![whole.slice(3_000_000..3_000_010), whole.slice(3_000_010..)],
        &mut out,
    );
    messages.finish(&mut out).unwrap();
    assert_eq!(chunks(&out).concat(), content);
}

#[test]
fn small_pieces_are_put_together() {
    let content = vec![7_u8; 1000];
    let mut messages = Messages::new(&name(), &row(&content), 0..1000);
    let mut out = Vec::new();
    let whole = Bytes::from(content);
    messages.add(
        (0..10)
            .map(|i| whole.slice(i * 100..(i + 1) * 100))
            .collect(),
        &mut out,
    );
    messages.finish(&mut out).unwrap();
    assert_eq!(chunks(&out).len(), 1);
}

#[test]
fn wrong_bytes_of_a_full_read_never_end_well() {
    let mut messages = Messages::new(&name(), &row(b"right"), 0..5);
    let mut out = Vec::new();
    messages.add(vec![Bytes::from_static(b"wrong")], &mut out);
    let failed = messages.finish(&mut out);
    assert!(matches!(failed, Err(GetError::Checksum { .. })));
    assert!(out.is_empty(), "the last chunk was held back");
    // A part has no checksum of its own to be held against.
    let mut part = Messages::new(&name(), &row(b"right"), 1..3);
    part.add(vec![Bytes::from_static(b"xx")], &mut out);
    part.finish(&mut out).unwrap();
    assert_eq!(out.len(), 1);
}
