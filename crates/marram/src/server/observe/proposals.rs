//! What is proposed to this server's replicas, and what becomes of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use marram_metrics::catalogue::{RAFT_PROPOSAL_DURATION, RAFT_PROPOSALS};
use marram_metrics::{Histogram, Sheet, Source};
use marram_raft::{Proposals, ProposeError};
use marram_types::GroupId;
use parking_lot::RwLock;

const RESULTS: [&str; 7] = [
    "ok",
    "not_leader",
    "unknown",
    "overloaded",
    "no_room",
    "invalid",
    "stopped",
];

/// Where they are counted.
#[derive(Debug, Default)]
pub(in crate::server) struct ProposalCounts(RwLock<BTreeMap<GroupId, Arc<Proposed>>>);

#[derive(Debug)]
struct Proposed {
    took: Histogram,
    results: [AtomicU64; RESULTS.len()],
}

impl Default for Proposed {
    fn default() -> Self {
        Self {
            took: Histogram::of(&RAFT_PROPOSAL_DURATION),
            results: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }
}

/// In the order of [`RESULTS`].
fn number(result: Result<(), &ProposeError>) -> usize {
    match result {
        Ok(()) => 0,
        Err(ProposeError::NotLeader { .. }) => 1,
        Err(ProposeError::Unknown) => 2,
        Err(ProposeError::Overloaded) => 3,
        Err(ProposeError::NoRoom { .. }) => 4,
        Err(ProposeError::NotACommand | ProposeError::TooLarge { .. }) => 5,
        Err(ProposeError::Stopped | ProposeError::NoReplica { .. }) => 6,
    }
}

impl ProposalCounts {
    /// Counts those of a group from now on, so that the first one is an increase.
    pub(super) fn begin(&self, group: GroupId) {
        drop(self.of(group));
    }

    fn of(&self, group: GroupId) -> Arc<Proposed> {
        let known = self.0.read().get(&group).cloned();
        known.unwrap_or_else(|| Arc::clone(self.0.write().entry(group).or_default()))
    }
}

impl Proposals for ProposalCounts {
    fn ended(&self, group: GroupId, took: Duration, result: Result<(), &ProposeError>) {
        let of_group = self.of(group);
        of_group.took.observe_time(took);
        of_group.results[number(result)].fetch_add(1, Ordering::Relaxed);
    }
}

#[async_trait]
impl Source for ProposalCounts {
    async fn collect(&self, sheet: &mut Sheet) {
        let all = self.0.read().clone();
        for (group, proposed) in all {
            let name = group.0.to_string();
            sheet.set_histogram(&RAFT_PROPOSAL_DURATION, &[&name], &proposed.took);
            for (result, count) in RESULTS.iter().zip(&proposed.results) {
                let count = count.load(Ordering::Relaxed);
                if count > 0 || *result == RESULTS[0] {
                    sheet.set(&RAFT_PROPOSALS, &[&name, result], count);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use marram_metrics::{Format, Sources};

    use super::*;

    #[tokio::test]
    async fn proposals_are_counted_by_group_and_result() {
        let counts = Arc::new(ProposalCounts::default());
        let (group, took) = (GroupId(3), Duration::from_millis(4));
        counts.ended(group, took, Ok(()));
        counts.ended(group, took, Err(&ProposeError::Unknown));
        counts.ended(group, took, Err(&ProposeError::NoRoom { group }));
        let sources = Sources::default();
        sources.add(counts);
        let page = sources.scrape(Format::Prometheus).await.expect("written");
        for line in [
            "marram_raft_proposals_total{group=\"3\",result=\"ok\"} 1",
            "marram_raft_proposals_total{group=\"3\",result=\"unknown\"} 1",
            "marram_raft_proposals_total{group=\"3\",result=\"no_room\"} 1",
            "marram_raft_proposal_seconds_bucket{group=\"3\",le=\"0.005\"} 3",
        ] {
            assert!(page.lines().any(|l| l == line), "{line}\n{page}");
        }
    }
}
