//! What goes by the rules of a bucket, and what does not.

use std::sync::Arc;

use marram_types::UploadId;
use proptest::collection::vec;
use proptest::prelude::*;

use super::versions::all_versions;
use super::{ask, head, refused, usage};
use crate::testing::{BUCKET, Group, bucket_record, delete, inline, key, put};
use crate::{
    AnnotateCommand, BucketRecord, BucketState, DAY_MS, Due, DueAnswer, DueItem, DuePlace,
    DueQuery, DueWhat, ExpireCommand, Expired, Expiry, Lifecycle, LifecycleError, LifecycleRule,
    ListItem, NoncurrentExpiry, ObjectAnswer, ObjectCommand, ObjectOutcome, ObjectQuery,
    Precondition, Refusal, RuleFilter, UploadCommand, UploadName, Versioning, days_after,
};

fn rule(id: &str) -> LifecycleRule {
    LifecycleRule {
        id: id.to_owned(),
        enabled: true,
        filter: RuleFilter::default(),
        expire: None,
        noncurrent: None,
        expired_markers: false,
        abort_after_days: None,
    }
}

fn after(days: u32) -> LifecycleRule {
    LifecycleRule {
        expire: Some(Expiry::AfterDays(days)),
        ..rule("old")
    }
}

fn ruled(epoch: u64, versioning: Versioning, rules: &[LifecycleRule]) -> ObjectCommand {
    let lifecycle = Lifecycle {
        rules: rules.to_vec(),
    };
    lifecycle.check().expect("rules that can be");
    ObjectCommand::BucketFence(BucketRecord {
        versioning,
        lifecycle: Some(Arc::new(lifecycle)),
        ..bucket_record(epoch, BucketState::Active)
    })
}

/// A group in which it is some day, at noon.
fn at_noon() -> Group {
    let mut group = Group::ready();
    group.time_ms = 20_000 * DAY_MS + DAY_MS / 2;
    group
}

fn page(group: &Group, now_ms: u64, from: DuePlace, rows: u32) -> DueAnswer {
    let query = DueQuery {
        bucket: BUCKET,
        now_ms,
        rules: None,
        from,
        rows,
    };
    match ask(group, &ObjectQuery::Due(query)) {
        ObjectAnswer::Due(found) => found,
        other => panic!("{other:?}"),
    }
}

/// All that a walk finds.
fn walk(group: &Group, now_ms: u64, rows: u32) -> Vec<DueItem> {
    let (mut all, mut from) = (Vec::new(), Some(DuePlace::Objects(None)));
    while let Some(place) = from {
        let found = page(group, now_ms, place, rows);
        all.extend(found.items);
        from = found.next;
    }
    all
}

fn found(group: &Group) -> Vec<Due> {
    let all = walk(group, group.time_ms, 1000).into_iter();
    all.map(|item| item.due).collect()
}

fn expire(group: &mut Group, due: Vec<Due>) -> Expired {
    let bucket = BUCKET;
    match group.run(&ObjectCommand::Expire(ExpireCommand { bucket, due })) {
        ObjectOutcome::Expired(done) => done,
        other => panic!("{other:?}"),
    }
}

#[test]
fn days_end_at_midnight() {
    let noon = 100 * DAY_MS + DAY_MS / 2;
    assert_eq!(days_after(noon, 1), 102 * DAY_MS);
    assert_eq!(days_after(100 * DAY_MS, 1), 101 * DAY_MS);
    assert_eq!(days_after(100 * DAY_MS + 1, 30), 131 * DAY_MS);
    assert!(days_after(u64::MAX, u32::MAX) > u64::MAX / 2, "no overflow");
}

#[test]
fn an_object_goes_at_the_midnight_after_its_days_and_not_before() {
    let mut group = at_noon();
    group.run(&ruled(2, Versioning::Off, &[after(1)]));
    group.run(&put("a", 1, inline(1, b"hello")));
    let due_ms = days_after(group.time_ms, 1);
    assert_eq!(walk(&group, due_ms - 1, 1000), []);
    let seen = walk(&group, due_ms, 1000);
    assert_eq!((seen.len(), seen[0].bytes, seen[0].rule), (1, 5, 0));
    // Whoever finds it may have a clock that is ahead: leader time decides.
    let due: Vec<Due> = seen.into_iter().map(|item| item.due).collect();
    group.time_ms = due_ms - 1;
    assert_eq!(expire(&mut group, due.clone()), Expired::default());
    group.time_ms = due_ms;
    let done = expire(&mut group, due.clone());
    assert_eq!((done.current, done.bytes), (1, 5));
    assert_eq!(head(&group, "a"), None);
    assert_eq!(usage(&group).held(), crate::Amount::default());
    assert_eq!(expire(&mut group, due), Expired::default(), "once");
}

