//! The server of the public API.

use std::sync::Arc;
use std::time::Duration;

use marram_mesh::Mesh;
use marram_meta::ClusterView;
use marram_metrics::{Calls, Verdict, Watchers};
use marram_proto::FILE_DESCRIPTOR_SET;
use marram_proto::v1::admin_service_server::AdminServiceServer;
use marram_proto::v1::bucket_service_server::BucketServiceServer;
use marram_proto::v1::iam_service_server::IamServiceServer;
use marram_proto::v1::object_service_server::ObjectServiceServer;
use marram_proto::v1::upload_service_server::UploadServiceServer;
use marram_proto::v1::watch_service_server::WatchServiceServer;
use marram_proto::v1::write_service_server::WriteServiceServer;
use marram_raft::Router;
use marram_types::ClusterHealth;
use marram_types::caps::API_MESSAGE_BYTES_MAX;
use prost::Message;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::server::NamedService;
use tonic::transport::Server;
use tonic::transport::server::Router as Services;
use tonic_health::pb::health_server::HealthServer;
use tower::layer::util::{Identity, Stack};

use crate::auth::AuthLayer;
use crate::core::{Core, Seams};
use crate::drives::Meshed;
use crate::get::held;
use crate::groups::Routed;
use crate::nodes::MeshNodes;
use crate::process::OwnProcess;
use crate::reencode::{Reencoder, WorkPace};
use crate::secret::Kek;
use crate::service::{
    Admin, Buckets, FramedLayer, Iam, MeasuredLayer, Objects, Uploads, Watches, Writes,
};

pub(crate) mod connections;
pub(crate) mod health;
pub(crate) mod transport;

use health::Healthy;
pub use transport::ApiListener;
pub(crate) use transport::serve_until;

/// The services as the transport serves them.
type Served = Services<Stack<FramedLayer, Stack<AuthLayer, Stack<MeasuredLayer, Identity>>>>;

/// The services whose health is the readiness of the process.
pub(crate) const SERVICES: [&str; 7] = [
    <ObjectServiceServer<Objects> as NamedService>::NAME,
    <UploadServiceServer<Uploads> as NamedService>::NAME,
    <WriteServiceServer<Writes> as NamedService>::NAME,
    <BucketServiceServer<Buckets> as NamedService>::NAME,
    <WatchServiceServer<Watches> as NamedService>::NAME,
    <IamServiceServer<Iam> as NamedService>::NAME,
    <AdminServiceServer<Admin> as NamedService>::NAME,
];

/// What a gateway needs.
pub struct GatewayDeps {
    /// The mesh, for shards.
    pub mesh: Mesh,
    /// The way to the metadata groups.
    pub router: Arc<Router>,
    /// The cluster as this server knows it, whenever that changes.
    pub view: watch::Receiver<Arc<ClusterView>>,
    /// How the nodes are, by the word of several; empty while nothing is known.
    pub health: watch::Receiver<Arc<ClusterHealth>>,
    /// The key under which secret keys are stored.
    pub kek: Arc<Kek>,
    /// The server's name, for `answered_by` in the status.
    pub name: String,
    /// This process, as an operator asks it.
    pub process: Arc<dyn OwnProcess>,
    /// Where calls are counted, made by [`calls`].
    pub calls: Arc<Calls>,
    /// Where those are counted who watch objects.
    pub watchers: Arc<Watchers>,
    /// Whether this process is ready: gRPC health says the same.
    pub ready: watch::Receiver<Arc<Verdict>>,
}

impl std::fmt::Debug for GatewayDeps {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GatewayDeps")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// Why the gateway could not serve.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The transport failed.
    #[error("the API listener failed: {0}")]
    Transport(#[from] tonic::transport::Error),
    /// The descriptors in the binary are damaged.
    #[error("gRPC reflection cannot be set up: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
}

/// The public API of one server: stateless, as many as one likes.
pub struct Gateway {
    core: Arc<Core>,
}

impl std::fmt::Debug for Gateway {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gateway")
            .field("name", &self.core.name)
            .finish_non_exhaustive()
    }
}

impl Gateway {
    /// A gateway; nothing is opened yet.
    #[must_use]
    pub fn new(deps: GatewayDeps) -> Self {
        Self::over(Seams {
            groups: Arc::new(Routed(deps.router)),
            nodes: Arc::new(MeshNodes(deps.mesh.clone())),
            drives: Arc::new(Meshed(deps.mesh)),
            health: deps.health,
            view: deps.view,
            kek: deps.kek,
            name: deps.name,
            process: deps.process,
            calls: deps.calls,
            watchers: deps.watchers,
            ready: deps.ready,
            now_ms,
        })
    }

