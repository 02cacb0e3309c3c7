//! What a refusal of the state machine means to a client.

use marram_meta::{
    DriveRefusal, IdentityRefusal, KeyRefusal, QuotaRefusal, Refusal, UploadRefusal, VersionRefusal,
};

use crate::status::{Fault, Reason};

impl Fault for Refusal {
    fn reason(&self) -> Reason {
        match self {
            Self::PreconditionFailed { .. } => Reason::PreconditionFailed,
            Self::TooManyRequests => Reason::Overloaded,
            Self::BucketUnknown { .. } | Self::BucketSealed { .. } => Reason::BucketBusy,
            Self::BucketDeleted { .. } | Self::NoSuchBucket => Reason::BucketNotFound,
            Self::BucketExists { .. } => Reason::BucketExists,
            Self::TooManyBuckets => Reason::TooManyBuckets,
            Self::BelowFloor { .. } | Self::DataDiscarded | Self::DriveGone { .. } => {
                Reason::UploadTooOld
            }
            Self::RequestIdReused | Self::VersioningStays | Self::LifecycleMalformed => {
                Reason::InvalidArgument
            }
            Self::ProfileTooWide { .. }
            | Self::ProfileNeedsNodes { .. }
            | Self::ProfileNotAllowed { .. }
            | Self::TooManyProfiles
            | Self::TooFewVoters { .. } => Reason::InvalidProfile,
            Self::LeavesTooFew { .. } => Reason::NodeBusy,
            Self::NodeUnknown { .. } | Self::NodeTombstoned { .. } => Reason::NodeNotFound,
            Self::DutyChange { .. }
            | Self::NodeServes { .. }
            | Self::NodeInLayout { .. }
            | Self::NodeInMove { .. }
            | Self::NodeTooOld { .. }
            | Self::VersionNotHigher { .. }
            | Self::DutyChanged { .. }
            | Self::LayoutMoved { .. }
            | Self::NotBuried { .. }
            | Self::NodeVotes { .. }
            | Self::NodeExcused { .. } => Reason::NodeBusy,
            Self::Drive(DriveRefusal::Unknown { .. }) => Reason::NodeNotFound,
            Self::Drive(_) => Reason::NodeBusy,
            Self::Identity(refusal) => of_identity(refusal),
            Self::Key(refusal) => of_key(refusal),
            Self::Upload(refusal) => of_upload(*refusal),
            Self::Version(refusal) => of_version(*refusal),
            Self::Quota(QuotaRefusal::Exceeded { .. }) => Reason::QuotaExceeded,
            Self::Quota(QuotaRefusal::OverLease(_) | QuotaRefusal::NotKnown) => Reason::BucketBusy,
            // Nothing was changed, and the same call will do later.
            Self::DeadlinePassed
            | Self::PoolUnknown { .. }
            | Self::PgUnknown { .. }
            | Self::NotBootstrapped
            | Self::LayoutHeld { .. }
            | Self::NoProfile => Reason::MetadataUnavailable,
            // The gateway sends none of the commands that are refused so.
            Self::Malformed(_)
            | Self::AlreadyBootstrapped { .. }
            | Self::Stale { .. }
            | Self::LayoutGap { .. }
            | Self::ReplicaExists { .. }
            | Self::GroupsExist
            | Self::PoolExists { .. }
            | Self::StaleEpoch { .. } => Reason::Internal,
        }
    }

