//! Words of observers -> how a node is. One observer never decides that a node is dead, and one that
//! reaches hardly anybody says more about itself than about them.

use std::collections::BTreeMap;

use marram_types::{Health, NodeHealth, NodeId};

/// A majority must have been without a node for so long before it is dead: less than that is a restart,
/// or a machine that catches its breath.
pub(super) const DEAD_AFTER_MS: u64 = 4_000;
/// Observers that must agree, at least.
const OBSERVERS_MIN: usize = 2;
/// A node is slow when a majority of those who can compare sees it this many times slower than the
/// others, in thousandths.
const SLOW_PERMILLE: u32 = 8_000;

/// What one observer says about one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Word {
    /// The node answers it now.
    pub answers: bool,
    /// And has done so for long enough after it last did not: observers damp what comes and goes.
    pub steady: bool,
    /// For how long it has been steady, or not, in milliseconds.
    pub for_ms: u64,
    /// How many times slower than the others it is, in thousandths; 0 where that is not known.
    pub slowness_permille: u32,
}

/// By observer, its word about each node.
pub type Words = BTreeMap<NodeId, BTreeMap<NodeId, Word>>;

/// How each of `members` is.
#[must_use]
pub fn verdicts(
    members: impl IntoIterator<Item = NodeId>,
    words: &Words,
) -> BTreeMap<NodeId, NodeHealth> {
    let heard: Vec<_> = words.iter().filter(|(_, said)| is_heard(said)).collect();
    let of = |node: NodeId| {
        let about = heard.iter().filter(|(by, _)| **by != node);
        let about: Vec<Word> = about
            .filter_map(|(_, said)| said.get(&node))
            .copied()
            .collect();
        (node, verdict(&about))
    };
    members.into_iter().map(of).collect()
}

/// How many observers are heard: their word counts.
pub(crate) fn observers(words: &Words) -> usize {
    words.values().filter(|said| is_heard(said)).count()
}

/// Whether the word of an observer counts: it reaches at least half of its peers.
fn is_heard(said: &BTreeMap<NodeId, Word>) -> bool {
    let answers = said.values().filter(|word| word.answers).count();
    answers * 2 >= said.len()
}

