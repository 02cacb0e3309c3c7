//! openraft's log storage over the node's shared write-ahead log.
//!
//! An append returns once the entries can be read and completes when they are durable; the log
//! completes in order and syncs once for whatever all groups have gathered. A read that fails
//! fails hard: openraft once took a missing entry for the beginning of the log and damaged a
//! follower.

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, Range, RangeBounds};
use std::sync::Arc;

use bytes::Bytes;
use futures::Stream;
use futures::stream;
use marram_store::wal::{GroupState, LogPos, Wal, WalEntry};
use marram_trace::Step;
use marram_types::GroupId;
use openraft::entry::RaftEntry;
use openraft::storage::{IOFlushed, RaftLogStorage};
use openraft::{LogState, OptionalSend, RaftLogReader};
use tokio::sync::oneshot;

use crate::codec;
use crate::traced::Traced;
use crate::types::{Entry, LogId, TypeConfig, Vote, log_id};

/// Bytes of entries read for one append message at most (one entry is sent whatever its size).
pub(crate) const APPEND_BYTES_MAX: usize = 2 << 20;
/// Entries read at a time when committed entries are applied.
const APPLY_ENTRIES_READ: u64 = 512;

/// One group's view of the shared log. Clones share it.
#[derive(Clone)]
pub(crate) struct LogStore {
    wal: Wal,
    group: GroupId,
    traced: Arc<Traced>,
}

impl LogStore {
    /// The log of `group`.
    pub(crate) fn new(wal: Wal, group: GroupId) -> Self {
        Self {
            wal,
            group,
            traced: Arc::default(),
        }
    }

    /// The same, which tells how long entries of recorded proposals took to be durable.
    pub(crate) fn traced(self, traced: Arc<Traced>) -> Self {
        Self { traced, ..self }
    }

    fn indexes(&self, range: &impl RangeBounds<u64>) -> Range<u64> {
        let start = match range.start_bound() {
            Bound::Included(at) => *at,
            Bound::Excluded(at) => at + 1,
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(at) => at + 1,
            Bound::Excluded(at) => *at,
            Bound::Unbounded => self.state().last.map_or(0, |last| last.index + 1),
        };
        start..end.max(start)
    }

    fn state(&self) -> GroupState {
        self.wal.state(self.group)
    }

    /// Entries of `range`, from its beginning, as many as `max_bytes` allow. What lies before the
    /// purged or after the last entry is left out; a hole is an error.
    pub(crate) fn read(&self, range: Range<u64>, max_bytes: usize) -> io::Result<Vec<Entry>> {
        let mut state = self.state();
        loop {
            match self.read_at(&state, range.clone(), max_bytes) {
                Ok(entries) => return entries.into_iter().map(entry_from_wal).collect(),
                Err(error) => {
                    let before = std::mem::replace(&mut state, self.state());
                    // Entries were purged while they were read: the rest is what there is.
                    if before.purged == state.purged {
                        return Err(error);
                    }
                }
            }
        }
    }

    fn read_at(
        &self,
        state: &GroupState,
        range: Range<u64>,
        max_bytes: usize,
    ) -> io::Result<Vec<WalEntry>> {
        let first = state.purged.map_or(0, |purged| purged.index + 1);
        let after = state.last.map_or(0, |last| last.index + 1);
        let range = range.start.max(first)..range.end.min(after);
        if range.is_empty() {
            return Ok(Vec::new());
        }
        let mut expected = range.start;
        let read = self.wal.read(self.group, range, max_bytes);
        let entries = read.map_err(failed)?;
        match (entries.first(), state.purged) {
            // A log that was never purged begins where it begins: openraft's suite starts late.
            (Some(entry), None) => expected = entry.pos.index,
            (None, None) => return Ok(Vec::new()),
            (None, Some(_)) => return Err(hole(expected)),
            (Some(_), Some(_)) => {}
        }
        let mut consecutive = (expected..).zip(&entries);
        match consecutive.find(|(index, entry)| entry.pos.index != *index) {
            Some((index, _)) => Err(hole(index)),
            None => Ok(entries),
        }
    }
}

