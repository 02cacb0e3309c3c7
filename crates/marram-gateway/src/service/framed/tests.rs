use bytes::Buf;
use marram_types::crc32c;

use super::*;

fn chunk(data: Vec<u8>) -> v1::GetObjectResponse {
    let crc32c = crc32c(&data);
    v1::GetObjectResponse {
        message: Some(Got::Chunk(v1::Chunk {
            data: data.into(),
            crc32c,
        })),
    }
}

fn header() -> v1::GetObjectResponse {
    v1::GetObjectResponse {
        message: Some(Got::Header(v1::GetObjectHeader {
            object: None,
            offset: 7,
            length: 1 << 40,
        })),
    }
}

/// What any gRPC client makes of the bytes.
fn decode(frames: VecDeque<Bytes>) -> Vec<v1::GetObjectResponse> {
    let all: Vec<u8> = frames.into_iter().flatten().collect();
    let mut rest = Bytes::from(all);
    let mut messages = Vec::new();
    while rest.has_remaining() {
        assert_eq!(rest.get_u8(), 0, "not compressed");
        let len = rest.get_u32() as usize;
        messages.push(v1::GetObjectResponse::decode(rest.split_to(len)).unwrap());
    }
    messages
}

#[test]
fn every_client_reads_what_is_framed() {
    let sizes = [0, 1, 127, 128, 16_383, 16_384, 65_536, 1 << 20];
    let mut sent = vec![header()];
    sent.extend(sizes.iter().map(|size| chunk(vec![0xa5; *size])));
    let mut frames = VecDeque::new();
    for message in sent.clone() {
        frame(message, &mut frames);
    }
    assert_eq!(decode(frames), sent);
}

#[test]
fn large_chunks_are_not_copied() {
    let message = chunk(vec![1; 1 << 20]);
    let Some(Got::Chunk(inner)) = &message.message else {
        panic!("a chunk");
    };
    let place = inner.data.as_ptr();
    let mut frames = VecDeque::new();
    frame(message, &mut frames);
    assert_eq!(frames.len(), 2);
    assert_eq!(frames[1].as_ptr(), place);
}

#[test]
fn an_error_is_in_the_trailers() {
    let sent = trailers(&Status::not_found("gone"));
    let read = Status::from_header_map(&sent).unwrap();
    assert_eq!(
        (read.code(), read.message()),
        (tonic::Code::NotFound, "gone")
    );
    let fine = trailers(&Status::ok(""));
    assert_eq!(fine.get("grpc-status").unwrap(), "0");
}
