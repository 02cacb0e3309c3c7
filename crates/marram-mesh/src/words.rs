//! What this node can say about each of its peers: whether it answers, whether it has done so for long
//! enough, and how slow it is beside the others.
//!
//! It is one observer's word. What the cluster holds of a node is made from the words of several, and by
//! that alone data moves.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use marram_types::NodeId;
use parking_lot::Mutex;

/// How long a peer must answer after it went away once before it counts as steady. Each further time
/// doubles it: a peer that comes and goes is worth less than one that is gone.
const HOLD: Duration = Duration::from_secs(3);
/// The longest such time.
const HOLD_MAX: Duration = Duration::from_secs(60);
/// How long it is remembered that a peer went away.
const LAPSE_MEMORY: Duration = Duration::from_secs(600);
/// How many times of it.
const LAPSES_MAX: usize = 16;
/// Samples before a mean says anything.
const SAMPLES_MIN: u32 = 8;
/// A mean without new samples says nothing after this time: a peer that is spared because it was slow
/// is tried again.
const MEAN_FOR: Duration = Duration::from_secs(30);
/// Peers that a peer is compared with, at least.
const OTHERS_MIN: usize = 2;
/// Below this mean, in milliseconds, an answer to a ping is not slow, whatever the others do.
const PING_FLOOR_MS: f64 = 100.0;
/// The same for a shard run, whose time is counted for each MiB and one more.
const BULK_FLOOR_MS: f64 = 250.0;

/// A word about a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerWord {
    /// The peer.
    pub node: NodeId,
    /// It answers now.
    pub answers: bool,
    /// It answers, and has answered for long enough after it last did not.
    pub steady: bool,
    /// For how long it has been steady, or not.
    pub since: Duration,
    /// How often it went away lately.
    pub lapses: u32,
    /// How many times slower than the others it is, in thousandths; 0 where that is not known.
    pub slowness_permille: u32,
    /// How long it takes to answer a ping, where enough of them were answered lately.
    pub ping: Option<Duration>,
    /// How far its clock is ahead of this machine's own, in milliseconds, where it answers and that is
    /// known.
    pub clock_ahead_ms: Option<i64>,
}

/// A running mean of times.
#[derive(Debug, Default)]
struct Mean {
    ms: f64,
    samples: u32,
    last: Option<Instant>,
}

impl Mean {
    fn add(&mut self, ms: f64, now: Instant) {
        if self.known(now).is_none() && self.samples >= SAMPLES_MIN {
            *self = Self::default();
        }
        let weight = f64::from(self.samples.clamp(0, 7));
        self.ms = (self.ms * weight + ms) / (weight + 1.0);
        self.samples = self.samples.saturating_add(1);
        self.last = Some(now);
    }

    fn known(&self, now: Instant) -> Option<f64> {
        let fresh = self
            .last
            .is_some_and(|at| now.duration_since(at) < MEAN_FOR);
        (fresh && self.samples >= SAMPLES_MIN).then_some(self.ms)
    }
}

#[derive(Debug)]
struct Seen {
    answers: bool,
    /// When it last began or ceased to answer.
    turned: Instant,
    steady: bool,
    /// Since when it is steady, or not.
    since: Instant,
    leaving: bool,
    lapses: VecDeque<Instant>,
    ping: Mean,
    bulk: Mean,
    /// How far its clock is ahead of one's own, in milliseconds.
    clock: Option<i64>,
}

impl Seen {
    fn new(now: Instant) -> Self {
        Self {
            answers: false,
            turned: now,
            steady: false,
            since: now,
            leaving: false,
            lapses: VecDeque::new(),
            ping: Mean::default(),
            bulk: Mean::default(),
            clock: None,
        }
    }

    fn look(&mut self, answers: bool, now: Instant) {
        if answers != self.answers {
            self.answers = answers;
            self.turned = now;
            if !answers {
                // The newest count: how long a peer must answer hangs on how lately it went away.
                if self.lapses.len() == LAPSES_MAX {
                    self.lapses.pop_front();
                }
                self.lapses.push_back(now);
                self.leaving = false;
                self.clock = None;
            }
        }
        self.settle(now);
    }

    /// Judges anew whether it is steady.
    fn settle(&mut self, now: Instant) {
        while self
            .lapses
            .front()
            .is_some_and(|at| now.duration_since(*at) >= LAPSE_MEMORY)
        {
            self.lapses.pop_front();
        }
        let steady = match (self.answers, self.steady) {
            (false, _) => false,
            (true, true) => true,
            (true, false) => now.duration_since(self.turned) >= hold(self.lapses.len()),
        };
        if steady != self.steady {
            self.steady = steady;
            self.since = now;
        }
    }
}

/// How long a peer that went away so many times must answer until it is steady.
fn hold(lapses: usize) -> Duration {
    match u32::try_from(lapses) {
        Ok(0) => Duration::ZERO,
        Ok(lapses) => (HOLD * 2_u32.saturating_pow((lapses - 1).min(16))).min(HOLD_MAX),
        Err(_) => HOLD_MAX,
    }
}

