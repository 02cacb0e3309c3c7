//! Streams, one test a rule: their bytes are recorded in order, by one writer at a time (rules.md 33).

use marram_types::caps::WRITE_PART_EXTENTS;
use marram_types::{Crc64Nvme, Generation, crc32c, crc32c_joined};

use super::uploads::{complete, data_of, drop_all, name, part, uploaded};
use super::{head, refused, usage};
use crate::kv::Table;
use crate::stored::Stored;
use crate::testing::{BUCKET, Group, bucket_record, data, extent, profile, request, wrote};
use crate::{
    BucketState, Envelope, Malformed, NewRun, ObjectCommand, ObjectOutcome, PartTotals, Refusal,
    StreamState, UploadCommand, UploadRefusal, UploadRow, Usage, WRITES_SINCE, adds_data,
};

pub(super) const RUN: u64 = 8 << 20;

pub(super) fn begin(object: &str, upload: u128) -> ObjectCommand {
    ObjectCommand::Upload(UploadCommand::Create {
        name: name(object, upload),
        content_type: "text/plain".to_owned(),
        metadata: Vec::new(),
        tags: Vec::new(),
        stream: true,
        own: None,
    })
}

pub(super) fn open(object: &str, upload: u128, offset: u64) -> ObjectCommand {
    let name = name(object, upload);
    ObjectCommand::Upload(UploadCommand::Open { name, offset })
}

/// A run of one extent; `random` names its data, and its checksums are those of that number.
pub(super) fn run(
    object: &str,
    upload: u128,
    (epoch, offset): (u64, u64),
    written: &str,
    random: u64,
) -> ObjectCommand {
    let one = extent(data(5, random), profile(written), RUN);
    ObjectCommand::Upload(UploadCommand::Run {
        name: name(object, upload),
        content: NewRun {
            epoch,
            offset,
            size: RUN,
            crc64: random,
            crc32c: u32::try_from(random).unwrap(),
            extents: vec![wrote(one)],
        },
    })
}

fn opened(group: &mut Group, offset: u64) -> u64 {
    match group.run(&open("a", 1, offset)) {
        ObjectOutcome::WriteOpened { epoch } => epoch,
        other => panic!("{other:?}"),
    }
}

/// A group with a stream of so many runs, whose data is 101 and so on, and its writer's epoch.
fn with_runs(count: u64) -> (Group, u64) {
    let mut group = Group::ready();
    group.run(&begin("a", 1));
    let epoch = opened(&mut group, 0);
    for nth in 0..count {
        let command = run("a", 1, (epoch, nth * RUN), "4+2", 101 + nth);
        let recorded = group.run(&command);
        assert!(
            matches!(recorded, ObjectOutcome::RunRecorded { persisted, .. } if persisted == (nth + 1) * RUN),
            "{recorded:?}"
        );
    }
    (group, epoch)
}

#[test]
fn runs_become_the_object_where_they_lie() {
    let (mut group, _) = with_runs(3);
    assert_eq!(head(&group, "a"), None, "nothing partial is visible");
    let counted = Usage {
        part_bytes: 3 * RUN,
        ..Usage::default()
    };
    assert_eq!(usage(&group), counted);
    let seen = uploaded(&group, "a", 1).unwrap();
    let whole = [101, 102, 103]
        .iter()
        .fold(Crc64Nvme::default().value(), |sum, next| {
            Crc64Nvme::joined(sum, *next, RUN)
        });
    let crc32c = [101, 102, 103]
        .iter()
        .fold(crc32c(b""), |sum, next| crc32c_joined(sum, *next, RUN));
    let stream = seen.row.stream.unwrap();
    assert_eq!((stream.crc64, stream.crc32c), (whole, crc32c));
    assert_eq!(seen.parts.len(), 1, "the runs lie in one row");
    assert_eq!((seen.parts[0].size, seen.parts[0].crc64), (3 * RUN, whole));

    let done = group.run_as(request(1), &complete(&group, "a", 1, &[1], 50));
    assert!(
        matches!(done, ObjectOutcome::UploadCompleted(_)),
        "{done:?}"
    );
    assert_eq!(data_of(&group, "a"), [101, 102, 103]);
    assert_eq!(
        (usage(&group).bytes, usage(&group).part_bytes),
        (3 * RUN, 0)
    );
    assert!(group.kv.is_empty(Table::Garbage) && group.kv.is_empty(Table::UploadDrops));
    let generation = head(&group, "a").unwrap().row.generation;
    let late = refused(group.run(&run("a", 1, (0, 3 * RUN), "4+2", 104)));
    assert_eq!(late, UploadRefusal::Completed { generation }.into());
    assert_eq!(group.kv.len(Table::Garbage), 1, "its data is garbage");
}

