//! `Inline`: data id -> the bytes of a small object.

use marram_types::DataId;
use marram_types::codec::{DecodeError, Reader};

const VERSION: u8 = 1;

pub(crate) fn ser_key(data: DataId) -> [u8; DataId::BYTES] {
    data.to_bytes()
}

pub(crate) fn ser_value(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(1 + bytes.len());
    out.push(VERSION);
    out.extend_from_slice(bytes);
    out
}

pub(crate) fn deser_value(value: &[u8]) -> Result<&[u8], DecodeError> {
    let mut from = Reader::new(value);
    from.version("inline row version", VERSION)?;
    Ok(from.rest())
}
