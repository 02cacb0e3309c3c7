//! When what could not be done is tried again: later and later, up to a limit.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Things that wait.
#[derive(Debug)]
pub(super) struct Backoff<K> {
    first: Duration,
    longest: Duration,
    /// More are not remembered: they are tried again at once.
    most: usize,
    waiting: BTreeMap<K, Waiting>,
}

#[derive(Debug, Clone, Copy)]
struct Waiting {
    pause: Duration,
    until: Instant,
}

impl<K: Ord> Backoff<K> {
    pub(super) fn new((first, longest): (Duration, Duration), most: usize) -> Self {
        Self {
            first,
            longest,
            most,
            waiting: BTreeMap::new(),
        }
    }

    /// It could not be done. Waits twice as long as the last time.
    pub(super) fn failed(&mut self, key: K, now: Instant) {
        let before = self.waiting.get(&key).map(|waiting| waiting.pause);
        if before.is_none() && self.waiting.len() >= self.most {
            return;
        }
        let pause = before.map_or(self.first, |pause| (pause * 2).min(self.longest));
        let until = now + pause;
        self.waiting.insert(key, Waiting { pause, until });
    }

    /// It was done, or is not to be done any more.
    pub(super) fn forget(&mut self, key: &K) {
        self.waiting.remove(key);
    }

    /// Keeps only what `keeps` says.
    pub(super) fn retain(&mut self, keeps: impl Fn(&K) -> bool) {
        self.waiting.retain(|key, _| keeps(key));
    }

    /// Something has changed: all are tried again now.
    pub(super) fn clear(&mut self) {
        self.waiting.clear();
    }

    /// Whether it is to be left alone now.
    pub(super) fn waits(&self, key: &K, now: Instant) -> bool {
        let waiting = self.waiting.get(key);
        waiting.is_some_and(|waiting| waiting.until > now)
    }

    /// Whether it could not be done the last time.
    pub(super) fn has(&self, key: &K) -> bool {
        self.waiting.contains_key(key)
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_begin_anew() {
        let second = Duration::from_secs(1);
        let mut backoff = Backoff::new((second, 5 * second), 2);
        let mut now = Instant::now();
        for pause in [1, 2, 4, 5, 5] {
            backoff.failed("a", now);
            assert!(backoff.waits(&"a", now + pause * second - second / 10));
            assert!(!backoff.waits(&"a", now + pause * second));
            assert!(backoff.has(&"a"));
            now += pause * second;
        }
        backoff.failed("b", now);
        backoff.failed("c", now);
        assert!(
            !backoff.has(&"c") && backoff.len() == 2,
            "the most that is kept"
        );
        backoff.forget(&"a");
        backoff.failed("a", now);
        assert!(!backoff.waits(&"a", now + second));
        backoff.retain(|key| *key == "b");
        assert!(backoff.has(&"b") && !backoff.has(&"a"));
        backoff.clear();
        assert_eq!(backoff.len(), 0);
    }
}
