//! Connections of the API under TLS.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures::Stream;
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

/// Handshakes at once; further connections wait in the listener's queue.
const HANDSHAKES_MAX: usize = 1024;
/// How long a handshake may take.
const HANDSHAKE_TIME: Duration = Duration::from_secs(5);
/// Connections that have shaken hands and wait to be served.
const READY_MAX: usize = 64;
/// Pause after the system refuses to accept (out of file descriptors).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The connections that have shaken hands, until `stop`. A client that is slow, or speaks no TLS,
/// holds nobody up.
pub(crate) fn incoming(
    listener: TcpListener,
    config: Arc<ServerConfig>,
    stop: CancellationToken,
) -> impl Stream<Item = io::Result<TlsStream<TcpStream>>> {
    let (ready, connections) = mpsc::channel(READY_MAX);
    tokio::spawn(async move {
        let accepting = accept(listener, TlsAcceptor::from(config), ready, stop.clone());
        stop.run_until_cancelled(accepting).await;
    });
    ReceiverStream::new(connections)
}

type Ready = mpsc::Sender<io::Result<TlsStream<TcpStream>>>;

/// Accepts until nobody wants connections any more.
async fn accept(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    ready: Ready,
    stop: CancellationToken,
) {
    let room = Arc::new(Semaphore::new(HANDSHAKES_MAX));
    while !ready.is_closed() {
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((tcp, from)) => {
                let (acceptor, ready, stop) = (acceptor.clone(), ready.clone(), stop.clone());
                tokio::spawn(async move {
                    let shaking = shake_hands(tcp, acceptor, ready, permit);
                    if let Some(Err(error)) = stop.run_until_cancelled(shaking).await {
                        tracing::debug!(%from, %error, "a connection to the API was refused");
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept connections to the API");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn shake_hands(
    tcp: TcpStream,
    acceptor: TlsAcceptor,
    ready: Ready,
    _permit: OwnedSemaphorePermit,
) -> io::Result<()> {
    tcp.set_nodelay(true)?;
    let tls = tokio::time::timeout(HANDSHAKE_TIME, acceptor.accept(tcp)).await??;
    // Nobody takes it when the server stops; the client asks another one.
    let _ = ready.send(Ok(tls)).await;
    Ok(())
}