#[test]
fn what_was_replaced_meanwhile_stays() {
    let mut group = at_noon();
    let old = LifecycleRule {
        expire: Some(Expiry::OnDate(100 * DAY_MS)),
        ..rule("dated")
    };
    group.run(&ruled(2, Versioning::Off, &[old]));
    group.run(&put("a", 1, inline(1, b"old")));
    let due = found(&group);
    group.run(&put("a", 2, inline(2, b"new")));
    assert_eq!(expire(&mut group, due), Expired::default());
    assert_eq!(head(&group, "a").unwrap().inline.unwrap(), "new");
    // A dated rule is for what was written after its day as well.
    let due = found(&group);
    assert_eq!(expire(&mut group, due).current, 1);
}

#[test]
fn nothing_goes_by_a_rule_that_was_taken_away_or_switched_off() {
    let mut group = at_noon();
    group.run(&ruled(2, Versioning::Off, &[after(1)]));
    group.run(&put("a", 1, inline(1, b"hello")));
    group.time_ms += 10 * DAY_MS;
    let due = found(&group);
    assert_eq!(due.len(), 1);
    let off = LifecycleRule {
        enabled: false,
        ..after(1)
    };
    group.run(&ruled(3, Versioning::Off, &[off]));
    assert_eq!(found(&group), []);
    assert_eq!(expire(&mut group, due.clone()), Expired::default());
    let record = bucket_record(4, BucketState::Active);
    group.run(&ObjectCommand::BucketFence(record));
    assert_eq!(expire(&mut group, due.clone()), Expired::default());
    // By another rule it may.
    group.run(&ruled(5, Versioning::Off, &[after(3)]));
    assert_eq!(expire(&mut group, due.clone()).current, 1);
    let sealed = bucket_record(6, BucketState::Deleting);
    group.run(&ObjectCommand::BucketFence(sealed));
    let command = ExpireCommand {
        bucket: BUCKET,
        due,
    };
    let told = refused(group.run(&ObjectCommand::Expire(command)));
    assert_eq!(told, Refusal::BucketSealed { bucket: BUCKET });
}

