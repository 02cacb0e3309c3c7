//! Which events an entry makes, and how long they are kept (rules.md 30, decision 0051).
//!
//! An entry's events are the difference between the versions before it and after it. What background
//! work changes of a row (where its bytes are, how well they are kept) is no difference, so moves,
//! repairs and re-encoding make none.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Bound, ControlFlow};

use marram_types::codec::DecodeError;
use marram_types::{BucketId, Generation};

use super::outcome::ObjectOutcome;
use super::witness::{Seen, Written};
use crate::kinds::event::{
    Event, EventKind, EventPlace, EventsKept, bytes_of, deser_key, deser_time, ser_key,
};
use crate::kinds::noncurrent::{self as past, DeleteMarker, Past};
use crate::kinds::object::{self, VersionRow};
use crate::kv::Table;
use crate::requests::Apply;
use crate::stored::{StateError, Stored};

/// Old events are removed by every entry whose index is a multiple of this ...
const TRIM_EVERY: u64 = 16;
/// ... and this many of them, so that no apply is long.
const TRIMMED_MAX: usize = 1024;

/// Has events written from the next entry on, and says how long they are kept. An entry that says the
/// same again changes nothing.
pub(super) fn keep(apply: &mut Apply<'_>, for_ms: u64, bytes_max: u64) -> ObjectOutcome {
    let floor = EventPlace::behind(apply.index);
    let kept = apply.state.events.get_or_insert(EventsKept {
        floor,
        bytes: 0,
        oldest_ms: u64::MAX,
        for_ms,
        bytes_max,
    });
    (kept.for_ms, kept.bytes_max) = (for_ms, bytes_max);
    ObjectOutcome::Done
}

/// Writes the events of the entry, and removes old ones.
pub(super) fn record(apply: &mut Apply<'_>, seen: Seen) -> Result<(), StateError> {
    let Some(mut kept) = apply.state.events.take() else {
        return Ok(());
    };
    let index = apply.index;
    let mut made = Made::of(apply);
    for ((bucket, key), change) in &changes(seen)? {
        made.of_key(*bucket, key, change);
    }
    for (ordinal, event) in (0..).zip(&made.events) {
        let value = event.ser_value();
        let key = ser_key(EventPlace { index, ordinal });
        kept.bytes += bytes_of(&value);
        kept.oldest_ms = kept.oldest_ms.min(event.time_ms);
        apply.kv.put(Table::Events, &key, &value)?;
    }
    if index.is_multiple_of(TRIM_EVERY) {
        trim(apply, &mut kept)?;
    }
    apply.state.events = Some(kept);
    Ok(())
}

/// Removes the oldest events while they are older, or more, than is kept.
fn trim(apply: &mut Apply<'_>, kept: &mut EventsKept) -> Result<(), StateError> {
    let now_ms = apply.now_ms();
    let too_old = |time_ms: u64| time_ms.saturating_add(kept.for_ms) < now_ms;
    let (mut left, mut oldest_ms) = (kept.bytes, kept.oldest_ms);
    if !too_old(oldest_ms) && left <= kept.bytes_max {
        return Ok(());
    }
    let mut old = Vec::new();
    let mut damage: Option<DecodeError> = None;
    let (from, to) = (Bound::Unbounded, Bound::Unbounded);
    apply.kv.scan(Table::Events, from, to, &mut |key, value| {
        match deser_time(value) {
            Ok(time_ms) => oldest_ms = time_ms,
            Err(error) => {
                damage = Some(error);
                return ControlFlow::Break(());
            }
        }
        let goes = too_old(oldest_ms) || left > kept.bytes_max;
        if !goes || old.len() == TRIMMED_MAX {
            return ControlFlow::Break(());
        }
        left = left.saturating_sub(bytes_of(value));
        old.push(key.to_vec());
        oldest_ms = u64::MAX;
        ControlFlow::Continue(())
    })?;
    if let Some(source) = damage {
        return Err(StateError::corrupt(Table::Events)(source));
    }
    for key in &old {
        apply.kv.delete(Table::Events, key)?;
    }
    if let Some(last) = old.last() {
        kept.floor = deser_key(last).map_err(StateError::corrupt(Table::Events))?;
    }
    (kept.bytes, kept.oldest_ms) = (left, oldest_ms);
    Ok(())
}

/// What an entry did to the versions of one key.
#[derive(Default)]
struct Change {
    /// The current version before and after, if its row was written.
    before: Option<VersionRow>,
    after: Option<VersionRow>,
    /// The same of each version that is not current, and of markers.
    past: Vec<(Option<Past>, Option<Past>)>,
}

/// What an entry did, by bucket and key.
fn changes(seen: Seen) -> Result<BTreeMap<(BucketId, String), Change>, StateError> {
    let mut changes: BTreeMap<_, Change> = BTreeMap::new();
    for ((table, key), written) in seen {
        if written.before == written.after {
            continue;
        }
        let damaged = StateError::corrupt(table);
        if table == Table::Objects {
            let (bucket, name) = object::deser_key(&key).map_err(&damaged)?;
            let change = changes.entry((bucket, name.to_owned())).or_default();
            (change.before, change.after) = both(&written).map_err(&damaged)?;
        } else {
            let (bucket, name, _) = past::deser_key(&key).map_err(&damaged)?;
            let change = changes.entry((bucket, name)).or_default();
            change.past.push(both(&written).map_err(&damaged)?);
        }
    }
    Ok(changes)
}

/// The events that an entry makes.
struct Made {
    /// Of what the entry itself commits.
    generation: Generation,
    time_ms: u64,
    events: Vec<Event>,
}

