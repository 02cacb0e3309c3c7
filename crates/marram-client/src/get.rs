//! Reading an object.

use bytes::Bytes;
use marram_proto::v1;
use marram_proto::v1::get_object_response::Message;
use marram_types::Crc64Nvme;
use tonic::{Status, Streaming};

use crate::client::{Client, Lane, present, repeatable, within};
use crate::direct::Direct;
use crate::error::{ClientError, ErrorKind};
use crate::goes_on::{Failures, verified};
use crate::types::{ByteRange, ObjectInfo, ReadConditions};

/// An object, or a part of it, on its way here.
///
/// Every piece is verified before it is handed out. When the server or the connection fails in the
/// middle, reading goes on at another server where it stopped, as long as the object is the same.
#[derive(Debug)]
pub struct Download {
    client: Client,
    bucket: String,
    /// The version that was asked for.
    generation: Option<u64>,
    opened: Opened,
    /// First byte asked for and number of bytes, as the first answer gave them.
    offset: u64,
    length: u64,
    delivered: u64,
    /// Over the whole object; `None` for a part of one.
    checksum: Option<Crc64Nvme>,
    failures: Failures,
    over: bool,
}

#[derive(Debug)]
struct Opened {
    server: usize,
    info: ObjectInfo,
    offset: u64,
    length: u64,
    source: Source,
}

/// Where the bytes come from.
#[derive(Debug)]
enum Source {
    /// A gateway sends them, or, in the first message, a plan.
    Gateway(Streaming<v1::GetObjectResponse>),
    /// The nodes themselves.
    Nodes(Direct),
}

impl Client {
    /// Begins to read an object, or a range of it. The first answer is there when this returns.
    ///
    /// # Errors
    /// `NotFound`, `RangeNotSatisfiable`, `Invalid` (an empty range), and what any call can meet.
    pub async fn get(
        &self,
        bucket: &str,
        key: &str,
        range: Option<ByteRange>,
    ) -> Result<Download, ClientError> {
        self.get_if(bucket, key, range, &ReadConditions::default())
            .await
    }

    /// The same of a version of which conditions hold.
    ///
    /// # Errors
    /// `Precondition` when they do not, and those of [`Self::get`].
    pub async fn get_if(
        &self,
        bucket: &str,
        key: &str,
        range: Option<ByteRange>,
        conditions: &ReadConditions,
    ) -> Result<Download, ClientError> {
        self.begin(bucket, key, None, range, conditions.to_wire())
            .await
    }

    /// The same of one version, current or not.
    ///
    /// # Errors
    /// `NotFound` (bucket or version), `Precondition` when it is a delete marker, and those of
    /// [`Self::get`].
    pub async fn get_version(
        &self,
        bucket: &str,
        key: &str,
        generation: u64,
        range: Option<ByteRange>,
    ) -> Result<Download, ClientError> {
        self.begin(bucket, key, Some(generation), range, None).await
    }

    async fn begin(
        &self,
        bucket: &str,
        key: &str,
        generation: Option<u64>,
        range: Option<ByteRange>,
        conditions: Option<v1::ReadConditions>,
    ) -> Result<Download, ClientError> {
        let range = range
            .map(|range| {
                range.to_wire().ok_or_else(|| {
                    ClientError::new(ErrorKind::Invalid, "the range is empty or too large")
                })
            })
            .transpose()?;
        let message = v1::GetObjectRequest {
            bucket: bucket.to_owned(),
            key: key.to_owned(),
            range,
            accept_plan: self.accepts_plans(),
            conditions,
            generation,
        };
        let opened = self.open(message).await?;
        let whole = opened.offset == 0 && opened.length == opened.info.size;
        Ok(Download {
            client: self.clone(),
            bucket: bucket.to_owned(),
            generation,
            offset: opened.offset,
            length: opened.length,
            delivered: 0,
            checksum: whole.then(Crc64Nvme::default),
            failures: Failures::default(),
            over: false,
            opened,
        })
    }

    async fn open(&self, message: v1::GetObjectRequest) -> Result<Opened, ClientError> {
        let limit = self.call_timeout();
        self.attempts(repeatable, |lane| {
            let call = begin(lane, message.clone());
            async move { within(limit, call).await? }
        })
        .await
    }
}

async fn begin(lane: Lane, message: v1::GetObjectRequest) -> Result<Opened, ClientError> {
    let failed = |status: Status| ClientError::from_status(&status);
    let answer = lane.objects().get_object(lane.request(message)).await;
    let mut stream = answer.map_err(failed)?.into_inner();
    let first = stream.message().await.map_err(failed)?;
    let Some(Message::Header(header)) = first.and_then(|first| first.message) else {
        return Err(protocol("the server sent no header"));
    };
    Ok(Opened {
        server: lane.server(),
        info: ObjectInfo::from_wire(present(header.object, "object")?),
        offset: header.offset,
        length: header.length,
        source: Source::Gateway(stream),
    })
}

fn protocol(message: &str) -> ClientError {
    ClientError::new(ErrorKind::Protocol, message)
}

impl Download {
    /// What is being read.
    #[must_use]
    pub fn info(&self) -> &ObjectInfo {
        &self.opened.info
    }

