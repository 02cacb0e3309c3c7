//! Visits every state that a model can reach, breadth first, so that the first history found that
//! breaks a property is also a shortest one.
//!
//! States are remembered by 64-bit fingerprints: of ten million states two share one, and one of
//! them is then not visited, with a probability of about 3 in a million. The fingerprints are a
//! function of the states alone, so a run is the same every time.

use std::collections::{BTreeSet, HashSet};
use std::fmt::Debug;
use std::hash::{BuildHasherDefault, Hash, Hasher};

/// A system of states and steps.
pub trait Model: Sized + 'static {
    /// Everything that the properties and the next steps depend on.
    type State: Clone + Hash;
    /// One atomic step of one actor.
    type Action: Copy + Debug;

    /// Where every history begins.
    fn initial(&self) -> Self::State;

    /// All actions that any state may allow, in a fixed order; at most 65535.
    fn actions(&self) -> Vec<Self::Action>;

    /// Takes the step. False when this state does not allow it; what is then left in `state` is
    /// thrown away.
    fn step(&self, state: &mut Self::State, action: Self::Action) -> bool;

    /// What holds in every state.
    fn always(&self) -> Vec<Property<Self>>;

    /// What is reached at least once: a model that cannot get there proves nothing.
    fn sometimes(&self) -> Vec<Property<Self>>;
}

/// A named predicate on states.
pub struct Property<M: Model> {
    /// The name that tests and reports use.
    pub name: &'static str,
    /// Whether it holds in a state.
    pub holds: fn(&M, &M::State) -> bool,
}

/// A shortest history that breaks a property.
#[derive(Debug)]
pub struct Violation<A> {
    /// The property's name.
    pub property: &'static str,
    /// The steps from the initial state.
    pub history: Vec<A>,
}

/// What an exploration found.
#[derive(Debug)]
pub struct Outcome<A> {
    /// Distinct states that were seen.
    pub states: usize,
    /// The longest distance from the initial state.
    pub depth: usize,
    /// The first broken property; the exploration ended there.
    pub violation: Option<Violation<A>>,
    /// The names of what was reached.
    pub reached: BTreeSet<&'static str>,
}

/// How a state was first reached: the state before it, and the action's number.
struct Step {
    before: u32,
    action: u16,
}

/// Visits all states, or those up to the first that breaks one of the properties `always`. `None`
/// when there are more than `states_max`: the bounds of the model are then too wide.
#[must_use]
pub fn explore<M: Model>(
    model: &M,
    always: &[Property<M>],
    states_max: usize,
) -> Option<Outcome<M::Action>> {
    let actions = model.actions();
    let mut sometimes = model.sometimes();
    let mut reached = BTreeSet::new();
    let mut seen: HashSet<u64, BuildHasherDefault<AsIs>> = HashSet::default();
    let mut steps: Vec<Step> = Vec::new();
    let mut level: Vec<(M::State, u32)> = Vec::new();
    let mut next: Vec<(M::State, u32)> = vec![(model.initial(), 0)];
    seen.insert(fingerprint(&next[0].0));
    steps.push(Step {
        before: 0,
        action: 0,
    });
    let mut depth = 0;
    let mut violation = None;
    'levels: loop {
        for (state, number) in &next {
            if let Some(broken) = always.iter().find(|p| !(p.holds)(model, state)) {
                violation = Some(Violation {
                    property: broken.name,
                    history: history(&steps, &actions, *number),
                });
                break 'levels;
            }
            sometimes.retain(|p| !((p.holds)(model, state) && reached.insert(p.name)));
        }
        std::mem::swap(&mut level, &mut next);
        next.clear();
        for (state, number) in level.drain(..) {
            for (at, action) in (0..).zip(&actions) {
                let mut after = state.clone();
                if model.step(&mut after, *action) && seen.insert(fingerprint(&after)) {
                    let own = u32::try_from(steps.len()).ok()?;
                    steps.push(Step {
                        before: number,
                        action: at,
                    });
                    next.push((after, own));
                }
            }
            if steps.len() > states_max {
                return None;
            }
        }
        if next.is_empty() {
            break;
        }
        depth += 1;
    }
    Some(Outcome {
        states: steps.len(),
        depth,
        violation,
        reached,
    })
}

/// The actions that lead to a state.
fn history<A: Copy>(steps: &[Step], actions: &[A], mut number: u32) -> Vec<A> {
    let mut back = Vec::new();
    while number != 0 {
        let step = &steps[number as usize];
        back.push(actions[usize::from(step.action)]);
        number = step.before;
    }
    back.reverse();
    back
}

