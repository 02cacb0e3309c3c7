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
