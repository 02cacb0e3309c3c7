//! One watcher: what it has seen of each group, and what it hears next.

use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, stream};
use marram_meta::{Event, EventKind, EventPlace, EventsFound, EventsQuery};
use marram_metrics::{Ended, Watching};
use marram_proto::v1;
use marram_types::caps::{WATCH_AGE_MS, WATCH_MESSAGE_EVENTS_MAX};
use marram_types::{BucketId, BucketName};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use tonic::Status;

use super::feed::{self, FeedError, How, group_at};
use super::mailbox::{Lost, Mail, Mailbox};
use super::revision::{self, Revision};
use crate::auth::Guard;
use crate::core::{BucketError, Core};
use crate::groups::GroupError;
use crate::status::{self, Fault, Reason};

/// How long a group may not answer a watcher that reads for itself, before the watch ends.
const GIVE_UP: Duration = Duration::from_secs(30);
/// Pause between its tries.
const TRY_AGAIN: Duration = Duration::from_millis(250);

/// What is watched.
pub(super) struct Scope {
    pub(super) bucket: BucketId,
    pub(super) name: BucketName,
    pub(super) prefix: String,
}

/// Why a watch ended.
#[derive(Debug, thiserror::Error)]
enum EndError {
    #[error(
        "what happened after this revision is not known any more: list again, and watch from the revision \
         that the list returns"
    )]
    Compacted {
        /// A revision of now, as a token.
        now: String,
    },
    #[error(transparent)]
    Bucket(#[from] BucketError),
    #[error(transparent)]
    Feed(#[from] FeedError),
    #[error("this server stops: go on at another one, from the last revision")]
    Stopping,
}

impl From<GroupError> for EndError {
    fn from(error: GroupError) -> Self {
        Self::Feed(error.into())
    }
}

impl Fault for EndError {
    fn reason(&self) -> Reason {
        match self {
            Self::Compacted { .. } => Reason::RevisionCompacted,
            Self::Bucket(error) => error.reason(),
            Self::Feed(error) => error.reason(),
            Self::Stopping => Reason::WatchMoved,
        }
    }

    fn details(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::Compacted { now } => vec![("revision", now.clone())],
            Self::Bucket(error) => error.details(),
            Self::Feed(error) => error.details(),
            Self::Stopping => Vec::new(),
        }
    }
}

/// Somebody who watches, or is about to: the feeds go on while this is there.
pub(super) struct Presence(Arc<Core>);

impl Presence {
    pub(super) fn new(core: &Arc<Core>) -> Self {
        core.watch.board.lock().enter();
        Self(Arc::clone(core))
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.0.watch.board.lock().leave();
    }
}

/// A place among those whom events concern.
struct Seat {
    presence: Presence,
    scope: Scope,
    mailbox: Arc<Mailbox>,
    number: u64,
}

impl Seat {
    fn core(&self) -> &Arc<Core> {
        &self.presence.0
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut board = self.core().watch.board.lock();
        board.remove(self.scope.bucket, &self.scope.prefix, self.number);
    }
}

/// A watcher.
pub(super) struct Watcher {
    seat: Seat,
    guard: Guard,
    /// By group: everything up to here was told.
    at: Vec<EventPlace>,
    /// Groups whose table is to be read, and up to where.
    lost: Lost,
    bookmarks: Duration,
    bookmark_at: Instant,
    /// When the watch ends, to be taken up again: connections have an age, and a stream would keep its
    /// own for ever.
    ends_at: Instant,
    ended: bool,
    counted: Watching,
    _place: OwnedSemaphorePermit,
}

type Told = Result<v1::WatchObjectsResponse, Status>;

