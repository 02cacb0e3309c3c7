//! The groups through marram-raft's router.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use marram_raft::{RouteError, Router};
use marram_trace::{Instrument, Step, begin, fail};
use marram_types::{GroupId, ReplicaId};
use tracing::Span;

use super::{Answer, GroupError, Groups};

/// The groups of the cluster.
pub(crate) struct Routed(pub(crate) Arc<Router>);

fn error(group: GroupId, error: &RouteError) -> GroupError {
    match error {
        RouteError::OutcomeUnknown => GroupError::OutcomeUnknown {
            group,
            request: None,
        },
        RouteError::Overloaded(_) => GroupError::Overloaded(group),
        RouteError::NoRoom(_) => GroupError::NoRoom(group),
        RouteError::Unavailable { .. } | RouteError::NoRoute(_) => {
            tracing::info!(%group, %error, "a metadata group cannot serve");
            GroupError::Unavailable(group)
        }
        RouteError::Refused(why) => {
            tracing::error!(%group, why, "a metadata group refused a request of the gateway");
            GroupError::Kind(group)
        }
    }
}

fn failed(span: &Span, group: GroupId, route: &RouteError) -> GroupError {
    let error = error(group, route);
    fail(span, error.to_string());
    error
}

#[async_trait]
impl Groups for Routed {
    async fn propose(
        &self,
        group: GroupId,
        command: Bytes,
        within: Duration,
    ) -> Result<Bytes, GroupError> {
        let span = begin(|| Step::new("group propose").with("group", u64::from(group.0)));
        let proposed = self.0.propose(group, command, within);
        let outcome = proposed.instrument(span.clone()).await;
        outcome.map_err(|e| failed(&span, group, &e))
    }

    async fn query(
        &self,
        group: GroupId,
        query: Bytes,
        linearizable: bool,
        within: Duration,
    ) -> Result<Answer, GroupError> {
        let span = begin(|| {
            let step = Step::new("group query").with("group", u64::from(group.0));
            step.with("linearizable", u64::from(linearizable))
        });
        let asked = self.0.query(group, query, linearizable, within);
        let answer = asked.instrument(span.clone()).await;
        let (bytes, applied) = answer.map_err(|e| failed(&span, group, &e))?;
        Ok(Answer { bytes, applied })
    }

    async fn query_at(
        &self,
        group: GroupId,
        query: Bytes,
        at_least: u64,
        within: Duration,
    ) -> Result<Answer, GroupError> {
        let answer = self.0.query_at(group, query, at_least, within).await;
        let (bytes, applied) = answer.map_err(|e| error(group, &e))?;
        Ok(Answer { bytes, applied })
    }

    fn leader(&self, group: GroupId) -> Option<ReplicaId> {
        self.0.leader(group)
    }
}
