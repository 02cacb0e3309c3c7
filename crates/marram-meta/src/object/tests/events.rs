//! What an entry tells those who watch, one test a rule of decision 0051; the model test replays the
//! events of whole histories.

use std::collections::BTreeMap;

use marram_types::Generation;
use marram_types::caps::EVENTS_PAGE_MAX;

use super::uploads::{complete, create, part};
use super::{ask, striped};
use crate::kinds::event::bytes_of;
use crate::kinds::state::GroupState;
use crate::kv::{KvRead, Table};
use crate::testing::{
    BUCKET, Group, delete, delete_version, given, inline, put, request, versioned,
};
use crate::{
    Event, EventKind, EventPlace, EventsAnswer, EventsFound, EventsQuery, ObjectAnswer,
    ObjectCommand, ObjectOutcome, ObjectQuery, Precondition, Versioning, refound_object,
};

const HOUR_MS: u64 = 3_600_000;

pub(super) fn keep(for_ms: u64, bytes: u64) -> ObjectCommand {
    ObjectCommand::KeepEvents { for_ms, bytes }
}

fn found(group: &Group, query: EventsQuery) -> EventsFound {
    match ask(group, &ObjectQuery::Events(query)) {
        ObjectAnswer::Events(EventsAnswer { applied, found }) => {
            assert_eq!(applied, group.index);
            found
        }
        other => panic!("{other:?}"),
    }
}

fn after(group: &Group, after: EventPlace) -> EventsFound {
    let limit = EVENTS_PAGE_MAX;
    let scope = None;
    found(
        group,
        EventsQuery {
            after,
            scope,
            limit,
        },
    )
}

/// One version or marker of a key, as events tell of it.
#[derive(Debug, Clone, Copy)]
struct Known {
    generation: u64,
    is_null: bool,
    is_marker: bool,
}

/// Somebody who listed once and has watched since: knows what is there without asking again.
#[derive(Debug, Default)]
pub(super) struct Replay {
    at: EventPlace,
    /// By key, the oldest first.
    keys: BTreeMap<String, Vec<Known>>,
}

impl Replay {
    /// Begins to watch an empty group.
    pub(super) fn from_now(group: &Group) -> Self {
        Self {
            at: EventPlace::behind(group.index),
            keys: BTreeMap::new(),
        }
    }

    /// Hears what happened meanwhile.
    pub(super) fn follow(&mut self, group: &Group) -> Vec<Event> {
        let EventsFound::Page { events, next, more } = after(group, self.at) else {
            panic!("nothing was compacted");
        };
        assert!(!more, "an entry has few events");
        assert!(events.is_sorted_by(|(a, _), (b, _)| a < b));
        self.at = next;
        let events: Vec<Event> = events.into_iter().map(|(_, event)| event).collect();
        for event in &events {
            self.hear(event);
        }
        events
    }

    fn hear(&mut self, event: &Event) {
        let known = self.keys.entry(event.key.clone()).or_default();
        let new = Known {
            generation: event.generation.0,
            is_null: event.is_null,
            is_marker: event.is_marker,
        };
        match event.kind {
            EventKind::Put | EventKind::Marked => {
                known.retain(|old| !(old.is_null && new.is_null));
                known.push(new);
            }
            EventKind::Metadata if event.is_noncurrent => {}
            EventKind::Metadata => {
                known.pop();
                known.push(new);
            }
            EventKind::Restored => {
                let last = known.last().expect("it was there before");
                assert_eq!(last.generation, new.generation);
            }
            EventKind::Deleted => {
                known.pop_if(|last| !last.is_marker);
            }
            EventKind::VersionDeleted => {
                let before = known.len();
                known.retain(|old| old.generation != new.generation);
                assert_eq!(known.len() + 1, before, "{event:?}");
            }
        }
    }

    /// What a key has, the newest first.
    pub(super) fn generations(&self, key: &str) -> Vec<u64> {
        let known = self.keys.get(key).into_iter().flatten().rev();
        known.map(|known| known.generation).collect()
    }

    /// The generation of the current version.
    pub(super) fn current(&self, key: &str) -> Option<u64> {
        let last = self.keys.get(key)?.last()?;
        (!last.is_marker).then_some(last.generation)
    }
}

/// A group that keeps events, and who watches it.
fn watched() -> (Group, Replay) {
    let mut group = Group::ready();
    group.run(&keep(HOUR_MS, 1 << 20));
    let replay = Replay::from_now(&group);
    (group, replay)
}

/// Runs a command and says what it told: kind and generation.
fn told((group, replay): &mut (Group, Replay), command: &ObjectCommand) -> Vec<(EventKind, u64)> {
    group.run(command);
    let events = replay.follow(group);
    assert!(events.iter().all(|event| event.bucket == BUCKET));
    assert!(events.iter().all(|event| event.time_ms == group.time_ms));
    let brief = |event: Event| (event.kind, event.generation.0);
    events.into_iter().map(brief).collect()
}

