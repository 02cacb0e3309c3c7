//! How the cluster is.

use marram_proto::v1;

use crate::client::Client;
use crate::error::ClientError;
use crate::types::ClusterStatus;

impl Client {
    /// Says how the cluster is: nodes, drives, groups, and what their state means for the data.
    ///
    /// # Errors
    /// What any call can meet.
    pub async fn cluster_status(&self) -> Result<ClusterStatus, ClientError> {
        self.unary(v1::GetClusterStatusRequest {}, |lane, request| async move {
            lane.admin().get_cluster_status(request).await
        })
        .await
        .map(ClusterStatus::from_wire)
    }
}