impl Made {
    fn of(apply: &Apply<'_>) -> Self {
        Self {
            generation: Generation(apply.index + apply.state.generation_offset),
            time_ms: apply.now_ms(),
            events: Vec::new(),
        }
    }

    /// What was removed for good comes before what is so now: the last event of a key says whether there
    /// is an object.
    fn of_key(&mut self, bucket: BucketId, key: &str, change: &Change) {
        let event = |kind| Event {
            kind,
            bucket,
            key: key.to_owned(),
            generation: self.generation,
            size: 0,
            etag: String::new(),
            time_ms: self.time_ms,
            is_null: false,
            is_marker: false,
            is_noncurrent: false,
        };
        let mut events = Vec::new();
        for gone in self.removed(change) {
            events.push(Event {
                is_noncurrent: gone.is_noncurrent,
                ..gone.what.about(event(EventKind::VersionDeleted))
            });
        }
        for row in changed_past(change) {
            events.push(Event {
                is_noncurrent: true,
                ..about(row, event(EventKind::Metadata))
            });
        }
        if let Some(marker) = self.new_marker(change) {
            events.push(Past::Marker(marker).about(event(EventKind::Marked)));
        } else if let Some(row) = &change.after {
            let kind = self.became_current(change.before.as_ref(), row);
            events.extend(kind.map(|kind| about(row, event(kind))));
        } else if change.before.is_some() {
            events.push(event(EventKind::Deleted));
        }
        self.events.append(&mut events);
    }

    /// The marker that the entry wrote.
    fn new_marker(&self, change: &Change) -> Option<DeleteMarker> {
        change.past.iter().find_map(|(_, after)| match after {
            Some(Past::Marker(marker)) if marker.generation == self.generation => Some(*marker),
            _ => None,
        })
    }

    /// What happened to the object when this row became, or stayed, its current one.
    fn became_current(&self, before: Option<&VersionRow>, row: &VersionRow) -> Option<EventKind> {
        match before {
            Some(before) if is_same_to_users(before, row) => None,
            Some(before) if before.version == row.version => Some(EventKind::Metadata),
            _ if row.generation == self.generation => Some(EventKind::Put),
            _ => Some(EventKind::Restored),
        }
    }

    /// What was there before, is nowhere any more, and is told of by no other event: the oldest first. A
    /// null version goes when the next one comes, and without one its deletion says so.
    fn removed(&self, change: &Change) -> Vec<Gone> {
        let new = change.after.as_ref();
        let new = new.filter(|row| row.generation == self.generation);
        let has_new = new.is_some() || self.new_marker(change).is_some();
        let mut all = gone(change);
        all.retain(|gone| {
            let replaced = !gone.what.is_numbered() && has_new;
            let deleted = !gone.what.is_numbered() && !gone.is_noncurrent && change.after.is_none();
            !(replaced || deleted)
        });
        all
    }
}

/// A version or marker that is gone.
struct Gone {
    what: Past,
    is_noncurrent: bool,
}

/// What was there before and is nowhere any more. A version whose metadata changed is still there,
/// under another generation.
fn gone(change: &Change) -> Vec<Gone> {
    let after = change.past.iter().filter_map(|(_, after)| after.as_ref());
    let mut stays: BTreeSet<Generation> = after.map(Past::generation).collect();
    stays.extend(change.after.as_ref().map(|row| row.generation));
    let renamed = |row: &&VersionRow| {
        let after = change.after.as_ref();
        after.is_some_and(|after| after.version == row.version)
    };
    let past = change.past.iter().filter_map(|(before, _)| before.clone());
    let past = past.map(|what| Gone {
        what,
        is_noncurrent: true,
    });
    let current = change.before.as_ref().filter(|row| !renamed(row));
    let current = current.map(|row| Gone {
        what: Past::Version(Box::new(row.clone())),
        is_noncurrent: false,
    });
    let mut all: Vec<Gone> = past.chain(current).collect();
    all.retain(|gone| !stays.contains(&gone.what.generation()));
    all.sort_by_key(|gone| gone.what.generation());
    all
}

impl Past {
    fn about(&self, event: Event) -> Event {
        match self {
            Self::Version(row) => about(row, event),
            Self::Marker(marker) => Event {
                generation: marker.generation,
                is_null: !marker.numbered,
                is_marker: true,
                ..event
            },
        }
    }
}

fn both<T: Stored>(written: &Written) -> Result<(Option<T>, Option<T>), DecodeError> {
    let read = |bytes: &Option<Vec<u8>>| bytes.as_deref().map(T::deser_value).transpose();
    Ok((read(&written.before)?, read(&written.after)?))
}

fn about(row: &VersionRow, event: Event) -> Event {
    Event {
        generation: row.generation,
        size: row.size,
        etag: row.etag.clone(),
        is_null: !row.numbered,
        ..event
    }
}

/// Whether users see no difference: where the bytes are, and as what they are kept, is none.
fn is_same_to_users(before: &VersionRow, after: &VersionRow) -> bool {
    let moved = VersionRow {
        body: after.body.clone(),
        nominal: after.nominal,
        narrowed: after.narrowed,
        under_protected: after.under_protected,
        off_profile: after.off_profile,
        own: after.own,
        ..before.clone()
    };
    moved == *after
}

/// Versions that are not current, before and after, and of which users see another metadata.
fn changed_past(change: &Change) -> impl Iterator<Item = &VersionRow> {
    change.past.iter().filter_map(|pair| match pair {
        (Some(Past::Version(before)), Some(Past::Version(after)))
            if !is_same_to_users(before, after) =>
        {
            Some(&**after)
        }
        _ => None,
    })
}
