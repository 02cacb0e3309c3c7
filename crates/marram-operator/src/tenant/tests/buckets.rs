//! What is done with a Bucket.

use serde_json::json;

use super::super::admission::{owns, rival};
use super::super::bucket::{Step, next, report, state};
use super::super::said::State;
use super::*;

fn reason(step: &Step) -> &'static str {
    match step {
        Step::Hold(hold) => hold.reason,
        other => panic!("held, not {other:?}"),
    }
}

#[test]
fn a_bucket_is_written_down_then_made_then_left_alone() {
    let new = bucket("web", "photos", json!({}));
    assert_eq!(next(&new, std::slice::from_ref(&new), None), Step::Claim);
    let status = report(&new, &Step::Claim, None);
    assert_eq!(status.bucket.as_deref(), Some("photos"));
    let claimed = Bucket {
        status: Some(status),
        ..new.clone()
    };
    assert!(owns(&claimed) && !owns(&new));
    assert_eq!(
        next(&claimed, std::slice::from_ref(&claimed), None),
        Step::Create
    );
    let there = found("photos");
    assert_eq!(next(&claimed, &[], Some(&there)), Step::Rest);
    let status = report(&claimed, &Step::Rest, Some(&there));
    assert_eq!((status.objects, status.bytes), (Some(4), Some(111)));
    assert_eq!(status.profile.as_deref(), Some("2+1"));
    assert!(matches!(state(&claimed, &Step::Rest), State::Ready(_)));
    // Deleted by hand, while it was empty: it is made again.
    assert_eq!(next(&claimed, &[], None), Step::Create);
}

#[test]
fn each_difference_is_mended() {
    let wanted = json!({
        "bucket": "my.photos", "profile": "04+2", "versioning": "On",
        "quota": { "size": "10Gi", "objects": 5 },
        "lifecycle": [{ "id": "old", "prefix": "tmp/", "expireOn": "2027-01-31" },
            { "id": "versions", "noncurrentAfterDays": 3, "keepNewest": 2, "disabled": true }],
    });
    let wanted = owned(bucket("web", "photos", wanted));
    let mut there = found("my.photos");
    assert_eq!(
        next(&wanted, &[], Some(&there)),
        Step::Profile("4+2".into())
    );
    there.info.profile = "4+2".into();
    let on = crate::api::Versioning::On;
    assert_eq!(next(&wanted, &[], Some(&there)), Step::Versioning(on));
    there.info.versioning = Versioning::On;
    let quota = BucketQuota {
        bytes: Some(10 << 30),
        objects: Some(5),
    };
    assert_eq!(next(&wanted, &[], Some(&there)), Step::Quota(quota));
    there.info.quota = quota;
    let Step::Lifecycle(rules) = next(&wanted, &[], Some(&there)) else {
        panic!("the rules come next");
    };
    assert_eq!(rules.len(), 2);
    assert_eq!(rules[0].expire_on_ms, Some(1_801_353_600_000));
    assert_eq!((rules[0].enabled, rules[1].enabled), (true, false));
    assert_eq!(
        (rules[1].noncurrent_after_days, rules[1].keep_newest),
        (Some(3), 2)
    );
    there.lifecycle = rules;
    assert_eq!(next(&wanted, &[], Some(&there)), Step::Rest);
    // What is taken out of the resource goes; versioning and profile stay as they are.
    let less = owned(bucket("web", "photos", json!({ "bucket": "my.photos" })));
    assert_eq!(
        next(&less, &[], Some(&there)),
        Step::Quota(BucketQuota::default())
    );
    there.info.quota = BucketQuota::default();
    assert_eq!(next(&less, &[], Some(&there)), Step::Lifecycle(Vec::new()));
    there.lifecycle.clear();
    assert_eq!(next(&less, &[], Some(&there)), Step::Rest);
}

#[test]
fn a_bucket_that_is_there_is_taken_over_by_the_clusters_own_namespace_only() {
    let there = found("photos");
    let try_it =
        |namespace: &str, spec| next(&bucket(namespace, "photos", spec), &[], Some(&there));
    assert_eq!(reason(&try_it("web", json!({}))), "Exists");
    assert_eq!(
        reason(&try_it("web", json!({ "adoptExisting": true }))),
        "Exists"
    );
    assert_eq!(reason(&try_it("data", json!({}))), "Exists");
    assert_eq!(
        try_it("data", json!({ "adoptExisting": true })),
        Step::Claim
    );
    // Nothing is told of it to whom it is not.
    let foreign = bucket("web", "photos", json!({}));
    let step = next(&foreign, &[], Some(&there));
    let status = report(&foreign, &step, Some(&there));
    assert_eq!(
        (status.objects, status.bucket, status.profile),
        (None, None, None)
    );
}

#[test]
fn one_resource_has_a_bucket() {
    let first = bucket("web", "photos", json!({}));
    let mut second = bucket("data", "other", json!({ "bucket": "photos" }));
    let later = said::time(1_900_000_000);
    second.metadata.creation_timestamp = Some(later);
    let all = [second.clone(), first.clone()];
    assert_eq!(next(&first, &all, None), Step::Claim);
    let step = next(&second, &all, None);
    assert_eq!(reason(&step), "Taken");
    let State::Held(hold) = state(&second, &step) else {
        panic!("held");
    };
    assert!(hold.message.contains("web/photos"), "{}", hold.message);
    // Whoever has it has it, however old the other is.
    let holder = owned(second.clone());
    let all = [holder.clone(), first.clone()];
    assert_eq!(reason(&next(&first, &all, None)), "Taken");
    assert_eq!(next(&holder, &all, None), Step::Create);
    // Two that took it in the same moment: the older keeps it, the other gives it up.
    let both = [owned(first.clone()), holder.clone()];
    assert_eq!(next(&both[0], &both, None), Step::Create);
    let step = next(&holder, &both, None);
    assert_eq!(reason(&step), "Taken");
    assert_eq!(report(&holder, &step, None).bucket, None);
    // The same name in another cluster is another bucket.
    let mut elsewhere = first.clone();
    elsewhere.spec.cluster_ref.name = "archive".into();
    assert_eq!(rival(&elsewhere, &all), None);
}

#[test]
fn what_the_api_server_lets_pass_and_no_cluster_takes_is_said() {
    let try_it = |spec| next(&bucket("web", "photos", spec), &[], None);
    assert_eq!(reason(&try_it(json!({ "bucket": "a..b" }))), "BadName");
    assert_eq!(reason(&try_it(json!({ "profile": "99+2" }))), "BadProfile");
    let day = json!({ "lifecycle": [{ "id": "x", "expireOn": "2027-02-31" }] });
    let step = try_it(day);
    assert_eq!(reason(&step), "BadLifecycle");
    for size in ["999999999999999999P", "18446744073709551616", "1Ei", ""] {
        let step = try_it(json!({ "quota": { "size": size } }));
        assert_eq!(reason(&step), "BadQuota", "{size}");
    }
    let mut kept = found("photos");
    kept.info.versioning = Versioning::Suspended;
    let off = owned(bucket("web", "photos", json!({ "versioning": "Off" })));
    assert_eq!(reason(&next(&off, &[], Some(&kept))), "VersionsKept");
}
