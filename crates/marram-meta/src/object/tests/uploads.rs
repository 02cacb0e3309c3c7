//! Multipart uploads, one test a rule.

use marram_types::{DriveId, Generation, UploadId, VersionId};

use super::{ask, head, refused, usage};
use crate::kv::Table;
use crate::testing::{
    BUCKET, Group, bucket_record, data, delete, extent, given, inline, key, profile, put, request,
    wrote,
};
use crate::{
    Body, BucketState, CompletedUpload, Completion, Extent, Malformed, NewPart, ObjectAnswer,
    ObjectCommand, ObjectOutcome, ObjectQuery, PartRanges, PartSums, Precondition, Refusal,
    TicketReason, UploadAnswer, UploadCommand, UploadFound, UploadName, UploadQuery, UploadRefusal,
    UploadsAnswer, UploadsQuery, Usage,
};

const PART: u64 = 8 << 20;

pub(super) fn name(object: &str, upload: u128) -> UploadName {
    UploadName {
        bucket: BUCKET,
        key: key(object),
        upload: UploadId(upload),
    }
}

pub(super) fn create(object: &str, upload: u128) -> ObjectCommand {
    ObjectCommand::Upload(UploadCommand::Create {
        name: name(object, upload),
        content_type: "text/plain".to_owned(),
        metadata: vec![("a".to_owned(), "b".to_owned())],
        tags: vec![("stage".to_owned(), "raw".to_owned())],
        stream: false,
        own: None,
    })
}

/// A part of one extent; `random` names its data.
pub(super) fn part(
    object: &str,
    upload: u128,
    part: u16,
    written: &str,
    random: u64,
) -> ObjectCommand {
    let one = extent(data(5, random), profile(written), PART);
    ObjectCommand::Upload(UploadCommand::Part {
        name: name(object, upload),
        content: NewPart {
            part,
            size: PART,
            crc64: random,
            etag: format!("\"{random}\""),
            sums: PartSums::default(),
            extents: vec![wrote(one)],
        },
    })
}

pub(super) fn uploaded(group: &Group, object: &str, upload: u128) -> Option<UploadAnswer> {
    let query = UploadQuery {
        name: name(object, upload),
        after: 0,
        limit: 1000,
    };
    match ask(group, &ObjectQuery::Upload(query)) {
        ObjectAnswer::Upload(UploadFound::Open(answer)) => Some(answer),
        ObjectAnswer::Upload(_) => None,
        other => panic!("{other:?}"),
    }
}

/// A completion with these parts, as a sender who has just looked would make it.
pub(super) fn complete(
    group: &Group,
    object: &str,
    upload: u128,
    parts: &[u16],
    version: u128,
) -> ObjectCommand {
    let seen = uploaded(group, object, upload);
    let has = |number: &u16| parts.contains(number);
    let items = seen.iter().flat_map(|seen| &seen.parts);
    ObjectCommand::Upload(UploadCommand::Complete {
        name: name(object, upload),
        content: Completion {
            version: VersionId(version),
            revision: seen.as_ref().map_or(0, |seen| seen.row.revision),
            parts: PartRanges::new(parts.iter().copied()).unwrap(),
            size: items.filter(|p| has(&p.part)).map(|p| p.size).sum(),
            crc64: 9,
            etag: format!("\"{version:x}-{}\"", parts.len()),
            asked: parts.iter().fold(7, |sum, n| sum * 31 + u64::from(*n)),
        },
        precondition: Precondition::default(),
    })
}

fn abort(object: &str, upload: u128) -> ObjectCommand {
    ObjectCommand::Upload(UploadCommand::Abort(name(object, upload)))
}

pub(super) fn drop_all(group: &mut Group) {
    let drop = ObjectCommand::Upload(UploadCommand::Drop);
    while group.run(&drop) != (ObjectOutcome::PartsDropped { done: true }) {}
}

/// The data of an object, in the order of its bytes.
pub(super) fn data_of(group: &Group, object: &str) -> Vec<u64> {
    match head(group, object).map(|head| head.row.body) {
        Some(Body::Extents(extents)) => extents.iter().map(|e| e.data.random).collect(),
        None => Vec::new(),
        Some(other) => panic!("{other:?}"),
    }
}

/// A group with an upload of parts 1 to `last`, whose data is 101 and so on.
fn with_parts(last: u16) -> Group {
    let mut group = Group::ready();
    group.run(&create("a", 1));
    // In any order.
    for number in (1..=last).rev() {
        let stored = group.run(&part("a", 1, number, "4+2", 100 + u64::from(number)));
        assert!(
            matches!(stored, ObjectOutcome::PartStored { .. }),
            "{stored:?}"
        );
    }
    group
}

