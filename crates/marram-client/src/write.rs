//! Resumable writes: a stream of any length that survives its servers (rules.md 33). What is sent stays in
//! memory until it is recorded, at most 32 MiB; after a break the write goes on elsewhere, from what is
//! recorded.

mod call;
mod kept;

use marram_proto::v1;
use marram_types::Crc64Nvme;

use crate::client::{Client, present, repeatable};
use crate::error::{ClientError, ErrorKind};
use crate::goes_on::Failures;
use crate::put::{PutOptions, Watcher};
use crate::source::{Pieces, PutBody};
use crate::types::{Checksums, ObjectInfo};

use call::Call;
use kept::Kept;

/// A resumable write, by the object that it is to become.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriteName {
    /// The bucket.
    pub bucket: String,
    /// The key.
    pub key: String,
    /// The write's id, as [`Client::start_write`] gave it.
    pub upload_id: String,
}

/// How much of a write is recorded, or what it became.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WriteProgress {
    /// How many bytes are recorded: there the write goes on.
    pub persisted_size: u64,
    /// CRC64/NVME of them.
    pub crc64nvme: u64,
    /// When it was begun, in milliseconds since 1970-01-01 UTC.
    pub created_ms: i64,
    /// The generation of the object that it became, once it is finished. Then the numbers above are 0.
    pub finished_generation: Option<u64>,
}

/// What a body added to a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// How many bytes of the write are recorded now.
    pub persisted_size: u64,
    /// CRC64/NVME of the bytes that were added.
    pub crc64nvme: u64,
}

impl Client {
    /// Begins a resumable write. Of the options, media type, metadata, tags and profile count.
    ///
    /// # Errors
    /// `NotFound` (the bucket), `Invalid`, and what any call can meet.
    pub async fn start_write(
        &self,
        bucket: &str,
        key: &str,
        options: &PutOptions,
    ) -> Result<WriteName, ClientError> {
        let message = v1::StartWriteRequest {
            bucket: bucket.to_owned(),
            key: key.to_owned(),
            content_type: options.content_type.clone(),
            metadata: options.metadata.clone().into_iter().collect(),
            request_id: Some(self.request_id()),
            tags: options.tags.clone().into_iter().collect(),
            profile: options.profile.clone().unwrap_or_default(),
        };
        let started = self
            .unary(message, |lane, request| async move {
                lane.writes().start_write(request).await
            })
            .await?;
        Ok(WriteName {
            bucket: bucket.to_owned(),
            key: key.to_owned(),
            upload_id: started.upload_id,
        })
    }

    /// Tells how much of a write is recorded.
    ///
    /// # Errors
    /// `NotFound` (the bucket, or the write), and what any call can meet.
    pub async fn query_write(&self, write: &WriteName) -> Result<WriteProgress, ClientError> {
        let message = v1::QueryWriteRequest {
            bucket: write.bucket.clone(),
            key: write.key.clone(),
            upload_id: write.upload_id.clone(),
        };
        let told = self
            .unary(message, |lane, request| async move {
                lane.writes().query_write(request).await
            })
            .await?;
        Ok(WriteProgress {
            persisted_size: told.persisted_size,
            crc64nvme: told.crc64nvme,
            created_ms: told.created_ms,
            finished_generation: told.finished_generation,
        })
    }

    /// Goes on with a write: adds what `rest` gives until its end, behind the first `offset` bytes, which
    /// must be what is recorded. It survives broken connections and servers that go, and returns when all
    /// is recorded. Bytes that are sent and not recorded are kept in memory, at most 32 MiB.
    ///
    /// # Errors
    /// `Precondition` when another writer goes on with the same write, or it is finished;
    /// `RangeNotSatisfiable` when it does not go on at `offset`; `NotFound`, `Exhausted`, `Local` (the
    /// source), and what any call can meet. What is recorded stays, so the write can be gone on with.
    pub async fn go_on_writing(
        &self,
        write: &WriteName,
        offset: u64,
        rest: PutBody,
        watcher: Option<Watcher>,
    ) -> Result<Written, ClientError> {
        let pieces = rest.prepare().await?.open();
        Sending::new(self, write, offset, pieces, watcher)
            .run()
            .await
    }

