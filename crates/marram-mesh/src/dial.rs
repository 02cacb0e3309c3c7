//! Opening connections, keeping them, and backing off from peers that are not there.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::{TlsConnector, TlsStream};

use crate::class::Class;
use crate::client::Connection;
use crate::figures::{Failed, Side};
use crate::liveness::Heard;
use crate::mesh::Shared;
use crate::rpc::CallError;
use crate::socket::Socket;
use crate::tls::{peer_certificate, server_name};

/// How long connecting may take.
const CONNECT_TIME: Duration = Duration::from_secs(1);
/// How long the handshake may take after that.
const HANDSHAKE_TIME: Duration = Duration::from_secs(2);
/// First pause after a failure; doubles up to the longest.
const BACKOFF_MIN: Duration = Duration::from_millis(20);
/// Longest pause.
const BACKOFF_MAX: Duration = Duration::from_millis(500);

/// Whom to dial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    /// For messages: a node or an address.
    pub(crate) label: Arc<str>,
    /// Host and port.
    pub(crate) addr: String,
    /// The key that must answer; any node of the cluster when absent.
    pub(crate) public_key: Option<[u8; 32]>,
}

/// All connections to one peer.
pub(crate) struct Link {
    pub(crate) target: Target,
    pub(crate) heard: Arc<Heard>,
    raft: Vec<Arc<Lane>>,
    control: Vec<Arc<Lane>>,
    bulk: Vec<Arc<Lane>>,
}

/// The place of one connection.
struct Lane {
    class: Class,
    /// Calls that chose this lane and are not over: also those that wait for its dial or its turn,
    /// or every call would choose the lane whose connection is not open yet.
    calls: AtomicUsize,
    state: Mutex<State>,
}

/// A call's place on a lane, for as long as the call lasts.
pub(crate) struct Place(Arc<Lane>);

impl Place {
    fn on(lane: &Arc<Lane>) -> Self {
        lane.calls.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(lane))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.calls.fetch_sub(1, Ordering::Relaxed);
    }
}

struct State {
    at: At,
    failures: u32,
}

enum At {
    Idle,
    /// Somebody dials; the channel closes when it is over.
    Dialing(watch::Receiver<()>),
    Open(Arc<Connection>),
    /// The last attempt failed.
    Pause {
        until: Instant,
        reason: Arc<str>,
    },
}

#[derive(Debug, thiserror::Error)]
enum DialError {
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("it does not answer")]
    Slow,
    #[error("another node answers there: its key is not the one in the node table")]
    OtherNode,
}

impl DialError {
    /// What is counted of it.
    fn kind(&self) -> Failed {
        match self {
            Self::Io(error) => Failed::of_io(error),
            Self::Slow => Failed::Slow,
            Self::OtherNode => Failed::Certificate,
        }
    }
}

impl Link {
    pub(crate) fn new(target: Target) -> Self {
        let lanes = |class: Class| {
            let lane = || Lane {
                class,
                calls: AtomicUsize::new(0),
                state: Mutex::new(State {
                    at: At::Idle,
                    failures: 0,
                }),
            };
            (0..class.lanes()).map(|_| Arc::new(lane())).collect()
        };
        Self {
            target,
            heard: Arc::default(),
            raft: lanes(Class::Raft),
            control: lanes(Class::Control),
            bulk: lanes(Class::Bulk),
        }
    }

    fn lanes(&self, class: Class) -> &[Arc<Lane>] {
        match class {
            Class::Raft => &self.raft,
            Class::Control => &self.control,
            Class::Bulk => &self.bulk,
        }
    }

    /// An open connection of the class, of two the one with fewer calls, and the call's place on
    /// it. When that one cannot be dialed just now, the other serves if it is open.
    pub(crate) async fn connection(
        &self,
        shared: &Arc<Shared>,
        class: Class,
    ) -> Result<(Arc<Connection>, Place), CallError> {
        let lanes = self.lanes(class);
        let lane = lanes
            .iter()
            .min_by_key(|lane| lane.calls.load(Ordering::Relaxed))
            .expect("every class has a lane");
        let place = Place::on(lane);
        loop {
            let mut dialing = match lane.look(self, shared) {
                Ok(connection) => return Ok((connection, place)),
                Err(Wait::Dialing(dialing)) => dialing,
                Err(Wait::Failed(reason)) => {
                    let open = |lane: &Arc<Lane>| Some((lane.open()?, Place::on(lane)));
                    return lanes
                        .iter()
                        .find_map(open)
                        .ok_or_else(|| CallError::Unreachable {
                            peer: self.target.label.to_string(),
                            reason: reason.to_string(),
                        });
                }
            };
            // An error means that the dialer is done and has dropped its end.
            while dialing.changed().await.is_ok() {}
        }
    }

