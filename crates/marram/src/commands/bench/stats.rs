//! Latencies of many requests in little memory. Pure.

use std::time::Duration;

use serde::Serialize;

/// Steps within each doubling: a latency is known to about 3 %.
const STEPS: u64 = 32;
const STEP_BITS: u32 = 5;
/// Enough for every 64-bit number of microseconds.
const SLOTS: usize = (64 - STEP_BITS as usize + 1) * STEPS as usize;

/// How often each latency was seen.
#[derive(Debug, Clone)]
pub(super) struct Histogram {
    slots: Vec<u64>,
    count: u64,
    total_us: u128,
    max_us: u64,
}

/// Latencies in milliseconds.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Latency {
    pub(super) mean_ms: f64,
    pub(super) p50_ms: f64,
    pub(super) p90_ms: f64,
    pub(super) p99_ms: f64,
    pub(super) p999_ms: f64,
    pub(super) max_ms: f64,
}

impl Histogram {
    pub(super) fn new() -> Self {
        Self {
            slots: vec![0; SLOTS],
            count: 0,
            total_us: 0,
            max_us: 0,
        }
    }

    pub(super) fn add(&mut self, latency: Duration) {
        let us = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        self.slots[slot(us)] += 1;
        self.count += 1;
        self.total_us += u128::from(us);
        self.max_us = self.max_us.max(us);
    }

    /// How many requests.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    pub(super) fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.slots.iter_mut().zip(&other.slots) {
            *mine += theirs;
        }
        self.count += other.count;
        self.total_us += other.total_us;
        self.max_us = self.max_us.max(other.max_us);
    }

    /// The latency that `per_mille` of all requests did not exceed, in microseconds.
    fn quantile(&self, per_mille: u64) -> u64 {
        let rank = (u128::from(self.count) * u128::from(per_mille)).div_ceil(1000);
        let mut seen = 0_u128;
        for (index, count) in self.slots.iter().enumerate() {
            seen += u128::from(*count);
            if seen >= rank && seen > 0 {
                return upper(index).min(self.max_us);
            }
        }
        self.max_us
    }

    pub(super) fn latency(&self) -> Latency {
        let mean_us = self
            .total_us
            .checked_div(u128::from(self.count))
            .unwrap_or(0);
        let quantile = |per_mille| millis(self.quantile(per_mille));
        Latency {
            mean_ms: millis(u64::try_from(mean_us).unwrap_or(u64::MAX)),
            p50_ms: quantile(500),
            p90_ms: quantile(900),
            p99_ms: quantile(990),
            p999_ms: quantile(999),
            max_ms: millis(self.max_us),
        }
    }
}

fn millis(us: u64) -> f64 {
    Duration::from_micros(us).as_secs_f64() * 1000.0
}

/// Small numbers have a slot each; then every doubling has 32.
fn slot(us: u64) -> usize {
    let index = if us < STEPS {
        us
    } else {
        let doubling = us.ilog2() - STEP_BITS;
        u64::from(doubling + 1) * STEPS + (us >> doubling) - STEPS
    };
    usize::try_from(index).map_or(SLOTS - 1, |index| index.min(SLOTS - 1))
}

/// The largest number of a slot.
fn upper(index: usize) -> u64 {
    let index = index as u64;
    if index < STEPS {
        return index;
    }
    let doubling = index / STEPS - 1;
    let first = (index % STEPS + STEPS) << doubling;
    first + ((1 << doubling) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_lies_in_its_slot() {
        let numbers = (0..2000).chain((11..64).flat_map(|bit| {
            let power = 1_u64 << bit;
            [power - 1, power, power + power / 3]
        }));
        for us in numbers.chain([u64::MAX]) {
            let index = slot(us);
            assert!(us <= upper(index), "{us}");
            assert!(index == 0 || us > upper(index - 1), "{us}");
            assert!(upper(index) - us <= us / 16, "{us}");
        }
    }

    #[test]
    fn quantiles_of_a_known_series() {
        let mut half = Histogram::new();
        let mut all = Histogram::new();
        for us in 1..=1000 {
            let to = if us % 2 == 0 { &mut half } else { &mut all };
            to.add(Duration::from_micros(us));
        }
        all.merge(&half);
        let near = |per_mille: u64, want: u64| {
            let got = all.quantile(per_mille);
            assert!(got >= want && got <= want + want / 16, "{got} for {want}");
        };
        near(500, 500);
        near(900, 900);
        near(999, 999);
        assert_eq!(all.quantile(1000), 1000);
        let latency = all.latency();
        assert!((latency.mean_ms - 0.5).abs() < 0.001);
        assert!((Histogram::new().latency().max_ms).abs() < f64::EPSILON);
    }
}