impl RaftLogReader<TypeConfig> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry>, io::Error> {
        self.read(self.indexes(&range), usize::MAX)
    }

    async fn entries_stream<RB>(
        &mut self,
        range: RB,
    ) -> impl Stream<Item = Result<Entry, io::Error>> + OptionalSend
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        // In pieces: a replica that was away for long applies many entries, and they need not be
        // in memory all at once.
        let log = self.clone();
        let range = self.indexes(&range);
        let pieces = stream::unfold(Some(range), move |range| {
            let piece = range.filter(|range| !range.is_empty()).map(|range| {
                let end = range.end.min(range.start + APPLY_ENTRIES_READ);
                match log.read(range.start..end, usize::MAX) {
                    Ok(entries) if entries.is_empty() => (Vec::new(), None),
                    Ok(entries) => (entries.into_iter().map(Ok).collect(), Some(end..range.end)),
                    Err(error) => (vec![Err(error)], None),
                }
            });
            std::future::ready(piece)
        });
        futures::StreamExt::flat_map(pieces, stream::iter)
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        let stored = self.state().vote;
        stored
            .map(|vote| codec::vote_from_bytes(&vote).map_err(failed))
            .transpose()
    }

    async fn limited_get_log_entries(
        &mut self,
        start: u64,
        end: u64,
    ) -> Result<Vec<Entry>, io::Error> {
        self.read(start..end, APPEND_BYTES_MAX)
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, io::Error> {
        let state = self.state();
        let purged = state.purged.map(from_pos);
        Ok(LogState {
            last_log_id: state.last.map(from_pos).or(purged),
            last_purged_log_id: purged,
        })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        let (durable, saved) = oneshot::channel();
        let stored = codec::vote_to_bytes(vote);
        let done = Box::new(move |result: Result<(), _>| {
            let _ = durable.send(result.map_err(failed));
        });
        self.wal.save_vote(self.group, stored, done);
        saved.await.map_err(failed)?
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), io::Error> {
        // Not synced: after a crash of the machine it may be older, and the leader tells it anew.
        let stored = codec::log_id_to_bytes(committed.as_ref());
        self.wal.save_committed(self.group, stored).map_err(failed)
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, io::Error> {
        match self.state().committed {
            None => Ok(None),
            Some(stored) => codec::log_id_from_bytes(&stored).map_err(failed),
        }
    }

    async fn append<I>(&mut self, entries: I, done: IOFlushed<TypeConfig>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<WalEntry> = entries
            .into_iter()
            .map(|entry| entry_to_wal(&entry))
            .collect();
        let stored = entries.iter().map(|entry| entry.payload.clone());
        let spans = self.traced.begin(stored, || {
            Step::new("raft log").with("entries", entries.len())
        });
        let done = Box::new(move |result: Result<(), _>| {
            drop(spans);
            done.io_completed(result.map_err(failed));
        });
        self.wal.append(self.group, entries, done);
        Ok(())
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> Result<(), io::Error> {
        let last = last.map(|last| last.index);
        self.wal.truncate_after(self.group, last).map_err(failed)
    }

    async fn purge(&mut self, upto: LogId) -> Result<(), io::Error> {
        self.wal.purge(self.group, to_pos(&upto)).map_err(failed)
    }
}

pub(crate) fn to_pos(id: &LogId) -> LogPos {
    LogPos {
        term: id.leader_id.term,
        node: id.leader_id.node_id,
        index: id.index,
    }
}

fn from_pos(pos: LogPos) -> LogId {
    log_id(pos.term, pos.node, pos.index)
}

fn entry_to_wal(entry: &Entry) -> WalEntry {
    WalEntry {
        pos: to_pos(&entry.log_id),
        payload: codec::payload_to_bytes(&entry.payload),
    }
}

fn entry_from_wal(entry: WalEntry) -> io::Result<Entry> {
    let payload = codec::payload_from_bytes(entry.payload).map_err(failed)?;
    Ok(Entry::new(from_pos(entry.pos), payload))
}

fn hole(index: u64) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("the log has no entry {index} between entries that it has"),
    )
}

fn failed(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::other(error)
}

/// The stored form is what the network sends, too.
pub(crate) fn stored_form(entry: &Entry) -> Bytes {
    codec::payload_to_bytes(&entry.payload)
}
