//! `Garbage`: (begin index, displacing index, data id) -> the extent that was displaced, and where its
//! shards were by then, which tells a collector where to look.
//!
//! By the begin index first: the floor of begins is a day behind, that of readers a quarter of an
//! hour, so what may go lies together, and a collector does not walk a day of what may not.

use marram_types::codec::{DecodeError, Reader, Writer};
use marram_types::{DataId, DriveId};

use super::extent::Extent;
use crate::stored::{Stored, get_places, only_version, put_places};

/// Version 1 had no places, version 2 no time.
const VERSION: u8 = 3;

/// Data that nothing refers to any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GarbageEntry {
    /// The index that displaced it (rules.md 28).
    pub at: u64,
    /// Leader time by then, in milliseconds.
    pub since_ms: u64,
    /// What was displaced.
    pub extent: Extent,
    /// By shard: every drive that may hold it, as known at that index. Placement groups move later
    /// without this data, so the layout does not tell any more.
    pub places: Vec<Vec<DriveId>>,
}

pub(crate) fn ser_key(at: u64, data: DataId) -> [u8; 16 + DataId::BYTES] {
    let mut key = [0; 16 + DataId::BYTES];
    key[..8].copy_from_slice(&data.begin.to_be_bytes());
    key[8..16].copy_from_slice(&at.to_be_bytes());
    key[16..].copy_from_slice(&data.to_bytes());
    key
}

pub(crate) fn deser_key(key: &[u8]) -> Result<(u64, DataId), DecodeError> {
    let mut from = Reader::new(key);
    let begin = from.u64_be()?;
    let pair = (from.u64_be()?, DataId::decode(&mut from)?);
    from.finish()?;
    if pair.1.begin == begin {
        Ok(pair)
    } else {
        Err(DecodeError::Invalid("garbage key"))
    }
}

pub(crate) fn ser_value(since_ms: u64, extent: &Extent, places: &[Vec<DriveId>]) -> Vec<u8> {
    let mut out = Writer::with_capacity(96);
    out.u8(VERSION).varint(since_ms);
    extent.encode(&mut out);
    put_places(&mut out, places);
    out.finish()
}

/// Reads the value of the entry of this index.
pub(crate) fn deser_value(at: u64, bytes: &[u8]) -> Result<GarbageEntry, DecodeError> {
    let mut from = Reader::new(bytes);
    only_version(&mut from, "garbage entry version", VERSION)?;
    let entry = GarbageEntry {
        at,
        since_ms: from.varint()?,
        extent: Extent::decode(&mut from)?,
        places: get_places(&mut from)?,
    };
    from.finish()?;
    Ok(entry)
}

/// An entry in an answer; the value in the table leaves out what its key says.
impl Stored for GarbageEntry {
    fn encode(&self, out: &mut Writer) {
        self.extent
            .encode(out.varint(self.at).varint(self.since_ms));
        put_places(out, &self.places);
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            at: from.varint()?,
            since_ms: from.varint()?,
            extent: Extent::decode(from)?,
            places: get_places(from)?,
        })
    }
}
