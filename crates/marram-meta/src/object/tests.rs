//! What each rule asks of an object group, one test a rule; the model test checks them together.

mod annotate;
mod attempts;
mod events;
mod gone;
mod lifecycle;
mod long_reads;
mod messages;
mod model;
mod own_profiles;
mod places;
mod quota;
mod reencode;
mod streams;
mod upload_model;
mod uploads;
mod versions;

use bytes::Bytes;
use marram_types::{DriveId, Generation};

use crate::kinds::state::GroupState;
use crate::kv::{KvRead, Table};
use crate::stored::Stored;
use crate::testing::{
    BUCKET, DEADLINE_AHEAD_MS, Group, bucket_record, data, delete, extent, first_row, given,
    inline, key, pg, profile, put, request, wrote,
};
use crate::{
    ApplyError, Body, BucketState, COMMAND_VERSION, CollectedEntry, HeadAnswer, Malformed, NewBody,
    NewExtent, ObjectAnswer, ObjectCommand, ObjectOutcome, ObjectQuery, Precondition, Reference,
    Refusal, TicketReason, TicketsAnswer, Usage, answer_object, apply_object,
};

fn ask(group: &Group, query: &ObjectQuery) -> ObjectAnswer {
    let answer = answer_object(&group.kv, group.index, &query.encode()).unwrap();
    ObjectAnswer::decode(&answer.into()).unwrap()
}

fn head(group: &Group, name: &str) -> Option<HeadAnswer> {
    let query = ObjectQuery::Head {
        bucket: BUCKET,
        key: key(name),
    };
    match ask(group, &query) {
        ObjectAnswer::Head(head) => head,
        other => panic!("{other:?}"),
    }
}

fn usage(group: &Group) -> Usage {
    match ask(group, &ObjectQuery::Usage { bucket: None }) {
        ObjectAnswer::Usage(usage) => usage,
        other => panic!("{other:?}"),
    }
}

/// A put of one striped extent of 1 MiB.
fn striped(name: &str, version: u128, written: &str, begin: u64) -> ObjectCommand {
    let random = u64::try_from(version).unwrap();
    let one = extent(data(begin, random), profile(written), 1 << 20);
    put(name, version, NewBody::Extents(vec![wrote(one)]))
}

fn refused(outcome: ObjectOutcome) -> Refusal {
    match outcome {
        ObjectOutcome::Refused(refusal) => refusal,
        other => panic!("{other:?}"),
    }
}

#[test]
fn inline_object_is_read_back_overwritten_and_deleted() {
    let mut group = Group::ready();
    group.run(&put("a", 1, inline(1, b"hello")));
    let first = head(&group, "a").unwrap();
    assert_eq!(first.inline, Some(Bytes::from_static(b"hello")));
    assert_eq!(first.row.generation, Generation(group.index));
    assert_eq!(first.row.nominal, profile("1+2"));
    group.run(&put("a", 2, inline(1, b"again")));
    assert_eq!(head(&group, "a").unwrap().inline.unwrap(), "again");
    assert_eq!(group.kv.len(Table::Inline), 1, "displaced bytes go at once");
    assert_eq!((usage(&group).objects, usage(&group).bytes), (1, 5));
    let deleted = group.run(&delete("a"));
    assert!(matches!(
        deleted,
        ObjectOutcome::Deleted { existed: true, .. }
    ));
    assert_eq!(head(&group, "a"), None);
    assert!(group.kv.is_empty(Table::Inline));
    assert_eq!(usage(&group), Usage::default());
    let again = group.run(&delete("a"));
    assert!(matches!(
        again,
        ObjectOutcome::Deleted { existed: false, .. }
    ));
}

#[test]
fn many_extents_lie_in_rows_of_their_own() {
    let mut group = Group::ready();
    let extents: Vec<_> = (0..40)
        .map(|i| extent(data(3, i), profile("4+2"), 1 << 20))
        .collect();
    let written = extents.iter().cloned().map(wrote).collect();
    group.run(&put("big", 1, NewBody::Extents(written)));
    assert_eq!(group.kv.len(Table::ExtentRows), 3);
    assert_eq!(
        head(&group, "big").unwrap().row.body,
        Body::Extents(extents)
    );
    group.run(&delete("big"));
    assert!(group.kv.is_empty(Table::ExtentRows));
    assert_eq!(group.kv.len(Table::Garbage), 40);
}

