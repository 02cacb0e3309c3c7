//! The layer that lets nobody in without a token, on every method but health, and to nothing but what
//! the access key's grants permit.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use tokio::sync::Semaphore;
use tonic::body::Body;
use tonic::codegen::http::HeaderValue;
use tonic::codegen::http::header::AUTHORIZATION;
use tonic::codegen::http::{Request, Response};
use tower::{Layer, Service};

use marram_meta::ClusterView;
use marram_metrics::Phase;

use super::access::{self, Need, Rule};
use super::guarded::Guard;
use super::{AuthError, Caller, StoredKey, authenticate, first};
use crate::core::Core;
use crate::status::{self, Fault, Reason};

/// The only service that answers without a token.
pub(crate) const HEALTH_PREFIX: &str = "/grpc.health.v1.Health/";

/// How long it may take to find out whether a key that is not known here was made elsewhere.
const LOOK_WITHIN: Duration = Duration::from_secs(1);
/// Such looks at once: whoever invents keys must not keep the root group busy.
const LOOKS_MAX: usize = 4;

/// Adds authentication and authorization to a service.
#[derive(Clone)]
pub(crate) struct AuthLayer {
    gate: Arc<Gate>,
}

struct Gate {
    core: Arc<Core>,
    /// Places of those who look whether a key was just made.
    looks: Semaphore,
    firsts: first::FirstMemory,
}

impl AuthLayer {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        let looks = Semaphore::new(LOOKS_MAX);
        let firsts = first::FirstMemory::default();
        let gate = Arc::new(Gate {
            core,
            looks,
            firsts,
        });
        Self { gate }
    }
}

/// Why a call does not reach its method, or is cut.
#[derive(Debug, thiserror::Error)]
pub(super) enum GateError {
    #[error(transparent)]
    Auth(#[from] AuthError),
    #[error(transparent)]
    First(#[from] first::FirstError),
    #[error("the access key {key} has no grant of {permission} {place}")]
    Denied {
        key: String,
        permission: &'static str,
        place: String,
    },
}

impl Fault for GateError {
    fn reason(&self) -> Reason {
        match self {
            Self::Auth(error) => error.reason(),
            Self::First(first::FirstError::Late) => Reason::UploadStalled,
            Self::First(first::FirstError::Busy) => Reason::Overloaded,
            Self::First(_) => Reason::InvalidArgument,
            Self::Denied { .. } => Reason::PermissionDenied,
        }
    }

    fn details(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::Denied { permission, .. } => vec![("permission", (*permission).to_owned())],
            Self::First(first::FirstError::Busy | first::FirstError::Late) | Self::Auth(_) => {
                Vec::new()
            }
            Self::First(_) => vec![("field", "message".to_owned())],
        }
    }
}

fn place(need: &Need) -> String {
    use marram_types::Target;
    match &need.target {
        Target::Cluster => "on the whole cluster".to_owned(),
        Target::Bucket(bucket) | Target::Seen(bucket) => format!("on bucket {bucket:?}"),
        Target::Keys { bucket, under } => format!("on {under:?} in bucket {bucket:?}"),
    }
}

/// What a caller lacks for a call as the cluster is now; `None` where that is nothing.
pub(super) fn lacking(
    view: &ClusterView,
    caller: &Caller,
    needs: &[Need],
    now_ms: u64,
) -> Option<GateError> {
    if view.cluster.is_none() {
        // Not the key's fault: this server has heard nothing for too long.
        return Some(AuthError::NoView.into());
    }
    let key = view.access_keys.get(&caller.access_key);
    let Some(key) = key.filter(|key| key.is_live(now_ms)) else {
        return Some(AuthError::KeyUnknown(caller.access_key.clone()).into());
    };
    let need = needs
        .iter()
        .find(|need| !key.allows(need.permission, &need.target))?;
    Some(GateError::Denied {
        key: caller.access_key.clone(),
        permission: need.permission.name(),
        place: place(need),
    })
}

impl Gate {
    fn caller(
        &self,
        view: &ClusterView,
        header: Option<&HeaderValue>,
    ) -> Result<Caller, AuthError> {
        let header = match header {
            None => None,
            Some(value) => Some(
                value
                    .to_str()
                    .map_err(|_| AuthError::Invalid("it is not ASCII text"))?,
            ),
        };
        if header.is_some() && view.cluster.is_none() {
            return Err(AuthError::NoView);
        }
        let now_ms = (self.core.now_ms)();
        authenticate(header, &self.core.kek, now_ms, |id| {
            let key = view.access_keys.get(id)?;
            Some(StoredKey::of(key, now_ms))
        })
    }

    /// The caller, also by a key that another server made a moment ago.
    async fn known_caller(&self, header: Option<&HeaderValue>) -> Result<Caller, AuthError> {
        match self.caller(&self.core.view(), header) {
            Err(AuthError::KeyUnknown(id)) => {
                self.catch_up(id).await?;
                self.caller(&self.core.view(), header)
            }
            known => known,
        }
    }