#[test]
fn parts_become_the_object_where_they_lie() {
    let mut group = with_parts(3);
    assert_eq!(head(&group, "a"), None, "nothing partial is visible");
    let parts = Usage {
        part_bytes: 3 * (8 << 20),
        ..Usage::default()
    };
    assert_eq!(usage(&group), parts);
    let references = group.kv.len(Table::DataRefs);
    let rows = group.kv.len(Table::UploadParts);
    let command = complete(&group, "a", 1, &[1, 2, 3], 50);
    let committed = group.run_as(request(1), &command);
    assert!(matches!(committed, ObjectOutcome::UploadCompleted(_)));
    let row = head(&group, "a").unwrap().row;
    assert_eq!(
        (row.size, row.content_type.as_str()),
        (3 * PART, "text/plain")
    );
    assert_eq!(row.metadata, [("a".to_owned(), "b".to_owned())]);
    assert_eq!(data_of(&group, "a"), [101, 102, 103]);
    assert_eq!((usage(&group).objects, usage(&group).bytes), (1, 3 * PART));
    // Nothing of the parts was written again.
    assert_eq!(group.kv.len(Table::DataRefs), references);
    assert_eq!(group.kv.len(Table::UploadParts), rows);
    assert!(group.kv.is_empty(Table::Uploads) && group.kv.is_empty(Table::UploadDrops));
    assert!(group.kv.is_empty(Table::Garbage));

    // The same request again has the same answer; another one hears what became of the upload.
    assert_eq!(group.run_as(request(1), &command), committed);
    let generation = row.generation;
    let again = refused(group.run(&command_with_version(&command, 51)));
    assert_eq!(again, UploadRefusal::Completed { generation }.into());
    let late = refused(group.run(&part("a", 1, 4, "4+2", 104)));
    assert_eq!(late, UploadRefusal::Completed { generation }.into());
    assert_eq!(group.kv.len(Table::Garbage), 1, "its data is garbage");
}

fn command_with_version(command: &ObjectCommand, version: u128) -> ObjectCommand {
    let mut command = command.clone();
    if let ObjectCommand::Upload(UploadCommand::Complete { content, .. }) = &mut command {
        content.version = VersionId(version);
    }
    command
}

#[test]
fn an_entry_of_ten_thousand_parts_is_small_and_so_is_the_row() {
    let mut group = Group::ready();
    group.run(&create("a", 1));
    for number in 1..=10_000 {
        group.run(&part("a", 1, number, "4+2", u64::from(number)));
    }
    let all: Vec<u16> = (1..=10_000).collect();
    let parts = PartRanges::new(all.iter().copied()).unwrap();
    assert_eq!((parts.runs(), parts.len()), (&[(1, 10_000)][..], 10_000));
    let command = ObjectCommand::Upload(UploadCommand::Complete {
        name: name("a", 1),
        content: Completion {
            version: VersionId(1),
            revision: group.index,
            parts,
            size: 10_000 * PART,
            crc64: 0,
            etag: "\"x-10000\"".to_owned(),
            asked: 0,
        },
        precondition: Precondition::default(),
    });
    assert!(group.seal(Some(request(1)), &command).len() < 256);
    assert!(matches!(
        group.run(&command),
        ObjectOutcome::UploadCompleted(_)
    ));
    let row_key = crate::kinds::object::ser_key(BUCKET, "a");
    let row = crate::KvRead::get(&group.kv, Table::Objects, &row_key).unwrap();
    assert!(row.unwrap().len() < 256);
    let answer = ask(
        &group,
        &ObjectQuery::Head {
            bucket: BUCKET,
            key: key("a"),
        },
    )
    .encode();
    assert!(answer.len() < 2 << 20, "{} bytes", answer.len());
    assert_eq!(data_of(&group, "a").len(), 10_000);
    // It goes in bounded entries.
    group.run(&delete("a"));
    assert_eq!(head(&group, "a"), None);
    assert!(group.kv.is_empty(Table::Garbage));
    group.run(&ObjectCommand::Upload(UploadCommand::Drop));
    assert_eq!(group.kv.len(Table::Garbage), 128);
    drop_all(&mut group);
    assert_eq!(group.kv.len(Table::Garbage), 10_000);
    assert!(group.kv.is_empty(Table::UploadParts));
}