#[test]
fn an_object_without_versions_is_put_and_deleted() {
    let mut both = watched();
    told(&mut both, &put("a", 1, inline(1, b"one")));
    let first = both.0.index;
    assert_eq!(both.1.generations("a"), [first]);
    let second = told(&mut both, &put("a", 2, inline(2, b"three")));
    assert_eq!(second, [(EventKind::Put, first + 1)]);
    let wrong = given(
        put("a", 3, inline(3, b"x")),
        Precondition {
            if_generation_match: Some(Generation(first)),
            ..Precondition::default()
        },
    );
    assert_eq!(told(&mut both, &wrong), []);
    let gone = told(&mut both, &delete("a"));
    assert_eq!(gone, [(EventKind::Deleted, both.0.index)]);
    assert_eq!(told(&mut both, &delete("a")), [], "it was gone already");
    assert_eq!(both.1.current("a"), None);
}

#[test]
fn an_event_says_what_the_version_is() {
    let (mut group, mut replay) = watched();
    group.run(&striped("dir/big", 5, "4+2", 5));
    let [event] = &replay.follow(&group)[..] else {
        panic!("one event");
    };
    let wanted = Event {
        kind: EventKind::Put,
        bucket: BUCKET,
        key: "dir/big".to_owned(),
        generation: Generation(group.index),
        size: 1 << 20,
        etag: format!("\"5-{}\"", 1 << 20),
        time_ms: group.time_ms,
        is_null: true,
        is_marker: false,
        is_noncurrent: false,
    };
    assert_eq!(event, &wanted);
}

#[test]
fn a_repeated_request_is_told_once() {
    let (mut group, mut replay) = watched();
    let again = put("a", 1, inline(1, b"one"));
    group.run_as(request(9), &again);
    assert_eq!(replay.follow(&group).len(), 1);
    group.run_as(request(9), &again);
    assert_eq!(replay.follow(&group), []);
}

#[test]
fn versions_markers_and_what_comes_back_are_told_apart() {
    let mut both = watched();
    both.0.run(&versioned(2, Versioning::On));
    told(&mut both, &put("a", 1, inline(1, b"one")));
    told(&mut both, &put("a", 2, inline(2, b"two")));
    let marked = told(&mut both, &delete("a"));
    let marker = both.0.index;
    assert_eq!(marked, [(EventKind::Marked, marker)]);
    assert_eq!(both.1.generations("a"), [marker, marker - 1, marker - 2]);
    let back = told(&mut both, &delete_version("a", marker));
    let restored = (EventKind::Restored, marker - 1);
    assert_eq!(back, [(EventKind::VersionDeleted, marker), restored]);
    let older = told(&mut both, &delete_version("a", marker - 2));
    assert_eq!(older, [(EventKind::VersionDeleted, marker - 2)]);
    let last = told(&mut both, &delete_version("a", marker - 1));
    let deleted = (EventKind::Deleted, both.0.index);
    assert_eq!(last, [(EventKind::VersionDeleted, marker - 1), deleted]);
    assert_eq!(told(&mut both, &delete_version("a", marker - 1)), []);
    assert_eq!(both.1.generations("a"), []);
}

#[test]
fn a_null_version_goes_without_a_word_when_the_next_one_comes() {
    let mut both = watched();
    told(&mut both, &put("a", 1, inline(1, b"null")));
    both.0.run(&versioned(2, Versioning::On));
    told(&mut both, &put("a", 2, inline(2, b"kept")));
    let kept = both.0.index;
    both.0.run(&versioned(3, Versioning::Suspended));
    let new = told(&mut both, &put("a", 3, inline(3, b"null again")));
    assert_eq!(new, [(EventKind::Put, both.0.index)]);
    assert_eq!(both.1.generations("a"), [both.0.index, kept]);
    let null = both.0.index;
    let removed = told(&mut both, &delete_version("a", null));
    let restored = (EventKind::Restored, kept);
    assert_eq!(removed, [(EventKind::VersionDeleted, null), restored]);
}

#[test]
fn an_upload_is_told_when_it_is_an_object() {
    let mut both = watched();
    assert_eq!(told(&mut both, &create("a", 7)), []);
    assert_eq!(told(&mut both, &part("a", 7, 1, "4+2", 1)), []);
    let completion = complete(&both.0, "a", 7, &[1], 9);
    let put = told(&mut both, &completion);
    assert_eq!(put, [(EventKind::Put, both.0.index)]);
}

#[test]
fn nothing_is_told_before_events_are_kept() {
    let mut group = Group::ready();
    group.run(&put("a", 1, inline(1, b"one")));
    let start = EventPlace::default();
    assert_eq!(after(&group, start), EventsFound::NotKept);
    assert_eq!(group.kv.len(Table::Events), 0);
    let state = group.kv.get(Table::Meta, b"state").unwrap().unwrap();
    assert_eq!(state[0], 2, "older releases read the state");
    group.run(&keep(HOUR_MS, 1 << 20));
    let begun = EventPlace::behind(group.index);
    assert_eq!(after(&group, start), EventsFound::Compacted);
    group.run(&put("a", 2, inline(2, b"two")));
    group.run(&keep(2 * HOUR_MS, 1 << 20));
    let EventsFound::Page { events, next, more } = after(&group, begun) else {
        panic!("saying it again loses nothing");
    };
    assert_eq!((events.len(), more), (1, false));
    assert_eq!(next, EventPlace::behind(group.index));
    assert_eq!(
        after(&group, next),
        EventsFound::Page {
            events: vec![],
            next,
            more: false
        }
    );
    let ahead = EventPlace::behind(group.index + 1);
    assert_eq!(after(&group, ahead), EventsFound::Behind);
}

