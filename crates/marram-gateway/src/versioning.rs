//! Whether a bucket keeps versions, and what it holds.

use std::time::{Duration, Instant};

use futures::future::try_join_all;
use marram_meta::{
    BucketRecord, ObjectAnswer, ObjectQuery, Refusal, RootCommand, RootOutcome, Usage,
    VERSIONING_SINCE, Versioning,
};
use marram_proto::v1;
use marram_types::{BucketId, BucketName, GroupId};

use crate::buckets;
use crate::convert;
use crate::core::{BucketError, Core, GateClosed};
use crate::groups::GroupError;
use crate::status::{Fault, Reason};
use crate::validate::InvalidField;

/// How long a call waits until every object group knows of the change.
const SETTLE_TIME: Duration = Duration::from_secs(10);

/// Why a bucket's versioning was not changed, or its usage not told.
#[derive(Debug, thiserror::Error)]
pub(crate) enum VersioningError {
    #[error(transparent)]
    Invalid(#[from] InvalidField),
    #[error(transparent)]
    Gate(#[from] GateClosed),
    #[error(transparent)]
    Bucket(#[from] BucketError),
    #[error(transparent)]
    Group(#[from] GroupError),
    #[error("{0}")]
    Refused(Refusal),
    #[error("the versioning of bucket {0} is being made known; try again")]
    Slow(BucketName),
}

impl Fault for VersioningError {
    fn reason(&self) -> Reason {
        match self {
            Self::Invalid(error) => error.reason(),
            Self::Gate(error) => error.reason(),
            Self::Bucket(error) => error.reason(),
            Self::Group(error) => error.reason(),
            Self::Refused(refusal) => refusal.reason(),
            Self::Slow(_) => Reason::BucketBusy,
        }
    }

    fn details(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::Invalid(error) => error.details(),
            Self::Gate(error) => error.details(),
            Self::Bucket(error) => error.details(),
            Self::Group(error) => error.details(),
            Self::Refused(refusal) => refusal.details(),
            Self::Slow(name) => vec![("bucket", name.to_string())],
        }
    }
}

/// Has a bucket keep versions or not; answers when every object group knows it (rules.md 11).
pub(crate) async fn set(
    core: &Core,
    request: v1::SetVersioningRequest,
) -> Result<v1::Bucket, VersioningError> {
    let asked = request.versioning();
    let name = BucketName::new(request.bucket).map_err(InvalidField::from)?;
    let versioning = match asked {
        v1::Versioning::On => Versioning::On,
        v1::Versioning::Suspended => Versioning::Suspended,
        v1::Versioning::Off => return Err(VersioningError::Refused(Refusal::VersioningStays)),
        v1::Versioning::Unspecified => {
            return Err(VersioningError::Invalid(InvalidField::Wrong {
                field: "versioning",
                rule: "say on or suspended",
            }));
        }
    };
    core.pass_gate(VERSIONING_SINCE)?;
    core.bucket(&name).await?;
    let command = RootCommand::SetVersioning {
        name: name.clone(),
        versioning,
    };
    // Not tied to a request id: the same decision again changes nothing.
    let changed = match core.root_decision(&command).await? {
        RootOutcome::Bucket(record) => record,
        RootOutcome::Refused(refusal) => return Err(VersioningError::Refused(refusal)),
        _ => return Err(GroupError::Kind(GroupId::ROOT).into()),
    };
    tracing::info!(target: "admin", bucket = %name, %versioning, epoch = changed.epoch, "versioning set");
    settled(core, &changed)
        .await
        .ok_or(VersioningError::Slow(name))
}

/// The bucket when every object group knows its changed record; none when that takes long. Awaited on this
/// server's own view: what the caller sends next here is judged by the change.
pub(crate) async fn settled(core: &Core, changed: &BucketRecord) -> Option<v1::Bucket> {
    let deadline = Instant::now() + SETTLE_TIME;
    let known = buckets::until_known(core, &changed.name, changed.epoch, deadline).await;
    known.as_ref().map(convert::bucket)
}

/// Says what a bucket holds.
pub(crate) async fn usage(
    core: &Core,
    request: v1::GetBucketUsageRequest,
) -> Result<v1::GetBucketUsageResponse, VersioningError> {
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
