//! The one table from errors to gRPC statuses.
//!
//! Every error of an operation implements [`Fault`]: it names a [`Reason`], and the reason decides
//! the code and whether a retry can help. The status carries the reason as `google.rpc.ErrorInfo`
//! (domain "marram.dev"), numbers as its metadata, and `google.rpc.RetryInfo` where a retry helps.
//! `reasons` says what each means, for `docs/api.md`.

mod reasons;

use std::collections::HashMap;
use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

pub use reasons::{ReasonInfo, reasons};

/// The domain of our reasons.
const DOMAIN: &str = "marram.dev";
/// Wait before another try where something recovers by itself: an election takes about a second.
const RETRY_SOON: Duration = Duration::from_millis(200);
/// Wait before another try where a queue is full.
const RETRY_LATER: Duration = Duration::from_secs(1);

/// Why a call failed, for programs. The names are part of the public API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Reason {
    InvalidBucketName,
    InvalidProfile,
    InvalidKey,
    InvalidArgument,
    InvalidPageToken,
    InvalidRevision,
    RevisionCompacted,
    WatchMoved,
    SizeMismatch,
    ObjectTooLarge,
    BucketExists,
    BucketNotFound,
    BucketNotEmpty,
    BucketBusy,
    TooManyBuckets,
    QuotaExceeded,
    InvalidLifecycle,
    ObjectNotFound,
    VersionNotFound,
    IsDeleteMarker,
    VersionGateClosed,
    PreconditionFailed,
    NotModified,
    RangeNotSatisfiable,
    ChunkChecksumMismatch,
    ObjectChecksumMismatch,
    DrivesFull,
    MetadataFull,
    NotEnoughNodes,
    DataUnavailable,
    ObjectChanged,
    UploadStalled,
    UploadTooOld,
    UploadNotFound,
    UploadCompleted,
    UploadChanged,
    UploadKindDiffers,
    WriterReplaced,
    WrongOffset,
    InvalidPartNumber,
    InvalidPartOrder,
    InvalidPart,
    PartTooSmall,
    PartTooLarge,
    OutcomeUnknown,
    Overloaded,
    MetadataUnavailable,
    TokenMissing,
    TokenInvalid,
    TokenExpired,
    KeyUnknown,
    TicketInvalid,
    ShardNotFound,
    ShardCorrupt,
    ServiceNotFound,
    NodeNotFound,
    NodeBusy,
    JoinTokenNotFound,
    JoinTokenInvalid,
    CaStepRefused,
    PermissionDenied,
    AccessKeyNotFound,
    LastAdminKey,
    TooManyAccessKeys,
    NotAMember,
    ClusterDiffers,
    Internal,
}

/// Whether another try can help, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Retry {
    Never,
    After(Duration),
}

impl Reason {
    /// Every reason; documents and tests go through it.
    pub(crate) const ALL: [Self; 67] = [
        Self::InvalidBucketName,
        Self::InvalidProfile,
        Self::InvalidKey,
        Self::InvalidArgument,
        Self::InvalidPageToken,
        Self::InvalidRevision,
        Self::RevisionCompacted,
        Self::WatchMoved,
        Self::SizeMismatch,
        Self::ObjectTooLarge,
        Self::BucketExists,
        Self::BucketNotFound,
        Self::BucketNotEmpty,
        Self::BucketBusy,
        Self::TooManyBuckets,
        Self::QuotaExceeded,
        Self::InvalidLifecycle,
        Self::ObjectNotFound,
        Self::VersionNotFound,
        Self::IsDeleteMarker,
        Self::VersionGateClosed,
        Self::PreconditionFailed,
        Self::NotModified,
        Self::RangeNotSatisfiable,
        Self::ChunkChecksumMismatch,
        Self::ObjectChecksumMismatch,
        Self::DrivesFull,
        Self::MetadataFull,
        Self::NotEnoughNodes,
        Self::DataUnavailable,
        Self::ObjectChanged,
        Self::UploadStalled,
        Self::UploadTooOld,
        Self::UploadNotFound,
        Self::UploadCompleted,
        Self::UploadChanged,
        Self::UploadKindDiffers,
        Self::WriterReplaced,
        Self::WrongOffset,
        Self::InvalidPartNumber,
        Self::InvalidPartOrder,
        Self::InvalidPart,
        Self::PartTooSmall,
        Self::PartTooLarge,
        Self::OutcomeUnknown,
        Self::Overloaded,
        Self::MetadataUnavailable,
        Self::TokenMissing,
        Self::TokenInvalid,
        Self::TokenExpired,
        Self::KeyUnknown,
        Self::TicketInvalid,
        Self::ShardNotFound,
        Self::ShardCorrupt,
        Self::ServiceNotFound,
        Self::NodeNotFound,
        Self::NodeBusy,
        Self::JoinTokenNotFound,
        Self::JoinTokenInvalid,
        Self::CaStepRefused,
        Self::PermissionDenied,
        Self::AccessKeyNotFound,
        Self::LastAdminKey,
        Self::TooManyAccessKeys,
        Self::NotAMember,
        Self::ClusterDiffers,
        Self::Internal,
    ];

