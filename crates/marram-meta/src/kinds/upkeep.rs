//! `Meta`/`upkeep`: which work in the background is paused in the whole cluster.

use marram_types::codec::{DecodeError, Reader, Writer};

use crate::refusal::unknown;
use crate::stored::{Stored, only_version};

const VERSION: u8 = 1;

pub(crate) const KEY: &[u8] = b"upkeep";

/// Work that can be paused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Pausable {
    /// Garbage collection: while it is paused, no node removes any shard.
    Garbage = 1,
    /// Reading all shards through.
    Scrub = 2,
}

impl Pausable {
    pub(crate) fn from_byte(byte: u8) -> Result<Self, DecodeError> {
        match byte {
            1 => Ok(Self::Garbage),
            2 => Ok(Self::Scrub),
            other => Err(unknown("pausable work", other)),
        }
    }
}

/// What is paused, by leader time in milliseconds since when.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct UpkeepRecord {
    /// Since when no shard is removed.
    pub garbage_paused_ms: Option<u64>,
    /// Since when no drive is scrubbed.
    pub scrub_paused_ms: Option<u64>,
}

impl UpkeepRecord {
    /// Since when the work is paused, if it is.
    #[must_use]
    pub fn paused(&self, work: Pausable) -> Option<u64> {
        match work {
            Pausable::Garbage => self.garbage_paused_ms,
            Pausable::Scrub => self.scrub_paused_ms,
        }
    }

    /// Pauses the work at `now_ms`, or lets it go on. What is paused already stays as it is.
    pub(crate) fn set(&mut self, work: Pausable, paused: bool, now_ms: u64) {
        let since = match work {
            Pausable::Garbage => &mut self.garbage_paused_ms,
            Pausable::Scrub => &mut self.scrub_paused_ms,
        };
        *since = paused.then(|| since.unwrap_or(now_ms));
    }
}

impl Stored for UpkeepRecord {
    fn encode(&self, out: &mut Writer) {
        let put = |out: &mut Writer, ms: &u64| {
            out.varint(*ms);
        };
        out.u8(VERSION)
            .option(self.garbage_paused_ms.as_ref(), put)
            .option(self.scrub_paused_ms.as_ref(), put);
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        only_version(from, "upkeep record version", VERSION)?;
        Ok(Self {
            garbage_paused_ms: from.option(Reader::varint)?,
            scrub_paused_ms: from.option(Reader::varint)?,
        })
    }
}