    /// Makes what is recorded of a write the object. Its size must be `size`; of the options,
    /// preconditions count, and CRC64/NVME and CRC32C of all bytes.
    ///
    /// # Errors
    /// `NotFound`, `Invalid` (another size), `Corrupt` (another checksum), `Precondition`, and what any
    /// call can meet.
    pub async fn finish_write(
        &self,
        write: &WriteName,
        size: u64,
        options: &PutOptions,
    ) -> Result<ObjectInfo, ClientError> {
        let message = v1::FinishWriteRequest {
            bucket: write.bucket.clone(),
            key: write.key.clone(),
            upload_id: write.upload_id.clone(),
            size: Some(size),
            checksums: options.checksums.to_wire(),
            preconditions: options.preconditions.to_wire(),
            request_id: Some(self.request_id()),
        };
        let finished = self
            .unary(message, |lane, request| async move {
                lane.writes().finish_write(request).await
            })
            .await?;
        present(finished.object, "object").map(ObjectInfo::from_wire)
    }

    /// Writes an object of a length that is not known, and leaves nothing behind where that fails.
    pub(crate) async fn put_stream(
        &self,
        write: WriteName,
        pieces: Pieces,
        options: PutOptions,
    ) -> Result<ObjectInfo, ClientError> {
        let watcher = options.watcher.clone();
        let done = async {
            let written = Sending::new(self, &write, 0, pieces, watcher).run().await?;
            let crc64nvme = options.checksums.crc64nvme.or(Some(written.crc64nvme));
            let options = PutOptions {
                checksums: Checksums {
                    crc64nvme,
                    ..options.checksums
                },
                ..options
            };
            self.finish_write(&write, written.persisted_size, &options)
                .await
        };
        let done = done.await;
        if done.is_err() {
            // Nobody can give the bytes again. One that is finished after all refuses this.
            let aborted = self.abort_once(&write).await;
            if let Err(error) = aborted {
                tracing::debug!(%error, upload = write.upload_id, "a write stays behind");
            }
        }
        done
    }

    async fn abort_once(&self, write: &WriteName) -> Result<(), ClientError> {
        let message = v1::AbortUploadRequest {
            bucket: write.bucket.clone(),
            key: write.key.clone(),
            upload_id: write.upload_id.clone(),
            request_id: Some(self.request_id()),
        };
        self.unary_once(message, |lane, request| async move {
            lane.uploads().abort_upload(request).await
        })
        .await?;
        Ok(())
    }
}

/// A body on its way into a write.
struct Sending<'a> {
    client: &'a Client,
    write: &'a WriteName,
    pieces: Pieces,
    /// The body has given its last byte.
    ended: bool,
    kept: Kept,
    sum: Crc64Nvme,
    watcher: Option<Watcher>,
    failures: Failures,
}

impl<'a> Sending<'a> {
    fn new(
        client: &'a Client,
        write: &'a WriteName,
        offset: u64,
        pieces: Pieces,
        watcher: Option<Watcher>,
    ) -> Self {
        Self {
            client,
            write,
            pieces,
            ended: false,
            kept: Kept::new(offset),
            sum: Crc64Nvme::default(),
            watcher,
            failures: Failures::default(),
        }
    }

    async fn run(mut self) -> Result<Written, ClientError> {
        let mut known = true;
        loop {
            // A server is asked for when there is something for it: the body may rest for long.
            while self.kept.is_empty() && !self.ended {
                self.pull().await?;
            }
            if self.kept.is_empty() {
                return Ok(Written {
                    persisted_size: self.kept.end(),
                    crc64nvme: self.sum.value(),
                });
            }
            if !known {
                self.look().await?;
            }
            known = false;
            let mut call = match self.open().await {
                Ok(call) => call,
                Err(error)
                    if error.reason() == Some("WRONG_OFFSET") && !self.kept.is_untouched() =>
                {
                    // What was on its way through another server was recorded in between.
                    self.failures
                        .wait(self.client, usize::MAX, unsettled(&error))
                        .await?;
                    continue;
                }
                Err(error) => return Err(error),
            };
            if let Err(error) = self.send(&mut call).await {
                let idle = self.kept.is_empty() && error.reason() == Some("UPLOAD_STALLED");
                if !idle {
                    self.failures.wait(self.client, call.server, error).await?;
                }
            }
        }
    }

