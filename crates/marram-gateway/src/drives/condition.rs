//! What this gateway has lately experienced with drives: which are full, which did not answer, how
//! long things take. Only hints for plans and deadlines; nothing is decided by them.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use marram_types::DriveId;
use parking_lot::Mutex;

use super::DriveError;

/// How long a full drive is left out of plans before it is tried again.
const FULL_FOR: Duration = Duration::from_secs(5);
/// How long a drive that failed is left out of plans: so long that the writes that follow do not
/// wait for it too, so short that a drive that is back is used.
const SUSPECT_FOR: Duration = Duration::from_secs(2);
/// How long a drive that was overtaken by others is read from last.
const SLOW_FOR: Duration = Duration::from_secs(1);
/// Shortest deadline of a run or a fetch.
const DEADLINE_MIN: Duration = Duration::from_secs(3);
/// Longest deadline: under any load, a drive that needs more is replaced.
const DEADLINE_MAX: Duration = Duration::from_secs(20);
/// A call may take this many times as long as calls took lately: a busy machine is not a failed
/// drive.
const DEADLINE_FACTOR: u32 = 10;
/// Shortest and longest wait for a fetch before another shard is asked beside it.
const HEDGE_MIN: Duration = Duration::from_millis(20);
const HEDGE_MAX: Duration = Duration::from_secs(1);
/// A fetch dawdles when it takes this many times as long as fetches took lately.
const HEDGE_FACTOR: u32 = 3;
/// Fetches that earn one hedged fetch: hedging adds 5 % of load at most.
const FETCHES_PER_HEDGE: u32 = 20;
/// Hedged fetches that may be saved up.
const HEDGES_SAVED_MAX: u32 = 20;

/// Why a drive is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Suspicion {
    /// Since when.
    pub(crate) since: Instant,
    /// The node did not answer; nothing is known about the drive.
    pub(crate) away: bool,
}

/// Recent experience with drives.
#[derive(Debug, Default)]
pub(crate) struct Conditions(Mutex<Inner>);

#[derive(Debug)]
struct Inner {
    full: HashMap<DriveId, Instant>,
    suspect: HashMap<DriveId, Suspicion>,
    slow: HashMap<DriveId, Instant>,
    /// Running means of how long runs and fetches took.
    run_time: Duration,
    fetch_time: Duration,
    /// What hedging may cost, in fetches.
    earned: u32,
}

impl Default for Inner {
    fn default() -> Self {
        Self {
            full: HashMap::new(),
            suspect: HashMap::new(),
            slow: HashMap::new(),
            run_time: Duration::ZERO,
            fetch_time: Duration::ZERO,
            earned: HEDGES_SAVED_MAX * FETCHES_PER_HEDGE,
        }
    }
}

fn mean(before: Duration, took: Duration) -> Duration {
    (before * 7 + took) / 8
}

fn holds(marks: &HashMap<DriveId, Instant>, drive: DriveId) -> bool {
    marks.get(&drive).is_some_and(|till| *till > Instant::now())
}

impl Conditions {
    /// A run became durable after `took`.
    pub(crate) fn run_succeeded(&self, drive: DriveId, took: Duration) {
        let mut inner = self.0.lock();
        inner.run_time = mean(inner.run_time, took);
        inner.full.remove(&drive);
        inner.suspect.remove(&drive);
    }

    /// A fetch was answered after `took`.
    pub(crate) fn fetch_succeeded(&self, took: Duration) {
        let mut inner = self.0.lock();
        inner.fetch_time = mean(inner.fetch_time, took);
        inner.earned = (inner.earned + 1).min(HEDGES_SAVED_MAX * FETCHES_PER_HEDGE);
    }

    /// A run or a fetch failed.
    pub(crate) fn failed(&self, drive: DriveId, error: DriveError) {
        let now = Instant::now();
        let mut inner = self.0.lock();
        if error == DriveError::Full {
            inner.full.insert(drive, now + FULL_FOR);
        } else {
            let away = error == DriveError::Away;
            inner.suspect.insert(drive, Suspicion { since: now, away });
        }
    }

    /// Others answered before this drive did, though they were asked later.
    pub(crate) fn overtaken(&self, drive: DriveId) {
        let till = Instant::now() + SLOW_FOR;
        self.0.lock().slow.insert(drive, till);
    }

