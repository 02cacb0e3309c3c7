//! Who wants to hear of which keys, and how far each group's events were handed out.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use marram_meta::{Event, EventPlace};
use marram_types::BucketId;

use super::mailbox::Mailbox;

/// The watchers of one bucket: by the length of their prefix, then by prefix, then by number. An event
/// costs one look for each length in use, however many watch.
type Interests = BTreeMap<usize, HashMap<String, HashMap<u64, Arc<Mailbox>>>>;

/// The state that feeds and watchers share. It is locked for moments only.
#[derive(Default)]
pub(super) struct Board {
    /// Which feeds run; another number than theirs ends them. 0: none do.
    pub(super) run: u64,
    runs: u64,
    /// By group: every event up to here was handed out.
    heads: Vec<EventPlace>,
    interests: HashMap<BucketId, Interests>,
    watchers: u64,
    numbers: u64,
    /// Buckets that were removed, and of which everything was handed out.
    gone: HashSet<BucketId>,
}

impl Board {
    /// Feeds begin behind these places.
    pub(super) fn begin(&mut self, heads: Vec<EventPlace>) -> u64 {
        self.runs += 1;
        self.run = self.runs;
        self.heads = heads;
        self.gone.clear();
        self.run
    }

    /// Ends the feeds, if nobody watches.
    pub(super) fn end_if_unwatched(&mut self, run: u64) {
        if self.run == run && self.watchers == 0 {
            self.run = 0;
        }
    }

    /// How far each group's events were handed out; none while no feeds run.
    pub(super) fn heads(&self) -> Option<&[EventPlace]> {
        (self.run > 0).then_some(&self.heads[..])
    }

    /// How far one group's events were.
    pub(super) fn head(&self, group: usize) -> EventPlace {
        self.heads[group]
    }

    /// Somebody watches, or begins to: the feeds go on.
    pub(super) fn enter(&mut self) {
        self.watchers += 1;
    }

    /// And does not any more.
    pub(super) fn leave(&mut self) {
        self.watchers -= 1;
    }

    pub(super) fn watchers(&self) -> u64 {
        self.watchers
    }

    /// Hands out a page that begins at or before the group's head.
    pub(super) fn hand_out(
        &mut self,
        group: usize,
        events: Vec<(EventPlace, Event)>,
        next: EventPlace,
    ) {
        let head = self.heads[group];
        for (place, event) in events {
            if place > head {
                self.tell(group, place, event);
            }
        }
        self.heads[group] = head.max(next);
    }

    fn tell(&self, group: usize, place: EventPlace, event: Event) {
        let Some(interests) = self.interests.get(&event.bucket) else {
            return;
        };
        let event = Arc::new(event);
        for (length, by_prefix) in interests {
            let Some(prefix) = event.key.get(..*length) else {
                // It is shorter, or the cut is within a character: no prefix of this length fits.
                continue;
            };
            for mailbox in by_prefix.get(prefix).into_iter().flat_map(HashMap::values) {
                mailbox.put(group, place, &event);
            }
        }
    }

    /// The feed of a group goes on at a later place: what lies between is in the table, if anywhere.
    pub(super) fn jump(&mut self, group: usize, to: EventPlace) {
        self.heads[group] = self.heads[group].max(to);
        for mailbox in self.mailboxes() {
            mailbox.lose(group, to);
        }
    }

    fn mailboxes(&self) -> impl Iterator<Item = &Arc<Mailbox>> {
        let prefixes = self.interests.values().flat_map(BTreeMap::values);
        prefixes.flat_map(HashMap::values).flat_map(HashMap::values)
    }

    /// Has every watcher look whether it may go on.
    pub(super) fn ring_all(&self) {
        self.mailboxes().for_each(|mailbox| mailbox.ring());
    }

    /// Adds a watcher, and says from where on it hears everything.
    pub(super) fn add(
        &mut self,
        bucket: BucketId,
        prefix: &str,
        mailbox: &Arc<Mailbox>,
    ) -> (u64, Vec<EventPlace>) {
        self.numbers += 1;
        let of_bucket = self.interests.entry(bucket).or_default();
        let by_prefix = of_bucket.entry(prefix.len()).or_default();
        let watchers = by_prefix.entry(prefix.to_owned()).or_default();
        watchers.insert(self.numbers, Arc::clone(mailbox));
        (self.numbers, self.heads.clone())
    }

