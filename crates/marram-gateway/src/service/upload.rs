//! `UploadService`.

use std::sync::Arc;

use marram_proto::v1;
use marram_proto::v1::upload_service_server::UploadService;
use tonic::{Request, Response, Status, Streaming};

use crate::core::Core;
use crate::{status, uploads};

/// The service of multipart uploads.
pub(crate) struct Uploads(pub(crate) Arc<Core>);

#[tonic::async_trait]
impl UploadService for Uploads {
    async fn create_upload(
        &self,
        request: Request<v1::CreateUploadRequest>,
    ) -> Result<Response<v1::CreateUploadResponse>, Status> {
        let created = uploads::create(&self.0, request.into_inner())
            .await
            .map_err(|error| status::of(&error))?;
        Ok(Response::new(created))
    }

    async fn upload_part(
        &self,
        request: Request<Streaming<v1::UploadPartRequest>>,
    ) -> Result<Response<v1::UploadPartResponse>, Status> {
        let stored = uploads::upload_part(self.0.clone(), request.into_inner())
            .await
            .map_err(|error| status::of(&error))?;
        Ok(Response::new(stored))
    }

    async fn list_parts(
        &self,
        request: Request<v1::ListPartsRequest>,
    ) -> Result<Response<v1::ListPartsResponse>, Status> {
        let page = uploads::parts(&self.0, request.into_inner())
            .await
            .map_err(|error| status::of(&error))?;
        Ok(Response::new(page))
    }

    async fn list_uploads(
        &self,
        request: Request<v1::ListUploadsRequest>,
    ) -> Result<Response<v1::ListUploadsResponse>, Status> {
        let page = uploads::uploads(&self.0, request.into_inner())
            .await
            .map_err(|error| status::of(&error))?;
        Ok(Response::new(page))
    }

    async fn complete_upload(
        &self,
        request: Request<v1::CompleteUploadRequest>,
    ) -> Result<Response<v1::CompleteUploadResponse>, Status> {
        let completed = uploads::complete(&self.0, request.into_inner())
            .await
            .map_err(|error| status::of(&error))?;
        Ok(Response::new(completed))
    }

    async fn abort_upload(
        &self,
        request: Request<v1::AbortUploadRequest>,
    ) -> Result<Response<v1::AbortUploadResponse>, Status> {
        uploads::abort(&self.0, request.into_inner())
            .await
            .map_err(|error| status::of(&error))?;
        Ok(Response::new(v1::AbortUploadResponse {}))
    }
}
