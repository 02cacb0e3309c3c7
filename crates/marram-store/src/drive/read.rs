//! Ranges of shards to bytes. Nothing leaves that was not verified.

use std::io;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use marram_types::ShardId;
use marram_types::caps::BLOCK_BYTES;

use super::index::{RunKey, RunRow, keys_with};
use super::record::{self, Header, PAGE_BYTES, Place};
use super::store::{SegmentFile, Store};
use super::{Class, ReadError, ShardInfo};

/// How often a range is looked up for one read: its records may be moved while it is read, but each move
/// takes a sync.
const PLANS_MAX: usize = 4;

/// A part of one run.
#[derive(PartialEq, Eq)]
pub(super) struct Piece {
    key: RunKey,
    row: RunRow,
    /// Bytes of the run that are wanted.
    from: usize,
    to: usize,
}

/// Reads `len` bytes of a shard from `offset`.
pub(super) fn read(
    store: &Store,
    shard: ShardId,
    offset: u64,
    len: usize,
) -> Result<Bytes, ReadError> {
    let pieces = plan(store, shard, offset, len)?;
    read_planned(store, (shard, offset, len), pieces)
}

/// Reads what was looked up, also where it has gone elsewhere since.
pub(super) fn read_planned(
    store: &Store,
    (shard, offset, len): (ShardId, u64, usize),
    mut pieces: Vec<Piece>,
) -> Result<Bytes, ReadError> {
    for _ in 1..PLANS_MAX {
        let read = read_pieces(store, &pieces, len);
        let Err(error) = read else { return read };
        // Compaction moves records: what was looked up may have gone to another segment since.
        let again = plan(store, shard, offset, len)?;
        if again == pieces {
            return Err(error);
        }
        pieces = again;
    }
    read_pieces(store, &pieces, len)
}

fn read_pieces(store: &Store, pieces: &[Piece], len: usize) -> Result<Bytes, ReadError> {
    let mut pieces = pieces.iter();
    let (Some(first), rest) = (pieces.next(), pieces) else {
        return Ok(Bytes::new());
    };
    let bytes = read_piece(store, first)?;
    if rest.len() == 0 {
        return Ok(bytes);
    }
    let mut all = BytesMut::with_capacity(len);
    all.extend_from_slice(&bytes);
    for piece in rest {
        all.extend_from_slice(&read_piece(store, piece)?);
    }
    Ok(all.freeze())
}

/// Cuts a range into parts of runs, without a gap.
fn plan(store: &Store, shard: ShardId, offset: u64, len: usize) -> Result<Vec<Piece>, ReadError> {
    let end = offset.saturating_add(len as u64);
    let mut at = offset;
    let mut pieces = Vec::new();
    if len == 0 {
        return Ok(pieces);
    }
    for (key, row) in store.index.runs_of_range(shard, offset, end)? {
        let run_end = key.offset + u64::from(row.len);
        if run_end <= at {
            continue;
        }
        if key.offset > at || at >= end {
            break;
        }
        let in_run = |at: u64| usize::try_from(at - key.offset).expect("within a run");
        pieces.push(Piece {
            key,
            row,
            from: in_run(at),
            to: in_run(end.min(run_end)),
        });
        at = run_end;
    }
    if at < end {
        return Err(ReadError::NotFound { shard, offset: at });
    }
    Ok(pieces)
}

/// A lookup of a whole run.
#[cfg(test)]
pub(super) fn planned(key: RunKey, row: RunRow) -> Vec<Piece> {
    let to = usize::try_from(row.len).expect("a run's length fits");
    vec![Piece {
        key,
        row,
        from: 0,
        to,
    }]
}

fn io_error(error: io::Error) -> ReadError {
    ReadError::Io(Arc::new(error))
}

