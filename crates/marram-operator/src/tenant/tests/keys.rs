//! What is done with an AccessKey.

use marram_client::AccessKeyInfo;
use marram_types::Grant;
use serde_json::json;

use super::super::admission::grants;
use super::super::key::{KeyView, SecretView, Step, again, next};
use super::*;
use crate::api::{AccessKeyStatus, Pending};

const NOW: i64 = 1_800_000_000;

fn grant(text: &str) -> Grant {
    text.parse().expect("a grant")
}

fn info(id: &str, created_ms: i64) -> AccessKeyInfo {
    AccessKeyInfo {
        id: id.to_owned(),
        note: String::new(),
        disabled: false,
        created_ms: Some(created_ms),
        expires_ms: None,
        old_secrets_until_ms: Vec::new(),
        grants: vec![grant("list,read:photos")],
    }
}

fn secret(id: &str, hash: &str) -> SecretView {
    SecretView::Ours {
        id: Some(id.to_owned()),
        hash: Some(hash.to_owned()),
        current: true,
    }
}

/// A key that was just written by a person.
fn new(spec: serde_json::Value) -> KeyView {
    KeyView {
        key: key(spec),
        now: NOW,
        grants: vec![grant("list,read:photos")],
        without: Vec::new(),
        known: Vec::new(),
        secret: SecretView::Missing,
        refused: None,
    }
}

/// A key that is as it should be.
fn resting(spec: serde_json::Value) -> KeyView {
    let mut view = new(spec);
    view.known = vec![info("MK1", 1)];
    view.secret = secret("MK1", "h1");
    let trigger = view.key.spec.rotation.clone().and_then(|r| r.trigger);
    view.key.status = Some(AccessKeyStatus {
        access_key_id: Some("MK1".into()),
        secret_hash: Some("h1".into()),
        rotated_at: Some(said::time(NOW)),
        trigger,
        ..AccessKeyStatus::default()
    });
    assert_eq!(next(&view), Step::Rest);
    view
}

fn status(view: &mut KeyView) -> &mut AccessKeyStatus {
    view.key.status.get_or_insert_default()
}

fn reason(step: &Step) -> &'static str {
    match step {
        Step::Hold(hold) => hold.reason,
        other => panic!("held, not {other:?}"),
    }
}

#[test]
fn a_key_is_written_down_before_it_is_made() {
    let mut view = new(json!({}));
    assert_eq!(next(&view), Step::Note(Pending::Create));
    status(&mut view).pending = Some(Pending::Create);
    assert_eq!(next(&view), Step::Create);
    // The operator died after the cluster had made it: nobody knows the secret, so another one is made, and
    // the first holds no longer.
    view.known = vec![info("MK1", 1)];
    assert_eq!(next(&view), Step::Note(Pending::Rotate));
    status(&mut view).pending = Some(Pending::Rotate);
    let rotate = |overlap_seconds| Step::Rotate {
        id: "MK1".into(),
        overlap_seconds,
    };
    assert_eq!(next(&view), rotate(0));
    // Two were made: the newer one counts, the other is removed first.
    view.known.insert(0, info("MK0", 0));
    assert_eq!(next(&view), Step::Remove("MK0".into()));
}

#[test]
fn a_rotation_that_was_cut_is_made_again_with_its_overlap() {
    let mut view = resting(json!({ "rotation": { "overlapSeconds": 120 } }));
    status(&mut view).pending = Some(Pending::Rotate);
    let again = Step::Rotate {
        id: "MK1".into(),
        overlap_seconds: 120,
    };
    assert_eq!(next(&view), again);
    // The Secret was written, the status was not: its secret is not the one that is known.
    view.secret = secret("MK1", "h2");
    assert_eq!(next(&view), again);
}

#[test]
fn a_secret_that_is_gone_or_changed_is_made_anew() {
    let whole = resting(json!({}));
    for broken in [
        SecretView::Missing,
        secret("MK1", "h9"),
        secret("MK9", "h1"),
        SecretView::Ours {
            id: None,
            hash: None,
            current: false,
        },
    ] {
        let view = KeyView {
            secret: broken.clone(),
            ..whole.clone()
        };
        assert_eq!(next(&view), Step::Note(Pending::Rotate), "{broken:?}");
    }
    // Another CA, endpoint or label: the secret stays.
    let old = KeyView {
        secret: SecretView::Ours {
            id: Some("MK1".into()),
            hash: Some("h1".into()),
            current: false,
        },
        ..whole.clone()
    };
    assert_eq!(next(&old), Step::Refresh);
    // Another's Secret is not touched, nor is a key made for it.
    let mut foreign = new(json!({}));
    foreign.secret = SecretView::Foreign;
    assert_eq!(reason(&next(&foreign)), "SecretTaken");
    // The key was removed by hand: another one is made.
    let removed = KeyView {
        known: Vec::new(),
        ..whole
    };
    assert_eq!(next(&removed), Step::Note(Pending::Create));
}

