use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, Secret, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::*;
use crate::api::{HostSpread, MarramClusterSpec, Metrics, Resources, ServerSettings};
use crate::names::tests::names;

fn spec() -> MarramClusterSpec {
    serde_json::from_str(r#"{"storage":{"nodes":3,"volume":{"size":"4Gi"}}}"#).expect("valid")
}

/// What is applied is what the type has: nothing is misspelt, or at a wrong place.
fn exact<T: DeserializeOwned + Serialize>(value: &Value) -> T {
    let read: T = serde_json::from_value(value.clone()).expect("of its type");
    assert_eq!(&serde_json::to_value(&read).expect("JSON"), value);
    read
}

fn built(spec: &MarramClusterSpec) -> StatefulSet {
    let names = names();
    let template = template(&names, spec, "marram:1");
    exact(&statefulset(&names, spec, &template, (3, "4Gi")))
}

#[test]
fn all_objects_are_of_their_types() {
    let names = names();
    exact::<Service>(&peer_service(&names));
    exact::<Service>(&client_service(&names, false));
    exact::<ServiceAccount>(&account(&names));
    exact::<NetworkPolicy>(&network_policy(&names));
    let one = Budget {
        domain: "z1".into(),
        min_available: 1,
    };
    exact::<PodDisruptionBudget>(&budget(&names, &one));
    exact::<Secret>(&api_tls(&names, "c", "k", "a"));
    exact::<Secret>(&join(&names, &BTreeMap::new()));
    exact::<ConfigMap>(&api_trust(&names, "a"));
}

#[test]
fn the_statefulset_keeps_what_it_has() {
    let set = built(&spec()).spec.expect("a spec");
    assert_eq!(set.replicas, Some(3));
    assert_eq!(set.pod_management_policy.as_deref(), Some("Parallel"));
    let strategy = set.update_strategy.expect("one");
    assert_eq!(strategy.type_.as_deref(), Some("OnDelete"));
    let retention = set.persistent_volume_claim_retention_policy.expect("one");
    assert_eq!(retention.when_deleted.as_deref(), Some("Retain"));
    assert_eq!(retention.when_scaled.as_deref(), Some("Retain"));
    let claims = set.volume_claim_templates.expect("one");
    assert_eq!(claims[0].metadata.name.as_deref(), Some("data"));
}

#[test]
fn keys_outlive_the_resource() {
    let keys = keys(
        &names(),
        &Keys {
            kek: "00".into(),
            admin: "A s".into(),
            operator: "O s".into(),
        },
    );
    let secret: Secret = exact(&keys);
    assert!(secret.metadata.owner_references.is_none());
    assert_eq!(secret.string_data.expect("some").len(), 3);
}

#[test]
fn pods_are_restricted() {
    let pod = built(&spec())
        .spec
        .expect("a spec")
        .template
        .spec
        .expect("a pod");
    let security = pod.security_context.expect("some");
    assert_eq!(
        (security.run_as_non_root, security.run_as_user),
        (Some(true), Some(65_532))
    );
    let container = &pod.containers[0];
    let security = container.security_context.as_ref().expect("some");
    assert_eq!(security.read_only_root_filesystem, Some(true));
    assert_eq!(security.allow_privilege_escalation, Some(false));
    assert_eq!(pod.automount_service_account_token, Some(false));
}

#[test]
fn settings_become_arguments() {
    let mut spec = spec();
    let arguments = |spec: &MarramClusterSpec| {
        let pod = built(spec)
            .spec
            .expect("a spec")
            .template
            .spec
            .expect("a pod");
        pod.containers[0].args.clone().expect("some")
    };
    let before = arguments(&spec);
    assert!(before.contains(&"--token-file=/join/$(POD)".to_owned()));
    assert!(!before.iter().any(|a| a.starts_with("--repair-grace")));
    spec.server = Some(ServerSettings {
        repair_grace_seconds: Some(20),
        ..Default::default()
    });
    assert!(arguments(&spec).contains(&"--repair-grace=20".to_owned()));
}

#[test]
fn metrics_ask_for_the_token_of_their_secret() {
    let mut spec = spec();
    let pod = |spec: &MarramClusterSpec| {
        let set = built(spec).spec.expect("a spec");
        set.template.spec.expect("a pod")
    };
    let arguments = |spec: &MarramClusterSpec| pod(spec).containers[0].args.clone().expect("some");
    assert!(!arguments(&spec).iter().any(|a| a.contains("metrics-token")));
    spec.metrics = Some(Metrics {
        token_secret: Some("scrape".into()),
        buckets: Some(20),
    });
    let given = arguments(&spec);
    let file = "--metrics-token-file=/metrics-token/token";
    assert!(given.contains(&file.to_owned()), "{given:?}");
    assert!(given.contains(&"--metrics-buckets=20".to_owned()));
    let pod = pod(&spec);
    let volumes = pod.volumes.expect("some");
    let volume = volumes.iter().find(|volume| volume.name == "metrics-token");
    let secret = volume.and_then(|volume| volume.secret.as_ref());
    assert_eq!(
        secret.and_then(|s| s.secret_name.as_deref()),
        Some("scrape")
    );
    let mounts = pod.containers[0].volume_mounts.as_ref().expect("some");
    assert!(mounts.iter().any(|m| m.mount_path == "/metrics-token"));
}

#[test]
fn a_template_is_told_from_others() {
    let (names, mut spec) = (names(), spec());
    let first = template(&names, &spec, "marram:1");
    assert_eq!(first, template(&names, &spec, "marram:1"));
    assert_ne!(first.hash, template(&names, &spec, "marram:2").hash);
    spec.image = Some("marram:1".into());
    assert_eq!(first.hash, template(&names, &spec, "marram:2").hash);
    spec.storage.host_spread = Some(HostSpread::Required);
    assert_ne!(first.hash, template(&names, &spec, "marram:2").hash);
    // Numbers of nodes are no part of it: scaling restarts nobody.
    spec.storage.host_spread = None;
    spec.storage.nodes = Some(9);
    assert_eq!(first.hash, template(&names, &spec, "marram:2").hash);
}

#[test]
fn resources_are_as_given() {
    let mut spec = spec();
    let requests = |spec: &MarramClusterSpec| {
        let pod = built(spec)
            .spec
            .expect("a spec")
            .template
            .spec
            .expect("a pod");
        let resources = pod.containers[0].resources.clone().expect("some");
        resources.requests.expect("some")["memory"].0.clone()
    };
    assert_eq!(requests(&spec), "256Mi");
    let given = [("memory".to_owned(), "2Gi".to_owned())];
    spec.storage.resources = Some(Resources {
        requests: given.into(),
        ..Default::default()
    });
    assert_eq!(requests(&spec), "2Gi");
}

#[test]
fn budgets_open_one_domain_at_a_time() {
    let pods: BTreeMap<String, usize> = [("z1", 2), ("z2", 2), ("z3", 1)]
        .map(|(domain, count)| (domain.to_owned(), count))
        .into();
    let stay = |open, closed| -> Vec<usize> {
        budgets(&pods, open, closed)
            .iter()
            .map(|b| b.min_available)
            .collect()
    };
    assert_eq!(stay(None, false), [1, 1, 0], "one of each at rest");
    assert_eq!(
        stay(None, true),
        [2, 2, 1],
        "none while data is not redundant"
    );
    assert_eq!(
        stay(Some(("z2", false)), false),
        [2, 1, 1],
        "one of the open domain"
    );
    assert_eq!(
        stay(Some(("z2", true)), true),
        [2, 0, 1],
        "the open domain as a whole"
    );
    let two = [("z1".to_owned(), 1), ("z2".to_owned(), 1)].into();
    assert!(budgets(&two, None, false).is_empty());
}

mod gateways;