#[test]
fn a_repeated_request_is_answered_with_the_first_outcome() {
    let mut group = Group::ready();
    let first = group.run_as(request(1), &striped("a", 1, "4+2", 5));
    let index = group.index;
    // A second attempt has ids of its own; its data becomes garbage.
    let second = group.run_as(request(1), &striped("a", 2, "4+2", 5));
    assert_eq!(first, second);
    assert_eq!(head(&group, "a").unwrap().row.generation, Generation(index));
    assert_eq!(group.kv.len(Table::Garbage), 1);
    // The very same entry again queues nothing: its data is in use.
    assert_eq!(group.run_as(request(1), &striped("a", 1, "4+2", 5)), first);
    assert_eq!(group.kv.len(Table::Garbage), 1);
    // A delete that was answered does not undo a later put when it is repeated.
    let deleted = group.run_as(request(2), &delete("a"));
    group.run_as(request(3), &striped("a", 3, "4+2", 5));
    assert_eq!(group.run_as(request(2), &delete("a")), deleted);
    assert!(head(&group, "a").is_some());
}

#[test]
fn final_refusals_are_remembered_and_retryable_ones_are_not() {
    let mut group = Group::ready();
    let absent = Precondition {
        if_generation_match: Some(Generation(0)),
        ..Precondition::default()
    };
    group.run(&striped("a", 1, "4+2", 5));
    let guarded = given(striped("a", 2, "4+2", 5), absent);
    let refusal = group.run_as(request(1), &guarded);
    assert!(matches!(
        refused(refusal.clone()),
        Refusal::PreconditionFailed { .. }
    ));
    assert_eq!(group.kv.len(Table::Garbage), 1, "its data is garbage");
    group.run(&delete("a"));
    assert_eq!(group.run_as(request(1), &guarded), refusal);

    let seal = bucket_record(2, BucketState::Deleting);
    group.run(&ObjectCommand::BucketFence(seal));
    let sealed = group.run_as(request(2), &striped("b", 3, "4+2", 5));
    assert_eq!(refused(sealed), Refusal::BucketSealed { bucket: BUCKET });
    let unseal = bucket_record(3, BucketState::Changing);
    group.run(&ObjectCommand::BucketFence(unseal));
    let outcome = group.run_as(request(2), &striped("b", 3, "4+2", 5));
    assert!(matches!(outcome, ObjectOutcome::Committed { .. }));
}

#[test]
fn user_mutations_need_a_request_and_a_deadline_that_is_near() {
    let mut group = Group::ready();
    let command = put("a", 1, inline(1, b"x"));
    let entry = group.seal(None, &command);
    let refusal = refused(group.apply(&entry));
    assert_eq!(refusal, Refusal::Malformed(Malformed::NoRequestId));
    let far = u64::MAX;
    let entry = crate::Envelope::seal(Some(request(1)), far, &command);
    let refusal = refused(group.apply(&entry));
    assert_eq!(refusal, Refusal::Malformed(Malformed::Deadline));
}

#[test]
fn after_its_deadline_a_command_is_refused_and_its_data_is_garbage() {
    let mut group = Group::ready();
    let late = group.seal(Some(request(1)), &striped("a", 1, "4+2", 5));
    group.time_ms += DEADLINE_AHEAD_MS + 1;
    group.run(&put("b", 2, inline(1, b"x")));
    // The entry carries its old stamp; the group's time does not go back.
    assert_eq!(refused(group.apply(&late)), Refusal::DeadlinePassed);
    assert_eq!(head(&group, "a"), None);
    assert_eq!(group.kv.len(Table::Garbage), 1);
}

#[test]
fn preconditions_judge_the_present_version() {
    let mut group = Group::ready();
    let held = |group: &mut Group, wanted: Precondition| {
        let mut copy = group.clone();
        let guarded = given(put("a", 99, inline(9, b"new")), wanted);
        matches!(copy.run(&guarded), ObjectOutcome::Committed { .. })
    };
    let is = |g| Precondition {
        if_generation_match: Some(Generation(g)),
        ..Precondition::default()
    };
    let is_not = |g| Precondition {
        if_generation_not_match: Some(Generation(g)),
        ..Precondition::default()
    };
    let etag = |e: &str| Precondition {
        if_etag_match: Some(e.to_owned()),
        ..Precondition::default()
    };
    let other = |e: &str| Precondition {
        if_etag_none_match: Some(e.to_owned()),
        ..Precondition::default()
    };
    assert!(held(&mut group, other("*")) && held(&mut group, other("\"1-1\"")));
    assert!(held(&mut group, is(0)) && !held(&mut group, is(1)));
    assert!(!held(&mut group, is_not(0)) && held(&mut group, is_not(1)));
    assert!(!held(&mut group, etag("*")) && !held(&mut group, etag("\"1-1\"")));
    group.run(&put("a", 1, inline(1, b"x")));
    let now = group.index;
    assert!(!held(&mut group, is(0)) && held(&mut group, is(now)));
    assert!(held(&mut group, is_not(0)) && !held(&mut group, is_not(now)));
    assert!(held(&mut group, etag("*")) && held(&mut group, etag("\"1-1\"")));
    assert!(!held(&mut group, etag("\"2-1\"")));
    assert!(!held(&mut group, other("*")) && !held(&mut group, other("\"1-1\"")));
    assert!(held(&mut group, other("\"2-1\"")));
}

