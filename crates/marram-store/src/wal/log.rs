//! The log as it is in memory, under one lock. Nothing here touches a file except the moving of
//! old entries; the writer does the rest.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use marram_types::GroupId;
use marram_types::codec::Writer;

use super::record::{self, Kind};
use super::segment::{self, Header, RECORDS_AT};
use super::{GroupState, LogPos, Op, Pending, WalEntry, WalError, recover};
use crate::vfs::VfsFile;

/// With more segments than this, a mostly dead oldest one is emptied by writing its live entries
/// again: an idle group must not keep the whole log.
const SEGMENTS_BEFORE_MOVING: usize = 4;
/// A segment with at most one part in this many of live bytes is mostly dead.
const MOSTLY_DEAD: u64 = 4;
/// Payloads in memory by count, stale ones included.
const CACHED_ITEMS_MAX: usize = 64 * 1024;

/// Where a record lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Loc {
    pub(super) seq: u64,
    pub(super) offset: u64,
    pub(super) len: usize,
}

/// An entry in the index.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) pos: LogPos,
    pub(super) loc: Loc,
    /// Kept while it is recent or not yet written.
    pub(super) payload: Option<Bytes>,
}

/// One Raft group.
#[derive(Debug, Default)]
pub(super) struct Group {
    pub(super) vote: Option<Bytes>,
    pub(super) committed: Option<Bytes>,
    pub(super) purged: Option<LogPos>,
    /// Contiguous by index.
    pub(super) entries: VecDeque<Entry>,
}

impl Group {
    fn last(&self) -> Option<LogPos> {
        self.entries
            .back()
            .map_or(self.purged, |entry| Some(entry.pos))
    }

    /// Place of an index in `entries`, when it is there or before.
    fn slot(&self, index: u64) -> usize {
        let first = self.entries.front().map_or(0, |entry| entry.pos.index);
        let slot = usize::try_from(index.saturating_sub(first)).unwrap_or(usize::MAX);
        slot.min(self.entries.len())
    }
}

/// One segment.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) epoch: u64,
    /// Length of its file.
    pub(super) bytes: u64,
    /// `None` until the writer has made it.
    pub(super) file: Option<Arc<dyn VfsFile>>,
    pub(super) live_entries: u64,
    pub(super) live_bytes: u64,
}

/// Where the next record goes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Head {
    pub(super) seq: u64,
    pub(super) epoch: u64,
    pub(super) offset: u64,
    /// Where its file ends.
    pub(super) bytes: u64,
}

/// What a reader does to get an entry's payload.
pub(super) enum Place {
    Memory(Bytes),
    Drive(OnDrive),
}

/// A written record.
pub(super) struct OnDrive {
    pub(super) file: Arc<dyn VfsFile>,
    pub(super) epoch: u64,
    pub(super) loc: Loc,
}

pub(super) struct Log {
    pub(super) dir: PathBuf,
    pub(super) groups: BTreeMap<GroupId, Group>,
    pub(super) segments: BTreeMap<u64, Segment>,
    pub(super) segment_bytes: u64,
    pub(super) head: Head,
    pub(super) pending: Pending,
    /// Records before this place are in their files, so their payloads may leave memory.
    pub(super) written: (u64, u64),
    pub(super) failed: Option<WalError>,
    pub(super) closing: bool,
    /// Payloads in memory, oldest first; an item whose entry has moved or gone is stale.
    cached: VecDeque<(GroupId, u64, Loc)>,
    cached_bytes: usize,
    cache_bytes_max: usize,
}

impl Log {
    pub(super) fn new(dir: &Path, segment_bytes: u64, cache_bytes_max: usize) -> Self {
        Self {
            dir: dir.to_owned(),
            groups: BTreeMap::new(),
            segments: BTreeMap::new(),
            segment_bytes,
            head: Head {
                seq: 0,
                epoch: 0,
                offset: 0,
                bytes: 0,
            },
            pending: Pending::default(),
            written: (0, 0),
            failed: None,
            closing: false,
            cached: VecDeque::new(),
            cached_bytes: 0,
            cache_bytes_max,
        }
    }

    pub(super) fn usable(&self) -> Result<(), WalError> {
        match &self.failed {
            Some(error) => Err(error.clone()),
            None if self.closing => Err(WalError::Closed),
            None => Ok(()),
        }
    }