    /// Closes every connection, so that the next call dials anew.
    pub(crate) fn close(&self) {
        for class in Class::ALL {
            for lane in self.lanes(class) {
                if let At::Open(connection) = &lane.state.lock().at {
                    connection.close();
                }
            }
        }
    }
}

enum Wait {
    Dialing(watch::Receiver<()>),
    Failed(Arc<str>),
}

impl Lane {
    fn open(&self) -> Option<Arc<Connection>> {
        match &self.state.lock().at {
            At::Open(connection) if !connection.is_closed() => Some(Arc::clone(connection)),
            _ => None,
        }
    }

    /// The connection if it is open; starts dialing when it is time to.
    fn look(self: &Arc<Self>, link: &Link, shared: &Arc<Shared>) -> Result<Arc<Connection>, Wait> {
        let mut state = self.state.lock();
        match &state.at {
            At::Open(connection) if !connection.is_closed() => return Ok(Arc::clone(connection)),
            At::Dialing(dialing) if dialing.has_changed().is_ok() => {
                return Err(Wait::Dialing(dialing.clone()));
            }
            At::Pause { until, reason } if Instant::now() < *until => {
                return Err(Wait::Failed(Arc::clone(reason)));
            }
            _ => {}
        }
        let (done, dialing) = watch::channel(());
        state.at = At::Dialing(dialing.clone());
        drop(state);
        let lane = Arc::clone(self);
        let target = link.target.clone();
        let heard = Arc::clone(&link.heard);
        let shared = Arc::clone(shared);
        let runtime = shared.runtime(self.class).clone();
        runtime.spawn(async move {
            let result = dial(&shared, lane.class, &target, heard).await;
            if let Err(error) = &result {
                shared.figures.fail(Side::Dialed, error.kind());
            }
            lane.dialed(&target, result);
            drop(done);
        });
        Err(Wait::Dialing(dialing))
    }

    fn dialed(&self, target: &Target, result: Result<Arc<Connection>, DialError>) {
        let mut state = self.state.lock();
        match result {
            Ok(connection) => {
                state.failures = 0;
                state.at = At::Open(connection);
            }
            Err(error) => {
                let pause = pause_after(state.failures);
                state.failures = state.failures.saturating_add(1);
                tracing::debug!(peer = %target.label, addr = %target.addr, class = ?self.class, %error, "cannot connect");
                state.at = At::Pause {
                    until: Instant::now() + pause,
                    reason: error.to_string().into(),
                };
            }
        }
    }
}

/// Doubles with each failure, with half of it random so that peers do not come back as one.
fn pause_after(failures: u32) -> Duration {
    let full = BACKOFF_MIN
        .saturating_mul(1 << failures.min(10))
        .min(BACKOFF_MAX);
    full.mul_f64(rand::random_range(0.5..=1.0))
}

async fn dial(
    shared: &Arc<Shared>,
    class: Class,
    target: &Target,
    heard: Arc<Heard>,
) -> Result<Arc<Connection>, DialError> {
    let tcp = tokio::time::timeout(CONNECT_TIME, TcpStream::connect(&target.addr))
        .await
        .map_err(|_| DialError::Slow)??;
    let connector = TlsConnector::from(shared.tls().client(class));
    let handshake = connector.connect(server_name(), Socket::new(tcp)?);
    let tls = tokio::time::timeout(HANDSHAKE_TIME, handshake)
        .await
        .map_err(|_| DialError::Slow)??;
    let certificate = peer_certificate(tls.get_ref().1.peer_certificates());
    let certificate = certificate.ok_or(DialError::OtherNode)?;
    let expected = target.public_key;
    if expected.is_some_and(|key| key != certificate.public_key) {
        return Err(DialError::OtherNode);
    }
    Ok(Connection::start(
        TlsStream::Client(tls),
        class,
        certificate,
        Arc::clone(&target.label),
        (heard, shared.figures.opened(Side::Dialed, class)),
        shared.stop.child_token(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_their_limit() {
        for failures in [0, 1, 5, 40, u32::MAX] {
            let pause = pause_after(failures);
            assert!(pause >= BACKOFF_MIN / 2 && pause <= BACKOFF_MAX);
        }
        assert!(pause_after(9) >= BACKOFF_MAX / 2);
    }
}
