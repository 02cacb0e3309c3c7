//! Connections of the API, from the listener to the transport: so many and no more, with their TLS
//! handshakes done. A client that is slow, or speaks no TLS, holds nobody up.

mod held;

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use marram_metrics::Connections;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::AbortHandle;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

pub(crate) use held::Held;

/// Handshakes at once; when more come, the oldest one makes room.
const HANDSHAKES_MAX: usize = 1024;
/// How long a handshake may take.
const HANDSHAKE_TIME: Duration = Duration::from_secs(5);
/// Pause after the system refuses to accept (out of file descriptors).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Where connections go that may be served.
pub(crate) type Lane = mpsc::Sender<io::Result<Held>>;

/// What connections are accepted by.
#[derive(Clone)]
pub(crate) struct Doorkeeper {
    /// TLS, where the API speaks it.
    pub(crate) tls: Option<TlsAcceptor>,
    /// Connections at once.
    pub(crate) places: Arc<Semaphore>,
    /// Handshakes at once.
    pub(crate) handshakes: usize,
    /// Where they are counted.
    pub(crate) counts: Arc<Connections>,
    /// Each connection goes to one of these, drawn at random.
    pub(crate) lanes: Arc<[Lane]>,
}

impl Doorkeeper {
    pub(crate) fn new(
        tls: Option<TlsAcceptor>,
        connections: usize,
        counts: Arc<Connections>,
        lanes: Vec<Lane>,
    ) -> Self {
        Self {
            tls,
            places: Arc::new(Semaphore::new(connections)),
            handshakes: HANDSHAKES_MAX,
            counts,
            lanes: lanes.into(),
        }
    }

    /// Accepts until `stop`; then the listener is closed.
    pub(crate) async fn accept(self, listener: TcpListener, stop: CancellationToken) {
        let mut greeted = Greeted(VecDeque::new());
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                // Whoever is told at once asks another server; a queue would only hide it.
                Ok((tcp, from)) if self.places.available_permits() == 0 => {
                    tracing::debug!(%from, "too many connections to the API");
                    self.counts.refused();
                    drop(tcp);
                }
                Ok((tcp, from)) => {
                    if greeted.make_room(self.handshakes) {
                        self.counts.unshaken();
                    }
                    let (keeper, stop) = (self.clone(), stop.clone());
                    let task = tokio::spawn(async move {
                        let greeting = keeper.greet(tcp);
                        if let Some(Err(error)) = stop.run_until_cancelled(greeting).await {
                            tracing::debug!(%from, %error, "a connection to the API was refused");
                        }
                    });
                    greeted.0.push_back(task.abort_handle());
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept connections to the API");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// Shakes hands, and takes a place where there is still one.
    async fn greet(&self, tcp: TcpStream) -> io::Result<()> {
        tcp.set_nodelay(true)?;
        let stream = match &self.tls {
            None => held::Stream::Plain(tcp),
            Some(acceptor) => {
                let shaken = tokio::time::timeout(HANDSHAKE_TIME, acceptor.accept(tcp)).await;
                let shaken = shaken.map_err(io::Error::from).flatten();
                held::Stream::Tls(Box::new(shaken.inspect_err(|_| self.counts.unshaken())?))
            }
        };
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            self.counts.refused();
            return Err(io::Error::other("too many connections"));
        };
        let held = Held::new(stream, place, self.counts.opened());
        let lane = rand::random_range(0..self.lanes.len());
        // Nobody takes it when the server stops; the client asks another one.
        let _ = self.lanes[lane].send(Ok(held)).await;
        Ok(())
    }
}

/// Those that are greeted now, the oldest first; some may have ended.
struct Greeted(VecDeque<AbortHandle>);

impl Greeted {
    /// Sees to it that there are fewer than `most`; true when one was sent away for it.
    fn make_room(&mut self, most: usize) -> bool {
        if self.0.len() < most {
            return false;
        }
        self.0.retain(|task| !task.is_finished());
        if self.0.len() < most {
            return false;
        }
        let oldest = self.0.pop_front();
        oldest.inspect(AbortHandle::abort).is_some()
    }
}

#[cfg(test)]
mod tests;