#[test]
fn a_key_rotates_by_its_age_and_when_it_is_told_to() {
    let spec = json!({ "rotation": { "everySeconds": 7200 } });
    let mut view = resting(spec);
    assert_eq!(view.rotates_at(), Some(NOW + 7200));
    assert_eq!((again(&view, 100), again(&view, 9000)), (100, 7200));
    view.now += 7199;
    assert_eq!((next(&view), again(&view, 100)), (Step::Rest, 1));
    view.now += 1;
    assert_eq!(next(&view), Step::Note(Pending::Rotate));
    let mut told = resting(json!({ "rotation": { "trigger": "monday" } }));
    told.key.spec = key(json!({ "rotation": { "trigger": "tuesday" } })).spec;
    assert_eq!(next(&told), Step::Note(Pending::Rotate));
    // To take the trigger out is no wish.
    told.key.spec = key(json!({})).spec;
    assert_eq!(next(&told), Step::Rest);
}

#[test]
fn what_it_may_do_follows_the_resource_and_the_buckets() {
    let mut view = resting(json!({}));
    view.grants = vec![grant("write:photos"), grant("list,read:photos")];
    let change = |add: &[&str], remove: &[&str]| Step::Change {
        id: "MK1".into(),
        add: add.iter().map(|text| grant(text)).collect(),
        remove: remove.iter().map(|text| grant(text)).collect(),
        expires_ms: None,
        enable: false,
    };
    assert_eq!(next(&view), change(&["write:photos"], &[]));
    // A Bucket that does not allow it any more: taken back, and said.
    view.grants.clear();
    view.without = vec!["no Bucket allows it".into()];
    assert_eq!(next(&view), change(&[], &["list,read:photos"]));
    view.known[0].grants.clear();
    assert_eq!(reason(&next(&view)), "GrantsMissing");
    // Without any, no key is made.
    let mut none = new(json!({}));
    none.grants.clear();
    none.without = view.without.clone();
    assert_eq!(reason(&next(&none)), "GrantsMissing");
}

#[test]
fn a_key_ends_when_it_is_told_to_and_comes_back() {
    let mut view = resting(json!({}));
    view.key.spec = key(json!({ "expiresAt": "2026-06-01T00:00:00Z" })).spec;
    let end = 1_780_272_000_000;
    let Step::Change { expires_ms, .. } = next(&view) else {
        panic!("the end is told first");
    };
    assert_eq!(expires_ms, Some(end));
    view.known[0].expires_ms = Some(end);
    assert_eq!(reason(&next(&view)), "Expired", "NOW is later");
    view.now = end / 1000 - 5;
    assert_eq!((next(&view), again(&view, 100)), (Step::Rest, 6));
    view.key.spec = key(json!({})).spec;
    let Step::Change { expires_ms, .. } = next(&view) else {
        panic!("the end is taken out");
    };
    assert_eq!(expires_ms, Some(0));
    // One that is over already is not made.
    let over = new(json!({ "expiresAt": "2026-06-01T00:00:00Z" }));
    assert_eq!(reason(&next(&over)), "Expired");
}

#[test]
fn a_namespace_that_is_not_allowed_any_more_has_no_key_that_works() {
    let mut view = resting(json!({}));
    view.refused = Some(Hold::stalled("NamespaceNotAllowed", "not allowed"));
    assert_eq!(next(&view), Step::Disable("MK1".into()));
    view.known[0].disabled = true;
    assert_eq!(reason(&next(&view)), "NamespaceNotAllowed");
    view.refused = None;
    assert!(matches!(next(&view), Step::Change { enable: true, .. }));
    // A cluster that is paused or away takes nothing back.
    let mut paused = resting(json!({}));
    paused.refused = Some(Hold::waits("ClusterPaused", "paused"));
    assert_eq!(reason(&next(&paused)), "ClusterPaused");
}

#[test]
fn grants_are_of_buckets_that_are_made_and_allow_them() {
    let wanted = |bucket: serde_json::Value| {
        key(json!({ "grants": [
            { "bucketRef": bucket, "prefix": "in/", "permissions": ["Write"] },
        ] }))
    };
    let own = owned(bucket("web", "photos", json!({})));
    let open = owned(bucket(
        "media",
        "films",
        json!({ "allowedNamespaces": ["web"] }),
    ));
    let closed = owned(bucket("media", "closed", json!({})));
    let unmade = bucket("web", "later", json!({}));
    let mut elsewhere = owned(bucket("web", "elsewhere", json!({})));
    elsewhere.spec.cluster_ref.name = "archive".into();
    let all = [own, open, closed, unmade, elsewhere];
    let answer = |bucket| {
        let (good, bad) = grants(&wanted(bucket), &all);
        assert_eq!(good.len() + bad.len(), 1);
        good.first()
            .map_or_else(|| bad[0].clone(), Grant::to_string)
    };
    assert_eq!(answer(json!({ "name": "photos" })), "write:photos/in/");
    let films = json!({ "name": "films", "namespace": "media" });
    assert_eq!(answer(films), "write:films/in/");
    // A Bucket that is not open and one that is not there are told apart by nothing.
    let closed = answer(json!({ "name": "closed", "namespace": "media" }));
    let absent = answer(json!({ "name": "absent", "namespace": "media" }));
    assert_eq!(closed.replace("closed", "absent"), absent);
    assert!(closed.contains("allowedNamespaces"), "{closed}");
    assert!(answer(json!({ "name": "absent" })).contains("there is no Bucket"));
    assert!(answer(json!({ "name": "later" })).contains("no bucket yet"));
    assert!(answer(json!({ "name": "elsewhere" })).contains("another cluster"));
}
