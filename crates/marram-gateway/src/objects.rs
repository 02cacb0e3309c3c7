//! Objects without their bytes: look at, delete, list.

mod batch;
mod conditions;
mod list;
mod mutate;

use marram_meta::{
    Body, BucketRecord, HeadAnswer, ObjectAnswer, ObjectCommand, ObjectOutcome, ObjectQuery,
    Precondition, Refusal,
};
use marram_proto::v1;
use marram_types::{BucketName, GroupId, ObjectKey, RequestId};

use crate::convert;
use crate::core::{BucketError, Core};
use crate::groups::GroupError;
use crate::status::{Fault, Reason};
use crate::validate::{self, InvalidField};

pub(crate) use batch::delete_all;
pub(crate) use conditions::{Conditions, Unmet};
pub(crate) use list::{ListError, list};
pub(crate) use mutate::mutate;

/// Why an object was not found or looked at.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LookupError {
    #[error(transparent)]
    Invalid(#[from] InvalidField),
    #[error(transparent)]
    Bucket(#[from] BucketError),
    #[error(transparent)]
    Group(#[from] GroupError),
    #[error("there is no object {key:?} in bucket {bucket}")]
    NotFound { bucket: BucketName, key: ObjectKey },
    #[error(transparent)]
    Unmet(#[from] Unmet),
}

impl Fault for LookupError {
    fn reason(&self) -> Reason {
        match self {
            Self::Invalid(error) => error.reason(),
            Self::Bucket(error) => error.reason(),
            Self::Group(error) => error.reason(),
            Self::NotFound { .. } => Reason::ObjectNotFound,
            Self::Unmet(unmet) => unmet.reason(),
        }
    }

    fn details(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::Invalid(error) => error.details(),
            Self::Bucket(error) => error.details(),
            Self::Group(error) => error.details(),
            Self::NotFound { bucket, key } => {
                vec![("bucket", bucket.to_string()), ("key", key.to_string())]
            }
            Self::Unmet(unmet) => unmet.details(),
        }
    }
}

/// The name of an object, checked.
#[derive(Debug, Clone)]
pub(crate) struct ObjectName {
    pub(crate) bucket: BucketName,
    pub(crate) key: ObjectKey,
}

impl ObjectName {
    pub(crate) fn new(bucket: String, key: String) -> Result<Self, InvalidField> {
        Ok(Self {
            bucket: BucketName::new(bucket)?,
            key: ObjectKey::new(key)?,
        })
    }
}

/// The current version of an object, with its bytes where they are inline. Linearizable.
pub(crate) async fn lookup(core: &Core, name: &ObjectName) -> Result<HeadAnswer, LookupError> {
    let bucket = core.bucket(&name.bucket).await?;
    let group = core.group_of(&bucket, &name.key)?;
    let query = ObjectQuery::Head {
        bucket: bucket.bucket,
        key: name.key.clone(),
    };
    match core.ask(group, &query, true).await? {
        ObjectAnswer::Head(Some(head)) => Ok(placed(head)),
        ObjectAnswer::Head(None) => Err(LookupError::NotFound {
            bucket: name.bucket.clone(),
            key: name.key.clone(),
        }),
        _ => Err(GroupError::Kind(group).into()),
    }
}

/// Writes the places that the group gave for every shard into the extents, so that they are read
/// there, whatever this server knows of the layout.
pub(crate) fn placed(mut head: HeadAnswer) -> HeadAnswer {
    if let Body::Extents(extents) = &mut head.row.body {
        for (extent, places) in extents.iter_mut().zip(&head.places) {
            extent.overrides = (0..=u8::MAX).zip(places.iter().copied()).collect();
        }
    }
    head
}

/// Says what an object is.
pub(crate) async fn head(
    core: &Core,
    request: v1::HeadObjectRequest,
) -> Result<v1::ObjectInfo, LookupError> {
    let name = ObjectName::new(request.bucket, request.key)?;
    let conditions = Conditions::new(request.conditions)?;
    let found = lookup(core, &name).await?;
    conditions.check(&found.row)?;
    Ok(convert::object(name.key.as_str(), &found.row))
}

/// Why an object was not deleted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DeleteError {
    #[error(transparent)]
    Invalid(#[from] InvalidField),
    #[error(transparent)]
    Bucket(#[from] BucketError),
    #[error(transparent)]
    Group(#[from] GroupError),
    #[error("{0}")]
    Refused(Refusal),
    #[error("the access key has no grant of write on this key")]
    Denied,
}

impl Fault for DeleteError {
    fn reason(&self) -> Reason {
        match self {
            Self::Invalid(error) => error.reason(),
            Self::Bucket(error) => error.reason(),
            Self::Group(error) => error.reason(),
            Self::Refused(error) => error.reason(),
            Self::Denied => Reason::PermissionDenied,
        }
    }

    fn details(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::Invalid(error) => error.details(),
            Self::Bucket(error) => error.details(),
            Self::Group(error) => error.details(),
            Self::Refused(error) => error.details(),
            Self::Denied => Vec::new(),
        }
    }
}

/// Deletes an object; true when there was one.
pub(crate) async fn delete(
    core: &Core,
    request: v1::DeleteObjectRequest,
) -> Result<bool, DeleteError> {
    let name = ObjectName::new(request.bucket, request.key)?;
    let precondition = validate::precondition(request.preconditions)?;
    let id = validate::request_id(request.request_id.as_ref())?;
    let bucket = core.bucket(&name.bucket).await?;
    delete_one(core, &bucket, name.key, precondition, id).await
}

/// Deletes an object of a bucket; true when there was one.
async fn delete_one(
    core: &Core,
    bucket: &BucketRecord,
    key: ObjectKey,
    precondition: Precondition,
    id: RequestId,
) -> Result<bool, DeleteError> {
    let group: GroupId = core.group_of(bucket, &key)?;
    let command = ObjectCommand::Delete {
        bucket: bucket.bucket,
        key,
        precondition,
    };
    match mutate(core, group, id, &command).await? {
        ObjectOutcome::Deleted { existed, .. } => Ok(existed),
        ObjectOutcome::Refused(refusal) => Err(DeleteError::Refused(refusal)),
        _ => Err(GroupError::Kind(group).into()),
    }
}
