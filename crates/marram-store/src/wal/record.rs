//! One record of the log.
//!
//! ```text
//! body length u32 | crc32c u32 | kind u8 | flags u8 | group u16 | zero u32 | body | pad to 8
//! ```
//!
//! All integers are big-endian. The checksum covers the segment's epoch, the record's offset and
//! everything after itself, so that neither a stale record nor bytes inside a payload can pass for
//! a record at this place.

use marram_types::codec::{DecodeError, Reader, Writer};
use marram_types::{Crc32c, GroupId};

use super::LogPos;

pub(super) const HEADER_BYTES: usize = 16;
const ALIGN: usize = 8;
/// Flag: everything before this record was durable when it was written.
const STARTS_BATCH: u8 = 1;

/// What a record says. Numbers are stored: never renumber.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// `LogPos`, payload.
    Entry = 1,
    /// The vote's bytes.
    Vote = 2,
    /// The committed position's bytes.
    Committed = 3,
    /// Option of the last index kept.
    Truncate = 4,
    /// `LogPos` of the last index removed.
    Purge = 5,
    /// Nothing: the group is forgotten.
    Remove = 6,
    /// Options of vote, committed and purged: all of a group that is not entries, repeated at the
    /// start of each segment so that older segments can go.
    State = 7,
    /// Nothing: only starts a batch, after an orderly close.
    Mark = 8,
}

impl Kind {
    fn from_byte(byte: u8) -> Option<Self> {
        use Kind::{Committed, Entry, Mark, Purge, Remove, State, Truncate, Vote};
        [Entry, Vote, Committed, Truncate, Purge, Remove, State, Mark]
            .into_iter()
            .find(|kind| *kind as u8 == byte)
    }
}

/// A record that passed its checksum.
#[derive(Debug)]
pub(super) struct Record<'a> {
    /// `None` for a kind of a later release.
    pub(super) kind: Option<Kind>,
    pub(super) starts_batch: bool,
    pub(super) group: GroupId,
    pub(super) body: &'a [u8],
    /// Bytes that the record takes, padding included.
    pub(super) len: usize,
}

/// Bytes that a record with such a body takes.
pub(super) fn len_with(body: usize) -> usize {
    (HEADER_BYTES + body).next_multiple_of(ALIGN)
}

/// Appends a record that will lie at `offset` of the segment with `epoch`.
pub(super) fn encode(
    out: &mut Vec<u8>,
    (epoch, offset): (u64, u64),
    (group, kind, starts_batch): (GroupId, Kind, bool),
    body: &[&[u8]],
) {
    let body_len = body.iter().map(|part| part.len()).sum::<usize>();
    let start = out.len();
    out.reserve(len_with(body_len));
    let len = u32::try_from(body_len).expect("bounded by the segment's size");
    out.extend_from_slice(&len.to_be_bytes());
    out.extend_from_slice(&[0; 4]);
    out.push(kind as u8);
    out.push(if starts_batch { STARTS_BATCH } else { 0 });
    out.extend_from_slice(&group.0.to_be_bytes());
    out.extend_from_slice(&[0; 4]);
    for part in body {
        out.extend_from_slice(part);
    }
    let crc = checksum(epoch, offset, &out[start..]);
    out[start + 4..start + 8].copy_from_slice(&crc.to_be_bytes());
    out.resize(start + len_with(body_len), 0);
}

/// Reads the record at the start of `bytes`, which lie at `offset` of the segment with `epoch`.
pub(super) fn decode(bytes: &[u8], epoch: u64, offset: u64) -> Option<Record<'_>> {
    let mut from = Reader::new(bytes.get(..HEADER_BYTES)?);
    let body_len = usize::try_from(from.u32_be().ok()?).ok()?;
    let crc = from.u32_be().ok()?;
    let kind = from.u8().ok()?;
    let flags = from.u8().ok()?;
    let group = GroupId(from.u16_be().ok()?);
    if kind == 0 {
        return None;
    }
    let whole = bytes.get(..HEADER_BYTES.checked_add(body_len)?)?;
    let len = len_with(body_len);
    if checksum(epoch, offset, whole) != crc || bytes.len() < len {
        return None;
    }
    Some(Record {
        kind: Kind::from_byte(kind),
        starts_batch: flags & STARTS_BATCH != 0,
        group,
        body: &whole[HEADER_BYTES..],
        len,
    })
}

/// Over the place, the length and everything after the checksum itself.
fn checksum(epoch: u64, offset: u64, record: &[u8]) -> u32 {
    let mut place = [0; 20];
    place[..8].copy_from_slice(&epoch.to_be_bytes());
    place[8..16].copy_from_slice(&offset.to_be_bytes());
    place[16..].copy_from_slice(&record[..4]);
    let mut crc = Crc32c::default();
    crc.update(&place);
    crc.update(&record[8..]);
    crc.value()
}

pub(super) fn encode_pos(out: &mut Writer, pos: LogPos) {
    out.u64_be(pos.term).u64_be(pos.node).u64_be(pos.index);
}

pub(super) fn decode_pos(from: &mut Reader<'_>) -> Result<LogPos, DecodeError> {
    Ok(LogPos {
        term: from.u64_be()?,
        node: from.u64_be()?,
        index: from.u64_be()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_holds_only_at_its_place_and_unchanged() {
        let mut bytes = Vec::new();
        let what = (GroupId(3), Kind::Vote, true);
        encode(&mut bytes, (9, 4096), what, &[b"ab", b"cde"]);
        assert_eq!(bytes.len(), 24);
        let record = decode(&bytes, 9, 4096).expect("good");
        assert_eq!(record.kind, Some(Kind::Vote));
        assert_eq!((record.body, record.len), (&b"abcde"[..], 24));
        assert!(record.starts_batch && record.group == GroupId(3));
        assert!(decode(&bytes, 8, 4096).is_none(), "another epoch");
        assert!(decode(&bytes, 9, 4104).is_none(), "another offset");
        // The padding (3 bytes) carries nothing and is not covered.
        for at in 0..21 {
            let mut bad = bytes.clone();
            bad[at] ^= 0x40;
            assert!(decode(&bad, 9, 4096).is_none(), "byte {at}");
        }
        assert!(decode(&bytes[..20], 9, 4096).is_none(), "cut");
        assert!(decode(&[0; 64], 9, 4096).is_none(), "unwritten");
    }
}
