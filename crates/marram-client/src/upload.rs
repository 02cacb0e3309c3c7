//! The stream of messages of one attempt at an upload: header, chunks, trailer.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::Stream;
use marram_proto::v1;
use marram_proto::v1::put_object_request::Message;
use marram_types::{Crc64Nvme, crc32c};
use tokio::sync::oneshot;

use crate::error::{ClientError, ErrorKind};
use crate::put::Watcher;
use crate::source::Pieces;

/// How far an upload is; shared by the stream and the attempt that watches it.
#[derive(Default)]
pub(crate) struct Progress {
    /// Bytes that the connection has taken.
    sent: AtomicU64,
    /// Messages that the connection has taken.
    messages: AtomicU64,
    /// True while the source has nothing to give: then nobody else is to blame.
    starved: AtomicBool,
}

impl Progress {
    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Resolves when the connection has taken nothing for `limit` although there was something.
    pub(crate) async fn stalled(&self, limit: Duration) {
        let mut seen = self.messages.load(Ordering::Relaxed);
        let tick = limit / 8;
        let mut still = Duration::ZERO;
        while still < limit {
            tokio::time::sleep(tick).await;
            let now = self.messages.load(Ordering::Relaxed);
            if now != seen || self.starved.load(Ordering::Relaxed) {
                seen = now;
                still = Duration::ZERO;
            } else {
                still += tick;
            }
        }
    }
}

enum State {
    Header(Box<v1::PutObjectHeader>),
    Body,
    Done,
    /// The source failed. The stream must not end, since an end is a complete upload to the
    /// server: the attempt drops the call, which resets the stream.
    Stuck,
}

/// The messages of one attempt.
pub(crate) struct Upload {
    state: State,
    pieces: Pieces,
    size: Option<u64>,
    checksum: Crc64Nvme,
    progress: Arc<Progress>,
    watcher: Option<Watcher>,
    failure: Option<oneshot::Sender<ClientError>>,
}

impl Upload {
    /// The stream, and where a failure of the source is told.
    pub(crate) fn new(
        header: v1::PutObjectHeader,
        pieces: Pieces,
        progress: Arc<Progress>,
        watcher: Option<Watcher>,
    ) -> (Self, oneshot::Receiver<ClientError>) {
        let (failure, failed) = oneshot::channel();
        let upload = Self {
            size: header.size,
            state: State::Header(Box::new(header)),
            pieces,
            checksum: Crc64Nvme::default(),
            progress,
            watcher,
            failure: Some(failure),
        };
        (upload, failed)
    }

    fn chunk(&mut self, data: Bytes) -> Poll<Option<v1::PutObjectRequest>> {
        let bytes = data.len() as u64;
        let sent = self.progress.sent.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if self.size.is_some_and(|size| sent > size) {
            return self.changed();
        }
        self.checksum.update(&data);
        if let Some(watcher) = &self.watcher {
            watcher.moved(bytes);
        }
        let crc32c = crc32c(&data);
        self.emit(Message::Chunk(v1::Chunk { data, crc32c }))
    }

    fn trailer(&mut self) -> Poll<Option<v1::PutObjectRequest>> {
        if self.size.is_some_and(|size| self.progress.sent() != size) {
            return self.changed();
        }
        self.state = State::Done;
        self.emit(Message::Trailer(v1::PutObjectTrailer {
            crc64nvme: Some(self.checksum.value()),
            checksums: None,
        }))
    }

    fn emit(&self, message: Message) -> Poll<Option<v1::PutObjectRequest>> {
        self.progress.messages.fetch_add(1, Ordering::Relaxed);
        Poll::Ready(Some(v1::PutObjectRequest {
            message: Some(message),
        }))
    }

    fn changed(&mut self) -> Poll<Option<v1::PutObjectRequest>> {
        let message = "the source changed its size while it was being read";
        self.fail(ClientError::new(ErrorKind::Changed, message))
    }

    fn fail(&mut self, error: ClientError) -> Poll<Option<v1::PutObjectRequest>> {
        self.state = State::Stuck;
        if let Some(failure) = self.failure.take() {
            // The attempt is over already when nobody listens.
            let _ = failure.send(error);
        }
        Poll::Pending
    }
}

impl Stream for Upload {
    type Item = v1::PutObjectRequest;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        match std::mem::replace(&mut this.state, State::Body) {
            State::Header(header) => this.emit(Message::Header(*header)),
            State::Body => {
                let piece = this.pieces.poll_next(cx);
                let starved = piece.is_pending();
                this.progress.starved.store(starved, Ordering::Relaxed);
                match piece {
                    Poll::Pending => Poll::Pending,
                    Poll::Ready(Some(Ok(data))) => this.chunk(data),
                    Poll::Ready(Some(Err(error))) => this.fail(error),
                    Poll::Ready(None) => this.trailer(),
                }
            }
            State::Done => {
                this.state = State::Done;
                Poll::Ready(None)
            }
            State::Stuck => {
                this.state = State::Stuck;
                Poll::Pending
            }
        }
    }
}
