//! Long reads keep what they may still need (rules.md 28; decision 0058).
//!
//! What a version held stays for the read lag after it was displaced: that is enough for most reads. One
//! that lasts longer is told of to its group, by the applied index of its look-up: of all long reads of
//! this server that are of one group the oldest counts. The group's floor of readers does not pass that
//! index, until the server says that they have ended, or says nothing for a while.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use marram_meta::{ObjectCommand, ObjectOutcome};
use marram_types::GroupId;
use marram_types::caps::READ_MS_MAX;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::core::Core;
use crate::objects::Seen;

/// A read that lasts so long is told of.
const LONG_AFTER: Duration = Duration::from_secs(2);
/// How often it is looked whether one does.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How often what was told is told again.
const SAY_AGAIN_AFTER: Duration = Duration::from_secs(20);
/// For how long it holds without that: a server that is gone holds nothing for long, and a group that has
/// no leader for a while forgets nothing.
const HELD_FOR: Duration = Duration::from_secs(120);
/// Reads that are older are not waited for (rules.md 28): the group would refuse it.
const OLDEST: Duration = Duration::from_millis(READ_MS_MAX);
/// Groups that are told at once.
const GROUPS_AT_ONCE: usize = 8;

/// A read under way.
#[derive(Debug, Clone, Copy)]
struct Active {
    index: u64,
    since: Instant,
}

#[derive(Debug, Default)]
struct Reads {
    next: u64,
    active: BTreeMap<GroupId, BTreeMap<u64, Active>>,
}

impl Reads {
    fn take(&mut self, group: GroupId, number: u64) -> Option<Active> {
        let of_group = self.active.get_mut(&group)?;
        let active = of_group.remove(&number);
        if of_group.is_empty() {
            self.active.remove(&group);
        }
        active
    }
}

/// The reads of this server that are under way.
#[derive(Debug)]
pub(crate) struct LongReads {
    /// Names this process to the groups.
    server: u64,
    reads: Arc<Mutex<Reads>>,
    /// How often a group has heard.
    #[cfg(test)]
    pub(crate) told: std::sync::atomic::AtomicU64,
}

impl Default for LongReads {
    fn default() -> Self {
        Self {
            server: rand::random(),
            reads: Arc::default(),
            #[cfg(test)]
            told: std::sync::atomic::AtomicU64::default(),
        }
    }
}

/// A read that is under way for as long as this is there.
#[derive(Debug)]
pub(crate) struct Held {
    reads: Arc<Mutex<Reads>>,
    group: GroupId,
    number: u64,
}

impl LongReads {
    /// A read begins, of what was looked up there.
    pub(crate) fn begin(&self, seen: Seen) -> Held {
        self.begin_at(seen, Instant::now())
    }

    fn begin_at(&self, seen: Seen, since: Instant) -> Held {
        let mut reads = self.reads.lock();
        let number = reads.next;
        reads.next += 1;
        let active = Active {
            index: seen.index,
            since,
        };
        reads
            .active
            .entry(seen.group)
            .or_default()
            .insert(number, active);
        Held {
            reads: Arc::clone(&self.reads),
            group: seen.group,
            number,
        }
    }

    /// The look-up of the oldest long read of each group.
    fn oldest(&self, now: Instant) -> BTreeMap<GroupId, u64> {
        let reads = self.reads.lock();
        let is_long = |read: &&Active| {
            let lasts = now.saturating_duration_since(read.since);
            (LONG_AFTER..OLDEST).contains(&lasts)
        };
        let oldest = |active: &BTreeMap<u64, Active>| {
            let long = active.values().filter(is_long);
            long.map(|read| read.index).min()
        };
        let groups = reads.active.iter();
        groups
            .filter_map(|(group, active)| Some((*group, oldest(active)?)))
            .collect()
    }
}

impl Held {
    /// The object was looked up again: what was displaced before that is not needed. It is of another group
    /// then where its bucket was made anew.
    pub(super) fn look_again(&mut self, seen: Seen) {
        let mut reads = self.reads.lock();
        let Some(mut active) = reads.take(self.group, self.number) else {
            return;
        };
        active.index = seen.index;
        let of_group = reads.active.entry(seen.group).or_default();
        of_group.insert(self.number, active);
        self.group = seen.group;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.reads.lock().take(self.group, self.number);
    }
}

/// What a group was told last.
#[derive(Debug, Clone, Copy)]
struct Said {
    index: u64,
    at: Instant,
}

/// What is to be said to a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Say {
    Hold(u64),
    Ended,
}

