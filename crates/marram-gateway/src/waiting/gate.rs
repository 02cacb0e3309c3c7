//! What a server that is no member lets through: health to everybody, reflection and the founding of a
//! cluster to the operator's key.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use marram_meta::AccessKeyRecord;
use marram_proto::v1;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::http::header::AUTHORIZATION;
use tonic::codegen::http::{HeaderMap, Request, Response};
use tonic::server::{Grpc, UnaryService};
use tonic_prost::ProstCodec;
use tower::{Layer, Service};

use super::{BootstrapError, Founder, WaitingDeps, wish};
use crate::auth::{AuthError, HEALTH_PREFIX, StoredKey, authenticate};
use crate::secret::Kek;
use crate::status::{self, Fault, Reason};

/// The one method.
const BOOTSTRAP: &str = "/marram.v1.AdminService/Bootstrap";
/// Which methods there are.
const REFLECTION_PREFIX: &str = "/grpc.reflection.";

/// Why a call gets no further.
#[derive(Debug, thiserror::Error)]
enum GateError {
    #[error(
        "this server is no member of a cluster yet: it waits for a join token. Ask another server, or \
         this one later"
    )]
    NotAMember,
    #[error(transparent)]
    Auth(#[from] AuthError),
}

impl Fault for GateError {
    fn reason(&self) -> Reason {
        match self {
            Self::NotAMember => Reason::NotAMember,
            Self::Auth(error) => error.reason(),
        }
    }
}

/// Puts the gate before the services.
#[derive(Clone)]
pub(super) struct WaitingLayer {
    gate: Arc<Gate>,
}

struct Gate {
    operator: AccessKeyRecord,
    kek: Arc<Kek>,
    founder: Arc<dyn Founder>,
    now_ms: fn() -> u64,
}

impl WaitingLayer {
    pub(super) fn new(deps: WaitingDeps, now_ms: fn() -> u64) -> Self {
        let gate = Arc::new(Gate {
            operator: deps.operator,
            kek: deps.kek,
            founder: deps.founder,
            now_ms,
        });
        Self { gate }
    }
}

impl<S> Layer<S> for WaitingLayer {
    type Service = Gated<S>;

    fn layer(&self, inner: S) -> Gated<S> {
        Gated {
            gate: Arc::clone(&self.gate),
            inner,
        }
    }
}

impl Gate {
    fn check(&self, headers: &HeaderMap) -> Result<(), AuthError> {
        let header = headers.get(AUTHORIZATION).map(|value| value.to_str());
        let header = header
            .transpose()
            .map_err(|_| AuthError::Invalid("it is not ASCII text"))?;
        let now_ms = (self.now_ms)();
        authenticate(header, &self.kek, now_ms, |id| {
            (id == self.operator.id).then(|| StoredKey::of(&self.operator, now_ms))
        })?;
        Ok(())
    }

    /// Whether a call is one for the services behind the gate.
    fn admit(&self, path: &str, headers: &HeaderMap) -> Result<(), GateError> {
        if path.starts_with(HEALTH_PREFIX) {
            return Ok(());
        }
        if path != BOOTSTRAP && !path.starts_with(REFLECTION_PREFIX) {
            return Err(GateError::NotAMember);
        }
        Ok(self.check(headers)?)
    }
}

/// The services behind the gate.
#[derive(Clone)]
pub(crate) struct Gated<S> {
    gate: Arc<Gate>,
    inner: S,
}

impl<S> Service<Request<Body>> for Gated<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let path = request.uri().path();
        if let Err(error) = self.gate.admit(path, request.headers()) {
            tracing::debug!(path, %error, "not admitted");
            return Box::pin(async move { Ok(status::of(&error).into_http()) });
        }
        if path != BOOTSTRAP {
            return Box::pin(self.inner.call(request));
        }
        let method = Bootstrap(Arc::clone(&self.gate.founder));
        Box::pin(async move {
            Ok(Grpc::new(ProstCodec::default())
                .unary(method, request)
                .await)
        })
    }
}

/// The method, without the service that it belongs to: the others of that have nothing to work with.
struct Bootstrap(Arc<dyn Founder>);

impl UnaryService<v1::BootstrapRequest> for Bootstrap {
    type Response = v1::BootstrapResponse;
    type Future = BoxFuture<'static, Result<tonic::Response<v1::BootstrapResponse>, Status>>;

    fn call(&mut self, request: tonic::Request<v1::BootstrapRequest>) -> Self::Future {
        let founder = Arc::clone(&self.0);
        Box::pin(async move {
            let founded = async {
                let cluster = founder.found(wish(request.into_inner())?).await?;
                Ok::<_, BootstrapError>(v1::BootstrapResponse {
                    cluster_id: cluster.to_string(),
                    founded: true,
                })
            };
            let answer = founded.await.map_err(|error| status::of(&error))?;
            Ok(tonic::Response::new(answer))
        })
    }
}