fn verdict(about: &[Word]) -> NodeHealth {
    let all = about.len();
    let is_majority = |count: usize| count * 2 > all;
    let unreached = about.iter().filter(|word| !word.answers).count();
    let unsteady = about.iter().filter(|word| !word.steady).count();
    // The time for which more than half have held it so: of those who do, sorted with the longest first,
    // the one that makes the majority.
    let held_ms = |so: &dyn Fn(&Word) -> bool| {
        let mut times: Vec<u64> = about.iter().filter(|w| so(w)).map(|w| w.for_ms).collect();
        times.sort_unstable_by(|a, b| b.cmp(a));
        times.get(all / 2).copied().unwrap_or(0)
    };
    let compared: Vec<u32> = about
        .iter()
        .map(|word| word.slowness_permille)
        .filter(|slowness| *slowness > 0)
        .collect();
    let slow = compared.iter().filter(|s| **s >= SLOW_PERMILLE).count();
    let (health, for_ms) = if all == 0 {
        (Health::Unknown, 0)
    } else if is_majority(unsteady) {
        let for_ms = held_ms(&|word| !word.steady);
        let dead = all >= OBSERVERS_MIN && is_majority(unreached) && for_ms >= DEAD_AFTER_MS;
        let health = if dead { Health::Dead } else { Health::Suspect };
        (health, for_ms)
    } else {
        let slow = slow >= OBSERVERS_MIN && slow * 2 > compared.len();
        let health = if slow { Health::Slow } else { Health::Up };
        (health, held_ms(&|word| word.steady))
    };
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let mut sorted = compared;
    sorted.sort_unstable();
    NodeHealth {
        health,
        for_ms,
        words: count(all),
        unreached: count(unreached),
        slowness_permille: sorted.get(sorted.len() / 2).copied().unwrap_or(0),
        clock_ahead_ms: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: u64 = 60_000;

    fn word(answers: bool, steady: bool, for_ms: u64) -> Word {
        Word {
            answers,
            steady,
            for_ms,
            slowness_permille: 0,
        }
    }

    fn up() -> Word {
        word(true, true, LONG)
    }

    fn away(for_ms: u64) -> Word {
        word(false, false, for_ms)
    }

    fn slow(times: u32) -> Word {
        Word {
            slowness_permille: times * 1000,
            ..up()
        }
    }

    /// The matrix: what observers say, and what comes of it.
    #[test]
    fn several_observers_decide_and_never_one() {
        let flaps = word(true, false, LONG);
        let rows: [(&[Word], Health); 19] = [
            (&[], Health::Unknown),
            (&[up()], Health::Up),
            (&[away(LONG)], Health::Suspect), // one word is not enough, however old
            (&[up(), up()], Health::Up),
            (&[up(), away(LONG)], Health::Up), // no majority: the road between two is broken
            (&[away(LONG), away(LONG)], Health::Dead),
            (&[away(LONG), away(DEAD_AFTER_MS - 1)], Health::Suspect),
            (&[away(LONG), away(LONG), up()], Health::Dead),
            (&[away(LONG), up(), up()], Health::Up),
            (&[away(LONG), away(LONG), up(), up()], Health::Up),
            (
                &[away(LONG), away(LONG), away(LONG), up(), up()],
                Health::Dead,
            ),
            (
                &[away(LONG), away(LONG), away(1), up(), up()],
                Health::Suspect,
            ),
            (&[flaps, flaps, up()], Health::Suspect), // it comes and goes
            (&[flaps, away(LONG), up()], Health::Suspect), // not reached by one only
            (&[flaps, away(LONG), away(LONG)], Health::Dead),
            (&[flaps, up(), up()], Health::Up),
            (&[slow(20), slow(9), up()], Health::Slow),
            (&[slow(20), slow(2), slow(1)], Health::Up), // one who finds it slow
            (&[slow(20), slow(20), slow(1), slow(1)], Health::Up),
        ];
        for (number, (about, expected)) in rows.iter().enumerate() {
            assert_eq!(verdict(about).health, *expected, "row {number}: {about:?}");
        }
    }

    #[test]
    fn dead_for_as_long_as_a_majority_says() {
        let times = |all: &[u64]| verdict(&all.iter().map(|t| away(*t)).collect::<Vec<_>>()).for_ms;
        assert_eq!(times(&[9_000, 5_000]), 5_000);
        assert_eq!(times(&[9_000, 8_000, 100]), 8_000);
        assert_eq!(times(&[9_000, 8_000, 7_000, 100]), 7_000);
        let mixed = [away(9_000), away(8_000), away(7_000), up(), up()];
        let seen = verdict(&mixed);
        assert_eq!((seen.for_ms, seen.words, seen.unreached), (7_000, 5, 3));
    }

    fn said(by: u64, unreached: &[u64], all: u64) -> (NodeId, BTreeMap<NodeId, Word>) {
        let about = (1..=all).filter(|node| *node != by).map(|node| {
            let word = match unreached.contains(&node) {
                true => away(LONG),
                false => up(),
            };
            (NodeId(node), word)
        });
        (NodeId(by), about.collect())
    }

    #[test]
    fn an_observer_that_is_cut_off_is_not_heard() {
        // Node 1 reaches nobody; nobody reaches it.
        let mut words: Words = (2..=5).map(|by| said(by, &[1], 5)).collect();
        words.extend([said(1, &[2, 3, 4, 5], 5)]);
        let seen = verdicts((1..=5).map(NodeId), &words);
        assert_eq!(seen[&NodeId(1)].health, Health::Dead);
        for node in 2..=5 {
            let of = seen[&NodeId(node)];
            assert_eq!((of.health, of.words), (Health::Up, 3), "node {node}");
        }
        assert_eq!(observers(&words), 4);
        let seen = verdicts((1..=2).map(NodeId), &Words::new());
        assert!(seen.values().all(|of| of.health == Health::Unknown));
    }

    #[test]
    fn a_node_says_nothing_about_itself() {
        let mut words: Words = [said(1, &[], 3), said(2, &[], 3)].into();
        words
            .get_mut(&NodeId(1))
            .expect("there")
            .insert(NodeId(1), away(LONG));
        let seen = verdicts([NodeId(1)], &words);
        assert_eq!(seen[&NodeId(1)].words, 1);
    }
}
