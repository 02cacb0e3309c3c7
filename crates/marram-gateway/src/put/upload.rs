//! The bytes of a put as they come in: checked one chunk at a time, counted, summed.

use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, StreamExt};
use marram_proto::v1;
use marram_proto::v1::put_object_request::Message;
use marram_types::caps::{OBJECT_BYTES_MAX, PART_BYTES_MAX};
use tonic::Status;

use super::sums::{Checks, Mismatch, SumError, Sums, Totals};
use crate::status::{Fault, Reason};
use crate::validate::{self, InvalidField};

/// How long a client may send nothing before its upload is given up.
pub(crate) const STALL_MAX: Duration = Duration::from_secs(30);

/// Why the bytes did not come as announced.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UploadError {
    #[error("the upload stalled: nothing was received for a while")]
    Stalled,
    #[error("the upload broke off after {received} bytes: {source}")]
    Broken { received: u64, source: Box<Status> },
    #[error("{declared} bytes were declared, {received} or more were sent")]
    TooMany { declared: u64, received: u64 },
    #[error("{declared} bytes were declared, {received} were sent")]
    TooFew { declared: u64, received: u64 },
    /// The transport tells a call that the client cancelled like one that it ended: without a
    /// declared size only the trailer shows that all bytes were sent.
    #[error("the upload ended after {received} bytes with neither a declared size nor a trailer")]
    NoTrailer { received: u64 },
    #[error(transparent)]
    Invalid(#[from] InvalidField),
    #[error("all bytes together do not have the {} that was told", .0.kind)]
    ObjectChecksum(Mismatch),
    #[error("the stream is out of order: {0}")]
    Order(&'static str),
}

impl Fault for UploadError {
    fn reason(&self) -> Reason {
        match self {
            Self::Stalled => Reason::UploadStalled,
            Self::Broken { .. } | Self::NoTrailer { .. } | Self::Order(_) => {
                Reason::InvalidArgument
            }
            Self::TooMany { .. } | Self::TooFew { .. } => Reason::SizeMismatch,
            Self::Invalid(field) => field.reason(),
            Self::ObjectChecksum(_) => Reason::ObjectChecksumMismatch,
        }
    }

    fn details(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::TooMany { declared, received } | Self::TooFew { declared, received } => vec![
                ("declared", declared.to_string()),
                ("received", received.to_string()),
            ],
            Self::Broken { received, .. } | Self::NoTrailer { received } => vec![
                ("field", "message".to_owned()),
                ("received", received.to_string()),
            ],
            Self::Invalid(field) => field.details(),
            Self::ObjectChecksum(mismatch) => vec![
                ("checksum", mismatch.kind.to_owned()),
                ("expected", mismatch.expected.clone()),
                ("found", mismatch.found.clone()),
            ],
            Self::Order(_) => vec![("field", "message".to_owned())],
            Self::Stalled => Vec::new(),
        }
    }
}

impl From<SumError> for UploadError {
    fn from(error: SumError) -> Self {
        match error {
            SumError::Mismatch(mismatch) => Self::ObjectChecksum(mismatch),
            SumError::NotComputed(field) => Self::Invalid(field),
        }
    }
}

/// The stream behind the header of a put.
pub(crate) struct Upload<S> {
    stream: S,
    declared: Option<u64>,
    received: u64,
    sums: Sums,
    trailer: Option<v1::PutObjectTrailer>,
    ended: bool,
    stall_max: Duration,
    /// It is a part of an object, which may be smaller than one.
    part: bool,
}