    /// A gateway over other seams; tests use it.
    pub(crate) fn over(seams: Seams) -> Self {
        Self {
            core: Arc::new(Core::new(seams)),
        }
    }

    #[cfg(test)]
    pub(crate) fn core(&self) -> Arc<Core> {
        Arc::clone(&self.core)
    }

    /// What encodes extents anew on this server, at a pace.
    #[must_use]
    pub fn reencoder(&self, pace: Arc<dyn WorkPace>) -> Reencoder {
        Reencoder::new(Arc::clone(&self.core), pace)
    }

    /// Serves until `stop` is cancelled, then lets calls end for a while. Where there is a
    /// certificate, only to clients that speak TLS.
    ///
    /// # Errors
    /// When the listener fails.
    pub async fn serve(
        self,
        listener: ApiListener,
        stop: CancellationToken,
    ) -> Result<(), ServeError> {
        let tasks = self.core.tasks.clone();
        let stopping = self.core.stopping.clone();
        let grace = Duration::from_secs(listener.limits.stop_grace_s);
        let ready = self.core.ready.clone();
        let health = health::server(&SERVICES, ready, stop.clone());
        let keeping = held::keep(Arc::clone(&self.core));
        let services = services(self.core, health)?;
        let serving = serve_until(services, listener, stop.clone());
        let too_late = async {
            stop.cancelled().await;
            // Those who watch would never end by themselves.
            stopping.cancel();
            tokio::time::sleep(grace).await;
        };
        tokio::select! {
            served = serving => served?,
            () = too_late => tracing::warn!("calls were still running when the server stopped"),
            () = keeping => {}
        }
        tasks.close();
        if tokio::time::timeout(grace, tasks.wait()).await.is_err() {
            tracing::warn!("transfers were still running when the server stopped");
        }
        Ok(())
    }
}

/// Counts for every method of the public API, gRPC health and reflection.
#[must_use]
pub fn calls() -> Calls {
    let sets = [
        FILE_DESCRIPTOR_SET,
        tonic_health::pb::FILE_DESCRIPTOR_SET,
        tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
    ];
    let sets = sets.map(|bytes| {
        prost_types::FileDescriptorSet::decode(bytes).expect("it was compiled into the binary")
    });
    let files = sets.iter().flat_map(|set| &set.file);
    let services = files.flat_map(|file| {
        let services = file.service.iter();
        services.map(move |service| (file.package(), service))
    });
    // Peers have messages only, so there are none of their methods among these.
    Calls::new(services.flat_map(|(package, service)| {
        let methods = service.method.iter();
        methods.map(move |method| format!("/{package}.{}/{}", service.name(), method.name()))
    }))
}

/// All services behind the authentication layer, to be put on a transport.
fn services(
    core: Arc<Core>,
    health: HealthServer<Healthy>,
) -> Result<impl Fn(Server) -> Served, ServeError> {
    let auth = AuthLayer::new(Arc::clone(&core));
    let measured = MeasuredLayer(Arc::clone(&core.calls));
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()?;
    let objects = ObjectServiceServer::new(Objects(core.clone()))
        .max_decoding_message_size(API_MESSAGE_BYTES_MAX)
        .max_encoding_message_size(API_MESSAGE_BYTES_MAX);
    let writes = WriteServiceServer::new(Writes(core.clone()))
        .max_decoding_message_size(API_MESSAGE_BYTES_MAX);
    Ok(move |transport: Server| {
        transport
            .layer(measured.clone())
            .layer(auth.clone())
            .layer(FramedLayer)
            .add_service(health.clone())
            .add_service(reflection.clone())
            .add_service(objects.clone())
            .add_service(UploadServiceServer::new(Uploads(core.clone())))
            .add_service(writes.clone())
            .add_service(BucketServiceServer::new(Buckets(core.clone())))
            .add_service(WatchServiceServer::new(Watches(core.clone())))
            .add_service(IamServiceServer::new(Iam(core.clone())))
            .add_service(AdminServiceServer::new(Admin(core.clone())))
    })
}

/// Milliseconds since 1970, by the time that the peers agree about.
pub(crate) fn now_ms() -> u64 {
    marram_mesh::clock_ms()
}

/// What other tests of the API use too.
#[cfg(test)]
pub(crate) mod testing {
    pub(crate) use super::tests::{methods, reason, token_of};
}

#[cfg(test)]
mod tests;
