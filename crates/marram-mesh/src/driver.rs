//! One task per connection: takes frames from the outbox, encrypts and writes them, reads and
//! decrypts what comes, and hands each frame to the connection's owner.
//!
//! Reading and writing share a task, so that the TLS state needs no lock; frames that wait together
//! are written together. The outbox is the only thing other tasks touch.

use std::collections::VecDeque;
use std::future::Future;
use std::io::IoSlice;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::{Buf, Bytes};
use marram_types::caps::MIB;
use parking_lot::Mutex;
use tokio::io::{AsyncBufRead, AsyncWrite};
use tokio_rustls::TlsStream;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::class::Class;
use crate::frame::{Decoder, Frame, FrameError, OutFrame};
use crate::socket::Socket;

/// Bytes of frames taken from the outbox ahead of the socket.
const TAKEN_BYTES_MAX: usize = MIB;
/// Slices handed to the TLS layer at once.
const SLICES: usize = 64;
/// Pieces (up to 16 KiB each) read before writing has its turn.
const READS_PER_TURN: usize = 64;
/// Turns before other tasks of the runtime have theirs.
const TURNS_PER_POLL: usize = 16;

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Ended {
    #[error("it was closed here")]
    Stopped,
    #[error("the peer closed it")]
    Closed,
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("{0}")]
    Frame(#[from] FrameError),
    #[error("the peer sent a frame that does not belong on this connection")]
    Protocol,
}

/// Frames that wait to be written. Bounded by the owner: a client has a permit for each request, a
/// server counts its requests.
#[derive(Default)]
pub(crate) struct Outbox {
    state: Mutex<OutboxState>,
}

#[derive(Default)]
struct OutboxState {
    queue: VecDeque<OutFrame>,
    bytes: usize,
    waker: Option<Waker>,
    closed: bool,
}

impl Outbox {
    /// Queues a frame and wakes the connection. False when the connection has ended.
    pub(crate) fn push(&self, frame: OutFrame) -> bool {
        let waker = {
            let mut state = self.state.lock();
            if state.closed {
                return false;
            }
            state.bytes += frame.len();
            state.queue.push_back(frame);
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
        true
    }

    /// Takes a frame back that has not been taken for writing.
    pub(crate) fn withdraw(&self, id: u64) -> bool {
        let mut state = self.state.lock();
        let Some(at) = state.queue.iter().position(|frame| frame.id == id) else {
            return false;
        };
        if let Some(frame) = state.queue.remove(at) {
            state.bytes -= frame.len();
        }
        true
    }

    /// Bytes that wait.
    pub(crate) fn bytes(&self) -> usize {
        self.state.lock().bytes
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.state.lock().closed
    }

    /// Takes no more frames, and gives those that were not written.
    pub(crate) fn close(&self) -> VecDeque<OutFrame> {
        let mut state = self.state.lock();
        state.closed = true;
        state.bytes = 0;
        std::mem::take(&mut state.queue)
    }
}

/// What a connection is for: a client's calls or a server's requests.
pub(crate) trait Owner: Send + Unpin {
    /// A frame came.
    fn frame(&mut self, frame: Frame, out: &mut Vec<OutFrame>) -> Result<(), Ended>;

    /// Bytes came, whole frames or not.
    fn heard(&mut self) {}

    /// May more be read? When not, the end of some work or of a write asks again.
    fn wants_frames(&self, queued_bytes: usize) -> bool;

    /// Goes on with work that lives in the connection's task. True when some of it ended.
    fn work(&mut self, _cx: &mut Context<'_>, _out: &mut Vec<OutFrame>) -> bool {
        false
    }

    /// A frame is on its way.
    fn taken(&mut self, _frame: &OutFrame) {}
}

/// The connection's task.
pub(crate) struct Driver<O> {
    stream: TlsStream<Socket>,
    outbox: Arc<Outbox>,
    stop: Pin<Box<WaitForCancellationFutureOwned>>,
    decoder: Decoder,
    owner: O,
    made: Vec<OutFrame>,
    segments: VecDeque<Bytes>,
    segment_bytes: usize,
    unflushed: bool,
}

impl<O: Owner> Driver<O> {
    pub(crate) fn new(
        mut stream: TlsStream<Socket>,
        class: Class,
        outbox: Arc<Outbox>,
        stop: CancellationToken,
        owner: O,
    ) -> Self {
        match &mut stream {
            TlsStream::Client(tls) => {
                let (socket, session) = tls.get_mut();
                socket.set_read_ahead(class.read_ahead());
                session.set_buffer_limit(Some(class.write_ahead()));
            }
            TlsStream::Server(tls) => {
                let (socket, session) = tls.get_mut();
                socket.set_read_ahead(class.read_ahead());
                session.set_buffer_limit(Some(class.write_ahead()));
            }
        }
        Self {
            stream,
            outbox,
            stop: Box::pin(stop.cancelled_owned()),
            decoder: Decoder::new(),
            owner,
            made: Vec::new(),
            segments: VecDeque::new(),
            segment_bytes: 0,
            unflushed: false,
        }
    }

