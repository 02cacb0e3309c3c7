//! How often the same line may be written: what fails with every request must not bury everything else, nor
//! fill the drive of the log.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tracing::callsite::Identifier;

/// Lines of one place in the code that are written in [`WINDOW`]; more are left out and counted.
const LINES_MAX: u32 = 200;
/// See [`LINES_MAX`].
const WINDOW: Duration = Duration::from_secs(10);

/// The places that log, which are as many as the program has, and what each has written lately.
#[derive(Debug, Default)]
pub(super) struct Repeats(Mutex<HashMap<Identifier, Lately>>);

#[derive(Debug)]
struct Lately {
    since: Instant,
    written: u32,
    left_out: u64,
}

impl Repeats {
    /// Whether this place may write another line; how many of its lines were left out just before it.
    pub(super) fn admit(&self, place: Identifier, now: Instant) -> Option<u64> {
        let mut places = self.0.lock();
        let lately = places.entry(place).or_insert(Lately {
            since: now,
            written: 0,
            left_out: 0,
        });
        if now.saturating_duration_since(lately.since) >= WINDOW {
            lately.since = now;
            lately.written = 0;
        }
        if lately.written >= LINES_MAX {
            lately.left_out += 1;
            return None;
        }
        lately.written += 1;
        Some(std::mem::take(&mut lately.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_too_often_is_left_out_and_counted() {
        let place =
            tracing::callsite! { name: "a", kind: tracing::metadata::Kind::EVENT, fields: x };
        let other =
            tracing::callsite! { name: "b", kind: tracing::metadata::Kind::EVENT, fields: x };
        let of = |place: &'static dyn tracing::callsite::Callsite| Identifier(place);
        let repeats = Repeats::default();
        let begin = Instant::now();
        for _ in 0..LINES_MAX {
            assert_eq!(repeats.admit(of(place), begin), Some(0));
        }
        for _ in 0..7 {
            assert_eq!(repeats.admit(of(place), begin), None);
        }
        assert_eq!(repeats.admit(of(other), begin), Some(0));
        let later = begin + WINDOW;
        assert_eq!(repeats.admit(of(place), later), Some(7));
        assert_eq!(repeats.admit(of(place), later), Some(0));
    }
}
