//! The objects of gateways of their own.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;

use super::*;
use crate::api::{Autoscaling, GatewaySpec, Metrics};

fn gateways() -> GatewaySpec {
    let text = r#"{"enabled":true,"nodeSelector":{"disk":"none"}}"#;
    serde_json::from_str(text).expect("valid")
}

fn built() -> Deployment {
    exact(&deployment(&names(), &spec(), &gateways(), "marram:1"))
}

fn arguments_of(deployment: &Deployment) -> Vec<String> {
    let pod = deployment
        .spec
        .as_ref()
        .and_then(|s| s.template.spec.clone());
    pod.expect("a pod").containers[0]
        .args
        .clone()
        .expect("some")
}

#[test]
fn all_objects_of_gateways_are_of_their_types() {
    let names = names();
    exact::<NetworkPolicy>(&gateway_policy(&names));
    exact::<PodDisruptionBudget>(&gateway_budget(&names));
    exact::<Secret>(&gateway_join(&names, "t", (7, "aa")));
    exact::<HorizontalPodAutoscaler>(&autoscaler(
        &names,
        &Autoscaling {
            max_replicas: 9,
            ..Autoscaling::default()
        },
    ));
    exact::<Service>(&client_service(&names, true));
}

#[test]
fn the_number_of_gateways_has_writers_of_its_own() {
    assert_eq!(built().spec.expect("a spec").replicas, None);
}

#[test]
fn a_gateway_is_no_storage_pod() {
    let names = names();
    let labels = built().spec.expect("a spec").template.metadata;
    let labels = labels.and_then(|meta| meta.labels).expect("labels");
    let selects =
        |selector: BTreeMap<String, String>| selector.iter().all(|(k, v)| labels.get(k) == Some(v));
    assert!(selects(names.gateway_selector()));
    assert!(!selects(names.selector()));
    // Storage pods avoid each other, not gateways.
    let template = template(&names, &spec(), "marram:1").value;
    let term = "/spec/affinity/podAntiAffinity/preferredDuringSchedulingIgnoredDuringExecution/0/podAffinityTerm";
    let avoided = &template.pointer(term).expect("a term")["labelSelector"]["matchLabels"];
    assert_eq!(avoided, &serde_json::json!(names.selector()));
}

/// It has the key-encryption key, and neither the admin's nor the operator's.
#[test]
fn a_gateway_sees_no_more_than_it_needs() {
    let pod = built().spec.expect("a spec").template.spec.expect("a pod");
    let volumes = pod.volumes.expect("some");
    let keys = volumes.iter().find(|v| v.name == "keys").expect("keys");
    let items = keys.secret.as_ref().and_then(|s| s.items.clone());
    let items: Vec<String> = items.expect("some").into_iter().map(|i| i.key).collect();
    assert_eq!(items, ["kek"]);
    let join = volumes.iter().find(|v| v.name == "join").expect("join");
    let join = join.secret.as_ref().and_then(|s| s.secret_name.clone());
    assert_eq!(join.as_deref(), Some("store-gateway-join"));
    assert_eq!(pod.node_selector.expect("one")["disk"], "none");
}

#[test]
fn calls_that_run_may_end_before_a_gateway_is_killed() {
    let deployment = built();
    let grace = arguments_of(&deployment)
        .iter()
        .find_map(|a| a.strip_prefix("--stop-grace=")?.parse::<i64>().ok());
    let pod = deployment
        .spec
        .expect("a spec")
        .template
        .spec
        .expect("a pod");
    let leaves = pod.containers[0].lifecycle.clone().expect("some");
    let leaves = leaves
        .pre_stop
        .and_then(|stop| stop.sleep)
        .expect("one")
        .seconds;
    let all = pod.termination_grace_period_seconds.expect("some");
    assert!(all > grace.expect("given") + leaves);
}

#[test]
fn metrics_of_gateways_ask_for_the_token_too() {
    let mut spec = spec();
    spec.metrics = Some(Metrics {
        token_secret: Some("scrape".into()),
        buckets: Some(20),
    });
    let deployment = exact(&deployment(&names(), &spec, &gateways(), "marram:1"));
    let arguments = arguments_of(&deployment);
    let file = "--metrics-token-file=/metrics-token/token".to_owned();
    assert!(arguments.contains(&file), "{arguments:?}");
    // A gateway holds no buckets of which it could give metrics.
    assert!(!arguments.iter().any(|a| a.starts_with("--metrics-buckets")));
    assert!(!arguments_of(&built()).contains(&file));
    let pod = deployment
        .spec
        .expect("a spec")
        .template
        .spec
        .expect("a pod");
    let volumes = pod.volumes.expect("some");
    assert!(volumes.iter().any(|volume| volume.name == "metrics-token"));
    let mounts = pod.containers[0].volume_mounts.as_ref().expect("some");
    assert!(
        mounts
            .iter()
            .any(|mount| mount.mount_path == "/metrics-token")
    );
}

#[test]
fn applications_are_sent_where_it_is_said() {
    let selector = |to_gateways| {
        let service: Service = exact(&client_service(&names(), to_gateways));
        service.spec.expect("a spec").selector.expect("one")
    };
    assert_eq!(selector(false), names().selector());
    assert_eq!(selector(true), names().gateway_selector());
}
