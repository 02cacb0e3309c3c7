//! Segment files of a drive: `segments/<16 hexadecimal digits>.large` or `.small`.
//!
//! ```text
//! header page   magic "MARRAMSG" | format u8 = 1 | class u8 | seq u64 | epoch u64 | drive u64
//!               | bytes u64 | crc32c u32, padded to 4 KiB
//! records       see record
//! when sealed:  footer, padded to 4 KiB, then a page that says where the footer is
//! footer        magic "MARRAMFT" | count | (shard, run offset, pg, record offset, length)... | crc
//! last page     magic "MARRAMFL" | footer offset u64 | footer bytes u64 | epoch u64 | crc
//! ```
//!
//! A file gets its name only when its header is durable.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use marram_types::codec::{DecodeError, Reader, Writer};
use marram_types::{DriveId, PgId, PoolId, ShardId, crc32c};

use super::Class;
use super::index::{RunKey, RunRow};
use super::record::PAGE_BYTES;
use crate::vfs::{OpenMode, Vfs, VfsFile};

/// Where records begin.
pub(super) const RECORDS_AT: u64 = PAGE_BYTES as u64;
const MAGIC: &[u8; 8] = b"MARRAMSG";
const FOOTER_MAGIC: &[u8; 8] = b"MARRAMFT";
const LAST_MAGIC: &[u8; 8] = b"MARRAMFL";
const FORMAT: u8 = 1;
const HEADER_BYTES: usize = 8 + 1 + 1 + 4 * 8 + 4;
/// Bytes of one run in a footer.
pub(super) const FOOTER_RUN_BYTES: u64 = (ShardId::BYTES + 8 + 4 + 4 + 4) as u64;
/// Bytes of a footer beside its runs: its own frame, padding, and the last page.
pub(super) const FOOTER_FIXED_BYTES: u64 = 3 * PAGE_BYTES as u64;

/// What a segment says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) class: Class,
    pub(super) seq: u64,
    /// Random, part of every record.
    pub(super) epoch: u64,
    pub(super) drive: DriveId,
    /// Length of the file while it is open for writing.
    pub(super) bytes: u64,
}

impl Header {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Writer::with_capacity(HEADER_BYTES);
        out.raw(MAGIC).u8(FORMAT).u8(self.class as u8);
        out.u64_be(self.seq).u64_be(self.epoch);
        out.u64_be(self.drive.0).u64_be(self.bytes);
        seal(out)
    }

    /// `None` when the bytes are not a header that this release can use.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let body = unseal(bytes.get(..HEADER_BYTES)?, MAGIC)?;
        Self::fields(body).ok()
    }

    fn fields(body: &[u8]) -> Result<Self, DecodeError> {
        let mut from = Reader::new(body);
        from.version("segment", FORMAT)?;
        let class = match from.u8()? {
            1 => Class::Large,
            2 => Class::Small,
            _ => return Err(DecodeError::Invalid("class")),
        };
        let header = Self {
            class,
            seq: from.u64_be()?,
            epoch: from.u64_be()?,
            drive: DriveId(from.u64_be()?),
            bytes: from.u64_be()?,
        };
        from.finish()?;
        Ok(header)
    }
}

/// Appends the checksum of everything before.
fn seal(out: Writer) -> Vec<u8> {
    let mut bytes = out.finish();
    let crc = crc32c(&bytes);
    bytes.extend_from_slice(&crc.to_be_bytes());
    bytes
}

/// What lies between the magic and the checksum, when both are right.
fn unseal<'a>(bytes: &'a [u8], magic: &[u8; 8]) -> Option<&'a [u8]> {
    let (body, crc) = bytes.split_last_chunk::<4>()?;
    let inner = body.strip_prefix(magic)?;
    (crc32c(body) == u32::from_be_bytes(*crc)).then_some(inner)
}

pub(super) fn path(dir: &Path, class: Class, seq: u64) -> PathBuf {
    dir.join(format!("{seq:016x}.{}", class.suffix()))
}

