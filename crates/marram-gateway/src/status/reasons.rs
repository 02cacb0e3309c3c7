//! What each reason means to a caller: the part of the table that documents show.

use std::time::Duration;

use tonic::Code;

use super::{Reason, Retry};

/// A reason that a call may fail for, as `docs/api.md` shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReasonInfo {
    /// Its name in `google.rpc.ErrorInfo`.
    pub name: &'static str,
    /// The code of the status that carries it.
    pub code: Code,
    /// After what time another try can help; absent where none does.
    pub retry_after: Option<Duration>,
    /// What it means, and what to do, in a sentence or two.
    pub meaning: &'static str,
}

/// Every reason of the API, in the order of the table.
pub fn reasons() -> impl Iterator<Item = ReasonInfo> {
    Reason::ALL.into_iter().map(|reason| {
        let (name, code, retry) = reason.row();
        ReasonInfo {
            name,
            code,
            retry_after: match retry {
                Retry::Never => None,
                Retry::After(delay) => Some(delay),
            },
            meaning: reason.meaning(),
        }
    })
}

impl Reason {
    #[rustfmt::skip]
    fn meaning(self) -> &'static str {
        match self {
            Self::InvalidBucketName => "The bucket's name is not one. The message says which rule it breaks.",
            Self::InvalidProfile => "The erasure profile is not written k+m, the cluster has too few nodes or drives for it, the bucket does not allow a write to ask for it, or it allows as many as it may.",
            Self::InvalidKey => "The key is empty, too long, or not allowed. The message says what is wrong.",
            Self::InvalidArgument => "A field is wrong; where it has a name, `field` of the metadata tells it.",
            Self::InvalidPageToken => "The page token was not given out by this cluster for this listing. Begin again without one.",
            Self::InvalidRevision => "The revision was not given out by this cluster. Pass one of a list or a watch, unchanged, or none.",
            Self::RevisionCompacted => "What happened behind the revision is not known any more. List again, and watch from the revision of the list; `revision` of the metadata is where the cluster is now.",
            Self::WatchMoved => "The server stops. Watch at another one, from the last revision.",
            Self::SizeMismatch => "More or fewer bytes came than the header declared. Nothing was written.",
            Self::ObjectTooLarge => "The object is larger than an object may be.",
            Self::BucketExists => "There is a bucket of that name.",
            Self::BucketNotFound => "There is no bucket of that name.",
            Self::BucketNotEmpty => "The bucket holds something and cannot be removed.",
            Self::BucketBusy => "The bucket is being made, changed or removed at this moment.",
            Self::TooManyBuckets => "The cluster has as many buckets as it can have.",
            Self::QuotaExceeded => "The bucket holds as much as its quota allows. `quota`, `used` and `asked` of the metadata say how much, `what` says whether bytes or objects. Delete something, or have the quota raised.",
            Self::InvalidLifecycle => "A rule is wrong, or contradicts itself; `rule` and `field` of the metadata say which and where.",
            Self::ObjectNotFound => "There is no object under that key. Where `delete_marker` of the metadata is true it was deleted and versions of it may be there; `generation` names the marker.",
            Self::VersionNotFound => "The key has no version of that generation, or not any more.",
            Self::IsDeleteMarker => "That generation is a delete marker, which has no bytes. Delete it to have the object back.",
            Self::VersionGateClosed => "The cluster does not use this yet: a server runs an older release, or its version was not raised since (`marram admin finalize-version`).",
            Self::PreconditionFailed => "A condition of the call does not hold; `current_generation` of the metadata tells what is there. Nothing was changed.",
            Self::NotModified => "The caller has what is there already. Not a failure for a cache.",
            Self::RangeNotSatisfiable => "The range begins beyond the end of the object; `size` of the metadata tells where that is.",
            Self::ChunkChecksumMismatch => "A chunk's bytes are not those of its CRC32C: they were damaged on the way. Nothing was written.",
            Self::ObjectChecksumMismatch => "The bytes are not those of a checksum of the whole object. In a write, nothing was written; in a read, the last bytes were not sent.",
            Self::DrivesFull => "Too few drives have room. Delete something or add drives.",
            Self::MetadataFull => "A drive for metadata has no room. Make room on it.",
            Self::NotEnoughNodes => "Too few nodes answer to write with the tolerance that the bucket promises.",
            Self::DataUnavailable => "Too few shards can be read at the moment: nodes or drives are away.",
            Self::ObjectChanged => "The object was replaced or removed while it was read. Begin again.",
            Self::UploadStalled => "No bytes came for too long. Nothing was written.",
            Self::UploadTooOld => "The write began too long ago to be committed, or its drives were removed. Nothing was written; send it again.",
            Self::UploadNotFound => "There is no such upload of that key: it was never begun, or was aborted, or its bucket was removed.",
            Self::UploadCompleted => "The upload became an object already, by another call; `generation` of the metadata tells which.",
            Self::UploadChanged => "Parts came in while the upload was completed, several times. Complete it when all parts are there.",
            Self::UploadKindDiffers => "The upload is a write in one stream and the call is about parts, or the other way round.",
            Self::WriterReplaced => "Another caller goes on with this write: what this one sends is not taken any more. Nothing that was recorded is lost.",
            Self::WrongOffset => "The write does not go on there; `persisted_size` of the metadata tells where. Begin again from that byte.",
            Self::InvalidPartNumber => "Parts are numbered 1 to 10,000.",
            Self::InvalidPartOrder => "The parts to complete with are not in ascending order, or there is none.",
            Self::InvalidPart => "A part to complete with was never uploaded, or is not the one that the caller means; `part` of the metadata tells which. The upload is as it was.",
            Self::PartTooSmall => "A part that is not the last one has less than 5 MiB; `part` of the metadata tells which. Upload it again.",
            Self::PartTooLarge => "The part has more than 5 GiB. Upload smaller parts.",
            Self::OutcomeUnknown => "The change may or may not have happened, and asking for it failed too. Make the same call again with the request id that `request_id` of the metadata tells, as 32 hexadecimal digits (`client`), a hyphen and a number (`sequence`): it is answered with what came of the first one, and nothing is done twice. Within five minutes; where there is no `request_id`, look before you repeat the call.",
            Self::Overloaded => "A queue is full. Nothing was done.",
            Self::MetadataUnavailable => "The metadata cannot be asked at the moment, often because a leader is being elected.",
            Self::TokenMissing => "The call has no `authorization: Bearer` token.",
            Self::TokenInvalid => "The token is not one, or is not signed with the key's secret.",
            Self::TokenExpired => "The token's time is over. Sign another one.",
            Self::KeyUnknown => "There is no such access key, or it is switched off or at its end.",
            Self::TicketInvalid => "The ticket of a read plan is over, or was given to another access key. Ask for a new plan.",
            Self::ShardNotFound => "This node does not have the shard, or not any more. Read another one, or ask for a new plan.",
            Self::ShardCorrupt => "The shard is damaged on its drive. Read another one of the plan.",
            Self::ServiceNotFound => "Health was asked of a service that is not here. The empty name asks for the server as a whole.",
            Self::NodeNotFound => "There is no such node, zone or drive.",
            Self::NodeBusy => "The cluster is not in a state for this change. The message says what stands in its way.",
            Self::JoinTokenNotFound => "There is no such join token.",
            Self::JoinTokenInvalid => "The join token does not admit: it was used, taken back, or is at its end.",
            Self::CaStepRefused => "This step of the replacement of the CA may not come now. The message says who has yet to do the one before.",
            Self::PermissionDenied => "No grant of the access key permits this; `permission` of the metadata tells which one it takes.",
            Self::AccessKeyNotFound => "There is no such access key.",
            Self::LastAdminKey => "Nobody could operate the cluster any more.",
            Self::TooManyAccessKeys => "The cluster has as many access keys as it can have, or the key has as many replaced secrets that still hold.",
            Self::NotAMember => "This server is no member of a cluster yet: it waits for a join token, or asks to join. Ask another one.",
            Self::ClusterDiffers => "The server belongs, or its drives do, to another cluster than the one to be founded; or a member of one answers it. Nothing was changed.",
            Self::Internal => "Something that should not occur. The server's log says more; report it.",
        }
    }
}
