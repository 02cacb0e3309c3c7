//! Until when a command may be carried out, by the time of the groups.
//!
//! A group's time is stamped by its leaders and never goes back. A leader whose clock was wrong has moved it on
//! for all after it, and then a deadline by one's own clock has passed before it is proposed. So
//! deadlines are counted from the later of one's own clock and what the group itself has told of its time: another
//! group would refuse one that lies too far ahead of its own.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use marram_meta::REQUEST_AHEAD_MS_MAX;
use marram_types::GroupId;
use parking_lot::Mutex;

use crate::groups::COMMAND_TIME;

/// How far ahead the root group's time is taken to be, once a deadline had passed in it: nobody asks it for
/// its time, and its commands are few.
const ROOT_AHEAD: Duration = Duration::from_millis(REQUEST_AHEAD_MS_MAX / 2);

/// The latest times that groups are known to have, in milliseconds since 1970.
#[derive(Debug, Default)]
pub(crate) struct GroupTime {
    /// Of object groups.
    groups: Mutex<HashMap<GroupId, u64>>,
    root: AtomicU64,
}

impl GroupTime {
    /// An object group's time is this.
    pub(crate) fn saw(&self, group: GroupId, time_ms: u64) {
        let mut groups = self.groups.lock();
        let known = groups.entry(group).or_default();
        *known = time_ms.max(*known);
    }

    /// A deadline had passed in the root group, which was counted from `now_ms`.
    pub(crate) fn root_is_ahead(&self, now_ms: u64) {
        self.root
            .fetch_max(now_ms + ms(ROOT_AHEAD), Ordering::Relaxed);
    }

    /// The deadline of a command to an object group. One that is not applied by then is refused for ever
    /// (rules.md 14). It lies behind the time for which the gateway tries, with room for the leader's
    /// clock to differ.
    pub(crate) fn deadline_ms(&self, group: GroupId, now_ms: u64) -> u64 {
        let told = self.groups.lock().get(&group).copied().unwrap_or(0);
        now_ms.max(told) + ms(COMMAND_TIME + COMMAND_TIME / 2)
    }

    /// The same for the root group.
    pub(crate) fn root_deadline_ms(&self, now_ms: u64) -> u64 {
        now_ms.max(self.root.load(Ordering::Relaxed)) + ms(COMMAND_TIME + COMMAND_TIME / 2)
    }
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).expect("less than an hour")
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_700_000_000_000;

    const GROUP: GroupId = GroupId(1);

    #[test]
    fn a_deadline_lies_behind_the_later_of_both_times() {
        let time = GroupTime::default();
        let least = ms(COMMAND_TIME);
        let at = |now| time.deadline_ms(GROUP, now);
        let usual = at(NOW);
        assert!(usual > NOW + least);
        time.saw(GROUP, NOW - 600_000);
        assert_eq!(at(NOW), usual);
        time.saw(GROUP, NOW + 600_000);
        assert!(at(NOW) > NOW + 600_000 + least);
        let caught_up = NOW + 700_000;
        assert!(
            at(caught_up) < caught_up + 2 * least,
            "no more than it must"
        );
        assert_eq!(time.root_deadline_ms(NOW), usual);
        time.root_is_ahead(NOW);
        let ahead = time.root_deadline_ms(NOW) - NOW;
        assert!(ahead > 1_800_000 && ahead < REQUEST_AHEAD_MS_MAX, "{ahead}");
    }

    #[test]
    fn the_time_of_a_group_is_not_that_of_another() {
        let time = GroupTime::default();
        let usual = time.deadline_ms(GroupId(2), NOW);
        time.saw(GROUP, NOW + 2 * REQUEST_AHEAD_MS_MAX);
        assert_eq!(time.deadline_ms(GroupId(2), NOW), usual);
        assert!(time.deadline_ms(GROUP, NOW) > NOW + 2 * REQUEST_AHEAD_MS_MAX);
    }
}
