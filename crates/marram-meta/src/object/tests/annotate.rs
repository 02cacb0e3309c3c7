//! Tags and descriptions of versions that are there (decision 0048).

use super::uploads::{complete, create, drop_all, part};
use super::versions::version;
use super::{head, refused, striped, usage};
use crate::kv::Table;
use crate::testing::{BUCKET, Group, data, delete, given, inline, key, put, request, versioned};
use crate::{
    AnnotateCommand, Envelope, Malformed, ObjectCommand, ObjectOutcome, Precondition, Refusal,
    TAGS_SINCE, VersionAnswer, VersionRefusal, VersionRow, Versioning, check_object,
};
use marram_types::Generation;

fn pairs(given: &[(&str, &str)]) -> Vec<(String, String)> {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    given.iter().map(owned).collect()
}

fn set_tags(name: &str, generation: Option<u64>, tags: &[(&str, &str)]) -> ObjectCommand {
    ObjectCommand::Annotate(AnnotateCommand::SetTags {
        bucket: BUCKET,
        key: key(name),
        generation: generation.map(Generation),
        tags: pairs(tags),
        precondition: Precondition::default(),
    })
}

pub(super) fn describe(
    name: &str,
    content_type: Option<&str>,
    metadata: Option<&[(&str, &str)]>,
) -> ObjectCommand {
    ObjectCommand::Annotate(AnnotateCommand::Describe {
        bucket: BUCKET,
        key: key(name),
        content_type: content_type.map(str::to_owned),
        metadata: metadata.map(pairs),
        precondition: Precondition::default(),
    })
}

fn tagged(mut command: ObjectCommand, tags: &[(&str, &str)]) -> ObjectCommand {
    match &mut command {
        ObjectCommand::Put { content, .. } => content.tags = pairs(tags),
        _ => unreachable!("a put"),
    }
    command
}

