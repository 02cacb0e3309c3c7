//! Reading many ranges of an object on one stream.

use std::ops::Range;

use bytes::Bytes;
use marram_proto::v1;
use marram_proto::v1::read_ranges_response::Message;
use marram_types::caps::RANGES_PER_CALL_MAX;
use tonic::{Status, Streaming};

use crate::client::{Client, Lane, present, repeatable, within};
use crate::error::{ClientError, ErrorKind};
use crate::goes_on::{Failures, verified};
use crate::types::{ByteRange, ObjectInfo, ReadConditions};

/// The next bytes of one of several ranges.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RangePiece {
    /// Which range, counted from 0 in the order in which they were asked for.
    pub range: usize,
    /// Where in the object the bytes begin.
    pub offset: u64,
    /// The bytes, at most 1 MiB.
    pub data: Bytes,
}

/// Some ranges of one version of an object, on their way here one after the other.
///
/// Every piece is verified before it is handed out. When the server or the connection fails in the
/// middle, reading goes on at another server where it stopped, as long as the object is the same.
#[derive(Debug)]
pub struct RangesDownload {
    client: Client,
    bucket: String,
    /// The version that was asked for.
    generation: Option<u64>,
    /// What each range is in the object, as the first answer gave it.
    ranges: Vec<Range<u64>>,
    opened: Opened,
    /// The range that is being read, and where in the object its next byte is.
    at: (usize, u64),
    failures: Failures,
    over: bool,
}

#[derive(Debug)]
struct Opened {
    server: usize,
    info: ObjectInfo,
    ranges: Vec<Range<u64>>,
    /// The number of the first of its ranges.
    first: usize,
    stream: Streaming<v1::ReadRangesResponse>,
}

impl Client {
    /// Begins to read up to 256 ranges of an object, all of one version. The first answer is there when
    /// this returns.
    ///
    /// # Errors
    /// `NotFound`, `RangeNotSatisfiable` (the message says which range), `Invalid` (no range, too many, an
    /// empty one), `Precondition`, and what any call can meet.
    pub async fn get_ranges(
        &self,
        (bucket, key): (&str, &str),
        generation: Option<u64>,
        ranges: &[ByteRange],
        conditions: &ReadConditions,
    ) -> Result<RangesDownload, ClientError> {
        let wire: Option<Vec<v1::ByteRange>> = ranges.iter().map(|r| r.to_wire()).collect();
        let wire = wire
            .filter(|wire| (1..=RANGES_PER_CALL_MAX).contains(&wire.len()))
            .ok_or_else(|| {
                let message = format!(
                    "1 to {RANGES_PER_CALL_MAX} ranges are read at once, and none of them may be empty"
                );
                ClientError::new(ErrorKind::Invalid, message)
            })?;
        let message = v1::ReadRangesRequest {
            bucket: bucket.to_owned(),
            key: key.to_owned(),
            ranges: wire,
            conditions: conditions.to_wire(),
            generation,
        };
        let opened = self.open_ranges(message, 0).await?;
        Ok(RangesDownload {
            client: self.clone(),
            bucket: bucket.to_owned(),
            generation,
            at: (0, opened.ranges[0].start),
            ranges: opened.ranges.clone(),
            opened,
            failures: Failures::default(),
            over: false,
        })
    }

    async fn open_ranges(
        &self,
        message: v1::ReadRangesRequest,
        first: usize,
    ) -> Result<Opened, ClientError> {
        let limit = self.call_timeout();
        self.attempts(repeatable, |lane| {
            let call = begin(lane, message.clone(), first);
            async move { within(limit, call).await? }
        })
        .await
    }
}

async fn begin(
    lane: Lane,
    message: v1::ReadRangesRequest,
    first: usize,
) -> Result<Opened, ClientError> {
    let failed = |status: Status| ClientError::from_status(&status);
    let asked = message.ranges.len();
    let answer = lane.objects().read_ranges(lane.request(message)).await;
    let mut stream = answer.map_err(failed)?.into_inner();
    let begun = stream.message().await.map_err(failed)?;
    let Some(Message::Header(header)) = begun.and_then(|begun| begun.message) else {
        return Err(protocol("the server sent no header"));
    };
    let ranges: Vec<_> = header
        .ranges
        .iter()
        .map(|range| range.offset..range.offset.saturating_add(range.length))
        .collect();
    if ranges.len() != asked {
        return Err(protocol(
            "the server answers other ranges than it was asked for",
        ));
    }
    Ok(Opened {
        server: lane.server(),
        info: ObjectInfo::from_wire(present(header.object, "object")?),
        ranges,
        first,
        stream,
    })
}

fn protocol(message: &str) -> ClientError {
    ClientError::new(ErrorKind::Protocol, message)
}

impl RangesDownload {
    /// What is being read.
    #[must_use]
    pub fn info(&self) -> &ObjectInfo {
        &self.opened.info
    }

