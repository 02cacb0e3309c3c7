//! Versions with a profile of their own, one test a rule.

use super::events::keep;
use super::reencode::judge_all;
use super::uploads::{complete, create, name, part};
use super::{head, refused, striped, usage};
use crate::kv::Table;
use crate::testing::{Group, bucket_record, data, extent, profile, put, wrote};
use crate::{
    BucketRecord, BucketState, Command, NewBody, OWN_PROFILES_SINCE, ObjectCommand, ObjectOutcome,
    Refusal, UploadCommand,
};

/// The bucket, with profiles that writes may ask for.
fn bucket(epoch: u64, own: &str, allowed: &[&str]) -> ObjectCommand {
    ObjectCommand::BucketFence(BucketRecord {
        profile: profile(own),
        allowed: allowed.iter().map(|text| profile(text)).collect(),
        ..bucket_record(epoch, BucketState::Active)
    })
}

/// A put that asks for a profile.
fn asks(wanted: &str, mut command: ObjectCommand) -> ObjectCommand {
    if let ObjectCommand::Put { content, .. } = &mut command {
        content.own = Some(profile(wanted));
    }
    command
}

#[test]
fn a_put_has_the_profile_that_it_asks_for_where_the_bucket_allows_it() {
    let mut group = Group::ready();
    let command = asks("3+3", striped("a", 1, "3+3", 5));
    assert_eq!(command.version(), OWN_PROFILES_SINCE);
    let refusal = Refusal::ProfileNotAllowed {
        profile: profile("3+3"),
    };
    assert_eq!(refused(group.run(&command)), refusal);
    group.run(&bucket(2, "4+2", &["2+1", "3+3"]));
    assert!(
        group.kv.is_empty(Table::ProfileCursors),
        "nothing is judged"
    );
    // What was refused is garbage by now: it is written anew.
    group.run(&asks("3+3", striped("a", 9, "3+3", 5)));
    let row = head(&group, "a").unwrap().row;
    let flags = (row.narrowed, row.under_protected, row.off_profile);
    assert_eq!(
        (row.own, row.nominal),
        (Some(profile("3+3")), profile("3+3"))
    );
    assert_eq!(flags, (false, false, false));

    // Small ones are kept as copies, as many as it says.
    let copies = extent(data(5, 3), profile("1+3"), 100_000);
    let small = put("c", 3, NewBody::Extents(vec![wrote(copies)]));
    group.run(&asks("3+3", small));
    let row = head(&group, "c").unwrap().row;
    assert_eq!(
        (row.own, row.nominal),
        (Some(profile("3+3")), profile("1+3"))
    );
    assert!(!row.off_profile);

    // Nodes were away: it is brought to its own profile, not to the bucket's.
    group.run(&asks("3+3", striped("b", 2, "1+2", 5)));
    let row = head(&group, "b").unwrap().row;
    assert!(row.narrowed && row.under_protected);
    assert_eq!(usage(&group).off_profile, 1);

    // Who asks for what the bucket has anyway follows it.
    group.run(&asks("4+2", striped("d", 4, "4+2", 5)));
    assert_eq!(head(&group, "d").unwrap().row.own, None);
}

#[test]
fn a_version_with_its_own_profile_does_not_follow_the_buckets() {
    let mut group = Group::ready();
    group.run(&bucket(2, "4+2", &["3+3"]));
    group.run(&asks("3+3", striped("own", 1, "3+3", 5)));
    group.run(&striped("of-bucket", 2, "4+2", 5));
    let before = head(&group, "own").unwrap().row;
    group.run(&bucket(3, "2+1", &["3+3"]));
    judge_all(&mut group);
    assert_eq!(head(&group, "own").unwrap().row, before);
    let row = head(&group, "of-bucket").unwrap().row;
    assert_eq!((row.nominal, row.off_profile), (profile("2+1"), true));
    assert_eq!(usage(&group).off_profile, 1);
}

#[test]
fn what_is_not_allowed_any_more_follows_the_bucket() {
    let mut group = Group::ready();
    group.run(&bucket(2, "4+2", &["2+1", "3+3"]));
    group.run(&asks("3+3", striped("a", 1, "3+3", 5)));
    group.run(&asks("2+1", striped("b", 2, "2+1", 5)));
    let inline = NewBody::Inline {
        data: data(0, 9),
        bytes: bytes::Bytes::from_static(b"x"),
    };
    group.run(&asks("3+3", put("small", 3, inline)));
    let stays = head(&group, "b").unwrap().row;
    group.run(&bucket(3, "4+2", &["2+1"]));
    judge_all(&mut group);
    let row = head(&group, "a").unwrap().row;
    assert_eq!((row.own, row.nominal), (None, profile("4+2")));
    assert!(row.off_profile && row.narrowed);
    assert_eq!(usage(&group).off_profile, 1);
    let row = head(&group, "small").unwrap().row;
    assert_eq!((row.own, row.nominal), (None, profile("1+2")));
    assert_eq!(head(&group, "b").unwrap().row, stays);
    let late = asks("3+3", striped("c", 4, "3+3", 5));
    assert!(matches!(
        refused(group.run(&late)),
        Refusal::ProfileNotAllowed { .. }
    ));
}

