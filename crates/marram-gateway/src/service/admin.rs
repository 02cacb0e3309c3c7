//! `AdminService`.

use std::sync::Arc;

use marram_proto::v1;
use marram_proto::v1::admin_service_server::AdminService;
use tonic::{Request, Response, Status};

use crate::admin;
use crate::admin::identity::{self, IdentityError};
use crate::admin::{audit, backup, bootstrap, compare, excuse, plan, profile, removal, version};
use crate::cluster_status::watching::Watching;
use crate::cluster_status::{self, ok_to_stop, watching};
use crate::core::Core;
use crate::doctor;
use crate::process;
use crate::status;
use crate::upkeep;

/// The service of operators.
pub(crate) struct Admin(pub(crate) Arc<Core>);

fn answer<T>(done: Result<T, IdentityError>) -> Result<Response<T>, Status> {
    done.map(Response::new).map_err(|error| status::of(&error))
}

#[tonic::async_trait]
impl AdminService for Admin {
    async fn bootstrap(
        &self,
        request: Request<v1::BootstrapRequest>,
    ) -> Result<Response<v1::BootstrapResponse>, Status> {
        bootstrap::repeated(&self.0, &request.into_inner())
            .map(Response::new)
            .map_err(|error| status::of(&error))
    }

    async fn get_cluster_status(
        &self,
        _request: Request<v1::GetClusterStatusRequest>,
    ) -> Result<Response<v1::GetClusterStatusResponse>, Status> {
        let answer = cluster_status::get(&self.0)
            .await
            .map_err(|error| status::of(&error))?;
        Ok(Response::new(answer))
    }

    type WatchClusterStatusStream = Watching;

    async fn watch_cluster_status(
        &self,
        _request: Request<v1::WatchClusterStatusRequest>,
    ) -> Result<Response<Watching>, Status> {
        watching::watch(Arc::clone(&self.0))
            .await
            .map(Response::new)
    }

    async fn ok_to_stop(
        &self,
        request: Request<v1::OkToStopRequest>,
    ) -> Result<Response<v1::OkToStopResponse>, Status> {
        let answer = ok_to_stop::ask(&self.0, request.into_inner()).await;
        answer
            .map(Response::new)
            .map_err(|error| status::of(&error))
    }

    async fn set_maintenance(
        &self,
        request: Request<v1::SetMaintenanceRequest>,
    ) -> Result<Response<v1::SetMaintenanceResponse>, Status> {
        let answer = excuse::maintenance(&self.0, request.into_inner()).await;
        answer
            .map(Response::new)
            .map_err(|error| status::of(&error))
    }

