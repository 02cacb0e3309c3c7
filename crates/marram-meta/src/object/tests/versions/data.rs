//! The data of versions that are not current is data like any other: it is found, mended, moved, encoded
//! anew and never garbage.

use marram_types::{DataId, DriveId, VersionId};

use super::super::uploads::{complete, create, drop_all, part, uploaded};
use super::{at, history, on, version};
use crate::kinds::data_ref::{self, DataRef};
use crate::kv::{KvRead, Table};
use crate::object::tests::{ask, head, striped, usage};
use crate::stored::{Stored, load};
use crate::testing::{
    BUCKET, Group, bucket_record, data, delete, delete_version, extent, inline, pg, profile, put,
    wrote,
};
use crate::{
    Body, BucketRecord, BucketState, CollectedEntry, Extent, LiveExtent, NewBody, ObjectAnswer,
    ObjectCommand, ObjectOutcome, ObjectQuery, Reference, TicketReason, UploadCommand,
    VersionAnswer, VersionCommand, Versioning,
};

const MIB: u64 = 1 << 20;

fn extents(group: &Group, name: &str, generation: u64) -> Vec<Extent> {
    match version(group, name, Some(generation)) {
        VersionAnswer::Version { head, .. } => match head.row.body {
            Body::Extents(extents) => extents,
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

fn live(group: &Group, of: &Extent) -> Option<LiveExtent> {
    let query = ObjectQuery::Live {
        pg: of.pg,
        data: of.data,
    };
    match ask(group, &query) {
        ObjectAnswer::Live(live) => live,
        other => panic!("{other:?}"),
    }
}

fn reference(group: &Group, of: &Extent) -> Reference {
    match ask(group, &ObjectQuery::References(vec![(of.pg, of.data)])) {
        ObjectAnswer::References(mut found) => found.remove(0),
        other => panic!("{other:?}"),
    }
}

fn reencode(old: &Extent, written: &str, random: u64) -> ObjectCommand {
    ObjectCommand::Reencode {
        pg: old.pg,
        data: old.data,
        extents: vec![wrote(extent(data(6, random), profile(written), old.length))],
    }
}

/// A key with a striped version that is not current, and its generation.
fn kept(written: &str) -> (Group, u64) {
    let mut group = on();
    let generation = at(&mut group, &striped("a", 1, written, 5));
    group.run(&put("a", 2, inline(2, b"two")));
    (group, generation)
}

#[test]
fn it_is_referred_to_and_never_collected() {
    let (mut group, generation) = kept("4+2");
    let one = extents(&group, "a", generation).remove(0);
    assert!(matches!(reference(&group, &one), Reference::Live { .. }));
    group.run(&ObjectCommand::RaiseFloors {
        gc_floor: group.index,
        read_floor: group.index,
    });
    let garbage = ObjectQuery::Garbage {
        after: None,
        limit: 10,
    };
    assert_eq!(ask(&group, &garbage), ObjectAnswer::Garbage(Vec::new()));
    // Who claims that it was collected is not believed.
    group.run(&ObjectCommand::Collected(vec![CollectedEntry {
        at: generation,
        data: one.data,
    }]));
    assert!(matches!(reference(&group, &one), Reference::Live { .. }));
    // Removed for good it is garbage like any other.
    group.run(&delete_version("a", generation));
    assert_eq!(reference(&group, &one), Reference::Displaced);
    group.run(&ObjectCommand::RaiseFloors {
        gc_floor: group.index,
        read_floor: group.index + 1,
    });
    group.run(&put("b", 3, inline(3, b"x")));
    group.run(&ObjectCommand::RaiseFloors {
        gc_floor: group.index,
        read_floor: group.index,
    });
    let ObjectAnswer::Garbage(entries) = ask(&group, &garbage) else {
        panic!("garbage");
    };
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0].extent.data, one.data);
}

#[test]
fn a_move_and_a_scrub_see_it() {
    let (group, generation) = kept("4+2");
    let one = extents(&group, "a", generation).remove(0);
    let ObjectAnswer::Rows(page) = ask(
        &group,
        &ObjectQuery::Rows {
            pg: one.pg,
            after: None,
            limit: 10,
        },
    ) else {
        panic!("rows");
    };
    let found: Vec<DataId> = page.extents.iter().map(|e| e.extent.data).collect();
    assert_eq!(found, [one.data]);
    assert_eq!(page.extents[0].version, VersionId(1));
    let drive = page.extents[0].places[0];
    let ObjectAnswer::OnDrive(on_drive) = ask(
        &group,
        &ObjectQuery::OnDrive {
            drive,
            after: None,
            limit: 10,
        },
    ) else {
        panic!("on drive");
    };
    assert_eq!(on_drive.extents.len(), 1);
    assert_eq!(on_drive.extents[0].extent.data, one.data);
}

#[test]
fn a_lost_shard_is_reported_and_mended() {
    let (mut group, generation) = kept("4+2");
    let one = extents(&group, "a", generation).remove(0);
    let place = live(&group, &one).unwrap().places[2];
    let report = ObjectCommand::ShardMissing {
        pg: one.pg,
        data: one.data,
        shard: 2,
        at: place,
    };
    assert!(matches!(
        group.run(&report),
        ObjectOutcome::Shard { missing: true, .. }
    ));
    assert!(extents(&group, "a", generation)[0].is_missing(2));
    let tickets = ObjectQuery::Tickets {
        after: None,
        limit: 10,
    };
    let ObjectAnswer::Tickets(page) = ask(&group, &tickets) else {
        panic!("tickets");
    };
    assert_eq!(page.tickets.len(), 1);
    assert!(
        page.tickets[0]
            .ticket
            .reasons
            .contains(TicketReason::Missing)
    );
    let seen = group.index;
    group.run(&put("b", 9, inline(9, b"x")));
    let placed = ObjectCommand::ShardPlaced {
        pg: one.pg,
        data: one.data,
        shard: 2,
        at: vec![place],
        seen,
    };
    assert!(matches!(
        group.run(&placed),
        ObjectOutcome::Shard { missing: false, .. }
    ));
    assert!(!extents(&group, "a", generation)[0].is_missing(2));
    assert!(group.kv.is_empty(Table::Tickets));
    // The ticket of a version goes with it from one table to the other.
    group.run(&report);
    group.run(&delete_version("a", history(&group, "a")[0].0));
    assert!(matches!(
        head(&group, "a").unwrap().row.body,
        Body::Extents(held) if held[0].is_missing(2)
    ));
    assert_eq!(group.kv.len(Table::Tickets), 1);
    group.run(&delete_version("a", generation));
    assert!(group.kv.is_empty(Table::Tickets));
}

#[test]
fn it_is_encoded_anew_where_it_lies() {
    let (mut group, generation) = kept("2+1");
    let one = extents(&group, "a", generation).remove(0);
    assert_eq!(usage(&group).under_protected, 1);
    assert_eq!(
        group.run(&reencode(&one, "4+2", 9)),
        ObjectOutcome::Reencoded
    );
    let now = extents(&group, "a", generation);
    assert_eq!(now[0].data, data(6, 9));
    assert_eq!(
        (usage(&group).under_protected, usage(&group).narrowed),
        (0, 0)
    );
    assert_eq!(reference(&group, &one), Reference::Displaced);
    assert!(matches!(reference(&group, &now[0]), Reference::Live { .. }));
    assert!(group.kv.is_empty(Table::Tickets));
    assert_eq!(head(&group, "a").unwrap().inline.unwrap(), "two");
}

/// A version whose extents lie in rows of their own, there and back.
#[test]
fn long_lists_of_extents_stay_where_they_are() {
    let mut group = on();
    let written: Vec<Extent> = (0..40)
        .map(|i| extent(data(3, i), profile("4+2"), MIB))
        .collect();
    let body = NewBody::Extents(written.iter().cloned().map(wrote).collect());
    let big = at(&mut group, &put("big", 1, body));
    let marker = at(&mut group, &delete("big"));
    assert_eq!(extents(&group, "big", big), written);
    assert_eq!(group.kv.len(Table::ExtentRows), 3);
    assert!(group.kv.is_empty(Table::Garbage));
    let wanted = DataRef::Noncurrent {
        bucket: BUCKET,
        key: "big".to_owned(),
        generation: marram_types::Generation(big),
    };
    for one in &written {
        let key = data_ref::ser_key(one.pg, one.data);
        let found: Option<DataRef> = load(&group.kv, Table::DataRefs, &key).unwrap();
        assert_eq!(found.as_ref(), Some(&wanted));
    }
    group.run(&reencode(&written[20], "2+2", 99));
    assert_eq!(extents(&group, "big", big)[20].data, data(6, 99));
    group.run(&delete_version("big", marker));
    let Some(Body::Extents(now)) = head(&group, "big").map(|head| head.row.body) else {
        panic!("extents");
    };
    assert_eq!(now.len(), 40);
    for one in &now {
        let key = data_ref::ser_key(one.pg, one.data);
        let found = group.kv.get(Table::DataRefs, &key).unwrap().unwrap();
        assert!(matches!(
            DataRef::deser_value(&found).unwrap(),
            DataRef::Live { .. }
        ));
    }
    group.run(&delete_version("big", big));
    assert!(group.kv.is_empty(Table::ExtentRows));
    assert_eq!(group.kv.len(Table::Garbage), 41);
}

/// An object of parts in a bucket that keeps versions.
fn of_parts(group: &mut Group, upload: u128, first: u64) -> u64 {
    group.run(&create("p", upload));
    for number in 1..=3 {
        let random = first + u64::from(number);
        group.run(&part("p", upload, number, "4+2", random));
    }
    let whole = complete(group, "p", upload, &[1, 2], upload);
    match group.run(&whole) {
        ObjectOutcome::UploadCompleted(done) => done.generation.0,
        other => panic!("{other:?}"),
    }
}

#[test]
fn parts_of_a_version_that_is_not_current_are_kept() {
    let mut group = on();
    let first = of_parts(&mut group, 1, 10);
    let second = of_parts(&mut group, 2, 20);
    assert_eq!(history(&group, "p"), [(second, "V"), (first, "v")]);
    // What the completions left out goes, and nothing else.
    drop_all(&mut group);
    assert_eq!(group.kv.len(Table::UploadParts), 4);
    assert_eq!(group.kv.len(Table::Garbage), 2);
    let held = |group: &Group, generation| -> Vec<u64> {
        let held = extents(group, "p", generation).into_iter();
        held.map(|e| e.data.random).collect()
    };
    assert_eq!(held(&group, first), [11, 12]);
    assert_eq!(held(&group, second), [21, 22]);
    // The upload is known to have become the version, current or not.
    assert_eq!(uploaded(&group, "p", 1), None);
    let again = group.run(&complete(&group, "p", 1, &[1, 2], 7));
    let completed = crate::UploadRefusal::Completed {
        generation: marram_types::Generation(first),
    };
    assert_eq!(again, ObjectOutcome::Refused(completed.into()));
    // Its part is encoded anew, and counted for the version that has it.
    let one = extents(&group, "p", first).remove(1);
    group.run(&reencode(&one, "2+2", 77));
    assert_eq!(held(&group, first), [11, 77]);
    assert_eq!(usage(&group).narrowed, 1);
    // Current again, and then gone.
    group.run(&delete_version("p", second));
    assert_eq!(history(&group, "p"), [(first, "V")]);
    drop_all(&mut group);
    assert_eq!(held(&group, first), [11, 77]);
    assert_eq!((usage(&group).narrowed, usage(&group).noncurrent), (1, 0));
    assert!(group.kv.is_empty(Table::NoncurrentUploads));
    group.run(&delete("p"));
    drop_all(&mut group);
    assert_eq!(held(&group, first), [11, 77]);
    group.run(&delete_version("p", first));
    drop_all(&mut group);
    assert!(group.kv.is_empty(Table::UploadParts));
    assert!(group.kv.is_empty(Table::NoncurrentUploads));
    assert_eq!(usage(&group).narrowed, 0);
}

/// A drop that is under way when its version ceases to be current takes nothing of it.
#[test]
fn a_drop_that_goes_on_spares_what_a_version_has() {
    let mut group = on();
    let first = of_parts(&mut group, 1, 10);
    group.run(&put("p", 9, inline(9, b"x")));
    while group.run(&ObjectCommand::Upload(UploadCommand::Drop))
        != (ObjectOutcome::PartsDropped { done: true })
    {}
    assert_eq!(extents(&group, "p", first).len(), 2);
}

fn reprofiled(epoch: u64, wanted: &str) -> ObjectCommand {
    ObjectCommand::BucketFence(BucketRecord {
        profile: profile(wanted),
        versioning: Versioning::On,
        ..bucket_record(epoch, BucketState::Active)
    })
}

fn judge_all(group: &mut Group) {
    let mut after = None;
    loop {
        let command = ObjectCommand::JudgeVersions {
            bucket: BUCKET,
            after: after.map(|text: String| crate::testing::key(&text)),
        };
        match group.run(&command) {
            ObjectOutcome::Judged { done: true, .. } => break,
            ObjectOutcome::Judged { after: at, .. } => after = at,
            other => panic!("{other:?}"),
        }
    }
}

/// Judges noncurrent versions to the end; how many entries that took.
fn judge_noncurrent(group: &mut Group) -> usize {
    let mut after = None;
    for entries in 1.. {
        let bucket = BUCKET;
        let command = ObjectCommand::Version(VersionCommand::Judge { bucket, after });
        let first = group.run(&command);
        let ObjectOutcome::NoncurrentJudged { after: at, done } = first else {
            panic!("{first:?}");
        };
        if done {
            return entries;
        }
        // An entry that comes twice changes nothing.
        let before = group.kv.clone();
        group.run(&command);
        assert_eq!(
            before.len(Table::NoncurrentCursors),
            group.kv.len(Table::NoncurrentCursors)
        );
        after = at;
    }
    unreachable!("it ends")
}

#[test]
fn a_changed_profile_is_what_noncurrent_versions_are_judged_by_too() {
    let mut group = on();
    for n in 0..300 {
        group.run(&put("many", 1000 + n, inline(n as u64, b"x")));
    }
    let old = at(&mut group, &striped("a", 1, "4+2", 5));
    group.run(&striped("a", 2, "4+2", 5));
    group.run(&reprofiled(3, "3+3"));
    let judging = ObjectQuery::JudgingNoncurrent;
    let both = ObjectAnswer::JudgingNoncurrent(vec![(BUCKET, None)]);
    assert_eq!(ask(&group, &judging), both);
    judge_all(&mut group);
    assert_eq!(usage(&group).under_protected, 1, "the current one");
    assert_eq!(judge_noncurrent(&mut group), 3);
    assert_eq!(usage(&group).under_protected, 2);
    assert_eq!(usage(&group).off_profile, 2);
    assert_eq!(group.kv.len(Table::Tickets), 2);
    let VersionAnswer::Version { head, .. } = version(&group, "a", Some(old)) else {
        panic!("a version");
    };
    assert_eq!(head.row.nominal, profile("3+3"));
    assert_eq!(
        judge_noncurrent(&mut group),
        1,
        "there is no cursor any more"
    );
}

/// A version that changes tables while versions are gone through is judged then: both cursors may have
/// passed where it goes.
#[test]
fn a_version_on_its_way_is_not_missed_by_a_change_of_profile() {
    let mut group = on();
    let old = at(&mut group, &striped("a", 1, "4+2", 5));
    let marker = at(&mut group, &delete("a"));
    let current = at(&mut group, &striped("b", 2, "4+2", 5));
    group.run(&reprofiled(3, "3+3"));
    // No current version but b's is there to be judged, and then a's is.
    judge_all(&mut group);
    group.run(&delete_version("a", marker));
    assert!(head(&group, "a").unwrap().row.under_protected);
    judge_noncurrent(&mut group);
    assert_eq!(usage(&group).under_protected, 2);
    // The other way round.
    group.run(&reprofiled(4, "4+2"));
    judge_noncurrent(&mut group);
    group.run(&delete("b"));
    judge_all(&mut group);
    assert_eq!(
        (usage(&group).under_protected, usage(&group).off_profile),
        (0, 0)
    );
    assert!(group.kv.is_empty(Table::Tickets));
    let VersionAnswer::Version { head, .. } = version(&group, "b", Some(current)) else {
        panic!("a version");
    };
    assert_eq!(head.row.nominal, profile("4+2"));
    assert!(matches!(
        version(&group, "a", Some(old)),
        VersionAnswer::Version { .. }
    ));
}

/// The proof before a node is removed goes through layout, tickets and garbage; a shard against the
/// layout has a ticket, whatever version holds it.
#[test]
fn the_proof_of_a_drain_counts_it() {
    let (mut group, generation) = kept("4+2");
    let one = extents(&group, "a", generation).remove(0);
    let drives: Vec<DriveId> = live(&group, &one).unwrap().places;
    group.run(&delete_version("a", generation));
    let named = ObjectQuery::Named {
        drives: vec![drives[0]],
        after: None,
        limit: 100,
    };
    let ObjectAnswer::Named(answer) = ask(&group, &named) else {
        panic!("named");
    };
    assert_eq!(answer.queued, 1);
    assert!(pg(one.pg.index) == one.pg);
}
