//! What happened to objects after a place (rules.md 30).

use std::ops::{Bound, ControlFlow};

use marram_types::BucketId;
use marram_types::caps::{EVENTS_PAGE_BYTES_MAX, EVENTS_PAGE_MAX, EVENTS_SCANNED_MAX};
use marram_types::codec::{DecodeError, Reader, Writer};

use crate::kinds::event::{Event, EventPlace, deser_key, deser_target, ser_key};
use crate::kinds::state::GroupState;
use crate::kv::{KvRead, Table};
use crate::refusal::unknown;
use crate::stored::{StateError, Stored};

/// A question for what happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventsQuery {
    /// Behind this place.
    pub after: EventPlace,
    /// Only of keys of this bucket that begin with this prefix; none: of all.
    pub scope: Option<(BucketId, String)>,
    /// Most events; at most `EVENTS_PAGE_MAX` are given.
    pub limit: u32,
}

/// What a group can tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventsFound {
    /// Events, in the order in which they happened.
    Page {
        /// Each with its place.
        events: Vec<(EventPlace, Event)>,
        /// All that was asked for up to here is in the page.
        next: EventPlace,
        /// There may be something behind `next` already.
        more: bool,
    },
    /// What happened after the place is not known any more.
    Compacted,
    /// The group does not keep events yet.
    NotKept,
    /// The replica that answers has not come to the place.
    Behind,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventsAnswer {
    /// The group's applied index of this view.
    pub applied: u64,
    /// What it shows.
    pub found: EventsFound,
}

struct Page<'a> {
    query: &'a EventsQuery,
    limit: usize,
    events: Vec<(EventPlace, Event)>,
    next: EventPlace,
    scanned: usize,
    bytes: usize,
    full: bool,
}

impl Page<'_> {
    fn add(&mut self, key: &[u8], value: &[u8]) -> Result<ControlFlow<()>, DecodeError> {
        self.full = self.scanned == EVENTS_SCANNED_MAX
            || self.events.len() == self.limit
            || self.bytes >= EVENTS_PAGE_BYTES_MAX;
        if self.full {
            return Ok(ControlFlow::Break(()));
        }
        self.scanned += 1;
        self.next = deser_key(key)?;
        let wanted = match &self.query.scope {
            None => true,
            Some((bucket, prefix)) => {
                let (of, name) = deser_target(value)?;
                of == *bucket && name.starts_with(prefix.as_str())
            }
        };
        if wanted {
            self.bytes += value.len();
            self.events.push((self.next, Event::deser_value(value)?));
        }
        Ok(ControlFlow::Continue(()))
    }
}

/// A page of events from a view at `applied`.
pub(super) fn events(
    kv: &dyn KvRead,
    applied: u64,
    query: &EventsQuery,
) -> Result<EventsAnswer, StateError> {
    let answer = |found| Ok(EventsAnswer { applied, found });
    let Some(kept) = GroupState::load(kv)?.events else {
        return answer(EventsFound::NotKept);
    };
    if query.after < kept.floor {
        return answer(EventsFound::Compacted);
    }
    if query.after.index > applied {
        return answer(EventsFound::Behind);
    }
    let limit = query.limit.clamp(1, EVENTS_PAGE_MAX);
    let mut page = Page {
        query,
        limit: usize::try_from(limit).expect("a u32 fits a usize"),
        events: Vec::new(),
        next: query.after,
        scanned: 0,
        bytes: 0,
        full: false,
    };
    let from = ser_key(query.after);
    let mut damage = None;
    let range = (Bound::Excluded(&from[..]), Bound::Unbounded);
    kv.scan(Table::Events, range.0, range.1, &mut |key, value| {
        page.add(key, value).unwrap_or_else(|error| {
            damage = Some(error);
            ControlFlow::Break(())
        })
    })?;
    if let Some(source) = damage {
        return Err(StateError::corrupt(Table::Events)(source));
    }
    let more = page.full;
    let next = match more {
        true => page.next,
        false => EventPlace::behind(applied),
    };
    let events = page.events;
    answer(EventsFound::Page { events, next, more })
}

impl Stored for EventsQuery {
    fn encode(&self, out: &mut Writer) {
        self.after.encode(out);
        out.option(self.scope.as_ref(), |out, (bucket, prefix)| {
            out.u64_be(bucket.0).str(prefix);
        })
        .varint(u64::from(self.limit));
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            after: EventPlace::decode(from)?,
            scope: from.option(|from| Ok((BucketId(from.u64_be()?), from.str()?.to_owned())))?,
            limit: u32::try_from(from.varint()?).map_err(|_| DecodeError::Invalid("limit"))?,
        })
    }
}

impl Stored for EventsAnswer {
    fn encode(&self, out: &mut Writer) {
        out.varint(self.applied);
        match &self.found {
            EventsFound::Page { events, next, more } => {
                out.u8(1).list(events, |out, (place, event)| {
                    place.encode(out);
                    event.encode(out);
                });
                next.encode(out);
                out.bool(*more);
            }
            EventsFound::Compacted => {
                out.u8(2);
            }
            EventsFound::NotKept => {
                out.u8(3);
            }
            EventsFound::Behind => {
                out.u8(4);
            }
        }
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            applied: from.varint()?,
            found: match from.u8()? {
                1 => EventsFound::Page {
                    events: from
                        .list(|from| Ok((EventPlace::decode(from)?, Event::decode(from)?)))?,
                    next: EventPlace::decode(from)?,
                    more: from.bool()?,
                },
                2 => EventsFound::Compacted,
                3 => EventsFound::NotKept,
                4 => EventsFound::Behind,
                other => return Err(unknown("events", other)),
            },
        })
    }
}
