//! The listener that operators' machines ask: Prometheus, and whoever starts and stops processes.
//!
//! It is plain HTTP, and gives nothing secret; metrics only with a bearer token where there is one. Whoever reaches it cannot make
//! it hold more than a bounded amount of anything: connections, bytes of a request, time.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{
    ACCEPT, ALLOW, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE,
};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::bearer::BearerToken;
use crate::health::Verdict;
use crate::sources::Sources;
use crate::text::Format;

/// What one caller, or all of them together, may take.
#[derive(Debug, Clone, Copy)]
struct Limits {
    /// Connections at once that have not asked for metrics; more wait in the system's queue. Their answers
    /// are short and at hand.
    connections: usize,
    /// Scrapes at once, in places of their own: those that hang, or do not read, keep no probe from its
    /// answer. More are told to come again.
    scrapes: usize,
    /// How long a request's head may take.
    head_within: Duration,
    /// How long a connection may take in all: it carries one request.
    connection_within: Duration,
}

const LIMITS: Limits = Limits {
    connections: 128,
    scrapes: 8,
    head_within: Duration::from_secs(2),
    connection_within: Duration::from_secs(20),
};
/// Bytes of a request's head, and of what is read ahead of its body, which nobody reads.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Pause after a connection that could not be accepted, such as for want of file descriptors.
const PAUSE: Duration = Duration::from_millis(100);

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// What is answered from.
#[derive(Debug, Clone)]
pub struct Listener {
    /// The metrics.
    pub sources: Arc<Sources>,
    /// Whether the process is ready.
    pub ready: watch::Receiver<Arc<Verdict>>,
    /// Asked of whoever wants metrics, where there is one: that of the moment. Probes have none.
    pub token: Option<watch::Receiver<BearerToken>>,
}

/// Answers for as long as the future is polled.
pub async fn serve(socket: TcpListener, from: Listener) {
    serve_within(socket, from, LIMITS).await;
}

async fn serve_within(socket: TcpListener, from: Listener, limits: Limits) {
    let places = Arc::new(Semaphore::new(limits.connections));
    let scrapes = Arc::new(Semaphore::new(limits.scrapes));
    // Dropped with this future, and all connections with it.
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        while connections.try_join_next().is_some() {}
        let stream = match socket.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::debug!(%error, "a connection to the metrics listener was not accepted");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let asked = Asked {
            from: from.clone(),
            scrapes: Arc::clone(&scrapes),
            place: Arc::new(Mutex::new(place)),
        };
        connections.spawn(async move {
            let answered = answer_on(stream, asked, limits.head_within);
            if tokio::time::timeout(limits.connection_within, answered)
                .await
                .is_err()
            {
                tracing::debug!("a connection to the metrics listener took too long");
            }
        });
    }
}

/// One connection, and the place that it takes.
#[derive(Clone)]
struct Asked {
    from: Listener,
    scrapes: Arc<Semaphore>,
    place: Arc<Mutex<OwnedSemaphorePermit>>,
}

async fn answer_on(stream: TcpStream, asked: Asked, head_within: Duration) {
    let service = service_fn(move |request| {
        let asked = asked.clone();
        async move { Ok::<_, Infallible>(asked.answer(&request).await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(head_within)
        .max_buf_size(HEAD_BYTES_MAX)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "a connection to the metrics listener broke off");
    }
}

impl Asked {
    async fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut refused = plain(StatusCode::METHOD_NOT_ALLOWED, "use GET\n");
            let allowed = HeaderValue::from_static("GET, HEAD");
            refused.headers_mut().insert(ALLOW, allowed);
            return refused;
        }
        match request.uri().path() {
            "/metrics" if !self.admits(request) => {
                let mut refused = plain(StatusCode::UNAUTHORIZED, "a bearer token is asked for\n");
                let scheme = HeaderValue::from_static("Bearer");
                refused.headers_mut().insert(WWW_AUTHENTICATE, scheme);
                refused
            }
            "/metrics" => match Arc::clone(&self.scrapes).try_acquire_owned() {
                Ok(place) => {
                    // The place for those who ask is free for the next one.
                    *self.place.lock() = place;
                    self.metrics(request).await
                }
                Err(_) => plain(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "too many scrapes at once: come again\n",
                ),
            },
            "/livez" => plain(StatusCode::OK, "alive\n"),
            "/readyz" => {
                let query = request.uri().query().unwrap_or_default();
                self.readiness(query.split('&').any(|part| part.starts_with("verbose")))
            }
            _ => plain(
                StatusCode::NOT_FOUND,
                "there is /metrics, /livez and /readyz?verbose\n",
            ),
        }
    }

    fn admits(&self, request: &Request<Incoming>) -> bool {
        let token = self.from.token.as_ref();
        token.is_none_or(|token| {
            let header = request.headers().get(AUTHORIZATION);
            token.borrow().admits(header)
        })
    }

    async fn metrics(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        let accepted = request.headers().get_all(ACCEPT).iter();
        let accepted: Vec<&str> = accepted.filter_map(|value| value.to_str().ok()).collect();
        let format = Format::accepted(&accepted.join(","));
        match self.from.sources.scrape(format).await {
            Ok(page) => {
                let mut response = plain(StatusCode::OK, page);
                let kind = HeaderValue::from_static(format.content_type());
                response.headers_mut().insert(CONTENT_TYPE, kind);
                response
            }
            Err(error) => plain(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
        }
    }

    fn readiness(&self, all: bool) -> Response<Full<Bytes>> {
        let verdict = self.from.ready.borrow().clone();
        let status = if verdict.is_ready() {
            StatusCode::OK
        } else {
            StatusCode::SERVICE_UNAVAILABLE
        };
        plain(status, verdict.text(all))
    }
}

fn plain(status: StatusCode, text: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(text.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, TEXT);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests;
