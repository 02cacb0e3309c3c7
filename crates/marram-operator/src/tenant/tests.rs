//! Buckets and access keys, case by case.

mod buckets;
mod keys;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use marram_client::{BucketInfo, BucketQuota, BucketUsage, Versioning};

use super::bucket::Found;
use super::said::{State, conditions};
use super::*;
use crate::api::{AccessKey, Bucket, BucketStatus, MarramCluster};

/// Adds fields to a specification.
fn merge(whole: &mut serde_json::Value, fields: serde_json::Value) {
    let serde_json::Value::Object(fields) = fields else {
        panic!("fields");
    };
    for (key, value) in fields {
        whole[key] = value;
    }
}

/// A Bucket as a person writes it, with its namespace and when it was written.
pub(super) fn bucket(namespace: &str, name: &str, spec: serde_json::Value) -> Bucket {
    let mut bucket: Bucket = serde_json::from_value(serde_json::json!({
        "apiVersion": "marram.dev/v1alpha1",
        "kind": "Bucket",
        "metadata": {
            "name": name, "namespace": namespace, "uid": format!("{namespace}-{name}"),
            "creationTimestamp": "2026-01-01T00:00:00Z",
        },
        "spec": { "clusterRef": { "name": "store", "namespace": "data" } },
    }))
    .expect("a Bucket");
    let mut whole = serde_json::to_value(&bucket.spec).expect("JSON");
    merge(&mut whole, spec);
    bucket.spec = serde_json::from_value(whole).expect("a specification");
    bucket
}

/// The same, once its bucket is written down as its own.
pub(super) fn owned(mut bucket: Bucket) -> Bucket {
    bucket.status = Some(BucketStatus {
        bucket: Some(bucket.bucket()),
        ..BucketStatus::default()
    });
    bucket
}

/// A bucket as the cluster has it.
pub(super) fn found(name: &str) -> Found {
    Found {
        info: BucketInfo {
            name: name.to_owned(),
            created_ms: 1,
            profile: "2+1".to_owned(),
            versioning: Versioning::Off,
            quota: BucketQuota::default(),
            allowed_profiles: Vec::new(),
        },
        lifecycle: Vec::new(),
        usage: BucketUsage {
            objects: 3,
            bytes: 100,
            noncurrent_versions: 1,
            noncurrent_bytes: 10,
            delete_markers: 7,
            upload_bytes: 1,
            quota: BucketQuota::default(),
        },
    }
}

pub(super) fn key(spec: serde_json::Value) -> AccessKey {
    let mut whole = serde_json::json!({
        "clusterRef": { "name": "store", "namespace": "data" },
        "grants": [{ "bucketRef": { "name": "photos" }, "permissions": ["Read", "List"] }],
    });
    merge(&mut whole, spec);
    serde_json::from_value(serde_json::json!({
        "apiVersion": "marram.dev/v1alpha1",
        "kind": "AccessKey",
        "metadata": { "name": "shop", "namespace": "web", "uid": "u1" },
        "spec": whole,
    }))
    .expect("an AccessKey")
}

fn cluster(spec: serde_json::Value, founded: bool) -> MarramCluster {
    let mut whole = serde_json::json!({ "storage": { "nodes": 3, "volume": { "size": "4Gi" } } });
    merge(&mut whole, spec);
    let mut cluster: MarramCluster = serde_json::from_value(serde_json::json!({
        "apiVersion": "marram.dev/v1alpha1",
        "kind": "MarramCluster",
        "metadata": { "name": "store", "namespace": "data" },
        "spec": whole,
    }))
    .expect("a MarramCluster");
    cluster.status = founded.then(|| crate::api::MarramClusterStatus {
        cluster_id: Some("c1".into()),
        ..Default::default()
    });
    cluster
}

#[test]
fn a_cluster_takes_its_own_namespace_and_those_that_it_lists() {
    let reason = |cluster: Option<&MarramCluster>, namespace: &str| {
        let reference = crate::api::ClusterRef {
            name: "store".into(),
            namespace: Some("data".into()),
        };
        let hold = admission::admit(cluster, &reference, namespace);
        hold.map_or("", |hold| hold.reason)
    };
    let closed = cluster(serde_json::json!({}), true);
    assert_eq!(reason(Some(&closed), "data"), "");
    assert_eq!(reason(Some(&closed), "web"), "NamespaceNotAllowed");
    let open = cluster(serde_json::json!({ "allowedNamespaces": ["web"] }), true);
    assert_eq!(reason(Some(&open), "web"), "");
    assert_eq!(reason(Some(&open), "webs"), "NamespaceNotAllowed");
    let all = cluster(serde_json::json!({ "allowedNamespaces": ["*"] }), true);
    assert_eq!(reason(Some(&all), "webs"), "");
    // Whoever is not allowed learns nothing more of the cluster.
    let paused = serde_json::json!({ "paused": true, "allowedNamespaces": ["web"] });
    let paused = cluster(paused, true);
    assert_eq!(reason(Some(&paused), "web"), "ClusterPaused");
    assert_eq!(reason(Some(&paused), "webs"), "NamespaceNotAllowed");
    assert_eq!(
        reason(Some(&cluster(serde_json::json!({}), false)), "data"),
        "ClusterNotFounded"
    );
    assert_eq!(reason(None, "data"), "NoCluster");
}

#[test]
fn conditions_are_those_of_kstatus_and_keep_their_times() {
    let told = |conditions: &[Condition]| -> Vec<String> {
        let one = |c: &Condition| format!("{}={}:{}", c.type_, c.status, c.reason);
        conditions.iter().map(one).collect()
    };
    let ready = conditions(&[], &State::Ready("good".into()), (Some(1), 100));
    assert_eq!(
        told(&ready),
        [
            "Ready=True:AsExpected",
            "Reconciling=False:AsExpected",
            "Stalled=False:AsExpected"
        ]
    );
    let held = State::Held(Hold::stalled("Taken", "it is another's"));
    let stalled = conditions(&ready, &held, (Some(2), 200));
    assert_eq!(
        told(&stalled),
        [
            "Ready=False:Taken",
            "Reconciling=False:AsExpected",
            "Stalled=True:Taken"
        ]
    );
    assert_eq!(stalled[0].message, "it is another's");
    assert_eq!(stalled[0].last_transition_time, said::time(200));
    assert_eq!(
        stalled[1].last_transition_time,
        said::time(100),
        "as before"
    );
    assert!(
        stalled
            .iter()
            .all(|c| c.observed_generation == Some(2) && !c.message.is_empty())
    );
    let waits = State::Held(Hold::waits("ClusterUnreachable", "x".repeat(3000)));
    let waits = conditions(&stalled, &waits, (Some(2), 300));
    assert_eq!(
        told(&waits),
        [
            "Ready=False:ClusterUnreachable",
            "Reconciling=True:ClusterUnreachable",
            "Stalled=False:AsExpected"
        ]
    );
    assert_eq!(waits[0].message.len(), 1000);
    assert_eq!(
        waits[0].last_transition_time,
        said::time(200),
        "still not ready"
    );
}
