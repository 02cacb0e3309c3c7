//! From the foreground's latencies to the share of background work: pure.
//!
//! A latency says nothing by itself: drives differ, and so do requests. So requests are taken in four
//! kinds, and each kind is compared with what was usual for it: the lowest median of late, which
//! rises by itself, slowly, or one lucky moment would be the measure for ever.

use std::time::Duration;

use marram_types::caps::BLOCK_BYTES;

use super::PaceSettings;

/// Reads and writes, small and large.
const KINDS: usize = 4;
/// Latencies of one kind that are kept between two judgements: the last ones count.
const SAMPLES_MAX: usize = 64;
/// Fewer of a kind say nothing.
const SAMPLES_MIN: usize = 3;
/// Judgements without any request, after which there is no foreground.
const QUIET_TICKS: u32 = 8;
/// The share falls to so much of itself.
const FALL: f64 = 0.7;
/// The share rises by so much.
const CLIMB: f64 = 0.02;
/// What is usual rises by so much at each judgement: twice as much in about twenty minutes.
const FORGET: f64 = 1.000_15;

/// What the foreground asked this node for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Foreground {
    /// A part of a shard was read.
    Read,
    /// A run became durable.
    Write,
}

/// The latencies since the last judgement.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen {
    kinds: [Samples; KINDS],
}

#[derive(Debug, Clone, Default)]
struct Samples {
    seconds: Vec<f64>,
    next: usize,
}

impl Seen {
    pub(super) fn note(&mut self, kind: Foreground, bytes: u64, took: Duration) {
        let large = bytes > BLOCK_BYTES as u64;
        let samples = &mut self.kinds[2 * usize::from(large) + kind as usize];
        let seconds = took.as_secs_f64();
        match samples.seconds.get_mut(samples.next) {
            Some(oldest) => *oldest = seconds,
            None => samples.seconds.push(seconds),
        }
        samples.next = (samples.next + 1) % SAMPLES_MAX;
    }

    fn is_empty(&self) -> bool {
        self.kinds.iter().all(|kind| kind.seconds.is_empty())
    }
}

impl Samples {
    fn median(&self) -> Option<f64> {
        if self.seconds.len() < SAMPLES_MIN {
            return None;
        }
        let mut sorted = self.seconds.clone();
        sorted.sort_by(f64::total_cmp);
        Some(sorted[sorted.len() / 2])
    }
}

/// The share, and what it depends on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Throttle {
    /// While the foreground is at work.
    busy_share: f64,
    /// What is usual for each kind, in seconds.
    usual: [Option<f64>; KINDS],
    quiet: u32,
}

impl Throttle {
    pub(super) fn new(settings: &PaceSettings) -> Self {
        Self {
            busy_share: settings.share,
            usual: [None; KINDS],
            quiet: QUIET_TICKS,
        }
    }

    pub(super) fn share(&self) -> f64 {
        if self.quiet >= QUIET_TICKS {
            1.0
        } else {
            self.busy_share
        }
    }

    /// Whether another judgement of nothing would change nothing.
    pub(super) fn is_at_rest(&self) -> bool {
        self.quiet >= QUIET_TICKS
    }

    #[must_use]
    pub(super) fn next(mut self, seen: &Seen, settings: &PaceSettings) -> Self {
        if seen.is_empty() {
            self.quiet = (self.quiet + 1).min(QUIET_TICKS);
            return self;
        }
        self.quiet = 0;
        let mut presses = false;
        let mut eases = true;
        for (samples, usual) in seen.kinds.iter().zip(&mut self.usual) {
            let Some(median) = samples.median() else {
                continue;
            };
            let known = usual.map_or(median, |usual| (usual * FORGET).min(median));
            *usual = Some(known);
            let calm = settings.calm.as_secs_f64();
            presses |= median > calm.max(known * settings.rise);
            // Between the two the share stays: it must not swing.
            eases &= median <= calm.max(known * f64::midpoint(1.0, settings.rise));
        }
        if presses {
            self.busy_share = (self.busy_share * FALL).max(settings.share_min);
        } else if eases {
            self.busy_share = (self.busy_share + CLIMB).min(settings.share);
        }
        self
    }
}
