//! `ObjectService`.

use std::sync::Arc;

use marram_proto::v1;
use marram_proto::v1::object_service_server::ObjectService;
use tonic::codegen::BoxStream;
use tonic::{Request, Response, Status, Streaming};

use super::framed;
use crate::auth::{Caller, Guard};
use crate::core::Core;
use crate::{copy, get, objects, put, shards, status};

/// Who calls, as the authentication layer found.
pub(super) fn caller<M>(request: &Request<M>) -> Result<Caller, Status> {
    let caller = request.extensions().get::<Caller>();
    caller
        .cloned()
        .ok_or_else(|| Status::internal("the call passed no authentication"))
}

/// The service of objects.
pub(crate) struct Objects(pub(crate) Arc<Core>);

#[tonic::async_trait]
impl ObjectService for Objects {
    async fn put_object(
        &self,
        request: Request<Streaming<v1::PutObjectRequest>>,
    ) -> Result<Response<v1::PutObjectResponse>, Status> {
        let object = put::run(self.0.clone(), request.into_inner())
            .await
            .map_err(|error| status::of(&error))?;
        Ok(Response::new(v1::PutObjectResponse {
            object: Some(object),
        }))
    }

    type GetObjectStream = BoxStream<v1::GetObjectResponse>;

    async fn get_object(
        &self,
        request: Request<v1::GetObjectRequest>,
    ) -> Result<Response<Self::GetObjectStream>, Status> {
        let caller = caller(&request)?;
        let stream = get::run(self.0.clone(), &caller, request.into_inner())
            .await
            .map_err(|error| status::of(&error))?;
        Ok(framed::hand_over(stream))
    }

    type ReadRangesStream = BoxStream<v1::ReadRangesResponse>;

    async fn read_ranges(
        &self,
        request: Request<v1::ReadRangesRequest>,
    ) -> Result<Response<Self::ReadRangesStream>, Status> {
        let stream = get::ranges(self.0.clone(), request.into_inner())
            .await
            .map_err(|error| status::of(&error))?;
        Ok(Response::new(stream))
    }

    async fn read_shard(
        &self,
        request: Request<v1::ReadShardRequest>,
    ) -> Result<Response<v1::ReadShardResponse>, Status> {
        let caller = caller(&request)?;
        let chunk = shards::read(self.0.clone(), &caller, request.into_inner())
            .await
            .map_err(|error| status::of(&error))?;
        Ok(framed::hand_over_chunk(chunk))
    }

    async fn head_object(
        &self,
        request: Request<v1::HeadObjectRequest>,
    ) -> Result<Response<v1::HeadObjectResponse>, Status> {
        let object = objects::head(&self.0, request.into_inner())
            .await
            .map_err(|error| status::of(&error))?;
        Ok(Response::new(v1::HeadObjectResponse {
            object: Some(object),
        }))
    }

    async fn delete_object(
        &self,
        request: Request<v1::DeleteObjectRequest>,
    ) -> Result<Response<v1::DeleteObjectResponse>, Status> {
        let done = objects::delete(&self.0, request.into_inner())
            .await
            .map_err(|error| status::of(&error))?;
        Ok(Response::new(v1::DeleteObjectResponse {
            existed: done.existed,
            delete_marker: done.delete_marker,
            generation: done.generation,
        }))
    }

    async fn delete_objects(
        &self,
        request: Request<v1::DeleteObjectsRequest>,
    ) -> Result<Response<v1::DeleteObjectsResponse>, Status> {
        let caller = caller(&request)?;
        let guard = request.extensions().get::<Guard>().cloned();
        let guard = guard.ok_or_else(|| Status::internal("the call passed no authentication"))?;
        let results = objects::delete_all(&self.0, (&caller, guard), request.into_inner())
            .await
            .map_err(|error| status::of(&error))?;
        Ok(Response::new(v1::DeleteObjectsResponse { results }))
    }

    type CopyObjectStream = BoxStream<v1::CopyObjectResponse>;

    async fn copy_object(
        &self,
        request: Request<v1::CopyObjectRequest>,
    ) -> Result<Response<Self::CopyObjectStream>, Status> {
        let caller = caller(&request)?;
        let guard = request.extensions().get::<Guard>().cloned();
        let guard = guard.ok_or_else(|| Status::internal("the call passed no authentication"))?;
        let told = copy::run(self.0.clone(), (&caller, guard), request.into_inner());
        Ok(Response::new(told.await?))
    }

    async fn get_object_tags(
        &self,
        request: Request<v1::GetObjectTagsRequest>,
    ) -> Result<Response<v1::GetObjectTagsResponse>, Status> {
        let tags = objects::tags(&self.0, request.into_inner())
            .await
            .map_err(|error| status::of(&error))?;
        Ok(Response::new(tags))
    }

    async fn set_object_tags(
        &self,
        request: Request<v1::SetObjectTagsRequest>,
    ) -> Result<Response<v1::SetObjectTagsResponse>, Status> {
        let generation = objects::set_tags(&self.0, request.into_inner())
            .await
            .map_err(|error| status::of(&error))?;
        Ok(Response::new(v1::SetObjectTagsResponse { generation }))
    }

    async fn delete_object_tags(
        &self,
        request: Request<v1::DeleteObjectTagsRequest>,
    ) -> Result<Response<v1::DeleteObjectTagsResponse>, Status> {
        let generation = objects::delete_tags(&self.0, request.into_inner())
            .await
            .map_err(|error| status::of(&error))?;
        Ok(Response::new(v1::DeleteObjectTagsResponse { generation }))
    }

    async fn update_object_metadata(
        &self,
        request: Request<v1::UpdateObjectMetadataRequest>,
    ) -> Result<Response<v1::UpdateObjectMetadataResponse>, Status> {
        let described = objects::describe(&self.0, request.into_inner())
            .await
            .map_err(|error| status::of(&error))?;
        Ok(Response::new(described))
    }

    async fn list_objects(
        &self,
        request: Request<v1::ListObjectsRequest>,
    ) -> Result<Response<v1::ListObjectsResponse>, Status> {
        let page = objects::list(&self.0, request.into_inner())
            .await
            .map_err(|error| status::of(&error))?;
        Ok(Response::new(page))
    }

    async fn list_object_versions(
        &self,
        request: Request<v1::ListObjectVersionsRequest>,
    ) -> Result<Response<v1::ListObjectVersionsResponse>, Status> {
        let page = objects::list_versions(&self.0, request.into_inner())
            .await
            .map_err(|error| status::of(&error))?;
        Ok(Response::new(page))
    }
}
