//! `Garbage`: (displacing index, data id) -> the extent that was displaced, which tells a collector
//! where its shards are.

use marram_types::DataId;
use marram_types::codec::{DecodeError, Reader, Writer};

use super::extent::Extent;
use crate::stored::Stored;

const VERSION: u8 = 1;

/// Data that nothing refers to any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GarbageEntry {
    /// The index that displaced it (rules.md 28).
    pub at: u64,
    /// What was displaced.
    pub extent: Extent,
}

pub(crate) fn ser_key(at: u64, data: DataId) -> [u8; 8 + DataId::BYTES] {
    let mut key = [0; 8 + DataId::BYTES];
    key[..8].copy_from_slice(&at.to_be_bytes());
    key[8..].copy_from_slice(&data.to_bytes());
    key
}

pub(crate) fn deser_key(key: &[u8]) -> Result<(u64, DataId), DecodeError> {
    let mut from = Reader::new(key);
    let pair = (from.u64_be()?, DataId::decode(&mut from)?);
    from.finish()?;
    Ok(pair)
}

pub(crate) fn ser_value(extent: &Extent) -> Vec<u8> {
    let mut out = Writer::with_capacity(64);
    out.u8(VERSION);
    extent.encode(&mut out);
    out.finish()
}

pub(crate) fn deser_value(bytes: &[u8]) -> Result<Extent, DecodeError> {
    let mut from = Reader::new(bytes);
    from.version("garbage entry version", VERSION)?;
    let extent = Extent::decode(&mut from)?;
    from.finish()?;
    Ok(extent)
}