    /// The first byte that is read, counted from the object's start.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// How many bytes are read.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length
    }

    /// The next bytes, at most 1 MiB; `None` at the end and after an error.
    ///
    /// Errors: `Changed` when the object was replaced and the rest of the old version is not to be
    /// had, `Corrupt` when the whole does not match its checksum, and what any call can meet.
    pub async fn next(&mut self) -> Option<Result<Bytes, ClientError>> {
        if self.over {
            return None;
        }
        let result = self.advance().await;
        self.over = !matches!(result, Ok(Some(_)));
        result.transpose()
    }

    /// Reads everything that is left into memory.
    ///
    /// # Errors
    /// As [`Self::next`], and `Invalid` when there are more than `limit` bytes.
    pub async fn bytes(mut self, limit: usize) -> Result<Vec<u8>, ClientError> {
        let left = usize::try_from(self.length - self.delivered)
            .ok()
            .filter(|left| *left <= limit)
            .ok_or_else(|| {
                let message = format!("there are more than {limit} bytes to read");
                ClientError::new(ErrorKind::Invalid, message)
            })?;
        let mut all = Vec::with_capacity(left);
        while let Some(piece) = self.next().await {
            all.extend_from_slice(&piece?);
        }
        Ok(all)
    }

    async fn advance(&mut self) -> Result<Option<Bytes>, ClientError> {
        loop {
            if self.delivered == self.length {
                return self.finish().await.map(|()| None);
            }
            match self.receive().await {
                Ok(piece) if piece.is_empty() => {}
                Ok(piece) => return self.accept(piece).map(Some),
                Err(error) => self.resume(error).await?,
            }
        }
    }

    /// One chunk, verified by itself.
    async fn receive(&mut self) -> Result<Bytes, ClientError> {
        loop {
            let stream = match &mut self.opened.source {
                Source::Gateway(stream) => stream,
                Source::Nodes(direct) => match direct.next().await {
                    Some(Ok(piece)) => return Ok(piece),
                    Some(Err(failed)) => {
                        tracing::info!(%failed, "reading on through a gateway");
                        self.client.nodes().rest();
                        self.reopen(false).await?;
                        continue;
                    }
                    None => {
                        self.reopen(self.client.accepts_plans()).await?;
                        continue;
                    }
                },
            };
            let message = within(self.client.stall_timeout(), stream.message())
                .await?
                .map_err(|status| ClientError::from_status(&status))?;
            let Some(message) = message else {
                let message = "the server ended the stream before the last byte";
                return Err(ClientError::new(ErrorKind::Unavailable, message));
            };
            match message.message {
                Some(Message::Chunk(chunk)) => return self.verified(chunk),
                Some(Message::Plan(plan)) => self.carry_out(plan).await?,
                Some(Message::Header(_)) | None => {
                    return Err(protocol("the server sent something that is not a chunk"));
                }
            }
        }
    }

    /// Goes on with a plan where the gateway sent one.
    async fn carry_out(&mut self, plan: v1::ReadPlan) -> Result<(), ClientError> {
        let (at, end) = (self.offset + self.delivered, self.offset + self.length);
        match Direct::new(self.client.clone(), plan, at, end) {
            Ok(direct) => {
                self.opened.source = Source::Nodes(direct);
                Ok(())
            }
            Err(bad) => {
                tracing::warn!(%bad, "reading through the gateway");
                self.client.nodes().rest();
                self.reopen(false).await
            }
        }
    }

    fn verified(&self, chunk: v1::Chunk) -> Result<Bytes, ClientError> {
        if chunk.data.len() as u64 > self.length - self.delivered {
            return Err(protocol("the server sent more bytes than it said"));
        }
        verified(chunk)
    }

    /// Counts a chunk; the last one of an object only when the whole matches its checksum.
    fn accept(&mut self, piece: Bytes) -> Result<Bytes, ClientError> {
        self.delivered += piece.len() as u64;
        self.failures.none_since();
        if let Some(checksum) = &mut self.checksum {
            checksum.update(&piece);
            if self.delivered == self.length && checksum.value() != self.opened.info.crc64nvme {
                let message = format!(
                    "m://{}/{} does not match its checksum",
                    self.bucket, self.opened.info.key
                );
                return Err(ClientError::new(ErrorKind::Corrupt, message));
            }
        }
        Ok(piece)
    }

    /// Lets the server end the stream by itself. All bytes are here and verified, so how it does
    /// that no longer matters.
    async fn finish(&mut self) -> Result<(), ClientError> {
        let Source::Gateway(stream) = &mut self.opened.source else {
            return Ok(());
        };
        let end = within(self.client.call_timeout(), stream.message()).await;
        match end {
            Ok(Ok(Some(_))) => Err(protocol("the server sent more bytes than it said")),
            Ok(Ok(None) | Err(_)) | Err(_) => Ok(()),
        }
    }

    /// Opens the rest at another server, or gives up with `error`.
    async fn resume(&mut self, error: ClientError) -> Result<(), ClientError> {
        let server = self.opened.server;
        self.failures.wait(&self.client, server, error).await?;
        self.reopen(self.client.accepts_plans()).await
    }

    /// Opens what is left, of the same version.
    async fn reopen(&mut self, accept_plan: bool) -> Result<(), ClientError> {
        let from = self.offset + self.delivered;
        let range = ByteRange::Span {
            offset: from,
            length: self.length - self.delivered,
        };
        let key = self.opened.info.key.clone();
        let message = v1::GetObjectRequest {
            bucket: self.bucket.clone(),
            key: key.clone(),
            range: range.to_wire(),
            accept_plan,
            conditions: None,
            generation: self.generation,
        };
        let again = self.client.open(message).await?;
        if !again.info.is_same_version(&self.opened.info) {
            let message = format!(
                "m://{}/{key} was replaced while it was being read",
                self.bucket
            );
            return Err(ClientError::new(ErrorKind::Changed, message));
        }
        if again.offset != from || again.length != self.length - self.delivered {
            return Err(protocol(
                "the server sent another range than it was asked for",
            ));
        }
        self.opened = again;
        Ok(())
    }
}