/// Numbers and classes of the segments in `dir`, in order; half-made ones are removed.
pub(super) fn list(vfs: &dyn Vfs, dir: &Path) -> io::Result<Vec<(u64, Class)>> {
    let mut found = Vec::new();
    for name in vfs.list(dir)? {
        let Some((stem, suffix)) = name.split_once('.') else {
            continue;
        };
        if suffix == "tmp" {
            vfs.remove(&dir.join(&name))?;
            continue;
        }
        let class = [Class::Large, Class::Small]
            .into_iter()
            .find(|class| class.suffix() == suffix);
        if let (Some(class), Ok(seq)) = (class, u64::from_str_radix(stem, 16)) {
            found.push((seq, class));
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// Why a segment could not be made or sealed.
#[derive(Debug, thiserror::Error)]
pub(super) enum SegmentError {
    /// The operating system refused before any sync.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A sync of the file or its folder failed: the drive is not to be trusted (rules.md 21).
    #[error("a sync failed: {0}")]
    Sync(#[source] io::Error),
}

/// Makes a segment durably.
pub(super) fn create(
    vfs: &dyn Vfs,
    dir: &Path,
    header: &Header,
) -> Result<Arc<dyn VfsFile>, SegmentError> {
    let temp = dir.join(format!("{:016x}.tmp", header.seq));
    let file = vfs.open(&temp, OpenMode::OpenOrCreate)?;
    let made = (|| {
        file.set_len(0)?;
        file.allocate(header.bytes)?;
        file.write_at(0, &header.encode())?;
        file.sync_data().map_err(SegmentError::Sync)?;
        vfs.rename(&temp, &path(dir, header.class, header.seq))?;
        vfs.sync_dir(dir).map_err(SegmentError::Sync)
    })();
    if let Err(error) = made {
        // A full drive must not keep the half-made file; opening removes it if this fails too.
        drop(vfs.remove(&temp));
        return Err(error);
    }
    Ok(file)
}

/// Writes the footer of a full segment at `end` and gives the rest of the file back.
pub(super) fn write_footer(
    file: &dyn VfsFile,
    epoch: u64,
    end: u64,
    runs: &[(RunKey, RunRow)],
) -> Result<(), SegmentError> {
    let mut out = Writer::new();
    out.raw(FOOTER_MAGIC).u64_be(runs.len() as u64);
    for (key, row) in runs {
        key.shard.encode(&mut out);
        out.u64_be(key.offset);
        out.u16_be(row.pg.pool.0).u16_be(row.pg.index);
        out.u32_be(row.record_offset).u32_be(row.len);
    }
    let footer = seal(out);
    let at = end.next_multiple_of(RECORDS_AT);
    let last_at = (at + footer.len() as u64).next_multiple_of(RECORDS_AT);
    let mut last = Writer::new();
    last.raw(LAST_MAGIC).u64_be(at);
    last.u64_be(footer.len() as u64).u64_be(epoch);
    file.write_at(at, &footer)?;
    file.write_at(last_at, &seal(last))?;
    file.set_len(last_at + RECORDS_AT)?;
    file.sync_data().map_err(SegmentError::Sync)
}

/// Reads the footer of a sealed segment; `None` when there is no good one.
pub(super) fn read_footer(
    file: &dyn VfsFile,
    seq: u64,
    epoch: u64,
) -> io::Result<Option<Vec<(RunKey, RunRow)>>> {
    let len = file.len()?;
    let last_bytes = 8 + 3 * 8 + 4;
    let last = file.read_vec(len.saturating_sub(RECORDS_AT), last_bytes)?;
    let Some(body) = unseal(&last, LAST_MAGIC) else {
        return Ok(None);
    };
    let mut from = Reader::new(body);
    let (Ok(at), Ok(bytes), Ok(found)) = (from.u64_be(), from.u64_be(), from.u64_be()) else {
        return Ok(None);
    };
    let Some(bytes) = usize::try_from(bytes).ok().filter(|b| *b as u64 <= len) else {
        return Ok(None);
    };
    if found != epoch {
        return Ok(None);
    }
    let footer = file.read_vec(at, bytes)?;
    Ok(unseal(&footer, FOOTER_MAGIC).and_then(|body| footer_runs(body, seq).ok()))
}

fn footer_runs(body: &[u8], seq: u64) -> Result<Vec<(RunKey, RunRow)>, DecodeError> {
    let mut from = Reader::new(body);
    let count = from.u64_be()?;
    let mut runs = Vec::new();
    for _ in 0..count {
        let key = RunKey {
            shard: ShardId::decode(&mut from)?,
            offset: from.u64_be()?,
        };
        let pg = PgId {
            pool: PoolId(from.u16_be()?),
            index: from.u16_be()?,
        };
        let row = RunRow {
            segment: seq,
            record_offset: from.u32_be()?,
            len: from.u32_be()?,
            pg,
        };
        runs.push((key, row));
    }
    from.finish()?;
    Ok(runs)
}