    pub(super) fn state(&self, group: GroupId) -> GroupState {
        self.groups
            .get(&group)
            .map_or_else(GroupState::default, |g| GroupState {
                vote: g.vote.clone(),
                committed: g.committed.clone(),
                purged: g.purged,
                last: g.last(),
            })
    }

    pub(super) fn append(
        &mut self,
        group: GroupId,
        entries: Vec<WalEntry>,
    ) -> Result<(), WalError> {
        self.check_order(group, &entries)?;
        for WalEntry { pos, payload } in entries {
            let loc = self.put_entry(group, pos, &payload)?;
            self.cached.push_back((group, pos.index, loc));
            self.cached_bytes += payload.len();
            self.groups
                .entry(group)
                .or_default()
                .entries
                .push_back(Entry {
                    pos,
                    loc,
                    payload: Some(payload),
                });
        }
        self.evict();
        Ok(())
    }

    fn check_order(&self, group: GroupId, entries: &[WalEntry]) -> Result<(), WalError> {
        let known = self.groups.get(&group);
        let mut last = known.and_then(Group::last).map(|pos| pos.index);
        for entry in entries {
            let index = entry.pos.index;
            // An empty log may begin anywhere: the first entry is 0 or follows a snapshot.
            if last.is_some_and(|last| index != last + 1) {
                return Err(WalError::Gap { group, index, last });
            }
            last = Some(index);
        }
        Ok(())
    }

    pub(super) fn save_vote(&mut self, group: GroupId, vote: Bytes) -> Result<(), WalError> {
        self.put(group, Kind::Vote, &[&vote])?;
        self.groups.entry(group).or_default().vote = Some(vote);
        Ok(())
    }

    pub(super) fn save_committed(&mut self, group: GroupId, at: Bytes) -> Result<(), WalError> {
        self.put(group, Kind::Committed, &[&at])?;
        self.groups.entry(group).or_default().committed = Some(at);
        Ok(())
    }

    pub(super) fn truncate_after(
        &mut self,
        group: GroupId,
        index: Option<u64>,
    ) -> Result<(), WalError> {
        let mut body = Writer::new();
        body.option(index.as_ref(), |w, v| {
            w.u64_be(*v);
        });
        self.put(group, Kind::Truncate, &[body.as_slice()])?;
        let Some(found) = self.groups.get_mut(&group) else {
            return Ok(());
        };
        let keep = index.map_or(0, |index| found.slot(index.saturating_add(1)));
        let gone = found.entries.split_off(keep);
        self.forget(gone);
        self.collect();
        Ok(())
    }

    pub(super) fn purge(&mut self, group: GroupId, pos: LogPos) -> Result<(), WalError> {
        let known = self.groups.get(&group).and_then(|g| g.purged);
        if known.is_some_and(|purged| purged.index >= pos.index) {
            return Ok(());
        }
        let mut body = Writer::new();
        record::encode_pos(&mut body, pos);
        self.put(group, Kind::Purge, &[body.as_slice()])?;
        let found = self.groups.entry(group).or_default();
        found.purged = Some(pos);
        let keep = found
            .entries
            .split_off(found.slot(pos.index.saturating_add(1)));
        let gone = std::mem::replace(&mut found.entries, keep);
        self.forget(gone);
        self.collect();
        Ok(())
    }

    pub(super) fn remove_group(&mut self, group: GroupId) -> Result<(), WalError> {
        self.put(group, Kind::Remove, &[])?;
        if let Some(gone) = self.groups.remove(&group) {
            self.forget(gone.entries);
        }
        self.collect();
        Ok(())
    }

    /// After an orderly close a bad last batch is damage, not a torn tail: this record says so.
    pub(super) fn mark(&mut self) {
        if self.head.offset + record::len_with(0) as u64 <= self.head.bytes {
            self.put_here(GroupId::ROOT, Kind::Mark, &[]);
        }
    }

