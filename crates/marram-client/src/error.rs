//! What went wrong, sorted by what a caller can do about it.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::Path;
use std::time::Duration;

use marram_proto::v1;
use marram_types::RequestId;
use serde::Serialize;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::tls::distrust;

/// The domain of Marram's reasons in `google.rpc.ErrorInfo`.
const DOMAIN: &str = "marram.dev";

/// What a caller can do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// The bucket or the object is not there.
    NotFound,
    /// It is there already.
    AlreadyExists,
    /// The keys are wrong, disabled, or not allowed to do this.
    Denied,
    /// The request can never succeed as it is.
    Invalid,
    /// A precondition does not hold, or the bucket is not empty.
    Precondition,
    /// The range begins beyond the object's end.
    RangeNotSatisfiable,
    /// What happened behind the revision is not known any more.
    Compacted,
    /// The drives are full, or a limit is reached; waiting does not help.
    Exhausted,
    /// No server could do it now; it may work later. A change may still have been made when the
    /// connection broke after it was sent.
    Unavailable,
    /// No answer came in time; it may work later.
    Timeout,
    /// The server could not prove who it is, or speaks no TLS where it should.
    Untrusted,
    /// The change may or may not have been made.
    OutcomeUnknown,
    /// Bytes did not match their checksum.
    Corrupt,
    /// The object was changed by someone else while it was being read.
    Changed,
    /// Reading or writing on this machine failed.
    Local,
    /// The server's answer breaks the protocol.
    Protocol,
    /// The server failed in a way it has no name for.
    Internal,
}

impl ErrorKind {
    /// True when the same call may succeed a little later.
    #[must_use]
    pub fn is_retryable(self) -> bool {
        matches!(self, Self::Unavailable | Self::Timeout)
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotFound => "not found",
            Self::AlreadyExists => "already exists",
            Self::Denied => "denied",
            Self::Invalid => "invalid request",
            Self::Precondition => "precondition failed",
            Self::RangeNotSatisfiable => "range not satisfiable",
            Self::Compacted => "compacted away",
            Self::Exhausted => "out of space or over a limit",
            Self::Unavailable => "unavailable",
            Self::Timeout => "timed out",
            Self::Untrusted => "not trusted",
            Self::OutcomeUnknown => "outcome unknown",
            Self::Corrupt => "checksum mismatch",
            Self::Changed => "changed while it was read",
            Self::Local => "local input or output failed",
            Self::Protocol => "unexpected answer",
            Self::Internal => "internal error",
        })
    }
}

/// A call that failed, after all of its attempts.
#[derive(Debug, Clone)]
pub struct ClientError(Box<Details>);

#[derive(Debug, Clone)]
struct Details {
    kind: ErrorKind,
    message: String,
    reason: Option<String>,
    metadata: BTreeMap<String, String>,
    endpoint: Option<String>,
    attempts: u32,
    retry_after: Option<Duration>,
}