#[test]
fn the_later_of_two_parts_wins_and_a_part_may_be_left_out() {
    let mut group = with_parts(4);
    group.run(&part("a", 1, 2, "4+2", 202));
    assert_eq!(group.kv.len(Table::Garbage), 1, "the former part");
    let command = complete(&group, "a", 1, &[2, 4], 50);
    assert!(matches!(
        group.run(&command),
        ObjectOutcome::UploadCompleted(_)
    ));
    assert_eq!(data_of(&group, "a"), [202, 104]);
    assert_eq!(usage(&group).bytes, 2 * PART);
    drop_all(&mut group);
    assert_eq!(data_of(&group, "a"), [202, 104]);
    assert_eq!(group.kv.len(Table::Garbage), 3);
    assert_eq!(group.kv.len(Table::UploadParts), 2);
}

#[test]
fn a_completion_is_of_the_parts_that_its_sender_saw() {
    let mut group = with_parts(2);
    let seen = complete(&group, "a", 1, &[1, 2], 50);
    group.run(&part("a", 1, 2, "4+2", 202));
    assert_eq!(
        refused(group.run_as(request(1), &seen)),
        UploadRefusal::Changed.into()
    );
    // Not remembered: the same request, looked at again, goes through.
    let again = complete(&group, "a", 1, &[1, 2], 51);
    let done = group.run_as(request(1), &again);
    assert!(matches!(done, ObjectOutcome::UploadCompleted(_)));
    assert_eq!(data_of(&group, "a"), [101, 202]);
}

#[test]
fn completions_of_what_is_not_there_are_refused() {
    let mut group = with_parts(2);
    let unknown = complete(&group, "a", 9, &[1], 50);
    assert_eq!(refused(group.run(&unknown)), UploadRefusal::Unknown.into());
    let other_key = complete(&group, "b", 1, &[1], 50);
    assert_eq!(
        refused(group.run(&other_key)),
        UploadRefusal::Unknown.into()
    );
    let missing = complete(&group, "a", 1, &[1, 3], 50);
    assert_eq!(
        refused(group.run(&missing)),
        Refusal::Malformed(Malformed::Part)
    );
    let none = complete(&group, "a", 1, &[], 50);
    assert_eq!(
        refused(group.run(&none)),
        Refusal::Malformed(Malformed::Part)
    );
    let guarded = given(
        complete(&group, "a", 1, &[1], 50),
        Precondition {
            if_generation_match: Some(Generation(4)),
            ..Precondition::default()
        },
    );
    let failed = Refusal::PreconditionFailed {
        current: Generation(0),
    };
    assert_eq!(refused(group.run(&guarded)), failed);
    assert_eq!(
        uploaded(&group, "a", 1).unwrap().parts.len(),
        2,
        "nothing changed"
    );
}

#[test]
fn parts_are_numbered_one_to_ten_thousand_and_have_a_size() {
    let mut group = with_parts(1);
    for number in [0, 10_001] {
        let wrong = refused(group.run(&part("a", 1, number, "4+2", 900)));
        assert_eq!(wrong, Refusal::Malformed(Malformed::Part));
    }
    let mut long = part("a", 1, 1, "4+2", 901);
    if let ObjectCommand::Upload(UploadCommand::Part { content, .. }) = &mut long {
        content.size += 1;
    }
    assert_eq!(
        refused(group.run(&long)),
        Refusal::Malformed(Malformed::Size)
    );
    assert_eq!(PartRanges::new([2, 1]), None);
    assert_eq!(PartRanges::new([1, 1]), None);
    assert_eq!(PartRanges::new([0]), None);
    assert_eq!(PartRanges::new([10_001]), None);
}

#[test]
fn an_aborted_upload_is_garbage_and_takes_no_parts() {
    let mut group = with_parts(3);
    assert_eq!(
        group.run_as(request(1), &abort("a", 1)),
        ObjectOutcome::Done
    );
    assert_eq!(
        group.run_as(request(1), &abort("a", 1)),
        ObjectOutcome::Done
    );
    assert_eq!(
        refused(group.run(&abort("a", 1))),
        UploadRefusal::Unknown.into()
    );
    let late = refused(group.run(&part("a", 1, 4, "4+2", 104)));
    assert_eq!(late, UploadRefusal::Unknown.into());
    drop_all(&mut group);
    assert_eq!(group.kv.len(Table::Garbage), 4);
    assert!(group.kv.is_empty(Table::UploadParts));
}