/// 64 well-mixed bits of a state.
fn fingerprint<S: Hash>(state: &S) -> u64 {
    let mut mixer = Mixer {
        mixed: 0x9e37_79b9_7f4a_7c15,
        waiting: 0,
        bits: 0,
    };
    state.hash(&mut mixer);
    mixer.finish()
}

/// Gathers bytes to words, multiplies each word into what is mixed, and folds the product.
struct Mixer {
    mixed: u64,
    waiting: u64,
    bits: u32,
}

impl Mixer {
    fn mix(&self) -> u64 {
        let word = u128::from(self.mixed ^ self.waiting.wrapping_mul(0xa076_1d64_78bd_642f));
        fold(word * 0xe703_7ed1_a0b4_28db) ^ self.mixed.rotate_left(29)
    }
}

/// Both halves of a product.
#[expect(
    clippy::cast_possible_truncation,
    reason = "the halves are what is wanted"
)]
fn fold(product: u128) -> u64 {
    (product >> 64) as u64 ^ product as u64
}

impl Hasher for Mixer {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u8(*byte);
        }
    }
    fn write_u8(&mut self, byte: u8) {
        self.waiting |= u64::from(byte) << self.bits;
        self.bits += 8;
        if self.bits == u64::BITS {
            self.mixed = self.mix();
            (self.waiting, self.bits) = (0, 0);
        }
    }
    /// Numbers of variants and lengths are small: they take a byte, unless they do not fit.
    fn write_usize(&mut self, word: usize) {
        match u8::try_from(word) {
            Ok(byte) if byte < u8::MAX => self.write_u8(byte),
            _ => {
                self.write_u8(u8::MAX);
                self.write(&word.to_le_bytes());
            }
        }
    }
    fn write_isize(&mut self, word: isize) {
        self.write_usize(word.cast_unsigned());
    }
    fn finish(&self) -> u64 {
        let length = u64::from(self.bits) << 56;
        fold(u128::from(self.mix() ^ length) * 0x8ebc_6af0_9c88_c6e3)
    }
}

/// A fingerprint is its own hash.
#[derive(Default)]
struct AsIs(u64);

impl Hasher for AsIs {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }
    fn write_u64(&mut self, word: u64) {
        self.0 = word;
    }
    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two jugs of 3 and 5 litres; filling, emptying, pouring.
    struct Jugs {
        forbidden: u8,
    }

    impl Model for Jugs {
        type State = [u8; 2];
        type Action = (usize, char);

        fn initial(&self) -> [u8; 2] {
            [0, 0]
        }
        fn actions(&self) -> Vec<(usize, char)> {
            let of = |jug| ['f', 'e', 'p'].map(|what| (jug, what));
            [of(0), of(1)].concat()
        }
        fn step(&self, jugs: &mut [u8; 2], (jug, what): (usize, char)) -> bool {
            let size = [3, 5];
            match what {
                'f' => jugs[jug] = size[jug],
                'e' => jugs[jug] = 0,
                _ => {
                    let moved = jugs[jug].min(size[1 - jug] - jugs[1 - jug]);
                    jugs[jug] -= moved;
                    jugs[1 - jug] += moved;
                }
            }
            true
        }
        fn always(&self) -> Vec<Property<Self>> {
            vec![Property {
                name: "not that much",
                holds: |model, jugs| jugs[1] != model.forbidden,
            }]
        }
        fn sometimes(&self) -> Vec<Property<Self>> {
            vec![Property {
                name: "both full",
                holds: |_, jugs| *jugs == [3, 5],
            }]
        }
    }

    fn of(forbidden: u8, states_max: usize) -> Option<Outcome<(usize, char)>> {
        let jugs = Jugs { forbidden };
        explore(&jugs, &jugs.always(), states_max)
    }

    #[test]
    fn the_shortest_history_is_found() {
        let found = of(4, 100).expect("few states");
        let broken = found.violation.expect("four litres can be measured");
        assert_eq!(broken.property, "not that much");
        let steps: String = broken.history.iter().map(|(_, what)| what).collect();
        assert_eq!(steps, "fpepfp");
    }

    #[test]
    fn all_states_are_visited() {
        let found = of(9, 100).expect("few states");
        assert!(found.violation.is_none());
        assert_eq!((found.states, found.depth), (16, 7));
        assert!(found.reached.contains("both full"));
    }

    #[test]
    fn bounds_that_are_too_wide_are_told() {
        assert!(of(9, 10).is_none());
    }
}
