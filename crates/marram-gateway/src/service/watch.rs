//! `WatchService`.

use std::sync::Arc;

use marram_proto::v1;
use marram_proto::v1::watch_service_server::WatchService;
use tonic::{Request, Response, Status};

use crate::auth::Guard;
use crate::core::Core;
use crate::watch;

/// The service of watchers.
pub(crate) struct Watches(pub(crate) Arc<Core>);

#[tonic::async_trait]
impl WatchService for Watches {
    type WatchObjectsStream = watch::Watching;

    async fn watch_objects(
        &self,
        request: Request<v1::WatchObjectsRequest>,
    ) -> Result<Response<Self::WatchObjectsStream>, Status> {
        let guard = request.extensions().get::<Guard>().cloned();
        let guard = guard.ok_or_else(|| Status::internal("the call passed no authentication"))?;
        let watching = watch::watch(self.0.clone(), guard, request.into_inner());
        Ok(Response::new(watching.await?))
    }
}