#[test]
fn a_later_writer_is_heard_and_the_earlier_one_is_not() {
    let (mut group, first) = with_runs(2);
    let second = opened(&mut group, 2 * RUN);
    assert!(second > first);
    let stale = group.run_as(request(5), &run("a", 1, (first, 2 * RUN), "4+2", 200));
    let reason: Refusal = UploadRefusal::StaleWriter { epoch: second }.into();
    assert_eq!(refused(stale), reason);
    assert_eq!(
        group.kv.len(Table::Garbage),
        1,
        "what the stale writer wrote"
    );
    // Its request hears the same again, and changes nothing.
    let again = group.run_as(request(5), &run("a", 1, (first, 2 * RUN), "4+2", 200));
    assert_eq!(refused(again), reason);
    let heard = group.run(&run("a", 1, (second, 2 * RUN), "4+2", 201));
    assert!(
        matches!(heard, ObjectOutcome::RunRecorded { .. }),
        "{heard:?}"
    );
    group.run(&complete(&group, "a", 1, &[1], 50));
    assert_eq!(data_of(&group, "a"), [101, 102, 201]);
}

#[test]
fn a_stream_goes_on_where_it_ends_and_nowhere_else() {
    let (mut group, epoch) = with_runs(2);
    let persisted = 2 * RUN;
    let wrong: Refusal = UploadRefusal::WrongOffset { persisted }.into();
    for offset in [0, RUN, 2 * RUN - 1, 3 * RUN] {
        assert_eq!(refused(group.run(&open("a", 1, offset))), wrong);
        let at = run("a", 1, (epoch, offset), "4+2", 300 + offset);
        assert_eq!(refused(group.run(&at)), wrong);
    }
    // A writer that began at the wrong place has not ended the one before.
    let next = group.run(&run("a", 1, (epoch, persisted), "4+2", 103));
    assert!(
        matches!(next, ObjectOutcome::RunRecorded { .. }),
        "{next:?}"
    );
}

#[test]
fn the_same_run_is_recorded_once() {
    let (mut group, epoch) = with_runs(1);
    let command = run("a", 1, (epoch, RUN), "4+2", 102);
    let recorded = group.run_as(request(7), &command);
    assert_eq!(group.run_as(request(7), &command), recorded);
    assert_eq!(
        group.run_as(request(8), &command),
        ObjectOutcome::AlreadyCommitted
    );
    assert_eq!(uploaded(&group, "a", 1).unwrap().row.totals.bytes, 2 * RUN);
    assert!(group.kv.is_empty(Table::Garbage));
}

#[test]
fn parts_and_streams_are_told_apart() {
    let (mut group, epoch) = with_runs(1);
    assert_eq!(
        refused(group.run(&part("a", 1, 2, "4+2", 400))),
        UploadRefusal::IsStream.into()
    );
    group.run(&super::uploads::create("a", 2));
    let not: Refusal = UploadRefusal::NotStream.into();
    assert_eq!(refused(group.run(&open("a", 2, 0))), not);
    assert_eq!(
        refused(group.run(&run("a", 2, (epoch, 0), "4+2", 401))),
        not
    );
    let unknown: Refusal = UploadRefusal::Unknown.into();
    assert_eq!(refused(group.run(&open("a", 9, 0))), unknown);
}

#[test]
fn a_row_holds_some_runs_and_the_next_one_the_others() {
    let runs = WRITE_PART_EXTENTS as u64 + 3;
    let (mut group, epoch) = with_runs(runs);
    let seen = uploaded(&group, "a", 1).unwrap();
    let sizes: Vec<u64> = seen.parts.iter().map(|part| part.size).collect();
    assert_eq!(sizes, [WRITE_PART_EXTENTS as u64 * RUN, 3 * RUN]);
    // A part is of one profile: the bucket has another one from now on.
    let mut record = bucket_record(2, BucketState::Active);
    record.profile = profile("2+1");
    group.run(&ObjectCommand::BucketFence(record));
    group.run(&run("a", 1, (epoch, runs * RUN), "2+1", 900));
    let seen = uploaded(&group, "a", 1).unwrap();
    assert_eq!(seen.parts.len(), 3);
    assert_eq!(seen.row.totals.tally.off_profile, 0);
    assert!(seen.row.mixed);
    let done = group.run(&complete(&group, "a", 1, &[1, 2, 3], 50));
    assert!(
        matches!(done, ObjectOutcome::UploadCompleted(_)),
        "{done:?}"
    );
    let wanted: Vec<u64> = (101..101 + runs).chain([900]).collect();
    assert_eq!(data_of(&group, "a"), wanted);
}

