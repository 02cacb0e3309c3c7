//! When an attempt is repeated, and after what time. Pure: randomness and time come from the
//! caller.

use std::time::Duration;

/// Tokens that the budget holds at most.
const BUDGET_MAX: f64 = 500.0;
/// Tokens that come back with each second.
const BUDGET_PER_SECOND: f64 = 50.0;
/// Longest wait that a server may ask for.
const SERVER_DELAY_MAX: Duration = Duration::from_secs(5);

/// How often and how fast attempts are repeated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Most attempts at one call, the first one included.
    pub attempts_max: u32,
    /// The ceiling of the first wait; each further one is twice as high.
    pub base: Duration,
    /// The ceiling of every wait.
    pub cap: Duration,
}

impl Default for RetryPolicy {
    /// 16 attempts within about 10 s: several times what an election of a leader takes.
    fn default() -> Self {
        Self {
            attempts_max: 16,
            base: Duration::from_millis(50),
            cap: Duration::from_secs(2),
        }
    }
}

impl RetryPolicy {
    /// No call is repeated.
    #[must_use]
    pub fn never() -> Self {
        Self {
            attempts_max: 1,
            ..Self::default()
        }
    }

    /// The wait after `failed` attempts (1 or more): exponential with full jitter, so that clients
    /// that failed together do not come back together, and never before the server asked for it.
    /// `None` when no attempt is left. `dice` is uniform in 0 to 1.
    pub(crate) fn delay(
        &self,
        failed: u32,
        dice: f64,
        server_asked: Option<Duration>,
    ) -> Option<Duration> {
        if failed >= self.attempts_max {
            return None;
        }
        let doublings = failed.saturating_sub(1).min(30);
        let ceiling = self.base.saturating_mul(1 << doublings).min(self.cap);
        let jittered = ceiling.mul_f64(dice.clamp(0.0, 1.0));
        let floor = server_asked.map_or(Duration::ZERO, |asked| asked.min(SERVER_DELAY_MAX));
        Some(jittered.max(floor))
    }
}

/// Bounds the retries of all calls of a client together, so that a cluster in trouble is not met
/// with many times its usual load.
#[derive(Debug)]
pub(crate) struct Budget {
    tokens: f64,
    filled: Duration,
}

impl Budget {
    pub(crate) fn new() -> Self {
        Self {
            tokens: BUDGET_MAX,
            filled: Duration::ZERO,
        }
    }

    /// Takes the token of one retry; `now` is time since the client's start. False when none is
    /// left.
    pub(crate) fn take(&mut self, now: Duration) -> bool {
        let passed = now.saturating_sub(self.filled).as_secs_f64();
        self.filled = self.filled.max(now);
        self.tokens = (self.tokens + passed * BUDGET_PER_SECOND).min(BUDGET_MAX);
        if self.tokens < 1.0 {
            return false;
        }
        self.tokens -= 1.0;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_cap_and_end() {
        let policy = RetryPolicy::default();
        let ceilings: Vec<u128> = (1..policy.attempts_max)
            .map(|failed| policy.delay(failed, 1.0, None).expect("left").as_millis())
            .collect();
        assert_eq!(&ceilings[..7], &[50, 100, 200, 400, 800, 1600, 2000]);
        assert!(ceilings[6..].iter().all(|ms| *ms == 2000));
        assert_eq!(policy.delay(policy.attempts_max, 1.0, None), None);
        assert_eq!(policy.delay(3, 0.0, None), Some(Duration::ZERO));
        assert_eq!(RetryPolicy::never().delay(1, 0.5, None), None);
    }

    #[test]
    fn a_server_may_ask_for_more_within_reason() {
        let policy = RetryPolicy::default();
        let asked = |secs| policy.delay(1, 1.0, Some(Duration::from_secs(secs)));
        assert_eq!(asked(1), Some(Duration::from_secs(1)));
        assert_eq!(asked(3600), Some(SERVER_DELAY_MAX));
    }

    #[test]
    fn the_budget_runs_out_and_comes_back() {
        let mut budget = Budget::new();
        let spent = (0..1000).filter(|_| budget.take(Duration::ZERO)).count();
        assert_eq!(spent, 500);
        assert!(budget.take(Duration::from_secs(1)));
        let later = (0..1000)
            .filter(|_| budget.take(Duration::from_secs(1)))
            .count();
        assert_eq!(later, 49);
    }
}
