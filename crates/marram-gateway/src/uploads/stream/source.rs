//! The bytes of a WriteObject call, cut into the runs that are recorded.

use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, StreamExt};
use marram_proto::v1;
use marram_proto::v1::write_object_request::Message;
use marram_types::caps::{WRITE_BYTES_MAX, WRITE_RUN_BYTES_MAX};
use marram_types::{Crc32c, Crc64Nvme};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::put::{BrokenUpload, PutError, STALL_MAX, Source};
use crate::validate::{self, InvalidField};

/// After what time the bytes of a run are recorded, however few there are.
pub(crate) const RECORD_AFTER: [Duration; 3] = [
    Duration::from_secs(1),
    Duration::from_secs(8),
    Duration::from_secs(25),
];
/// Extents of an upload from which on the second of those times holds, and the third: each record costs
/// one of the extents that an upload may have, and a slow stream would use them up.
pub(crate) const LATER_FROM: u32 = 4096;
pub(crate) const LATEST_FROM: u32 = 32_768;

/// After what time a run of an upload with so many extents is recorded.
pub(super) fn record_after(extents: u32) -> Duration {
    RECORD_AFTER[usize::from(extents >= LATER_FROM) + usize::from(extents >= LATEST_FROM)]
}

/// How a stream of messages ended.
enum End {
    /// The caller has sent all that it wants to send now.
    Whole,
    Failed(PutError),
}

/// Checksums of a run.
pub(super) struct RunSums {
    pub(super) size: u64,
    pub(super) crc64: u64,
    pub(super) crc32c: u32,
}

/// The messages behind the header of a WriteObject call.
pub(super) struct Runs<S> {
    stream: S,
    /// Where the next byte that comes belongs.
    offset: u64,
    /// How long a caller may send nothing.
    stall_max: Duration,
    stopping: CancellationToken,
    /// What was recorded last was refused: nothing that comes counts.
    halted: CancellationToken,
    /// Came, and belongs to a run that has not begun, or to what is left of this one.
    held: Bytes,
    end: Option<End>,
    /// The run takes no more.
    full: bool,
    until: Instant,
    size: u64,
    crc64: Crc64Nvme,
    crc32c: Crc32c,
}

impl<S> Runs<S>
where
    S: Stream<Item = Result<v1::WriteObjectRequest, Status>> + Unpin,
{
    pub(super) fn new(
        stream: S,
        offset: u64,
        stopping: CancellationToken,
        halted: CancellationToken,
    ) -> Self {
        Self {
            stream,
            offset,
            stall_max: STALL_MAX,
            stopping,
            halted,
            held: Bytes::new(),
            end: None,
            full: true,
            until: Instant::now(),
            size: 0,
            crc64: Crc64Nvme::default(),
            crc32c: Crc32c::default(),
        }
    }

    /// Waits for the first byte of a run, which is recorded `after` it came; false where none comes any
    /// more.
    pub(super) async fn begin(&mut self, after: Duration) -> bool {
        self.full = false;
        self.size = 0;
        self.crc64 = Crc64Nvme::default();
        self.crc32c = Crc32c::default();
        let patience = Instant::now() + self.stall_max;
        while self.held.is_empty() && self.end.is_none() {
            if self.receive(patience).await == Came::Nothing {
                self.end = Some(End::Failed(BrokenUpload::Stalled.into()));
            }
        }
        self.until = Instant::now() + after;
        !self.held.is_empty() && !self.halted.is_cancelled()
    }

    /// Of the run that has just ended.
    pub(super) fn sums(&self) -> RunSums {
        RunSums {
            size: self.size,
            crc64: self.crc64.value(),
            crc32c: self.crc32c.value(),
        }
    }

    /// How the stream ended, once there are no more runs.
    pub(super) fn end(self) -> Result<(), PutError> {
        match self.end {
            Some(End::Failed(error)) => Err(error),
            Some(End::Whole) => Ok(()),
            None => Err(PutError::Aborted),
        }
    }

    /// Takes one message. What is given up while it waits loses none.
    async fn receive(&mut self, until: Instant) -> Came {
        let next = tokio::select! {
            biased;
            () = self.halted.cancelled() => {
                self.end = Some(End::Failed(PutError::Aborted));
                return Came::Message;
            }
            next = self.stream.next() => next,
            () = self.stopping.cancelled() => {
                self.end = Some(End::Failed(PutError::Aborted));
                return Came::Message;
            }
            () = tokio::time::sleep_until(until) => return Came::Nothing,
        };
        match self.message(next) {
            Ok(came) => came,
            Err(error) => {
                self.end = Some(End::Failed(error));
                Came::Message
            }
        }
    }

    fn message(
        &mut self,
        next: Option<Result<v1::WriteObjectRequest, Status>>,
    ) -> Result<Came, PutError> {
        let received = self.offset;
        let Some(next) = next else {
            self.end = Some(End::Whole);
            return Ok(Came::Message);
        };
        let message = next.map_err(|status| BrokenUpload::Broken {
            received,
            source: Box::new(status),
        })?;
        match message.message {
            Some(Message::Chunk(chunk)) => {
                let size = received + chunk.data.len() as u64;
                if size > WRITE_BYTES_MAX {
                    return Err(InvalidField::WriteTooLarge { size }.into());
                }
                validate::chunk(&chunk)?;
                self.offset = size;
                self.held = chunk.data;
                Ok(Came::Message)
            }
            Some(Message::Flush(v1::FlushWrite {})) => Ok(Came::Flush),
            Some(Message::Header(_)) => Err(BrokenUpload::Order("a second header").into()),
            None => Err(BrokenUpload::Order("an empty message").into()),
        }
    }

    /// The next piece of what is held, which the run has room for.
    fn take(&mut self) -> Bytes {
        let room = WRITE_RUN_BYTES_MAX - self.size;
        let room = usize::try_from(room).expect("a run fits into memory");
        let piece = self.held.split_to(self.held.len().min(room));
        self.size += piece.len() as u64;
        self.crc64.update(&piece);
        self.crc32c.update(&piece);
        self.full = self.size == WRITE_RUN_BYTES_MAX;
        piece
    }
}

/// What a wait for a message brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Came {
    /// Bytes, or the end.
    Message,
    Flush,
    /// The time is over.
    Nothing,
}

impl<S> Source for Runs<S>
where
    S: Stream<Item = Result<v1::WriteObjectRequest, Status>> + Unpin + Send,
{
    /// A stream that breaks off ends its run: what came is whole chunks with their checksums, so it counts.
    async fn next(&mut self) -> Result<Option<Bytes>, PutError> {
        loop {
            if self.halted.is_cancelled() {
                return Err(PutError::Aborted);
            }
            if self.full || (self.held.is_empty() && self.end.is_some()) {
                return Ok(None);
            }
            if !self.held.is_empty() {
                return Ok(Some(self.take()));
            }
            if self.receive(self.until).await != Came::Message {
                self.full = true;
            }
        }
    }
}

#[cfg(test)]
mod tests;