fn to_say(oldest: Option<u64>, said: Option<Said>, now: Instant) -> Option<Say> {
    match (oldest, said) {
        (None, None) => None,
        (None, Some(_)) => Some(Say::Ended),
        (Some(index), None) => Some(Say::Hold(index)),
        // That an older read has ended is said with the next repetition.
        (Some(index), Some(said)) => {
            let again = now.saturating_duration_since(said.at) >= SAY_AGAIN_AFTER;
            (again || index < said.index).then_some(Say::Hold(index))
        }
    }
}

/// Tells the groups of long reads, for as long as it is polled.
pub(crate) async fn keep(core: Arc<Core>) {
    let mut said: BTreeMap<GroupId, Said> = BTreeMap::new();
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let now = Instant::now();
        let oldest = core.long_reads.oldest(now);
        let groups = oldest.keys().chain(said.keys()).copied();
        let groups: std::collections::BTreeSet<GroupId> = groups.collect();
        let due = groups.into_iter().filter_map(|group| {
            let say = to_say(oldest.get(&group).copied(), said.get(&group).copied(), now)?;
            Some((group, say))
        });
        let due: Vec<_> = due.collect();
        let telling: Vec<_> = due
            .iter()
            .map(|(group, say)| tell(Arc::clone(&core), *group, *say))
            .collect();
        let telling = futures::stream::iter(telling).buffer_unordered(GROUPS_AT_ONCE);
        telling.collect::<Vec<()>>().await;
        for (group, say) in due {
            match say {
                Say::Hold(index) => drop(said.insert(group, Said { index, at: now })),
                Say::Ended => drop(said.remove(&group)),
            }
        }
    }
}

/// Tells one group. What it does not hear is said again with the next repetition, well before it would
/// matter: the lag of readers is longer than that.
async fn tell(core: Arc<Core>, group: GroupId, say: Say) {
    let (index, for_ms) = match say {
        Say::Hold(index) => (index, HELD_FOR.as_millis()),
        Say::Ended => (0, 0),
    };
    let command = ObjectCommand::HoldReads {
        server: core.long_reads.server,
        index,
        for_ms: u64::try_from(for_ms).unwrap_or(u64::MAX),
    };
    match core.internal_command(group, &command).await {
        Ok(ObjectOutcome::Superseded) => tracing::warn!(
            %group, index,
            "a group does not wait for a read that is too old: it may end before its last byte"
        ),
        Ok(_) => {
            #[cfg(test)]
            core.long_reads
                .told
                .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            tracing::debug!(%group, ?say, "a group knows of the long reads");
        }
        Err(error) => tracing::info!(%group, %error, "a group does not hear of the long reads"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GROUP: GroupId = GroupId(3);

    fn seen(index: u64) -> Seen {
        Seen {
            group: GROUP,
            index,
        }
    }

    #[test]
    fn the_oldest_long_read_counts_until_it_ends() {
        let (reads, start) = (LongReads::default(), Instant::now());
        let oldest = |after: Duration| reads.oldest(start + after).get(&GROUP).copied();
        let mut first = reads.begin_at(seen(10), start);
        assert_eq!(oldest(Duration::ZERO), None, "it may be short");
        let second = reads.begin_at(seen(20), start + LONG_AFTER);
        assert_eq!(oldest(LONG_AFTER), Some(10));
        assert_eq!(oldest(LONG_AFTER * 2), Some(10));
        first.look_again(seen(30));
        assert_eq!(oldest(LONG_AFTER), Some(30), "the second may be short");
        assert_eq!(
            oldest(LONG_AFTER * 2),
            Some(20),
            "it goes on with another row"
        );
        drop(second);
        assert_eq!(oldest(LONG_AFTER * 2), Some(30));
        assert_eq!(oldest(OLDEST), None, "it is too old to be waited for");
        // The bucket was made anew.
        let group = GroupId(4);
        first.look_again(Seen { group, index: 5 });
        let all = reads.oldest(start + LONG_AFTER);
        assert_eq!(all, BTreeMap::from([(group, 5)]));
        drop(first);
        assert!(reads.reads.lock().active.is_empty());
    }

    #[test]
    fn what_is_said_is_repeated_and_taken_back() {
        let now = Instant::now();
        let said = Some(Said { index: 10, at: now });
        assert_eq!(to_say(None, None, now), None);
        assert_eq!(to_say(Some(10), None, now), Some(Say::Hold(10)));
        assert_eq!(to_say(Some(10), said, now), None);
        assert_eq!(to_say(Some(12), said, now), None, "that has time");
        assert_eq!(to_say(Some(9), said, now), Some(Say::Hold(9)));
        let later = now + SAY_AGAIN_AFTER;
        assert_eq!(to_say(Some(12), said, later), Some(Say::Hold(12)));
        assert_eq!(to_say(None, said, now), Some(Say::Ended));
    }
}
