//! Objects and their versions, without the bytes: look at, delete, list.

mod annotate;
mod batch;
mod conditions;
mod list;
mod mutate;
mod versions;

use marram_meta::{
    Body, BucketRecord, HeadAnswer, ObjectAnswer, ObjectCommand, ObjectOutcome, ObjectQuery,
    Precondition, Refusal, VERSIONING_SINCE, VersionCommand, Versioning,
};
use marram_proto::v1;
use marram_types::{BucketName, Generation, GroupId, ObjectKey, RequestId};

use crate::convert;
use crate::core::{BucketError, Core, GateClosed};
use crate::groups::GroupError;
use crate::status::{Fault, Reason};
use crate::validate::{self, InvalidField};

pub(crate) use annotate::{delete_tags, describe, set_tags, tags};
pub(crate) use batch::delete_all;
pub(crate) use conditions::{Conditions, Unmet};
pub(crate) use list::{ListError, list};
pub(crate) use mutate::mutate;
pub(crate) use versions::{list_versions, lookup_version, lookup_version_to_read};

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
    #[error(
        "object {key:?} in bucket {bucket} is deleted: generation {generation} is its delete marker"
    )]
    Deleted {
        bucket: BucketName,
        key: ObjectKey,
        generation: Generation,
    },
    #[error("object {key:?} in bucket {bucket} has no version of generation {generation}")]
    NoVersion {
        bucket: BucketName,
        key: ObjectKey,
        generation: Generation,
    },
    #[error("generation {generation} of {key:?} in bucket {bucket} is a delete marker")]
    IsMarker {
        bucket: BucketName,
        key: ObjectKey,
        generation: Generation,
    },
    #[error(transparent)]
    Unmet(#[from] Unmet),
}

impl Fault for LookupError {
    fn reason(&self) -> Reason {
        match self {
            Self::Invalid(error) => error.reason(),
            Self::Bucket(error) => error.reason(),
            Self::Group(error) => error.reason(),
            Self::NotFound { .. } | Self::Deleted { .. } => Reason::ObjectNotFound,
            Self::NoVersion { .. } => Reason::VersionNotFound,
            Self::IsMarker { .. } => Reason::IsDeleteMarker,
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
            Self::Deleted {
                bucket,
                key,
                generation,
            }
            | Self::IsMarker {
                bucket,
                key,
                generation,
            } => vec![
                ("bucket", bucket.to_string()),
                ("key", key.to_string()),
                ("delete_marker", "true".to_owned()),
                ("generation", generation.to_string()),
            ],
            Self::NoVersion {
                bucket,
                key,
                generation,
            } => vec![
                ("bucket", bucket.to_string()),
                ("key", key.to_string()),
                ("generation", generation.to_string()),
            ],
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

/// Where something was looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) group: GroupId,
    /// The group's applied index then.
    pub(crate) index: u64,
}

/// The current version of an object, with its bytes where they are inline. Linearizable.
pub(crate) async fn lookup(core: &Core, name: &ObjectName) -> Result<HeadAnswer, LookupError> {
    Ok(lookup_to_read(core, name).await?.0)
}

/// The same, and as of when, for a read of its bytes (rules.md 28).
pub(crate) async fn lookup_to_read(
    core: &Core,
    name: &ObjectName,
) -> Result<(HeadAnswer, Seen), LookupError> {
    let bucket = core.bucket(&name.bucket).await?;
    let group = core.group_of(&bucket, &name.key)?;
    let query = ObjectQuery::Head {
        bucket: bucket.bucket,
        key: name.key.clone(),
    };
    let (answer, index) = core.ask_when(group, &query).await?;
    match answer {
        ObjectAnswer::Head(Some(head)) => Ok((placed(head), Seen { group, index })),
        ObjectAnswer::Head(None) if bucket.versioning != Versioning::Off => {
            // Whether it is deleted, or never was, stands beside the current versions.
            lookup_version_to_read(core, name, None).await
        }
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

/// Says what an object, or a version of it, is.
pub(crate) async fn head(
    core: &Core,
    request: v1::HeadObjectRequest,
) -> Result<v1::ObjectInfo, LookupError> {
    let name = ObjectName::new(request.bucket, request.key)?;
    let conditions = Conditions::new(request.conditions)?;
    let found = match request.generation {
        None => lookup(core, &name).await?,
        asked => lookup_version(core, &name, asked.map(Generation)).await?,
    };
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
    #[error(transparent)]
    Gate(#[from] GateClosed),
}

impl Fault for DeleteError {
    fn reason(&self) -> Reason {
        match self {
            Self::Invalid(error) => error.reason(),
            Self::Bucket(error) => error.reason(),
            Self::Group(error) => error.reason(),
            Self::Refused(error) => error.reason(),
            Self::Denied => Reason::PermissionDenied,
            Self::Gate(closed) => closed.reason(),
        }
    }

    fn details(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::Invalid(error) => error.details(),
            Self::Bucket(error) => error.details(),
            Self::Group(error) => error.details(),
            Self::Refused(error) => error.details(),
            Self::Gate(closed) => closed.details(),
            Self::Denied => Vec::new(),
        }
    }
}

/// What came of a deletion.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Deletion {
    /// There was an object, or the version or marker that was named.
    pub(crate) existed: bool,
    /// A marker was written, or the one that was named was removed.
    pub(crate) delete_marker: bool,
    /// Of the marker, of the version that was named, or of the deletion; 0 where nothing was there.
    pub(crate) generation: u64,
}

/// Deletes an object, or a version of it for good.
pub(crate) async fn delete(
    core: &Core,
    request: v1::DeleteObjectRequest,
) -> Result<Deletion, DeleteError> {
    let name = ObjectName::new(request.bucket, request.key)?;
    let precondition = validate::precondition(request.preconditions)?;
    let id = validate::request_id(request.request_id.as_ref())?;
    let bucket = core.bucket(&name.bucket).await?;
    let version = request.generation.map(Generation);
    delete_one(core, &bucket, (name.key, version), precondition, id).await
}

/// Deletes an object of a bucket, or a version of it for good.
async fn delete_one(
    core: &Core,
    bucket: &BucketRecord,
    (key, version): (ObjectKey, Option<Generation>),
    precondition: Precondition,
    id: RequestId,
) -> Result<Deletion, DeleteError> {
    let group: GroupId = core.group_of(bucket, &key)?;
    let command = match version {
        None => ObjectCommand::Delete {
            bucket: bucket.bucket,
            key,
            precondition,
        },
        // A release without versioning in the cluster could not apply it, and there is nothing that
        // only it could remove.
        Some(generation) => {
            core.pass_gate(VERSIONING_SINCE)?;
            ObjectCommand::Version(VersionCommand::Delete {
                bucket: bucket.bucket,
                key,
                generation,
                precondition,
            })
        }
    };
    match mutate(core, group, id, &command).await? {
        ObjectOutcome::Deleted {
            existed,
            generation,
        } => Ok(Deletion {
            existed,
            // What was not there has no deletion: no event tells of one.
            generation: if existed { generation.0 } else { 0 },
            ..Deletion::default()
        }),
        ObjectOutcome::Marked {
            generation,
            existed,
        } => Ok(Deletion {
            existed,
            delete_marker: true,
            generation: generation.0,
        }),
        ObjectOutcome::VersionDeleted { existed, marker } => Ok(Deletion {
            existed,
            delete_marker: marker,
            generation: version.filter(|_| existed).map_or(0, |version| version.0),
        }),
        ObjectOutcome::Refused(refusal) => Err(DeleteError::Refused(refusal)),
        _ => Err(GroupError::Kind(group).into()),
    }
}
