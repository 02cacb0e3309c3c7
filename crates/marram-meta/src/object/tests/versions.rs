//! Versioned buckets, one test a rule of decision 0032.

mod data;
mod listing;

use marram_types::Generation;

use super::{ask, head, refused, striped, usage};
use crate::kv::{KvRead, Table};
use crate::testing::{
    BUCKET, Group, bucket_record, delete, delete_version, given, inline, key, put, request,
    versioned,
};
use crate::{
    BucketState, ListItem, ListPage, ListQuery, ListStart, ObjectAnswer, ObjectCommand,
    ObjectOutcome, ObjectQuery, Precondition, Refusal, Usage, VersionAnswer, VersionEntry,
    Versioning,
};

/// What a key has of a generation, or at present.
pub(super) fn version(group: &Group, name: &str, generation: Option<u64>) -> VersionAnswer {
    let query = ObjectQuery::Version {
        bucket: BUCKET,
        key: key(name),
        generation: generation.map(Generation),
    };
    match ask(group, &query) {
        ObjectAnswer::Version(found) => found,
        other => panic!("{other:?}"),
    }
}

/// Versions of a page.
fn page(group: &Group, query: ListQuery) -> ListPage {
    match ask(group, &ObjectQuery::ListVersions(query)) {
        ObjectAnswer::List(page) => page,
        other => panic!("{other:?}"),
    }
}

/// All versions, in pages of `limit`.
pub(super) fn all_versions(
    group: &Group,
    prefix: &str,
    delimiter: &str,
    limit: u32,
) -> Vec<ListItem> {
    let mut all: Vec<ListItem> = Vec::new();
    loop {
        let start = match all.last() {
            None => ListStart::Begin,
            Some(ListItem::Prefix(prefix)) => ListStart::AfterPrefix(prefix.clone()),
            Some(ListItem::Version(last)) => {
                ListStart::AfterVersion(last.key.clone(), last.generation)
            }
            Some(other) => panic!("{other:?}"),
        };
        let found = page(
            group,
            ListQuery {
                bucket: BUCKET,
                prefix: prefix.to_owned(),
                start,
                delimiter: delimiter.to_owned(),
                limit,
            },
        );
        all.extend(found.items);
        if !found.more {
            return all;
        }
    }
}

/// The generations of a key with a letter each: a current or earlier version, `V` or `v`, or marker, `M`
/// or `m`. Behind it `0` for the null version.
fn history(group: &Group, name: &str) -> Vec<(u64, &'static str)> {
    let of_key = |item| match item {
        ListItem::Version(entry) if entry.key == name => Some(entry),
        _ => None,
    };
    let letters = |entry: &VersionEntry| match (entry.is_marker, entry.is_current, entry.numbered) {
        (false, true, true) => "V",
        (false, true, false) => "V0",
        (false, false, true) => "v",
        (false, false, false) => "v0",
        (true, true, true) => "M",
        (true, true, false) => "M0",
        (true, false, true) => "m",
        (true, false, false) => "m0",
    };
    all_versions(group, "", "", 100)
        .into_iter()
        .filter_map(of_key)
        .map(|entry| (entry.generation.0, letters(&entry)))
        .collect()
}

/// A group whose bucket keeps versions.
fn on() -> Group {
    let mut group = Group::ready();
    group.run(&versioned(2, Versioning::On));
    group
}

/// Runs a put or delete and says of which generation it was.
fn at(group: &mut Group, command: &ObjectCommand) -> u64 {
    match group.run(command) {
        ObjectOutcome::Committed { generation, .. }
        | ObjectOutcome::Deleted { generation, .. }
        | ObjectOutcome::Marked { generation, .. } => generation.0,
        other => panic!("{other:?}"),
    }
}

fn bytes_of(found: VersionAnswer) -> Vec<u8> {
    match found {
        VersionAnswer::Version { head, .. } => head.inline.expect("inline").to_vec(),
        other => panic!("{other:?}"),
    }
}

fn removed(existed: bool, marker: bool) -> ObjectOutcome {
    ObjectOutcome::VersionDeleted { existed, marker }
}

