//! The groups through marram-raft's router.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use marram_raft::{RouteError, Router};
use marram_types::{GroupId, ReplicaId};

use super::{Answer, GroupError, Groups};

/// The groups of the cluster.
pub(crate) struct Routed(pub(crate) Arc<Router>);

fn error(group: GroupId, error: &RouteError) -> GroupError {
    match error {
        RouteError::OutcomeUnknown => GroupError::OutcomeUnknown(group),
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

#[async_trait]
impl Groups for Routed {
    async fn propose(
        &self,
        group: GroupId,
        command: Bytes,
        within: Duration,
    ) -> Result<Bytes, GroupError> {
        let outcome = self.0.propose(group, command, within).await;
        outcome.map_err(|e| error(group, &e))
    }

    async fn query(
        &self,
        group: GroupId,
        query: Bytes,
        linearizable: bool,
        within: Duration,
    ) -> Result<Answer, GroupError> {
        let answer = self.0.query(group, query, linearizable, within).await;
        let (bytes, applied) = answer.map_err(|e| error(group, &e))?;
        Ok(Answer { bytes, applied })
    }

    fn leader(&self, group: GroupId) -> Option<ReplicaId> {
        self.0.leader(group)
    }
}
