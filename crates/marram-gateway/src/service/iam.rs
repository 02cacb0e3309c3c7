//! `IamService`.

use std::sync::Arc;

use marram_proto::v1;
use marram_proto::v1::iam_service_server::IamService;
use tonic::{Request, Response, Status};

use crate::core::Core;
use crate::iam::{self, IamError};
use crate::status;

/// The service of access keys.
pub(crate) struct Iam(pub(crate) Arc<Core>);

fn answer<T>(done: Result<T, IamError>) -> Result<Response<T>, Status> {
    done.map(Response::new).map_err(|error| status::of(&error))
}

#[tonic::async_trait]
impl IamService for Iam {
    async fn create_access_key(
        &self,
        request: Request<v1::CreateAccessKeyRequest>,
    ) -> Result<Response<v1::CreateAccessKeyResponse>, Status> {
        answer(iam::create(&self.0, request.into_inner()).await)
    }

    async fn list_access_keys(
        &self,
        _request: Request<v1::ListAccessKeysRequest>,
    ) -> Result<Response<v1::ListAccessKeysResponse>, Status> {
        answer(iam::list(&self.0).await)
    }

    async fn rotate_access_key(
        &self,
        request: Request<v1::RotateAccessKeyRequest>,
    ) -> Result<Response<v1::RotateAccessKeyResponse>, Status> {
        answer(iam::rotate(&self.0, request.into_inner()).await)
    }

    async fn update_access_key(
        &self,
        request: Request<v1::UpdateAccessKeyRequest>,
    ) -> Result<Response<v1::UpdateAccessKeyResponse>, Status> {
        answer(iam::update(&self.0, request.into_inner()).await)
    }

    async fn delete_access_key(
        &self,
        request: Request<v1::DeleteAccessKeyRequest>,
    ) -> Result<Response<v1::DeleteAccessKeyResponse>, Status> {
        answer(iam::delete(&self.0, request.into_inner()).await)
    }
}