#[test]
fn an_entry_applied_twice_changes_nothing() {
    let mut group = Group::ready();
    let first = striped("a", 1, "4+2", 5);
    group.run_as(request(1), &first);
    // Under another request id, as if its record had been lost.
    let again = group.run_as(request(2), &first);
    assert_eq!(again, ObjectOutcome::AlreadyCommitted);
    group.run_as(request(3), &striped("a", 2, "4+2", 5));
    let after = group.run_as(request(4), &first);
    assert_eq!(after, ObjectOutcome::AlreadyCommitted);
    assert_eq!(head(&group, "a").unwrap().row.version.0, 2);
}

#[test]
fn a_narrow_extent_files_a_ticket_and_its_displacement_takes_it_back() {
    let mut group = Group::ready();
    let narrowed = group.run(&striped("a", 1, "2+2", 5));
    assert!(matches!(
        narrowed,
        ObjectOutcome::Committed {
            narrowed: true,
            under_protected: false,
            ..
        }
    ));
    let weak = group.run(&striped("b", 2, "1+1", 5));
    assert!(matches!(
        weak,
        ObjectOutcome::Committed {
            under_protected: true,
            ..
        }
    ));
    // Small objects are asked for as copies: 1+2 is what they should have.
    let copies = extent(data(5, 3), profile("1+2"), 100_000);
    group.run(&put("c", 3, NewBody::Extents(vec![wrote(copies)])));
    let all = ObjectQuery::Tickets {
        after: None,
        limit: 10,
    };
    let ObjectAnswer::Tickets(tickets) = ask(&group, &all) else {
        panic!("asked for tickets");
    };
    let TicketsAnswer { index, tickets, .. } = tickets;
    assert_eq!(index, group.index);
    let reasons = |at: usize| tickets[at].ticket.reasons.iter().collect::<Vec<_>>();
    assert_eq!(tickets.len(), 2);
    assert_eq!(reasons(0), [TicketReason::Narrowed]);
    assert_eq!(
        reasons(1),
        [TicketReason::Narrowed, TicketReason::UnderProtected]
    );
    assert_eq!(tickets[0].extent.key, "a");
    assert_eq!(tickets[0].extent.nominal, profile("4+2"));
    assert_eq!(tickets[0].row, first_row(1));
    assert_eq!(tickets[0].extent.places, first_row(1).drives[..4]);
    assert_eq!(
        (usage(&group).narrowed, usage(&group).under_protected),
        (2, 1)
    );
    group.run(&striped("b", 4, "4+2", 5));
    group.run(&delete("a"));
    assert!(group.kv.is_empty(Table::Tickets));
    assert_eq!(
        (usage(&group).narrowed, usage(&group).under_protected),
        (0, 0)
    );
}

#[test]
fn buckets_and_pools_are_judged_by_the_groups_own_copies() {
    let mut group = Group::empty();
    let small = put("a", 1, inline(1, b"x"));
    let unknown = refused(group.run(&small));
    assert_eq!(unknown, Refusal::BucketUnknown { bucket: BUCKET });
    assert!(unknown.is_retryable());
    group.run(&ObjectCommand::BucketFence(bucket_record(
        1,
        BucketState::Creating,
    )));
    let no_pool = refused(group.run(&striped("a", 1, "4+2", 5)));
    assert_eq!(no_pool, Refusal::PgUnknown { pg: pg(1) });
    assert!(no_pool.is_retryable());
    group.run(&small);
    let begin = ask(&group, &ObjectQuery::Begin { bucket: BUCKET });
    let ObjectAnswer::Begin(begin) = begin else {
        panic!("asked to begin");
    };
    assert_eq!((begin.index, begin.time_ms), (group.index, group.time_ms));
    assert_eq!(begin.bucket.unwrap().epoch, 1);
    let gone = bucket_record(2, BucketState::Deleted);
    group.run(&ObjectCommand::BucketFence(gone));
    let deleted = refused(group.run(&put("b", 2, inline(1, b"x"))));
    assert_eq!(deleted, Refusal::BucketDeleted { bucket: BUCKET });
    assert!(!deleted.is_retryable());
}

