//! `Requests`: request id -> outcome; `RequestExpiry`: (expiry, request id) -> nothing.

use marram_types::RequestId;
use marram_types::codec::{DecodeError, Reader, Writer};

const VERSION: u8 = 1;

pub(crate) fn ser_key(request: RequestId) -> [u8; RequestId::BYTES] {
    request.to_bytes()
}

pub(crate) fn ser_expiry_key(expires_ms: u64, request: RequestId) -> [u8; 8 + RequestId::BYTES] {
    let mut key = [0; 8 + RequestId::BYTES];
    key[..8].copy_from_slice(&expires_ms.to_be_bytes());
    key[8..].copy_from_slice(&request.to_bytes());
    key
}

pub(crate) fn deser_expiry_key(key: &[u8]) -> Result<(u64, RequestId), DecodeError> {
    let mut from = Reader::new(key);
    let pair = (from.u64_be()?, RequestId::decode(&mut from)?);
    from.finish()?;
    Ok(pair)
}

/// The value is the encoded outcome, so that a repeated request is answered with the same bytes.
pub(crate) fn ser_value(outcome: &[u8]) -> Vec<u8> {
    let mut out = Writer::with_capacity(1 + outcome.len());
    out.u8(VERSION).raw(outcome);
    out.finish()
}

pub(crate) fn deser_value(bytes: &[u8]) -> Result<&[u8], DecodeError> {
    let mut from = Reader::new(bytes);
    from.version("request record version", VERSION)?;
    Ok(from.rest())
}
