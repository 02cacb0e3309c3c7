//! What is asked before and while nodes stop, and the status as it changes.

use std::time::Duration;

use marram_proto::v1;
use tonic::Streaming;

use crate::client::{Client, present, repeatable, within};
use crate::error::ClientError;
use crate::types::{ClusterStatus, HandedOver, MaintenanceNode, StopAnswer};

/// A status that is watched.
#[derive(Debug)]
pub struct StatusWatch {
    answers: Streaming<v1::WatchClusterStatusResponse>,
}

impl StatusWatch {
    /// The next status: the first at once, then one for each change. None when the server has stopped.
    ///
    /// # Errors
    /// What any call can meet. Watch anew after an error.
    pub async fn next(&mut self) -> Result<Option<ClusterStatus>, ClientError> {
        let answer = self.answers.message().await;
        let answer = answer.map_err(|status| ClientError::from_status(&status))?;
        let status = answer.map(|answer| present(answer.status, "status"));
        Ok(status.transpose()?.map(ClusterStatus::from_wire))
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl Client {
    /// Watches how the cluster is.
    ///
    /// # Errors
    /// What any call can meet.
    pub async fn watch_cluster_status(&self) -> Result<StatusWatch, ClientError> {
        let limit = self.call_timeout();
        let answers = self.attempts(repeatable, |lane| async move {
            let request = lane.request(v1::WatchClusterStatusRequest {});
            let mut admin = lane.admin();
            match within(limit, admin.watch_cluster_status(request)).await? {
                Ok(answer) => Ok(answer.into_inner()),
                Err(status) => Err(ClientError::from_status(&status)),
            }
        });
        Ok(StatusWatch {
            answers: answers.await?,
        })
    }

    /// Says whether nodes, given by name or id, may stop now, all at once, with every object still
    /// readable and writable, and readable with `margin` more nodes lost.
    ///
    /// # Errors
    /// `NotFound`, and what any call can meet.
    pub async fn ok_to_stop(
        &self,
        nodes: &[String],
        margin: u32,
    ) -> Result<StopAnswer, ClientError> {
        let message = v1::OkToStopRequest {
            nodes: nodes.to_vec(),
            margin,
        };
        self.unary(message, |lane, request| async move {
            lane.admin().ok_to_stop(request).await
        })
        .await
        .map(StopAnswer::from_wire)
    }

    /// Excuses nodes, given by name or id, and all of `zone` where one is given, for so long; without a
    /// time their maintenance ends.
    ///
    /// # Errors
    /// `NotFound`, `Invalid` (no node, or a time of more than a week), and what any call can meet.
    pub async fn set_maintenance(
        &self,
        nodes: &[String],
        zone: Option<&str>,
        ttl: Option<Duration>,
    ) -> Result<Vec<MaintenanceNode>, ClientError> {
        let message = v1::SetMaintenanceRequest {
            nodes: nodes.to_vec(),
            zone: zone.unwrap_or_default().to_owned(),
            ttl_ms: ttl.map_or(0, millis),
            end: ttl.is_none(),
        };
        let answer = self.unary(message, |lane, request| async move {
            lane.admin().set_maintenance(request).await
        });
        let nodes = answer.await?.nodes.into_iter();
        Ok(nodes.map(MaintenanceNode::from_wire).collect())
    }

    /// Hands the leaderships of a node, given by name or id, to others, and keeps them from it for so
    /// long.
    ///
    /// # Errors
    /// `NotFound`, `Invalid` (a time of more than a week), and what any call can meet.
    pub async fn transfer_leader(
        &self,
        node: &str,
        hold: Duration,
    ) -> Result<HandedOver, ClientError> {
        let message = v1::TransferLeaderRequest {
            node: node.to_owned(),
            hold_ms: millis(hold),
        };
        self.unary(message, |lane, request| async move {
            lane.admin().transfer_leader(request).await
        })
        .await
        .map(HandedOver::from_wire)
    }
}