#[test]
fn fences_keep_the_newest_record_and_count_what_is_left() {
    let mut group = Group::ready();
    group.run(&put("a", 1, inline(1, b"x")));
    let mut fence =
        |epoch, state| match group.run(&ObjectCommand::BucketFence(bucket_record(epoch, state))) {
            ObjectOutcome::Fenced { live, epoch, state } => (live, epoch, state),
            other => panic!("{other:?}"),
        };
    use BucketState::{Active, Changing, Creating, Deleting};
    assert_eq!(fence(2, Deleting), (1, 2, Deleting));
    assert_eq!(fence(1, Active), (1, 2, Deleting), "older");
    assert_eq!(fence(2, Active), (1, 2, Deleting), "a lower state");
    assert_eq!(fence(2, Deleting), (1, 2, Deleting), "the same again");
    assert_eq!(fence(3, Changing), (1, 3, Changing));
    assert_eq!(fence(3, Creating), (1, 3, Changing));
    assert_eq!(fence(3, Active), (1, 3, Active));
}

#[test]
fn floors_refuse_old_writes_and_release_garbage() {
    let mut group = Group::ready();
    group.run(&striped("a", 1, "4+2", 5));
    group.run(&delete("a"));
    let displaced_at = group.index;
    let raise = |gc_floor, read_floor| ObjectCommand::RaiseFloors {
        gc_floor,
        read_floor,
    };
    let due = |group: &Group| match ask(
        group,
        &ObjectQuery::Garbage {
            after: None,
            limit: 10,
        },
    ) {
        ObjectAnswer::Garbage(entries) => entries,
        other => panic!("{other:?}"),
    };
    let collected = ObjectCommand::Collected(vec![CollectedEntry {
        at: displaced_at,
        data: data(5, 1),
    }]);
    let references =
        |group: &Group| ask(group, &ObjectQuery::References(vec![(pg(1), data(5, 1))]));
    group.run(&raise(6, displaced_at));
    assert_eq!(due(&group), [], "it may still have readers");
    group.run(&collected);
    assert_eq!(group.kv.len(Table::Garbage), 1);
    group.run(&raise(6, displaced_at + 1));
    assert_eq!(due(&group).len(), 1);
    assert_eq!(
        references(&group),
        ObjectAnswer::References(vec![Reference::Displaced])
    );
    group.run(&raise(0, 0));
    assert_eq!(due(&group).len(), 1, "floors do not fall");
    group.run(&collected);
    assert!(group.kv.is_empty(Table::Garbage));
    assert!(group.kv.is_empty(Table::DataRefs));
    assert_eq!(
        references(&group),
        ObjectAnswer::References(vec![Reference::Unreferenced])
    );
    // The commit again, long after: the floor refuses what the queue no longer knows.
    let again = group.run(&striped("a", 1, "4+2", 5));
    assert_eq!(refused(again), Refusal::BelowFloor { floor: 6 });
    group.run(&raise(u64::MAX, u64::MAX));
    let floor = group.index;
    let state = GroupState::load(&group.kv).unwrap();
    assert_eq!((state.gc_floor, state.read_floor), (floor, floor));
}

#[test]
fn what_a_hold_keeps_is_not_released() {
    let mut group = Group::ready();
    let raise = |index| ObjectCommand::RaiseFloors {
        gc_floor: index,
        read_floor: index,
    };
    let floors = |group: &Group| {
        let state = GroupState::load(&group.kv).unwrap();
        (state.gc_floor, state.read_floor)
    };
    let hold = |until_ms| ObjectCommand::HoldFloors { until_ms };
    group.run(&striped("a", 1, "4+2", 5));
    let until_ms = group.time_ms + 5_000;
    group.run(&hold(until_ms));
    let held_at = group.index;
    group.run(&delete("a"));
    group.run(&raise(u64::MAX));
    assert_eq!(
        floors(&group),
        (group.index, held_at),
        "uploads are judged as ever"
    );
    // A second hold does not let go of what the first one keeps.
    group.run(&hold(until_ms + 1_000));
    group.run(&raise(u64::MAX));
    assert_eq!(floors(&group).1, held_at);
    group.time_ms = until_ms + 1_000;
    group.run(&raise(u64::MAX));
    assert_eq!(floors(&group).1, group.index, "it is over");
    // It can be ended, and never lasts for ever.
    let begun = group.time_ms;
    group.run(&hold(u64::MAX));
    let state = GroupState::load(&group.kv).unwrap();
    assert_eq!(state.held_until_ms, begun + 31 * 24 * 60 * 60 * 1000);
    assert_eq!(state.held_at, group.index);
    group.run(&hold(0));
    group.run(&raise(u64::MAX));
    assert_eq!(floors(&group).1, group.index);
}

