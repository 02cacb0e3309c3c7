//! What a node's record says about its being away: by the cluster itself, and by operators for a
//! while. All of it is reversible, and all times are the leader's (rules.md 15).

use marram_types::codec::{DecodeError, Reader, Writer};

use crate::refusal::unknown;

/// A member that did not come back within the grace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lost {
    /// When it was given up, in milliseconds.
    pub since_ms: u64,
    /// What it had is rebuilt elsewhere. Without it only its votes go: there were too few nodes left
    /// to hold its shards.
    pub rebuild: bool,
}

/// What an operator may ask of a node for a limited time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Pause {
    /// It may be away: nothing is rebuilt because of it; others are preferred for leading and writing.
    Maintenance = 1,
    /// It leads no group.
    Leading = 2,
}

impl Pause {
    pub(crate) fn from_byte(byte: u8) -> Result<Self, DecodeError> {
        Ok(match byte {
            1 => Self::Maintenance,
            2 => Self::Leading,
            other => return Err(unknown("pause", other)),
        })
    }
}

/// Whether a node is away with the cluster's knowledge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Absence {
    /// It was given up until it returns.
    pub lost: Option<Lost>,
    /// It is in maintenance until then, in milliseconds.
    pub maintenance_until_ms: Option<u64>,
    /// It leads no group until then, in milliseconds.
    pub leads_not_until_ms: Option<u64>,
}

impl Absence {
    /// Until when it is paused in this way. It is until an entry ends it: who reads this needs no clock.
    #[must_use]
    pub fn until_ms(&self, pause: Pause) -> Option<u64> {
        match pause {
            Pause::Maintenance => self.maintenance_until_ms,
            Pause::Leading => self.leads_not_until_ms,
        }
    }

    /// Whether others shall lead instead.
    #[must_use]
    pub fn leads_not(&self) -> bool {
        self.maintenance_until_ms.is_some() || self.leads_not_until_ms.is_some()
    }

    pub(crate) fn set(&mut self, pause: Pause, until_ms: Option<u64>) {
        match pause {
            Pause::Maintenance => self.maintenance_until_ms = until_ms,
            Pause::Leading => self.leads_not_until_ms = until_ms,
        }
    }

    pub(crate) fn encode(&self, out: &mut Writer) {
        let time = |out: &mut Writer, time: &u64| {
            out.varint(*time);
        };
        out.option(self.lost.as_ref(), |out, lost| {
            out.varint(lost.since_ms).bool(lost.rebuild);
        })
        .option(self.maintenance_until_ms.as_ref(), time)
        .option(self.leads_not_until_ms.as_ref(), time);
    }

    pub(crate) fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            lost: from.option(|from| {
                Ok(Lost {
                    since_ms: from.varint()?,
                    rebuild: from.bool()?,
                })
            })?,
            maintenance_until_ms: from.option(Reader::varint)?,
            leads_not_until_ms: from.option(Reader::varint)?,
        })
    }
}