#[test]
fn a_replaced_version_is_kept_and_read_by_its_generation() {
    let mut group = on();
    let first = at(&mut group, &put("a", 1, inline(1, b"one")));
    let second = at(&mut group, &put("a", 2, inline(2, b"second")));
    assert_eq!(history(&group, "a"), [(second, "V"), (first, "v")]);
    assert_eq!(bytes_of(version(&group, "a", Some(first))), b"one");
    assert_eq!(bytes_of(version(&group, "a", Some(second))), b"second");
    assert_eq!(bytes_of(version(&group, "a", None)), b"second");
    assert_eq!(head(&group, "a").unwrap().row.generation.0, second);
    assert_eq!(version(&group, "a", Some(7)), VersionAnswer::Absent);
    let counted = usage(&group);
    assert_eq!((counted.objects, counted.bytes), (1, 6));
    assert_eq!((counted.noncurrent, counted.noncurrent_bytes), (1, 3));
}

#[test]
fn a_delete_writes_a_marker_even_where_nothing_is() {
    let mut group = on();
    let written = at(&mut group, &put("a", 1, inline(1, b"one")));
    let deleted = group.run(&delete("a"));
    let marked = group.index;
    let outcome = |existed, generation| ObjectOutcome::Marked {
        generation: Generation(generation),
        existed,
    };
    assert_eq!(deleted, outcome(true, marked));
    assert_eq!(head(&group, "a"), None);
    let VersionAnswer::Marker { marker, is_current } = version(&group, "a", None) else {
        panic!("a marker");
    };
    assert_eq!((marker.generation.0, is_current), (marked, true));
    assert_eq!(bytes_of(version(&group, "a", Some(written))), b"one");
    let again = group.run(&delete("a"));
    assert_eq!(again, outcome(false, group.index), "as S3 does");
    let of_nothing = group.run(&delete("b"));
    assert_eq!(of_nothing, outcome(false, group.index));
    let all = history(&group, "a");
    assert_eq!(all, [(group.index - 1, "M"), (marked, "m"), (written, "v")]);
    let counted = usage(&group);
    assert_eq!((counted.objects, counted.noncurrent), (0, 1));
    assert_eq!(counted.markers, 3);
}

#[test]
fn a_repeated_delete_writes_one_marker() {
    let mut group = on();
    let first = group.run_as(request(9), &delete("a"));
    assert_eq!(group.run_as(request(9), &delete("a")), first);
    assert_eq!(usage(&group).markers, 1);
    let generation = group.index - 1;
    let once = group.run_as(request(10), &delete_version("a", generation));
    assert_eq!(once, removed(true, true));
    let again = group.run_as(request(10), &delete_version("a", generation));
    assert_eq!(again, once, "the recorded outcome");
    assert!(group.kv.is_empty(Table::Noncurrent));
}

#[test]
fn a_put_after_a_marker_is_current_and_the_marker_stays() {
    let mut group = on();
    let marker = at(&mut group, &delete("a"));
    let written = at(&mut group, &put("a", 1, inline(1, b"one")));
    assert_eq!(history(&group, "a"), [(written, "V"), (marker, "m")]);
    let found = version(&group, "a", Some(marker));
    assert!(matches!(
        found,
        VersionAnswer::Marker {
            is_current: false,
            ..
        }
    ));
}

#[test]
fn a_deleted_version_is_gone_and_the_next_newest_is_current() {
    let mut group = on();
    let versions: Vec<u64> = (1..=4)
        .map(|n| at(&mut group, &put("a", n, inline(n as u64, b"bytes"))))
        .collect();
    assert_eq!(
        group.run(&delete_version("a", versions[1])),
        removed(true, false)
    );
    assert_eq!(
        group.run(&delete_version("a", versions[1])),
        removed(false, false)
    );
    let left = [(versions[3], "V"), (versions[2], "v"), (versions[0], "v")];
    assert_eq!(history(&group, "a"), left);
    assert_eq!(
        group.run(&delete_version("a", versions[3])),
        removed(true, false)
    );
    assert_eq!(
        history(&group, "a"),
        [(versions[2], "V"), (versions[0], "v")]
    );
    assert_eq!(head(&group, "a").unwrap().row.generation.0, versions[2]);
    for last in [versions[2], versions[0]] {
        group.run(&delete_version("a", last));
    }
    assert_eq!(version(&group, "a", None), VersionAnswer::Absent);
    assert_eq!(usage(&group), Usage::default());
    assert!(group.kv.is_empty(Table::Inline));
}