    /// Whether a drive was full a moment ago.
    pub(crate) fn is_full(&self, drive: DriveId) -> bool {
        holds(&self.0.lock().full, drive)
    }

    /// Whether a drive failed a moment ago, and why.
    pub(crate) fn suspicion(&self, drive: DriveId) -> Option<Suspicion> {
        let suspicion = self.0.lock().suspect.get(&drive).copied();
        suspicion.filter(|suspicion| suspicion.since.elapsed() < SUSPECT_FOR)
    }

    /// Whether a drive was overtaken a moment ago.
    pub(crate) fn is_slow(&self, drive: DriveId) -> bool {
        holds(&self.0.lock().slow, drive)
    }

    /// How long the next run may take.
    pub(crate) fn run_deadline(&self) -> Duration {
        let usual = self.0.lock().run_time;
        (usual * DEADLINE_FACTOR).clamp(DEADLINE_MIN, DEADLINE_MAX)
    }

    /// How long the next fetch may take.
    pub(crate) fn fetch_deadline(&self) -> Duration {
        let usual = self.0.lock().fetch_time;
        (usual * DEADLINE_FACTOR).clamp(DEADLINE_MIN, DEADLINE_MAX)
    }

    /// After how long a fetch dawdles.
    pub(crate) fn hedge_after(&self) -> Duration {
        let usual = self.0.lock().fetch_time;
        (usual * HEDGE_FACTOR).clamp(HEDGE_MIN, HEDGE_MAX)
    }

    /// Spends what `fetches` hedged fetches cost, where so much was earned.
    pub(crate) fn may_hedge(&self, fetches: usize) -> bool {
        let cost = u32::try_from(fetches).map_or(u32::MAX, |n| n.saturating_mul(FETCHES_PER_HEDGE));
        let mut inner = self.0.lock();
        match inner.earned.checked_sub(cost) {
            Some(left) => {
                inner.earned = left;
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_success_clears_what_was_held_against_a_drive() {
        let seen = Conditions::default();
        seen.failed(DriveId(1), DriveError::Full);
        seen.failed(DriveId(2), DriveError::Late);
        assert!(seen.is_full(DriveId(1)) && seen.suspicion(DriveId(1)).is_none());
        assert!(seen.suspicion(DriveId(2)).is_some() && !seen.is_full(DriveId(2)));
        seen.run_succeeded(DriveId(1), Duration::ZERO);
        seen.run_succeeded(DriveId(2), Duration::ZERO);
        assert!(!seen.is_full(DriveId(1)) && seen.suspicion(DriveId(2)).is_none());
    }

    #[test]
    fn being_overtaken_is_no_reason_not_to_write() {
        let seen = Conditions::default();
        seen.overtaken(DriveId(1));
        assert!(seen.is_slow(DriveId(1)) && seen.suspicion(DriveId(1)).is_none());
    }

    #[test]
    fn a_silent_node_is_told_from_a_failed_drive() {
        let seen = Conditions::default();
        seen.failed(DriveId(1), DriveError::Away);
        seen.failed(DriveId(2), DriveError::NotOpen);
        let away = |drive| seen.suspicion(DriveId(drive)).map(|why| why.away);
        assert_eq!((away(1), away(2)), (Some(true), Some(false)));
    }

    #[test]
    fn deadlines_follow_the_load_within_bounds() {
        let seen = Conditions::default();
        assert_eq!(seen.run_deadline(), DEADLINE_MIN);
        for _ in 0..100 {
            seen.run_succeeded(DriveId(1), Duration::from_secs(1));
        }
        assert!(seen.run_deadline() > Duration::from_secs(9));
        for _ in 0..100 {
            seen.run_succeeded(DriveId(1), Duration::from_secs(60));
        }
        assert_eq!(seen.run_deadline(), DEADLINE_MAX);
        assert_eq!(seen.hedge_after(), HEDGE_MIN);
    }

    #[test]
    fn hedges_are_earned() {
        let seen = Conditions::default();
        let max = usize::try_from(HEDGES_SAVED_MAX).unwrap();
        assert!(seen.may_hedge(max));
        assert!(!seen.may_hedge(1));
        for _ in 0..FETCHES_PER_HEDGE {
            seen.fetch_succeeded(Duration::ZERO);
        }
        assert!(seen.may_hedge(1));
        assert!(!seen.may_hedge(1));
    }
}