/// How many times larger than the median of the others a time is, in thousandths; 0 where it is not
/// known or too small to matter.
fn slowness(own: Option<f64>, others: impl Iterator<Item = f64>, floor_ms: f64) -> u32 {
    let mut others: Vec<f64> = others.collect();
    others.sort_unstable_by(f64::total_cmp);
    let Some(own) = own.filter(|_| others.len() >= OTHERS_MIN) else {
        return 0;
    };
    if own < floor_ms {
        return 1000;
    }
    let median = others[(others.len() - 1) / 2].max(0.1);
    (own / median * 1000.0).clamp(0.0, 1e9) as u32
}

/// All peers.
#[derive(Debug, Default)]
pub(crate) struct Words(Mutex<BTreeMap<NodeId, Seen>>);

impl Words {
    /// Knows exactly these peers from now on.
    pub(crate) fn keep(&self, nodes: &[NodeId], now: Instant) {
        let mut all = self.0.lock();
        all.retain(|node, _| nodes.contains(node));
        for node in nodes {
            all.entry(*node).or_insert_with(|| Seen::new(now));
        }
    }

    /// Whether a peer answers now.
    pub(crate) fn saw(&self, node: NodeId, answers: bool, now: Instant) {
        if let Some(seen) = self.0.lock().get_mut(&node) {
            seen.look(answers, now);
        }
    }

    /// A ping was answered after `took`.
    pub(crate) fn pinged(&self, node: NodeId, took: Duration, leaving: bool, now: Instant) {
        if let Some(seen) = self.0.lock().get_mut(&node) {
            seen.ping.add(took.as_secs_f64() * 1000.0, now);
            seen.leaving = leaving;
        }
    }

    /// A request with so many bytes in it or in its answer took so long.
    pub(crate) fn carried(&self, node: NodeId, took: Duration, bytes: usize, now: Instant) {
        if let Some(seen) = self.0.lock().get_mut(&node) {
            let mib = bytes as f64 / f64::from(1 << 20);
            seen.bulk
                .add(took.as_secs_f64() * 1000.0 / (1.0 + mib), now);
        }
    }

    /// A peer's clock is so far ahead of this machine's own.
    pub(crate) fn clock(&self, node: NodeId, ahead_ms: i64) {
        if let Some(seen) = self.0.lock().get_mut(&node) {
            seen.clock = Some(ahead_ms);
        }
    }

    /// How far the clocks of those who answer are ahead of this machine's own.
    pub(crate) fn clocks(&self) -> Vec<i64> {
        self.0
            .lock()
            .values()
            .filter_map(|seen| seen.clock)
            .collect()
    }

    /// Whether a peer said that it is about to stop.
    pub(crate) fn is_leaving(&self, node: NodeId) -> bool {
        self.0.lock().get(&node).is_some_and(|seen| seen.leaving)
    }