    fn details(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::PreconditionFailed { current } => {
                vec![("current_generation", current.0.to_string())]
            }
            Self::Upload(UploadRefusal::Completed { generation }) => {
                vec![("generation", generation.0.to_string())]
            }
            Self::Upload(UploadRefusal::WrongOffset { persisted }) => {
                vec![("persisted_size", persisted.to_string())]
            }
            Self::Upload(UploadRefusal::StaleWriter { epoch }) => {
                vec![("epoch", epoch.to_string())]
            }
            Self::Upload(UploadRefusal::IsStream | UploadRefusal::NotStream) => {
                vec![("field", "upload_id".to_owned())]
            }
            Self::Version(refusal) => version_details(*refusal),
            Self::Quota(QuotaRefusal::Exceeded {
                what,
                limit,
                used,
                asked,
            }) => vec![
                ("what", what.to_string()),
                ("quota", limit.to_string()),
                ("used", used.to_string()),
                ("asked", asked.to_string()),
            ],
            Self::ProfileNotAllowed { profile } => vec![("profile", profile.to_string())],
            Self::ProfileTooWide { width, drives } => {
                vec![("width", width.to_string()), ("drives", drives.to_string())]
            }
            Self::ProfileNeedsNodes { width, nodes } => {
                vec![("width", width.to_string()), ("nodes", nodes.to_string())]
            }
            Self::LeavesTooFew {
                left,
                profile,
                bucket,
            } => vec![
                ("left", left.to_string()),
                ("profile", profile.to_string()),
                ("bucket", bucket.to_string()),
            ],
            Self::TooFewVoters { m, voters, needed } => vec![
                ("m", m.to_string()),
                ("voters", voters.to_string()),
                ("needed", needed.to_string()),
            ],
            Self::VersioningStays => vec![("field", "versioning".to_owned())],
            Self::RequestIdReused => vec![("field", "request_id".to_owned())],
            Self::Key(KeyRefusal::TooManyGrants) => vec![("field", "grants".to_owned())],
            _ => Vec::new(),
        }
    }
}

fn of_upload(refusal: UploadRefusal) -> Reason {
    match refusal {
        UploadRefusal::Unknown => Reason::UploadNotFound,
        UploadRefusal::Completed { .. } => Reason::UploadCompleted,
        UploadRefusal::Changed => Reason::UploadChanged,
        UploadRefusal::TooManyExtents => Reason::InvalidPart,
        UploadRefusal::IsStream | UploadRefusal::NotStream => Reason::UploadKindDiffers,
        UploadRefusal::StaleWriter { .. } => Reason::WriterReplaced,
        UploadRefusal::WrongOffset { .. } => Reason::WrongOffset,
    }
}

fn of_version(refusal: VersionRefusal) -> Reason {
    match refusal {
        VersionRefusal::Absent | VersionRefusal::Deleted { .. } => Reason::ObjectNotFound,
        VersionRefusal::Unknown { .. } => Reason::VersionNotFound,
        VersionRefusal::Marker { .. } => Reason::IsDeleteMarker,
    }
}

fn version_details(refusal: VersionRefusal) -> Vec<(&'static str, String)> {
    let marker = ("delete_marker", "true".to_owned());
    match refusal {
        VersionRefusal::Absent => Vec::new(),
        VersionRefusal::Unknown { generation } => vec![("generation", generation.to_string())],
        VersionRefusal::Deleted { generation } | VersionRefusal::Marker { generation } => {
            vec![marker, ("generation", generation.to_string())]
        }
    }
}

fn of_key(refusal: &KeyRefusal) -> Reason {
    match refusal {
        KeyRefusal::Unknown => Reason::AccessKeyNotFound,
        KeyRefusal::LastAdmin => Reason::LastAdminKey,
        KeyRefusal::TooMany | KeyRefusal::TooManySecrets => Reason::TooManyAccessKeys,
        KeyRefusal::TooManyGrants | KeyRefusal::Malformed => Reason::InvalidArgument,
        // Ids are drawn at random.
        KeyRefusal::Exists => Reason::Internal,
    }
}

fn of_identity(refusal: &IdentityRefusal) -> Reason {
    use IdentityRefusal as Of;
    match refusal {
        Of::NoSuchToken => Reason::JoinTokenNotFound,
        Of::TooManyTokens => Reason::Overloaded,
        Of::TokenMalformed => Reason::InvalidArgument,
        Of::NoSuchKey | Of::NoSuchGateway { .. } => Reason::NodeNotFound,
        Of::AuthorityExists
        | Of::RotationUnderWay
        | Of::NoSuchAuthority
        | Of::AuthorityIssues
        | Of::NotReported { .. } => Reason::CaStepRefused,
        // Told to newcomers over the mesh, not to clients.
        Of::TokenWrong
        | Of::TokenUsed { .. }
        | Of::TokenExpired { .. }
        | Of::TokenRevoked
        | Of::TokenRole { .. }
        | Of::TokenBound { .. }
        | Of::TokenExists
        | Of::NameTaken { .. }
        | Of::AddressTaken { .. }
        | Of::NodeNotLost { .. }
        | Of::DriveNotLost { .. }
        | Of::OtherNode { .. } => Reason::JoinTokenInvalid,
    }
}
