//! The feed of one group: reads what happened as it happens, once for all watchers of this server.

use std::sync::Arc;
use std::time::Duration;

use futures::future::try_join_all;
use marram_meta::{EventPlace, EventsAnswer, EventsFound, EventsQuery, ObjectAnswer, ObjectQuery};
use marram_types::GroupId;
use marram_types::caps::EVENTS_PAGE_MAX;

use super::{Revision, warden};
use crate::core::Core;
use crate::groups::{GroupError, QUERY_TIME};
use crate::status::{Fault, Reason};

/// How long a replica is asked to wait for something to happen. Where nothing did, the group's leader
/// is asked: this server's replica may be cut off from it.
const POLL: Duration = Duration::from_secs(10);
/// How long events gather before they are read: so many reads a second, and no more.
const GATHER: Duration = Duration::from_millis(5);
/// Pause after a group did not answer.
const AFTER_FAILURE: Duration = Duration::from_millis(250);

/// Nobody can watch now.
#[derive(Debug, thiserror::Error)]
pub(super) enum FeedError {
    #[error(transparent)]
    Group(#[from] GroupError),
    #[error("the cluster is not ready yet")]
    NotReady,
    #[error(
        "the cluster does not keep events yet: when every server runs this release, raise its version with \
         `marram admin finalize-version`"
    )]
    NotKept,
}

impl Fault for FeedError {
    fn reason(&self) -> Reason {
        match self {
            Self::Group(error) => error.reason(),
            Self::NotReady => Reason::MetadataUnavailable,
            Self::NotKept => Reason::VersionGateClosed,
        }
    }

    fn details(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::Group(error) => error.details(),
            _ => Vec::new(),
        }
    }
}

/// The group of a place in a revision.
pub(super) fn group_at(place: usize) -> GroupId {
    GroupId(u16::try_from(place).expect("groups are counted by a u16") + 1)
}

/// How a group is asked.
#[derive(Clone, Copy)]
pub(super) enum How {
    /// Its leader, for everything that ended before the question.
    Leader,
    /// Any replica, as soon as it has applied this index.
    From(u64),
}

/// Asks a group what happened.
pub(super) async fn ask(
    core: &Core,
    group: usize,
    query: EventsQuery,
    how: How,
) -> Result<EventsAnswer, GroupError> {
    let group = group_at(group);
    let query = ObjectQuery::Events(query).encode().into();
    let answer = match how {
        How::Leader => core.groups.query(group, query, true, QUERY_TIME).await?,
        How::From(index) => core.groups.query_at(group, query, index, POLL).await?,
    };
    match ObjectAnswer::decode(&answer.bytes)? {
        ObjectAnswer::Events(answer) => Ok(answer),
        _ => Err(GroupError::Kind(group)),
    }
}

/// Where the groups are now: everything that ended before the call is behind it.
pub(super) async fn now(core: &Core) -> Result<Revision, FeedError> {
    let groups = core.object_groups().map_err(|_| FeedError::NotReady)?;
    let asks = (0..usize::from(groups)).map(async |group| {
        // Behind everything, so that nothing is looked through.
        let after = EventPlace::default();
        let scope = None;
        let query = EventsQuery {
            after,
            scope,
            limit: 1,
        };
        let answer = ask(core, group, query, How::Leader).await?;
        match answer.found {
            EventsFound::NotKept => Err(FeedError::NotKept),
            _ => Ok(answer.applied),
        }
    });
    Ok(Revision::behind(try_join_all(asks).await?))
}

/// Starts the feeds, unless they run.
pub(super) async fn start(core: &Arc<Core>) -> Result<(), FeedError> {
    let _one = core.watch.starting.lock().await;
    if core.watch.board.lock().heads().is_some() {
        return Ok(());
    }
    let Revision(heads) = now(core).await?;
    let count = heads.len();
    let run = core.watch.board.lock().begin(heads);
    for group in 0..count {
        tokio::spawn(follow(Arc::clone(core), group, run));
    }
    tokio::spawn(warden::keep(Arc::clone(core), run));
    Ok(())
}

/// Hands out what happens in a group, until the feeds are ended or the server stops.
async fn follow(core: Arc<Core>, group: usize, run: u64) {
    let stopping = core.stopping.clone();
    let mut how = None;
    while core.watch.board.lock().run == run {
        let head = core.watch.board.lock().head(group);
        let asked = how.take().unwrap_or(How::From(head.index + 1));
        let pulled = stopping
            .run_until_cancelled(pull(&core, group, asked))
            .await;
        let pause = match pulled {
            None => return,
            Some(Ok(Pulled::More)) => continue,
            Some(Ok(Pulled::News)) => GATHER,
            Some(Ok(Pulled::Nothing)) => {
                if matches!(asked, How::From(_)) {
                    how = Some(How::Leader);
                }
                GATHER
            }
            Some(Err(error)) => {
                tracing::info!(group = %group_at(group), %error, "a group's events cannot be read");
                how = Some(How::Leader);
                AFTER_FAILURE
            }
        };
        tokio::time::sleep(pause).await;
    }
}

/// What a group had.
pub(super) enum Pulled {
    More,
    News,
    Nothing,
}

/// Reads a page from where the group's events were handed out to, and hands it out.
pub(super) async fn pull(core: &Core, group: usize, how: How) -> Result<Pulled, FeedError> {
    let head = core.watch.board.lock().head(group);
    let query = EventsQuery {
        after: head,
        scope: None,
        limit: EVENTS_PAGE_MAX,
    };
    let answer = ask(core, group, query, how).await?;
    let mut board = core.watch.board.lock();
    match answer.found {
        EventsFound::Page { events, next, more } => {
            let news = answer.applied > head.index;
            board.hand_out(group, events, next);
            Ok(match (more, news) {
                (true, _) => Pulled::More,
                (false, true) => Pulled::News,
                (false, false) => Pulled::Nothing,
            })
        }
        EventsFound::Compacted => {
            board.jump(group, EventPlace::behind(answer.applied));
            Ok(Pulled::News)
        }
        EventsFound::Behind => Ok(Pulled::Nothing),
        EventsFound::NotKept => Err(FeedError::NotKept),
    }
}