    async fn transfer_leader(
        &self,
        request: Request<v1::TransferLeaderRequest>,
    ) -> Result<Response<v1::TransferLeaderResponse>, Status> {
        let answer = excuse::transfer_leader(&self.0, request.into_inner()).await;
        answer
            .map(Response::new)
            .map_err(|error| status::of(&error))
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

    async fn set_bucket_profile(
        &self,
        request: Request<v1::SetBucketProfileRequest>,
    ) -> Result<Response<v1::SetBucketProfileResponse>, Status> {
        let answer = profile::set(&self.0, request.into_inner()).await;
        let profile = Some(answer.map_err(|error| status::of(&error))?);
        Ok(Response::new(v1::SetBucketProfileResponse { profile }))
    }

    async fn allow_bucket_profile(
        &self,
        request: Request<v1::AllowBucketProfileRequest>,
    ) -> Result<Response<v1::AllowBucketProfileResponse>, Status> {
        let answer = profile::allow(&self.0, request.into_inner()).await;
        let profile = Some(answer.map_err(|error| status::of(&error))?);
        Ok(Response::new(v1::AllowBucketProfileResponse { profile }))
    }

    async fn get_bucket_profile(
        &self,
        request: Request<v1::GetBucketProfileRequest>,
    ) -> Result<Response<v1::GetBucketProfileResponse>, Status> {
        let answer = profile::get(&self.0, request.into_inner()).await;
        let profile = Some(answer.map_err(|error| status::of(&error))?);
        Ok(Response::new(v1::GetBucketProfileResponse { profile }))
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

    async fn record_backup(
        &self,
        request: Request<v1::RecordBackupRequest>,
    ) -> Result<Response<v1::RecordBackupResponse>, Status> {
        answered(backup::record(&self.0, request.into_inner()).await)
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

    async fn get_scrub(
        &self,
        _request: Request<v1::GetScrubRequest>,
    ) -> Result<Response<v1::GetScrubResponse>, Status> {
        answered(upkeep::scrub(&self.0).await)
    }

    async fn start_scrub(
        &self,
        request: Request<v1::StartScrubRequest>,
    ) -> Result<Response<v1::StartScrubResponse>, Status> {
        answered(upkeep::start_scrub(&self.0, request.into_inner()).await)
    }

    async fn get_repair(
        &self,
        _request: Request<v1::GetRepairRequest>,
    ) -> Result<Response<v1::GetRepairResponse>, Status> {
        answered(upkeep::repair(&self.0).await)
    }

    async fn start_repair(
        &self,
        request: Request<v1::StartRepairRequest>,
    ) -> Result<Response<v1::StartRepairResponse>, Status> {
        answered(upkeep::start_repair(&self.0, request.into_inner()).await)
    }

    async fn get_garbage(
        &self,
        _request: Request<v1::GetGarbageRequest>,
    ) -> Result<Response<v1::GetGarbageResponse>, Status> {
        answered(upkeep::garbage(&self.0).await)
    }

    async fn set_paused(
        &self,
        request: Request<v1::SetPausedRequest>,
    ) -> Result<Response<v1::SetPausedResponse>, Status> {
        answered(upkeep::set_paused(&self.0, request.into_inner()).await)
    }

    async fn list_drives(
        &self,
        request: Request<v1::ListDrivesRequest>,
    ) -> Result<Response<v1::ListDrivesResponse>, Status> {
        answered(upkeep::list_drives(&self.0, request.into_inner()).await)
    }

    async fn set_drive_duty(
        &self,
        request: Request<v1::SetDriveDutyRequest>,
    ) -> Result<Response<v1::SetDriveDutyResponse>, Status> {
        answered(upkeep::set_drive_duty(&self.0, request.into_inner()).await)
    }

    async fn remove_drive(
        &self,
        request: Request<v1::RemoveDriveRequest>,
    ) -> Result<Response<v1::RemoveDriveResponse>, Status> {
        answered(upkeep::remove_drive(&self.0, request.into_inner()).await)
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

    async fn create_join_token(
        &self,
        request: Request<v1::CreateJoinTokenRequest>,
    ) -> Result<Response<v1::CreateJoinTokenResponse>, Status> {
        answer(identity::create_token(&self.0, request.into_inner()).await)
    }

    async fn list_join_tokens(
        &self,
        _request: Request<v1::ListJoinTokensRequest>,
    ) -> Result<Response<v1::ListJoinTokensResponse>, Status> {
        answer(identity::list_tokens(&self.0).await)
    }

    async fn revoke_join_token(
        &self,
        request: Request<v1::RevokeJoinTokenRequest>,
    ) -> Result<Response<v1::RevokeJoinTokenResponse>, Status> {
        answer(identity::revoke_token(&self.0, request.into_inner()).await)
    }

    async fn get_ca_status(
        &self,
        _request: Request<v1::GetCaStatusRequest>,
    ) -> Result<Response<v1::GetCaStatusResponse>, Status> {
        answer(identity::get_ca_status(&self.0).await)
    }

    async fn rotate_ca(
        &self,
        request: Request<v1::RotateCaRequest>,
    ) -> Result<Response<v1::RotateCaResponse>, Status> {
        answer(identity::rotate_ca(&self.0, request.into_inner()).await)
    }

    async fn reload_tls(
        &self,
        request: Request<v1::ReloadTlsRequest>,
    ) -> Result<Response<v1::ReloadTlsResponse>, Status> {
        answer(identity::reload_tls(&self.0, request.into_inner()).await)
    }

    async fn remove_gateway(
        &self,
        request: Request<v1::RemoveGatewayRequest>,
    ) -> Result<Response<v1::RemoveGatewayResponse>, Status> {
        answer(identity::remove_gateway(&self.0, request.into_inner()).await)
    }

    async fn diagnose(
        &self,
        _request: Request<v1::DiagnoseRequest>,
    ) -> Result<Response<v1::DiagnoseResponse>, Status> {
        let answer = doctor::diagnose(&self.0).await;
        answer
            .map(Response::new)
            .map_err(|error| status::of(&error))
    }

    async fn inspect_node(
        &self,
        request: Request<v1::InspectNodeRequest>,
    ) -> Result<Response<v1::InspectNodeResponse>, Status> {
        answered(doctor::inspect(&self.0, request.into_inner()).await)
    }

    async fn get_log_level(
        &self,
        request: Request<v1::GetLogLevelRequest>,
    ) -> Result<Response<v1::GetLogLevelResponse>, Status> {
        answered(process::log_level(&self.0, request.into_inner()).await)
    }

    async fn set_log_level(
        &self,
        request: Request<v1::SetLogLevelRequest>,
    ) -> Result<Response<v1::SetLogLevelResponse>, Status> {
        answered(process::set_log_level(&self.0, request.into_inner()).await)
    }

    async fn profile_cpu(
        &self,
        request: Request<v1::ProfileCpuRequest>,
    ) -> Result<Response<v1::ProfileCpuResponse>, Status> {
        answered(process::profile_cpu(&self.0, request.into_inner()).await)
    }

    async fn get_memory(
        &self,
        request: Request<v1::GetMemoryRequest>,
    ) -> Result<Response<v1::GetMemoryResponse>, Status> {
        answered(process::memory(&self.0, request.into_inner()).await)
    }
}

fn answered<T>(answer: Result<T, admin::AdminError>) -> Result<Response<T>, Status> {
    answer
        .map(Response::new)
        .map_err(|error| status::of(&error))
}