#[test]
fn a_filter_is_for_what_all_of_it_holds_of() {
    let mut group = at_noon();
    let filter = RuleFilter {
        prefix: "logs/".to_owned(),
        larger_than: Some(2),
        smaller_than: Some(5),
        tags: Vec::new(),
    };
    let some = LifecycleRule { filter, ..after(1) };
    group.run(&ruled(2, Versioning::Off, &[some]));
    let objects: [(&str, &'static [u8]); 5] = [
        ("logs/2", b"12"),
        ("logs/3", b"123"),
        ("logs/4", b"1234"),
        ("logs/5", b"12345"),
        ("other", b"123"),
    ];
    for (version, (name, bytes)) in (1..).zip(objects) {
        let random = u64::try_from(version).unwrap();
        group.run(&put(name, version, inline(random, bytes)));
    }
    group.time_ms += 5 * DAY_MS;
    let keys: Vec<String> = found(&group)
        .into_iter()
        .map(|due| due.key.as_str().to_owned())
        .collect();
    assert_eq!(keys, ["logs/3", "logs/4"]);
}

fn tag(key: &str, value: &str) -> (String, String) {
    (key.to_owned(), value.to_owned())
}

/// A tag that is given or taken between the walk and the entry counts.
#[test]
fn a_rule_for_tags_is_for_objects_that_have_all_of_them() {
    let mut group = at_noon();
    let filter = RuleFilter {
        tags: vec![tag("class", "temp"), tag("team", "a")],
        ..RuleFilter::default()
    };
    let noncurrent = Some(NoncurrentExpiry {
        after_days: 1,
        keep_newest: 0,
    });
    let some = LifecycleRule {
        filter,
        noncurrent,
        ..after(1)
    };
    group.run(&ruled(2, Versioning::On, &[some]));
    let set = |group: &mut Group, name: &str, tags: &[(String, String)]| {
        let done = group.run(&ObjectCommand::Annotate(AnnotateCommand::SetTags {
            bucket: BUCKET,
            key: key(name),
            generation: None,
            tags: tags.to_vec(),
            precondition: Precondition::default(),
        }));
        assert!(matches!(done, ObjectOutcome::Annotated { .. }), "{done:?}");
    };
    for (version, name) in [(1, "both"), (2, "one"), (3, "none")] {
        let random = u64::try_from(version).unwrap();
        group.run(&put(name, version, inline(random, b"123")));
    }
    let both = [tag("class", "temp"), tag("other", "x"), tag("team", "a")];
    set(&mut group, "both", &both);
    set(&mut group, "one", &both[..1]);
    group.time_ms += 5 * DAY_MS;
    let due = found(&group);
    assert_eq!(due.len(), 1, "{due:?}");
    set(&mut group, "both", &both[..1]);
    assert_eq!(expire(&mut group, due.clone()), Expired::default());
    set(&mut group, "both", &both);
    assert_eq!(expire(&mut group, due).current, 1);
    // It is not current any more, has its tags, and goes by the other half of the rule.
    group.time_ms += 5 * DAY_MS;
    let due = found(&group);
    assert_eq!(due.len(), 1, "{due:?}");
    let done = expire(&mut group, due);
    assert_eq!((done.noncurrent, done.bytes), (1, 3));
}

/// What is not current goes after two days, but for the newest ones.
fn rest(keep_newest: u32) -> LifecycleRule {
    LifecycleRule {
        noncurrent: Some(NoncurrentExpiry {
            after_days: 2,
            keep_newest,
        }),
        expired_markers: true,
        ..rule("rest")
    }
}

/// A key's whole life in a bucket that keeps versions: marked as deleted, then its versions go, then the
/// marker that hid them.
#[test]
fn versions_go_after_they_were_replaced_and_the_last_marker_after_them() {
    let mut group = at_noon();
    let rules = [after(3), rest(1)];
    group.run(&ruled(2, Versioning::On, &rules));
    for version in 1..=3 {
        group.run(&put(
            "a",
            version,
            inline(u64::try_from(version).unwrap(), b"123"),
        ));
        group.time_ms += DAY_MS;
    }
    // The first two were replaced at noon one and two days ago.
    group.time_ms = days_after(group.time_ms, 1) + 1;
    let due = found(&group);
    assert_eq!(
        due.len(),
        1,
        "the newer of both is kept whatever its age: {due:?}"
    );
    assert!(matches!(due[0].what, DueWhat::Noncurrent { .. }));
    assert_eq!(expire(&mut group, due).noncurrent, 1);
    assert_eq!(usage(&group).noncurrent, 1);
    group.time_ms += 5 * DAY_MS;
    let due = found(&group);
    assert_eq!(due.len(), 1, "{due:?}");
    let done = expire(&mut group, due);
    assert_eq!((done.current, done.bytes), (1, 3));
    assert_eq!(head(&group, "a"), None);
    let held = usage(&group);
    assert_eq!((held.objects, held.noncurrent, held.markers), (0, 2, 1));
    // Without a rule that keeps one, both go, and the marker after them.
    group.run(&ruled(3, Versioning::On, &[rest(0)]));
    group.time_ms += 5 * DAY_MS;
    let due = found(&group);
    assert_eq!(expire(&mut group, due).noncurrent, 2);
    let due = found(&group);
    assert!(
        matches!(
            due[..],
            [Due {
                what: DueWhat::Marker(_),
                ..
            }]
        ),
        "{due:?}"
    );
    // A put in between: the marker is not all that is left any more.
    group.run(&put("a", 9, inline(9, b"new")));
    assert_eq!(expire(&mut group, due), Expired::default());
    group.run(&delete("a"));
    group.time_ms += 5 * DAY_MS;
    // The older marker goes as a version would.
    let due = found(&group);
    let done = expire(&mut group, due);
    assert_eq!((done.noncurrent, done.markers), (1, 1));
    let due = found(&group);
    assert_eq!(expire(&mut group, due).markers, 1);
    assert_eq!(usage(&group), crate::Usage::default());
}

/// S3 counts from when a version was replaced, and what is said of its successor later does not replace it again.
#[test]
fn describing_a_version_does_not_keep_the_one_before_it() {
    let mut group = at_noon();
    group.run(&ruled(2, Versioning::On, &[rest(0)]));
    for version in 1..=2 {
        let body = inline(u64::try_from(version).unwrap(), b"123");
        group.run(&put("a", version, body));
    }
    let describe = ObjectCommand::Annotate(AnnotateCommand::Describe {
        bucket: BUCKET,
        key: key("a"),
        content_type: Some("text/html".to_owned()),
        metadata: None,
        precondition: Precondition::default(),
    });
    for _ in 0..4 {
        group.time_ms += DAY_MS;
        let described = group.run(&describe);
        assert!(matches!(described, ObjectOutcome::Annotated { .. }));
    }
    let due = found(&group);
    assert!(
        matches!(
            &due[..],
            [Due {
                what: DueWhat::Noncurrent { .. },
                ..
            }]
        ),
        "it was replaced four days ago: {due:?}"
    );
    assert_eq!(expire(&mut group, due).noncurrent, 1);
    // The described one, when it is replaced, counts from then.
    group.run(&put("a", 3, inline(3, b"new")));
    assert_eq!(found(&group), []);
    group.time_ms += 4 * DAY_MS;
    let due = found(&group);
    assert_eq!(expire(&mut group, due).noncurrent, 1);
    assert_eq!(usage(&group).noncurrent, 0);
}

#[test]
fn uploads_that_nobody_completes_are_ended() {
    let mut group = at_noon();
    let stale = LifecycleRule {
        abort_after_days: Some(7),
        filter: RuleFilter {
            prefix: "a".to_owned(),
            ..RuleFilter::default()
        },
        ..rule("stale")
    };
    group.run(&ruled(2, Versioning::Off, &[stale]));
    for (upload, name) in [(1, "a"), (2, "a"), (3, "b")] {
        group.run(&ObjectCommand::Upload(UploadCommand::Create {
            name: UploadName {
                bucket: BUCKET,
                key: key(name),
                upload: UploadId(upload),
            },
            content_type: String::new(),
            metadata: Vec::new(),
            tags: Vec::new(),
            // A stream that nobody goes on with is as stale.
            stream: upload == 2,
            own: None,
        }));
        group.time_ms += DAY_MS;
    }
    group.time_ms += 4 * DAY_MS;
    assert_eq!(found(&group), []);
    group.time_ms += DAY_MS;
    let due = found(&group);
    assert!(
        matches!(
            due[..],
            [Due {
                what: DueWhat::Upload(UploadId(1)),
                ..
            }]
        ),
        "{due:?}"
    );
    assert_eq!(expire(&mut group, due).uploads, 1);
    group.time_ms += 30 * DAY_MS;
    assert_eq!(found(&group).len(), 1, "that of another key stays");
}

fn check(rules: Vec<LifecycleRule>) -> Result<(), LifecycleError> {
    Lifecycle { rules }.check()
}

/// The field for which a rule alone is refused.
fn field(rule: LifecycleRule) -> &'static str {
    match check(vec![rule]) {
        Err(LifecycleError::Rule { field, .. }) => field,
        other => panic!("{other:?}"),
    }
}

