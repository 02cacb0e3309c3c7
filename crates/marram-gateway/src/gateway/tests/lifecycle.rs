//! What goes by itself, over the API: rules set, told and tried. That what is due really goes is the worker's,
//! and shown with real servers.

use marram_meta::{DAY_MS, RULE_DAYS_MAX, RULE_ID_BYTES_MAX, RULE_KEEPS_MAX};
use marram_proto::v1;
use marram_types::caps::{LIFECYCLE_BYTES_MAX, LIFECYCLE_RULES_MAX};
use tonic::{Code, Status};
use tonic_types::StatusExt;

use super::kit::{Client, cluster, content, reason};
use super::uploads;
use crate::testing::now_ms;

fn rule(id: &str) -> v1::LifecycleRule {
    v1::LifecycleRule {
        id: id.to_owned(),
        enabled: true,
        ..v1::LifecycleRule::default()
    }
}

fn below(prefix: &str) -> Option<v1::LifecycleFilter> {
    Some(v1::LifecycleFilter {
        prefix: prefix.to_owned(),
        ..v1::LifecycleFilter::default()
    })
}

async fn set(client: &mut Client, rules: Vec<v1::LifecycleRule>) -> Result<(), Status> {
    let request = v1::SetLifecycleRequest {
        bucket: "bucket".to_owned(),
        lifecycle: Some(v1::Lifecycle { rules }),
        ..v1::SetLifecycleRequest::default()
    };
    client.buckets.set_lifecycle(request).await.map(|_| ())
}

async fn told(client: &mut Client) -> Vec<v1::LifecycleRule> {
    let request = v1::GetLifecycleRequest {
        bucket: "bucket".to_owned(),
    };
    let answer = client.buckets.get_lifecycle(request).await.unwrap();
    answer.into_inner().lifecycle.unwrap().rules
}

async fn preview(
    client: &mut Client,
    rules: Option<Vec<v1::LifecycleRule>>,
    at_ms: u64,
) -> (Vec<v1::LifecycleItem>, Vec<v1::LifecycleTotal>) {
    let request = v1::PreviewLifecycleRequest {
        bucket: "bucket".to_owned(),
        lifecycle: rules.map(|rules| v1::Lifecycle { rules }),
        at_ms: i64::try_from(at_ms).unwrap(),
    };
    let answer = client.buckets.preview_lifecycle(request).await.unwrap();
    let (mut stream, mut items, mut totals) = (answer.into_inner(), Vec::new(), Vec::new());
    while let Some(page) = stream.message().await.unwrap() {
        assert!(totals.is_empty(), "the totals come last");
        items.extend(page.items);
        totals = page.totals;
    }
    (items, totals)
}

#[tokio::test]
async fn rules_come_back_as_they_were_set() {
    let (_cluster, mut client) = cluster(3).await;
    assert_eq!(told(&mut client).await, []);
    let rules = vec![
        v1::LifecycleRule {
            filter: Some(v1::LifecycleFilter {
                prefix: "logs/".to_owned(),
                larger_than: Some(7),
                tags: [("a".to_owned(), "b".to_owned())].into(),
                smaller_than: None,
            }),
            expire_after_days: Some(30),
            noncurrent: Some(v1::NoncurrentExpiration {
                after_days: 3,
                keep_newest: 2,
            }),
            ..rule("logs")
        },
        v1::LifecycleRule {
            enabled: false,
            filter: below(""),
            expire_on_ms: Some(i64::try_from(20_000 * DAY_MS).unwrap()),
            expired_delete_markers: true,
            abort_uploads_after_days: Some(7),
            ..rule("rest")
        },
    ];
    set(&mut client, rules.clone()).await.unwrap();
    assert_eq!(told(&mut client).await, rules);
    set(&mut client, rules[1..].to_vec()).await.unwrap();
    assert_eq!(told(&mut client).await, rules[1..]);
    set(&mut client, Vec::new()).await.unwrap();
    assert_eq!(told(&mut client).await, []);
}

#[tokio::test]
async fn a_dry_run_shows_what_would_go_and_removes_nothing() {
    let (_cluster, mut client) = cluster(6).await;
    for n in 0..20 {
        let key = format!("{}/{n}", if n % 2 == 0 { "logs" } else { "kept" });
        client.put(&key, &content(100, n)).await.unwrap();
    }
    let upload = uploads::begin(&mut client).await;
    uploads::part(&mut client, &upload, 1, &content(5000, 1))
        .await
        .unwrap();
    let rules = vec![
        v1::LifecycleRule {
            filter: below("logs/"),
            expire_after_days: Some(1),
            ..rule("logs")
        },
        v1::LifecycleRule {
            abort_uploads_after_days: Some(3),
            ..rule("stale")
        },
    ];
    // Of rules that nobody set, now and in a week.
    let (items, totals) = preview(&mut client, Some(rules.clone()), 0).await;
    assert_eq!((items.len(), totals.len()), (0, 0));
    let later = now_ms() + 7 * DAY_MS;
    let (items, totals) = preview(&mut client, Some(rules.clone()), later).await;
    assert_eq!(items.len(), 11);
    let expired = items.iter().filter(|item| item.rule == "logs");
    assert!(
        expired
            .clone()
            .all(|item| item.key.starts_with("logs/") && item.bytes == 100)
    );
    assert_eq!(expired.count(), 10);
    let ended = items.iter().find(|item| item.rule == "stale").unwrap();
    assert_eq!(ended.upload_id, upload);
    assert_eq!(ended.action(), v1::LifecycleAction::AbortUpload);
    let sums: Vec<_> = totals
        .iter()
        .map(|t| (t.rule.as_str(), t.count, t.bytes))
        .collect();
    assert_eq!(sums, [("logs", 10, 1000), ("stale", 1, 5000)]);
    // The bucket has none of its own, and then those.
    assert_eq!(preview(&mut client, None, later).await.0, []);
    set(&mut client, rules).await.unwrap();
    assert_eq!(preview(&mut client, None, later).await.0.len(), 11);
    let page = client.list(v1::ListObjectsRequest {
        bucket: "bucket".to_owned(),
        ..v1::ListObjectsRequest::default()
    });
    assert_eq!(page.await.unwrap().objects.len(), 20, "nothing is gone");
}

