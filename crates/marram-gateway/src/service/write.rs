//! `WriteService`.

use std::sync::Arc;

use marram_proto::v1;
use marram_proto::v1::write_service_server::WriteService;
use tonic::{Request, Response, Status, Streaming};

use crate::core::Core;
use crate::status;
use crate::uploads::stream;

/// The service of resumable writes.
pub(crate) struct Writes(pub(crate) Arc<Core>);

#[tonic::async_trait]
impl WriteService for Writes {
    type WriteObjectStream = stream::Answers;

    async fn start_write(
        &self,
        request: Request<v1::StartWriteRequest>,
    ) -> Result<Response<v1::StartWriteResponse>, Status> {
        let started = stream::start(&self.0, request.into_inner())
            .await
            .map_err(|error| status::of(&error))?;
        Ok(Response::new(started))
    }

    async fn write_object(
        &self,
        request: Request<Streaming<v1::WriteObjectRequest>>,
    ) -> Result<Response<Self::WriteObjectStream>, Status> {
        let answers = stream::receive(self.0.clone(), request.into_inner())
            .await
            .map_err(|error| status::of(&error))?;
        Ok(Response::new(answers))
    }

    async fn query_write(
        &self,
        request: Request<v1::QueryWriteRequest>,
    ) -> Result<Response<v1::QueryWriteResponse>, Status> {
        let told = stream::query(&self.0, request.into_inner())
            .await
            .map_err(|error| status::of(&error))?;
        Ok(Response::new(told))
    }

    async fn finish_write(
        &self,
        request: Request<v1::FinishWriteRequest>,
    ) -> Result<Response<v1::FinishWriteResponse>, Status> {
        let finished = stream::finish(&self.0, request.into_inner())
            .await
            .map_err(|error| status::of(&error))?;
        Ok(Response::new(finished))
    }
}