    /// The field of a request that is wrong where nothing else is said.
    fn field(self) -> Option<&'static str> {
        match self {
            Self::InvalidBucketName => Some("bucket"),
            Self::InvalidKey => Some("key"),
            Self::InvalidProfile => Some("profile"),
            Self::InvalidPageToken => Some("page_token"),
            Self::InvalidRevision => Some("revision"),
            Self::InvalidLifecycle => Some("rules"),
            Self::ObjectTooLarge | Self::PartTooLarge | Self::SizeMismatch => Some("size"),
            Self::InvalidPartNumber => Some("part_number"),
            Self::InvalidPartOrder => Some("parts"),
            Self::WrongOffset => Some("offset"),
            _ => None,
        }
    }

    /// The table: name on the wire, code, retry.
    #[rustfmt::skip]
    fn row(self) -> (&'static str, Code, Retry) {
        use Retry::{After, Never};
        match self {
            Self::InvalidBucketName => ("INVALID_BUCKET_NAME", Code::InvalidArgument, Never),
            Self::InvalidProfile => ("INVALID_PROFILE", Code::InvalidArgument, Never),
            Self::InvalidKey => ("INVALID_KEY", Code::InvalidArgument, Never),
            Self::InvalidArgument => ("INVALID_ARGUMENT", Code::InvalidArgument, Never),
            Self::InvalidPageToken => ("INVALID_PAGE_TOKEN", Code::InvalidArgument, Never),
            Self::InvalidRevision => ("INVALID_REVISION", Code::InvalidArgument, Never),
            Self::RevisionCompacted => ("REVISION_COMPACTED", Code::OutOfRange, Never),
            Self::WatchMoved => ("WATCH_MOVED", Code::Unavailable, After(RETRY_SOON)),
            Self::SizeMismatch => ("SIZE_MISMATCH", Code::InvalidArgument, Never),
            Self::ObjectTooLarge => ("OBJECT_TOO_LARGE", Code::InvalidArgument, Never),
            Self::BucketExists => ("BUCKET_EXISTS", Code::AlreadyExists, Never),
            Self::BucketNotFound => ("BUCKET_NOT_FOUND", Code::NotFound, Never),
            Self::BucketNotEmpty => ("BUCKET_NOT_EMPTY", Code::FailedPrecondition, Never),
            Self::BucketBusy => ("BUCKET_BUSY", Code::Unavailable, After(RETRY_SOON)),
            Self::TooManyBuckets => ("TOO_MANY_BUCKETS", Code::ResourceExhausted, Never),
            Self::QuotaExceeded => ("QUOTA_EXCEEDED", Code::ResourceExhausted, Never),
            Self::InvalidLifecycle => ("INVALID_LIFECYCLE", Code::InvalidArgument, Never),
            Self::ObjectNotFound => ("OBJECT_NOT_FOUND", Code::NotFound, Never),
            Self::VersionNotFound => ("VERSION_NOT_FOUND", Code::NotFound, Never),
            Self::IsDeleteMarker => ("IS_DELETE_MARKER", Code::FailedPrecondition, Never),
            Self::VersionGateClosed => ("VERSION_GATE_CLOSED", Code::FailedPrecondition, Never),
            Self::PreconditionFailed => ("PRECONDITION_FAILED", Code::FailedPrecondition, Never),
            Self::NotModified => ("NOT_MODIFIED", Code::FailedPrecondition, Never),
            Self::RangeNotSatisfiable => ("RANGE_NOT_SATISFIABLE", Code::OutOfRange, Never),
            Self::ChunkChecksumMismatch => ("CHUNK_CHECKSUM_MISMATCH", Code::DataLoss, Never),
            Self::ObjectChecksumMismatch => ("OBJECT_CHECKSUM_MISMATCH", Code::DataLoss, Never),
            Self::DrivesFull => ("DRIVES_FULL", Code::ResourceExhausted, Never),
            Self::MetadataFull => ("METADATA_FULL", Code::ResourceExhausted, Never),
            Self::NotEnoughNodes => ("NOT_ENOUGH_NODES", Code::Unavailable, After(RETRY_LATER)),
            Self::DataUnavailable => ("DATA_UNAVAILABLE", Code::Unavailable, After(RETRY_LATER)),
            Self::ObjectChanged => ("OBJECT_CHANGED", Code::Aborted, After(RETRY_SOON)),
            Self::UploadStalled => ("UPLOAD_STALLED", Code::DeadlineExceeded, Never),
            Self::UploadTooOld => ("UPLOAD_TOO_OLD", Code::Unavailable, After(RETRY_SOON)),
            Self::UploadNotFound => ("UPLOAD_NOT_FOUND", Code::NotFound, Never),
            Self::UploadCompleted => ("UPLOAD_COMPLETED", Code::FailedPrecondition, Never),
            Self::UploadChanged => ("UPLOAD_CHANGED", Code::Aborted, After(RETRY_SOON)),
            Self::UploadKindDiffers => ("UPLOAD_KIND_DIFFERS", Code::FailedPrecondition, Never),
            Self::WriterReplaced => ("WRITER_REPLACED", Code::FailedPrecondition, Never),
            Self::WrongOffset => ("WRONG_OFFSET", Code::OutOfRange, Never),
            Self::InvalidPartNumber => ("INVALID_PART_NUMBER", Code::InvalidArgument, Never),
            Self::InvalidPartOrder => ("INVALID_PART_ORDER", Code::InvalidArgument, Never),
            Self::InvalidPart => ("INVALID_PART", Code::FailedPrecondition, Never),
            Self::PartTooSmall => ("PART_TOO_SMALL", Code::FailedPrecondition, Never),
            Self::PartTooLarge => ("PART_TOO_LARGE", Code::InvalidArgument, Never),
            Self::OutcomeUnknown => ("OUTCOME_UNKNOWN", Code::Unknown, After(RETRY_LATER)),
            Self::Overloaded => ("OVERLOADED", Code::ResourceExhausted, After(RETRY_LATER)),
            Self::MetadataUnavailable => ("METADATA_UNAVAILABLE", Code::Unavailable, After(RETRY_SOON)),
            Self::TokenMissing => ("TOKEN_MISSING", Code::Unauthenticated, Never),
            Self::TokenInvalid => ("TOKEN_INVALID", Code::Unauthenticated, Never),
            Self::TokenExpired => ("TOKEN_EXPIRED", Code::Unauthenticated, Never),
            Self::KeyUnknown => ("KEY_UNKNOWN", Code::Unauthenticated, Never),
            Self::TicketInvalid => ("TICKET_INVALID", Code::PermissionDenied, Never),
            Self::ShardNotFound => ("SHARD_NOT_FOUND", Code::NotFound, Never),
            Self::ShardCorrupt => ("SHARD_CORRUPT", Code::DataLoss, Never),
            Self::ServiceNotFound => ("SERVICE_NOT_FOUND", Code::NotFound, Never),
            Self::NodeNotFound => ("NODE_NOT_FOUND", Code::NotFound, Never),
            Self::NodeBusy => ("NODE_BUSY", Code::FailedPrecondition, Never),
            Self::JoinTokenNotFound => ("JOIN_TOKEN_NOT_FOUND", Code::NotFound, Never),
            Self::JoinTokenInvalid => ("JOIN_TOKEN_INVALID", Code::FailedPrecondition, Never),
            Self::CaStepRefused => ("CA_STEP_REFUSED", Code::FailedPrecondition, Never),
            Self::PermissionDenied => ("PERMISSION_DENIED", Code::PermissionDenied, Never),
            Self::AccessKeyNotFound => ("ACCESS_KEY_NOT_FOUND", Code::NotFound, Never),
            Self::LastAdminKey => ("LAST_ADMIN_KEY", Code::FailedPrecondition, Never),
            Self::TooManyAccessKeys => ("TOO_MANY_ACCESS_KEYS", Code::ResourceExhausted, Never),
            Self::NotAMember => ("NOT_A_MEMBER", Code::Unavailable, After(RETRY_SOON)),
            Self::ClusterDiffers => ("CLUSTER_DIFFERS", Code::FailedPrecondition, Never),
            Self::Internal => ("INTERNAL", Code::Internal, Never),
        }
    }
}