#[tokio::test]
async fn what_is_wrong_with_rules_is_said_with_rule_and_field() {
    let (_cluster, mut client) = cluster(3).await;
    let mut wrong = async |rules: Vec<v1::LifecycleRule>| {
        let status = set(&mut client, rules).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
        assert_eq!(reason(&status), "INVALID_LIFECYCLE");
        let details = status.get_error_details();
        let metadata = &details.error_info().unwrap().metadata;
        let get = |name: &str| metadata.get(name).cloned().unwrap_or_default();
        (get("rule"), get("field"))
    };
    let days = v1::LifecycleRule {
        expire_after_days: Some(1),
        ..rule("days")
    };
    let both = v1::LifecycleRule {
        expire_on_ms: Some(0),
        ..days.clone()
    };
    let pair = |rule: &str, field: &str| (rule.to_owned(), field.to_owned());
    assert_eq!(wrong(vec![both]).await, pair("days", "expire_on_ms"));
    assert_eq!(
        wrong(vec![days.clone(), days.clone()]).await,
        pair("days", "id")
    );
    assert_eq!(wrong(vec![rule("idle")]).await, pair("idle", "rules"));
    let before = v1::LifecycleRule {
        expire_on_ms: Some(-5),
        ..rule("before")
    };
    assert_eq!(wrong(vec![before]).await, pair("before", "expire_on_ms"));
    let sized = v1::LifecycleRule {
        filter: Some(v1::LifecycleFilter {
            larger_than: Some(1),
            ..v1::LifecycleFilter::default()
        }),
        abort_uploads_after_days: Some(1),
        ..rule("sized")
    };
    assert_eq!(
        wrong(vec![sized]).await,
        pair("sized", "abort_uploads_after_days")
    );
    let many = (0..1001).map(|n| v1::LifecycleRule {
        id: n.to_string(),
        ..days.clone()
    });
    assert_eq!(wrong(many.collect()).await, pair("", "rules"));
    let absent = v1::GetLifecycleRequest {
        bucket: "absent".to_owned(),
    };
    let status = client.buckets.get_lifecycle(absent).await.unwrap_err();
    assert_eq!(reason(&status), "BUCKET_NOT_FOUND");
}

#[tokio::test]
async fn rules_have_limits() {
    let (_cluster, mut client) = cluster(3).await;
    let after = |id: &str, days: u32| v1::LifecycleRule {
        expire_after_days: Some(days),
        ..rule(id)
    };
    let keeping = |newest: u32| v1::LifecycleRule {
        noncurrent: Some(v1::NoncurrentExpiration {
            after_days: 1,
            keep_newest: newest,
        }),
        ..rule("keeps")
    };
    let many = |count: usize| (0..count).map(|n| after(&n.to_string(), 1)).collect();
    let long = |prefixes: usize| {
        let all = (0..prefixes).map(|n| v1::LifecycleRule {
            filter: below(&"p".repeat(1000)),
            ..after(&n.to_string(), 1)
        });
        all.collect::<Vec<_>>()
    };
    let (id, days, keeps) = (RULE_ID_BYTES_MAX, RULE_DAYS_MAX, RULE_KEEPS_MAX);
    let cases = [
        (
            vec![after(&"i".repeat(id), 1)],
            vec![after(&"i".repeat(id + 1), 1)],
        ),
        (vec![after("days", days)], vec![after("days", days + 1)]),
        (vec![keeping(keeps)], vec![keeping(keeps + 1)]),
        (many(LIFECYCLE_RULES_MAX), many(LIFECYCLE_RULES_MAX + 1)),
        (
            long(LIFECYCLE_BYTES_MAX / 1020),
            long(LIFECYCLE_BYTES_MAX / 1000 + 1),
        ),
    ];
    for (most, more) in cases {
        let what = most[0].id.clone();
        set(&mut client, most)
            .await
            .unwrap_or_else(|status| panic!("{what}: {status}"));
        let refused = set(&mut client, more).await.expect_err(&what);
        assert_eq!(reason(&refused), "INVALID_LIFECYCLE", "{what}");
        let details = refused.get_error_details();
        assert!(details.error_info().unwrap().metadata.contains_key("field"));
    }
}
