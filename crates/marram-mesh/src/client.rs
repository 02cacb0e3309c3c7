//! A connection that we opened, and the calls in flight on it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use marram_proto::mesh::v1::Method;
use parking_lot::Mutex;
use tokio::sync::{Semaphore, oneshot};
use tokio_rustls::TlsStream;
use tokio_util::sync::CancellationToken;

use crate::class::Class;
use crate::driver::{Driver, Ended, Outbox, Owner};
use crate::figures::Opened;
use crate::frame::{Frame, Kind, OutFrame, Prefix, TooLarge};
use crate::identity::PeerCertificate;
use crate::liveness::Heard;
use crate::rpc::{CallError, RpcFailure};
use crate::socket::Socket;

/// Header and payload of an answer.
pub(crate) type Answer = (Bytes, Bytes);

enum Outcome {
    Answered(Frame),
    /// The connection ended before the request was written.
    NotSent,
    /// The connection ended afterwards.
    Lost,
}

type Pending = Mutex<HashMap<u64, oneshot::Sender<Outcome>>>;

/// A connection over which the peer showed a certificate that has expired is opened anew from this
/// age on.
const OLD_AFTER: Duration = Duration::from_secs(3);

/// An open connection.
pub(crate) struct Connection {
    peer: Arc<str>,
    /// What the peer showed when the connection was opened.
    pub(crate) presented: PeerCertificate,
    opened: Instant,
    outbox: Arc<Outbox>,
    pending: Arc<Pending>,
    permits: Semaphore,
    next_id: AtomicU64,
    stop: CancellationToken,
}

/// Withdraws a call that nobody waits for any more.
struct Waiting<'a> {
    connection: &'a Connection,
    id: u64,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let connection = self.connection;
        let unanswered = connection.pending.lock().remove(&self.id).is_some();
        if unanswered && !connection.outbox.withdraw(self.id) {
            connection.outbox.push(OutFrame::cancel(self.id));
        }
    }
}

impl Connection {
    /// Starts the connection's task on this runtime.
    pub(crate) fn start(
        stream: TlsStream<Socket>,
        class: Class,
        presented: PeerCertificate,
        peer: Arc<str>,
        (heard, open): (Arc<Heard>, Opened),
        stop: CancellationToken,
    ) -> Arc<Self> {
        let outbox = Arc::new(Outbox::default());
        let pending = Arc::new(Pending::default());
        let calls = Calls {
            pending: Arc::clone(&pending),
            heard,
        };
        let driver = Driver::new(stream, class, Arc::clone(&outbox), stop.clone(), calls);
        let connection = Arc::new(Self {
            peer: Arc::clone(&peer),
            presented,
            opened: Instant::now(),
            outbox: Arc::clone(&outbox),
            pending,
            permits: Semaphore::new(class.in_flight_max()),
            next_id: AtomicU64::new(1),
            stop,
        });
        tokio::spawn(async move {
            let (calls, ended) = driver.run().await;
            drop(open);
            tracing::debug!(%peer, ?class, %ended, "mesh connection ended");
            calls.end(&outbox);
        });
        connection
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.outbox.is_closed()
    }

    /// Ends it; calls in flight are lost.
    pub(crate) fn close(&self) {
        self.stop.cancel();
    }

    /// Ends it unless it was opened a moment ago: calls in flight on a younger one may be the
    /// renewal that is waited for.
    pub(crate) fn close_if_old(&self) {
        if self.opened.elapsed() > OLD_AFTER {
            self.close();
        }
    }

    /// Sends a request and waits for the answer. The frame is made by `frame`, which is given the
    /// prefix.
    pub(crate) async fn call(
        &self,
        method: Method,
        deadline: Duration,
        frame: impl FnOnce(Prefix) -> Result<OutFrame, TooLarge>,
    ) -> Result<Answer, CallError> {
        let Ok(_permit) = self.permits.acquire().await else {
            return Err(self.not_sent());
        };
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let prefix = Prefix {
            id,
            kind: Kind::Request,
            method: method_number(method),
            deadline_ms: u32::try_from(deadline.as_millis()).unwrap_or(u32::MAX),
        };
        let frame = frame(prefix).map_err(|e| CallError::TooLarge { bytes: e.bytes })?;
        let (answer, wait) = oneshot::channel();
        self.pending.lock().insert(id, answer);
        let waiting = Waiting {
            connection: self,
            id,
        };
        if !self.outbox.push(frame) {
            return Err(self.not_sent());
        }
        let outcome = wait.await.unwrap_or(Outcome::Lost);
        drop(waiting);
        match outcome {
            Outcome::Answered(frame) => self.answer(frame),
            Outcome::NotSent => Err(self.not_sent()),
            Outcome::Lost => Err(CallError::Lost {
                peer: self.peer.to_string(),
            }),
        }
    }

    fn not_sent(&self) -> CallError {
        CallError::Unreachable {
            peer: self.peer.to_string(),
            reason: "the connection has just ended".to_owned(),
        }
    }

    fn answer(&self, frame: Frame) -> Result<Answer, CallError> {
        if frame.prefix.kind == Kind::Response {
            return Ok((frame.header, frame.payload));
        }
        Err(match RpcFailure::from_wire(frame.header) {
            Ok(failure) => CallError::Failed(failure),
            Err(error) => CallError::Malformed {
                peer: self.peer.to_string(),
                reason: error.to_string(),
            },
        })
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// A method's number on the wire.
pub(crate) fn method_number(method: Method) -> u16 {
    u16::try_from(i32::from(method)).expect("method numbers are small")
}

struct Calls {
    pending: Arc<Pending>,
    heard: Arc<Heard>,
}

impl Calls {
    /// Tells every caller that the connection is gone.
    fn end(self, outbox: &Outbox) {
        let unsent = outbox.close();
        let mut pending = std::mem::take(&mut *self.pending.lock());
        for frame in unsent.iter().filter(|f| f.kind == Kind::Request) {
            if let Some(caller) = pending.remove(&frame.id) {
                let _gone = caller.send(Outcome::NotSent);
            }
        }
        for (_, caller) in pending {
            let _gone = caller.send(Outcome::Lost);
        }
    }
}

impl Owner for Calls {
    fn frame(&mut self, frame: Frame, _out: &mut Vec<OutFrame>) -> Result<(), Ended> {
        if !matches!(frame.prefix.kind, Kind::Response | Kind::Error) {
            return Err(Ended::Protocol);
        }
        // A caller that gave up is not there any more: its answer is dropped.
        if let Some(caller) = self.pending.lock().remove(&frame.prefix.id) {
            let _gone = caller.send(Outcome::Answered(frame));
        }
        Ok(())
    }

    fn heard(&mut self) {
        self.heard.now();
    }

    /// Answers are always read: a server that waits for us to read must not wait for ever.
    fn wants_frames(&self, _queued_bytes: usize) -> bool {
        true
    }
}
