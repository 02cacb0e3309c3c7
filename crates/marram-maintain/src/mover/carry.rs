//! Dual: every shard of the moving slot that there is is brought to the new place and verified there.

use marram_meta::LiveExtent;
use marram_placement::Move;
use marram_types::GroupId;

use super::running::Task;
use super::{Pages, Wait, Work, requests, shard_in, unreadable, whole_rows};
use crate::consensus::Consensus;
use crate::shards::{Restored, Shards, Wanted};

/// Brings what one group has in the placement group to the new place. The group was fenced at this
/// epoch before: what it commits from then on was written to both places, or names its own
/// (placement-protocol.md 3, 5), so a page that was read is not looked at again. One that is stopped
/// goes on after the last extent up to which all were brought.
pub(super) async fn carry_group<C: Consensus, S: Shards>(
    work: &Work<C, S>,
    task: &Task,
    moving: Move,
    group: GroupId,
) -> Result<(), Wait> {
    let node = task.homes.node(moving.to);
    let node = node.filter(|node| work.is_up(*node)).ok_or(Wait::Later)?;
    let row = (task.pg, task.epoch());
    let carried = task.part().carried.get(&group).copied();
    let mut pages = Pages::after(group, task.pg, task.epoch(), carried);
    let mut all_held = true;
    while let Some(page) = pages.next(work).await? {
        let wanted = page
            .into_iter()
            .filter_map(|live| wanted(live, moving.slot));
        let (wanted, damaged) = whole_rows(wanted.collect());
        for wanted in &damaged {
            all_held &= unreadable::lies_nowhere(work, task, moving, wanted).await?;
        }
        for request in requests(wanted)? {
            let last = request.last().map(|wanted| wanted.extent.data);
            let asked = request.clone();
            let restored = work.restore((node, moving.to), row, asked).await?;
            for (wanted, restored) in request.iter().zip(restored) {
                all_held &= match restored {
                    Restored::Held { .. } => true,
                    Restored::Failed => false,
                    Restored::NoSource => {
                        unreadable::lies_nowhere(work, task, moving, wanted).await?
                    }
                };
            }
            if let Some(last) = last.filter(|_| all_held) {
                task.part().carried.insert(group, last);
            }
        }
    }
    if all_held { Ok(()) } else { Err(Wait::Later) }
}

/// The extent's shard in the slot. One that lies elsewhere has a ticket: readers look for it there
/// before the cut and after it.
fn wanted(live: LiveExtent, slot: u8) -> Option<Wanted> {
    let shard = shard_in(&live.extent, slot)?;
    let strays = live.extent.override_of(shard).is_some();
    (!strays).then_some(Wanted {
        extent: live.extent,
        shard,
        places: live.places,
    })
}