#[test]
fn malformed_puts_are_refused() {
    let mut group = Group::ready();
    let one = || extent(data(5, 1), profile("4+2"), 1 << 20);
    let with = |change: &dyn Fn(&mut crate::Extent)| {
        let mut changed = wrote(one());
        change(&mut changed.extent);
        put("a", 1, NewBody::Extents(vec![changed]))
    };
    let at = |change: &dyn Fn(&mut NewExtent)| {
        let mut changed = wrote(one());
        change(&mut changed);
        put("a", 1, NewBody::Extents(vec![changed]))
    };
    let wrong_size = |mut command| {
        if let ObjectCommand::Put { content, .. } = &mut command {
            content.size += 1;
        }
        command
    };
    let long = Bytes::from(vec![0; 4097]);
    let big_inline = NewBody::Inline {
        data: data(0, 1),
        bytes: long,
    };
    let cases = [
        (put("a", 1, NewBody::Extents(vec![])), Malformed::Extents),
        (with(&|e| e.slots[1] = 0), Malformed::Extents),
        (with(&|e| e.slots[1] = 6), Malformed::Extents),
        (with(&|e| e.slots.truncate(5)), Malformed::Extents),
        (with(&|e| e.cell = 0), Malformed::Extents),
        (with(&|e| e.length = (1 << 30) + 1), Malformed::Extents),
        (
            with(&|e| e.overrides.push((1, DriveId(9)))),
            Malformed::Extents,
        ),
        (with(&|e| e.missing = 2), Malformed::Missing),
        (at(&|new| new.wrote.truncate(5)), Malformed::Places),
        (
            at(&|new| new.wrote.push((6, DriveId(99)))),
            Malformed::Places,
        ),
        (
            at(&|new| new.wrote[1].1 = new.wrote[0].1),
            Malformed::Places,
        ),
        (
            at(&|new| new.wrote.extend([(0, DriveId(98)), (0, DriveId(99))])),
            Malformed::Places,
        ),
        (with(&|e| e.data.begin = u64::MAX), Malformed::DataId),
        (
            put("a", 1, NewBody::Extents(vec![wrote(one()), wrote(one())])),
            Malformed::DataId,
        ),
        (wrong_size(with(&|_| ())), Malformed::Size),
        (wrong_size(put("a", 1, inline(1, b"x"))), Malformed::Size),
        (put("a", 1, big_inline), Malformed::Inline),
    ];
    for (command, what) in cases {
        let refusal = refused(group.run(&command));
        assert_eq!(refusal, Refusal::Malformed(what), "{command:?}");
    }
    assert!(group.kv.is_empty(Table::Objects) && group.kv.is_empty(Table::Garbage));
}

#[test]
fn what_a_replica_cannot_apply_stops_it() {
    let mut group = Group::ready();
    let mut entry = group.seal(Some(request(1)), &delete("a"));
    let before = group.kv.clone();
    entry[0] = COMMAND_VERSION + 1;
    let newer = apply_object(&mut group.kv, 99, &entry);
    assert!(matches!(
        newer,
        Err(ApplyError::UnknownVersion { found }) if found == COMMAND_VERSION + 1
    ));
    assert!(crate::check_object(&entry).is_err());
    entry[0] = COMMAND_VERSION;
    entry.pop();
    let damaged = apply_object(&mut group.kv, 99, &entry);
    assert!(matches!(damaged, Err(ApplyError::Corrupt { .. })));
    let root = crate::RootCommand::FinalizeVersion { version: 1 };
    let strayed = crate::Envelope::seal_internal(&root);
    assert!(crate::check_object(&strayed).is_err());
    assert!(apply_object(&mut group.kv, 99, &strayed).is_err());
    assert_eq!(group.kv, before);
    assert!(group.kv.get(Table::Meta, b"state").unwrap().is_some());
    assert!(GroupState::deser_value(&[9]).is_err());
}
