//! A histogram without a lock: an observation is two additions to atomic numbers.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::catalogue::{Family, Kind, Unit};

const NANOS_PER_SECOND: f64 = 1e9;

/// How often values were at most so large. Times are kept in nanoseconds, everything else as it is.
#[derive(Debug)]
pub struct Histogram {
    /// The bounds as the documents say them.
    bounds: &'static [f64],
    /// The bounds as values are observed.
    limits: Box<[u64]>,
    /// One more than there are bounds.
    counts: Box<[AtomicU64]>,
    sum: AtomicU64,
    /// Observed units in one documented unit.
    scale: f64,
}

/// What a histogram held at one time.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    /// Each bound, the last one infinite, with the number of values between it and the one before.
    pub buckets: Vec<(f64, u64)>,
    /// All values together.
    pub sum: f64,
}

impl Snapshot {
    /// How many values there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|(_, count)| count).sum()
    }
}

impl Histogram {
    /// The histogram of a family.
    ///
    /// # Panics
    /// When the family is no histogram.
    #[must_use]
    pub fn of(family: &Family) -> Self {
        let Kind::Histogram(bounds) = family.kind else {
            unreachable!("{} is no histogram", family.name);
        };
        let scale = match family.unit {
            Unit::Seconds => NANOS_PER_SECOND,
            Unit::None | Unit::Bytes => 1.0,
        };
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // bounds are small
        let limits = bounds.iter().map(|bound| (bound * scale).round() as u64);
        Self {
            bounds,
            limits: limits.collect(),
            counts: (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect(),
            sum: AtomicU64::new(0),
            scale,
        }
    }

    /// Observes a value in the unit of the family.
    pub fn observe(&self, value: u64) {
        let at = self.limits.partition_point(|limit| *limit < value);
        self.counts[at].fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(value, Ordering::Relaxed);
    }

    /// Observes a time.
    pub fn observe_time(&self, time: Duration) {
        self.observe(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    }

    /// What it holds now. Counts and sum may differ by observations of this moment.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let bounds = self.bounds.iter().copied().chain([f64::INFINITY]);
        let counts = self.counts.iter().map(|n| n.load(Ordering::Relaxed));
        #[expect(clippy::cast_precision_loss)] // a sum of so many has no last digit that matters
        let sum = self.sum.load(Ordering::Relaxed) as f64 / self.scale;
        Snapshot {
            buckets: bounds.zip(counts).collect(),
            sum,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::{API_CALL_DURATION, API_OBJECT};

    fn filled(snapshot: &Snapshot) -> Vec<(f64, u64)> {
        let filled = snapshot.buckets.iter().filter(|(_, count)| *count > 0);
        filled.copied().collect()
    }

    #[test]
    fn a_bound_belongs_to_what_is_below_it() {
        let times = Histogram::of(&API_CALL_DURATION);
        times.observe_time(Duration::from_micros(500));
        times.observe_time(Duration::from_nanos(500_001));
        times.observe_time(Duration::from_secs(3600));
        let snapshot = times.snapshot();
        let expected = [(0.0005, 1), (0.001, 1), (f64::INFINITY, 1)];
        assert_eq!(filled(&snapshot), expected);
        assert_eq!(snapshot.count(), 3);
        assert!((snapshot.sum - 3600.001).abs() < 1e-6, "{}", snapshot.sum);
    }

    #[test]
    fn bytes_are_counted_as_they_are() {
        let sizes = Histogram::of(&API_OBJECT);
        for size in [0, 4096, 4097, 1 << 40] {
            sizes.observe(size);
        }
        let snapshot = sizes.snapshot();
        let expected = [(4096.0, 2), (32_768.0, 1), (f64::INFINITY, 1)];
        assert_eq!(filled(&snapshot), expected);
    }
}
