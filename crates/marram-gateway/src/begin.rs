//! Begin tokens of writes (placement-protocol.md 1), remembered for a moment.
//!
//! A begin index may be too low but never too high: it is what `gc_floor` is compared with, and the
//! floor lags by far more than a token is kept here. So writes that follow one another share one.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use marram_meta::{ObjectAnswer, ObjectQuery};
use marram_metrics::Phase;
use marram_types::{BucketId, DataId, GroupId};
use parking_lot::Mutex;

use crate::core::Core;
use crate::groups::GroupError;

/// How long a token is shared; the shortest `gc.floor_lag` of tests is several times longer.
const TOKEN_AGE_MAX: Duration = Duration::from_millis(500);

/// The last token of each group.
#[derive(Debug, Default)]
pub(crate) struct BeginCache(Mutex<HashMap<GroupId, (u64, Instant)>>);

impl BeginCache {
    fn recent(&self, group: GroupId) -> Option<u64> {
        let known = self.0.lock();
        let (index, taken) = known.get(&group)?;
        (taken.elapsed() < TOKEN_AGE_MAX).then_some(*index)
    }

    fn keep(&self, group: GroupId, index: u64, taken: Instant) {
        self.0.lock().insert(group, (index, taken));
    }

    /// Drops a token that turned out to be too old.
    pub(crate) fn forget(&self, group: GroupId) {
        self.0.lock().remove(&group);
    }
}

/// The begin of one write: fresh data ids come from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Begin {
    group: GroupId,
    index: u64,
}

impl Begin {
    /// Asks the group, unless it was asked a moment ago. Any replica's applied index will do.
    pub(crate) async fn at(
        core: &Core,
        group: GroupId,
        bucket: BucketId,
    ) -> Result<Self, GroupError> {
        let known = core.begins.recent(group);
        core.calls.begin_was_known(known.is_some());
        if let Some(index) = known {
            return Ok(Self { group, index });
        }
        let taken = Instant::now();
        let answer = core
            .ask(group, &ObjectQuery::Begin { bucket }, false)
            .await?;
        let ObjectAnswer::Begin(begin) = answer else {
            return Err(GroupError::Kind(group));
        };
        core.group_time.saw(group, begin.time_ms);
        core.calls.phase(Phase::Begin, taken.elapsed());
        core.begins.keep(group, begin.index, taken);
        Ok(Self {
            group,
            index: begin.index,
        })
    }

    /// A data id that nobody has used (rules.md 17).
    pub(crate) fn data_id(self) -> DataId {
        DataId {
            group: self.group,
            begin: self.index,
            random: rand::random(),
        }
    }
}
