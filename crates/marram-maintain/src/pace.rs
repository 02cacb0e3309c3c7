//! How fast work in the background may go: moves, repairs, scrubs and re-encoding of one node take
//! their bytes from one [`Pace`], so that together they leave the foreground its part.
//!
//! Each lane (a drive, what the node receives, what it sends) has a token bucket in bytes a second. Its
//! rate is what the lane can do times a share, and the share follows how long the foreground's own
//! requests take on this node: it falls while they take longer than usual, rises again when they
//! do not, and is the whole when there are none.
//!
//! ```text
//! bucket     bytes and time -> take now, or wait so long (pure)
//! throttle   the foreground's latencies -> the share (pure)
//! ```

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use marram_types::DriveId;
use marram_types::caps::MIB;
use tokio::time::Instant;

mod bucket;
mod throttle;

use bucket::Bucket;
pub use throttle::Foreground;
use throttle::{Seen, Throttle};

/// Latencies are judged so often.
const TICK: Duration = Duration::from_millis(250);
/// Who waits looks again after so long at the latest: the share may have changed.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// No lane is slower: work that is to end within a deadline must come forward.
const BYTES_PER_S_MIN: f64 = 16.0 * MIB as f64;

/// What background work may use.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PaceSettings {
    /// What a drive can do, in bytes a second.
    pub drive_bytes_per_s: u64,
    /// What the node's network link can do, in bytes a second, each way.
    pub link_bytes_per_s: u64,
    /// The largest share of either, 0 to 1, while the foreground is at work.
    pub share: f64,
    /// The smallest.
    pub share_min: f64,
    /// How many times its usual latency a kind of request may take before the share falls.
    pub rise: f64,
    /// Latencies below are never called a rise.
    pub calm: Duration,
}

impl Default for PaceSettings {
    fn default() -> Self {
        Self {
            drive_bytes_per_s: 200 * MIB as u64,
            link_bytes_per_s: 1000 * MIB as u64,
            share: 0.5,
            share_min: 0.1,
            rise: 2.0,
            calm: Duration::from_millis(10),
        }
    }
}

/// What bytes pass through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lane {
    /// A drive of this node, read or written.
    Drive(DriveId),
    /// This node's link, towards it.
    Received,
    /// This node's link, away from it.
    Sent,
}

/// The pace of one node's background work. Callers bound how many of them wait: each holds the
/// memory of what it is about to read or write.
#[derive(Debug)]
pub struct Pace {
    settings: PaceSettings,
    began: Instant,
    foreground: Mutex<Watched>,
    lanes: Mutex<BTreeMap<Lane, Arc<Entrance>>>,
}

#[derive(Debug)]
struct Watched {
    seen: Seen,
    throttle: Throttle,
    ticked: Duration,
}

/// Where the users of one lane wait, in their order.
#[derive(Debug, Default)]
struct Entrance {
    turn: tokio::sync::Mutex<()>,
    bucket: Mutex<Bucket>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Pace {
    /// A pace that has seen nothing yet.
    #[must_use]
    pub fn new(settings: PaceSettings) -> Self {
        Self {
            settings,
            began: Instant::now(),
            foreground: Mutex::new(Watched {
                seen: Seen::default(),
                throttle: Throttle::new(&settings),
                ticked: Duration::ZERO,
            }),
            lanes: Mutex::new(BTreeMap::new()),
        }
    }

    /// Waits until `bytes` may pass through a lane. Many bytes at once are let through when the lane
    /// is free, and what comes next waits for them.
    pub async fn take(&self, lane: Lane, bytes: u64) {
        let entrance = self.entrance(lane);
        let _turn = entrance.turn.lock().await;
        while let Err(wait) = self.pass(&entrance, lane, bytes) {
            tokio::time::sleep(wait.min(LOOK_AGAIN)).await;
        }
    }

    /// Takes `bytes` at once.
    ///
    /// # Errors
    /// How long it is until they might pass.
    pub fn try_take(&self, lane: Lane, bytes: u64) -> Result<(), Duration> {
        self.pass(&self.entrance(lane), lane, bytes)
    }

    /// Takes `bytes` of all of these lanes at once, or of none.
    ///
    /// # Errors
    /// How long it is until they might pass the one that is not free.
    pub fn try_take_all(
        &self,
        lanes: impl IntoIterator<Item = Lane>,
        bytes: u64,
    ) -> Result<(), Duration> {
        let mut taken: Vec<Arc<Entrance>> = Vec::new();
        for lane in lanes {
            let entrance = self.entrance(lane);
            if let Err(wait) = self.pass(&entrance, lane, bytes) {
                // Who is refused asks again soon: it would fill up the free lanes with nothing.
                for entrance in taken {
                    locked(&entrance.bucket).give_back(bytes);
                }
                return Err(wait);
            }
            taken.push(entrance);
        }
        Ok(())
    }

    /// Notes how long a request of the foreground took on this node.
    pub fn served(&self, kind: Foreground, bytes: u64, took: Duration) {
        let mut watched = self.watched();
        watched.seen.note(kind, bytes, took);
    }

    /// The share of what drives and link can do that background work has now, 0 to 1.
    #[must_use]
    pub fn share(&self) -> f64 {
        self.watched().throttle.share()
    }

    fn entrance(&self, lane: Lane) -> Arc<Entrance> {
        Arc::clone(locked(&self.lanes).entry(lane).or_default())
    }

    fn pass(&self, entrance: &Entrance, lane: Lane, bytes: u64) -> Result<(), Duration> {
        let full = match lane {
            Lane::Drive(_) => self.settings.drive_bytes_per_s,
            Lane::Received | Lane::Sent => self.settings.link_bytes_per_s,
        };
        let rate = (full as f64 * self.share()).max(BYTES_PER_S_MIN);
        locked(&entrance.bucket).take(self.began.elapsed(), rate, bytes)
    }

    /// What is known of the foreground, judged anew when it is time: no task has to run for it.
    fn watched(&self) -> MutexGuard<'_, Watched> {
        let now = self.began.elapsed();
        let mut watched = locked(&self.foreground);
        while now >= watched.ticked + TICK {
            let seen = std::mem::take(&mut watched.seen);
            watched.throttle = watched.throttle.next(&seen, &self.settings);
            watched.ticked += TICK;
            if watched.throttle.is_at_rest() {
                // Nothing changes any more until something is seen.
                let ticks = (now - watched.ticked).as_millis() / TICK.as_millis();
                watched.ticked += TICK * u32::try_from(ticks).unwrap_or(u32::MAX);
            }
        }
        watched
    }
}

#[cfg(test)]
mod tests;
