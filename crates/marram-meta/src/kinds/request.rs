//! `Requests`: request id -> what was asked and what came of it; `RequestExpiry`: (expiry, request
//! id) -> nothing.

use marram_types::RequestId;
use marram_types::codec::{DecodeError, Reader, Writer};

/// Version 1 did not say what was asked.
const VERSION: u8 = 2;

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

/// The value is a digest of what the client asked and the encoded outcome, so that a repeated
/// request is answered with the same bytes and another one under the same id is not.
pub(crate) fn ser_value(asked: u64, outcome: &[u8]) -> Vec<u8> {
    let mut out = Writer::with_capacity(9 + outcome.len());
    out.u8(VERSION).u64_be(asked).raw(outcome);
    out.finish()
}

/// The digest, where the record has one, and the encoded outcome.
pub(crate) fn deser_value(bytes: &[u8]) -> Result<(Option<u64>, &[u8]), DecodeError> {
    let mut from = Reader::new(bytes);
    let asked = match from.version("request record version", VERSION)? {
        1 => None,
        _ => Some(from.u64_be()?),
    };
    Ok((asked, from.rest()))
}