impl ClientError {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Details {
            kind,
            message: message.into(),
            reason: None,
            metadata: BTreeMap::new(),
            endpoint: None,
            attempts: 1,
            retry_after: None,
        }))
    }

    pub(crate) fn local(what: &str, path: &Path, error: &io::Error) -> Self {
        let message = format!("cannot {what} {}: {error}", path.display());
        Self::new(ErrorKind::Local, message)
    }

    /// Reads what a server, or the transport, said.
    pub(crate) fn from_status(status: &Status) -> Self {
        if let Some(why) = distrust(status) {
            return Self::new(ErrorKind::Untrusted, why);
        }
        let info = status
            .get_details_error_info()
            .filter(|info| info.domain == DOMAIN);
        let retry_after = status
            .get_details_retry_info()
            .and_then(|info| info.retry_delay);
        let reason = info.as_ref().map(|info| info.reason.clone());
        let kind = kind_of(status.code(), reason.as_deref());
        let mut error = Self::new(kind, message_of(status));
        error.0.reason = reason;
        error.0.retry_after = retry_after;
        error.0.metadata = info
            .map(|info| info.metadata.into_iter().collect())
            .unwrap_or_default();
        error
    }

    /// Reads what a server said of one part of a call.
    pub(crate) fn from_failure(failure: v1::DeleteFailure) -> Self {
        let kind = kind_of(Code::from_i32(failure.code), Some(&failure.reason));
        let mut error = Self::new(kind, failure.message);
        error.0.reason = Some(failure.reason);
        error.0.metadata = failure.metadata.into_iter().collect();
        error
    }

    pub(crate) fn at(mut self, endpoint: &str) -> Self {
        self.0.endpoint = Some(endpoint.to_owned());
        self
    }

    pub(crate) fn after(mut self, attempts: u32) -> Self {
        self.0.attempts = attempts;
        self
    }

    /// Adds what may help, once.
    pub(crate) fn hint(mut self, hint: &str) -> Self {
        if !self.0.message.contains(hint) {
            self.0.message = format!("{}; {hint}", self.0.message);
        }
        self
    }

    pub(crate) fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// What a caller can do about it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The server's reason, for example `BUCKET_NOT_FOUND`; none when no server said anything.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        self.0.reason.as_deref()
    }

    /// What the server told beside the reason, for example sizes.
    #[must_use]
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.0.metadata
    }

    /// Where the outcome of a change is unknown: its name, under which the same call, made again within five
    /// minutes, says what came of it and does nothing twice
    /// ([`ClientConfig::first_request`](crate::ClientConfig::first_request)).
    #[must_use]
    pub fn request_id(&self) -> Option<RequestId> {
        let told = self.0.metadata.get("request_id")?;
        told.parse()
            .ok()
            .filter(|_| self.0.kind == ErrorKind::OutcomeUnknown)
    }

    /// The sentence that says what happened.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The server that was asked last.
    #[must_use]
    pub fn endpoint(&self) -> Option<&str> {
        self.0.endpoint.as_deref()
    }

    /// How often it was tried.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.0.attempts
    }
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)?;
        if let Some(reason) = &self.0.reason {
            write!(f, " ({reason})")?;
        }
        if self.0.attempts > 1 {
            write!(f, "; tried {} times", self.0.attempts)?;
            if let Some(endpoint) = &self.0.endpoint {
                write!(f, ", last at {endpoint}")?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for ClientError {}

/// The transport hides what happened in the sources of the error; the last one says it best.
fn message_of(status: &Status) -> String {
    let mut message = status.message().to_owned();
    let mut source = std::error::Error::source(status);
    while let Some(error) = source {
        let deeper = error.to_string();
        if !message.contains(&deeper) {
            message = format!("{message}: {deeper}");
        }
        source = error.source();
    }
    if message.is_empty() {
        message = format!("the server answered {:?}", status.code());
    }
    message
}

/// Sorts a status. A failure without a reason of ours did not come from a handler of Marram but
/// from the transport, or from a server that went away in the middle of the call.
fn kind_of(code: Code, reason: Option<&str>) -> ErrorKind {
    match (code, reason) {
        (_, Some("OUTCOME_UNKNOWN")) => ErrorKind::OutcomeUnknown,
        (_, Some("OVERLOADED")) => ErrorKind::Unavailable,
        (_, Some("REVISION_COMPACTED")) => ErrorKind::Compacted,
        (Code::NotFound, _) => ErrorKind::NotFound,
        (Code::AlreadyExists, _) => ErrorKind::AlreadyExists,
        (Code::Unauthenticated | Code::PermissionDenied, _) => ErrorKind::Denied,
        (Code::InvalidArgument | Code::Unimplemented, _) => ErrorKind::Invalid,
        (Code::FailedPrecondition, _) => ErrorKind::Precondition,
        (Code::OutOfRange, Some(_)) => ErrorKind::RangeNotSatisfiable,
        (Code::OutOfRange, None) => ErrorKind::Protocol,
        (Code::ResourceExhausted, _) => ErrorKind::Exhausted,
        (Code::DeadlineExceeded, _) => ErrorKind::Timeout,
        (Code::DataLoss, _) => ErrorKind::Corrupt,
        (Code::Unavailable | Code::Aborted, _)
        | (Code::Unknown | Code::Internal | Code::Cancelled | Code::Ok, None) => {
            ErrorKind::Unavailable
        }
        (Code::Unknown | Code::Internal | Code::Cancelled | Code::Ok, Some(_)) => {
            ErrorKind::Internal
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;
    use tonic_types::ErrorDetails;

    fn with_reason(code: Code, reason: &str) -> ClientError {
        let mut details = ErrorDetails::with_error_info(
            reason,
            DOMAIN,
            HashMap::from([("size".to_owned(), "7".to_owned())]),
        );
        details.set_retry_info(Some(Duration::from_millis(20)));
        ClientError::from_status(&Status::with_error_details(code, "told", details))
    }

    #[test]
    fn reasons_and_numbers_come_through() {
        let error = with_reason(Code::NotFound, "BUCKET_NOT_FOUND");
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert_eq!(error.reason(), Some("BUCKET_NOT_FOUND"));
        assert_eq!(error.metadata().get("size").map(String::as_str), Some("7"));
        assert_eq!(error.retry_after(), Some(Duration::from_millis(20)));
        assert_eq!(error.to_string(), "told (BUCKET_NOT_FOUND)");
    }

    #[test]
    fn full_drives_are_final_and_overload_is_not() {
        let full = with_reason(Code::ResourceExhausted, "DRIVES_FULL");
        assert!(!full.kind().is_retryable());
        let busy = with_reason(Code::ResourceExhausted, "OVERLOADED");
        assert!(busy.kind().is_retryable());
    }

    #[test]
    fn a_broken_connection_is_retryable_and_an_internal_error_is_not() {
        let broken = ClientError::from_status(&Status::unknown("h2 protocol error"));
        assert_eq!(broken.kind(), ErrorKind::Unavailable);
        let internal = with_reason(Code::Internal, "INTERNAL");
        assert_eq!(internal.kind(), ErrorKind::Internal);
        let unknown = with_reason(Code::Unknown, "OUTCOME_UNKNOWN");
        assert_eq!(unknown.kind(), ErrorKind::OutcomeUnknown);
        assert_eq!(unknown.request_id(), None, "it tells none");
    }

    #[test]
    fn an_unknown_outcome_has_a_name_to_ask_again_with() {
        let request = RequestId {
            client: 7,
            sequence: 9,
        };
        let told = |reason| {
            let metadata = HashMap::from([("request_id".to_owned(), request.to_string())]);
            let details = ErrorDetails::with_error_info(reason, DOMAIN, metadata);
            ClientError::from_status(&Status::with_error_details(Code::Unknown, "told", details))
        };
        assert_eq!(told("OUTCOME_UNKNOWN").request_id(), Some(request));
        assert_eq!(told("INTERNAL").request_id(), None);
    }
}
