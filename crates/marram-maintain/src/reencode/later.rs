//! What cannot be done now, and until when it is left alone: longer with each try.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use marram_types::{DataId, NodeId};

use super::ReencodingError;

/// The first pause after a try that failed.
const FIRST: Duration = Duration::from_secs(3);
/// The longest one. A try that finds no place for the new data reads nothing.
const LONGEST: Duration = Duration::from_secs(60);
/// The pause where only a node had no time.
const BUSY: Duration = Duration::from_secs(1);
/// Extents that are remembered; of others each pass tries again.
const EXTENTS_MAX: usize = 100_000;

/// Extents that wait.
#[derive(Debug, Default)]
pub(super) struct Later {
    waits: BTreeMap<DataId, Wait>,
    /// The nodes that answered when they were last looked at.
    up: BTreeSet<NodeId>,
}

#[derive(Debug, Clone, Copy)]
struct Wait {
    until: Instant,
    tries: u32,
}

impl Later {
    /// Whether an extent is to be left alone.
    pub(super) fn contains(&self, data: DataId, now: Instant) -> bool {
        self.waits.get(&data).is_some_and(|wait| wait.until > now)
    }

    /// Looks at the nodes that answer: with others everything may fare better.
    pub(super) fn look_at(&mut self, up: BTreeSet<NodeId>) {
        if self.up != up {
            self.up = up;
            self.waits.clear();
        }
    }

    /// Notes a try that failed.
    pub(super) fn failed(&mut self, data: DataId, why: ReencodingError, now: Instant) {
        let known = self.waits.get(&data).map_or(0, |wait| wait.tries);
        let (pause, tries) = match why {
            ReencodingError::Busy | ReencodingError::UnderWay => (BUSY, known),
            ReencodingError::Away | ReencodingError::NotNow => {
                let longer = FIRST.saturating_mul(1 << known.min(16));
                (longer.min(LONGEST), known.saturating_add(1))
            }
        };
        if self.waits.len() < EXTENTS_MAX || self.waits.contains_key(&data) {
            let until = now + pause;
            self.waits.insert(data, Wait { until, tries });
        }
    }

    /// Forgets an extent that is done.
    pub(super) fn done(&mut self, data: DataId) {
        self.waits.remove(&data);
    }

    /// Forgets extents whose time came long ago: they are gone, or another server is at them.
    pub(super) fn forget_due(&mut self, now: Instant) {
        self.waits.retain(|_, wait| wait.until + LONGEST > now);
    }
}

#[cfg(test)]
mod tests {
    use marram_types::GroupId;

    use super::*;

    #[test]
    fn pauses_grow_to_a_limit_and_end_with_success() {
        let mut later = Later::default();
        let data = DataId {
            group: GroupId(1),
            begin: 1,
            random: 1,
        };
        let mut now = Instant::now();
        assert!(!later.contains(data, now));
        let mut pauses = Vec::new();
        for _ in 0..9 {
            later.failed(data, ReencodingError::NotNow, now);
            let mut pause = 0;
            while later.contains(data, now) {
                now += Duration::from_secs(1);
                pause += 1;
            }
            later.forget_due(now);
            pauses.push(pause);
        }
        assert_eq!(pauses, [3, 6, 12, 24, 48, 60, 60, 60, 60]);
        later.failed(data, ReencodingError::Busy, now);
        assert!(later.contains(data, now) && !later.contains(data, now + BUSY));
        later.look_at(BTreeSet::from([NodeId(1)]));
        assert!(!later.contains(data, now), "a node has come");
        later.failed(data, ReencodingError::NotNow, now);
        later.look_at(BTreeSet::from([NodeId(1)]));
        assert!(later.contains(data, now));
        later.done(data);
        later.failed(data, ReencodingError::Away, now);
        assert!(!later.contains(data, now + FIRST));
        later.forget_due(now + FIRST + LONGEST);
        assert!(later.waits.is_empty());
    }
}
