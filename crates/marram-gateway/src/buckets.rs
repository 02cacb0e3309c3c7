//! Buckets: made and removed by the root group, brought to every object group by its leader.

use std::ops::Bound;
use std::time::{Duration, Instant};

use marram_meta::{BucketRecord, BucketState, Refusal, RootCommand, RootOutcome};
use marram_proto::v1;
use marram_types::{BucketName, GroupId};

use crate::auth::Caller;
use crate::convert;
use crate::core::{BucketError, Core};
use crate::groups::GroupError;
use crate::status::{Fault, Reason};
use crate::token::{self, Question, TokenError};
use crate::validate::{self, InvalidField};

/// How long a call waits until every object group knows of the change.
const SETTLE_TIME: Duration = Duration::from_secs(10);

/// Why a bucket was not made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CreateError {
    #[error(transparent)]
    Invalid(#[from] InvalidField),
    #[error(transparent)]
    Group(#[from] GroupError),
    #[error("{0}")]
    Refused(Refusal),
    #[error("bucket {0} is made but not known everywhere yet; try again")]
    Slow(BucketName),
}

impl Fault for CreateError {
    fn reason(&self) -> Reason {
        match self {
            Self::Invalid(error) => error.reason(),
            Self::Group(error) => error.reason(),
            Self::Refused(error) => error.reason(),
            Self::Slow(_) => Reason::BucketBusy,
        }
    }

    fn details(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::Invalid(error) => error.details(),
            Self::Group(error) => error.details(),
            Self::Refused(error) => error.details(),
            Self::Slow(name) => vec![("bucket", name.to_string())],
        }
    }
}

/// Makes a bucket; answers when every object group knows it (rules.md 11).
pub(crate) async fn create(
    core: &Core,
    request: v1::CreateBucketRequest,
) -> Result<v1::Bucket, CreateError> {
    let name = BucketName::new(request.bucket).map_err(InvalidField::from)?;
    let profile = validate::profile(&request.profile)?;
    let id = validate::request_id(request.request_id.as_ref())?;
    let command = RootCommand::CreateBucket {
        name: name.clone(),
        profile,
    };
    let made = match core.root_command(id, &command).await? {
        RootOutcome::Bucket(record) => record,
        RootOutcome::Refused(refusal) => return Err(CreateError::Refused(refusal)),
        _ => return Err(GroupError::Kind(GroupId::ROOT).into()),
    };
    // Awaited on this server's own view, so that the caller's next call here finds the bucket.
    let deadline = Instant::now() + SETTLE_TIME;
    loop {
        let view = core.view();
        let known = view.buckets.get(&name);
        match known.filter(|record| record.bucket == made.bucket) {
            Some(record) if record.state != BucketState::Creating => {
                return Ok(convert::bucket(record));
            }
            _ if Instant::now() >= deadline => return Err(CreateError::Slow(name)),
            _ => core.wait_for_view().await,
        }
    }
}

/// A bucket's record, once every metadata group holds it at this epoch or a later one, as this server's own view
/// says; none when it does not until `deadline`.
pub(crate) async fn until_known(
    core: &Core,
    name: &BucketName,
    epoch: u64,
    deadline: Instant,
) -> Option<BucketRecord> {
    loop {
        let view = core.view();
        let known = view.buckets.get(name);
        match known.filter(|record| record.epoch >= epoch) {
            Some(record) if record.state == BucketState::Active => return Some(record.clone()),
            _ if Instant::now() >= deadline => return None,
            _ => core.wait_for_view().await,
        }
    }
}

/// Why a bucket was not removed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DeleteError {
    #[error(transparent)]
    Invalid(#[from] InvalidField),
    #[error(transparent)]
    Group(#[from] GroupError),
    #[error("{0}")]
    Refused(Refusal),
    #[error("bucket {0} is not empty: remove its objects first")]
    NotEmpty(BucketName),
    #[error("the removal of bucket {0} goes on; try again")]
    Slow(BucketName),
}

impl Fault for DeleteError {
    fn reason(&self) -> Reason {
        match self {
            Self::Invalid(error) => error.reason(),
            Self::Group(error) => error.reason(),
            Self::Refused(error) => error.reason(),
            Self::NotEmpty(_) => Reason::BucketNotEmpty,
            Self::Slow(_) => Reason::BucketBusy,
        }
    }

    fn details(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::Invalid(error) => error.details(),
            Self::Group(error) => error.details(),
            Self::Refused(error) => error.details(),
            Self::NotEmpty(name) | Self::Slow(name) => vec![("bucket", name.to_string())],
        }
    }
}

