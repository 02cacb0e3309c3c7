//! Request records: how long they live and how many there may be.

use marram_types::caps::{
    REQUEST_RECORD_GRACE_MS, REQUEST_RECORDS_MAX, REQUEST_RECORDS_SWEPT_PER_APPLY,
};

use crate::kinds::state::GroupState;
use crate::kv::Table;
use crate::testing::{DEADLINE_AHEAD_MS, Group, inline, put, request};
use crate::{ObjectCommand, ObjectOutcome, Refusal};

fn records(group: &Group) -> (usize, usize, u64) {
    let state = GroupState::load(&group.kv).unwrap();
    (
        group.kv.len(Table::Requests),
        group.kv.len(Table::RequestExpiry),
        state.requests,
    )
}

/// An entry that makes no record.
fn tick(group: &mut Group) {
    group.run(&ObjectCommand::RaiseFloors {
        gc_floor: 0,
        read_floor: 0,
    });
}

#[test]
fn records_outlive_their_deadline_by_the_grace_and_then_go_in_small_numbers() {
    let mut group = Group::ready();
    let count = REQUEST_RECORDS_SWEPT_PER_APPLY + 4;
    for i in 0..count {
        let number = u64::try_from(i).unwrap();
        group.run_as(
            request(number),
            &put("a", 1 + i as u128, inline(number, b"x")),
        );
    }
    assert_eq!(records(&group), (count, count, count as u64));
    group.time_ms += DEADLINE_AHEAD_MS + REQUEST_RECORD_GRACE_MS - 1;
    tick(&mut group);
    assert_eq!(records(&group).0, count, "one millisecond is left");
    // Even after its deadline a request is answered with what came of it.
    let repeated = group.run_as(request(3), &put("a", 99, inline(9, b"x")));
    assert!(matches!(repeated, ObjectOutcome::Committed { .. }));
    group.time_ms += 1;
    tick(&mut group);
    assert_eq!(records(&group), (4, 4, 4));
    tick(&mut group);
    assert_eq!(records(&group), (0, 0, 0));
    // With no record left nothing is swept until the next one expires.
    assert_eq!(GroupState::load(&group.kv).unwrap().sweep_ms, u64::MAX);
    group.run_as(request(50), &put("a", 100, inline(1, b"z")));
    let expires_ms = group.time_ms + DEADLINE_AHEAD_MS + REQUEST_RECORD_GRACE_MS;
    assert_eq!(GroupState::load(&group.kv).unwrap().sweep_ms, expires_ms);
}

#[test]
fn a_group_with_all_its_records_refuses_new_requests_and_answers_old_ones() {
    let mut group = Group::ready();
    let first = group.run_as(request(1), &put("a", 1, inline(1, b"x")));
    let mut state = GroupState::load(&group.kv).unwrap();
    state.requests = REQUEST_RECORDS_MAX;
    state.store(&mut group.kv).unwrap();
    let refused = group.run_as(request(2), &put("b", 2, inline(2, b"x")));
    assert_eq!(refused, ObjectOutcome::Refused(Refusal::TooManyRequests));
    assert_eq!(
        group.run_as(request(1), &put("a", 3, inline(3, b"x"))),
        first
    );
}

#[test]
fn time_does_not_go_back() {
    let mut group = Group::ready();
    let modified = |outcome| match outcome {
        ObjectOutcome::Committed { modified_ms, .. } => modified_ms,
        other => panic!("{other:?}"),
    };
    let before = modified(group.run(&put("a", 1, inline(1, b"x"))));
    group.time_ms -= 500;
    let after = modified(group.run(&put("a", 2, inline(2, b"x"))));
    assert_eq!(after, before);
}
