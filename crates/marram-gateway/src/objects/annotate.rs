//! What is said of objects beside their bytes: tags, and other metadata for objects that are there.

use marram_meta::{
    AnnotateCommand, ObjectCommand, ObjectOutcome, Precondition, Refusal, TAGS_SINCE,
};
use marram_proto::v1;
use marram_types::{Generation, GroupId, RequestId};

use super::{LookupError, ObjectName, lookup, lookup_version, mutate};
use crate::convert;
use crate::core::{BucketError, Core, GateClosed};
use crate::groups::GroupError;
use crate::status::{Fault, Reason};
use crate::validate::{self, InvalidField};

/// Why an object is described as before.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AnnotateError {
    #[error(transparent)]
    Invalid(#[from] InvalidField),
    #[error(transparent)]
    Bucket(#[from] BucketError),
    #[error(transparent)]
    Group(#[from] GroupError),
    #[error("{0}")]
    Refused(Refusal),
    #[error(transparent)]
    Gate(#[from] GateClosed),
    #[error("neither a media type nor metadata is given: nothing would be changed")]
    Nothing,
}

impl Fault for AnnotateError {
    fn reason(&self) -> Reason {
        match self {
            Self::Invalid(error) => error.reason(),
            Self::Bucket(error) => error.reason(),
            Self::Group(error) => error.reason(),
            Self::Refused(refusal) => refusal.reason(),
            Self::Gate(closed) => closed.reason(),
            Self::Nothing => Reason::InvalidArgument,
        }
    }

    fn details(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::Invalid(error) => error.details(),
            Self::Bucket(error) => error.details(),
            Self::Group(error) => error.details(),
            Self::Refused(refusal) => refusal.details(),
            Self::Gate(closed) => closed.details(),
            Self::Nothing => vec![("field", "metadata".to_owned())],
        }
    }
}

/// Tells the tags of an object, or of a version of it.
pub(crate) async fn tags(
    core: &Core,
    request: v1::GetObjectTagsRequest,
) -> Result<v1::GetObjectTagsResponse, LookupError> {
    let name = ObjectName::new(request.bucket, request.key)?;
    let found = match request.generation {
        None => lookup(core, &name).await?,
        asked => lookup_version(core, &name, asked.map(Generation)).await?,
    };
    Ok(v1::GetObjectTagsResponse {
        generation: found.row.generation.0,
        tags: found.row.tags.into_iter().collect(),
    })
}

/// Gives an object other tags; answers the generation that has them.
pub(crate) async fn set_tags(
    core: &Core,
    request: v1::SetObjectTagsRequest,
) -> Result<u64, AnnotateError> {
    let tags = validate::tags(request.tags)?;
    let target = Target::new(
        request.bucket,
        request.key,
        request.preconditions,
        request.request_id.as_ref(),
    )?;
    let generation = request.generation.map(Generation);
    let (generation, _) = target.tag(core, generation, tags).await?;
    Ok(generation.0)
}

/// Takes all tags from an object; answers the generation that has none now.
pub(crate) async fn delete_tags(
    core: &Core,
    request: v1::DeleteObjectTagsRequest,
) -> Result<u64, AnnotateError> {
    let target = Target::new(
        request.bucket,
        request.key,
        request.preconditions,
        request.request_id.as_ref(),
    )?;
    let generation = request.generation.map(Generation);
    let (generation, _) = target.tag(core, generation, Vec::new()).await?;
    Ok(generation.0)
}

/// Gives an object another media type, or other metadata.
pub(crate) async fn describe(
    core: &Core,
    request: v1::UpdateObjectMetadataRequest,
) -> Result<v1::UpdateObjectMetadataResponse, AnnotateError> {
    let content_type = request.content_type.map(validate::content_type);
    let content_type = content_type.transpose()?;
    let metadata = request.metadata.map(|m| validate::metadata(m.metadata));
    let metadata = metadata.transpose()?;
    if content_type.is_none() && metadata.is_none() {
        return Err(AnnotateError::Nothing);
    }
    let target = Target::new(
        request.bucket,
        request.key,
        request.preconditions,
        request.request_id.as_ref(),
    )?;
    let (generation, modified_ms) = target.describe(core, content_type, metadata).await?;
    Ok(v1::UpdateObjectMetadataResponse {
        generation: generation.0,
        modified_ms: convert::ms(modified_ms),
    })
}

/// What is annotated, checked.
struct Target {
    name: ObjectName,
    precondition: Precondition,
    id: RequestId,
}

impl Target {
    fn new(
        bucket: String,
        key: String,
        preconditions: Option<v1::Preconditions>,
        id: Option<&v1::RequestId>,
    ) -> Result<Self, InvalidField> {
        Ok(Self {
            name: ObjectName::new(bucket, key)?,
            precondition: validate::precondition(preconditions)?,
            id: validate::request_id(id)?,
        })
    }

    async fn tag(
        self,
        core: &Core,
        generation: Option<Generation>,
        tags: Vec<(String, String)>,
    ) -> Result<(Generation, u64), AnnotateError> {
        let bucket = core.bucket(&self.name.bucket).await?;
        let group = core.group_of(&bucket, &self.name.key)?;
        let command = AnnotateCommand::SetTags {
            bucket: bucket.bucket,
            key: self.name.key,
            generation,
            tags,
            precondition: self.precondition,
        };
        propose(core, group, self.id, command).await
    }

    async fn describe(
        self,
        core: &Core,
        content_type: Option<String>,
        metadata: Option<Vec<(String, String)>>,
    ) -> Result<(Generation, u64), AnnotateError> {
        let bucket = core.bucket(&self.name.bucket).await?;
        let group = core.group_of(&bucket, &self.name.key)?;
        let command = AnnotateCommand::Describe {
            bucket: bucket.bucket,
            key: self.name.key,
            content_type,
            metadata,
            precondition: self.precondition,
        };
        propose(core, group, self.id, command).await
    }
}

/// Has a group change a row; answers the version's generation and time from then on.
async fn propose(
    core: &Core,
    group: GroupId,
    id: RequestId,
    command: AnnotateCommand,
) -> Result<(Generation, u64), AnnotateError> {
    core.pass_gate(TAGS_SINCE)?;
    match mutate(core, group, id, &ObjectCommand::Annotate(command)).await? {
        ObjectOutcome::Annotated {
            generation,
            modified_ms,
        } => Ok((generation, modified_ms)),
        ObjectOutcome::Refused(refusal) => Err(AnnotateError::Refused(refusal)),
        _ => Err(GroupError::Kind(group).into()),
    }
}
