//! `AdminService`.

use std::sync::Arc;

use marram_proto::v1;
use marram_proto::v1::admin_service_server::AdminService;
use tonic::{Request, Response, Status};

use crate::admin;
use crate::admin::{audit, backup, compare, plan, removal, version};
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

    async fn set_node_duty(
        &self,
        request: Request<v1::SetNodeDutyRequest>,
    ) -> Result<Response<v1::SetNodeDutyResponse>, Status> {
        let answer = admin::set_duty(&self.0, request.into_inner()).await;
        answer
            .map(Response::new)
            .map_err(|error| status::of(&error))
    }

    async fn remove_node(
        &self,
        request: Request<v1::RemoveNodeRequest>,
    ) -> Result<Response<v1::RemoveNodeResponse>, Status> {
        let answer = removal::remove(&self.0, request.into_inner()).await;
        answer
            .map(Response::new)
            .map_err(|error| status::of(&error))
    }

    async fn plan_layout(
        &self,
        request: Request<v1::PlanLayoutRequest>,
    ) -> Result<Response<v1::PlanLayoutResponse>, Status> {
        let answer = plan::plan(&self.0, request.into_inner()).await;
        answer
            .map(Response::new)
            .map_err(|error| status::of(&error))
    }

    async fn begin_backup(
        &self,
        request: Request<v1::BeginBackupRequest>,
    ) -> Result<Response<v1::BeginBackupResponse>, Status> {
        answered(backup::begin(&self.0, request.into_inner()).await)
    }

    async fn read_backup(
        &self,
        request: Request<v1::ReadBackupRequest>,
    ) -> Result<Response<v1::ReadBackupResponse>, Status> {
        answered(backup::read(&self.0, request.into_inner()).await)
    }

    async fn end_backup(
        &self,
        request: Request<v1::EndBackupRequest>,
    ) -> Result<Response<v1::EndBackupResponse>, Status> {
        answered(backup::end(&self.0, request.into_inner()).await)
    }

    async fn release_backups(
        &self,
        _request: Request<v1::ReleaseBackupsRequest>,
    ) -> Result<Response<v1::ReleaseBackupsResponse>, Status> {
        answered(backup::release(&self.0).await)
    }

    async fn audit_objects(
        &self,
        request: Request<v1::AuditObjectsRequest>,
    ) -> Result<Response<v1::AuditObjectsResponse>, Status> {
        answered(audit::audit(&self.0, request.into_inner()).await)
    }

    async fn finalize_version(
        &self,
        _request: Request<v1::FinalizeVersionRequest>,
    ) -> Result<Response<v1::FinalizeVersionResponse>, Status> {
        answered(version::finalize(&self.0).await)
    }

    async fn rebalance(
        &self,
        request: Request<v1::RebalanceRequest>,
    ) -> Result<Response<v1::RebalanceResponse>, Status> {
        answered(plan::rebalance(&self.0, request.into_inner()).await)
    }

    async fn compare_shards(
        &self,
        _request: Request<v1::CompareShardsRequest>,
    ) -> Result<Response<v1::CompareShardsResponse>, Status> {
        answered(compare::compare(&self.0).await)
    }
}

fn answered<T>(answer: Result<T, admin::AdminError>) -> Result<Response<T>, Status> {
    answer
        .map(Response::new)
        .map_err(|error| status::of(&error))
}
