//! Uploads, of parts or of one stream: begun, given bytes, listed, completed, aborted.

mod complete;
mod list;
mod part;
pub(crate) mod stream;
mod whole;

use std::collections::HashMap;

use marram_meta::{
    BucketRecord, OWN_PROFILES_SINCE, ObjectAnswer, ObjectCommand, ObjectOutcome, ObjectQuery,
    Refusal, TAGS_SINCE, UploadCommand, UploadFound, UploadName, UploadQuery,
};
use marram_proto::v1;
use marram_types::{BucketName, GroupId, ObjectKey, UploadId};

use crate::convert;
use crate::core::{BucketError, Core, GateClosed};
use crate::groups::GroupError;
use crate::objects::mutate;
use crate::put::{NotAllowed, own_profile};
use crate::status::{Fault, Reason};
use crate::token::TokenError;
use crate::validate::{self, InvalidField};

pub(crate) use complete::complete;
pub(crate) use list::{parts, uploads};
pub(crate) use part::run as upload_part;

/// Why an upload was not begun, listed or aborted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UploadError {
    #[error(transparent)]
    Invalid(#[from] InvalidField),
    #[error(transparent)]
    Bucket(#[from] BucketError),
    #[error(transparent)]
    Group(#[from] GroupError),
    #[error(transparent)]
    Token(#[from] TokenError),
    #[error("{0}")]
    Refused(Refusal),
    #[error(transparent)]
    Profile(#[from] NotAllowed),
    #[error(transparent)]
    Gate(#[from] GateClosed),
}

impl Fault for UploadError {
    fn reason(&self) -> Reason {
        match self {
            Self::Invalid(error) => error.reason(),
            Self::Bucket(error) => error.reason(),
            Self::Group(error) => error.reason(),
            Self::Token(_) => Reason::InvalidPageToken,
            Self::Refused(error) => error.reason(),
            Self::Profile(error) => error.reason(),
            Self::Gate(closed) => closed.reason(),
        }
    }

    fn details(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::Invalid(error) => error.details(),
            Self::Bucket(error) => error.details(),
            Self::Group(error) => error.details(),
            Self::Token(_) => Vec::new(),
            Self::Refused(error) => error.details(),
            Self::Profile(error) => error.details(),
            Self::Gate(closed) => closed.details(),
        }
    }
}

/// An upload as a caller names it.
struct Named {
    bucket: BucketName,
    key: ObjectKey,
    upload: UploadId,
}

impl Named {
    fn new(bucket: String, key: String, upload: &str) -> Result<Self, InvalidField> {
        Ok(Self {
            bucket: BucketName::new(bucket)?,
            key: ObjectKey::new(key)?,
            upload: upload.parse().map_err(|_| InvalidField::Wrong {
                field: "upload_id",
                rule: "it has 32 hexadecimal digits, as CreateUpload answered",
            })?,
        })
    }

    /// The upload, and the group that has it.
    async fn place(self, core: &Core) -> Result<Placed, BucketError> {
        let bucket = core.bucket(&self.bucket).await?;
        let group = core.group_of(&bucket, &self.key)?;
        Ok(Placed {
            group,
            name: UploadName {
                bucket: bucket.bucket,
                key: self.key,
                upload: self.upload,
            },
            bucket,
        })
    }
}

/// An upload, and where it is.
struct Placed {
    group: GroupId,
    bucket: BucketRecord,
    name: UploadName,
}

/// The upload with some of its parts, or what became of it. Linearizable.
async fn look(
    core: &Core,
    group: GroupId,
    name: &UploadName,
    (after, limit): (u16, u32),
) -> Result<UploadFound, GroupError> {
    let query = ObjectQuery::Upload(UploadQuery {
        name: name.clone(),
        after,
        limit,
    });
    match core.ask(group, &query, true).await? {
        ObjectAnswer::Upload(found) => Ok(found),
        _ => Err(GroupError::Kind(group)),
    }
}

/// What a new upload will be.
struct NewUpload {
    bucket: String,
    key: String,
    content_type: String,
    metadata: HashMap<String, String>,
    tags: HashMap<String, String>,
    profile: String,
    request_id: Option<v1::RequestId>,
}

/// Begins an upload.
pub(crate) async fn create(
    core: &Core,
    request: v1::CreateUploadRequest,
) -> Result<v1::CreateUploadResponse, UploadError> {
    let new = NewUpload {
        bucket: request.bucket,
        key: request.key,
        content_type: request.content_type,
        metadata: request.metadata,
        tags: request.tags,
        profile: request.profile,
        request_id: request.request_id,
    };
    let (upload, created_ms) = begin(core, new, false).await?;
    Ok(v1::CreateUploadResponse {
        upload_id: upload.to_string(),
        created_ms: convert::ms(created_ms),
    })
}

/// Begins an upload, of parts or of one stream: its id, and when.
async fn begin(core: &Core, new: NewUpload, stream: bool) -> Result<(UploadId, u64), UploadError> {
    let bucket = BucketName::new(new.bucket).map_err(InvalidField::from)?;
    let key = ObjectKey::new(new.key).map_err(InvalidField::from)?;
    let content_type = validate::content_type(new.content_type)?;
    let metadata = validate::metadata(new.metadata)?;
    let tags = validate::tags(new.tags)?;
    let id = validate::request_id(new.request_id.as_ref())?;
    if !tags.is_empty() {
        core.pass_gate(TAGS_SINCE)?;
    }
    let asked = validate::profile(&new.profile)?;
    if asked.is_some() {
        core.pass_gate(OWN_PROFILES_SINCE)?;
    }
    let mut bucket = core.bucket(&bucket).await?;
    let group = core.group_of(&bucket, &key)?;
    own_profile::<UploadError>(core, &mut bucket, (asked, group, id)).await?;
    let command = ObjectCommand::Upload(UploadCommand::Create {
        name: UploadName {
            bucket: bucket.bucket,
            key,
            upload: UploadId(rand::random()),
        },
        content_type,
        metadata,
        tags,
        stream,
        own: asked,
    });
    match mutate(core, group, id, &command).await? {
        ObjectOutcome::UploadCreated { upload, created_ms } => Ok((upload, created_ms)),
        ObjectOutcome::Refused(refusal) => Err(UploadError::Refused(refusal)),
        _ => Err(GroupError::Kind(group).into()),
    }
}

/// Ends an upload.
pub(crate) async fn abort(core: &Core, request: v1::AbortUploadRequest) -> Result<(), UploadError> {
    let named = Named::new(request.bucket, request.key, &request.upload_id)?;
    let id = validate::request_id(request.request_id.as_ref())?;
    let placed = named.place(core).await?;
    let command = ObjectCommand::Upload(UploadCommand::Abort(placed.name));
    match mutate(core, placed.group, id, &command).await? {
        ObjectOutcome::Done => Ok(()),
        ObjectOutcome::Refused(refusal) => Err(UploadError::Refused(refusal)),
        _ => Err(GroupError::Kind(placed.group).into()),
    }
}
