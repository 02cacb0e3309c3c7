//! How far the scrub of a drive is: kept with the drive, so that a restart goes on where the last
//! process was. Pure.
//!
//! ```text
//! format u8 = 1 | stage u8 and its cursor | since u64 | findings of this pass
//! | option of the last full pass: began u64, ended u64, findings
//! ```

use marram_types::codec::{DecodeError, Reader, Writer};
use marram_types::{DataId, GroupId, PgId, PoolId, ShardId};

const FORMAT: u8 = 1;

/// A run of a shard, as a place in the order in which a drive is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RunPlace {
    /// Whose bytes.
    pub shard: ShardId,
    /// Offset of the run's first byte in the shard.
    pub offset: u64,
}

/// What a pass does, and where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScrubStage {
    /// No pass is under way.
    Resting,
    /// Everything on the drive is read, in the order of its runs.
    Reading {
        /// The run read last.
        after: Option<RunPlace>,
    },
    /// What the groups say to be on the drive is looked for, group by group.
    Comparing {
        /// The group that is asked now.
        group: GroupId,
        /// The extent that was compared last.
        after: Option<(PgId, DataId)>,
    },
}

/// What a pass has read and found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ScrubFindings {
    /// Runs that were read.
    pub runs: u64,
    /// Bytes that were read.
    pub bytes: u64,
    /// Shards that the groups say to be on the drive, as far as they were compared.
    pub compared: u64,
    /// Runs that are not what was written.
    pub damaged: u64,
    /// Runs that the drive does not give any more.
    pub unreadable: u64,
    /// Runs whose file is gone.
    pub gone: u64,
    /// Shards that a group says to be there and that were not.
    pub missing: u64,
    /// Shards that are to be repaired because of all that.
    pub tickets: u64,
    /// Headers of segments that were written anew.
    pub mended: u64,
}

impl ScrubFindings {
    /// Whether anything was not as it should be.
    #[must_use]
    pub fn any(&self) -> bool {
        self.damaged + self.unreadable + self.gone + self.missing + self.mended > 0
    }

    fn numbers(&self) -> [u64; 9] {
        [
            self.runs,
            self.bytes,
            self.compared,
            self.damaged,
            self.unreadable,
            self.gone,
            self.missing,
            self.tickets,
            self.mended,
        ]
    }

    fn encode(&self, out: &mut Writer) {
        for number in self.numbers() {
            out.varint(number);
        }
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            runs: from.varint()?,
            bytes: from.varint()?,
            compared: from.varint()?,
            damaged: from.varint()?,
            unreadable: from.varint()?,
            gone: from.varint()?,
            missing: from.varint()?,
            tickets: from.varint()?,
            mended: from.varint()?,
        })
    }
}

/// A pass that went through everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FullPass {
    /// When it began, in milliseconds since 1970.
    pub began_ms: u64,
    /// When it ended.
    pub ended_ms: u64,
    /// What it read and found.
    pub found: ScrubFindings,
}

/// How far the scrub of a drive is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScrubNote {
    /// What is being done.
    pub stage: ScrubStage,
    /// When that began, in milliseconds since 1970.
    pub since_ms: u64,
    /// What the pass under way has found.
    pub found: ScrubFindings,
    /// The last full pass.
    pub last: Option<FullPass>,
}

impl ScrubNote {
    /// A drive that nothing is known of: its first pass comes when its time is over.
    #[must_use]
    pub fn fresh(now_ms: u64) -> Self {
        Self {
            stage: ScrubStage::Resting,
            since_ms: now_ms,
            found: ScrubFindings::default(),
            last: None,
        }
    }

    /// Whether a pass is under way.
    #[must_use]
    pub fn is_under_way(&self) -> bool {
        self.stage != ScrubStage::Resting
    }

    /// Whether it is time for a pass. A clock that was set back delays it by `every_ms` at most.
    #[must_use]
    pub fn is_due(&self, now_ms: u64, every_ms: u64) -> bool {
        !self.is_under_way() && now_ms.saturating_sub(self.since_ms) >= every_ms
    }

    /// Begins a pass.
    pub(super) fn begin(&mut self, now_ms: u64) {
        self.stage = ScrubStage::Reading { after: None };
        self.since_ms = now_ms;
        self.found = ScrubFindings::default();
    }

