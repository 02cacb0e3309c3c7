//! New data in the place of old data (placement-protocol.md 13).

use marram_types::{DataId, DriveId, Profile};

use super::{ask, head, refused, striped, usage};
use crate::kv::Table;
use crate::testing::{
    BUCKET, Group, bucket_record, data, delete, extent, first_row, key, pg, profile, put, wrote,
};
use crate::{
    Body, BucketRecord, BucketState, Extent, Malformed, NewBody, NewExtent, ObjectAnswer,
    ObjectCommand, ObjectOutcome, ObjectQuery, Refusal, TicketWork,
};

const MIB: u64 = 1 << 20;

fn new(id: DataId, written: Profile, length: u64) -> NewExtent {
    wrote(extent(id, written, length))
}

fn reencode(old: DataId, extents: Vec<NewExtent>) -> ObjectCommand {
    let index = u16::try_from(old.random % 4).unwrap();
    ObjectCommand::Reencode {
        pg: pg(index),
        data: old,
        extents,
    }
}

fn extents(group: &Group, name: &str) -> Vec<Extent> {
    match head(group, name).unwrap().row.body {
        Body::Extents(extents) => extents,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_narrow_extent_is_widened_and_nothing_else_changes() {
    let mut group = Group::ready();
    group.run(&striped("a", 1, "1+1", 5));
    let before = head(&group, "a").unwrap().row;
    assert_eq!(
        (usage(&group).narrowed, usage(&group).under_protected),
        (1, 1)
    );
    let widen = reencode(data(5, 1), vec![new(data(6, 2), profile("4+2"), MIB)]);
    assert_eq!(group.run(&widen), ObjectOutcome::Reencoded);
    let mut expected = before;
    expected.body = Body::Extents(vec![extent(data(6, 2), profile("4+2"), MIB)]);
    (expected.narrowed, expected.under_protected) = (false, false);
    expected.off_profile = false;
    assert_eq!(head(&group, "a").unwrap().row, expected);
    assert_eq!(
        (usage(&group).narrowed, usage(&group).under_protected),
        (0, 0)
    );
    assert_eq!((usage(&group).objects, usage(&group).bytes), (1, MIB));
    assert!(group.kv.is_empty(Table::Tickets));
    assert_eq!(group.kv.len(Table::Garbage), 1);
    assert_eq!(group.kv.len(Table::DataRefs), 2);
    // The entry again changes nothing, whatever became of its data.
    assert_eq!(group.run(&widen), ObjectOutcome::AlreadyCommitted);
    group.run(&delete("a"));
    assert_eq!(group.run(&widen), ObjectOutcome::AlreadyCommitted);
    assert_eq!(group.kv.len(Table::Garbage), 2);
}

#[test]
fn a_row_that_changed_makes_the_new_data_garbage() {
    let mut group = Group::ready();
    group.run(&striped("a", 1, "2+2", 5));
    group.run(&striped("a", 2, "2+2", 5));
    let late = reencode(data(5, 1), vec![new(data(6, 3), profile("4+2"), MIB)]);
    assert_eq!(group.run(&late), ObjectOutcome::Superseded);
    assert_eq!(group.kv.len(Table::Garbage), 2);
    assert_eq!(group.run(&late), ObjectOutcome::Superseded, "again");
    assert_eq!(group.kv.len(Table::Garbage), 2, "queued once");
    assert_eq!(extents(&group, "a")[0].data, data(5, 2));
    // Given up once, it is given up for the right row too.
    let again = reencode(data(5, 2), vec![new(data(6, 3), profile("4+2"), MIB)]);
    assert_eq!(group.run(&again), ObjectOutcome::Superseded);
    assert_eq!(extents(&group, "a")[0].data, data(5, 2));
    let unknown = reencode(data(1, 1), vec![new(data(6, 4), profile("4+2"), MIB)]);
    assert_eq!(group.run(&unknown), ObjectOutcome::Superseded);
}

#[test]
fn what_cannot_be_is_refused() {
    let mut group = Group::ready();
    group.run(&striped("a", 1, "2+2", 5));
    let wide = profile("4+2");
    let mut partial = new(data(6, 2), wide, MIB);
    partial.wrote.pop();
    let mut lost = new(data(6, 2), wide, MIB);
    lost.extent.missing = 1;
    let cases = [
        (vec![], Malformed::Extents),
        (vec![new(data(6, 2), wide, MIB - 1)], Malformed::Size),
        (vec![partial], Malformed::Places),
        (vec![lost], Malformed::Missing),
        (vec![new(data(u64::MAX, 2), wide, MIB)], Malformed::DataId),
    ];
    for (extents, what) in cases {
        let refusal = refused(group.run(&reencode(data(5, 1), extents)));
        assert_eq!(refusal, Refusal::Malformed(what));
    }
    let mut elsewhere = new(data(6, 2), wide, MIB);
    elsewhere.extent.pg = pg(100);
    let refusal = refused(group.run(&reencode(data(5, 1), vec![elsewhere])));
    assert_eq!(refusal, Refusal::PgUnknown { pg: pg(100) });
    assert!(group.kv.is_empty(Table::Garbage));
    group.run(&ObjectCommand::RaiseFloors {
        gc_floor: 7,
        read_floor: 0,
    });
    let old = reencode(data(5, 1), vec![new(data(6, 2), wide, MIB)]);
    assert_eq!(refused(group.run(&old)), Refusal::BelowFloor { floor: 7 });
    let gone = reencode(data(5, 9), vec![new(data(6, 2), wide, MIB)]);
    assert_eq!(refused(group.run(&gone)), Refusal::BelowFloor { floor: 7 });
    assert!(group.kv.is_empty(Table::Garbage));
    assert_eq!(extents(&group, "a")[0].data, data(5, 1));
}

/// An extent in the middle of a long list becomes several, and the list grows over its chunks.
#[test]
fn long_lists_keep_their_order() {
    for count in [1, 15, 16, 17, 40] {
        let mut group = Group::ready();
        let narrow = profile("2+2");
        let written = (0..count).map(|n| new(data(5, n), narrow, MIB)).collect();
        group.run(&put("a", 1, NewBody::Extents(written)));
        let mut expected: Vec<DataId> = (0..count).map(|n| data(5, n)).collect();
        for (step, at) in [0, count - 1, count / 2].into_iter().enumerate() {
            let step = 100 * (step as u64 + 1);
            let at = usize::try_from(at).unwrap();
            let old = expected[at];
            let parts = [MIB / 2, MIB / 4, MIB / 4];
            let parts = (step..).zip(parts);
            let parts: Vec<_> = parts
                .map(|(id, length)| new(data(6, id), profile("4+2"), length))
                .collect();
            let ids = parts.iter().map(|new| new.extent.data);
            let whole = held_length(&group, old) == MIB;
            let command = reencode(old, parts.clone());
            if !whole {
                let refusal = refused(group.run(&command));
                assert_eq!(refusal, Refusal::Malformed(Malformed::Size));
                continue;
            }
            expected.splice(at..=at, ids);
            assert_eq!(group.run(&command), ObjectOutcome::Reencoded);
            let found: Vec<_> = extents(&group, "a").iter().map(|e| e.data).collect();
            assert_eq!(found, expected);
        }
        let chunks = if expected.len() > 16 {
            expected.len().div_ceil(16)
        } else {
            0
        };
        assert_eq!(group.kv.len(Table::ExtentRows), chunks);
        let all = extents(&group, "a");
        let narrow = all.iter().filter(|e| e.profile == profile("2+2")).count();
        assert_eq!(group.kv.len(Table::Tickets), narrow);
        assert_eq!(usage(&group).narrowed, u64::from(narrow > 0));
        // Shards of extents in every chunk are found.
        for extent in &all {
            let missing = ObjectCommand::ShardMissing {
                pg: extent.pg,
                data: extent.data,
                shard: 0,
                at: DriveId(1 + u64::from(extent.pg.index) * 3 % 9),
            };
            let outcome = group.run(&missing);
            assert!(matches!(
                outcome,
                ObjectOutcome::Shard { missing: true, .. }
            ));
        }
        assert!(extents(&group, "a").iter().all(|e| e.missing == 1));
        group.run(&delete("a"));
        assert!(group.kv.is_empty(Table::ExtentRows));
        assert!(group.kv.is_empty(Table::Tickets));
        let garbage = group.kv.len(Table::Garbage);
        assert_eq!(group.kv.len(Table::DataRefs), garbage);
    }
}

fn held_length(group: &Group, id: DataId) -> u64 {
    let all = extents(group, "a");
    all.iter().find(|e| e.data == id).unwrap().length
}

#[test]
fn narrowing_is_counted_as_such() {
    let mut group = Group::ready();
    group.run(&striped("a", 1, "4+2", 5));
    let weak = reencode(data(5, 1), vec![new(data(6, 3), profile("2+1"), MIB)]);
    let refusal = refused(group.run(&weak));
    assert_eq!(refusal, Refusal::Malformed(Malformed::Protection));
    let narrow = reencode(data(5, 1), vec![new(data(6, 2), profile("2+2"), MIB)]);
    assert_eq!(group.run(&narrow), ObjectOutcome::Reencoded);
    let row = head(&group, "a").unwrap().row;
    assert!(row.narrowed && !row.under_protected);
    assert_eq!(row.nominal, profile("4+2"));
    assert_eq!(
        (usage(&group).narrowed, usage(&group).under_protected),
        (1, 0)
    );
    assert_eq!(group.kv.len(Table::Tickets), 1);
}

/// What is queued for kinds of work, a page of two at a time.
fn queued(group: &Group, from: TicketWork, to: TicketWork) -> Vec<DataId> {
    let mut all: Vec<DataId> = Vec::new();
    let mut after = None;
    loop {
        let query = ObjectQuery::Queue {
            from,
            to,
            after,
            limit: 2,
        };
        let ObjectAnswer::Tickets(page) = ask(group, &query) else {
            panic!("asked for tickets");
        };
        after = page.tickets.last().map(|item| {
            let reasons = item.ticket.reasons;
            let work = [reasons.repair(), reasons.reencoding()];
            let of_these = |work: &TicketWork| (from..=to).contains(work);
            let work = work.into_iter().flatten().find(of_these);
            (work.expect("queued for it"), item.ticket.data)
        });
        all.extend(page.tickets.iter().map(|item| item.ticket.data));
        if !page.more {
            return all;
        }
    }
}

#[test]
fn tickets_are_queued_by_what_is_to_be_done() {
    use TicketWork::{Misplaced, Missing, Narrowed, Reshape, UnderProtected};
    let mut group = Group::ready();
    let written = ["4+2", "2+2", "4+2", "3+2", "4+1", "1+1", "2+2"];
    for (n, written) in (0_u64..).zip(written) {
        group.run(&striped(&format!("{n}"), 1 + u128::from(n), written, 5));
    }
    let id = |n: u64| data(5, 1 + n);
    assert_eq!(queued(&group, Missing, Misplaced), []);
    assert_eq!(
        queued(&group, UnderProtected, UnderProtected),
        [id(4), id(5)]
    );
    let all = [id(4), id(5), id(1), id(3), id(6)];
    assert_eq!(queued(&group, UnderProtected, Reshape), all);
    let lost = ObjectCommand::ShardMissing {
        pg: pg(2),
        data: id(1),
        shard: 0,
        at: first_row(2).drives[0],
    };
    group.run(&lost);
    assert_eq!(queued(&group, Missing, Misplaced), [id(1)]);
    assert_eq!(
        queued(&group, UnderProtected, Reshape),
        all,
        "both are to be done"
    );
    assert_eq!(queued(&group, Narrowed, Narrowed), [id(1), id(3), id(6)]);
    assert_eq!(counters(&group), (3, 5, 0));
    group.run(&delete("1"));
    group.run(&delete("4"));
    assert_eq!(queued(&group, Missing, Reshape), [id(5), id(3), id(6)]);
    assert_eq!(counters(&group), (1, 3, 0));
}

/// Tickets that matter, extents to encode anew, buckets to judge.
fn counters(group: &Group) -> (u64, u64, u64) {
    match ask(group, &ObjectQuery::Status) {
        ObjectAnswer::Status(counters) => {
            (counters.tickets, counters.reencodings, counters.judging)
        }
        other => panic!("{other:?}"),
    }
}

fn bucket_of(epoch: u64, wanted: &str) -> ObjectCommand {
    let record = bucket_record(epoch, BucketState::Changing);
    ObjectCommand::BucketFence(BucketRecord {
        profile: profile(wanted),
        ..record
    })
}

/// Judges to the end; how many entries that took.
pub(super) fn judge_all(group: &mut Group) -> usize {
    let mut after = None;
    for entries in 1.. {
        let command = ObjectCommand::JudgeVersions {
            bucket: BUCKET,
            after: after.map(|text: String| key(&text)),
        };
        let mut twin = group.clone();
        let first = group.run(&command);
        assert_eq!(twin.run(&command), first, "deterministic");
        let ObjectOutcome::Judged { after: at, done } = first else {
            panic!("{first:?}");
        };
        // The same entry again changes nothing that the next one would not.
        let again = group.run(&command);
        let cursor = ObjectOutcome::Judged {
            after: at.clone(),
            done: false,
        };
        assert!(done || again == cursor, "{again:?}");
        if done {
            return entries;
        }
        after = at;
    }
    unreachable!("it ends")
}

#[test]
fn a_changed_profile_is_what_all_versions_are_judged_by() {
    let mut group = Group::ready();
    for n in 0..300 {
        let small = NewBody::Inline {
            data: data(0, n),
            bytes: bytes::Bytes::from_static(b"x"),
        };
        group.run(&put(&format!("small/{n:03}"), 1000 + u128::from(n), small));
    }
    group.run(&striped("a", 1, "4+2", 5));
    group.run(&striped("b", 2, "2+2", 5));
    let copies = extent(data(5, 3), profile("1+2"), 100_000);
    group.run(&put("c", 3, NewBody::Extents(vec![wrote(copies)])));
    let before = head(&group, "a").unwrap().row;
    assert_eq!(counters(&group), (0, 1, 0));
    group.run(&bucket_of(2, "4+2"));
    assert_eq!(counters(&group), (0, 1, 0), "the same profile");
    group.run(&bucket_of(3, "3+3"));
    group.run(&bucket_of(3, "3+3"));
    assert_eq!(counters(&group), (0, 1, 1));
    let judging = ObjectAnswer::Judging(vec![(BUCKET, None)]);
    assert_eq!(ask(&group, &ObjectQuery::Judging), judging);
    assert_eq!(judge_all(&mut group), 3);
    // 4+2 survives fewer losses than 3+3, and so do two copies.
    assert_eq!(counters(&group), (3, 3, 0));
    let counted = usage(&group);
    assert_eq!((counted.narrowed, counted.under_protected), (3, 3));
    assert_eq!((counted.off_profile, counted.objects), (3, 303));
    let mut expected = before;
    expected.nominal = profile("3+3");
    (expected.narrowed, expected.under_protected) = (true, true);
    expected.off_profile = true;
    assert_eq!(head(&group, "a").unwrap().row, expected);
    assert_eq!(head(&group, "c").unwrap().row.nominal, profile("1+3"));
    assert_eq!(
        head(&group, "small/000").unwrap().row.nominal,
        profile("1+3")
    );

    // Down to 2+1: what has more is encoded anew too, after all else.
    group.run(&bucket_of(4, "2+1"));
    judge_all(&mut group);
    assert_eq!(
        queued(&group, TicketWork::Missing, TicketWork::Narrowed),
        []
    );
    let all = queued(&group, TicketWork::Reshape, TicketWork::Reshape);
    assert_eq!(all, [data(5, 1), data(5, 2), data(5, 3)]);
    assert_eq!(usage(&group).off_profile, 3);
    let shaped = reencode(data(5, 1), vec![new(data(6, 9), profile("2+1"), MIB)]);
    assert_eq!(group.run(&shaped), ObjectOutcome::Reencoded);
    assert_eq!((usage(&group).off_profile, counters(&group).1), (2, 2));
    assert!(!head(&group, "a").unwrap().row.off_profile);
}

#[test]
fn a_deleted_bucket_is_not_judged() {
    let mut group = Group::ready();
    group.run(&striped("a", 1, "4+2", 5));
    group.run(&bucket_of(2, "2+1"));
    group.run(&delete("a"));
    let gone = bucket_record(3, BucketState::Deleted);
    group.run(&ObjectCommand::BucketFence(gone));
    assert_eq!(counters(&group), (0, 0, 0));
    assert_eq!(judge_all(&mut group), 1);
}