/// An error that the API can answer.
pub(crate) trait Fault: std::error::Error {
    /// Why, for programs.
    fn reason(&self) -> Reason;

    /// Numbers and names that a program may want, by name.
    fn details(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }
}

/// The details of an error, and the field of the request that is wrong: the one that the error names, else
/// the one that all errors of this reason are about.
fn metadata(fault: &impl Fault) -> HashMap<String, String> {
    let usual = fault
        .reason()
        .field()
        .map(|field| ("field", field.to_owned()));
    // Of two of one name the later one counts.
    let details = usual.into_iter().chain(fault.details());
    details
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

/// What a status would say, for an error that is only a part of an answer.
pub(crate) struct Told {
    pub(crate) code: i32,
    pub(crate) reason: &'static str,
    pub(crate) metadata: HashMap<String, String>,
}

/// The parts of the status of an error.
pub(crate) fn told(fault: &impl Fault) -> Told {
    let (reason, code, _) = fault.reason().row();
    Told {
        code: code as i32,
        reason,
        metadata: metadata(fault),
    }
}

/// The status of an error.
pub(crate) fn of(fault: &impl Fault) -> Status {
    let (reason, code, retry) = fault.reason().row();
    if code == Code::Internal {
        tracing::error!(error = %fault, "a call failed for a reason that should not occur");
    }
    let metadata = metadata(fault);
    let mut details = ErrorDetails::with_error_info(reason, DOMAIN, metadata);
    if let Retry::After(delay) = retry {
        details.set_retry_info(Some(delay));
    }
    Status::with_error_details(code, fault.to_string(), details)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("it failed")]
    struct Probe(Reason);

    impl Fault for Probe {
        fn reason(&self) -> Reason {
            self.0
        }
        fn details(&self) -> Vec<(&'static str, String)> {
            vec![("size", "7".to_owned())]
        }
    }

    #[test]
    fn every_reason_reaches_the_client_with_code_and_domain() {
        let mut names = std::collections::BTreeSet::new();
        for reason in Reason::ALL {
            let status = of(&Probe(reason));
            let (name, code, retry) = reason.row();
            assert!(names.insert(name), "{name} stands twice");
            assert_eq!(status.code(), code);
            let details = status.get_error_details();
            let info = details.error_info().expect("an ErrorInfo");
            assert_eq!((info.reason.as_str(), info.domain.as_str()), (name, DOMAIN));
            assert_eq!(info.metadata.get("size").map(String::as_str), Some("7"));
            assert_eq!(details.retry_info().is_some(), retry != Retry::Never);
        }
    }

    /// Whoever reads only the details knows which field to change, and whether to wait.
    #[test]
    fn every_error_names_its_field_or_says_when_to_try_again() {
        for reason in Reason::ALL {
            let status = of(&Probe(reason));
            let details = status.get_error_details();
            let metadata = &details.error_info().expect("an ErrorInfo").metadata;
            let name = reason.row().0;
            // These name the field by the error that it is: there is none for all of them.
            let by_error = matches!(reason, Reason::InvalidArgument);
            if status.code() == Code::InvalidArgument && !by_error {
                assert!(metadata.contains_key("field"), "{name}");
            }
            let passes = [Code::Unavailable, Code::Aborted, Code::Unknown];
            if passes.contains(&status.code()) {
                assert!(details.retry_info().is_some(), "{name}");
            }
            if let Some(retry) = details.retry_info() {
                let delay = retry.retry_delay.expect("a delay");
                assert!((RETRY_SOON..=RETRY_LATER).contains(&delay), "{name}");
            }
        }
    }

    /// Clients retry UNAVAILABLE by its code alone, and must not retry what cannot get better.
    #[test]
    fn codes_and_retries_agree() {
        for reason in Reason::ALL {
            let (name, code, retry) = reason.row();
            if code == Code::Unavailable {
                assert_ne!(retry, Retry::Never, "{name}");
            }
            let fixed = [Code::InvalidArgument, Code::NotFound, Code::Unauthenticated];
            if fixed.contains(&code) {
                assert_eq!(retry, Retry::Never, "{name}");
            }
        }
    }
}