impl Watcher {
    pub(super) fn new(
        presence: Presence,
        guard: Guard,
        scope: Scope,
        at: Vec<EventPlace>,
        bookmarks: Duration,
        place: OwnedSemaphorePermit,
    ) -> Self {
        let mailbox = Arc::new(Mailbox::default());
        let core = &presence.0;
        let counted = core.watch.counts.begin();
        let added = core
            .watch
            .board
            .lock()
            .add(scope.bucket, &scope.prefix, &mailbox);
        let (number, heads) = added;
        let behind = at.iter().zip(&heads).enumerate();
        let behind = behind.filter(|(_, (at, head))| at < head);
        let lost = behind.map(|(group, (_, head))| (group, *head)).collect();
        let now = Instant::now();
        let age = Duration::from_millis(WATCH_AGE_MS).mul_f64(rand::random_range(0.8..1.2));
        Self {
            seat: Seat {
                presence,
                scope,
                mailbox,
                number,
            },
            guard,
            at,
            lost,
            bookmarks,
            // The first one says that the watch has begun, and from where.
            bookmark_at: now,
            ends_at: now + age,
            ended: false,
            counted,
            _place: place,
        }
    }

    pub(super) fn stream(self) -> impl Stream<Item = Told> + Send + 'static {
        stream::unfold(self, |mut watcher| async move {
            let told = watcher.next().await?;
            Some((told, watcher))
        })
    }

    /// The next message; none after the end.
    async fn next(&mut self) -> Option<Told> {
        if self.ended {
            return None;
        }
        match self.hear().await {
            Ok(Some(events)) => Some(Ok(self.message(&events))),
            Ok(None) => {
                // Everything was told, and the caller has the revision to go on from.
                self.ended = true;
                self.counted.ended(Ended::Moved);
                None
            }
            Err(status) => {
                self.ended = true;
                Some(Err(status))
            }
        }
    }

    /// Waits for events, or for a bookmark, which has none.
    async fn hear(&mut self) -> Result<Option<Vec<Arc<Event>>>, Status> {
        loop {
            if let Some(status) = self.guard.taken_back() {
                self.counted.ended(Ended::Denied);
                return Err(status);
            }
            if let Some(group) = self.lost.keys().next().copied() {
                let events = self
                    .catch_up(group)
                    .await
                    .map_err(|error| self.end(&error))?;
                if !events.is_empty() {
                    return Ok(Some(events));
                }
                continue;
            }
            let (events, gone) = self.take_mail();
            if !events.is_empty() {
                return Ok(Some(events));
            }
            if !self.lost.is_empty() {
                continue;
            }
            if gone {
                let error = BucketError::NotFound(self.seat.scope.name.clone());
                return Err(self.end(&error.into()));
            }
            if self.bookmark_at <= Instant::now() {
                return Ok(Some(Vec::new()));
            }
            if self.ends_at <= Instant::now() {
                return Ok(None);
            }
            self.wait().await.map_err(|error| self.end(&error))?;
        }
    }

    /// Until there may be something to say.
    async fn wait(&self) -> Result<(), EndError> {
        let until = self.bookmark_at.min(self.ends_at);
        let until = match self.guard.ends_within() {
            Some(left) => until.min(Instant::now() + left),
            None => until,
        };
        tokio::select! {
            () = self.seat.mailbox.news() => Ok(()),
            () = tokio::time::sleep_until(until) => Ok(()),
            () = self.seat.core().stopping.cancelled() => Err(EndError::Stopping),
        }
    }

    fn end(&mut self, error: &EndError) -> Status {
        self.counted.ended(match error {
            EndError::Compacted { .. } => Ended::Compacted,
            EndError::Bucket(_) => Ended::Bucket,
            EndError::Stopping => Ended::Moved,
            EndError::Feed(_) => Ended::Failed,
        });
        status::of(error)
    }

    /// What is in the mailbox, and whether the bucket is gone. How far events were handed out is looked up
    /// first: what is taken then contains all of it.
    fn take_mail(&mut self) -> (Vec<Arc<Event>>, bool) {
        let board = self.seat.core().watch.board.lock();
        let heads = board.heads().map(<[_]>::to_vec);
        let gone = board.is_gone(self.seat.scope.bucket);
        drop(board);
        let taken = self.seat.mailbox.take(WATCH_MESSAGE_EVENTS_MAX);
        let mut events = Vec::with_capacity(taken.events.len());
        for (group, place, event) in taken.events {
            self.tell((group, place, event), &mut events);
        }
        self.lost = taken.lost;
        if taken.emptied {
            for (group, head) in heads.into_iter().flatten().enumerate() {
                if !self.lost.contains_key(&group) {
                    self.at[group] = self.at[group].max(head);
                }
            }
        }
        (events, gone)
    }

    /// Takes an event, unless it was told before.
    fn tell(&mut self, (group, place, event): Mail, events: &mut Vec<Arc<Event>>) {
        if place > self.at[group] {
            self.at[group] = place;
            events.push(event);
        }
    }

    /// Reads a page of a group's table; what is newer waits in the mailbox.
    async fn catch_up(&mut self, group: usize) -> Result<Vec<Arc<Event>>, EndError> {
        let until = self.lost[&group];
        self.counted.reads_for_itself();
        let core = Arc::clone(self.seat.core());
        let core = core.as_ref();
        let found = {
            let _one_of_few = core.watch.catching_up.acquire().await;
            self.read(core, group, until).await?
        };
        let EventsFound::Page { events, next, .. } = found else {
            let now = feed::now(core).await?;
            let now = revision::seal(&core.kek, &now);
            return Err(EndError::Compacted { now });
        };
        let mut told = Vec::with_capacity(events.len());
        for (place, event) in events {
            self.tell((group, place, Arc::new(event)), &mut told);
        }
        self.at[group] = self.at[group].max(next);
        if self.at[group] >= until {
            self.lost.remove(&group);
        }
        Ok(told)
    }

    /// A page, or that there is none any more.
    async fn read(
        &self,
        core: &Core,
        group: usize,
        until: EventPlace,
    ) -> Result<EventsFound, EndError> {
        let give_up = Instant::now() + GIVE_UP;
        loop {
            let query = EventsQuery {
                after: self.at[group],
                scope: Some((self.seat.scope.bucket, self.seat.scope.prefix.clone())),
                limit: u32::try_from(WATCH_MESSAGE_EVENTS_MAX).expect("it is small"),
            };
            let asked = tokio::select! {
                asked = feed::ask(core, group, query, How::From(until.index)) => asked,
                () = core.stopping.cancelled() => return Err(EndError::Stopping),
            };
            match asked.map(|answer| answer.found) {
                Ok(EventsFound::Behind) if Instant::now() >= give_up => {
                    return Err(GroupError::Unavailable(group_at(group)).into());
                }
                Err(error) if Instant::now() >= give_up => return Err(error.into()),
                Ok(EventsFound::Behind) | Err(_) => tokio::time::sleep(TRY_AGAIN).await,
                Ok(EventsFound::NotKept) => return Err(FeedError::NotKept.into()),
                Ok(found) => return Ok(found),
            }
        }
    }

    fn message(&mut self, events: &[Arc<Event>]) -> v1::WatchObjectsResponse {
        self.bookmark_at = Instant::now() + self.bookmarks;
        self.counted.sent(events.len());
        let revision = Revision(self.at.clone());
        v1::WatchObjectsResponse {
            events: events.iter().map(|event| told(event)).collect(),
            revision: revision::seal(&self.seat.core().kek, &revision),
        }
    }
}

fn told(event: &Event) -> v1::ObjectEvent {
    use v1::ObjectEventKind as Kind;
    let kind = match event.kind {
        EventKind::Put => Kind::Put,
        EventKind::Metadata => Kind::Metadata,
        EventKind::Restored => Kind::Restored,
        EventKind::Deleted => Kind::Deleted,
        EventKind::Marked => Kind::DeleteMarker,
        EventKind::VersionDeleted => Kind::VersionDeleted,
    };
    v1::ObjectEvent {
        kind: kind.into(),
        key: event.key.clone(),
        generation: event.generation.0,
        size: event.size,
        etag: event.etag.clone(),
        time_ms: event.time_ms,
        is_delete_marker: event.is_marker,
        is_null_version: event.is_null,
        is_noncurrent: event.is_noncurrent,
    }
}
