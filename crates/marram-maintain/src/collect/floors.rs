//! How far a floor may rise: to an index that the group had applied a lag ago.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// Samples taken in one lag: a floor is behind by at most this part of the lag more than asked for.
const SAMPLES_PER_LAG: u32 = 16;

/// How far the floors of the object groups stay behind (rules.md 27, 28).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GcLags {
    /// A write may take so long from its begin to its commit.
    pub floor: Duration,
    /// A reader may take so long from its look-up to its last byte.
    pub readers: Duration,
    /// Uploads that began before a node was to be emptied are waited for so long (rules.md 25).
    pub drain: Duration,
}

impl Default for GcLags {
    fn default() -> Self {
        Self {
            floor: Duration::from_hours(24),
            readers: Duration::from_mins(15),
            drain: Duration::from_mins(10),
        }
    }
}

/// A floor that stays a lag behind the group. It counts by the clock of the process, which no hand
/// sets: a leader whose wall clock jumps must not refuse the uploads of a day.
#[derive(Debug)]
pub(super) struct Lagging {
    lag: Duration,
    /// When the group was seen to have applied which index, oldest first.
    samples: VecDeque<(Instant, u64)>,
}

impl Lagging {
    pub(super) fn new(lag: Duration) -> Self {
        Self {
            lag,
            samples: VecDeque::new(),
        }
    }

    /// Whether it is time for another sample.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.samples
            .back()
            .is_none_or(|(at, _)| now.saturating_duration_since(*at) >= self.lag / SAMPLES_PER_LAG)
    }

    /// Notes that the group had applied `index` before `at`: what begins after `at` begins at this
    /// index or above.
    pub(super) fn note(&mut self, at: Instant, index: u64) {
        if !self.is_due(at) {
            return;
        }
        self.samples.push_back((at, index));
        // One sample that is old enough will do; the next one replaces it when its time comes.
        while self.samples.get(1).is_some_and(|s| self.is_old(at, *s)) {
            self.samples.pop_front();
        }
    }

    /// The highest index that the group is known to have applied a lag before `now`; 0 while there
    /// is none.
    pub(super) fn reached(&self, now: Instant) -> u64 {
        let old = self.samples.iter().rev().find(|s| self.is_old(now, **s));
        old.map_or(0, |(_, index)| *index)
    }

    fn is_old(&self, now: Instant, (at, _): (Instant, u64)) -> bool {
        now.saturating_duration_since(at) >= self.lag
    }
}

/// Whether anything happens in a group beside the collector's own entries.
#[derive(Debug, Default)]
pub(super) struct Activity {
    /// The applied index at the last look.
    applied: u64,
    /// Entries that the collector itself had the group apply since.
    own: u64,
    /// The applied index by which somebody else's entry was seen last.
    busy_at: u64,
}

impl Activity {
    /// Notes entries of the collector itself.
    pub(super) fn proposed(&mut self, entries: u64) {
        self.own += entries;
    }

    /// Notes how far the group is. An entry of the collector whose answer was lost counts as
    /// somebody else's.
    pub(super) fn seen(&mut self, applied: u64) {
        if applied > self.applied + self.own {
            self.busy_at = applied;
        }
        self.applied = applied;
        self.own = 0;
    }

    /// Nothing was done by others that the floor of readers has yet to pass.
    pub(super) fn is_idle(&self, read_floor: u64) -> bool {
        self.busy_at < read_floor
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_idle_when_the_floor_has_passed_what_others_did() {
        let mut activity = Activity::default();
        activity.seen(100);
        assert!(
            !activity.is_idle(100),
            "what was done at 100 has yet to be passed"
        );
        activity.proposed(1);
        activity.seen(101);
        assert!(activity.is_idle(101));
        activity.proposed(2);
        activity.seen(103);
        assert!(activity.is_idle(101), "the collector's own entries");
        activity.proposed(1);
        activity.seen(105);
        assert!(!activity.is_idle(104), "somebody else was here");
    }

    /// A group that applies at an uneven pace, sampled at an uneven pace: the floor never passes
    /// what had been applied a lag ago, and comes close to it.
    #[test]
    fn floors_stay_a_lag_behind_and_follow() {
        let (start, lag) = (Instant::now(), Duration::from_secs(160));
        let mut floor = Lagging::new(lag);
        // By second, the applied index.
        let applied: Vec<u64> = (0..1000_u64).map(|s| s * s % 7 + 3 * s).collect();
        let mut risen = 0;
        for (second, index) in (0_u64..).zip(&applied) {
            let now = start + Duration::from_secs(second);
            if second % 3 == 0 || second % 7 == 0 {
                floor.note(now, *index);
            }
            let reached = floor.reached(now);
            assert!(reached >= risen, "floors only rise");
            risen = reached;
            let most = second.checked_sub(160).map_or(0, |old| {
                let old = usize::try_from(old).expect("small");
                applied[..=old].iter().copied().max().unwrap_or(0)
            });
            assert!(reached <= most, "second {second}: {reached} above {most}");
            if second > 180 {
                assert!(
                    reached + 3 * 16 > most,
                    "second {second}: {reached}, {most}"
                );
            }
            assert!(floor.samples.len() <= 20, "samples are bounded");
        }
    }

    #[test]
    fn without_old_samples_there_is_no_floor() {
        let start = Instant::now();
        let mut floor = Lagging::new(Duration::from_secs(10));
        assert!(floor.is_due(start));
        assert_eq!(floor.reached(start), 0);
        floor.note(start, 5);
        assert_eq!(floor.reached(start + Duration::from_millis(9_999)), 0);
        assert_eq!(floor.reached(start + Duration::from_secs(10)), 5);
    }
}
