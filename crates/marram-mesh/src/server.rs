//! Connections that others opened, and the requests in flight on them.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use futures::FutureExt;
use futures::future::{AbortHandle, Abortable, BoxFuture};
use futures::stream::{FuturesUnordered, StreamExt};
use marram_proto::mesh::v1::{Method, PingResponse, RpcCode};
use marram_trace::Instrument;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::{TlsAcceptor, TlsStream};

use crate::allow::{allowed, allowed_expired};
use crate::class::{Class, QUEUED_BYTES_MAX};
use crate::clock::own_clock_ms;
use crate::driver::{Driver, Ended, Outbox, Owner};
use crate::figures::{Failed, Side};
use crate::frame::{Frame, Kind, OutFrame, Prefix};
use crate::identity::PeerCertificate;
use crate::mesh::Shared;
use crate::peers::Peer;
use crate::rpc::{REMOVED, RpcFailure};
use crate::socket::Socket;
use crate::tls::peer_certificate;
use crate::traced;

/// Connections that a listener keeps.
const CONNECTIONS_MAX: usize = 4096;
/// How long a handshake may take.
const HANDSHAKE_TIME: Duration = Duration::from_secs(5);
/// How long a connection without a certificate may last: a newcomer asks and goes.
const STRANGER_TIME: Duration = Duration::from_secs(60);
/// Pause after the system refuses to accept (out of file descriptors).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// As much of a first message as is looked at to choose the runtime.
const HELLO_BYTES: usize = 1024;

