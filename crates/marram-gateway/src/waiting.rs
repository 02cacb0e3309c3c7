//! The API of a server that is no member yet: it answers health, and one method, which has it found a
//! cluster. Everything else is answered so that clients ask another server.

mod gate;

use std::sync::Arc;

use async_trait::async_trait;
use marram_meta::AccessKeyRecord;
use marram_metrics::{Calls, Verdict};
use marram_proto::{FILE_DESCRIPTOR_SET, v1};
use marram_types::ClusterId;
use marram_types::caps::OBJECT_GROUPS_DEFAULT;
use marram_types::config::{ConfigError, Founding};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;

use crate::gateway::{ApiListener, SERVICES, ServeError, health, serve_until};
use crate::secret::Kek;
use crate::service::MeasuredLayer;
use crate::status::{Fault, Reason};

use gate::WaitingLayer;

/// Why no cluster was founded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FoundError {
    /// The server does something else at the moment, such as asking to join; it may be asked again.
    #[error("this server is no member of a cluster, and founds none now: {0}")]
    Busy(String),
    /// A founding would make a second cluster of what is one, or of two.
    #[error("no cluster is founded: {0}")]
    Differs(String),
    /// It began and failed; the server says why and ends.
    #[error("the cluster could not be founded: {0}")]
    Failed(String),
}

/// Founds clusters, on the drives of this process.
#[async_trait]
pub trait Founder: Send + Sync {
    /// Founds one cluster, once; what is interrupted may be repeated.
    ///
    /// # Errors
    /// See [`FoundError`].
    async fn found(&self, wish: Founding) -> Result<ClusterId, FoundError>;
}

/// What a server that waits needs.
pub struct WaitingDeps {
    /// The key that may have a cluster founded.
    pub operator: AccessKeyRecord,
    /// The key under which its secret is stored.
    pub kek: Arc<Kek>,
    /// Where calls are counted.
    pub calls: Arc<Calls>,
    /// Whether this process is ready, which it is not: gRPC health says so.
    pub ready: watch::Receiver<Arc<Verdict>>,
    /// Who founds.
    pub founder: Arc<dyn Founder>,
}

impl std::fmt::Debug for WaitingDeps {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WaitingDeps").finish_non_exhaustive()
    }
}

/// Serves until `stop` is cancelled, and lets a call that runs end.
///
/// # Errors
/// When the listener fails.
pub async fn serve_waiting(
    deps: WaitingDeps,
    listener: ApiListener,
    stop: CancellationToken,
) -> Result<(), ServeError> {
    let health = health::server(&SERVICES, deps.ready.clone(), stop.clone());
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()?;
    let measured = MeasuredLayer(Arc::clone(&deps.calls));
    let gate = WaitingLayer::new(deps, crate::gateway::now_ms);
    let services = move |transport: Server| {
        transport
            .layer(measured.clone())
            .layer(gate.clone())
            .add_service(health.clone())
            .add_service(reflection.clone())
    };
    Ok(serve_until(services, listener, stop).await?)
}

/// Why a request to found a cluster is not carried out.
#[derive(Debug, thiserror::Error)]
enum BootstrapError {
    #[error("{field} is not valid: {error}")]
    Invalid {
        field: &'static str,
        error: ConfigError,
    },
    #[error("{field} is not valid: {value} is too large")]
    TooLarge { field: &'static str, value: u32 },
    #[error(transparent)]
    Found(#[from] FoundError),
}

impl Fault for BootstrapError {
    fn reason(&self) -> Reason {
        match self {
            Self::Invalid { .. } | Self::TooLarge { .. } => Reason::InvalidArgument,
            Self::Found(FoundError::Busy(_)) => Reason::NotAMember,
            Self::Found(FoundError::Differs(_)) => Reason::ClusterDiffers,
            Self::Found(FoundError::Failed(_)) => Reason::Internal,
        }
    }

    fn details(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::Invalid { field, .. } | Self::TooLarge { field, .. } => {
                vec![("field", (*field).to_owned())]
            }
            Self::Found(_) => Vec::new(),
        }
    }
}

fn small(field: &'static str, value: u32) -> Result<u16, BootstrapError> {
    u16::try_from(value).map_err(|_| BootstrapError::TooLarge { field, value })
}

/// The wish that a request is, checked.
fn wish(request: v1::BootstrapRequest) -> Result<Founding, BootstrapError> {
    let wish = Founding {
        cluster_name: request.cluster_name,
        expected_nodes: small("expected_nodes", request.expected_nodes)?,
        object_groups: match small("groups", request.groups)? {
            0 => OBJECT_GROUPS_DEFAULT,
            groups => groups,
        },
        zone: Some(request.zone).filter(|zone| !zone.is_empty()),
    };
    let field = |error: &ConfigError| match error {
        ConfigError::Groups(_) => "groups",
        ConfigError::Nodes(_) => "expected_nodes",
        ConfigError::Zone(_) => "zone",
        _ => "cluster_name",
    };
    wish.validate().map_err(|error| BootstrapError::Invalid {
        field: field(&error),
        error,
    })?;
    Ok(wish)
}

#[cfg(test)]
mod tests;
