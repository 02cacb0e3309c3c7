//! `BucketService`.

use std::sync::Arc;

use marram_proto::v1;
use marram_proto::v1::bucket_service_server::BucketService;
use tonic::codegen::BoxStream;
use tonic::{Request, Response, Status};

use crate::buckets;
use crate::core::Core;
use crate::{lifecycle, quota, status, versioning};

/// The service of buckets.
pub(crate) struct Buckets(pub(crate) Arc<Core>);

#[tonic::async_trait]
impl BucketService for Buckets {
    async fn create_bucket(
        &self,
        request: Request<v1::CreateBucketRequest>,
    ) -> Result<Response<v1::CreateBucketResponse>, Status> {
        let bucket = buckets::create(&self.0, request.into_inner())
            .await
            .map_err(|error| status::of(&error))?;
        Ok(Response::new(v1::CreateBucketResponse {
            bucket: Some(bucket),
        }))
    }

    async fn delete_bucket(
        &self,
        request: Request<v1::DeleteBucketRequest>,
    ) -> Result<Response<v1::DeleteBucketResponse>, Status> {
        buckets::delete(&self.0, request.into_inner())
            .await
            .map_err(|error| status::of(&error))?;
        Ok(Response::new(v1::DeleteBucketResponse {}))
    }

    async fn list_buckets(
        &self,
        request: Request<v1::ListBucketsRequest>,
    ) -> Result<Response<v1::ListBucketsResponse>, Status> {
        let caller = super::object::caller(&request)?;
        let page = buckets::list(&self.0, &caller, request.into_inner())
            .await
            .map_err(|error| status::of(&error))?;
        Ok(Response::new(page))
    }

    async fn head_bucket(
        &self,
        request: Request<v1::HeadBucketRequest>,
    ) -> Result<Response<v1::HeadBucketResponse>, Status> {
        let bucket = buckets::head(&self.0, request.into_inner())
            .await
            .map_err(|error| status::of(&error))?;
        Ok(Response::new(v1::HeadBucketResponse {
            bucket: Some(bucket),
        }))
    }

    async fn set_versioning(
        &self,
        request: Request<v1::SetVersioningRequest>,
    ) -> Result<Response<v1::SetVersioningResponse>, Status> {
        let bucket = versioning::set(&self.0, request.into_inner())
            .await
            .map_err(|error| status::of(&error))?;
        Ok(Response::new(v1::SetVersioningResponse {
            bucket: Some(bucket),
        }))
    }

    async fn set_lifecycle(
        &self,
        request: Request<v1::SetLifecycleRequest>,
    ) -> Result<Response<v1::SetLifecycleResponse>, Status> {
        let answer = lifecycle::set(&self.0, request.into_inner())
            .await
            .map_err(|error| status::of(&error))?;
        Ok(Response::new(answer))
    }

    async fn get_lifecycle(
        &self,
        request: Request<v1::GetLifecycleRequest>,
    ) -> Result<Response<v1::GetLifecycleResponse>, Status> {
        let answer = lifecycle::get(&self.0, request.into_inner())
            .await
            .map_err(|error| status::of(&error))?;
        Ok(Response::new(answer))
    }

    type PreviewLifecycleStream = BoxStream<v1::PreviewLifecycleResponse>;

    async fn preview_lifecycle(
        &self,
        request: Request<v1::PreviewLifecycleRequest>,
    ) -> Result<Response<Self::PreviewLifecycleStream>, Status> {
        let told = lifecycle::preview(self.0.clone(), request.into_inner())
            .await
            .map_err(|error| status::of(&error))?;
        Ok(Response::new(told))
    }

    async fn set_quota(
        &self,
        request: Request<v1::SetQuotaRequest>,
    ) -> Result<Response<v1::SetQuotaResponse>, Status> {
        let bucket = quota::set(&self.0, request.into_inner())
            .await
            .map_err(|error| status::of(&error))?;
        Ok(Response::new(v1::SetQuotaResponse {
            bucket: Some(bucket),
        }))
    }

    async fn get_bucket_usage(
        &self,
        request: Request<v1::GetBucketUsageRequest>,
    ) -> Result<Response<v1::GetBucketUsageResponse>, Status> {
        let usage = versioning::usage(&self.0, request.into_inner())
            .await
            .map_err(|error| status::of(&error))?;
        Ok(Response::new(usage))
    }
}
