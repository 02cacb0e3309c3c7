//! The last sum of what buckets hold. It is made beside the scrapes: a scrape that is given up, because many buckets or
//! a slow group took too long, would otherwise begin anew each time and never have one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use marram_meta::Usage;
use marram_types::BucketId;
use parking_lot::Mutex;

/// How long things last and take.
#[derive(Debug, Clone, Copy)]
struct Times {
    /// A sum is good for so long: adding up asks every group for every bucket.
    good: Duration,
    /// The last sum is given for so long while no other can be had.
    kept: Duration,
    /// A scrape waits for a sum that is being made. Less than a scrape waits for each of its sources.
    waits: Duration,
}

const TIMES: Times = Times {
    good: Duration::from_secs(30),
    kept: Duration::from_secs(300),
    waits: Duration::from_secs(2),
};

/// What each bucket holds in the whole cluster.
pub(super) type Held = Arc<BTreeMap<BucketId, Usage>>;

/// The last sum, and whether another is being made.
#[derive(Debug)]
pub(super) struct Sums {
    inner: Arc<Inner>,
    times: Times,
}

impl Default for Sums {
    fn default() -> Self {
        Self::with(TIMES)
    }
}

#[derive(Debug, Default)]
struct Inner {
    known: Mutex<Option<(Instant, Held)>>,
    /// Held by who makes one: there is one at a time.
    turn: tokio::sync::Mutex<()>,
}

impl Inner {
    fn younger_than(&self, age: Duration) -> Option<Held> {
        let known = self.known.lock();
        let (since, held) = known.as_ref()?;
        (since.elapsed() < age).then(|| Arc::clone(held))
    }
}

impl Sums {
    fn with(times: Times) -> Self {
        Self {
            inner: Arc::default(),
            times,
        }
    }

    /// The newest sum that can be had in time. `add_up` makes another where the last one is old, and goes on when
    /// nobody waits for it any more.
    pub(super) async fn newest(
        &self,
        add_up: impl Future<Output = Option<Held>> + Send + 'static,
    ) -> Option<Held> {
        if let Some(good) = self.inner.younger_than(self.times.good) {
            return Some(good);
        }
        let inner = Arc::clone(&self.inner);
        let made = tokio::spawn(async move {
            let Ok(_turn) = inner.turn.try_lock() else {
                return;
            };
            if let Some(sum) = add_up.await {
                *inner.known.lock() = Some((Instant::now(), sum));
            }
        });
        // Whether it was made in time, or at all, is seen by what is known then.
        let _ = tokio::time::timeout(self.times.waits, made).await;
        self.inner.younger_than(self.times.kept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(buckets: u64) -> Option<Held> {
        let buckets = (0..buckets).map(|id| (BucketId(id), Usage::default()));
        Some(Arc::new(buckets.collect()))
    }

    fn len(held: Option<Held>) -> Option<usize> {
        held.map(|held| held.len())
    }

    const LONG: Duration = Duration::from_secs(3600);
    const SHORT: Duration = Duration::from_millis(5);

    #[tokio::test]
    async fn a_sum_that_takes_long_is_there_for_a_later_scrape() {
        let sums = Sums::with(Times {
            good: LONG,
            kept: LONG,
            waits: SHORT,
        });
        let (go_on, told) = tokio::sync::oneshot::channel();
        let slow = async {
            told.await.expect("it is told");
            sum(3)
        };
        assert_eq!(len(sums.newest(slow).await), None, "not in time");
        let other = sums.newest(async { sum(4) });
        assert_eq!(len(other.await), None, "one is being made");
        go_on.send(()).expect("it waits");
        drop(sums.inner.turn.lock().await);
        let other = sums.newest(async { sum(5) });
        assert_eq!(len(other.await), Some(3));
    }

    #[tokio::test]
    async fn the_last_sum_is_given_while_no_other_can_be_had_but_not_for_ever() {
        let mut sums = Sums::with(Times {
            good: Duration::ZERO,
            kept: LONG,
            waits: LONG,
        });
        assert_eq!(len(sums.newest(async { None }).await), None);
        assert_eq!(len(sums.newest(async { sum(3) }).await), Some(3));
        assert_eq!(len(sums.newest(async { None }).await), Some(3));
        assert_eq!(len(sums.newest(async { sum(4) }).await), Some(4));
        sums.times.kept = Duration::ZERO;
        assert_eq!(len(sums.newest(async { None }).await), None);
    }
}
