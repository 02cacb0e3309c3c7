//! What is decided about a bucket as a whole (its versioning, its quota, its rules): by the root group, and
//! answered when every object group knows it (rules.md 11).

use std::time::{Duration, Instant};

use marram_meta::{Refusal, RootCommand, RootOutcome};
use marram_proto::v1;
use marram_types::{BucketName, GroupId, RequestId};

use crate::core::{BucketError, Core, GateClosed};
use crate::groups::GroupError;
use crate::status::{Fault, Reason};
use crate::validate::InvalidField;
use crate::{buckets, convert};

/// How long a call waits until every object group knows of the change.
const SETTLE_TIME: Duration = Duration::from_secs(10);

/// Why something about a bucket was not decided, or not told.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DecisionError {
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
    #[error("the change of bucket {0} is being made known; try again")]
    Slow(BucketName),
}

impl Fault for DecisionError {
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

/// Has the root group change a bucket where the cluster's version allows it, and waits until every object
/// group knows; `what` is for the log. Awaited on this server's own view too: what the caller sends next
/// here is judged by the change. An attempt that comes late does not undo what was decided since (rules.md 14).
pub(crate) async fn decide(
    core: &Core,
    (name, request): (BucketName, RequestId),
    since: u8,
    command: &RootCommand,
    what: &str,
) -> Result<v1::Bucket, DecisionError> {
    core.pass_gate(since)?;
    core.bucket(&name).await?;
    let changed = match core.root_command(request, command).await? {
        RootOutcome::Bucket(record) => record,
        RootOutcome::Refused(refusal) => return Err(DecisionError::Refused(refusal)),
        _ => return Err(GroupError::Kind(GroupId::ROOT).into()),
    };
    tracing::info!(target: "admin", bucket = %name, what, epoch = changed.epoch, "bucket changed");
    let deadline = Instant::now() + SETTLE_TIME;
    let known = buckets::until_known(core, &changed.name, changed.epoch, deadline).await;
    let known = known.ok_or(DecisionError::Slow(name))?;
    Ok(convert::bucket(&known))
}
