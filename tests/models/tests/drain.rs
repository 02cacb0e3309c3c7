//! Draining and removing a node: safe as it is, and unsafe, or without end, when a safeguard or a
//! pair that stands in for each other is gone.
#![expect(clippy::panic, reason = "a panic is how a test fails")]

use marram_models::drain::{Drain, Safeguard};
use marram_models::{caught, safe};

const EXPECTED: [&str; 5] = [
    "removed alive",
    "a late commit named the node after the cut",
    "an upload from before the cordon was refused",
    "the tombstone refused a commit",
    "a commit in Dual reached E only",
];

/// One group and a node that does not die: enough for most.
const ALIVE: Drain = Drain {
    groups: 1,
    dies: false,
    without: &[],
};
/// The node may die.
const DYING: Drain = Drain {
    dies: true,
    ..ALIVE
};

#[track_caller]
fn is_safe(model: Drain) {
    if let Err(told) = safe(&format!("{model:?}"), &model, &EXPECTED) {
        panic!("{told}");
    }
}

#[test]
fn two_groups_and_a_node_that_may_die() {
    is_safe(Drain { groups: 2, ..DYING });
}

#[test]
fn two_groups_and_a_node_that_lives() {
    is_safe(Drain { groups: 2, ..ALIVE });
}

/// The tombstone and the question after it stand in for the question whether the node is empty,
/// which is kept as a second line.
#[test]
fn an_empty_node_is_the_second_line() {
    is_safe(Drain {
        groups: 2,
        without: &[Safeguard::NodeEmpty],
        ..ALIVE
    });
}

/// What is taken away, where that shows, and the property that is broken.
macro_rules! needed {
    ($($test:ident: [$($safeguard:ident),*], $model:expr, $property:literal;)*) => {$(
        #[test]
        fn $test() {
            let model = Drain { without: &[$(Safeguard::$safeguard),*], ..$model };
            if let Err(told) = caught(stringify!($test), &model, $property) {
                panic!("{told}");
            }
        }
    )*};
}

needed! {
    a_cordoned_node_refuses: [NodeRefuses], ALIVE, "rest";
    the_node_refuses_before_the_fence: [NodeFirst], ALIVE, "rest";
    the_floor_is_raised: [FloorRaised], ALIVE, "rest";
    the_groups_are_asked: [GroupsAsked], DYING, "removal";
    a_tombstone_refuses_late_commits: [Tombstone], DYING, "removal";
    the_question_follows_the_tombstone: [AskedAfterTombstone], DYING, "removal";
    no_tombstone_and_not_empty: [Tombstone, NodeEmpty], ALIVE, "removal";
    early_question_and_not_empty: [AskedAfterTombstone, NodeEmpty], ALIVE, "removal";
}
