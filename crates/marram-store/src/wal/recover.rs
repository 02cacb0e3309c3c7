//! Reading the log back.
//!
//! A bad record is a torn tail, and is cut, only in the last segment and only when no later record
//! there says that what is before it was durable. Anything else is damage (rules.md 2).
//!
//! What is accepted at the end of the last segment may be in the page cache alone: the process was
//! killed between a write and its sync, or the sync failed and the kernel marked the pages clean.
//! It is written again and synced before anyone may count on it.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use marram_types::GroupId;
use marram_types::codec::{DecodeError, Reader};

use super::log::{Entry, Group, Head, Loc, Log, OnDrive, Segment};
use super::record::{self, Kind, Record};
use super::segment::{self, Header, HeaderError, RECORDS_AT};
use super::{LogPos, WalEntry, WalError};
use crate::vfs::{OpenMode, Vfs, VfsFile};

/// A group while records are replayed: entries may come in any order, because old ones are
/// written again at the head.
#[derive(Default)]
struct Replayed {
    vote: Option<Bytes>,
    committed: Option<Bytes>,
    purged: Option<LogPos>,
    entries: BTreeMap<u64, (LogPos, Loc)>,
}

type Groups = BTreeMap<GroupId, Replayed>;

/// Bytes of the last segment written again at once.
const REWRITE_BYTES: usize = 1024 * 1024;

/// Reads all segments. The caller begins a new one: a cut tail is never written over.
pub(super) fn recover(
    vfs: &dyn Vfs,
    dir: &Path,
    segment_bytes: u64,
    cache_bytes: usize,
) -> Result<Log, WalError> {
    let mut log = Log::new(dir, segment_bytes, cache_bytes);
    let io = |path: &Path, source| WalError::Io {
        path: path.to_owned(),
        source: Arc::new(source),
    };
    let found = segment::list(vfs, dir).map_err(|e| io(dir, e))?;
    let mut opened = Vec::new();
    for seq in found {
        let path = segment::path(dir, seq);
        let file = vfs
            .open(&path, OpenMode::Existing)
            .map_err(|e| io(&path, e))?;
        let header = read_header(&path, file.as_ref(), seq)?;
        opened.push((header, file));
    }
    let mut groups = Groups::new();
    for (i, (header, file)) in opened.iter().enumerate() {
        let next = opened.get(i + 1).map(|(next, _)| next);
        if next.is_some_and(|next| next.seq != header.seq + 1) {
            return Err(damaged(
                dir,
                header.seq,
                0,
                "the segment after it is missing",
            ));
        }
        let end = replay(dir, file.as_ref(), header, next, &mut groups)?;
        log.head = Head {
            seq: header.seq,
            epoch: header.epoch,
            offset: end,
            bytes: header.bytes,
        };
        let segment = Segment {
            epoch: header.epoch,
            bytes: header.bytes,
            file: Some(file.clone()),
            live_entries: 0,
            live_bytes: 0,
        };
        log.segments.insert(header.seq, segment);
    }
    log.written = (log.head.seq, log.head.offset);
    for (group, replayed) in groups {
        let found = check(&log, group, replayed)?;
        for entry in &found.entries {
            log.count(entry.loc);
        }
        log.groups.insert(group, found);
    }
    Ok(log)
}

fn damaged(dir: &Path, seq: u64, offset: u64, what: &'static str) -> WalError {
    WalError::Damaged {
        path: segment::path(dir, seq),
        offset,
        what,
    }
}

fn read_header(path: &Path, file: &dyn VfsFile, seq: u64) -> Result<Header, WalError> {
    let io = |source| WalError::Io {
        path: path.to_owned(),
        source: Arc::new(source),
    };
    let bytes = file
        .read_vec(0, usize::try_from(RECORDS_AT).expect("4 KiB"))
        .map_err(io)?;
    let bad = |what| WalError::Damaged {
        path: path.to_owned(),
        offset: 0,
        what,
    };
    let header = Header::decode(&bytes).map_err(|e| match e {
        HeaderError::Damaged => bad("the segment's header"),
        HeaderError::Newer(found) => WalError::NewerFormat {
            path: path.to_owned(),
            found,
        },
    })?;
    if header.seq != seq {
        return Err(bad("the segment's number"));
    }
    if file.len().map_err(io)? != header.bytes {
        return Err(bad("the segment's length"));
    }
    Ok(header)
}

/// Applies the records of one segment and returns where they end.
fn replay(
    dir: &Path,
    file: &dyn VfsFile,
    header: &Header,
    next: Option<&Header>,
    groups: &mut Groups,
) -> Result<u64, WalError> {
    let end = next.map_or(header.bytes, |next| next.previous_end);
    let len = usize::try_from(end).map_err(|_| damaged(dir, header.seq, 0, "its length"))?;
    let bytes = file.read_vec(0, len).map_err(|source| WalError::Io {
        path: segment::path(dir, header.seq),
        source: Arc::new(source),
    })?;
    let mut offset = RECORDS_AT;
    while let Some(record) = at(&bytes, header.epoch, offset) {
        let loc = Loc {
            seq: header.seq,
            offset,
            len: record.len,
        };
        apply(groups, &record, loc)
            .map_err(|_| damaged(dir, header.seq, offset, "a record of an unknown form"))?;
        offset += record.len as u64;
    }
    if next.is_some() && offset != end {
        return Err(damaged(dir, header.seq, offset, "a durable record"));
    }
    if next.is_none() {
        if later_batch(&bytes, header.epoch, offset) {
            return Err(damaged(dir, header.seq, offset, "a durable record"));
        }
        if bytes[usize::try_from(offset).expect("within the bytes")..]
            .iter()
            .any(|b| *b != 0)
        {
            tracing::warn!(
                segment = header.seq,
                offset,
                "cut a torn tail of the raft log"
            );
        }
        make_durable(file, &bytes, offset).map_err(|source| WalError::Io {
            path: segment::path(dir, header.seq),
            source: Arc::new(source),
        })?;
    }
    Ok(offset)
}