#[test]
fn a_marker_that_is_deleted_brings_back_what_it_hid() {
    let mut group = on();
    let written = at(&mut group, &put("a", 1, inline(1, b"one")));
    let older = at(&mut group, &delete("a"));
    let newer = at(&mut group, &delete("a"));
    assert_eq!(group.run(&delete_version("a", newer)), removed(true, true));
    assert_eq!(head(&group, "a"), None, "the older marker still hides it");
    assert_eq!(history(&group, "a"), [(older, "M"), (written, "v")]);
    assert_eq!(group.run(&delete_version("a", older)), removed(true, true));
    assert_eq!(history(&group, "a"), [(written, "V")]);
    assert_eq!(head(&group, "a").unwrap().inline.unwrap(), "one");
    assert_eq!((usage(&group).objects, usage(&group).bytes), (1, 3));
}

#[test]
fn a_version_under_a_marker_is_deleted_and_the_marker_stays_current() {
    let mut group = on();
    let written = at(&mut group, &put("a", 1, inline(1, b"one")));
    let marker = at(&mut group, &delete("a"));
    assert_eq!(
        group.run(&delete_version("a", written)),
        removed(true, false)
    );
    assert_eq!(history(&group, "a"), [(marker, "M")]);
    assert_eq!(head(&group, "a"), None);
}

#[test]
fn what_was_there_before_versioning_is_the_null_version() {
    let mut group = Group::ready();
    let before = at(&mut group, &put("a", 1, inline(1, b"one")));
    assert_eq!(history(&group, "a"), [(before, "V0")]);
    group.run(&versioned(2, Versioning::On));
    let after = at(&mut group, &put("a", 2, inline(2, b"two")));
    assert_eq!(history(&group, "a"), [(after, "V"), (before, "v0")]);
    assert_eq!(bytes_of(version(&group, "a", Some(before))), b"one");
}

#[test]
fn while_suspended_the_null_version_is_replaced_and_all_others_stay() {
    let mut group = Group::ready();
    let null = at(&mut group, &put("a", 1, inline(1, b"one")));
    group.run(&versioned(2, Versioning::On));
    let kept = at(&mut group, &put("a", 2, inline(2, b"two")));
    assert_eq!(history(&group, "a"), [(kept, "V"), (null, "v0")]);
    group.run(&versioned(3, Versioning::Suspended));
    // The current version is numbered: it is kept, and the null version goes, deep as it lies.
    let second = at(&mut group, &put("a", 3, inline(3, b"three")));
    assert_eq!(history(&group, "a"), [(second, "V0"), (kept, "v")]);
    assert_eq!(version(&group, "a", Some(null)), VersionAnswer::Absent);
    // The current version is the null version.
    let third = at(&mut group, &put("a", 4, inline(4, b"four")));
    assert_eq!(history(&group, "a"), [(third, "V0"), (kept, "v")]);
    // A delete removes it and marks the key, and each further one replaces the marker.
    let marker = at(&mut group, &delete("a"));
    assert_eq!(history(&group, "a"), [(marker, "M0"), (kept, "v")]);
    let marker = at(&mut group, &delete("a"));
    assert_eq!(history(&group, "a"), [(marker, "M0"), (kept, "v")]);
    let put_again = at(&mut group, &put("a", 5, inline(5, b"five")));
    assert_eq!(history(&group, "a"), [(put_again, "V0"), (kept, "v")]);
    assert_eq!(group.kv.len(Table::Inline), 2);
    // On again: the null version is kept like any other.
    group.run(&versioned(4, Versioning::On));
    let last = at(&mut group, &put("a", 6, inline(6, b"six")));
    let all = [(last, "V"), (put_again, "v0"), (kept, "v")];
    assert_eq!(history(&group, "a"), all);
}

#[test]
fn a_bucket_that_never_kept_versions_keeps_none() {
    let mut group = Group::ready();
    let first = at(&mut group, &put("a", 1, inline(1, b"one")));
    assert_eq!(
        group.run(&delete_version("a", first + 1)),
        removed(false, false)
    );
    let second = at(&mut group, &put("a", 2, inline(2, b"two")));
    assert_eq!(history(&group, "a"), [(second, "V0")]);
    assert_eq!(
        group.run(&delete_version("a", second)),
        removed(true, false)
    );
    assert_eq!(version(&group, "a", None), VersionAnswer::Absent);
    assert!(matches!(
        group.run(&delete("a")),
        ObjectOutcome::Deleted { existed: false, .. }
    ));
    assert!(group.kv.is_empty(Table::Noncurrent));
}