    /// What each range is in the object, in the order in which they were asked for.
    #[must_use]
    pub fn ranges(&self) -> &[Range<u64>] {
        &self.ranges
    }

    /// The next bytes; `None` at the end and after an error. Ranges come in the order in which they were
    /// asked for, and the bytes of each in order.
    ///
    /// Errors: `Changed` when the object was replaced meanwhile and the rest of the old version is not to
    /// be had, and what any call can meet.
    pub async fn next(&mut self) -> Option<Result<RangePiece, ClientError>> {
        if self.over {
            return None;
        }
        let result = self.advance().await;
        self.over = !matches!(result, Ok(Some(_)));
        result.transpose()
    }

    /// Reads all ranges into memory.
    ///
    /// # Errors
    /// As [`Self::next`], and `Invalid` when there are more than `limit` bytes.
    pub async fn bytes(mut self, limit: usize) -> Result<Vec<Vec<u8>>, ClientError> {
        let total: u64 = self.ranges.iter().map(|r| r.end - r.start).sum();
        if usize::try_from(total).map_or(true, |total| total > limit) {
            let message = format!("there are more than {limit} bytes to read");
            return Err(ClientError::new(ErrorKind::Invalid, message));
        }
        let mut all = vec![Vec::new(); self.ranges.len()];
        while let Some(piece) = self.next().await {
            let piece = piece?;
            all[piece.range].extend_from_slice(&piece.data);
        }
        Ok(all)
    }

    async fn advance(&mut self) -> Result<Option<RangePiece>, ClientError> {
        loop {
            while self.at.1 == self.ranges[self.at.0].end {
                let next = self.at.0 + 1;
                let Some(range) = self.ranges.get(next) else {
                    return Ok(None);
                };
                self.at = (next, range.start);
            }
            match self.receive().await {
                Ok(data) if data.is_empty() => {}
                Ok(data) => {
                    let (range, offset) = self.at;
                    self.at.1 += data.len() as u64;
                    self.failures.none_since();
                    return Ok(Some(RangePiece {
                        range,
                        offset,
                        data,
                    }));
                }
                Err(error) => self.resume(error).await?,
            }
        }
    }

    /// One chunk, verified by itself, of where reading has come to.
    async fn receive(&mut self) -> Result<Bytes, ClientError> {
        let next = self.opened.stream.message();
        let next = within(self.client.stall_timeout(), next).await?;
        let next = next.map_err(|status| ClientError::from_status(&status))?;
        let Some(next) = next else {
            let message = "the server ended the stream before the last byte";
            return Err(ClientError::new(ErrorKind::Unavailable, message));
        };
        let Some(Message::Chunk(told)) = next.message else {
            return Err(protocol("the server sent something that is not a chunk"));
        };
        let range = usize::try_from(told.range).unwrap_or(usize::MAX);
        let chunk = present(told.chunk, "chunk")?;
        let left = self.ranges[self.at.0].end - self.at.1;
        let is_it = (range.saturating_add(self.opened.first), told.offset) == self.at;
        if !is_it || chunk.data.len() as u64 > left {
            return Err(protocol("the server sent other bytes than it said"));
        }
        verified(chunk)
    }

    /// Opens the rest at another server, or gives up with `error`.
    async fn resume(&mut self, error: ClientError) -> Result<(), ClientError> {
        let server = self.opened.server;
        self.failures.wait(&self.client, server, error).await?;
        self.reopen().await
    }

    /// Opens what is left, of the same version.
    async fn reopen(&mut self) -> Result<(), ClientError> {
        let key = self.opened.info.key.clone();
        let mut left = self.ranges[self.at.0..].to_vec();
        left[0].start = self.at.1;
        // A range that is done counts no more; one that is empty cannot be asked for.
        let skipped = left.iter().take_while(|range| range.is_empty()).count();
        let wire = left[skipped..].iter().map(|range| {
            let length = range.end - range.start;
            let offset = range.start;
            ByteRange::Span { offset, length }.to_wire()
        });
        let wire: Option<Vec<_>> = wire.collect();
        let message = v1::ReadRangesRequest {
            bucket: self.bucket.clone(),
            key: key.clone(),
            ranges: wire.ok_or_else(|| protocol("the server told a range that cannot be"))?,
            conditions: None,
            generation: self.generation,
        };
        let first = self.at.0 + skipped;
        let again = self.client.open_ranges(message, first).await?;
        if !again.info.is_same_version(&self.opened.info) {
            let message = format!(
                "m://{}/{key} was replaced while it was being read",
                self.bucket
            );
            return Err(ClientError::new(ErrorKind::Changed, message));
        }
        if again.ranges[..] != left[skipped..] {
            return Err(protocol(
                "the server answers other ranges than it was asked for",
            ));
        }
        self.opened = again;
        Ok(())
    }
}
