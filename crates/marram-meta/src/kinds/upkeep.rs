//! `Meta`/`upkeep`: which work in the background is paused in the whole cluster, and of when the newest backup of
//! the metadata is.

use std::cmp::Ordering;

use marram_types::codec::{DecodeError, Reader, Writer};

use crate::refusal::unknown;
use crate::stored::Stored;

/// Version 1 has no pauses of repairs and moves, version 2 no backup, and each is written as long as there are none: what
/// a cluster of an older version stores stays the same on all replicas.
const VERSION: u8 = 3;
const VERSION_WITHOUT_BACKUP: u8 = 2;
const VERSION_WITHOUT: u8 = 1;

pub(crate) const KEY: &[u8] = b"upkeep";

/// Work that can be paused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Pausable {
    /// Garbage collection: while it is paused, no node removes any shard.
    Garbage = 1,
    /// Reading all shards through.
    Scrub = 2,
    /// Bringing data back to what it should be: lost shards, what was on drives that are gone, profiles.
    Repair = 3,
    /// Moving data for balance, and away from what is drained.
    Moves = 4,
}

impl Pausable {
    /// All of it.
    pub const ALL: [Self; 4] = [Self::Garbage, Self::Scrub, Self::Repair, Self::Moves];

    /// Whether a cluster takes it only from [`WORK_PAUSES_SINCE`](crate::WORK_PAUSES_SINCE) on.
    #[must_use]
    pub fn is_newer(self) -> bool {
        matches!(self, Self::Repair | Self::Moves)
    }

    pub(crate) fn from_byte(byte: u8) -> Result<Self, DecodeError> {
        match byte {
            1 => Ok(Self::Garbage),
            2 => Ok(Self::Scrub),
            3 => Ok(Self::Repair),
            4 => Ok(Self::Moves),
            other => Err(unknown("pausable work", other)),
        }
    }
}

/// A whole backup of the metadata, which somebody has read through and keeps somewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackupNote {
    /// When it was begun, in milliseconds since 1970: it holds what was committed before.
    pub made_ms: u64,
    /// Until when everything that it names is kept on the drives.
    pub kept_until_ms: u64,
    /// Its size.
    pub bytes: u64,
    /// Index of the last root command in it.
    pub root_index: u64,
}

impl BackupNote {
    pub(crate) fn encode(&self, out: &mut Writer) {
        out.varint(self.made_ms)
            .varint(self.kept_until_ms)
            .varint(self.bytes)
            .varint(self.root_index);
    }

    pub(crate) fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            made_ms: from.varint()?,
            kept_until_ms: from.varint()?,
            bytes: from.varint()?,
            root_index: from.varint()?,
        })
    }
}

/// What is paused, by leader time in milliseconds since when, and what was backed up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct UpkeepRecord {
    /// Since when no shard is removed.
    pub garbage_paused_ms: Option<u64>,
    /// Since when no drive is scrubbed.
    pub scrub_paused_ms: Option<u64>,
    /// Since when nothing is repaired.
    pub repair_paused_ms: Option<u64>,
    /// Since when nothing is moved.
    pub moves_paused_ms: Option<u64>,
    /// The newest backup of the metadata that the cluster was told of.
    pub backup: Option<BackupNote>,
}

impl UpkeepRecord {
    /// Since when the work is paused, if it is.
    #[must_use]
    pub fn paused(&self, work: Pausable) -> Option<u64> {
        match work {
            Pausable::Garbage => self.garbage_paused_ms,
            Pausable::Scrub => self.scrub_paused_ms,
            Pausable::Repair => self.repair_paused_ms,
            Pausable::Moves => self.moves_paused_ms,
        }
    }

    /// Notes a backup at `now_ms`. An older one than the one that is known changes nothing, and none is of the
    /// future, whatever clock it was dated by. The same one is told of again when what it names is let go
    /// earlier; and while something is kept for the one before, the next one's is, too: holds overlap.
    pub(crate) fn note_backup(&mut self, mut backup: BackupNote, now_ms: u64) {
        backup.made_ms = backup.made_ms.min(now_ms);
        if let Some(known) = self.backup {
            let kept = &mut backup.kept_until_ms;
            match backup.made_ms.cmp(&known.made_ms) {
                Ordering::Less => return,
                Ordering::Equal => *kept = (*kept).min(known.kept_until_ms),
                Ordering::Greater => *kept = (*kept).max(known.kept_until_ms),
            }
        }
        self.backup = Some(backup);
    }