fn filtered(filter: RuleFilter) -> LifecycleRule {
    LifecycleRule { filter, ..after(1) }
}

#[test]
fn rules_that_cannot_be_are_refused_with_rule_and_field() {
    assert_eq!(check(vec![after(1)]), Ok(()));
    assert_eq!(field(rule("x")), "rules");
    assert_eq!(field(after(0)), "expire_after_days");
    assert_eq!(field(after(36_501)), "expire_after_days");
    let named = |id: String| LifecycleRule { id, ..after(1) };
    assert_eq!(field(named(String::new())), "id");
    assert_eq!(field(named("x".repeat(256))), "id");
    let odd = LifecycleRule {
        expire: Some(Expiry::OnDate(DAY_MS + 1)),
        ..rule("x")
    };
    assert_eq!(field(odd), "expire_on_ms");
    let kept = LifecycleRule {
        noncurrent: Some(NoncurrentExpiry {
            after_days: 1,
            keep_newest: 101,
        }),
        ..rule("x")
    };
    assert_eq!(field(kept), "keep_newest");
    let none = RuleFilter {
        larger_than: Some(5),
        smaller_than: Some(6),
        ..RuleFilter::default()
    };
    assert_eq!(field(filtered(none)), "smaller_than");
    let long = RuleFilter {
        prefix: "x".repeat(1025),
        ..RuleFilter::default()
    };
    assert_eq!(field(filtered(long)), "prefix");
    let tags = RuleFilter {
        tags: vec![tag("b", "1"), tag("b", "2")],
        ..RuleFilter::default()
    };
    assert_eq!(field(filtered(tags)), "tags");
}

