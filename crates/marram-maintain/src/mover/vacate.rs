//! Dual, on the way to no drive: waits until nothing in the placement group uses the slot. Its groups'
//! leaders have it encoded anew without it ([`crate::Reencode`]).

use marram_placement::Move;
use marram_types::GroupId;

use super::running::Task;
use super::{Pages, Wait, Work, shard_in};
use crate::consensus::Consensus;
use crate::shards::Shards;

/// Looks whether one group has anything in the slot. The group was fenced at this epoch before: what
/// it commits from then on that was written there still has a ticket, and is encoded anew for it.
pub(super) async fn vacate_group<C: Consensus, S: Shards>(
    work: &Work<C, S>,
    task: &Task,
    moving: Move,
    group: GroupId,
) -> Result<(), Wait> {
    let mut pages = Pages::new(group, task.pg, task.epoch());
    while let Some(page) = pages.next(work).await? {
        let uses = |live: &marram_meta::LiveExtent| shard_in(&live.extent, moving.slot).is_some();
        if page.iter().any(uses) {
            return Err(Wait::Later);
        }
    }
    Ok(())
}
