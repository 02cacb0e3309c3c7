//! One record: a run of a shard's bytes with a checksum for every 64 KiB of it.
//!
//! ```text
//! magic "MRUN" | crc32c u32 of all that follows, block checksums included
//! format u8 = 1 | class u8 | codec u8 | matrix u8
//! segment epoch u64 | record offset u64 | shard id 21 bytes | pool u16 | placement group u16
//! run offset u64 | data length u32 | one crc32c u32 for each block
//! ```
//!
//! Big-endian. A large record has this in a page of 4 KiB and its data behind, padded to 4 KiB; a
//! small record has it packed, padded to 8 bytes as a whole. Epoch and offset keep stale bytes and
//! bytes inside a shard's data from passing for a record.

use marram_types::caps::{BLOCK_BYTES, SHARD_RUN_BYTES_MAX};
use marram_types::codec::{DecodeError, Reader, Writer};
use marram_types::{PgId, PoolId, ShardId, crc32c};

use super::{Class, RunHeader};

/// Header page of a large record, and the unit its data is padded to.
pub(super) const PAGE_BYTES: usize = 4096;
const SMALL_ALIGN: usize = 8;
const MAGIC: &[u8; 4] = b"MRUN";
const FORMAT: u8 = 1;
const FIXED_BYTES: usize = 4 + 4 + 4 + 8 + 8 + ShardId::BYTES + 4 + 8 + 4;
const _: () = assert!(FIXED_BYTES + SHARD_RUN_BYTES_MAX / BLOCK_BYTES * 4 <= PAGE_BYTES);

/// A decoded header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) run: RunHeader,
    /// Bytes of data.
    pub(super) len: usize,
    /// Checksum of each block.
    pub(super) blocks: Vec<u32>,
}

/// Where a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) class: Class,
    pub(super) epoch: u64,
    pub(super) offset: u64,
}

/// Checksums of the blocks of `data`.
pub(super) fn block_checksums(data: &[u8]) -> Vec<u32> {
    data.chunks(BLOCK_BYTES).map(crc32c).collect()
}

/// Bytes before the data.
pub(super) fn data_at(class: Class, data_len: usize) -> usize {
    match class {
        Class::Large => PAGE_BYTES,
        Class::Small => FIXED_BYTES + 4 * data_len.div_ceil(BLOCK_BYTES),
    }
}

/// Bytes that the whole record takes.
pub(super) fn len_with(class: Class, data_len: usize) -> usize {
    let align = match class {
        Class::Large => PAGE_BYTES,
        Class::Small => SMALL_ALIGN,
    };
    (data_at(class, data_len) + data_len).next_multiple_of(align)
}

/// The header's bytes, without padding.
pub(super) fn encode(header: &Header, place: Place) -> Vec<u8> {
    let mut out = Writer::with_capacity(FIXED_BYTES + 4 * header.blocks.len());
    out.raw(MAGIC).u32_be(0);
    out.u8(FORMAT).u8(place.class as u8);
    out.u8(header.run.codec).u8(header.run.matrix);
    out.u64_be(place.epoch).u64_be(place.offset);
    header.run.shard.encode(&mut out);
    out.u16_be(header.run.pg.pool.0).u16_be(header.run.pg.index);
    out.u64_be(header.run.offset);
    out.u32_be(u32::try_from(header.len).expect("at most a run"));
    for crc in &header.blocks {
        out.u32_be(*crc);
    }
    let mut bytes = out.finish();
    let crc = crc32c(&bytes[8..]);
    bytes[4..8].copy_from_slice(&crc.to_be_bytes());
    bytes
}

/// Reads the header at the start of `bytes`; `None` when it is not one, or not of this place.
pub(super) fn decode(bytes: &[u8], place: Place) -> Option<Header> {
    if !bytes.starts_with(MAGIC) {
        return None;
    }
    let (header, covered, crc) = parse(bytes, place).ok()?;
    (crc32c(bytes.get(8..covered)?) == crc).then_some(header)
}

/// The epoch of the segment that a good record at this place belongs to.
pub(super) fn epoch_of(bytes: &[u8], class: Class, offset: u64) -> Option<u64> {
    let at = MAGIC.len() + 4 + 4;
    let epoch = bytes.get(at..at + 8)?.try_into().ok()?;
    let epoch = u64::from_be_bytes(epoch);
    let place = Place {
        class,
        epoch,
        offset,
    };
    decode(bytes, place).map(|_| epoch)
}

fn parse(bytes: &[u8], place: Place) -> Result<(Header, usize, u32), DecodeError> {
    let mut from = Reader::new(bytes);
    from.raw(MAGIC.len())?;
    let crc = from.u32_be()?;
    from.version("record", FORMAT)?;
    let class = from.u8()?;
    let (codec, matrix) = (from.u8()?, from.u8()?);
    let (epoch, offset) = (from.u64_be()?, from.u64_be()?);
    if (class, epoch, offset) != (place.class as u8, place.epoch, place.offset) {
        return Err(DecodeError::Invalid("place"));
    }
    let shard = ShardId::decode(&mut from)?;
    let pg = PgId {
        pool: PoolId(from.u16_be()?),
        index: from.u16_be()?,
    };
    let run = RunHeader {
        shard,
        pg,
        offset: from.u64_be()?,
        codec,
        matrix,
    };
    let len = usize::try_from(from.u32_be()?).map_err(|_| DecodeError::Invalid("length"))?;
    if len == 0 || len > SHARD_RUN_BYTES_MAX {
        return Err(DecodeError::Invalid("length"));
    }
    let blocks: Vec<u32> = (0..len.div_ceil(BLOCK_BYTES))
        .map(|_| from.u32_be())
        .collect::<Result<_, _>>()?;
    let covered = FIXED_BYTES + 4 * blocks.len();
    Ok((Header { run, len, blocks }, covered, crc))
}

/// Whether `data`, which begins at block `first` of the run, holds what was written. It ends at
/// the end of a block or of the run.
pub(super) fn blocks_match(header: &Header, first: usize, data: &[u8]) -> bool {
    data.chunks(BLOCK_BYTES)
        .enumerate()
        .all(|(i, block)| header.blocks.get(first + i) == Some(&crc32c(block)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use marram_types::{DataId, GroupId};

    #[test]
    fn a_header_holds_only_at_its_place_and_unchanged() {
        let data = vec![7; BLOCK_BYTES + 5];
        let header = Header {
            run: RunHeader {
                shard: ShardId {
                    data: DataId {
                        group: GroupId(2),
                        begin: 9,
                        random: 1 << 60,
                    },
                    slot: 3,
                    repair: 1,
                },
                pg: PgId {
                    pool: PoolId(6),
                    index: 511,
                },
                offset: 1 << 33,
                codec: 1,
                matrix: 2,
            },
            len: data.len(),
            blocks: block_checksums(&data),
        };
        let place = Place {
            class: Class::Large,
            epoch: 77,
            offset: 4096,
        };
        let bytes = encode(&header, place);
        assert_eq!(bytes.len(), data_at(Class::Small, data.len()));
        assert_eq!(decode(&bytes, place), Some(header.clone()));
        assert!(blocks_match(&header, 0, &data) && blocks_match(&header, 1, &data[BLOCK_BYTES..]));
        for at in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[at] ^= 1;
            assert_eq!(decode(&bad, place), None, "byte {at}");
            assert_eq!(decode(&bytes[..at], place), None, "cut at {at}");
        }
        let elsewhere = Place {
            offset: 8192,
            ..place
        };
        assert_eq!(decode(&bytes, elsewhere), None);
    }
}