/// Uploads and markers have neither size nor tags.
#[test]
fn rules_that_contradict_themselves_are_refused() {
    let sized = RuleFilter {
        larger_than: Some(5),
        ..RuleFilter::default()
    };
    let tagged = RuleFilter {
        tags: vec![tag("a", "1")],
        ..RuleFilter::default()
    };
    for filter in [sized, tagged] {
        let abort = LifecycleRule {
            abort_after_days: Some(1),
            ..filtered(filter.clone())
        };
        assert_eq!(field(abort), "abort_uploads_after_days");
        let marker = LifecycleRule {
            expired_markers: true,
            ..filtered(filter)
        };
        assert_eq!(field(marker), "expired_delete_markers");
    }
    let twice = check(vec![after(1), after(2)]);
    let id = "old".to_owned();
    assert_eq!(twice, Err(LifecycleError::Twice { id }));
    let numbered = |count: usize, id: &dyn Fn(usize) -> String| {
        let rule = |n| LifecycleRule {
            id: id(n),
            ..after(1)
        };
        check((0..count).map(rule).collect())
    };
    assert_eq!(numbered(1000, &|n| n.to_string()), Ok(()));
    let many = numbered(1001, &|n| n.to_string());
    assert_eq!(many, Err(LifecycleError::TooMany { count: 1001 }));
    let large = numbered(1000, &|n| format!("{n:0>200}"));
    assert!(matches!(large, Err(LifecycleError::TooLarge { .. })));
}

#[derive(Debug, Clone)]
enum Op {
    Put(usize),
    Delete(usize),
    Wait(u64),
    /// One of what a walk finds goes.
    Expire(usize),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (0..4_usize).prop_map(Op::Put),
        2 => (0..4_usize).prop_map(Op::Delete),
        3 => (0..5_u64).prop_map(Op::Wait),
        2 => (0..20_usize).prop_map(Op::Expire),
    ]
}

const KEYS: [&str; 4] = ["a", "a/b", "b", "\u{1f680}"];

/// Key and generation of everything that the bucket has.
fn all(group: &Group) -> Vec<(String, u64)> {
    let all = all_versions(group, "", "", 1000).into_iter();
    all.map(|item| match item {
        ListItem::Version(entry) => (entry.key, entry.generation.0),
        other => panic!("{other:?}"),
    })
    .collect()
}

proptest! {
    /// Whatever the history: a walk finds the same in pages of any size, all that it finds goes, nothing
    /// else does, and what a rule keeps is there in the end.
    #[test]
    fn what_is_found_goes_and_nothing_else(
        ops in vec(op(), 1..60),
        keep_newest in 0..3_u32,
        rows in 1..5_u32,
    ) {
        let mut group = at_noon();
        let rules = [
            after(4),
            LifecycleRule {
                noncurrent: Some(NoncurrentExpiry { after_days: 2, keep_newest }),
                expired_markers: true,
                ..rule("rest")
            },
        ];
        group.run(&ruled(2, Versioning::On, &rules));
        let mut versions = 0;
        for op in ops {
            match op {
                Op::Put(at) => {
                    versions += 1;
                    let random = u64::try_from(versions).unwrap();
                    group.run(&put(KEYS[at], versions, inline(random, b"1")));
                }
                Op::Delete(at) => {
                    group.run(&delete(KEYS[at]));
                }
                Op::Wait(half_days) => group.time_ms += half_days * DAY_MS / 2,
                Op::Expire(nth) => {
                    let due = found(&group);
                    if let Some(due) = due.get(nth % due.len().max(1)) {
                        expire(&mut group, vec![due.clone()]);
                    }
                }
            }
            let whole = walk(&group, group.time_ms, 1000);
            prop_assert_eq!(&walk(&group, group.time_ms, rows), &whole);
        }
        let due = found(&group);
        let before = all(&group);
        let done = expire(&mut group, due.clone());
        let count = done.current + done.noncurrent + done.markers;
        prop_assert_eq!(count, due.len() as u64, "all of it was due");
        let after = all(&group);
        let kept = |what: &DueWhat| matches!(what, DueWhat::Current(_));
        let mut wanted = before.clone();
        wanted.retain(|(key, generation)| !due.iter().any(|due| {
            let of = match due.what {
                DueWhat::Noncurrent { generation, .. } | DueWhat::Marker(generation) => generation,
                DueWhat::Current(_) | DueWhat::Upload(_) => return false,
            };
            due.key.as_str() == key && of.0 == *generation
        }));
        let markers = due.iter().filter(|due| kept(&due.what)).count();
        prop_assert_eq!(after.len(), wanted.len() + markers);
        prop_assert!(wanted.iter().all(|one| after.contains(one)));
        // Long after, nothing is left but what the rule keeps: its newest versions and their markers.
        for _ in 0..12 {
            group.time_ms += 10 * DAY_MS;
            let due = found(&group);
            expire(&mut group, due);
        }
        let held = usage(&group);
        prop_assert_eq!(held.objects, 0);
        prop_assert!(held.noncurrent <= u64::from(keep_newest) * KEYS.len() as u64);
    }
}
