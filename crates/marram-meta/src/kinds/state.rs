//! `Meta`/`state`: what a group has one of and what every apply touches, in one row.

use marram_types::codec::{DecodeError, Reader, Writer};

use super::event::EventsKept;
use crate::kv::{KvError, KvRead, KvWrite, Table};
use crate::stored::{StateError, Stored, load, store};

/// Version 4 ends with the long reads that are held, version 3 with how events are kept; of a group without
/// either, version 2 is written. Version 1 was never released and is not read.
const VERSION: u8 = 4;
const WITHOUT_READS_VERSION: u8 = 3;
const WITHOUT_EVENTS_VERSION: u8 = 2;

const KEY: &[u8] = b"state";

/// The long reads of one server (rules.md 28).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HeldReads {
    /// Which, by the number that it drew when it started.
    pub(crate) server: u64,
    /// Data displaced after it stays.
    pub(crate) index: u64,
    /// Leader time since when that index, or an earlier one, is held.
    pub(crate) since_ms: u64,
    /// Until this leader time.
    pub(crate) until_ms: u64,
}

impl Stored for HeldReads {
    fn encode(&self, out: &mut Writer) {
        out.u64_be(self.server)
            .varint(self.index)
            .varint(self.since_ms)
            .varint(self.until_ms);
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            server: from.u64_be()?,
            index: from.varint()?,
            since_ms: from.varint()?,
            until_ms: from.varint()?,
        })
    }
}

/// A group's single values.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct GroupState {
    /// Index of the last command applied.
    pub(crate) applied: u64,
    /// The latest leader time seen; never goes back (rules.md 15).
    pub(crate) time_ms: u64,
    /// Added to an index to make a generation (rules.md 15).
    pub(crate) generation_offset: u64,
    /// Commits begun below it are refused (rules.md 27).
    pub(crate) gc_floor: u64,
    /// Data displaced below it has no readers left (rules.md 28).
    pub(crate) read_floor: u64,
    /// Request records held.
    pub(crate) requests: u64,
    /// No record expires before this time: an apply sweeps only when it has come.
    pub(crate) sweep_ms: u64,
    /// Until this leader time a backup is to find everything that was there at `held_at`.
    pub(crate) held_until_ms: u64,
    /// Data displaced at this index or above stays while it is held.
    pub(crate) held_at: u64,
    /// How events are kept; none: none are.
    pub(crate) events: Option<EventsKept>,
    /// Long reads, by their servers.
    pub(crate) reads: Vec<HeldReads>,
}

impl GroupState {
    pub(crate) fn load(kv: &dyn KvRead) -> Result<Self, StateError> {
        Ok(load(kv, Table::Meta, KEY)?.unwrap_or_default())
    }

    pub(crate) fn store(&self, kv: &mut dyn KvWrite) -> Result<(), KvError> {
        store(kv, Table::Meta, KEY, self)
    }
}

impl Stored for GroupState {
    fn encode(&self, out: &mut Writer) {
        let version = match self.events {
            _ if !self.reads.is_empty() => VERSION,
            Some(_) => WITHOUT_READS_VERSION,
            None => WITHOUT_EVENTS_VERSION,
        };
        out.u8(version)
            .varint(self.applied)
            .varint(self.time_ms)
            .varint(self.generation_offset)
            .varint(self.gc_floor)
            .varint(self.read_floor)
            .varint(self.requests)
            .varint(self.sweep_ms)
            .varint(self.held_until_ms)
            .varint(self.held_at);
        if version == VERSION {
            out.option(self.events.as_ref(), |out, kept| kept.encode(out));
            out.list(&self.reads, |out, held| held.encode(out));
        } else if let Some(kept) = &self.events {
            kept.encode(out);
        }
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let version = from.version("group state version", VERSION)?;
        if version < WITHOUT_EVENTS_VERSION {
            return Err(DecodeError::Unknown {
                what: "group state version",
                found: u64::from(version),
            });
        }
        let mut state = Self {
            applied: from.varint()?,
            time_ms: from.varint()?,
            generation_offset: from.varint()?,
            gc_floor: from.varint()?,
            read_floor: from.varint()?,
            requests: from.varint()?,
            sweep_ms: from.varint()?,
            held_until_ms: from.varint()?,
            held_at: from.varint()?,
            events: None,
            reads: Vec::new(),
        };
        if version == VERSION {
            state.events = from.option(EventsKept::decode)?;
            state.reads = from.list(HeldReads::decode)?;
        } else if version == WITHOUT_READS_VERSION {
            state.events = Some(EventsKept::decode(from)?);
        }
        Ok(state)
    }
}
