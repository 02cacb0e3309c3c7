//! Begins to watch.

use std::sync::Arc;
use std::time::Duration;

use marram_meta::EventPlace;
use marram_proto::v1;
use marram_types::BucketName;
use marram_types::caps::{WATCH_BOOKMARK_MS, WATCH_BOOKMARK_MS_MAX, WATCH_BOOKMARK_MS_MIN};
use tonic::Status;
use tonic::codegen::BoxStream;

use super::feed::{self, FeedError};
use super::revision;
use super::watcher::{Presence, Scope, Watcher};
use crate::auth::Guard;
use crate::core::{BucketError, Core};
use crate::status::{self, Fault, Reason};
use crate::token::TokenError;
use crate::validate::{self, InvalidField};

/// Why nobody can watch this.
#[derive(Debug, thiserror::Error)]
pub(super) enum WatchError {
    #[error(transparent)]
    Invalid(#[from] InvalidField),
    #[error(transparent)]
    Bucket(#[from] BucketError),
    #[error(transparent)]
    Feed(#[from] FeedError),
    #[error(
        "the revision is not one of this cluster: pass one that a list or a watch of it returned, unchanged"
    )]
    Revision,
    #[error("this server has as many watchers as it may; ask another one")]
    TooMany,
}

impl From<TokenError> for WatchError {
    fn from(_: TokenError) -> Self {
        Self::Revision
    }
}

impl Fault for WatchError {
    fn reason(&self) -> Reason {
        match self {
            Self::Invalid(error) => error.reason(),
            Self::Bucket(error) => error.reason(),
            Self::Feed(error) => error.reason(),
            Self::Revision => Reason::InvalidRevision,
            Self::TooMany => Reason::Overloaded,
        }
    }

    fn details(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::Invalid(error) => error.details(),
            Self::Bucket(error) => error.details(),
            Self::Feed(error) => error.details(),
            Self::Revision => vec![("field", "revision".to_owned())],
            Self::TooMany => Vec::new(),
        }
    }
}

/// What a watcher reads.
pub(crate) type Watching = BoxStream<v1::WatchObjectsResponse>;

/// Begins to watch. Ends with the bucket, the access key's grant, a revision that is too old, this
/// server, and after a while, to be taken up again.
pub(crate) async fn watch(
    core: Arc<Core>,
    guard: Guard,
    request: v1::WatchObjectsRequest,
) -> Result<Watching, Status> {
    let begun = begin(core, guard, request).await;
    let watcher = begun.map_err(|error| status::of(&error))?;
    Ok(Box::pin(watcher.stream()))
}

async fn begin(
    core: Arc<Core>,
    guard: Guard,
    request: v1::WatchObjectsRequest,
) -> Result<Watcher, WatchError> {
    let name = BucketName::new(request.bucket.as_str()).map_err(InvalidField::from)?;
    validate::watched_prefix(&request.prefix)?;
    let bookmarks = bookmark_interval(request.bookmark_interval_ms)?;
    let bucket = core.bucket(&name).await?.bucket;
    let place = core.watch.places.clone().try_acquire_owned();
    let place = place.map_err(|_| WatchError::TooMany)?;
    let presence = Presence::new(&core);
    feed::start(&core).await?;
    let at = positions(&core, &request.revision).await?;
    Ok(Watcher::new(
        presence,
        guard,
        Scope {
            bucket,
            name,
            prefix: request.prefix,
        },
        at,
        bookmarks,
        place,
    ))
}

/// From where on: the revision, or everything that has not ended before the call.
async fn positions(core: &Core, token: &str) -> Result<Vec<EventPlace>, WatchError> {
    if token.is_empty() {
        return Ok(feed::now(core).await?.0);
    }
    let groups = core.object_groups()?;
    Ok(revision::open(&core.kek, token, usize::from(groups))?.0)
}

fn bookmark_interval(given: u32) -> Result<Duration, InvalidField> {
    if given == 0 {
        return Ok(Duration::from_millis(u64::from(WATCH_BOOKMARK_MS)));
    }
    if (WATCH_BOOKMARK_MS_MIN..=WATCH_BOOKMARK_MS_MAX).contains(&given) {
        return Ok(Duration::from_millis(u64::from(given)));
    }
    Err(InvalidField::Wrong {
        field: "bookmark_interval_ms",
        rule: "it must be 1,000 to 600,000, or 0",
    })
}