    pub(super) fn find(
        &self,
        group: GroupId,
        range: Range<u64>,
        max_bytes: usize,
    ) -> Vec<(LogPos, Place)> {
        let Some(found) = self.groups.get(&group) else {
            return Vec::new();
        };
        let slots = found.slot(range.start)..found.slot(range.end);
        let mut out = Vec::new();
        let mut bytes = 0;
        for entry in found.entries.range(slots.start..slots.end.max(slots.start)) {
            bytes += entry.loc.len;
            if bytes > max_bytes && !out.is_empty() {
                break;
            }
            out.push((entry.pos, self.place(entry)));
        }
        out
    }

    fn place(&self, entry: &Entry) -> Place {
        if let Some(payload) = &entry.payload {
            return Place::Memory(payload.clone());
        }
        let segment = &self.segments[&entry.loc.seq];
        Place::Drive(OnDrive {
            file: segment
                .file
                .clone()
                .expect("a payload leaves memory only once written"),
            epoch: segment.epoch,
            loc: entry.loc,
        })
    }

    fn put_entry(&mut self, group: GroupId, pos: LogPos, payload: &[u8]) -> Result<Loc, WalError> {
        let mut head = Writer::with_capacity(24);
        record::encode_pos(&mut head, pos);
        let loc = self.put(group, Kind::Entry, &[head.as_slice(), payload])?;
        self.count(loc);
        Ok(loc)
    }

    /// Queues a record, in a new segment when this one is full.
    fn put(&mut self, group: GroupId, kind: Kind, body: &[&[u8]]) -> Result<Loc, WalError> {
        let bytes = record::len_with(body.iter().map(|part| part.len()).sum());
        if self.head.offset + bytes as u64 > self.head.bytes {
            if RECORDS_AT + bytes as u64 > self.segment_bytes {
                return Err(WalError::TooLarge { bytes });
            }
            self.begin_segment(self.segment_bytes);
            self.move_old_entries()?;
            if self.head.offset + bytes as u64 > self.head.bytes {
                return Err(WalError::TooLarge { bytes });
            }
        }
        Ok(self.put_here(group, kind, body))
    }

    /// Queues a record that fits the head segment.
    fn put_here(&mut self, group: GroupId, kind: Kind, body: &[&[u8]]) -> Loc {
        let Head {
            seq, epoch, offset, ..
        } = self.head;
        let starts_batch = self.pending.ops.is_empty();
        if !matches!(self.pending.ops.back(), Some(Op::Write { seq: s, .. }) if *s == seq) {
            let bytes = Vec::new();
            self.pending.ops.push_back(Op::Write { seq, offset, bytes });
        }
        let Some(Op::Write { bytes, .. }) = self.pending.ops.back_mut() else {
            unreachable!("pushed just above");
        };
        let before = bytes.len();
        record::encode(bytes, (epoch, offset), (group, kind, starts_batch), body);
        let len = bytes.len() - before;
        self.pending.bytes += len;
        self.head.offset += len as u64;
        Loc { seq, offset, len }
    }

    /// Ends the head segment and begins the next, of so many bytes, with the state of every group.
    pub(super) fn begin_segment(&mut self, bytes: u64) {
        let header = Header {
            seq: self.head.seq + 1,
            epoch: rand::random(),
            previous_end: self.head.offset,
            bytes,
        };
        let segment = Segment {
            epoch: header.epoch,
            bytes,
            file: None,
            live_entries: 0,
            live_bytes: 0,
        };
        self.segments.insert(header.seq, segment);
        self.head = Head {
            seq: header.seq,
            epoch: header.epoch,
            offset: RECORDS_AT,
            bytes,
        };
        self.pending.ops.push_back(Op::Create { header });
        for group in self.groups.keys().copied().collect::<Vec<_>>() {
            let body = self.encode_state(group);
            self.put_here(group, Kind::State, &[&body]);
        }
    }

    /// What a new segment begins with: no segment may be shorter.
    pub(super) fn first_bytes(&self) -> u64 {
        let states = self.groups.keys().map(|group| self.encode_state(*group));
        let records = states.map(|state| record::len_with(state.len()) as u64);
        RECORDS_AT + records.sum::<u64>()
    }

    fn encode_state(&self, group: GroupId) -> Vec<u8> {
        let state = self.state(group);
        let mut out = Writer::new();
        out.option(state.vote.as_ref(), |w, v| {
            w.bytes(v);
        });
        out.option(state.committed.as_ref(), |w, v| {
            w.bytes(v);
        });
        out.option(state.purged.as_ref(), |w, v| record::encode_pos(w, *v));
        out.finish()
    }