fn row(group: &Group, name: &str, generation: Option<u64>) -> VersionRow {
    match version(group, name, generation) {
        VersionAnswer::Version { head, .. } => head.row,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_put_gives_tags_and_the_next_one_others() {
    let mut group = Group::ready();
    let first = tagged(put("a", 1, inline(1, b"x")), &[("k", "v")]);
    let entry = group.seal(Some(request(1)), &first);
    assert_eq!(Envelope::decode(&entry).unwrap().version, TAGS_SINCE);
    assert!(check_object(&entry).is_ok() && crate::adds_data(&entry));
    let committed = group.apply(&entry);
    assert_eq!(row(&group, "a", None).tags, pairs(&[("k", "v")]));
    // Tags are part of what was asked.
    assert_eq!(group.run_as(request(1), &first), committed);
    let other = tagged(put("a", 2, inline(2, b"x")), &[("k", "w")]);
    assert_eq!(
        refused(group.run_as(request(1), &other)),
        Refusal::RequestIdReused
    );
    group.run(&striped("a", 3, "4+2", 5));
    assert_eq!(row(&group, "a", None).tags, pairs(&[]));
}

#[test]
fn tags_change_and_the_version_does_not() {
    let mut group = Group::ready();
    group.run(&striped("a", 1, "4+2", 5));
    let before = head(&group, "a").unwrap().row;
    let (counted, garbage) = (usage(&group), group.kv.len(Table::Garbage));
    group.time_ms += 1_000;
    let done = group.run(&set_tags("a", None, &[("a", "1"), ("b", "")]));
    let told = ObjectOutcome::Annotated {
        generation: before.generation,
        modified_ms: before.modified_ms,
    };
    assert_eq!(done, told);
    let mut after = head(&group, "a").unwrap().row;
    assert_eq!(after.tags, pairs(&[("a", "1"), ("b", "")]));
    after.tags.clear();
    assert_eq!(after, before);
    assert_eq!(
        (usage(&group), group.kv.len(Table::Garbage)),
        (counted, garbage)
    );
    group.run(&set_tags("a", None, &[]));
    assert_eq!(head(&group, "a").unwrap().row, before);
}

#[test]
fn a_description_is_a_new_generation_of_the_same_data() {
    let mut group = Group::ready();
    group.run(&tagged(striped("a", 1, "4+2", 5), &[("k", "v")]));
    let before = head(&group, "a").unwrap().row;
    let (counted, refs) = (usage(&group), group.kv.len(Table::DataRefs));
    group.time_ms += 1_000;
    let done = group.run(&describe("a", Some("image/png"), None));
    let expected = VersionRow {
        generation: Generation(group.index),
        modified_ms: group.time_ms,
        placed_ms: Some(before.modified_ms),
        content_type: "image/png".to_owned(),
        ..before
    };
    let told = ObjectOutcome::Annotated {
        generation: expected.generation,
        modified_ms: expected.modified_ms,
    };
    assert_eq!(done, told);
    assert_eq!(head(&group, "a").unwrap().row, expected);
    assert_eq!(
        (usage(&group), group.kv.len(Table::DataRefs)),
        (counted, refs)
    );
    assert!(group.kv.is_empty(Table::Garbage));
    group.run(&describe("a", None, Some(&[])));
    let bare = head(&group, "a").unwrap().row;
    assert_eq!(
        (bare.metadata.len(), bare.content_type.as_str()),
        (0, "image/png")
    );
    // Its data has one owner all along: the deletion displaces it once.
    group.run(&delete("a"));
    assert_eq!(group.kv.len(Table::Garbage), 1);
}

#[test]
fn of_kept_versions_the_current_one_is_described_and_any_is_tagged() {
    let mut group = Group::ready();
    group.run(&versioned(2, Versioning::On));
    group.run(&striped("a", 1, "4+2", 5));
    let first = group.index;
    group.run(&striped("a", 2, "4+2", 5));
    let second = group.index;
    group.run(&describe("a", None, Some(&[("n", "v")])));
    let described = group.index;
    let gone = version(&group, "a", Some(second));
    assert_eq!(gone, VersionAnswer::Absent, "the generation went on");
    assert!(row(&group, "a", Some(described)).numbered);
    let done = group.run(&set_tags("a", Some(first), &[("old", "yes")]));
    assert!(matches!(done, ObjectOutcome::Annotated { generation, .. } if generation.0 == first));
    assert_eq!(row(&group, "a", Some(first)).tags, pairs(&[("old", "yes")]));
    assert!(row(&group, "a", None).tags.is_empty());
    // Shelved and taken back, tags go along.
    group.run(&set_tags("a", None, &[("new", "yes")]));
    group.run(&delete("a"));
    let marker = group.index;
    let tags = row(&group, "a", Some(described)).tags;
    assert_eq!(tags, pairs(&[("new", "yes")]));
    let of_marker = set_tags("a", Some(marker), &[]);
    let generation = Generation(marker);
    let expected = VersionRefusal::Marker { generation }.into();
    assert_eq!(refused(group.run(&of_marker)), expected);
    let expected: Refusal = VersionRefusal::Deleted { generation }.into();
    assert_eq!(refused(group.run(&set_tags("a", None, &[]))), expected);
    assert_eq!(refused(group.run(&describe("a", Some(""), None))), expected);
    let unknown = VersionRefusal::Unknown {
        generation: Generation(second),
    };
    let outcome = group.run(&set_tags("a", Some(second), &[]));
    assert_eq!(refused(outcome), unknown.into());
}

#[test]
fn what_is_wrong_with_an_annotation_changes_nothing() {
    let mut group = Group::ready();
    let absent = refused(group.run(&set_tags("a", None, &[])));
    assert_eq!(absent, VersionRefusal::Absent.into());
    group.run(&put("a", 1, inline(1, b"x")));
    let before = head(&group, "a");
    let many: Vec<_> = (0..11)
        .map(|i| (format!("k{i:02}"), String::new()))
        .collect();
    let many: Vec<_> = many.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    for tags in [
        &[("", "v")][..],
        &[("b", ""), ("a", "")],
        &[("a", ""), ("a", "1")],
        &many,
    ] {
        let outcome = group.run(&set_tags("a", None, tags));
        assert_eq!(refused(outcome), Malformed::Tags.into());
    }
    let too_much = "v".repeat(2048);
    for wrong in [
        describe("a", None, None),
        describe("a", Some(&"t".repeat(257)), None),
        describe("a", None, Some(&[("n", too_much.as_str())])),
    ] {
        assert_eq!(refused(group.run(&wrong)), Malformed::Metadata.into());
    }
    let other = Precondition {
        if_generation_match: Some(Generation(1)),
        ..Precondition::default()
    };
    let current = before.as_ref().unwrap().row.generation;
    for command in [set_tags("a", None, &[]), describe("a", Some(""), None)] {
        let outcome = group.run(&given(command, other.clone()));
        assert_eq!(refused(outcome), Refusal::PreconditionFailed { current });
    }
    assert_eq!(head(&group, "a"), before);
}

#[test]
fn an_annotation_is_made_once() {
    let mut group = Group::ready();
    group.run(&put("a", 1, inline(1, b"x")));
    let command = describe("a", Some("text/html"), None);
    let first = group.run_as(request(1), &command);
    group.run(&describe("a", Some("text/css"), None));
    assert_eq!(group.run_as(request(1), &command), first);
    assert_eq!(row(&group, "a", None).content_type, "text/css");
    // Without a request id it is not carried out.
    let entry = group.seal(None, &command);
    assert_eq!(refused(group.apply(&entry)), Malformed::NoRequestId.into());
}

#[test]
fn an_upload_hands_its_tags_on_and_parts_are_found_after_a_description() {
    let mut group = Group::ready();
    group.run(&create("a", 1));
    group.run(&part("a", 1, 1, "4+2", 1));
    let whole = complete(&group, "a", 1, &[1], 7);
    group.run(&whole);
    assert_eq!(row(&group, "a", None).tags, pairs(&[("stage", "raw")]));
    group.run(&describe("a", Some("text/html"), None));
    let pg = crate::testing::pg(1);
    let held = crate::live::find(&group.kv, pg, data(5, 1)).unwrap();
    assert!(held.is_some(), "background work finds the part");
    group.run(&delete("a"));
    drop_all(&mut group);
    assert_eq!(group.kv.len(Table::Garbage), 1);
}
