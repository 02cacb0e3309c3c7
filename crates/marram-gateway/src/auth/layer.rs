//! The layer that lets nobody in without a token, on every method but health.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::future::{Either, Ready, ready};
use tokio::sync::watch;
use tonic::body::Body;
use tonic::codegen::http::header::AUTHORIZATION;
use tonic::codegen::http::{Request, Response};
use tower::{Layer, Service};

use marram_meta::ClusterView;

use super::{AuthError, Caller, StoredKey, authenticate};
use crate::secret::Kek;
use crate::status;

/// The only service that answers without a token.
const OPEN_PREFIX: &str = "/grpc.health.v1.Health/";

/// Adds authentication to a service.
#[derive(Clone)]
pub(crate) struct AuthLayer {
    gate: Arc<Gate>,
}

struct Gate {
    view: watch::Receiver<Arc<ClusterView>>,
    kek: Arc<Kek>,
    now_ms: fn() -> u64,
}

impl AuthLayer {
    pub(crate) fn new(
        view: watch::Receiver<Arc<ClusterView>>,
        kek: Arc<Kek>,
        now_ms: fn() -> u64,
    ) -> Self {
        let gate = Arc::new(Gate { view, kek, now_ms });
        Self { gate }
    }
}

impl Gate {
    fn check<B>(&self, request: &Request<B>) -> Result<Option<Caller>, AuthError> {
        if request.uri().path().starts_with(OPEN_PREFIX) {
            return Ok(None);
        }
        let header = match request.headers().get(AUTHORIZATION) {
            None => None,
            Some(value) => Some(
                value
                    .to_str()
                    .map_err(|_| AuthError::Invalid("it is not ASCII text"))?,
            ),
        };
        let view = self.view.borrow().clone();
        if header.is_some() && view.cluster.is_none() {
            return Err(AuthError::NoView);
        }
        authenticate(header, &self.kek, (self.now_ms)(), |id| {
            view.access_keys.get(id).map(|key| StoredKey {
                wrapped_secret: key.wrapped_secret.clone(),
                disabled: key.disabled,
            })
        })
        .map(Some)
    }
}

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

impl<S, B> Service<Request<B>> for Authenticated<S>
where
    S: Service<Request<B>, Response = Response<Body>, Error = Infallible>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Either<S::Future, Ready<Result<Response<Body>, Infallible>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        match self.gate.check(&request) {
            Ok(caller) => {
                if let Some(caller) = caller {
                    request.extensions_mut().insert(caller);
                }
                Either::Left(self.inner.call(request))
            }
            Err(error) => {
                tracing::debug!(path = request.uri().path(), %error, "not authenticated");
                let answer = status::of(&error).into_http();
                Either::Right(ready(Ok(answer)))
            }
        }
    }
}
