//! The transport of the API: its settings, and serving over it until told to stop.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use marram_metrics::Connections;
use marram_types::caps::{KIB, MIB};
use marram_types::config::ApiLimits;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic::codegen::http::{Request, Response};
use tonic::service::Routes;
use tonic::transport::Server;
use tonic::transport::server::Router;
use tower::{Layer, Service};

use super::connections::Doorkeeper;
use crate::tls::ApiTls;

/// HTTP/2 frames (docs/decisions/0007: large frames halve the cost of large bodies).
const FRAME_BYTES: u32 = MIB as u32;
/// Unread bytes of one call that a client may have sent.
const STREAM_WINDOW_BYTES: u32 = 4 * MIB as u32;
/// Unread bytes of one connection that a client may have sent.
const CONNECTION_WINDOW_BYTES: u32 = 16 * MIB as u32;
/// Calls at once on one connection.
pub(crate) const STREAMS_MAX: u32 = 1024;
/// Headers of a call: names, values and 32 bytes for each, as HTTP/2 counts them (RFC 9113, 6.5.2).
pub(crate) const HEADER_BYTES_MAX: usize = 16 * KIB;
/// A silent connection is asked whether it is still there, so that a client that vanished does not
/// hold an upload's memory.
const KEEPALIVE_EVERY: Duration = Duration::from_secs(10);
/// And given up when it does not answer.
const KEEPALIVE_TIME: Duration = Duration::from_secs(10);

/// Ages at which connections are closed: classes of them, around the one that is set, so that those that
/// came together do not go together.
const AGE_CLASSES: u32 = 8;
/// How far the youngest and the oldest class are from what is set, in per cent.
const AGE_SPREAD_PERCENT: u32 = 20;
/// Connections of one class that wait to be served.
const READY_MAX: usize = 16;

/// A server with the settings of the API, and no services as yet, whose connections end at an age: no new
/// calls begin on them then, and those that run go on to their end.
fn transport(age: Duration) -> Server {
    Server::builder()
        .max_frame_size(FRAME_BYTES)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_concurrent_streams(STREAMS_MAX)
        .http2_max_header_list_size(HEADER_BYTES_MAX as u32)
        .http2_keepalive_interval(Some(KEEPALIVE_EVERY))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIME))
        .max_connection_age(age)
}

/// The age of a class.
fn age_of(class: u32, age: Duration) -> Duration {
    let percent = 100 - AGE_SPREAD_PERCENT + 2 * AGE_SPREAD_PERCENT * class / (AGE_CLASSES - 1);
    age * percent / 100
}

/// What is served on.
#[derive(Debug)]
pub struct ApiListener {
    /// The socket.
    pub socket: TcpListener,
    /// The certificate; without one the API speaks no TLS.
    pub tls: Option<Arc<ApiTls>>,
    /// How many connections there may be, and how old.
    pub limits: ApiLimits,
    /// Where they are counted.
    pub counts: Arc<Connections>,
}

/// Serves what `services` puts on a transport, until `stop` is cancelled and every connection has ended;
/// where there is a certificate, only to clients that speak TLS.
pub(crate) async fn serve_until<L, B>(
    services: impl Fn(Server) -> Router<L>,
    listener: ApiListener,
    stop: CancellationToken,
) -> Result<(), tonic::transport::Error>
where
    L: Layer<Routes>,
    L::Service: Service<Request<Body>, Response = Response<B>> + Clone + Send + 'static,
    <L::Service as Service<Request<Body>>>::Future: Send,
    <L::Service as Service<Request<Body>>>::Error: Into<tonic::codegen::StdError> + Send + 'static,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<tonic::codegen::StdError>,
{
    let age = Duration::from_secs(listener.limits.connection_age_s);
    let (mut lanes, mut serving) = (Vec::new(), Vec::new());
    for class in 0..AGE_CLASSES {
        let (lane, connections) = mpsc::channel(READY_MAX);
        lanes.push(lane);
        let router = services(transport(age_of(class, age)));
        let told = stop.clone().cancelled_owned();
        let connections = ReceiverStream::new(connections);
        serving.push(router.serve_with_incoming_shutdown(connections, told));
    }
    let tls = listener.tls.map(|tls| {
        let acceptor = TlsAcceptor::from(tls.server_config());
        tokio::spawn(tls.keep_current(stop.clone()));
        acceptor
    });
    let keeper = Doorkeeper::new(tls, listener.limits.connections, listener.counts, lanes);
    let accepting = keeper.accept(listener.socket, stop);
    let (served, ()) = futures::join!(futures::future::try_join_all(serving), accepting);
    served.map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_lie_around_what_is_set() {
        let age = Duration::from_secs(100);
        let all: Vec<u64> = (0..AGE_CLASSES)
            .map(|class| age_of(class, age).as_secs())
            .collect();
        assert_eq!((all[0], all[7]), (80, 120));
        assert!(all.is_sorted_by(|a, b| a < b), "{all:?}");
    }
}