    /// A word about each.
    pub(crate) fn list(&self, now: Instant) -> Vec<PeerWord> {
        let mut all = self.0.lock();
        let means: Vec<(NodeId, Option<f64>, Option<f64>)> = all
            .iter()
            .map(|(node, seen)| (*node, seen.ping.known(now), seen.bulk.known(now)))
            .collect();
        let words = all.iter_mut().map(|(node, seen)| {
            seen.settle(now);
            let others = || means.iter().filter(|(of, ..)| of != node);
            let took = seen.ping.known(now);
            let ping = slowness(took, others().filter_map(|m| m.1), PING_FLOOR_MS);
            let bulk = seen.bulk.known(now);
            let bulk = slowness(bulk, others().filter_map(|m| m.2), BULK_FLOOR_MS);
            PeerWord {
                node: *node,
                answers: seen.answers,
                steady: seen.steady,
                since: now.duration_since(seen.since),
                lapses: u32::try_from(seen.lapses.len()).unwrap_or(u32::MAX),
                slowness_permille: if seen.answers { ping.max(bulk) } else { 0 },
                ping: took.map(|ms| Duration::from_secs_f64(ms / 1000.0)),
                clock_ahead_ms: seen.clock,
            }
        });
        words.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: NodeId = NodeId(1);

    fn seconds(s: u64) -> Duration {
        Duration::from_secs(s)
    }

    fn word(words: &Words, now: Instant) -> PeerWord {
        words.list(now)[0]
    }

    #[test]
    fn a_peer_that_comes_and_goes_needs_ever_longer_to_be_steady() {
        let words = Words::default();
        let start = Instant::now();
        words.keep(&[NODE], start);
        assert!(!word(&words, start).steady);
        words.saw(NODE, true, start);
        assert!(word(&words, start).steady, "the first time is no lapse");
        let mut now = start + seconds(5);
        for (lapse, wait) in [3, 6, 12, 24, 48, 60, 60].into_iter().enumerate() {
            words.saw(NODE, false, now);
            let gone = now;
            now += seconds(2);
            words.saw(NODE, true, now);
            let almost = word(&words, now + seconds(wait) - Duration::from_millis(1));
            assert!(almost.answers && !almost.steady, "lapse {lapse}");
            assert!(almost.since >= now - gone, "unsteady since it went away");
            now += seconds(wait);
            assert!(word(&words, now).steady, "lapse {lapse}");
        }
        now += LAPSE_MEMORY;
        assert_eq!(word(&words, now).lapses, 0, "all is forgiven");
        words.saw(NODE, false, now);
        words.saw(NODE, true, now);
        assert!(word(&words, now + HOLD).steady);
    }

    #[test]
    fn the_newest_times_away_are_remembered() {
        let words = Words::default();
        let start = Instant::now();
        words.keep(&[NODE], start);
        words.saw(NODE, true, start);
        let mut now = start;
        for _ in 0..LAPSES_MAX * 2 {
            now += seconds(20);
            words.saw(NODE, false, now);
            now += seconds(5);
            words.saw(NODE, true, now);
        }
        assert_eq!(word(&words, now).lapses as usize, LAPSES_MAX);
        // Later than the oldest of all are remembered, sooner than the newest are.
        let later = start + seconds(20 + 25 * 15) + LAPSE_MEMORY;
        assert!(word(&words, later).lapses as usize > LAPSES_MAX / 2);
        words.saw(NODE, false, later);
        words.saw(NODE, true, later);
        let almost = word(&words, later + HOLD_MAX - Duration::from_millis(1));
        assert!(!almost.steady, "it has come and gone all the time");
    }

    #[test]
    fn times_away_add_up_until_it_is_steady() {
        let words = Words::default();
        let start = Instant::now();
        words.keep(&[NODE], start);
        words.saw(NODE, true, start);
        words.saw(NODE, false, start + seconds(10));
        words.saw(NODE, true, start + seconds(20));
        words.saw(NODE, false, start + seconds(22));
        let now = start + seconds(40);
        let seen = word(&words, now);
        assert_eq!((seen.answers, seen.since), (false, seconds(30)));
        assert_eq!(seen.lapses, 2);
    }

    #[test]
    fn slow_is_many_times_the_median_and_above_the_floor() {
        let times = |words: &Words, ms: [u64; 4], now| {
            for (node, ms) in (1..).map(NodeId).zip(ms) {
                for _ in 0..SAMPLES_MIN * 4 {
                    words.carried(node, Duration::from_millis(ms), 0, now);
                }
            }
        };
        let words = Words::default();
        let now = Instant::now();
        let nodes: Vec<_> = (1..=4).map(NodeId).collect();
        words.keep(&nodes, now);
        for node in &nodes {
            words.saw(*node, true, now);
        }
        let slowness = |words: &Words, now| -> Vec<u32> {
            let list = words.list(now);
            list.iter().map(|w| w.slowness_permille).collect()
        };
        assert_eq!(slowness(&words, now), [0; 4], "nothing is known");
        times(&words, [2, 2, 3, 200], now);
        assert_eq!(slowness(&words, now), [1000; 4], "all below the floor");
        times(&words, [20, 20, 30, 3000], now);
        let slow = slowness(&words, now)[3];
        assert!((140_000..=150_000).contains(&slow), "{slow}");
        times(&words, [2000, 2000, 2000, 3000], now);
        assert!(slowness(&words, now)[3] < 2000, "all are slow: none is");
        let later = now + MEAN_FOR;
        assert_eq!(slowness(&words, later), [0; 4], "too long ago");
        words.saw(NodeId(4), false, now);
        assert_eq!(slowness(&words, now)[3], 0, "away is not slow");
    }

    #[test]
    fn a_clock_is_known_while_its_peer_answers() {
        let words = Words::default();
        let now = Instant::now();
        words.keep(&[NODE], now);
        words.saw(NODE, true, now);
        assert_eq!(word(&words, now).clock_ahead_ms, None);
        words.clock(NODE, -600_000);
        assert_eq!(word(&words, now).clock_ahead_ms, Some(-600_000));
        assert_eq!(words.clocks(), [-600_000]);
        words.saw(NODE, false, now);
        assert!(words.clocks().is_empty(), "it may be set before it is back");
    }

    #[test]
    fn bytes_take_their_time() {
        let words = Words::default();
        let now = Instant::now();
        let nodes: Vec<_> = (1..=3).map(NodeId).collect();
        words.keep(&nodes, now);
        for node in &nodes {
            words.saw(*node, true, now);
            let mib = if node.0 == 3 { 15 } else { 0 };
            for _ in 0..SAMPLES_MIN {
                let took = Duration::from_millis(300 * (mib + 1));
                words.carried(*node, took, usize::try_from(mib << 20).unwrap(), now);
            }
        }
        assert!(words.list(now).iter().all(|w| w.slowness_permille == 1000));
    }
}