    /// Takes the next piece of the body.
    async fn pull(&mut self) -> Result<(), ClientError> {
        match self.pieces.next().await {
            Some(piece) => {
                let piece = piece?;
                self.sum.update(&piece);
                self.kept.push(piece);
            }
            None => self.ended = true,
        }
        Ok(())
    }

    /// Learns what is recorded, before bytes are sent again.
    async fn look(&mut self) -> Result<(), ClientError> {
        let told = self.client.query_write(self.write).await?;
        if told.finished_generation.is_some() {
            let message = "the write was finished by somebody else";
            return Err(ClientError::new(ErrorKind::Precondition, message));
        }
        self.recorded(told.persisted_size)?;
        let again = self.kept.rewind();
        if let Some(watcher) = self.watcher.as_ref().filter(|_| again > 0) {
            watcher.lost(again);
        }
        Ok(())
    }

    fn recorded(&mut self, persisted: u64) -> Result<(), ClientError> {
        let late = self.kept.recorded(persisted).map_err(|kept| {
            let message = format!(
                "{persisted} bytes of the write are recorded, and this writer has sent bytes {} to {}: \
                 somebody else writes too",
                kept.start, kept.end
            );
            ClientError::new(ErrorKind::Precondition, message)
        })?;
        if let Some(watcher) = self.watcher.as_ref().filter(|_| late > 0) {
            watcher.moved(late);
        }
        Ok(())
    }

    async fn open(&self) -> Result<Call, ClientError> {
        let header = v1::WriteObjectHeader {
            bucket: self.write.bucket.clone(),
            key: self.write.key.clone(),
            upload_id: self.write.upload_id.clone(),
            offset: self.kept.start(),
        };
        let limit = self.client.call_timeout();
        self.client
            .attempts(repeatable, |lane| Call::open(lane, header.clone(), limit))
            .await
    }

    /// Sends through one server until all is recorded, or the call fails.
    async fn send(&mut self, call: &mut Call) -> Result<(), ClientError> {
        let limit = self.client.stall_timeout() + call::RECORDED_WITHIN;
        loop {
            if self.ended && self.kept.is_empty() {
                return Ok(());
            }
            if self.ended && self.kept.all_sent() {
                call.no_more();
            }
            let unsent = !self.kept.all_sent();
            let room = !unsent && !self.ended && self.kept.has_room();
            let waits = !self.kept.is_empty();
            tokio::select! {
                answer = call::answer(&mut call.answers) => {
                    self.recorded(answer?)?;
                    self.failures.none_since();
                }
                place = call::place(call.to.as_ref()), if unsent => {
                    let piece = self.kept.next().expect("not all was sent");
                    if let Some(watcher) = &self.watcher {
                        watcher.moved(piece.len() as u64);
                    }
                    call::send(place?, piece);
                }
                piece = self.pieces.next(), if room => match piece {
                    Some(piece) => {
                        let piece = piece?;
                        self.sum.update(&piece);
                        self.kept.push(piece);
                    }
                    None => self.ended = true,
                },
                () = tokio::time::sleep(limit), if waits => {
                    let message = format!("nothing was recorded for {} s", limit.as_secs_f32());
                    return Err(ClientError::new(ErrorKind::Timeout, message));
                }
            }
        }
    }
}

/// The same error, as one that another try may not meet.
fn unsettled(error: &ClientError) -> ClientError {
    ClientError::new(ErrorKind::Unavailable, error.message())
}
