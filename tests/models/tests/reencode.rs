//! Narrow writes, re-encoding, missing slots, repair and readers: safe as they are, and unsafe
//! with any one slip.
#![expect(clippy::panic, reason = "a panic is how a test fails")]

use marram_models::reencode::{Bounds, Reencode, Slip};
use marram_models::{caught, full, safe};

const WIDENED: &str = "a narrow row was widened";
const REPLACED: &str = "re-encoded to a new place after a loss";
const CHANGED: &str = "re-encoding refused: the row changed";
const BELOW: &str = "re-encoding refused: below the floor";
const RAISED: &str = "the profile was raised over a widened row";
const REPLANNED: &str = "a reader looked again and finished";
const GAVE_UP: &str = "a reader gave up: the version changed";
const REPAIRED: &str = "a lost slot was found and repaired";

/// One writer, k = 2, m = 1, and a widening.
const ONE: Bounds = Bounds {
    m: 1,
    writers: 1,
    widen: true,
    raise: false,
    delete: false,
    touch: false,
    flaps: [0, 0],
    wipes: 0,
    any_order: false,
    reader: false,
    swaps_data: false,
    wait_for_all: false,
};
/// Two writers, a raised profile, and two nodes that go down and come up.
const RACE: Bounds = Bounds {
    writers: 2,
    raise: true,
    flaps: [0b1100, 0],
    ..ONE
};
/// The object is deleted and its metadata changed, besides.
const RACE_OF_ALL: Bounds = Bounds {
    delete: true,
    touch: true,
    ..RACE
};
/// Drives are lost.
const LOSS: Bounds = Bounds {
    flaps: [0b0001, 0b0010],
    wipes: 2,
    ..ONE
};
/// Somebody reads meanwhile.
const READ: Bounds = Bounds {
    writers: 2,
    flaps: [0b0011, 0],
    reader: true,
    ..ONE
};
/// m = 2, acknowledged with k + 1 shards, as it was in a first draft.
const EARLY: Bounds = Bounds {
    m: 2,
    flaps: [0b0100, 0b1000],
    wipes: 2,
    any_order: true,
    ..ONE
};

#[track_caller]
fn is_safe(name: &str, bounds: Bounds, goals: &[&str]) {
    let model = Reencode { bounds, slip: None };
    if let Err(told) = safe(name, &model, goals) {
        panic!("{told}");
    }
}

#[test]
fn writers_race_with_reencoding() {
    let bounds = if full() { RACE_OF_ALL } else { RACE };
    is_safe("race", bounds, &[WIDENED, CHANGED, BELOW, RAISED]);
}

#[test]
fn writers_race_with_deletes_and_changes() {
    let bounds = Bounds {
        raise: false,
        ..RACE_OF_ALL
    };
    is_safe("race, delete, change", bounds, &[WIDENED, CHANGED, BELOW]);
}

/// Naming the data id is enough where only the data is swapped.
#[test]
fn reencoding_may_swap_the_data_of_any_version() {
    let bounds = Bounds {
        raise: full(),
        swaps_data: true,
        ..RACE_OF_ALL
    };
    is_safe("swap", bounds, &[WIDENED, CHANGED, BELOW]);
    let bounds = Bounds {
        delete: full(),
        touch: true,
        swaps_data: true,
        ..READ
    };
    is_safe("swap, read", bounds, &[WIDENED, GAVE_UP, REPLANNED]);
}

#[test]
fn drives_are_lost() {
    is_safe("loss", LOSS, &[WIDENED, REPLACED, BELOW, REPAIRED]);
}

#[test]
fn drives_are_lost_with_two_parity_shards() {
    let bounds = Bounds {
        wait_for_all: true,
        ..EARLY
    };
    is_safe("m = 2", bounds, &[WIDENED, REPLACED, BELOW, REPAIRED]);
    if full() {
        is_safe("m = 2 at k + 1", EARLY, &[WIDENED, REPLACED]);
    }
}

#[test]
fn a_reader_meets_writers() {
    let bounds = Bounds {
        touch: full(),
        delete: true,
        ..READ
    };
    is_safe("read", bounds, &[WIDENED, GAVE_UP, REPLANNED, CHANGED]);
}

#[test]
fn a_reader_meets_a_loss() {
    let bounds = Bounds {
        writers: 1,
        delete: true,
        wipes: 1,
        ..READ
    };
    is_safe("read, loss", bounds, &[WIDENED, REPLACED, REPLANNED]);
}

/// Each slip, the bounds in which it shows, and the property that is broken.
macro_rules! noticed {
    ($($test:ident: $slip:ident, $bounds:expr, $property:literal;)*) => {$(
        #[test]
        fn $test() {
            let model = Reencode { bounds: $bounds, slip: Some(Slip::$slip) };
            if let Err(told) = caught(stringify!($slip), &model, $property) {
                panic!("{told}");
            }
        }
    )*};
}

noticed! {
    reencoding_names_its_data: ReencodeIgnoresData, RACE_OF_ALL, "promise";
    reencoding_names_its_version: ReencodeIgnoresVersion, RACE_OF_ALL, "history";
    reencoding_names_what_it_read: ReencodeIgnoresBoth, RACE, "history";
    reencoding_obeys_the_floor: ReencodeIgnoresFloor, RACE_OF_ALL, "garbage";
    reencoding_waits_for_all: ReencodeAtOneLoss, EARLY, "promise";
    reencoding_looks_again: ReencodeTrustsAcks, LOSS, "promise";
    garbage_is_not_judged_by_version: GarbageByVersion, RACE_OF_ALL, "rest";
    garbage_is_not_queued_by_version: QueueByVersion, RACE, "garbage";
    garbage_waits_for_the_floor: GarbageIgnoresFloor, RACE, "garbage";
    nodes_ask_about_all_they_hold: QueueOnly, RACE_OF_ALL, "rest";
    the_queue_remembers_until_the_floor: QueueForgetsEarly, RACE, "history";
    narrow_writes_keep_parity: NarrowDropsParity, RACE, "promise";
    narrow_writes_keep_two_shards: NarrowToOne, RACE, "promise";
    a_repair_names_its_data: RepairIgnoresData, LOSS, "promise";
    a_repair_looks_at_all_it_claims: RepairTrustsOthers, EARLY, "promise";
    an_entry_applies_once: CommitTwice, RACE, "history";
    early_commits_promise_less: PromiseAllEarly, EARLY, "promise";
    shards_are_read_by_data: ReadByVersion, READ, "reader";
    a_reader_keeps_its_version: ReadOnAnyVersion, READ, "reader";
}