#[test]
fn an_overwritten_object_of_parts_is_garbage_and_what_overwrote_it_is_not() {
    let mut group = with_parts(2);
    group.run(&complete(&group, "a", 1, &[1, 2], 50));
    group.run(&put("a", 60, inline(1, b"small")));
    group.run(&create("a", 2));
    group.run(&part("a", 2, 1, "4+2", 301));
    group.run(&complete(&group, "a", 2, &[1], 70));
    drop_all(&mut group);
    assert_eq!(data_of(&group, "a"), [301]);
    assert_eq!(group.kv.len(Table::Garbage), 2);
    assert!(group.kv.is_empty(Table::Inline));
    assert_eq!(usage(&group).objects, 1);
}

#[test]
fn the_removal_of_a_bucket_ends_its_uploads() {
    let mut group = with_parts(2);
    group.run(&create("b", 2));
    let sealed = group.run(&ObjectCommand::BucketFence(bucket_record(
        2,
        BucketState::Deleting,
    )));
    assert!(
        matches!(sealed, ObjectOutcome::Fenced { live: 0, .. }),
        "uploads do not stand in its way"
    );
    let late = refused(group.run(&part("a", 1, 3, "4+2", 103)));
    assert_eq!(late, Refusal::BucketSealed { bucket: BUCKET });
    group.run(&ObjectCommand::BucketFence(bucket_record(
        3,
        BucketState::Deleted,
    )));
    assert_eq!(ask(&group, &ObjectQuery::Drops), ObjectAnswer::Drops(true));
    drop_all(&mut group);
    assert_eq!(ask(&group, &ObjectQuery::Drops), ObjectAnswer::Drops(false));
    assert!(group.kv.is_empty(Table::Uploads) && group.kv.is_empty(Table::UploadParts));
    assert_eq!(group.kv.len(Table::Garbage), 2);
}

#[test]
fn uploads_are_listed_by_key_and_prefix_in_pages() {
    let mut group = Group::ready();
    let keys = ["a", "a\0", "a\0b", "ab", "b", "a"];
    for (upload, key) in (1..).zip(keys) {
        group.run(&create(key, upload));
    }
    let list = |prefix: &str, after: Option<(String, UploadId)>, limit| {
        let query = UploadsQuery {
            bucket: BUCKET,
            prefix: prefix.to_owned(),
            after,
            limit,
        };
        match ask(&group, &ObjectQuery::Uploads(query)) {
            ObjectAnswer::Uploads(page) => page,
            other => panic!("{other:?}"),
        }
    };
    let ids = |page: &UploadsAnswer| page.uploads.iter().map(|u| u.upload.0).collect::<Vec<_>>();
    assert_eq!(ids(&list("", None, 10)), [1, 6, 2, 3, 4, 5]);
    assert_eq!(ids(&list("a\0", None, 10)), [2, 3]);
    assert_eq!(
        ids(&list("ab", Some(("a".to_owned(), UploadId(6))), 10)),
        [4]
    );
    let first = list("a", None, 3);
    assert!(first.more);
    let last = first.uploads.last().unwrap();
    let next = list("a", Some((last.key.clone(), last.upload)), 3);
    assert_eq!(
        (ids(&first), ids(&next), next.more),
        (vec![1, 6, 2], vec![3, 4], false)
    );
}

/// Moves, repairs and scrubs see parts as they see versions (rules.md 26).
#[test]
fn parts_are_referred_to_before_and_after_the_completion() {
    let mut group = with_parts(1);
    let one = extent(data(5, 101), profile("4+2"), PART);
    for completed in [false, true] {
        if completed {
            group.run(&complete(&group, "a", 1, &[1], 50));
        }
        let rows = ask(
            &group,
            &ObjectQuery::Rows {
                pg: one.pg,
                after: None,
                limit: 10,
            },
        );
        let ObjectAnswer::Rows(rows) = rows else {
            panic!("{rows:?}")
        };
        assert_eq!(rows.extents.len(), 1);
        let live = ask(
            &group,
            &ObjectQuery::Live {
                pg: one.pg,
                data: one.data,
            },
        );
        let ObjectAnswer::Live(Some(live)) = live else {
            panic!("{live:?}")
        };
        assert_eq!(live, rows.extents[0]);
        assert_eq!(live.crc64, Some(101), "one extent is all of the part");
        let drive = live.places[0];
        let on = ask(
            &group,
            &ObjectQuery::OnDrive {
                drive,
                after: None,
                limit: 10,
            },
        );
        let ObjectAnswer::OnDrive(on) = on else {
            panic!("{on:?}")
        };
        assert_eq!(on.extents.len(), 1);
        a_lost_shard_is_reported_and_found(&mut group, &one, drive);
    }
}

