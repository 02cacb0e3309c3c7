//! Long reads hold the floor of readers, each for a while, and never for ever (rules.md 28).

use std::collections::BTreeMap;

use marram_types::caps::READ_MS_MAX;
use proptest::prelude::*;

use super::*;

fn hold(server: u64, index: u64, for_ms: u64) -> ObjectCommand {
    ObjectCommand::HoldReads {
        server,
        index,
        for_ms,
    }
}

fn raise(group: &mut Group) -> u64 {
    group.run(&ObjectCommand::RaiseFloors {
        gc_floor: u64::MAX,
        read_floor: u64::MAX,
    });
    floor(group)
}

fn floor(group: &Group) -> u64 {
    GroupState::load(&group.kv).unwrap().read_floor
}

fn due(group: &Group) -> usize {
    let query = ObjectQuery::Garbage {
        after: None,
        limit: 100,
    };
    match ask(group, &query) {
        ObjectAnswer::Garbage(entries) => entries.len(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_displaced_during_a_long_read_stays_until_it_ends() {
    let mut group = Group::ready();
    group.run(&striped("a", 1, "4+2", 5));
    group.run(&striped("b", 2, "4+2", 6));
    group.run(&delete("b"));
    group.run(&striped("c", 3, "4+2", 7));
    // A read of `a` was looked up now, and says so after a while.
    let looked_up = group.index;
    group.run(&delete("a"));
    assert_eq!(group.run(&hold(7, looked_up, 60_000)), ObjectOutcome::Done);
    assert_eq!(raise(&mut group), looked_up);
    assert_eq!(
        due(&group),
        1,
        "what was displaced before is not waited for"
    );
    // Another server's later read changes nothing while the first one lasts.
    let later = group.index;
    assert_eq!(group.run(&hold(8, later, 60_000)), ObjectOutcome::Done);
    assert_eq!(raise(&mut group), looked_up);
    group.run(&hold(7, 0, 0));
    assert_eq!(raise(&mut group), later);
    assert_eq!(due(&group), 2);
    // Its server says nothing any more.
    group.time_ms += 60_000;
    assert_eq!(raise(&mut group), group.index);
}

#[test]
fn a_read_that_comes_too_late_or_is_too_old_is_not_waited_for() {
    let mut group = Group::ready();
    group.run(&striped("a", 1, "4+2", 5));
    let looked_up = group.index;
    group.run(&delete("a"));
    let passed = raise(&mut group);
    let late = group.run(&hold(7, looked_up, 60_000));
    assert_eq!(late, ObjectOutcome::Superseded);
    // Younger reads of the same server, which names its oldest one only, are waited for.
    group.run(&delete("x"));
    assert_eq!(raise(&mut group), passed);
    group.run(&hold(7, 0, 0));
    let ahead = group.index + 10;
    assert_eq!(
        group.run(&hold(7, ahead, 60_000)),
        ObjectOutcome::Superseded
    );
    assert!(raise(&mut group) > passed);
    // The longest one, said again and again.
    let began = group.time_ms;
    let looked_up = group.index;
    while group.time_ms < began + READ_MS_MAX {
        assert_eq!(group.run(&hold(7, looked_up, 300_000)), ObjectOutcome::Done);
        assert_eq!(raise(&mut group), looked_up);
        group.time_ms += 250_000;
    }
    let over = group.run(&hold(7, looked_up, 300_000));
    assert_eq!(over, ObjectOutcome::Superseded);
    assert_eq!(raise(&mut group), group.index);
    // A younger one of the same server is waited for as ever.
    let looked_up = group.index;
    assert_eq!(group.run(&hold(7, looked_up, 300_000)), ObjectOutcome::Done);
    group.run(&delete("x"));
    assert_eq!(raise(&mut group), looked_up);
}

#[test]
fn no_hold_lasts_longer_than_minutes_and_their_number_is_bounded() {
    let mut group = Group::ready();
    let index = group.index;
    assert_eq!(group.run(&hold(1, index, u64::MAX)), ObjectOutcome::Done);
    group.time_ms += 5 * 60 * 1000;
    assert_eq!(raise(&mut group), group.index, "it is over by itself");
    let index = group.index;
    for server in 0..1024 {
        assert_eq!(group.run(&hold(server, index, 1000)), ObjectOutcome::Done);
    }
    assert_eq!(
        group.run(&hold(5000, index, 1000)),
        ObjectOutcome::Superseded
    );
    assert_eq!(
        group.run(&hold(5, index, 1000)),
        ObjectOutcome::Done,
        "known"
    );
    group.time_ms += 1000;
    assert_eq!(group.run(&hold(5000, index, 1000)), ObjectOutcome::Done);
    assert_eq!(GroupState::load(&group.kv).unwrap().reads.len(), 1);
}

#[derive(Debug, Clone, Copy)]
enum Act {
    /// A server says how far back its oldest read was looked up.
    Hold {
        server: u64,
        back: u64,
        for_ms: u64,
    },
    Ended {
        server: u64,
    },
    Raise,
    Displace,
    Wait {
        ms: u64,
    },
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        3 => (0_u64..4, 0_u64..12, 1_u64..100_000)
            .prop_map(|(server, back, for_ms)| Act::Hold { server, back, for_ms }),
        1 => (0_u64..4).prop_map(|server| Act::Ended { server }),
        3 => Just(Act::Raise),
        3 => Just(Act::Displace),
        2 => (1_u64..60_000).prop_map(|ms| Act::Wait { ms }),
    ]
}

proptest! {
    /// The floor never falls, never passes a read that was taken, and passes everything when none is held.
    #[test]
    fn the_floor_keeps_to_the_reads(acts in prop::collection::vec(act(), 1..80)) {
        let mut group = Group::ready();
        let mut held: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
        let (mut last, mut version) = (0, 10);
        for act in acts {
            match act {
                Act::Hold { server, back, for_ms } => {
                    let index = group.index.saturating_sub(back);
                    match group.run(&hold(server, index, for_ms)) {
                        ObjectOutcome::Done => {
                            prop_assert!(index >= floor(&group));
                            held.insert(server, (index, group.time_ms + for_ms));
                        }
                        ObjectOutcome::Superseded => {
                            prop_assert!(index < floor(&group));
                            held.insert(server, (floor(&group), group.time_ms + for_ms));
                        }
                        other => panic!("{other:?}"),
                    }
                }
                Act::Ended { server } => {
                    group.run(&hold(server, 0, 0));
                    held.remove(&server);
                }
                Act::Raise => {
                    let reached = raise(&mut group);
                    held.retain(|_, (_, until)| *until > group.time_ms);
                    let least = held.values().map(|(index, _)| *index).min();
                    prop_assert_eq!(reached, least.unwrap_or(group.index).max(last));
                }
                Act::Displace => {
                    version += 1;
                    group.run(&striped("k", version, "4+2", 5));
                }
                Act::Wait { ms } => group.time_ms += ms,
            }
            prop_assert!(floor(&group) >= last);
            last = floor(&group);
        }
    }
}
