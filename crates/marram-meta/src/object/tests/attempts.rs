//! What ties the attempts of one request together, and what never does.

use marram_types::Generation;

use super::{head, refused, striped};
use crate::kv::Table;
use crate::stored::Stored;
use crate::testing::{
    DEADLINE_AHEAD_MS, Group, data, delete, extent, given, inline, profile, put, request, wrote,
};
use crate::{
    Command, NewBody, NewVersion, ObjectAnswer, ObjectCommand, ObjectOutcome, ObjectQuery,
    Precondition, Refusal, answer,
};

#[test]
fn a_request_id_answers_only_the_request_that_it_was_used_for() {
    let mut group = Group::ready();
    let first = group.run_as(request(1), &striped("a", 1, "4+2", 5));
    let changed = |change: &dyn Fn(&mut NewVersion)| {
        let mut command = striped("a", 2, "4+2", 5);
        if let ObjectCommand::Put { content, .. } = &mut command {
            change(content);
        }
        command
    };
    let mut bucket = striped("a", 2, "4+2", 5);
    if let ObjectCommand::Put { bucket, .. } = &mut bucket {
        bucket.0 += 1;
    }
    let absent = Precondition {
        if_generation_match: Some(Generation(0)),
        ..Precondition::default()
    };
    let others = [
        striped("b", 2, "4+2", 5),
        bucket,
        given(striped("a", 2, "4+2", 5), absent),
        changed(&|content| content.size += 1),
        changed(&|content| content.crc64 += 1),
        changed(&|content| content.content_type.push('x')),
        changed(&|content| content.metadata.clear()),
        delete("a"),
    ];
    for other in others {
        let refusal = refused(group.run_as(request(1), &other));
        assert_eq!(refusal, Refusal::RequestIdReused, "{other:?}");
        assert!(!refusal.is_retryable());
    }
    assert_eq!(group.kv.len(Table::Garbage), 1, "the attempts' data");
    assert_eq!(head(&group, "b"), None);
    // The record is as it was, and an attempt's own ids and places do not matter.
    assert_eq!(group.run_as(request(1), &striped("a", 3, "2+2", 6)), first);
    let deleted = group.run_as(request(2), &delete("a"));
    let refusal = refused(group.run_as(request(2), &delete("b")));
    assert_eq!(refusal, Refusal::RequestIdReused);
    assert_eq!(group.run_as(request(2), &delete("a")), deleted);
}

#[test]
fn discarded_data_is_never_taken_for_committed() {
    let mut group = Group::ready();
    let command = striped("a", 1, "4+2", 5);
    let late = group.seal(Some(request(1)), &command);
    group.time_ms += DEADLINE_AHEAD_MS + 1;
    group.run(&put("b", 2, inline(1, b"x")));
    assert_eq!(refused(group.apply(&late)), Refusal::DeadlinePassed);
    // Sealed again with a deadline that has not passed, under the same id and under another one.
    for id in [1, 2] {
        let refusal = refused(group.run_as(request(id), &command));
        assert_eq!(refusal, Refusal::DataDiscarded);
    }
    // With one more extent: that one can not be committed either.
    let both = [1, 7].map(|random| wrote(extent(data(5, random), profile("4+2"), 1 << 20)));
    let both = put("a", 3, NewBody::Extents(both.to_vec()));
    let refusal = refused(group.run_as(request(3), &both));
    assert_eq!(refusal, Refusal::DataDiscarded);
    assert_eq!(group.kv.len(Table::Garbage), 2);
    assert_eq!(head(&group, "a"), None);
    // The client's request with data written again.
    let again = group.run_as(request(1), &striped("a", 4, "4+2", 6));
    assert!(matches!(again, ObjectOutcome::Committed { .. }));
}

/// A copy's bytes are the source's, which may be replaced between two attempts.
#[test]
fn a_put_that_says_what_was_asked_is_the_same_with_other_bytes() {
    let mut group = Group::ready();
    let copy = |version, asked, size| {
        let mut command = striped("a", version, "4+2", size);
        if let ObjectCommand::Put { content, .. } = &mut command {
            content.asked = Some(asked);
            content.crc64 = size;
        }
        command
    };
    let found = |group: &Group| {
        let query = ObjectQuery::Request(request(1));
        match answer(&group.kv, group.index, &query).unwrap() {
            ObjectAnswer::Request(found) => found,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(found(&group), None);
    let first = group.run_as(request(1), &copy(1, 77, 5));
    let ObjectOutcome::Copied(told) = &first else {
        panic!("{first:?}");
    };
    let row = head(&group, "a").unwrap().row;
    assert_eq!(
        (told.version, told.generation),
        (row.version, row.generation)
    );
    assert_eq!(
        (told.size, told.crc64, &told.etag),
        (row.size, 5, &row.etag)
    );
    assert_eq!(told.metadata, row.metadata);
    assert_eq!(told.profiles, [profile("4+2")]);
    assert_eq!(group.run_as(request(1), &copy(2, 77, 6)), first);
    assert_eq!(group.kv.len(Table::Garbage), 1, "the second attempt's data");
    let refusal = refused(group.run_as(request(1), &copy(3, 78, 5)));
    assert_eq!(refusal, Refusal::RequestIdReused);
    let known = found(&group).expect("it is remembered");
    assert_eq!(known.asked, Some(77));
    assert_eq!(ObjectOutcome::decode(&known.outcome), Ok(first));
}

/// What is in logs stays readable: these bytes never change their meaning.
#[test]
fn puts_have_their_bytes() {
    let mut command = put("k", 1, inline(1, b"xy"));
    let bare = command.ser_value();
    assert_eq!((bare[0], command.version()), (129, 2));
    for (asked, tag, tail) in [
        (None, 177, &[1, 1, b't', 1, b'v'][..]),
        (Some(7), 212, &[1, 1, b't', 1, b'v', 0, 0, 0, 0, 0, 0, 0, 7]),
        (Some(7), 212, &[0, 0, 0, 0, 0, 0, 0, 0, 7]),
    ] {
        let ObjectCommand::Put { content, .. } = &mut command else {
            unreachable!("it is a put")
        };
        content.asked = asked;
        content.tags = match tail.len() {
            9 => Vec::new(),
            _ => vec![("t".to_owned(), "v".to_owned())],
        };
        let bytes = command.ser_value();
        assert_eq!(bytes, [&[tag], &bare[1..], tail].concat());
        assert_eq!(ObjectCommand::deser_value(&bytes), Ok(command.clone()));
        assert_eq!(command.version(), 4);
    }
}