fn read_piece(store: &Store, piece: &Piece) -> Result<Bytes, ReadError> {
    let missing = ReadError::NotFound {
        shard: piece.key.shard,
        offset: piece.key.offset,
    };
    let segment = store.segment(piece.row.segment).map_err(io_error)?;
    let segment = segment.ok_or(missing)?;
    let len = usize::try_from(piece.row.len).expect("a run's length fits");
    let data_at = record::data_at(segment.class, len);
    let first_block = piece.from / BLOCK_BYTES;
    let data_end = piece.to.next_multiple_of(BLOCK_BYTES).min(len);
    // The header lies right before the first block: one read gets both. Of a small record all is
    // read; deep in a large one the header is read by itself.
    let (header, data, first) = if first_block == 0 || segment.class == Class::Small {
        let whole = read_part(store, &segment, piece, 0, data_at + data_end)?;
        (whole.slice(..data_at), whole.slice(data_at..), 0)
    } else {
        let from = first_block * BLOCK_BYTES;
        let header = read_part(store, &segment, piece, 0, PAGE_BYTES)?;
        let data = read_part(store, &segment, piece, data_at + from, data_end - from)?;
        (header, data, first_block)
    };
    let header = check_header(&segment, piece, &header)?;
    if !record::blocks_match(&header, first, &data) {
        return Err(corrupt(piece));
    }
    let start = first * BLOCK_BYTES;
    Ok(data.slice(piece.from - start..piece.to - start))
}

fn corrupt(piece: &Piece) -> ReadError {
    ReadError::Corrupt {
        shard: piece.key.shard,
        offset: piece.key.offset,
    }
}

/// Reads bytes of a record, all of them.
fn read_part(
    store: &Store,
    segment: &SegmentFile,
    piece: &Piece,
    from: usize,
    len: usize,
) -> Result<Bytes, ReadError> {
    let at = u64::from(piece.row.record_offset) + from as u64;
    let bytes = segment.file.read_vec(at, len);
    let bytes = bytes.inspect_err(|error| store.read_failed(error));
    let bytes = bytes.map_err(io_error)?;
    if bytes.len() < len {
        return Err(corrupt(piece));
    }
    Ok(Bytes::from(bytes))
}

/// The record's header, when it is the one that the index means. A page of zeros is a hole: the
/// record was deleted and a crash brought its row back.
fn check_header(segment: &SegmentFile, piece: &Piece, bytes: &[u8]) -> Result<Header, ReadError> {
    let place = Place {
        class: segment.class,
        epoch: segment.epoch,
        offset: u64::from(piece.row.record_offset),
    };
    if let Some(header) = record::decode(bytes, place) {
        let found = (header.run.shard, header.run.offset, header.len as u64);
        if found == (piece.key.shard, piece.key.offset, u64::from(piece.row.len)) {
            return Ok(header);
        }
    } else if segment.class == Class::Large && bytes.iter().all(|b| *b == 0) {
        return Err(ReadError::NotFound {
            shard: piece.key.shard,
            offset: piece.key.offset,
        });
    }
    Err(corrupt(piece))
}

/// Whether the drive holds exactly these bytes for a run that the index names; `None` when what it
/// names cannot be read.
pub(super) fn holds(store: &Store, key: RunKey, row: RunRow, data: &[u8]) -> Option<bool> {
    let to = usize::try_from(row.len).expect("a run's length fits");
    let piece = Piece {
        key,
        row,
        from: 0,
        to,
    };
    read_piece(store, &piece).ok().map(|found| found == data)
}

/// Whether a run that the index names can be read.
pub(super) fn is_sound(store: &Store, key: RunKey, row: RunRow) -> bool {
    let to = usize::try_from(row.len).expect("a run's length fits");
    let piece = Piece {
        key,
        row,
        from: 0,
        to,
    };
    read_piece(store, &piece).is_ok()
}

/// Where the last run of a shard ends. Runs may overlap, so the last key is not enough.
pub(super) fn shard_end(store: &Store, shard: ShardId) -> Result<u64, ReadError> {
    let mut end = 0;
    store.index.scan(keys_with(&shard.to_bytes()), |key, row| {
        end = end.max(key.offset + u64::from(row.len));
        true
    })?;
    Ok(end)
}

/// Up to `limit` shards after `after`.
pub(super) fn list(
    store: &Store,
    after: Option<ShardId>,
    limit: usize,
) -> Result<Vec<ShardInfo>, ReadError> {
    let all = keys_with(&[]);
    // After the last key that a shard can have.
    let start = after.map_or_else(Vec::new, |shard| {
        let mut key = keys_with(&shard.to_bytes()).into_inner().1;
        key.push(0);
        key
    });
    let mut out: Vec<ShardInfo> = Vec::new();
    store.index.scan(start..=all.into_inner().1, |key, row| {
        if let Some(last) = out.last_mut().filter(|last| last.shard == key.shard) {
            last.bytes += u64::from(row.len);
            return true;
        }
        if out.len() == limit {
            return false;
        }
        out.push(ShardInfo {
            shard: key.shard,
            pg: row.pg,
            bytes: u64::from(row.len),
        });
        true
    })?;
    Ok(out)
}
