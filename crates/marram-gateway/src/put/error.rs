//! Why a put failed.

use marram_meta::Refusal;
use marram_object::{Unreadable, WriteFailure};
use marram_types::{BucketName, Profile, RequestId};

use crate::core::{BucketError, Busy, GateClosed};
use crate::groups::GroupError;
use crate::objects::LookupError;
use crate::put::upload::UploadError;
use crate::status::{Fault, Reason};
use crate::validate::InvalidField;

/// The bucket does not allow the profile that a write asks for.
#[derive(Debug, thiserror::Error)]
#[error(
    "profile: bucket {bucket} does not allow writes to ask for {profile}: leave it out, or allow it with `marram admin bucket allow-profile m://{bucket} {profile}`"
)]
pub(crate) struct NotAllowed {
    pub(crate) bucket: BucketName,
    pub(crate) profile: Profile,
}

impl Fault for NotAllowed {
    fn reason(&self) -> Reason {
        Reason::InvalidProfile
    }

    fn details(&self) -> Vec<(&'static str, String)> {
        vec![
            ("bucket", self.bucket.to_string()),
            ("profile", self.profile.to_string()),
        ]
    }
}

/// Why a put failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PutError {
    #[error(transparent)]
    Invalid(#[from] InvalidField),
    #[error(transparent)]
    Bucket(#[from] BucketError),
    #[error(transparent)]
    Upload(#[from] UploadError),
    #[error(transparent)]
    Group(#[from] GroupError),
    #[error("{0}")]
    Refused(Refusal),
    #[error(transparent)]
    Profile(#[from] NotAllowed),
    #[error("too few drives have room: {living} of a placement group, {need} are needed")]
    DrivesFull { living: usize, need: usize },
    #[error("too few nodes answer: {living} drives of a placement group, {need} are needed")]
    NotEnoughNodes { living: usize, need: usize },
    #[error("the cluster has no placement for objects of {width} shards yet")]
    NoPool { width: usize },
    #[error(transparent)]
    Writing(#[from] WriteFailure),
    #[error("the object was written, and what came of it cannot be read back: {error}")]
    ReadBack {
        /// Under which the same call is not done twice.
        request: RequestId,
        error: LookupError,
    },
    #[error(transparent)]
    Gate(#[from] GateClosed),
    #[error(transparent)]
    Busy(#[from] Busy),
    #[error("bytes to be encoded anew cannot be read now: {0}")]
    Source(#[from] Unreadable),
    #[error("the server is stopping")]
    Aborted,
}

impl Fault for PutError {
    fn reason(&self) -> Reason {
        match self {
            Self::Invalid(error) => error.reason(),
            Self::Bucket(error) => error.reason(),
            Self::Upload(error) => error.reason(),
            Self::Group(error) => error.reason(),
            Self::Refused(error) => error.reason(),
            Self::Profile(error) => error.reason(),
            Self::DrivesFull { .. } => Reason::DrivesFull,
            Self::NotEnoughNodes { .. } | Self::Writing(_) => Reason::NotEnoughNodes,
            Self::NoPool { .. } | Self::Aborted => Reason::MetadataUnavailable,
            Self::Source(_) => Reason::DataUnavailable,
            Self::ReadBack { .. } => Reason::OutcomeUnknown,
            Self::Gate(closed) => closed.reason(),
            Self::Busy(_) => Reason::Overloaded,
        }
    }

    fn details(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::Invalid(error) => error.details(),
            Self::Bucket(error) => error.details(),
            Self::Upload(error) => error.details(),
            Self::Group(error) => error.details(),
            Self::Refused(error) => error.details(),
            Self::Profile(error) => error.details(),
            Self::Gate(closed) => closed.details(),
            Self::DrivesFull { living, need } | Self::NotEnoughNodes { living, need } => {
                vec![("living", living.to_string()), ("need", need.to_string())]
            }
            Self::NoPool { width } => vec![("width", width.to_string())],
            Self::ReadBack { request, .. } => vec![("request_id", request.to_string())],
            Self::Writing(_) | Self::Busy(_) | Self::Source(_) | Self::Aborted => Vec::new(),
        }
    }
}
