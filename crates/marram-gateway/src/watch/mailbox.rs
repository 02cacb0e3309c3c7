//! What waits for one watcher: a bounded queue of events, and for each group whose events did not fit,
//! up to where its table must be read instead.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use marram_meta::{Event, EventPlace};
use parking_lot::Mutex;
use tokio::sync::Notify;

/// Events that wait for one watcher; a slower one reads the tables.
pub(crate) const MAILBOX_EVENTS_MAX: usize = 256;

/// An event of a group, by the group's place in the revision.
pub(super) type Mail = (usize, EventPlace, Arc<Event>);

/// By group, the last event that is in its table only.
pub(super) type Lost = BTreeMap<usize, EventPlace>;

#[derive(Default)]
struct Inside {
    events: VecDeque<Mail>,
    lost: Lost,
}

/// A mailbox: the board puts in, one watcher takes out.
#[derive(Default)]
pub(super) struct Mailbox {
    inside: Mutex<Inside>,
    news: Notify,
}

/// What a watcher took out.
pub(super) struct Taken {
    pub(super) events: Vec<Mail>,
    /// Groups of which more is to be read in their tables, behind the events that were taken.
    pub(super) lost: Lost,
    /// Nothing is left.
    pub(super) emptied: bool,
}

impl Mailbox {
    /// Puts an event in. Once one of a group did not fit, no later one of the group goes in before the
    /// watcher knows: each group's events come in order.
    pub(super) fn put(&self, group: usize, place: EventPlace, event: &Arc<Event>) {
        let mut inside = self.inside.lock();
        let full = inside.events.len() >= MAILBOX_EVENTS_MAX;
        if full || inside.lost.contains_key(&group) {
            inside.lost.insert(group, place);
        } else {
            inside.events.push_back((group, place, Arc::clone(event)));
        }
        drop(inside);
        self.news.notify_one();
    }

    /// Says that a group's events up to `place` are in its table only.
    pub(super) fn lose(&self, group: usize, place: EventPlace) {
        self.inside.lock().lost.insert(group, place);
        self.news.notify_one();
    }

    /// Takes up to `limit` events out, and what was lost once nothing else is left.
    pub(super) fn take(&self, limit: usize) -> Taken {
        let mut inside = self.inside.lock();
        let count = inside.events.len().min(limit);
        let events = inside.events.drain(..count).collect();
        let emptied = inside.events.is_empty();
        let lost = match emptied {
            true => std::mem::take(&mut inside.lost),
            false => Lost::new(),
        };
        if emptied && inside.events.capacity() > MAILBOX_EVENTS_MAX / 4 {
            // Most watchers hear little, and there are many of them.
            inside.events.shrink_to_fit();
        }
        Taken {
            events,
            lost,
            emptied,
        }
    }

    /// Wakes the watcher.
    pub(super) fn ring(&self) {
        self.news.notify_one();
    }

    /// Until something was put in, or somebody rang, since the last time.
    pub(super) async fn news(&self) {
        self.news.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use marram_meta::EventKind;
    use marram_types::{BucketId, Generation};

    use super::*;

    fn event() -> Arc<Event> {
        Arc::new(Event {
            kind: EventKind::Put,
            bucket: BucketId(1),
            key: "a".to_owned(),
            generation: Generation(1),
            size: 1,
            etag: String::new(),
            time_ms: 1,
            is_null: true,
            is_marker: false,
            is_noncurrent: false,
        })
    }

    #[test]
    fn what_does_not_fit_is_named_and_nothing_overtakes_it() {
        let mailbox = Mailbox::default();
        let event = event();
        for index in 0..MAILBOX_EVENTS_MAX as u64 {
            mailbox.put(0, EventPlace::behind(index), &event);
        }
        mailbox.put(1, EventPlace::behind(7), &event);
        let first = mailbox.take(10);
        assert_eq!((first.events.len(), first.emptied), (10, false));
        assert!(first.lost.is_empty(), "what was put in comes first");
        mailbox.put(1, EventPlace::behind(8), &event);
        mailbox.put(0, EventPlace::behind(900), &event);
        let rest = mailbox.take(1000);
        assert_eq!(rest.events.len(), MAILBOX_EVENTS_MAX - 10 + 1);
        assert!(rest.events.iter().all(|(group, _, _)| *group == 0));
        assert_eq!(rest.lost, Lost::from([(1, EventPlace::behind(8))]));
        assert!(rest.emptied);
        mailbox.put(1, EventPlace::behind(9), &event);
        let after = mailbox.take(1000);
        assert_eq!((after.events.len(), after.lost.len()), (1, 0));
    }
}