    /// Takes a watcher out.
    pub(super) fn remove(&mut self, bucket: BucketId, prefix: &str, number: u64) {
        let Some(of_bucket) = self.interests.get_mut(&bucket) else {
            return;
        };
        let Some(by_prefix) = of_bucket.get_mut(&prefix.len()) else {
            return;
        };
        if let Some(watchers) = by_prefix.get_mut(prefix) {
            watchers.remove(&number);
            if watchers.is_empty() {
                by_prefix.remove(prefix);
            }
        }
        if by_prefix.is_empty() {
            of_bucket.remove(&prefix.len());
        }
        if of_bucket.is_empty() {
            self.interests.remove(&bucket);
            self.gone.remove(&bucket);
        }
    }

    /// The buckets that somebody watches.
    pub(super) fn buckets(&self) -> Vec<BucketId> {
        self.interests.keys().copied().collect()
    }

    /// Everything of a bucket that was removed is handed out.
    pub(super) fn bucket_gone(&mut self, bucket: BucketId) {
        self.gone.insert(bucket);
        let of_bucket = self.interests.get(&bucket).into_iter();
        let prefixes = of_bucket.flat_map(BTreeMap::values);
        let mailboxes = prefixes.flat_map(HashMap::values).flat_map(HashMap::values);
        mailboxes.for_each(|mailbox| mailbox.ring());
    }

    pub(super) fn is_gone(&self, bucket: BucketId) -> bool {
        self.gone.contains(&bucket)
    }
}

#[cfg(test)]
mod tests {
    use marram_meta::EventKind;
    use marram_types::Generation;

    use super::*;

    fn event(bucket: u64, key: &str) -> Event {
        Event {
            kind: EventKind::Put,
            bucket: BucketId(bucket),
            key: key.to_owned(),
            generation: Generation(1),
            size: 1,
            etag: String::new(),
            time_ms: 1,
            is_null: true,
            is_marker: false,
            is_noncurrent: false,
        }
    }

    fn keys(mailbox: &Mailbox) -> Vec<String> {
        let taken = mailbox.take(usize::MAX).events.into_iter();
        taken.map(|(_, _, event)| event.key.clone()).collect()
    }

    #[test]
    fn everybody_hears_of_keys_that_begin_with_their_prefix() {
        let mut board = Board::default();
        board.begin(vec![EventPlace::behind(5)]);
        let prefixes = ["", "a/", "a/b", "\u{e9}", "b"];
        let boxes: Vec<_> = prefixes
            .iter()
            .map(|_| Arc::new(Mailbox::default()))
            .collect();
        for (prefix, mailbox) in prefixes.iter().zip(&boxes) {
            let (_, heads) = board.add(BucketId(1), prefix, mailbox);
            assert_eq!(heads, [EventPlace::behind(5)]);
        }
        let told = ["a", "a/", "a/b/c", "\u{e9}t\u{e9}", "\u{1f680}"];
        let page = (6..).zip(told).map(|(index, key)| {
            let place = EventPlace { index, ordinal: 0 };
            (place, event(1, key))
        });
        let mut page: Vec<_> = page.collect();
        page.push((
            EventPlace {
                index: 11,
                ordinal: 0,
            },
            event(2, "a/b"),
        ));
        board.hand_out(0, page.clone(), EventPlace::behind(11));
        board.hand_out(0, page, EventPlace::behind(11));
        assert_eq!(
            keys(&boxes[0]),
            told,
            "once, though it was handed out twice"
        );
        assert_eq!(keys(&boxes[1]), ["a/", "a/b/c"]);
        assert_eq!(keys(&boxes[2]), ["a/b/c"]);
        assert_eq!(keys(&boxes[3]), ["\u{e9}t\u{e9}"]);
        assert_eq!(keys(&boxes[4]), [""; 0]);
    }

    #[test]
    fn nothing_is_left_of_watchers_that_went_away() {
        let mut board = Board::default();
        let run = board.begin(vec![EventPlace::default()]);
        let mailbox = Arc::new(Mailbox::default());
        board.enter();
        board.enter();
        let (first, _) = board.add(BucketId(1), "a", &mailbox);
        let (second, _) = board.add(BucketId(1), "a", &mailbox);
        board.bucket_gone(BucketId(1));
        board.remove(BucketId(1), "a", first);
        board.leave();
        assert!(board.is_gone(BucketId(1)));
        board.end_if_unwatched(run);
        assert!(board.heads().is_some(), "one is there");
        board.remove(BucketId(1), "a", second);
        board.leave();
        assert!(!board.is_gone(BucketId(1)));
        assert!(board.interests.is_empty());
        board.end_if_unwatched(run + 1);
        assert!(board.heads().is_some(), "of another run");
        board.end_if_unwatched(run);
        assert!(board.heads().is_none());
    }
}