fn a_lost_shard_is_reported_and_found(group: &mut Group, one: &Extent, drive: DriveId) {
    // A lost shard is reported, and its ticket names the part's extent.
    let lost = group.run(&ObjectCommand::ShardMissing {
        pg: one.pg,
        data: one.data,
        shard: 0,
        at: drive,
    });
    assert!(matches!(lost, ObjectOutcome::Shard { missing: true, .. }));
    let tickets = ask(
        group,
        &ObjectQuery::Tickets {
            after: None,
            limit: 10,
        },
    );
    let ObjectAnswer::Tickets(tickets) = tickets else {
        panic!("{tickets:?}")
    };
    assert_eq!(tickets.tickets[0].extent.extent.missing, 1);
    let seen = group.index;
    let placed = group.run(&ObjectCommand::ShardPlaced {
        pg: one.pg,
        data: one.data,
        shard: 0,
        at: vec![drive],
        seen,
    });
    assert!(
        matches!(placed, ObjectOutcome::Shard { missing: false, .. }),
        "{placed:?}"
    );
}

#[test]
fn a_narrow_part_is_counted_and_encoded_anew_before_and_after_the_completion() {
    let mut group = with_parts(1);
    group.run(&part("a", 1, 2, "2+2", 102));
    group.run(&part("a", 1, 3, "1+1", 103));
    let before = uploaded(&group, "a", 1).unwrap().row.totals.tally;
    assert_eq!(
        (before.narrowed, before.under_protected, before.off_profile),
        (2, 1, 2)
    );
    let widen = |group: &mut Group, random: u64, anew: u64| {
        let old = extent(data(5, random), profile("4+2"), PART);
        group.run(&ObjectCommand::Reencode {
            pg: old.pg,
            data: old.data,
            extents: vec![wrote(extent(data(6, anew), profile("4+2"), PART))],
        })
    };
    assert_eq!(widen(&mut group, 103, 503), ObjectOutcome::Reencoded);
    let after = uploaded(&group, "a", 1).unwrap().row.totals.tally;
    assert_eq!(
        (after.narrowed, after.under_protected, after.off_profile),
        (1, 0, 1)
    );
    let done = group.run(&complete(&group, "a", 1, &[1, 2, 3], 50));
    assert!(matches!(
        done,
        ObjectOutcome::UploadCompleted(CompletedUpload {
            under_protected: false,
            ..
        })
    ));
    assert_eq!(
        (usage(&group).narrowed, usage(&group).under_protected),
        (1, 0)
    );
    assert_eq!(widen(&mut group, 102, 502), ObjectOutcome::Reencoded);
    assert_eq!((usage(&group).narrowed, usage(&group).off_profile), (0, 0));
    assert!(!head(&group, "a").unwrap().row.narrowed);
    assert_eq!(data_of(&group, "a"), [101, 502, 503]);
    assert!(group.kv.is_empty(Table::Tickets));
    assert_eq!(widen(&mut group, 102, 602), ObjectOutcome::Superseded);
}

#[test]
fn a_change_of_profile_judges_parts_too() {
    let mut group = with_parts(1);
    let mut changed = bucket_record(2, BucketState::Active);
    changed.profile = profile("2+2");
    group.run(&ObjectCommand::BucketFence(changed));
    judge_all(&mut group);
    group.run(&part("a", 1, 2, "2+2", 102));
    group.run(&complete(&group, "a", 1, &[1, 2], 50));
    judge_all(&mut group);
    let row = head(&group, "a").unwrap().row;
    assert!(row.off_profile && !row.narrowed);
    assert_eq!(row.nominal, profile("2+2"));
    let ObjectAnswer::Tickets(tickets) = ask(
        &group,
        &ObjectQuery::Tickets {
            after: None,
            limit: 9,
        },
    ) else {
        panic!("tickets")
    };
    assert_eq!(tickets.tickets.len(), 1);
    assert!(
        tickets.tickets[0]
            .ticket
            .reasons
            .contains(TicketReason::Reshape)
    );
    assert_eq!(tickets.tickets[0].ticket.data.random, 101);
}

fn judge_all(group: &mut Group) {
    let mut after = None;
    loop {
        let judged = group.run(&ObjectCommand::JudgeVersions {
            bucket: BUCKET,
            after,
        });
        match judged {
            ObjectOutcome::Judged { done: true, .. } => return,
            ObjectOutcome::Judged { after: at, .. } => after = at.map(|at| key(&at)),
            other => panic!("{other:?}"),
        }
    }
}