/// Removes an empty bucket (rules.md 12).
pub(crate) async fn delete(
    core: &Core,
    request: v1::DeleteBucketRequest,
) -> Result<(), DeleteError> {
    let name = BucketName::new(request.bucket).map_err(InvalidField::from)?;
    let id = validate::request_id(request.request_id.as_ref())?;
    let command = RootCommand::DeleteBucket { name: name.clone() };
    let sealing = match core.root_command(id, &command).await? {
        RootOutcome::Bucket(record) => record,
        RootOutcome::BucketRemoved(_) => return Ok(()),
        RootOutcome::Refused(refusal) => return Err(DeleteError::Refused(refusal)),
        _ => return Err(GroupError::Kind(GroupId::ROOT).into()),
    };
    let deadline = Instant::now() + SETTLE_TIME;
    // This server's view may still be from before the command: only one that is not tells.
    let mut view = core.fresh_view().await?;
    loop {
        if let Some(end) = deletion_end(view.buckets.get(&name), &sealing) {
            return end;
        }
        if Instant::now() >= deadline {
            return Err(DeleteError::Slow(name));
        }
        core.wait_for_view().await;
        let newer = core.view();
        if newer.index > view.index {
            view = newer;
        }
    }
}

/// How a deletion ended, judged by a view that is not older than its command.
fn deletion_end(
    now: Option<&BucketRecord>,
    sealing: &BucketRecord,
) -> Option<Result<(), DeleteError>> {
    let Some(now) = now.filter(|now| now.bucket == sealing.bucket) else {
        return Some(Ok(()));
    };
    let taken_back = now.epoch > sealing.epoch
        && matches!(now.state, BucketState::Active | BucketState::Changing);
    taken_back.then(|| Err(DeleteError::NotEmpty(now.name.clone())))
}

/// Says what a bucket is.
pub(crate) async fn head(
    core: &Core,
    request: v1::HeadBucketRequest,
) -> Result<v1::Bucket, HeadError> {
    let name = BucketName::new(request.bucket).map_err(InvalidField::from)?;
    Ok(convert::bucket(&core.bucket(&name).await?))
}

/// Why a bucket could not be looked at.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HeadError {
    #[error(transparent)]
    Invalid(#[from] InvalidField),
    #[error(transparent)]
    Bucket(#[from] BucketError),
}

impl Fault for HeadError {
    fn reason(&self) -> Reason {
        match self {
            Self::Invalid(error) => error.reason(),
            Self::Bucket(error) => error.reason(),
        }
    }

    fn details(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::Invalid(error) => error.details(),
            Self::Bucket(error) => error.details(),
        }
    }
}

/// Why buckets could not be listed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ListError {
    #[error(transparent)]
    Invalid(#[from] InvalidField),
    #[error(transparent)]
    Token(#[from] TokenError),
    #[error(transparent)]
    Group(#[from] GroupError),
}

impl Fault for ListError {
    fn reason(&self) -> Reason {
        match self {
            Self::Invalid(error) => error.reason(),
            Self::Token(_) => Reason::InvalidPageToken,
            Self::Group(error) => error.reason(),
        }
    }

    fn details(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::Invalid(error) => error.details(),
            Self::Token(_) => Vec::new(),
            Self::Group(error) => error.details(),
        }
    }
}

/// A page of the buckets that the caller has a grant in, by name.
pub(crate) async fn list(
    core: &Core,
    caller: &Caller,
    request: v1::ListBucketsRequest,
) -> Result<v1::ListBucketsResponse, ListError> {
    let limit = validate::page_size(request.page_size)? as usize;
    let question = Question {
        method: "ListBuckets",
        bucket: 0,
        prefix: &request.prefix,
        delimiter: "",
    };
    let after = if request.page_token.is_empty() {
        None
    } else {
        let place = token::open(&core.kek, &question, &request.page_token)?;
        let name = String::from_utf8(place).map_err(|_| TokenError)?;
        Some(BucketName::new(name).map_err(|_| TokenError)?)
    };
    let view = core.fresh_view().await?;
    let from = after.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
    let key = view.access_keys.get(&caller.access_key);
    let mut found = view
        .buckets
        .range((from, Bound::Unbounded))
        .map(|(_, record)| record)
        .filter(|record| record.name.as_str().starts_with(&request.prefix))
        .filter(|record| !matches!(record.state, BucketState::Creating | BucketState::Deleted))
        .filter(|record| key.is_some_and(|key| key.sees(&record.name)));
    let buckets: Vec<v1::Bucket> = found.by_ref().take(limit).map(convert::bucket).collect();
    let next_page_token = match (found.next(), buckets.last()) {
        (Some(_), Some(last)) => token::seal(&core.kek, &question, last.name.as_bytes()),
        _ => String::new(),
    };
    Ok(v1::ListBucketsResponse {
        buckets,
        next_page_token,
    })
}
