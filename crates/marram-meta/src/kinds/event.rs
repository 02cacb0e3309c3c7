//! `Events`: (index, ordinal) -> what an entry changed about an object, for those who watch (rules.md
//! 30). The entry that changes something writes its events, and later entries remove the oldest.

use marram_types::codec::{DecodeError, Reader, Writer};
use marram_types::{BucketId, Generation};

use crate::refusal::unknown;
use crate::stored::{Stored, only_version};

const VERSION: u8 = 1;

/// Where an event stands among those of its group.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventPlace {
    /// The entry that made the change.
    pub index: u64,
    /// Which of the entry's events it is, from 0 on.
    pub ordinal: u32,
}

impl EventPlace {
    /// Behind every event of the entry at `index`.
    #[must_use]
    pub fn behind(index: u64) -> Self {
        Self {
            index,
            ordinal: u32::MAX,
        }
    }
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum EventKind {
    /// A new version is the current one.
    Put = 1,
    /// A version's metadata or tags were changed, and its bytes were not.
    Metadata = 2,
    /// An earlier version is current again, because what was newer was removed for good.
    Restored = 3,
    /// There is no current version any more, and no marker was written for it.
    Deleted = 4,
    /// A delete marker was written: the object is absent, its versions are there.
    Marked = 5,
    /// A version or delete marker was removed for good, and nothing took its place.
    VersionDeleted = 6,
}

impl EventKind {
    fn from_byte(byte: u8) -> Result<Self, DecodeError> {
        Ok(match byte {
            1 => Self::Put,
            2 => Self::Metadata,
            3 => Self::Restored,
            4 => Self::Deleted,
            5 => Self::Marked,
            6 => Self::VersionDeleted,
            other => return Err(unknown("event kind", other)),
        })
    }
}

/// A change of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// What happened.
    pub kind: EventKind,
    /// The bucket.
    pub bucket: BucketId,
    /// The key.
    pub key: String,
    /// Of the version or marker that it is about; of a [`EventKind::Deleted`] that of the deletion.
    pub generation: Generation,
    /// Bytes of the version; 0 where there is none.
    pub size: u64,
    /// `ETag` of the version, quotes included; empty where there is none.
    pub etag: String,
    /// Leader time of the change.
    pub time_ms: u64,
    /// It is about a null version or marker: one written while its bucket kept no versions. A key has
    /// at most one, and the next one replaces it.
    pub is_null: bool,
    /// It is about a delete marker.
    pub is_marker: bool,
    /// It is about a version that is not the current one, which stays as it is.
    pub is_noncurrent: bool,
}

pub(crate) fn ser_key(place: EventPlace) -> [u8; 12] {
    let mut key = [0; 12];
    key[..8].copy_from_slice(&place.index.to_be_bytes());
    key[8..].copy_from_slice(&place.ordinal.to_be_bytes());
    key
}

pub(crate) fn deser_key(bytes: &[u8]) -> Result<EventPlace, DecodeError> {
    let mut from = Reader::new(bytes);
    let place = EventPlace {
        index: from.u64_be()?,
        ordinal: from.u32_be()?,
    };
    from.finish()?;
    Ok(place)
}

/// Bucket and key of a stored event, read without the rest.
pub(crate) fn deser_target(bytes: &[u8]) -> Result<(BucketId, &str), DecodeError> {
    let mut from = Reader::new(bytes);
    only_version(&mut from, "event version", VERSION)?;
    Ok((BucketId(from.u64_be()?), from.str()?))
}

/// Leader time of a stored event.
pub(crate) fn deser_time(bytes: &[u8]) -> Result<u64, DecodeError> {
    let mut from = Reader::new(bytes);
    only_version(&mut from, "event version", VERSION)?;
    from.u64_be()?;
    from.str()?;
    from.varint()
}

/// What an event counts against the bytes that are kept.
pub(crate) fn bytes_of(value: &[u8]) -> u64 {
    (12 + value.len()) as u64
}

impl Stored for Event {
    fn encode(&self, out: &mut Writer) {
        let flags = u8::from(self.is_null)
            | u8::from(self.is_marker) << 1
            | u8::from(self.is_noncurrent) << 2;
        out.u8(VERSION)
            .u64_be(self.bucket.0)
            .str(&self.key)
            .varint(self.time_ms)
            .u8(self.kind as u8)
            .u8(flags)
            .varint(self.generation.0)
            .varint(self.size)
            .str(&self.etag);
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        only_version(from, "event version", VERSION)?;
        let bucket = BucketId(from.u64_be()?);
        let key = from.str()?.to_owned();
        let time_ms = from.varint()?;
        let kind = EventKind::from_byte(from.u8()?)?;
        let flags = from.u8()?;
        if flags > 0b111 {
            return Err(DecodeError::Invalid("event flags"));
        }
        Ok(Self {
            kind,
            bucket,
            key,
            time_ms,
            generation: Generation(from.varint()?),
            size: from.varint()?,
            etag: from.str()?.to_owned(),
            is_null: flags & 1 != 0,
            is_marker: flags & 2 != 0,
            is_noncurrent: flags & 4 != 0,
        })
    }
}

impl Stored for EventPlace {
    fn encode(&self, out: &mut Writer) {
        out.varint(self.index).varint(u64::from(self.ordinal));
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            index: from.varint()?,
            ordinal: u32::try_from(from.varint()?).map_err(|_| DecodeError::Invalid("ordinal"))?,
        })
    }
}

/// How a group keeps events; part of its state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EventsKept {
    /// Every event behind this place is in the table; those up to it are gone.
    pub(crate) floor: EventPlace,
    /// Bytes in the table.
    pub(crate) bytes: u64,
    /// Leader time of the oldest one; `u64::MAX` when there is none.
    pub(crate) oldest_ms: u64,
    /// How long they are kept ...
    pub(crate) for_ms: u64,
    /// ... and how many bytes of them, whichever ends first.
    pub(crate) bytes_max: u64,
}

impl Stored for EventsKept {
    fn encode(&self, out: &mut Writer) {
        self.floor.encode(out);
        out.varint(self.bytes)
            .varint(self.oldest_ms)
            .varint(self.for_ms)
            .varint(self.bytes_max);
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            floor: EventPlace::decode(from)?,
            bytes: from.varint()?,
            oldest_ms: from.varint()?,
            for_ms: from.varint()?,
            bytes_max: from.varint()?,
        })
    }
}
