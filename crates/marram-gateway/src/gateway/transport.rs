//! The transport of the API: its settings, and serving over it until told to stop.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use marram_types::caps::MIB;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic::codegen::http::{Request, Response};
use tonic::service::Routes;
use tonic::transport::Server;
use tonic::transport::server::{Router, TcpIncoming};
use tower::{Layer, Service};

use crate::tls::{self, ApiTls};

/// HTTP/2 frames (docs/decisions/0007: large frames halve the cost of large bodies).
const FRAME_BYTES: u32 = MIB as u32;
/// Unread bytes of one call that a client may have sent.
const STREAM_WINDOW_BYTES: u32 = 4 * MIB as u32;
/// Unread bytes of one connection that a client may have sent.
const CONNECTION_WINDOW_BYTES: u32 = 16 * MIB as u32;
/// Calls at once on one connection.
const STREAMS_MAX: u32 = 1024;
/// A silent connection is asked whether it is still there, so that a client that vanished does not
/// hold an upload's memory.
const KEEPALIVE_EVERY: Duration = Duration::from_secs(10);
/// And given up when it does not answer.
const KEEPALIVE_TIME: Duration = Duration::from_secs(10);

/// A server with the settings of the API, and no services as yet.
pub(crate) fn transport() -> Server {
    Server::builder()
        .max_frame_size(FRAME_BYTES)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_concurrent_streams(STREAMS_MAX)
        .http2_keepalive_interval(Some(KEEPALIVE_EVERY))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIME))
}

/// Serves until `stop` is cancelled and every connection has ended; where there is a certificate, only
/// to clients that speak TLS.
pub(crate) async fn serve_until<L, B>(
    router: Router<L>,
    listener: TcpListener,
    tls: Option<Arc<ApiTls>>,
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
    let told = stop.clone().cancelled_owned();
    match tls {
        None => {
            let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
            router.serve_with_incoming_shutdown(incoming, told).await
        }
        Some(tls) => {
            let config = tls.server_config();
            tokio::spawn(tls.keep_current(stop.clone()));
            let incoming = tls::incoming(listener, config, stop);
            router.serve_with_incoming_shutdown(incoming, told).await
        }
    }
}