impl<S> Upload<S>
where
    S: Stream<Item = Result<v1::PutObjectRequest, Status>> + Unpin,
{
    pub(crate) fn new(
        stream: S,
        declared: Option<u64>,
        checks: &Checks,
        stall_max: Duration,
    ) -> Self {
        Self {
            stream,
            declared,
            received: 0,
            sums: Sums::new(checks),
            trailer: None,
            ended: false,
            stall_max,
            part: false,
        }
    }

    /// The bytes of one part of a multipart upload.
    pub(crate) fn of_part(stream: S, declared: Option<u64>, checks: &Checks) -> Self {
        Self {
            part: true,
            ..Self::new(stream, declared, checks, STALL_MAX)
        }
    }

    /// What is to be committed of the bytes received so far.
    pub(crate) fn totals(&self) -> Totals {
        self.sums.totals()
    }

    /// The next bytes, verified; nothing at the end, which is known to be the true end: of the
    /// declared size and with the trailer's checksum.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, UploadError> {
        while !self.ended {
            match self.message().await? {
                None => {
                    self.ended = true;
                    self.check_end()?;
                }
                Some(Message::Header(_)) => return Err(UploadError::Order("a second header")),
                Some(_) if self.trailer.is_some() => {
                    return Err(UploadError::Order("a message after the trailer"));
                }
                Some(Message::Trailer(trailer)) => self.trailer = Some(trailer),
                Some(Message::Chunk(chunk)) if chunk.data.is_empty() => validate::chunk(&chunk)?,
                Some(Message::Chunk(chunk)) => {
                    self.take(&chunk)?;
                    return Ok(Some(chunk.data));
                }
            }
        }
        Ok(None)
    }

    fn take(&mut self, chunk: &v1::Chunk) -> Result<(), UploadError> {
        self.received += chunk.data.len() as u64;
        let received = self.received;
        if let Some(declared) = self.declared
            && received > declared
        {
            return Err(UploadError::TooMany { declared, received });
        }
        if self.part && received > PART_BYTES_MAX {
            return Err(InvalidField::PartTooLarge { size: received }.into());
        }
        if received > OBJECT_BYTES_MAX {
            return Err(InvalidField::ObjectTooLarge { size: received }.into());
        }
        validate::chunk(chunk)?;
        self.sums.update(&chunk.data);
        Ok(())
    }

    async fn message(&mut self) -> Result<Option<Message>, UploadError> {
        let next = tokio::time::timeout(self.stall_max, self.stream.next())
            .await
            .map_err(|_| UploadError::Stalled)?;
        match next {
            None => Ok(None),
            Some(Ok(v1::PutObjectRequest { message: None })) => {
                Err(UploadError::Order("an empty message"))
            }
            Some(Ok(v1::PutObjectRequest { message })) => Ok(message),
            Some(Err(status)) => Err(UploadError::Broken {
                received: self.received,
                source: Box::new(status),
            }),
        }
    }

    fn check_end(&self) -> Result<(), UploadError> {
        let received = self.received;
        if let Some(declared) = self.declared
            && received < declared
        {
            return Err(UploadError::TooFew { declared, received });
        }
        if self.declared.is_none() && self.trailer.is_none() {
            return Err(UploadError::NoTrailer { received });
        }
        Ok(self.sums.check(self.trailer.as_ref())?)
    }
}

/// The header, which must be the first message.
pub(crate) async fn header<S>(stream: &mut S) -> Result<v1::PutObjectHeader, UploadError>
where
    S: Stream<Item = Result<v1::PutObjectRequest, Status>> + Unpin,
{
    match first_message(stream).await?.message {
        Some(Message::Header(header)) => Ok(header),
        _ => Err(header_missing()),
    }
}

/// The stream begins with something else, or with nothing.
pub(crate) fn header_missing() -> UploadError {
    UploadError::Order("the first message must be the header")
}

/// The first message of a stream that writes.
pub(crate) async fn first_message<S, M>(stream: &mut S) -> Result<M, UploadError>
where
    S: Stream<Item = Result<M, Status>> + Unpin,
{
    let first = tokio::time::timeout(STALL_MAX, stream.next())
        .await
        .map_err(|_| UploadError::Stalled)?;
    match first {
        Some(Ok(message)) => Ok(message),
        Some(Err(status)) => Err(UploadError::Broken {
            received: 0,
            source: Box::new(status),
        }),
        None => Err(header_missing()),
    }
}

#[cfg(test)]
mod tests;