    /// Gives the owner back when the connection has ended.
    pub(crate) async fn run(mut self) -> (O, Ended) {
        let ended = std::future::poll_fn(|cx| self.poll(cx)).await;
        (self.owner, ended)
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Ended> {
        if self.stop.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Ended::Stopped);
        }
        for _ in 0..TURNS_PER_POLL {
            match self.turn(cx) {
                Ok(true) => {}
                Ok(false) => return Poll::Pending,
                Err(ended) => return Poll::Ready(ended),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// One round of work, writing and reading. False when nothing could be done.
    fn turn(&mut self, cx: &mut Context<'_>) -> Result<bool, Ended> {
        let mut progress = self.owner.work(cx, &mut self.made);
        for frame in self.made.drain(..) {
            self.owner.taken(&frame);
            append(&mut self.segments, &mut self.segment_bytes, frame);
        }
        self.take_queued(cx);
        progress |= self.write(cx)?;
        progress |= self.read(cx)?;
        Ok(progress || !self.made.is_empty())
    }

    /// Moves frames from the outbox to the segments, and leaves the waker when it is empty.
    fn take_queued(&mut self, cx: &mut Context<'_>) {
        let mut state = self.outbox.state.lock();
        while self.segment_bytes < TAKEN_BYTES_MAX {
            let Some(frame) = state.queue.pop_front() else {
                match &mut state.waker {
                    Some(waker) => waker.clone_from(cx.waker()),
                    none => *none = Some(cx.waker().clone()),
                }
                return;
            };
            state.bytes -= frame.len();
            self.owner.taken(&frame);
            append(&mut self.segments, &mut self.segment_bytes, frame);
        }
    }

    fn write(&mut self, cx: &mut Context<'_>) -> Result<bool, Ended> {
        let mut progress = false;
        while !self.segments.is_empty() {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let mut count = 0;
            for (slice, segment) in slices.iter_mut().zip(&self.segments) {
                *slice = IoSlice::new(segment);
                count += 1;
            }
            let stream = Pin::new(&mut self.stream);
            match stream.poll_write_vectored(cx, &slices[..count]) {
                Poll::Pending => return Ok(progress),
                Poll::Ready(written) => {
                    let written = written?;
                    if written == 0 {
                        return Err(Ended::Closed);
                    }
                    self.advance(written);
                }
            }
            self.unflushed = true;
            progress = true;
        }
        if self.unflushed && Pin::new(&mut self.stream).poll_flush(cx)?.is_ready() {
            self.unflushed = false;
        }
        Ok(progress)
    }

    fn advance(&mut self, mut written: usize) {
        self.segment_bytes -= written;
        while let Some(first) = self.segments.front_mut() {
            if written < first.len() {
                first.advance(written);
                return;
            }
            written -= first.len();
            self.segments.pop_front();
        }
    }

    fn read(&mut self, cx: &mut Context<'_>) -> Result<bool, Ended> {
        let mut progress = false;
        for _ in 0..READS_PER_TURN {
            if !self.owner.wants_frames(self.segment_bytes) {
                break;
            }
            let Poll::Ready(piece) = Pin::new(&mut self.stream).poll_fill_buf(cx)? else {
                break;
            };
            if piece.is_empty() {
                return Err(Ended::Closed);
            }
            let bytes = piece.len();
            let mut rest = piece;
            while let Some(frame) = self.decoder.feed(&mut rest)? {
                self.owner.frame(frame, &mut self.made)?;
            }
            Pin::new(&mut self.stream).consume(bytes);
            progress = true;
        }
        if progress {
            self.owner.heard();
        }
        Ok(progress)
    }
}

fn append(segments: &mut VecDeque<Bytes>, bytes: &mut usize, frame: OutFrame) {
    *bytes += frame.len();
    for part in [frame.head, frame.header, frame.payload] {
        if !part.is_empty() {
            segments.push_back(part);
        }
    }
}