/// Accepts until the mesh is closed.
pub(crate) async fn accept(shared: Arc<Shared>, listener: TcpListener) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else {
            return;
        };
        let accepted = tokio::select! {
            () = shared.stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((tcp, from)) => {
                let shared = Arc::clone(&shared);
                tokio::spawn(async move {
                    let figures = Arc::clone(&shared.figures);
                    if let Err(reason) = admit(shared, tcp, permit).await {
                        figures.fail(Side::Accepted, reason.kind());
                        tracing::warn!(%from, %reason, "a mesh connection was refused");
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept mesh connections");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("the handshake took too long")]
    Slow,
    #[error("it agreed on no protocol of the mesh")]
    Protocol,
    #[error("its certificate is none of ours")]
    Certificate,
    #[error("it has no certificate, and may only ask to join")]
    Stranger,
    #[error("too many ask to join at once")]
    Strangers,
    #[error("it has no certificate and took too long")]
    StrangerSlow,
}

impl Refused {
    /// What is counted of it.
    fn kind(&self) -> Failed {
        match self {
            Self::Io(error) => Failed::of_io(error),
            Self::Slow => Failed::Slow,
            Self::Protocol => Failed::Protocol,
            Self::Certificate => Failed::Certificate,
            Self::Stranger | Self::Strangers | Self::StrangerSlow => Failed::Stranger,
        }
    }
}

/// Moves the socket to the runtime of its class, then runs the connection there.
async fn admit(
    shared: Arc<Shared>,
    tcp: TcpStream,
    permit: OwnedSemaphorePermit,
) -> Result<(), Refused> {
    let mut hello = [0; HELLO_BYTES];
    let seen = tokio::time::timeout(HANDSHAKE_TIME, tcp.peek(&mut hello))
        .await
        .map_err(|_| Refused::Slow)??;
    // Only the choice of threads depends on this look at the clear text of the ClientHello.
    let name = Class::Raft.alpn();
    if !hello[..seen].windows(name.len()).any(|w| w == name) {
        return serve(shared, Socket::new(tcp)?, permit).await;
    }
    let raft = shared.raft.clone();
    let tcp = tcp.into_std()?;
    let served = raft.spawn(async move {
        let tcp = TcpStream::from_std(tcp)?;
        serve(shared, Socket::new(tcp)?, permit).await
    });
    served.await.unwrap_or(Ok(()))
}

async fn serve(
    shared: Arc<Shared>,
    socket: Socket,
    _permit: OwnedSemaphorePermit,
) -> Result<(), Refused> {
    let acceptor = TlsAcceptor::from(Arc::clone(&shared.tls().server));
    let tls = tokio::time::timeout(HANDSHAKE_TIME, acceptor.accept(socket))
        .await
        .map_err(|_| Refused::Slow)??;
    let session = tls.get_ref().1;
    let class = session
        .alpn_protocol()
        .and_then(Class::from_alpn)
        .ok_or(Refused::Protocol)?;
    let certificate = session
        .peer_certificates()
        .map(|chain| peer_certificate(Some(chain)).ok_or(Refused::Certificate))
        .transpose()?;
    let stranger = match &certificate {
        Some(_) => None,
        None if class != Class::Control => return Err(Refused::Stranger),
        None => Some(
            Arc::clone(&shared.strangers)
                .try_acquire_owned()
                .map_err(|_| Refused::Strangers)?,
        ),
    };
    let name = certificate
        .as_ref()
        .map_or_else(|| "a stranger".into(), |c| Arc::clone(&c.name));
    let outbox = Arc::new(Outbox::default());
    let requests = Requests {
        class,
        certificate,
        outbox: Arc::clone(&outbox),
        running: FuturesUnordered::new(),
        in_flight: HashMap::new(),
        shared: Arc::clone(&shared),
    };
    let stop = shared.stop.clone();
    let _open = shared.figures.opened(Side::Accepted, class);
    let driver = Driver::new(
        TlsStream::Server(tls),
        class,
        Arc::clone(&outbox),
        stop,
        requests,
    );
    let (requests, ended) = match stranger {
        None => driver.run().await,
        // A newcomer asks and goes.
        Some(_place) => tokio::time::timeout(STRANGER_TIME, driver.run())
            .await
            .map_err(|_| Refused::StrangerSlow)?,
    };
    drop(outbox.close());
    drop(requests);
    tracing::debug!(peer = %name, ?class, %ended, "accepted mesh connection ended");
    Ok(())
}

type Work = Abortable<BoxFuture<'static, OutFrame>>;

struct Requests {
    shared: Arc<Shared>,
    class: Class,
    /// None: a stranger.
    certificate: Option<PeerCertificate>,
    outbox: Arc<Outbox>,
    running: FuturesUnordered<Work>,
    in_flight: HashMap<u64, AbortHandle>,
}

impl Drop for Requests {
    fn drop(&mut self) {
        for handle in self.in_flight.values() {
            handle.abort();
        }
    }
}

impl Requests {
    fn request(&mut self, mut frame: Frame) -> Result<Option<OutFrame>, RpcFailure> {
        let (method, peer) = self.check(&frame)?;
        let prefix = frame.prefix;
        if method == Method::Ping {
            let pong = PingResponse {
                node: self.shared.node().map_or(0, |n| n.0),
                started_ms: self.shared.started_ms,
                leaving: self
                    .shared
                    .leaving
                    .load(std::sync::atomic::Ordering::Relaxed),
                clock_ms: own_clock_ms(),
            };
            return Ok(OutFrame::message(answer(prefix, Kind::Response), &pong, Bytes::new()).ok());
        }
        let shared = Arc::clone(&self.shared);
        let context = traced::take_context(&mut frame.header);
        let span = traced::answering(context.as_ref(), method, &peer, shared.node());
        let work = async move {
            let limit = Duration::from_millis(u64::from(prefix.deadline_ms));
            let call = shared.serve(peer, method, frame.header, frame.payload);
            let call = call.instrument(span.clone());
            let caught = AssertUnwindSafe(tokio::time::timeout(limit, call)).catch_unwind();
            let result = match caught.await {
                Ok(Ok(result)) => result,
                Ok(Err(_)) => Err(RpcFailure::new(
                    RpcCode::DeadlineExceeded,
                    "the deadline passed",
                )),
                Err(_) => Err(RpcFailure::new(
                    RpcCode::Internal,
                    "the method panicked; see the log of this node",
                )),
            };
            traced::answered(&span, &result);
            finished(prefix, result)
        };
        let (handle, registration) = AbortHandle::new_pair();
        self.in_flight.insert(prefix.id, handle);
        let work = Abortable::new(work.boxed(), registration);
        if self.class == Class::Control {
            // Queries may scan: they must not keep the connection's other requests waiting.
            let outbox = Arc::clone(&self.outbox);
            tokio::spawn(async move {
                if let Ok(frame) = work.await {
                    outbox.push(frame);
                }
            });
        } else {
            self.running.push(work);
        }
        Ok(None)
    }

    /// Who asks for what, and whether it may.
    fn check(&self, frame: &Frame) -> Result<(Method, Peer), RpcFailure> {
        let number = i32::from(frame.prefix.method);
        let method = Method::try_from(number).unwrap_or(Method::Unspecified);
        if method == Method::Unspecified {
            let message = format!("method {number} is not known here");
            return Err(RpcFailure::new(RpcCode::Unimplemented, message));
        }
        let peers = self.shared.peers();
        let certificate = self.certificate.as_ref();
        let Some(peer) = peers.identify(certificate) else {
            return Err(RpcFailure::new(RpcCode::Denied, REMOVED));
        };
        let role = peer.role();
        let until = certificate.map_or(i64::MAX, |c| peers.until_s(c));
        let ago = unix_seconds().saturating_sub(until);
        let expired = ago > 0;
        if !allowed(role, method) || (expired && !allowed_expired(role, method)) {
            let why = if expired {
                format!(
                    ", its certificate expired {ago} s ago by the clock of this node, and it has \
                     not renewed it since"
                )
            } else {
                String::new()
            };
            let message = format!("a {role:?} may not call {method:?}{why}");
            return Err(RpcFailure::new(RpcCode::Denied, message));
        }
        if Class::of(method) != Some(self.class) {
            let message = format!(
                "{method:?} does not travel on a {:?} connection",
                self.class
            );
            return Err(RpcFailure::new(RpcCode::Refused, message));
        }
        if self.in_flight.len() >= self.class.in_flight_max() {
            let message = "too many requests in flight on this connection";
            return Err(RpcFailure::new(RpcCode::Overloaded, message));
        }
        Ok((method, peer))
    }
}

impl Owner for Requests {
    fn frame(&mut self, frame: Frame, out: &mut Vec<OutFrame>) -> Result<(), Ended> {
        let prefix = frame.prefix;
        match prefix.kind {
            Kind::Request if self.in_flight.contains_key(&prefix.id) => {
                return Err(Ended::Protocol);
            }
            Kind::Request => match self.request(frame) {
                Ok(done) => out.extend(done),
                Err(failure) => out.push(finished(prefix, Err(failure))),
            },
            Kind::Cancel => {
                if let Some(handle) = self.in_flight.remove(&prefix.id) {
                    handle.abort();
                }
            }
            Kind::Response | Kind::Error => return Err(Ended::Protocol),
        }
        Ok(())
    }

    fn wants_frames(&self, queued_bytes: usize) -> bool {
        queued_bytes + self.outbox.bytes() < QUEUED_BYTES_MAX
    }

    fn work(&mut self, cx: &mut Context<'_>, out: &mut Vec<OutFrame>) -> bool {
        let mut some = false;
        while let Poll::Ready(Some(ended)) = Pin::new(&mut self.running).poll_next_unpin(cx) {
            some = true;
            // Aborted work was withdrawn: nobody waits for its answer.
            out.extend(ended.ok());
        }
        some
    }

    fn taken(&mut self, frame: &OutFrame) {
        self.in_flight.remove(&frame.id);
    }
}

fn answer(request: Prefix, kind: Kind) -> Prefix {
    Prefix {
        kind,
        deadline_ms: 0,
        ..request
    }
}

/// The frame that says how a request went.
fn finished(request: Prefix, result: Result<(Bytes, Bytes), RpcFailure>) -> OutFrame {
    let failure = match result {
        Ok((header, payload)) => {
            match OutFrame::raw(answer(request, Kind::Response), header, payload) {
                Ok(frame) => return frame,
                Err(too_large) => RpcFailure::new(RpcCode::Internal, too_large.to_string()),
            }
        }
        Err(failure) => failure,
    };
    let error = |failure: &RpcFailure| {
        OutFrame::message(
            answer(request, Kind::Error),
            &failure.to_wire(),
            Bytes::new(),
        )
    };
    error(&failure)
        .or_else(|_| error(&RpcFailure::new(failure.code, "")))
        .expect("a short error fits a frame")
}

pub(crate) fn unix_seconds() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| i64::try_from(d.as_secs()).unwrap_or(i64::MAX))
}
