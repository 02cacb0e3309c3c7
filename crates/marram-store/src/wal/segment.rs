//! Segment files of the log: `<16 hexadecimal digits>.wal`, preallocated.
//!
//! ```text
//! magic "MARRAMWL" | format u8 = 1 | seq u64 | epoch u64 | previous end u64 | bytes u64 | crc32c
//! ... zeros up to 4096, then records
//! ```
//!
//! A file gets its name only when its header is durable, and only after the segment before it is
//! durable up to `previous end`. So a bad header, or a bad record before that end, is damage and
//! never a torn write.
//!
//! Beside the segments lies `reserve`: zeros in the length of a segment. On a full drive it becomes the
//! next one, so that the node can start and take the deletions that make space.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use marram_types::codec::{DecodeError, Reader, Writer};
use marram_types::crc32c;

use crate::vfs::{OpenMode, Vfs, VfsFile};

/// Where records begin.
pub(super) const RECORDS_AT: u64 = 4096;
const MAGIC: &[u8; 8] = b"MARRAMWL";
const FORMAT: u8 = 1;
const HEADER_BYTES: usize = 8 + 1 + 4 * 8 + 4;
/// The file that holds space for the next segment where the drive has none.
const RESERVE_NAME: &str = "reserve";

/// What a segment says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    /// Its number: one more than the segment before.
    pub(super) seq: u64,
    /// Random, part of every record's checksum.
    pub(super) epoch: u64,
    /// Where the records of the segment before end.
    pub(super) previous_end: u64,
    /// Length of this file.
    pub(super) bytes: u64,
}

/// Why a header cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HeaderError {
    Damaged,
    Newer(u8),
}

impl Header {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Writer::with_capacity(HEADER_BYTES);
        out.raw(MAGIC).u8(FORMAT);
        out.u64_be(self.seq).u64_be(self.epoch);
        out.u64_be(self.previous_end).u64_be(self.bytes);
        let crc = crc32c(out.as_slice());
        out.u32_be(crc);
        out.finish()
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, HeaderError> {
        let whole = bytes.get(..HEADER_BYTES).ok_or(HeaderError::Damaged)?;
        let (body, crc) = whole.split_last_chunk::<4>().ok_or(HeaderError::Damaged)?;
        if !body.starts_with(MAGIC) || crc32c(body) != u32::from_be_bytes(*crc) {
            return Err(HeaderError::Damaged);
        }
        match body[MAGIC.len()] {
            FORMAT => fields(&body[MAGIC.len() + 1..]).map_err(|_| HeaderError::Damaged),
            found => Err(HeaderError::Newer(found)),
        }
    }
}

fn fields(bytes: &[u8]) -> Result<Header, DecodeError> {
    let mut from = Reader::new(bytes);
    Ok(Header {
        seq: from.u64_be()?,
        epoch: from.u64_be()?,
        previous_end: from.u64_be()?,
        bytes: from.u64_be()?,
    })
}

pub(super) fn path(dir: &Path, seq: u64) -> PathBuf {
    dir.join(format!("{seq:016x}.wal"))
}

fn temp_path(dir: &Path) -> PathBuf {
    dir.join("next.tmp")
}

fn reserve_path(dir: &Path) -> PathBuf {
    dir.join(RESERVE_NAME)
}

/// The number in a segment's file name; `None` for any other file.
pub(super) fn seq_of(name: &str) -> Option<u64> {
    u64::from_str_radix(name.strip_suffix(".wal")?, 16).ok()
}

/// Numbers of the segments in `dir`, in order; a half-made one is removed.
pub(super) fn list(vfs: &dyn Vfs, dir: &Path) -> io::Result<Vec<u64>> {
    let mut found = Vec::new();
    for name in vfs.list(dir)? {
        if name.ends_with(".tmp") {
            vfs.remove(&dir.join(&name))?;
        } else {
            found.extend(seq_of(&name));
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// Makes a segment durably. Where the drive has no space for it the reserve becomes the segment.
pub(super) fn create(vfs: &dyn Vfs, dir: &Path, header: &Header) -> io::Result<Arc<dyn VfsFile>> {
    let file = blank(vfs, dir, header.bytes)?;
    file.write_at(0, &header.encode())?;
    file.sync_data()?;
    vfs.rename(&temp_path(dir), &path(dir, header.seq))?;
    vfs.sync_dir(dir)?;
    Ok(file)
}

/// A file of zeros at the temporary path, its space allocated.
fn blank(vfs: &dyn Vfs, dir: &Path, bytes: u64) -> io::Result<Arc<dyn VfsFile>> {
    let temp = temp_path(dir);
    let file = vfs.open(&temp, OpenMode::OpenOrCreate)?;
    if file.len()? == bytes {
        // Made by `fitting`: letting its space go would give it to others.
        return Ok(file);
    }
    file.set_len(0)?;
    let Err(error) = file.allocate(bytes) else {
        return Ok(file);
    };
    drop(file);
    // A full drive must not keep the half-made file.
    vfs.remove(&temp)?;
    if !is_full(&error) || reserved(vfs, dir) < bytes {
        return Err(error);
    }
    let reserve = reserve_path(dir);
    let file = vfs.open(&reserve, OpenMode::Existing)?;
    file.set_len(bytes)?;
    vfs.rename(&reserve, &temp)?;
    tracing::warn!(dir = %dir.display(), "the drive is full: the raft log goes on in its reserve");
    Ok(file)
}

/// Whether a lack of space is the cause.
pub(super) fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded)
}

/// How long the next segment can be: `bytes`, or less where the drive has no space for it, down to
/// `bytes_min`. Its space is held until [`create`] takes it.
///
/// # Errors
/// `StorageFull` when not even the shortest fits, else what the operating system says.
pub(super) fn fitting(vfs: &dyn Vfs, dir: &Path, bytes: u64, bytes_min: u64) -> io::Result<u64> {
    let mut fits = bytes;
    loop {
        match blank(vfs, dir, fits) {
            Ok(_) => return Ok(fits),
            Err(error) if !is_full(&error) || fits / 2 < bytes_min => return Err(error),
            Err(_) => fits /= 2,
        }
    }
}

/// Bytes that the reserve holds; 0 where there is none.
pub(super) fn reserved(vfs: &dyn Vfs, dir: &Path) -> u64 {
    let file = vfs.open(&reserve_path(dir), OpenMode::Existing);
    file.and_then(|file| file.len()).unwrap_or(0)
}

/// Holds space for one more segment, so that a node whose drive others have filled can start and go on.
/// Says whether there is such a reserve now.
pub(super) fn keep_reserve(vfs: &dyn Vfs, dir: &Path, bytes: u64) -> bool {
    let path = reserve_path(dir);
    // Not the last space: the states of groups and the index of the drive need some, and would miss it.
    let scarce = || vfs.space(dir).is_ok_and(|space| space.free < 2 * bytes);
    if reserved(vfs, dir) != bytes && scarce() {
        return false;
    }
    let kept = vfs.open(&path, OpenMode::OpenOrCreate).and_then(|file| {
        if file.len()? != bytes {
            // Never written, so it reads as zeros.
            file.set_len(0)?;
            file.allocate(bytes)?;
        }
        Ok(())
    });
    if let Err(error) = &kept {
        tracing::debug!(path = %path.display(), %error, "no space is held for the raft log");
        // Part of it would be of no use to the log, and missed by others.
        drop(vfs.remove(&path));
    }
    kept.is_ok()
}
