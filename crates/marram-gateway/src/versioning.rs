//! Whether a bucket keeps versions, and what it holds.

use futures::future::try_join_all;
use marram_meta::{
    ObjectAnswer, ObjectQuery, Refusal, RootCommand, Usage, VERSIONING_SINCE, Versioning,
};
use marram_proto::v1;
use marram_types::{BucketId, BucketName, GroupId};

use crate::convert;
use crate::core::Core;
use crate::decision::{DecisionError, decide};
use crate::groups::GroupError;
use crate::validate::{self, InvalidField};

/// Has a bucket keep versions or not; answers when every object group knows it (rules.md 11).
pub(crate) async fn set(
    core: &Core,
    request: v1::SetVersioningRequest,
) -> Result<v1::Bucket, DecisionError> {
    let asked = request.versioning();
    let id = validate::request_id(request.request_id.as_ref())?;
    let name = BucketName::new(request.bucket).map_err(InvalidField::from)?;
    let versioning = match asked {
        v1::Versioning::On => Versioning::On,
        v1::Versioning::Suspended => Versioning::Suspended,
        v1::Versioning::Off => return Err(DecisionError::Refused(Refusal::VersioningStays)),
        v1::Versioning::Unspecified => {
            return Err(DecisionError::Invalid(InvalidField::Wrong {
                field: "versioning",
                rule: "say on or suspended",
            }));
        }
    };
    let command = RootCommand::SetVersioning {
        name: name.clone(),
        versioning,
    };
    let what = format!("versioning {versioning}");
    decide(core, (name, id), VERSIONING_SINCE, &command, &what).await
}

/// Says what a bucket holds.
pub(crate) async fn usage(
    core: &Core,
    request: v1::GetBucketUsageRequest,
) -> Result<v1::GetBucketUsageResponse, DecisionError> {
    let name = BucketName::new(request.bucket).map_err(InvalidField::from)?;
    let record = core.bucket(&name).await?;
    let bucket = record.bucket;
    let groups = core.object_groups()?;
    let asked = (1..=groups).map(|group| of_group(core, GroupId(group), bucket));
    let all = try_join_all(asked).await?;
    let usage = all.into_iter().fold(Usage::default(), Usage::plus);
    Ok(v1::GetBucketUsageResponse {
        objects: usage.objects,
        bytes: usage.bytes,
        noncurrent_versions: usage.noncurrent,
        noncurrent_bytes: usage.noncurrent_bytes,
        delete_markers: usage.markers,
        upload_bytes: usage.part_bytes,
        quota: convert::quota(&record),
    })
}

/// What a bucket has in one object group.
pub(crate) async fn of_group(
    core: &Core,
    group: GroupId,
    bucket: BucketId,
) -> Result<Usage, GroupError> {
    let query = ObjectQuery::Usage {
        bucket: Some(bucket),
    };
    match core.ask(group, &query, true).await? {
        ObjectAnswer::Usage(usage) => Ok(usage),
        _ => Err(GroupError::Kind(group)),
    }
}