#[test]
fn a_stream_of_nothing_has_one_empty_part() {
    let (mut group, epoch) = with_runs(0);
    let empty = |offset| {
        ObjectCommand::Upload(UploadCommand::Run {
            name: name("a", 1),
            content: NewRun {
                epoch,
                offset,
                size: 0,
                crc64: 0,
                crc32c: 0,
                extents: Vec::new(),
            },
        })
    };
    let recorded = group.run(&empty(0));
    let crc64 = Crc64Nvme::default().value();
    let none = ObjectOutcome::RunRecorded {
        persisted: 0,
        crc64,
    };
    assert_eq!(recorded, none);
    assert_eq!(group.run(&empty(0)), none, "the same part again");
    let seen = uploaded(&group, "a", 1).unwrap();
    assert_eq!((seen.row.totals.parts, seen.row.totals.bytes), (1, 0));
    let mut wrong = empty(0);
    if let ObjectCommand::Upload(UploadCommand::Run { content, .. }) = &mut wrong {
        content.size = 1;
    }
    assert_eq!(refused(group.run(&wrong)), Malformed::Size.into());
    group.run(&complete(&group, "a", 1, &[1], 50));
    let row = head(&group, "a").unwrap().row;
    assert_eq!(row.size, 0);
    assert_ne!(row.generation, Generation(0));
}

#[test]
fn aborted_and_forgotten_streams_leave_garbage_only() {
    let (mut group, _) = with_runs(3);
    group.run(&ObjectCommand::Upload(UploadCommand::Abort(name("a", 1))));
    assert_eq!(usage(&group), Usage::default());
    drop_all(&mut group);
    assert_eq!(group.kv.len(Table::Garbage), 3);
    assert!(group.kv.is_empty(Table::UploadParts));

    let (mut group, _) = with_runs(3);
    for state in [BucketState::Deleting, BucketState::Deleted] {
        let epoch = 2 + u64::from(state == BucketState::Deleted);
        group.run(&ObjectCommand::BucketFence(bucket_record(epoch, state)));
    }
    drop_all(&mut group);
    assert!(group.kv.is_empty(Table::Uploads) && group.kv.is_empty(Table::UploadParts));
    assert_eq!(group.kv.len(Table::Garbage), 3);
}

#[test]
fn commands_of_streams_wait_for_every_member_and_count_as_data() {
    let group = Group::ready();
    for command in [
        begin("a", 1),
        open("a", 1, 0),
        run("a", 1, (1, 0), "4+2", 5),
    ] {
        let entry = group.seal(Some(request(1)), &command);
        assert_eq!(Envelope::decode(&entry).unwrap().version, WRITES_SINCE);
    }
    let entry = group.seal(Some(request(1)), &run("a", 1, (1, 0), "4+2", 5));
    assert!(adds_data(&entry));
    let (bucket, extents) = match run("a", 1, (1, 0), "4+2", 5).adds_to() {
        Some((bucket, extents)) => (bucket, extents.len()),
        None => panic!("it adds to its bucket"),
    };
    assert_eq!((bucket, extents), (BUCKET, 1));
}

/// Bytes as they lie in the stores of clusters: they are read for ever.
#[test]
fn rows_of_streams_keep_their_layout() {
    let mut row = UploadRow {
        created_ms: 5,
        revision: 300,
        content_type: "t".to_owned(),
        metadata: vec![("a".to_owned(), "b".to_owned())],
        tags: vec![("c".to_owned(), "d".to_owned())],
        profile: profile("4+2"),
        own: None,
        mixed: false,
        totals: PartTotals::default(),
        counted: true,
        stream: Some(StreamState {
            epoch: 300,
            crc64: 0x0102_0304_0506_0708,
            crc32c: 0x0a0b_0c0d,
        }),
    };
    let golden = [
        4, 5, 172, 2, 1, b't', 1, 1, b'a', 1, b'b', 4, 2, 0, 0, 0, 0, 0, 0, 0, 1, 1, b'c', 1, b'd',
        1, 172, 2, 1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13,
    ];
    assert_eq!(row.ser_value(), golden);
    assert_eq!(UploadRow::deser_value(&golden), Ok(row.clone()));
    // Without a stream it is the row of the releases before.
    row.stream = None;
    let before = row.ser_value();
    assert_eq!(before, [&[3][..], &golden[1..26]].concat());
    assert_eq!(UploadRow::deser_value(&before), Ok(row.clone()));
    // With a profile of its own, it tells that it has none.
    row.own = Some(profile("8+3"));
    let own = [&[5][..], &golden[1..26], &[0, 8, 3]].concat();
    assert_eq!(row.ser_value(), own);
    assert_eq!(UploadRow::deser_value(&own), Ok(row.clone()));
    row.stream = UploadRow::deser_value(&golden).unwrap().stream;
    let own = [&[5][..], &golden[1..26], &[1], &golden[26..], &[8, 3]].concat();
    assert_eq!(row.ser_value(), own);
    assert_eq!(UploadRow::deser_value(&own), Ok(row));
}
