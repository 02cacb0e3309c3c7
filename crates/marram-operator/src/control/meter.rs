//! What the operator counts.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use marram_metrics::catalogue::{
    OPERATOR_CLUSTERS, OPERATOR_ERRORS, OPERATOR_LEADER, OPERATOR_OPERATIONS, OPERATOR_RECONCILE,
    OPERATOR_STEPS,
};
use marram_metrics::{Histogram, Sheet, Source};
use tokio::sync::Mutex;

use crate::api::{ClusterPhase, OperationKind};

const PHASES: [(ClusterPhase, &str); 8] = [
    (ClusterPhase::Creating, "creating"),
    (ClusterPhase::Ready, "ready"),
    (ClusterPhase::Changing, "changing"),
    (ClusterPhase::Degraded, "degraded"),
    (ClusterPhase::Unavailable, "unavailable"),
    (ClusterPhase::Stalled, "stalled"),
    (ClusterPhase::Paused, "paused"),
    (ClusterPhase::Hibernated, "hibernated"),
];
const KINDS: [(OperationKind, &str); 11] = [
    (OperationKind::Create, "create"),
    (OperationKind::Replace, "replace"),
    (OperationKind::Hibernate, "hibernate"),
    (OperationKind::Cancel, "cancel"),
    (OperationKind::Expand, "expand"),
    (OperationKind::Grow, "grow"),
    (OperationKind::Upgrade, "upgrade"),
    (OperationKind::Shrink, "shrink"),
    (OperationKind::Drain, "drain"),
    (OperationKind::Rebalance, "rebalance"),
    (OperationKind::Scrub, "scrub"),
];
const ERRORS: [&str; 3] = ["kubernetes", "cluster", "secret"];

/// How a cluster was when it was last looked at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct State {
    pub(crate) phase: ClusterPhase,
    pub(crate) operation: Option<OperationKind>,
}

/// The counts of this process.
#[derive(Debug)]
pub(crate) struct Meter {
    took: Histogram,
    steps: AtomicU64,
    errors: [AtomicU64; ERRORS.len()],
    leads: AtomicU64,
    clusters: Mutex<BTreeMap<(String, String), State>>,
}

impl Default for Meter {
    fn default() -> Self {
        Self {
            took: Histogram::of(&OPERATOR_RECONCILE),
            steps: AtomicU64::new(0),
            errors: Default::default(),
            leads: AtomicU64::new(0),
            clusters: Mutex::default(),
        }
    }
}

impl Meter {
    /// One reconciliation ended, perhaps with an error of this kind.
    pub(crate) fn ended(&self, took: Duration, error: Option<&'static str>) {
        self.took.observe_time(took);
        let index = error.and_then(|kind| ERRORS.iter().position(|known| *known == kind));
        if let Some(index) = index {
            self.errors[index].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A step with a side effect was made.
    pub(crate) fn stepped(&self) {
        self.steps.fetch_add(1, Ordering::Relaxed);
    }

    /// This process is the one that acts.
    pub(crate) fn leads(&self) {
        self.leads.store(1, Ordering::Relaxed);
    }

    /// A cluster was seen so; or is no more.
    pub(crate) async fn saw(&self, cluster: (String, String), state: Option<State>) {
        let mut clusters = self.clusters.lock().await;
        match state {
            Some(state) => drop(clusters.insert(cluster, state)),
            None => drop(clusters.remove(&cluster)),
        }
    }
}

/// The meter as a source of metrics.
pub(crate) struct MeterSource(pub(crate) std::sync::Arc<Meter>);

#[async_trait::async_trait]
impl Source for MeterSource {
    async fn collect(&self, sheet: &mut Sheet) {
        let meter = &self.0;
        sheet.set_histogram(&OPERATOR_RECONCILE, &[], &meter.took);
        sheet.set(&OPERATOR_STEPS, &[], meter.steps.load(Ordering::Relaxed));
        for (kind, count) in ERRORS.iter().zip(&meter.errors) {
            sheet.set(&OPERATOR_ERRORS, &[kind], count.load(Ordering::Relaxed));
        }
        sheet.set(&OPERATOR_LEADER, &[], meter.leads.load(Ordering::Relaxed));
        let clusters = meter.clusters.lock().await;
        for (phase, name) in PHASES {
            let count = clusters
                .values()
                .filter(|state| state.phase == phase)
                .count();
            sheet.set(&OPERATOR_CLUSTERS, &[name], count as u64);
        }
        for (kind, name) in KINDS {
            let count = clusters
                .values()
                .filter(|state| state.operation == Some(kind))
                .count();
            sheet.set(&OPERATOR_OPERATIONS, &[name], count as u64);
        }
    }
}