/// Makes the accepted records of the last segment, which end at `end`, durable. A sync alone would
/// not do: pages that an earlier failed sync marked clean are written only when written again.
fn make_durable(file: &dyn VfsFile, bytes: &[u8], end: u64) -> io::Result<()> {
    let end = usize::try_from(end).expect("within the bytes");
    let start = usize::try_from(RECORDS_AT).expect("4 KiB");
    let mut offset = RECORDS_AT;
    for piece in bytes[start..end].chunks(REWRITE_BYTES) {
        file.write_at(offset, piece)?;
        offset += piece.len() as u64;
    }
    file.sync_data()
}

fn at(bytes: &[u8], epoch: u64, offset: u64) -> Option<Record<'_>> {
    let start = usize::try_from(offset).ok()?;
    record::decode(bytes.get(start..)?, epoch, offset)
}

/// Whether a record after `offset` says that what is at `offset` was durable.
fn later_batch(bytes: &[u8], epoch: u64, offset: u64) -> bool {
    // Most of what is left was never written: zeros are skipped without a closer look.
    let unwritten = |later: u64| {
        let start = usize::try_from(later).expect("within the bytes");
        bytes[start..].iter().take(8).all(|b| *b == 0)
    };
    (offset + 8..bytes.len() as u64)
        .step_by(8)
        .filter(|later| !unwritten(*later))
        .any(|later| at(bytes, epoch, later).is_some_and(|record| record.starts_batch))
}

fn apply(groups: &mut Groups, record: &Record<'_>, loc: Loc) -> Result<(), DecodeError> {
    let kind = record.kind.ok_or(DecodeError::Invalid("kind"))?;
    let mut from = Reader::new(record.body);
    if kind == Kind::Mark {
        return Ok(());
    }
    if kind == Kind::Remove {
        groups.remove(&record.group);
        return Ok(());
    }
    let group = groups.entry(record.group).or_default();
    match kind {
        Kind::Entry => {
            let pos = record::decode_pos(&mut from)?;
            group.entries.insert(pos.index, (pos, loc));
        }
        Kind::Vote => group.vote = Some(Bytes::copy_from_slice(record.body)),
        Kind::Committed => group.committed = Some(Bytes::copy_from_slice(record.body)),
        Kind::Truncate => match from.option(Reader::u64_be)? {
            Some(index) => drop(group.entries.split_off(&index.saturating_add(1))),
            None => group.entries.clear(),
        },
        Kind::Purge => group.purge(record::decode_pos(&mut from)?),
        Kind::State => {
            let bytes = |r: &mut Reader<'_>| r.bytes().map(Bytes::copy_from_slice);
            group.vote = from.option(bytes)?;
            group.committed = from.option(bytes)?;
            if let Some(purged) = from.option(record::decode_pos)? {
                group.purge(purged);
            }
        }
        Kind::Remove | Kind::Mark => {}
    }
    Ok(())
}

impl Replayed {
    fn purge(&mut self, pos: LogPos) {
        self.purged = Some(pos);
        self.entries = self.entries.split_off(&pos.index.saturating_add(1));
    }
}

/// Entries must be contiguous and follow what was purged: a hole is a lost segment.
fn check(log: &Log, group: GroupId, replayed: Replayed) -> Result<Group, WalError> {
    let mut next = replayed.purged.map(|pos| pos.index + 1);
    for (index, (_, loc)) in &replayed.entries {
        if next.is_some_and(|next| next != *index) {
            return Err(WalError::Damaged {
                path: log.path(loc.seq),
                offset: loc.offset,
                what: "entries before this one are missing",
            });
        }
        next = Some(index + 1);
    }
    tracing::debug!(%group, entries = replayed.entries.len(), "replayed a raft log");
    let entry = |(pos, loc)| Entry {
        pos,
        loc,
        payload: None,
    };
    Ok(Group {
        vote: replayed.vote,
        committed: replayed.committed,
        purged: replayed.purged,
        entries: replayed.entries.into_values().map(entry).collect(),
    })
}

/// Reads one entry back and checks that it is the one meant.
pub(super) fn read_entry(
    dir: &Path,
    group: GroupId,
    pos: LogPos,
    place: &OnDrive,
) -> Result<WalEntry, WalError> {
    let Loc { seq, offset, len } = place.loc;
    let bytes = place
        .file
        .read_vec(offset, len)
        .map_err(|source| WalError::Io {
            path: segment::path(dir, seq),
            source: Arc::new(source),
        })?;
    let bad = || damaged(dir, seq, offset, "an entry read back");
    let bytes = Bytes::from(bytes);
    let record = record::decode(&bytes, place.epoch, offset).ok_or_else(bad)?;
    let mut from = Reader::new(record.body);
    let found = record::decode_pos(&mut from).map_err(|_| bad())?;
    if (record.kind, record.group, found) != (Some(Kind::Entry), group, pos) {
        return Err(bad());
    }
    Ok(WalEntry {
        pos,
        payload: bytes.slice_ref(from.rest()),
    })
}
