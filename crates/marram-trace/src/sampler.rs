//! Which traces are recorded.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::context::{Context, TraceId};

/// The whole of what [`Sampling::per_million`] is a part of.
pub const MILLION: u32 = 1_000_000;
/// Traces that clients may have recorded, in each second and process: one that sends a sampled context with
/// every call must not have all of them recorded.
const ASKED_PER_SECOND_MAX: u32 = 50;

/// How many traces are recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sampling {
    /// Of a million calls that come without a context, so many.
    pub per_million: u32,
}

/// Decides for the calls of a process.
#[derive(Debug)]
pub(crate) struct Sampler {
    below: u64,
    asked: Mutex<Asked>,
}

#[derive(Debug)]
struct Asked {
    since: Instant,
    count: u32,
}

impl Sampler {
    pub(crate) fn new(sampling: Sampling) -> Self {
        let part = u64::MAX / u64::from(MILLION);
        let below = match sampling.per_million {
            all if all >= MILLION => u64::MAX,
            some => part * u64::from(some),
        };
        Self {
            below,
            asked: Mutex::new(Asked {
                since: Instant::now(),
                count: 0,
            }),
        }
    }

    /// Whether a call is recorded: what its caller decided counts, where it sent a context.
    pub(crate) fn takes(&self, asked: Option<&Context>, trace: TraceId, now: Instant) -> bool {
        match asked {
            Some(context) => context.sampled && self.may_ask(now),
            // The low half of an id is random in whatever system made it.
            None => {
                let low = u64::try_from(trace.0 & u128::from(u64::MAX));
                low.is_ok_and(|low| low < self.below || self.below == u64::MAX)
            }
        }
    }

    fn may_ask(&self, now: Instant) -> bool {
        let mut asked = self.asked.lock();
        if now.saturating_duration_since(asked.since) >= Duration::from_secs(1) {
            *asked = Asked {
                since: now,
                count: 0,
            };
        }
        asked.count += 1;
        asked.count <= ASKED_PER_SECOND_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn about_as_many_as_were_wanted_are_taken() {
        let now = Instant::now();
        let taken = |per_million: u32| {
            let sampler = Sampler::new(Sampling { per_million });
            let calls = (0..20_000).filter(|_| sampler.takes(None, TraceId::random(), now));
            calls.count()
        };
        assert_eq!(taken(0), 0);
        assert_eq!(taken(MILLION), 20_000);
        let quarter = taken(MILLION / 4);
        assert!((4500..5500).contains(&quarter), "{quarter}");
    }

    #[test]
    fn what_the_caller_decided_counts_within_bounds() {
        let now = Instant::now();
        let sampler = Sampler::new(Sampling {
            per_million: MILLION,
        });
        let no = Context::new_trace(false);
        assert!(!sampler.takes(Some(&no), no.trace, now));
        let sampler = Sampler::new(Sampling { per_million: 0 });
        let yes = Context::new_trace(true);
        let taken = |now| {
            let calls = (0..1000).filter(|_| sampler.takes(Some(&yes), yes.trace, now));
            calls.count()
        };
        assert_eq!(taken(now), ASKED_PER_SECOND_MAX as usize);
        assert_eq!(
            taken(now + Duration::from_millis(1500)),
            ASKED_PER_SECOND_MAX as usize
        );
    }
}
