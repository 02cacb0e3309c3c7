use std::collections::HashMap;

use bytes::Bytes;

use super::*;

fn header() -> v1::PutObjectHeader {
    v1::PutObjectHeader {
        bucket: "photos".to_owned(),
        key: "2026/a.jpg".to_owned(),
        ..Default::default()
    }
}

#[test]
fn a_plain_header_gets_the_defaults() {
    let checked = put_header(header()).unwrap();
    assert_eq!(checked.content_type, "application/octet-stream");
    assert_eq!(checked.size, None);
    assert!(checked.metadata.is_empty());
    assert_eq!(checked.precondition, Precondition::default());
    // Two calls without an id are two mutations.
    assert_ne!(checked.request, put_header(header()).unwrap().request);
}

#[test]
fn keys_of_1_to_1024_bytes_pass() {
    let with = |key: String| put_header(v1::PutObjectHeader { key, ..header() });
    for good in [
        "k".repeat(1024),
        "../../etc/passwd".to_owned(),
        "/".to_owned(),
    ] {
        assert!(with(good).is_ok());
    }
    for bad in [String::new(), "k".repeat(1025)] {
        assert_eq!(with(bad).unwrap_err().reason(), Reason::InvalidKey);
    }
}

#[test]
fn every_field_of_the_header_is_checked() {
    let too_large = v1::PutObjectHeader {
        size: Some(OBJECT_BYTES_MAX + 1),
        ..header()
    };
    assert_eq!(
        put_header(too_large).unwrap_err().reason(),
        Reason::ObjectTooLarge
    );
    let bucket = v1::PutObjectHeader {
        bucket: "No".to_owned(),
        ..header()
    };
    assert_eq!(
        put_header(bucket).unwrap_err().reason(),
        Reason::InvalidBucketName
    );
    for content_type in [
        "a".repeat(257),
        "text/\nplain".to_owned(),
        "t\u{fc}".to_owned(),
    ] {
        let request = v1::PutObjectHeader {
            content_type,
            ..header()
        };
        assert_eq!(
            put_header(request).unwrap_err().reason(),
            Reason::InvalidArgument
        );
    }
    let id = v1::RequestId {
        client: Bytes::from_static(b"short"),
        sequence: 1,
    };
    let request = v1::PutObjectHeader {
        request_id: Some(id),
        ..header()
    };
    assert_eq!(
        put_header(request).unwrap_err().reason(),
        Reason::InvalidArgument
    );
}

#[test]
fn user_metadata_is_bounded_and_sorted() {
    let with = |pairs: &[(&str, usize)]| {
        let metadata: HashMap<String, String> = pairs
            .iter()
            .map(|(name, bytes)| ((*name).to_owned(), "v".repeat(*bytes)))
            .collect();
        put_header(v1::PutObjectHeader {
            metadata,
            ..header()
        })
    };
    let sorted = with(&[("b", 1), ("a", 2)]).unwrap().metadata;
    assert_eq!(sorted[0].0, "a");
    assert!(with(&[("n", 2047)]).is_ok());
    assert!(with(&[("n", 2048)]).is_err());
    assert!(with(&[("", 1)]).is_err());
}

#[test]
fn request_ids_are_the_clients_own() {
    let given = v1::RequestId {
        client: Bytes::copy_from_slice(&7_u128.to_be_bytes()),
        sequence: 9,
    };
    let read = request_id(Some(&given)).unwrap();
    assert_eq!((read.client, read.sequence), (7, 9));
}

#[test]
fn chunks_are_verified() {
    let good = v1::Chunk {
        data: Bytes::from_static(b"123456789"),
        crc32c: 0xe306_9283,
    };
    assert_eq!(chunk(&good), Ok(()));
    let wrong = v1::Chunk { crc32c: 1, ..good };
    assert_eq!(chunk(&wrong), Err(InvalidField::ChunkChecksum));
    assert_eq!(
        InvalidField::ChunkChecksum.reason(),
        Reason::ChunkChecksumMismatch
    );
    let large = v1::Chunk {
        data: Bytes::from(vec![0; API_DATA_BYTES_MAX + 1]),
        crc32c: 0,
    };
    assert_eq!(chunk(&large).unwrap_err().reason(), Reason::InvalidArgument);
}

#[test]
fn pages_have_1_to_1000_entries() {
    assert_eq!(page_size(0), Ok(1000));
    assert_eq!(page_size(1), Ok(1));
    assert_eq!(page_size(5000), Ok(1000));
    assert!(page_size(-1).is_err());
}

#[test]
fn profiles_are_read_or_left_to_the_cluster() {
    assert_eq!(profile(""), Ok(None));
    assert_eq!(profile("4+2"), Ok(Some(Profile::new(4, 2).unwrap())));
    assert_eq!(profile("4-2").unwrap_err().reason(), Reason::InvalidProfile);
}