    /// Ends the pass.
    pub(super) fn end(&mut self, now_ms: u64) -> FullPass {
        let pass = FullPass {
            began_ms: self.since_ms,
            ended_ms: now_ms,
            found: self.found,
        };
        self.last = Some(pass);
        self.stage = ScrubStage::Resting;
        self.since_ms = now_ms;
        pass
    }

    /// The stored form.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::with_capacity(160);
        out.u8(FORMAT);
        match self.stage {
            ScrubStage::Resting => {
                out.u8(1);
            }
            ScrubStage::Reading { after } => {
                out.u8(2).option(after.as_ref(), |out, at| {
                    at.shard.encode(out);
                    out.u64_be(at.offset);
                });
            }
            ScrubStage::Comparing { group, after } => {
                out.u8(3)
                    .u16_be(group.0)
                    .option(after.as_ref(), |out, (pg, data)| {
                        out.u16_be(pg.pool.0).u16_be(pg.index);
                        data.encode(out);
                    });
            }
        }
        out.u64_be(self.since_ms);
        self.found.encode(&mut out);
        out.option(self.last.as_ref(), |out, pass| {
            out.u64_be(pass.began_ms).u64_be(pass.ended_ms);
            pass.found.encode(out);
        });
        out.finish()
    }

    /// Reads what [`Self::encode`] wrote.
    ///
    /// # Errors
    /// When the bytes are damaged or of a newer release.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut from = Reader::new(bytes);
        from.version("scrub note", FORMAT)?;
        let stage = match from.u8()? {
            1 => ScrubStage::Resting,
            2 => ScrubStage::Reading {
                after: from.option(|from| {
                    Ok(RunPlace {
                        shard: ShardId::decode(from)?,
                        offset: from.u64_be()?,
                    })
                })?,
            },
            3 => ScrubStage::Comparing {
                group: GroupId(from.u16_be()?),
                after: from.option(|from| {
                    let pg = PgId {
                        pool: PoolId(from.u16_be()?),
                        index: from.u16_be()?,
                    };
                    Ok((pg, DataId::decode(from)?))
                })?,
            },
            _ => return Err(DecodeError::Invalid("stage of a scrub")),
        };
        let note = Self {
            stage,
            since_ms: from.u64_be()?,
            found: ScrubFindings::decode(&mut from)?,
            last: from.option(|from| {
                Ok(FullPass {
                    began_ms: from.u64_be()?,
                    ended_ms: from.u64_be()?,
                    found: ScrubFindings::decode(from)?,
                })
            })?,
        };
        from.finish()?;
        Ok(note)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(random: u64) -> DataId {
        DataId {
            group: GroupId(3),
            begin: 9,
            random,
        }
    }

    #[test]
    fn every_stage_is_read_back_and_no_cut_of_it() {
        let shard = ShardId {
            data: data(4),
            slot: 2,
            repair: 0,
        };
        let pg = PgId {
            pool: PoolId(6),
            index: 511,
        };
        let stages = [
            ScrubStage::Resting,
            ScrubStage::Reading { after: None },
            ScrubStage::Reading {
                after: Some(RunPlace { shard, offset: 7 }),
            },
            ScrubStage::Comparing {
                group: GroupId(8),
                after: None,
            },
            ScrubStage::Comparing {
                group: GroupId(8),
                after: Some((pg, data(5))),
            },
        ];
        for stage in stages {
            let mut note = ScrubNote::fresh(77);
            note.found.damaged = 3;
            let _pass = note.end(99);
            note.stage = stage;
            note.found.missing = 300;
            let bytes = note.encode();
            assert_eq!(ScrubNote::decode(&bytes), Ok(note));
            for cut in 0..bytes.len() {
                assert!(ScrubNote::decode(&bytes[..cut]).is_err());
            }
        }
    }

    #[test]
    fn a_pass_is_due_after_its_time_and_not_twice() {
        let mut note = ScrubNote::fresh(1_000);
        assert!(!note.is_due(1_999, 1_000) && note.is_due(2_000, 1_000));
        assert!(!note.is_due(0, 1_000), "the clock was set back");
        note.begin(2_000);
        assert!(!note.is_due(u64::MAX, 1_000), "it is under way");
        let pass = note.end(2_500);
        assert_eq!((pass.began_ms, pass.ended_ms), (2_000, 2_500));
        assert!(!note.is_due(3_000, 1_000) && note.is_due(3_500, 1_000));
    }
}
