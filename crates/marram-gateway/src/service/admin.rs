//! `AdminService`.

use std::sync::Arc;

use marram_proto::v1;
use marram_proto::v1::admin_service_server::AdminService;
use tonic::{Request, Response, Status};

use crate::cluster_status;
use crate::core::Core;
use crate::status;

/// The service of operators.
pub(crate) struct Admin(pub(crate) Arc<Core>);

#[tonic::async_trait]
impl AdminService for Admin {
    async fn get_cluster_status(
        &self,
        _request: Request<v1::GetClusterStatusRequest>,
    ) -> Result<Response<v1::GetClusterStatusResponse>, Status> {
        let answer = cluster_status::get(&self.0)
            .await
            .map_err(|error| status::of(&error))?;
        Ok(Response::new(answer))
    }
}