#[test]
fn a_page_is_of_one_prefix_and_goes_on_where_the_last_one_ended() {
    let (mut group, replay) = watched();
    for (version, name) in (1..).zip(["a/1", "b/1", "a/2", "a", "a/3"]) {
        group.run(&put(name, version, inline(1, b"x")));
    }
    let page = |after, prefix: &str, limit| {
        let scope = Some((BUCKET, prefix.to_owned()));
        let query = EventsQuery {
            after,
            scope,
            limit,
        };
        let EventsFound::Page { events, next, more } = found(&group, query) else {
            panic!("a page");
        };
        let keys = events.into_iter().map(|(_, event)| event.key);
        (keys.collect::<Vec<_>>(), next, more)
    };
    let (first, next, more) = page(replay.at, "a/", 2);
    assert_eq!(
        (first, more),
        (vec!["a/1".to_owned(), "a/2".to_owned()], true)
    );
    let (second, next, more) = page(next, "a/", 2);
    assert_eq!((second, more), (vec!["a/3".to_owned()], false));
    assert_eq!(next, EventPlace::behind(group.index));
    assert_eq!(page(replay.at, "", 100).0.len(), 5);
    assert_eq!(page(replay.at, "c", 100).0.len(), 0);
}

/// Bytes and oldest time that the group's state says, which must be what the table has.
fn kept(group: &Group) -> (usize, EventPlace) {
    let kept = GroupState::load(&group.kv).unwrap().events.unwrap();
    let (mut bytes, mut oldest) = (0, None);
    let everything = std::ops::Bound::Unbounded;
    let each = &mut |_: &[u8], value: &[u8]| {
        bytes += bytes_of(value);
        oldest.get_or_insert_with(|| crate::kinds::event::deser_time(value).unwrap());
        std::ops::ControlFlow::Continue(())
    };
    group
        .kv
        .scan(Table::Events, everything, everything, each)
        .unwrap();
    assert_eq!(kept.bytes, bytes);
    assert_eq!(kept.oldest_ms, oldest.unwrap_or(u64::MAX));
    (group.kv.len(Table::Events), kept.floor)
}

#[test]
fn old_events_go_by_the_time_in_the_entries() {
    let (mut group, replay) = watched();
    for version in 1..=40 {
        group.time_ms += 1000;
        group.run(&put("a", version, inline(1, b"x")));
    }
    assert_eq!(kept(&group).0, 40, "none is an hour old");
    group.time_ms += HOUR_MS - 20_000;
    for version in 41..=72 {
        group.run(&put("a", version, inline(1, b"x")));
    }
    let (left, floor) = kept(&group);
    assert_eq!(
        left,
        72 - 19,
        "those of the first seconds are older than an hour"
    );
    assert_eq!(after(&group, replay.at), EventsFound::Compacted);
    assert!(
        matches!(after(&group, floor), EventsFound::Page { events, .. } if events.len() == left)
    );
    group.time_ms += 2 * HOUR_MS;
    for _ in 0..16 {
        group.run(&delete("none"));
    }
    assert_eq!(kept(&group).0, 0);
    let at = EventPlace::behind(group.index);
    assert!(
        matches!(after(&group, at), EventsFound::Page { .. }),
        "who is up to date goes on"
    );
}

#[test]
fn no_more_bytes_are_kept_than_was_said() {
    let mut group = Group::ready();
    group.run(&keep(HOUR_MS, 4000));
    for version in 1..=500 {
        group.run(&put("a/key/of/some/length", version, inline(1, b"x")));
        let state = GroupState::load(&group.kv).unwrap().events.unwrap();
        assert!(state.bytes <= 4000 + 16 * 100, "{}", state.bytes);
    }
    let (left, floor) = kept(&group);
    assert!(left > 30, "{left}");
    assert!(
        matches!(after(&group, floor), EventsFound::Page { events, .. } if events.len() == left)
    );
}

#[test]
fn a_new_beginning_knows_nothing_of_what_was_before() {
    let (mut group, mut replay) = watched();
    group.run(&put("a", 1, inline(1, b"one")));
    replay.follow(&group);
    let lost = EventPlace::behind(group.index + 3);
    let begun = group.index + crate::Jump::at(0).objects;
    refound_object(&mut group.kv, begun).unwrap();
    group.index = begun;
    assert_eq!(after(&group, replay.at), EventsFound::Compacted);
    assert_eq!(
        after(&group, lost),
        EventsFound::Compacted,
        "entries that were lost"
    );
    let mut anew = Replay::from_now(&group);
    let outcome = group.run(&put("a", 2, inline(2, b"two")));
    assert!(matches!(outcome, ObjectOutcome::Committed { .. }));
    assert_eq!(anew.follow(&group).len(), 1);
}