#[test]
fn conditions_are_about_the_current_version_and_a_marker_is_none() {
    let mut group = on();
    let first = at(&mut group, &put("a", 1, inline(1, b"one")));
    let second = at(&mut group, &put("a", 2, inline(2, b"two")));
    let only = |generation| Precondition {
        if_generation_match: Some(Generation(generation)),
        ..Precondition::default()
    };
    let failed = |current| Refusal::PreconditionFailed {
        current: Generation(current),
    };
    let late = given(put("a", 3, inline(3, b"three")), only(first));
    assert_eq!(refused(group.run(&late)), failed(second));
    let late = given(delete_version("a", first), only(first));
    assert_eq!(refused(group.run(&late)), failed(second));
    let right = given(delete("a"), only(second));
    assert!(matches!(group.run(&right), ObjectOutcome::Marked { .. }));
    let late = given(put("a", 4, inline(4, b"four")), only(second));
    assert_eq!(refused(group.run(&late)), failed(0), "deleted is absent");
    let absent = given(put("a", 5, inline(5, b"five")), only(0));
    assert!(matches!(
        group.run(&absent),
        ObjectOutcome::Committed { .. }
    ));
    assert_eq!(usage(&group).noncurrent, 2);
}

#[test]
fn the_groups_own_copy_says_whether_versions_are_kept() {
    let mut group = Group::ready();
    group.run(&put("a", 1, inline(1, b"one")));
    // The switch of the root is not here yet.
    group.run(&put("a", 2, inline(2, b"two")));
    assert!(group.kv.is_empty(Table::Noncurrent));
    group.run(&versioned(2, Versioning::On));
    group.run(&put("a", 3, inline(3, b"three")));
    // An older record changes nothing.
    group.run(&versioned(1, Versioning::Off));
    group.run(&put("a", 4, inline(4, b"four")));
    assert_eq!(group.kv.len(Table::Noncurrent), 2);
}

#[test]
fn a_bucket_with_versions_or_markers_is_not_empty() {
    let mut group = on();
    let left = |group: &mut Group, epoch| {
        let sealed = ObjectCommand::BucketFence(crate::BucketRecord {
            versioning: Versioning::On,
            ..bucket_record(epoch, BucketState::Deleting)
        });
        let fenced = group.run(&sealed);
        group.run(&versioned(epoch + 1, Versioning::On));
        match fenced {
            ObjectOutcome::Fenced { live, .. } => live,
            other => panic!("{other:?}"),
        }
    };
    let written = at(&mut group, &put("a", 1, inline(1, b"one")));
    let marker = at(&mut group, &delete("a"));
    assert_eq!(left(&mut group, 3), 2);
    group.run(&delete_version("a", written));
    assert_eq!(left(&mut group, 5), 1, "a marker alone");
    group.run(&delete_version("a", marker));
    assert_eq!(left(&mut group, 7), 0);
    let gone = bucket_record(9, BucketState::Deleted);
    group.run(&ObjectCommand::BucketFence(gone));
    assert!(group.kv.is_empty(Table::Usage));
}

#[test]
fn names_that_begin_alike_have_versions_of_their_own() {
    let mut group = on();
    let names = ["a", "a\u{1}", "a/", "a0"];
    for (n, name) in (1..).zip(names) {
        group.run(&put(name, n, inline(n as u64, b"x")));
        group.run(&delete(name));
    }
    for name in names {
        assert_eq!(history(&group, name).len(), 2, "{name:?}");
        let all = history(&group, name);
        group.run(&delete_version(name, all[0].0));
        assert!(head(&group, name).is_some());
    }
    assert!(
        group
            .kv
            .get(Table::Objects, &crate::kinds::object::ser_key(BUCKET, "a"))
            .unwrap()
            .is_some()
    );
}

#[test]
fn striped_versions_count_towards_what_is_not_redundant() {
    let mut group = on();
    group.run(&striped("a", 1, "2+1", 5));
    group.run(&striped("a", 2, "4+2", 5));
    let counted = usage(&group);
    assert_eq!((counted.narrowed, counted.under_protected), (1, 1));
    assert_eq!((counted.off_profile, counted.noncurrent), (1, 1));
}