    /// Asks the root group for a key that this server does not know, and waits until it does: everything
    /// that is judged later is judged by its own view.
    async fn catch_up(&self, id: String) -> Result<(), AuthError> {
        let look = async {
            let _place = self.looks.acquire().await.ok()?;
            let fresh = self.core.fresh_view().await.ok()?;
            let now_ms = (self.core.now_ms)();
            let key = fresh.access_keys.get(&id);
            if !key.is_some_and(|key| key.is_live(now_ms)) {
                return Some(false);
            }
            let mut own = self.core.view.clone();
            own.wait_for(|own| own.index >= fresh.index).await.ok()?;
            Some(true)
        };
        match tokio::time::timeout(LOOK_WITHIN, look).await {
            Ok(Some(true)) => Ok(()),
            Ok(Some(false)) => Err(AuthError::KeyUnknown(id)),
            Ok(None) | Err(_) => Err(AuthError::NoView),
        }
    }

    /// The request with its caller, if it may reach its method, and what it is admitted by.
    async fn admit(&self, request: Request<Body>) -> Result<Admitted, GateError> {
        let path = request.uri().path().to_owned();
        if path.starts_with(HEALTH_PREFIX) {
            return Ok((request, None));
        }
        let header = request.headers().get(AUTHORIZATION).cloned();
        let caller = self.known_caller(header.as_ref()).await?;
        let (request, needs) = match access::rule(&path) {
            Rule::AnyKey => (request, Vec::new()),
            Rule::Operator => (request, vec![access::operator()]),
            Rule::Of(needs) => {
                let (parts, body) = request.into_parts();
                let (message, body) = first::take(&self.firsts, body).await?;
                let needs = needs(message).map_err(first::FirstError::from)?;
                (Request::from_parts(parts, body), needs)
            }
        };
        // Looked up again: the first message may have taken its time.
        let mut seen = self.core.view.clone();
        let view = Arc::clone(&seen.borrow_and_update());
        if let Some(error) = lacking(&view, &caller, &needs, (self.core.now_ms)()) {
            return Err(error);
        }
        let key = view.access_keys.get(&caller.access_key);
        let guard = Guard {
            view: seen,
            now_ms: self.core.now_ms,
            caller: caller.clone(),
            needs: needs.into(),
            expires_ms: key.and_then(|key| key.expires_ms),
        };
        let mut request = request.map(|body| guard.clone().request(body));
        request.extensions_mut().insert(caller);
        request.extensions_mut().insert(guard.clone());
        Ok((request, Some(guard)))
    }
}

type Admitted = (Request<Body>, Option<Guard>);

impl<S> Layer<S> for AuthLayer {
    type Service = Authenticated<S>;

    fn layer(&self, inner: S) -> Authenticated<S> {
        Authenticated {
            gate: self.gate.clone(),
            inner,
        }
    }
}

/// A service behind the gate.
#[derive(Clone)]
pub(crate) struct Authenticated<S> {
    gate: Arc<Gate>,
    inner: S,
}

impl<S> Service<Request<Body>> for Authenticated<S>
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
        // The one that was found ready is used, a fresh copy stays.
        let fresh = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, fresh);
        let gate = Arc::clone(&self.gate);
        Box::pin(async move {
            let path = request.uri().path().to_owned();
            let began = Instant::now();
            let admitted = gate.admit(request).await;
            gate.core.calls.phase(Phase::Auth, began.elapsed());
            match admitted {
                Ok((request, guard)) => {
                    let response = inner.call(request).await?;
                    Ok(match guard {
                        Some(guard) => guard.answer(response),
                        None => response,
                    })
                }
                Err(error) => {
                    tracing::debug!(path, %error, "not admitted");
                    Ok(status::of(&error).into_http())
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use marram_proto::v1;
    use prost::Message;
    use tonic::Code;
    use tonic_types::StatusExt;

    use super::first::FirstError;
    use super::*;

    #[test]
    fn what_is_wrong_with_a_first_message_is_said_with_its_field() {
        let damaged = v1::Chunk::decode(&b"\x0a"[..]).expect_err("cut");
        for error in [
            FirstError::TooLarge(9),
            FirstError::Cut,
            FirstError::Compressed,
            FirstError::Damaged(damaged),
        ] {
            let status = status::of(&GateError::First(error));
            assert_eq!(status.code(), Code::InvalidArgument, "{status}");
            let details = status.get_error_details();
            let metadata = &details.error_info().expect("an ErrorInfo").metadata;
            assert_eq!(metadata["field"], "message", "{status}");
        }
        let busy = status::of(&GateError::First(FirstError::Busy));
        assert_eq!(busy.code(), Code::ResourceExhausted);
        assert!(busy.get_error_details().retry_info().is_some());
        assert!(busy.message().contains("again later"), "{busy}");
    }
}
