use serde_json::Value;

use super::*;

#[test]
fn what_is_not_given_has_its_documented_value() {
    let spec: MarramClusterSpec =
        serde_json::from_str(r#"{"storage":{"nodes":3,"volume":{"size":"4Gi"}}}"#).expect("valid");
    assert_eq!((spec.nodes(), spec.domain()), (3, "cluster.local"));
    assert_eq!(spec.zone_label(), "topology.kubernetes.io/zone");
    let tls = spec.tls.unwrap_or_default();
    assert_eq!((tls.duration(), tls.renew_before()), (7_776_000, 2_592_000));
    assert_eq!(Upgrade::default().node_timeout(), 900);
    assert_eq!(Replacement::default().after(), 1800);
    let down = ScaleDown::default();
    assert_eq!(
        (down.max_fill(), down.cool_down(), down.stall_after()),
        (80, 0, 900)
    );
    assert!(spec.gateway.is_none());
    assert_eq!(GatewaySpec::default().replicas(), 2);
    let auto: Autoscaling = serde_json::from_str(r#"{"maxReplicas":3}"#).expect("valid");
    assert_eq!(
        (auto.least(), auto.target(), auto.stabilization()),
        (2, 70, 300)
    );
    assert!(Disruption::default().budgets());
    assert_eq!(Disruption::default().maintenance(), 1800);
}

#[test]
fn a_resource_is_written_as_it_was_read() {
    let text = r#"{"storage":{"nodes":6,"volume":{"size":"1Ti","storageClassName":"fast"},"hostSpread":"Required"},"scaleDown":{"allowNarrower":true},"volumeRetention":{"onDelete":"Delete","confirmDelete":"store"}}"#;
    let spec: MarramClusterSpec = serde_json::from_str(text).expect("valid");
    assert_eq!(serde_json::to_string(&spec).expect("JSON"), text);
}

#[test]
fn urgent_operations_come_first() {
    use OperationKind::{
        Cancel, Create, Drain, Expand, Grow, Hibernate, Rebalance, Replace, Scrub, Shrink, Upgrade,
    };
    let mut kinds = [
        Scrub, Rebalance, Drain, Shrink, Upgrade, Grow, Expand, Cancel, Hibernate, Replace, Create,
    ];
    kinds.sort_unstable();
    let expected = [
        Create, Replace, Hibernate, Cancel, Expand, Grow, Upgrade, Shrink, Drain, Rebalance, Scrub,
    ];
    assert_eq!(kinds, expected);
}

/// Each resource in `deploy/examples` is read without anything left over.
#[test]
fn examples_are_of_their_types() {
    fn exact<T: serde::de::DeserializeOwned + serde::Serialize>(file: &str, spec: &Value) {
        let read: T = serde_json::from_value(spec.clone()).expect(file);
        let written = serde_json::to_value(&read).expect("JSON");
        assert_eq!(&written, spec, "{file}");
    }
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/examples");
    let mut seen = std::collections::BTreeSet::new();
    for file in std::fs::read_dir(folder).expect("examples") {
        let path = file.expect("readable").path();
        let name = path.display().to_string();
        if path.extension().is_none_or(|it| it != "yaml") {
            continue;
        }
        let text = std::fs::read_to_string(&path).expect("readable");
        for document in text.split("\n---\n") {
            let document: Value = serde_saphyr::from_str(document).expect(&name);
            let spec = &document["spec"];
            if document["apiVersion"] != "marram.dev/v1alpha1" {
                continue;
            }
            match document["kind"].as_str().expect("a kind") {
                "MarramCluster" => exact::<MarramClusterSpec>(&name, spec),
                "Bucket" => exact::<BucketSpec>(&name, spec),
                "AccessKey" => exact::<AccessKeySpec>(&name, spec),
                other => panic!("{name}: {other}"),
            }
            seen.insert(name.clone());
        }
    }
    assert_eq!(seen.len(), 4, "{seen:?}");
}
