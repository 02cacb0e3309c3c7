//! A token bucket that goes into debt: pure, time comes in.

use std::time::Duration;

/// What may pass at once after a pause, as a time at the lane's rate.
const BURST: Duration = Duration::from_millis(100);

/// Bytes that may pass. Its rate may be another one at each call.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Bucket {
    tokens: f64,
    at: Duration,
}

impl Bucket {
    /// Lets `bytes` pass when nothing is owed: they may be more than a burst, and are then owed.
    /// `now` is a time since some beginning and `rate` bytes a second.
    ///
    /// # Errors
    /// How long it is until nothing is owed any more, at this rate.
    pub(super) fn take(&mut self, now: Duration, rate: f64, bytes: u64) -> Result<(), Duration> {
        let passed = now.saturating_sub(self.at).as_secs_f64();
        self.at = self.at.max(now);
        self.tokens = (self.tokens + passed * rate).min(BURST.as_secs_f64() * rate);
        if self.tokens < 0.0 {
            // Rounded up, or who sleeps for exactly so long finds a rest of the debt.
            let wait = Duration::from_secs_f64(-self.tokens / rate);
            return Err(wait + Duration::from_millis(1));
        }
        self.tokens -= bytes as f64;
        Ok(())
    }

    /// Takes back that `bytes` passed: they did not.
    pub(super) fn give_back(&mut self, bytes: u64) {
        self.tokens += bytes as f64;
    }
}
