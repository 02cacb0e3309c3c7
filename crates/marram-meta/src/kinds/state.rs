//! `Meta`/`state`: what a group has one of and what every apply touches, in one row.

use marram_types::codec::{DecodeError, Reader, Writer};

use super::event::EventsKept;
use crate::kv::{KvError, KvRead, KvWrite, Table};
use crate::stored::{StateError, Stored, load, store};

/// Version 3 ends with how events are kept; of a group that keeps none, version 2 is written. Version 1
/// was never released and is not read.
const VERSION: u8 = 3;
const WITHOUT_EVENTS_VERSION: u8 = 2;

const KEY: &[u8] = b"state";

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
            Some(_) => VERSION,
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
        if let Some(kept) = &self.events {
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
        };
        if version >= VERSION {
            state.events = Some(EventsKept::decode(from)?);
        }
        Ok(state)
    }
}