    /// Pauses the work at `now_ms`, or lets it go on. What is paused already stays as it is.
    pub(crate) fn set(&mut self, work: Pausable, paused: bool, now_ms: u64) {
        let since = match work {
            Pausable::Garbage => &mut self.garbage_paused_ms,
            Pausable::Scrub => &mut self.scrub_paused_ms,
            Pausable::Repair => &mut self.repair_paused_ms,
            Pausable::Moves => &mut self.moves_paused_ms,
        };
        *since = paused.then(|| since.unwrap_or(now_ms));
    }
}

impl Stored for UpkeepRecord {
    fn encode(&self, out: &mut Writer) {
        let put = |out: &mut Writer, ms: &u64| {
            out.varint(*ms);
        };
        let newer = [self.repair_paused_ms, self.moves_paused_ms];
        let version = match self.backup {
            Some(_) => VERSION,
            None if newer.iter().any(Option::is_some) => VERSION_WITHOUT_BACKUP,
            None => VERSION_WITHOUT,
        };
        out.u8(version)
            .option(self.garbage_paused_ms.as_ref(), put)
            .option(self.scrub_paused_ms.as_ref(), put);
        for ms in newer.iter().filter(|_| version > VERSION_WITHOUT) {
            out.option(ms.as_ref(), put);
        }
        if let Some(backup) = &self.backup {
            backup.encode(out);
        }
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let version = from.version("upkeep record version", VERSION)?;
        let held = Self {
            garbage_paused_ms: from.option(Reader::varint)?,
            scrub_paused_ms: from.option(Reader::varint)?,
            ..Self::default()
        };
        if version == VERSION_WITHOUT {
            return Ok(held);
        }
        let held = Self {
            repair_paused_ms: from.option(Reader::varint)?,
            moves_paused_ms: from.option(Reader::varint)?,
            ..held
        };
        if version == VERSION_WITHOUT_BACKUP {
            return Ok(held);
        }
        Ok(Self {
            backup: Some(BackupNote::decode(from)?),
            ..held
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_without_newer_pauses_is_what_an_older_release_stores() {
        let mut record = UpkeepRecord::default();
        record.set(Pausable::Scrub, true, 7);
        assert_eq!(record.ser_value(), [VERSION_WITHOUT, 0, 1, 7]);
        for work in Pausable::ALL {
            let mut one = record;
            one.set(work, true, 300);
            one.set(work, true, 400);
            let bytes = one.ser_value();
            let expected = match work.is_newer() {
                true => VERSION_WITHOUT_BACKUP,
                false => VERSION_WITHOUT,
            };
            assert_eq!(bytes[0], expected, "{work:?}");
            assert_eq!(UpkeepRecord::deser_value(&bytes), Ok(one));
            let since = if work == Pausable::Scrub { 7 } else { 300 };
            assert_eq!(one.paused(work), Some(since), "paused once");
            one.set(work, false, 500);
            assert_eq!(one.paused(work), None);
        }
    }

    #[test]
    fn the_newest_backup_is_known_whatever_is_paused() {
        let backup = |made_ms| BackupNote {
            made_ms,
            kept_until_ms: made_ms + 300,
            bytes: 5,
            root_index: 6,
        };
        let mut record = UpkeepRecord::default();
        record.note_backup(backup(100), 1000);
        let bytes = record.ser_value();
        let expected = [VERSION, 0, 0, 0, 0, 100, 0x90, 3, 5, 6];
        assert_eq!(bytes, expected, "this form stays");
        record.set(Pausable::Moves, true, 7);
        record.note_backup(backup(99), 1000);
        assert_eq!(record.backup, Some(backup(100)), "an older one");
        let bytes = record.ser_value();
        assert_eq!(UpkeepRecord::deser_value(&bytes), Ok(record));
        record.note_backup(backup(5000), 1000);
        let known = record.backup.expect("a newer one");
        assert_eq!((known.made_ms, known.kept_until_ms), (1000, 5300));
    }
}