    /// Writes the live entries of a mostly dead oldest segment again, so that it can go. At most
    /// a quarter of a segment, once per segment.
    fn move_old_entries(&mut self) -> Result<(), WalError> {
        let Some((&oldest, segment)) = self.segments.first_key_value() else {
            return Ok(());
        };
        if self.segments.len() <= SEGMENTS_BEFORE_MOVING
            || segment.live_bytes > self.segment_bytes / MOSTLY_DEAD
        {
            return Ok(());
        }
        for group in self.groups.keys().copied().collect::<Vec<_>>() {
            for slot in 0..self.groups[&group].entries.len() {
                let entry = &self.groups[&group].entries[slot];
                if entry.loc.seq == oldest {
                    let (pos, place) = (entry.pos, self.place(entry));
                    let payload = match place {
                        Place::Memory(payload) => payload,
                        Place::Drive(at) => {
                            recover::read_entry(&self.dir, group, pos, &at)?.payload
                        }
                    };
                    self.move_entry(group, slot, payload);
                }
            }
        }
        self.collect();
        Ok(())
    }

    fn move_entry(&mut self, group: GroupId, slot: usize, payload: Bytes) {
        let old = &self.groups[&group].entries[slot];
        let (pos, old_loc) = (old.pos, old.loc);
        let was_cached = old.payload.is_some();
        let mut head = Writer::with_capacity(24);
        record::encode_pos(&mut head, pos);
        let loc = self.put_here(group, Kind::Entry, &[head.as_slice(), &payload]);
        self.uncount(old_loc);
        self.count(loc);
        self.cached.push_back((group, pos.index, loc));
        if !was_cached {
            self.cached_bytes += payload.len();
        }
        let found = self
            .groups
            .get_mut(&group)
            .expect("looked up by the caller");
        found.entries[slot].loc = loc;
        found.entries[slot].payload = Some(payload);
    }

    pub(super) fn count(&mut self, loc: Loc) {
        let segment = self
            .segments
            .get_mut(&loc.seq)
            .expect("an entry's segment is known");
        segment.live_entries += 1;
        segment.live_bytes += loc.len as u64;
    }

    fn uncount(&mut self, loc: Loc) {
        let segment = self
            .segments
            .get_mut(&loc.seq)
            .expect("an entry's segment is known");
        segment.live_entries -= 1;
        segment.live_bytes -= loc.len as u64;
    }

    /// Takes removed entries out of the accounts.
    fn forget(&mut self, gone: VecDeque<Entry>) {
        for entry in gone {
            self.uncount(entry.loc);
            self.cached_bytes -= entry.payload.map_or(0, |payload| payload.len());
        }
    }

    /// Queues the deletion of segments without live entries, oldest first: a later segment may
    /// hold a truncation that an earlier one needs.
    pub(super) fn collect(&mut self) {
        while let Some((&seq, segment)) = self.segments.first_key_value() {
            if seq == self.head.seq || segment.live_entries > 0 {
                break;
            }
            self.segments.remove(&seq);
            self.pending.ops.push_back(Op::Delete { seq });
        }
    }

    /// Lets payloads go, oldest first, until the cache fits; never one that is not written.
    pub(super) fn evict(&mut self) {
        while self.cached_bytes > self.cache_bytes_max || self.cached.len() > CACHED_ITEMS_MAX {
            let Some((group, index, loc)) = self.cached.front().copied() else {
                break;
            };
            if (loc.seq, loc.offset + loc.len as u64) > self.written {
                break;
            }
            self.cached.pop_front();
            let Some(found) = self.groups.get_mut(&group) else {
                continue;
            };
            let slot = found.slot(index);
            if let Some(entry) = found.entries.get_mut(slot)
                && (entry.pos.index, entry.loc) == (index, loc)
                && let Some(payload) = entry.payload.take()
            {
                self.cached_bytes -= payload.len();
            }
        }
    }

    /// Path of a segment, for errors.
    pub(super) fn path(&self, seq: u64) -> PathBuf {
        segment::path(&self.dir, seq)
    }
}
