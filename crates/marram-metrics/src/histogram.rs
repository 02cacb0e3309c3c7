//! A histogram without a lock: an observation is two additions to atomic numbers. Only one that belongs to a
//! recorded trace is noted, too, which is rare.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;

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
    /// The newest value of each bucket that belongs to a recorded trace; nothing until there is one.
    exemplars: OnceLock<Box<[Mutex<Option<Exemplar>>]>>,
}

/// A value that stands for those of its bucket, and the trace that shows how it came about.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Exemplar {
    /// The trace's id.
    pub trace: u128,
    /// The value, in the documented unit.
    pub value: f64,
    /// When it was observed.
    pub at: SystemTime,
}

/// What a histogram held at one time.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    /// Each bound, the last one infinite, with the number of values between it and the one before.
    pub buckets: Vec<(f64, u64)>,
    /// All values together.
    pub sum: f64,
    /// Values that belong to recorded traces, by the number of their bucket.
    pub exemplars: Vec<(usize, Exemplar)>,
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
            exemplars: OnceLock::new(),
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

    /// Observes a time of a call whose trace is recorded.
    pub fn observe_traced(&self, time: Duration, trace: u128) {
        self.observe_time(time);
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let at = self.limits.partition_point(|limit| *limit < nanos);
        let none = || (0..self.counts.len()).map(|_| Mutex::new(None)).collect();
        *self.exemplars.get_or_init(none)[at].lock() = Some(Exemplar {
            trace,
            value: time.as_secs_f64(),
            at: SystemTime::now(),
        });
    }

    /// What it holds now. Counts and sum may differ by observations of this moment.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let bounds = self.bounds.iter().copied().chain([f64::INFINITY]);
        let counts = self.counts.iter().map(|n| n.load(Ordering::Relaxed));
        #[expect(clippy::cast_precision_loss)] // a sum of so many has no last digit that matters
        let sum = self.sum.load(Ordering::Relaxed) as f64 / self.scale;
        let noted = self.exemplars.get().into_iter().flatten().enumerate();
        Snapshot {
            buckets: bounds.zip(counts).collect(),
            sum,
            exemplars: noted
                .filter_map(|(at, it)| Some((at, (*it.lock())?)))
                .collect(),
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
    fn the_newest_trace_of_a_bucket_stands_for_it() {
        let times = Histogram::of(&API_CALL_DURATION);
        times.observe_time(Duration::from_millis(1));
        assert!(times.snapshot().exemplars.is_empty());
        times.observe_traced(Duration::from_millis(3), 7);
        times.observe_traced(Duration::from_millis(4), 8);
        times.observe_traced(Duration::from_secs(3600), 9);
        let snapshot = times.snapshot();
        assert_eq!(snapshot.count(), 4);
        let seen: Vec<_> = snapshot
            .exemplars
            .iter()
            .map(|(at, e)| (*at, e.trace))
            .collect();
        assert_eq!(seen, [(3, 8), (snapshot.buckets.len() - 1, 9)]);
        assert!((snapshot.exemplars[0].1.value - 0.004).abs() < 1e-9);
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
