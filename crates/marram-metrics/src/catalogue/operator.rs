//! What the operator of clusters on Kubernetes does.

use super::labels::{CLUSTER_PHASE, FAILURE, OPERATION_KIND};
use super::{Family, From, Kind, Unit};

/// From one look without a change to one that waits for a cluster that does not answer.
const RECONCILE_SECONDS: &[f64] = &[0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

/// Looks at clusters.
pub const OPERATOR_RECONCILE: Family = Family {
    name: "marram_operator_reconcile_duration_seconds",
    kind: Kind::Histogram(RECONCILE_SECONDS),
    unit: Unit::Seconds,
    labels: &[],
    from: From::Operator,
    help: "Time of one look at one cluster, with the step that it led to",
};
/// Looks that failed.
pub const OPERATOR_ERRORS: Family = Family {
    name: "marram_operator_reconcile_errors_total",
    kind: Kind::Counter,
    unit: Unit::None,
    labels: &[FAILURE],
    from: From::Operator,
    help: "Looks at a cluster that failed, by what did not answer or was damaged; each is tried again",
};
/// Side effects.
pub const OPERATOR_STEPS: Family = Family {
    name: "marram_operator_steps_total",
    kind: Kind::Counter,
    unit: Unit::None,
    labels: &[],
    from: From::Operator,
    help: "Steps of operations with a side effect, such as a token that was made or a node that was drained",
};
/// Clusters.
pub const OPERATOR_CLUSTERS: Family = Family {
    name: "marram_operator_clusters",
    kind: Kind::Gauge,
    unit: Unit::None,
    labels: &[CLUSTER_PHASE],
    from: From::Operator,
    help: "Clusters that are looked after, by how they were when they were last looked at",
};
/// Operations.
pub const OPERATOR_OPERATIONS: Family = Family {
    name: "marram_operator_operations_running",
    kind: Kind::Gauge,
    unit: Unit::None,
    labels: &[OPERATION_KIND],
    from: From::Operator,
    help: "Operations under way, at most one a cluster",
};
/// Who leads.
pub const OPERATOR_LEADER: Family = Family {
    name: "marram_operator_leader",
    kind: Kind::Gauge,
    unit: Unit::None,
    labels: &[],
    from: From::Operator,
    help: "1 when this process has the Lease and acts, 0 when it waits",
};

pub(super) const OPERATOR: &[&Family] = &[
    &OPERATOR_RECONCILE,
    &OPERATOR_ERRORS,
    &OPERATOR_STEPS,
    &OPERATOR_CLUSTERS,
    &OPERATOR_OPERATIONS,
    &OPERATOR_LEADER,
];
