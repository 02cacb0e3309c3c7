//! What a read finds damaged or gone is told to its group, which files a ticket: nobody has to wait for the scrub.
//!
//! It is a hint and no more. The group takes it only where it looks for the shard at that drive itself, and whoever
//! repairs looks again (placement-protocol.md 14).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use marram_meta::{ObjectCommand, ObjectOutcome};
use marram_types::{PgId, ShardId};
use parking_lot::Mutex;

use crate::core::Core;
use crate::drives::{DriveError, Part, Place};

/// Shards that are remembered as told of. What comes beyond is found by a later read, or by the scrub.
const TOLD_MAX: usize = 1024;
/// A shard is not told of again for so long: until it is repaired, every read may find it.
const TOLD_FOR: Duration = Duration::from_secs(30);
/// How long the drive may take to say it again.
const LOOK_TIME: Duration = Duration::from_secs(3);

/// Shards that were told of lately.
#[derive(Debug, Default)]
pub(crate) struct Reports(Mutex<HashMap<ShardId, Instant>>);

impl Reports {
    /// Whether the shard is to be told of now.
    fn begin(&self, shard: ShardId, now: Instant) -> bool {
        let mut told = self.0.lock();
        if told.len() >= TOLD_MAX {
            told.retain(|_, at| now.saturating_duration_since(*at) < TOLD_FOR);
        }
        let lately = told.get(&shard);
        let lately = lately.is_some_and(|at| now.saturating_duration_since(*at) < TOLD_FOR);
        if lately || (told.len() >= TOLD_MAX && !told.contains_key(&shard)) {
            return false;
        }
        told.insert(shard, now);
        true
    }
}

/// A part of a shard of this placement group was read in vain.
pub(crate) fn tell(core: &Arc<Core>, pg: PgId, place: Place, shard: ShardId, offset: u64) {
    if !core.reports.begin(shard, Instant::now()) {
        return;
    }
    let tasks = core.tasks.clone();
    let core = Arc::clone(core);
    tasks.spawn(async move {
        let part = Part {
            in_background: false,
            place,
            shard,
            offset,
            len: 1,
        };
        // A drive that was about to open, or to get it, has it by now.
        let again = core.drives.read(part, LOOK_TIME).await;
        if !matches!(again, Err(DriveError::Corrupt | DriveError::NotFound)) {
            return;
        }
        let (data, drive) = (shard.data, place.drive);
        let command = ObjectCommand::ShardMissing {
            pg,
            data,
            shard: shard.slot,
            at: drive,
        };
        match core.internal_command(data.group, &command).await {
            Ok(ObjectOutcome::Shard { missing: true, .. }) => {
                tracing::warn!(%shard, %drive, "a read found a shard damaged or gone; it is repaired");
            }
            // It is looked for elsewhere, or not at all any more.
            Ok(_) => {}
            Err(error) => {
                tracing::info!(%shard, %drive, %error, "a lost shard is told of later");
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use marram_types::{DataId, GroupId};

    fn shard(random: u64) -> ShardId {
        ShardId {
            data: DataId {
                group: GroupId(1),
                begin: 1,
                random,
            },
            slot: 0,
            repair: 0,
        }
    }

    #[test]
    fn each_is_told_of_once_in_a_while_and_no_more_than_so_many() {
        let reports = Reports::default();
        let now = Instant::now();
        assert!(reports.begin(shard(0), now));
        assert!(!reports.begin(shard(0), now + TOLD_FOR / 2));
        let later = now + TOLD_FOR;
        assert!(reports.begin(shard(0), later));
        for random in 1..TOLD_MAX as u64 {
            assert!(reports.begin(shard(random), later));
        }
        let more = shard(TOLD_MAX as u64);
        assert!(!reports.begin(more, later), "there are too many");
        assert!(reports.begin(more, later + TOLD_FOR), "they are forgotten");
    }
}