#[test]
fn a_withdrawal_is_no_event_and_counts_where_the_bucket_has_the_profile_too() {
    let mut group = Group::ready();
    group.run(&keep(1 << 40, 1 << 20));
    group.run(&bucket(2, "4+2", &["3+3"]));
    group.run(&asks("3+3", striped("a", 1, "3+3", 5)));
    group.run(&bucket(3, "3+3", &["3+3"]));
    judge_all(&mut group);
    assert_eq!(head(&group, "a").unwrap().row.own, Some(profile("3+3")));
    let events = group.kv.len(Table::Events);
    assert!(events > 0, "the put is one");
    group.run(&bucket(4, "3+3", &[]));
    judge_all(&mut group);
    let row = head(&group, "a").unwrap().row;
    assert_eq!((row.own, row.nominal), (None, profile("3+3")));
    assert!(!row.off_profile, "its bytes are kept as before");
    group.run(&bucket(5, "4+2", &[]));
    judge_all(&mut group);
    let row = head(&group, "a").unwrap().row;
    assert_eq!((row.nominal, row.off_profile), (profile("4+2"), true));
    assert_eq!(group.kv.len(Table::Events), events, "nobody wrote anything");
}

/// The same creation, with a profile of its own.
fn upload_of(wanted: &str) -> ObjectCommand {
    let ObjectCommand::Upload(UploadCommand::Create {
        content_type,
        metadata,
        tags,
        ..
    }) = create("a", 1)
    else {
        unreachable!("it creates an upload");
    };
    ObjectCommand::Upload(UploadCommand::Create {
        name: name("a", 1),
        content_type,
        metadata,
        tags,
        stream: false,
        own: Some(profile(wanted)),
    })
}

#[test]
fn an_upload_has_the_profile_that_it_began_with() {
    let mut group = Group::ready();
    assert_eq!(upload_of("3+3").version(), OWN_PROFILES_SINCE);
    assert!(matches!(
        refused(group.run(&upload_of("3+3"))),
        Refusal::ProfileNotAllowed { .. }
    ));
    group.run(&bucket(2, "4+2", &["3+3"]));
    group.run(&upload_of("3+3"));
    group.run(&part("a", 1, 1, "3+3", 101));
    // The bucket's own profile may change meanwhile.
    group.run(&bucket(3, "2+1", &["3+3"]));
    judge_all(&mut group);
    group.run(&part("a", 1, 2, "3+3", 102));
    let done = complete(&group, "a", 1, &[1, 2], 50);
    let done = group.run(&done);
    assert!(
        matches!(done, ObjectOutcome::UploadCompleted(_)),
        "{done:?}"
    );
    let row = head(&group, "a").unwrap().row;
    assert_eq!(
        (row.own, row.nominal),
        (Some(profile("3+3")), profile("3+3"))
    );
    assert!(!row.off_profile && group.kv.is_empty(Table::ProfileCursors));

    // Withdrawn later, its parts are judged by what the bucket has.
    group.run(&bucket(4, "2+1", &[]));
    judge_all(&mut group);
    let row = head(&group, "a").unwrap().row;
    assert_eq!((row.own, row.nominal), (None, profile("2+1")));
    assert!(row.off_profile);
}

#[test]
fn an_upload_whose_profile_is_withdrawn_follows_the_bucket() {
    let mut group = Group::ready();
    group.run(&bucket(2, "4+2", &["3+3"]));
    group.run(&upload_of("3+3"));
    group.run(&part("a", 1, 1, "3+3", 101));
    group.run(&bucket(3, "4+2", &[]));
    judge_all(&mut group);
    group.run(&part("a", 1, 2, "4+2", 102));
    let done = complete(&group, "a", 1, &[1, 2], 50);
    let done = group.run(&done);
    assert!(
        matches!(done, ObjectOutcome::UploadCompleted(_)),
        "{done:?}"
    );
    judge_all(&mut group);
    let row = head(&group, "a").unwrap().row;
    assert_eq!((row.own, row.nominal), (None, profile("4+2")));
    assert!(row.off_profile, "the first part");
}
