//! The wall clock of this process, held against those of its peers.
//!
//! Peers tell their own clocks with each answer to a ping. A process whose clock is far from the middle of
//! all of them goes by the middle (`docs/decisions/0044-a-wrong-clock-goes-by-its-peers.md`): a
//! machine whose clock is ten minutes off would otherwise refuse every token, and would let the time of the groups that it leads run ahead.
//! Certificates are judged by the machine's own clock: they allow an hour.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use marram_types::{CLOCKS_APART_MS, middle_clock};

/// What is added to this machine's clock. A process has one clock, so that this is the process's.
static CORRECTION_MS: AtomicI64 = AtomicI64::new(0);
/// Corrections that differ by less are the same one: pings do not measure better.
const SAME_MS: i64 = 2_000;

/// This machine's own clock, in milliseconds since 1970, right or wrong: what peers are told.
#[must_use]
pub fn own_clock_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let since = since.unwrap_or_default().as_millis();
    let since = u64::try_from(since).unwrap_or(u64::MAX);
    since.saturating_add_signed(shifted::ms())
}

/// The time by which this process goes, in milliseconds since 1970: its machine's clock, or the middle of its
/// peers' clocks when that is far from it.
#[must_use]
pub fn clock_ms() -> u64 {
    own_clock_ms().saturating_add_signed(CORRECTION_MS.load(Ordering::Relaxed))
}

/// Holds this clock against those of the peers that answer: how far each is ahead of this one.
pub(crate) fn hold_against(peers: impl IntoIterator<Item = i64>) {
    let Some(middle) = middle(peers.into_iter().collect()) else {
        return;
    };
    let before = CORRECTION_MS.load(Ordering::Relaxed);
    let correction = corrected(before, middle);
    if correction == before {
        return;
    }
    CORRECTION_MS.store(correction, Ordering::Relaxed);
    if correction == 0 {
        tracing::info!("this machine's clock agrees with those of its peers again");
    } else {
        let by_ms = correction.unsigned_abs();
        let off = if correction > 0 { "behind" } else { "ahead of" };
        tracing::warn!(
            by_ms,
            "this machine's clock is {off} those of its peers, and this server goes by theirs: set the clock"
        );
    }
}

/// How far the middle of the clocks is ahead of this one. With too few to compare, what was found out earlier is
/// better than nothing; only when all that are left agree there is nothing to correct.
fn middle(peers: Vec<i64>) -> Option<i64> {
    let agree = !peers.is_empty() && peers.iter().all(|ahead| ahead.abs() < CLOCKS_APART_MS);
    middle_clock(peers).or_else(|| agree.then_some(0))
}

/// The correction that follows `before` when the middle of the clocks is so far ahead of one's own.
fn corrected(before: i64, middle: i64) -> i64 {
    if middle.abs() < CLOCKS_APART_MS {
        0
    } else if (middle - before).abs() < SAME_MS {
        before
    } else {
        middle
    }
}

/// Clocks that a test sets wrong. There is no library to count on that does it to a process, so the
/// place where clocks are read does: in builds with debug assertions, which are not what is released.
#[cfg(debug_assertions)]
mod shifted {
    use std::path::PathBuf;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicI64, Ordering};

    static SHIFT_MS: AtomicI64 = AtomicI64::new(0);

    pub(super) fn ms() -> i64 {
        SHIFT_MS.load(Ordering::Relaxed)
    }

    /// Puts this process's clock as far off as a test says: it names a folder in `MARRAM_FAULT_DIR`, and
    /// writes milliseconds into the file `clock-NAME` there. False when no test does such things.
    pub fn follow_shift(name: &str) -> bool {
        static FOLDER: OnceLock<Option<PathBuf>> = OnceLock::new();
        let folder = FOLDER.get_or_init(|| std::env::var_os("MARRAM_FAULT_DIR").map(PathBuf::from));
        let Some(folder) = folder else {
            return false;
        };
        let file = std::fs::read_to_string(folder.join(format!("clock-{name}")));
        let shift = file.ok().and_then(|text| text.trim().parse().ok());
        SHIFT_MS.store(shift.unwrap_or(0), Ordering::Relaxed);
        true
    }
}

#[cfg(not(debug_assertions))]
mod shifted {
    pub(super) fn ms() -> i64 {
        0
    }

    /// Nothing: only builds with debug assertions have clocks that a test can set wrong.
    pub fn follow_shift(_name: &str) -> bool {
        false
    }
}

pub use shifted::follow_shift;

#[cfg(test)]
mod tests {
    use super::*;

    const TEN_MIN: i64 = 600_000;

    #[test]
    fn a_correction_does_not_outlive_its_reason() {
        assert_eq!(
            middle(vec![40]),
            Some(0),
            "the clock was set while one peer was left"
        );
        assert_eq!(middle(vec![TEN_MIN]), None, "either may be wrong");
        assert_eq!(middle(Vec::new()), None);
        assert_eq!(middle(vec![TEN_MIN, TEN_MIN]), Some(TEN_MIN));
    }

    #[test]
    fn a_clock_is_corrected_only_when_it_is_far_off_and_then_steadily() {
        assert_eq!(corrected(0, 40), 0, "clocks differ a little");
        assert_eq!(corrected(0, CLOCKS_APART_MS - 1), 0);
        assert_eq!(corrected(0, -TEN_MIN), -TEN_MIN);
        assert_eq!(
            corrected(-TEN_MIN, -TEN_MIN + 700),
            -TEN_MIN,
            "as good as pings tell"
        );
        assert_eq!(
            corrected(-TEN_MIN, -TEN_MIN + 30_000),
            -TEN_MIN + 30_000,
            "it drifts"
        );
        assert_eq!(corrected(-TEN_MIN, 10), 0, "somebody has set it");
    }
}
