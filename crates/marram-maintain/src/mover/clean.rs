//! Cut: the old place is cleaned of what the place that stays was just seen to hold.

use std::collections::BTreeMap;

use marram_placement::Move;
use marram_types::{DriveId, GroupId, ShardId};

use super::running::Task;
use super::{Pages, Wait, Work, requests, shard_id, shard_in, shard_len};
use crate::consensus::Consensus;
use crate::fault::fault_point;
use crate::shards::{Seen, Shards, Wanted};

/// Cleans the old place of what one group has in the placement group. The group was fenced at this
/// epoch before. What it commits later names its own places, and is not touched: a request carries
/// only shards that the group said to be elsewhere.
pub(super) async fn clean_group<C: Consensus, S: Shards>(
    work: &Work<C, S>,
    task: &Task,
    moving: Move,
    group: GroupId,
) -> Result<(), Wait> {
    let old = moving.from;
    let node = task.homes.node(old).ok_or(Wait::Soon)?;
    let mut pages = Pages::new(group, task.pg, task.epoch());
    let mut all_clean = true;
    while let Some(page) = pages.next(work).await? {
        let mut by_place: BTreeMap<DriveId, Vec<Wanted>> = BTreeMap::new();
        for live in page {
            let Some(shard) = shard_in(&live.extent, moving.slot) else {
                continue;
            };
            match live.places.get(usize::from(shard)) {
                Some(place) if *place != old => {
                    by_place.entry(*place).or_default().push(Wanted {
                        extent: live.extent,
                        shard,
                        places: live.places,
                    });
                }
                // A late commit that names the old place: its ticket comes first.
                _ => all_clean = false,
            }
        }
        for (place, shards) in by_place {
            for request in requests(shards)? {
                let asked = request.len();
                let whole = whole_at(work, task, moving, place, request).await?;
                all_clean &= whole.len() == asked;
                if !whole.is_empty() {
                    let row = (task.pg, task.epoch());
                    let whole = whole.into_iter().map(|shard| (shard, moving.slot));
                    fault_point("move.looked");
                    work.shards.clean(node, old, row, whole.collect()).await?;
                }
            }
        }
    }
    if all_clean { Ok(()) } else { Err(Wait::Later) }
}

/// Those shards that were seen whole at their place, just now (placement-protocol.md 8): after a cancelled move
/// nothing has verified the place that stays. A shard that it lacks is brought there, from the old
/// place if need be.
async fn whole_at<C: Consensus, S: Shards>(
    work: &Work<C, S>,
    task: &Task,
    moving: Move,
    place: DriveId,
    shards: Vec<Wanted>,
) -> Result<Vec<ShardId>, Wait> {
    let row = (task.pg, task.epoch());
    let node = task.homes.node(place);
    let node = node.filter(|node| work.is_up(*node)).ok_or(Wait::Later)?;
    let asked: Result<Vec<_>, Wait> = shards
        .iter()
        .map(|wanted| Ok((shard_id(wanted), shard_len(&wanted.extent)?)))
        .collect();
    let seen = work.shards.look(node, place, row, asked?).await?;
    if seen.len() != shards.len() {
        return Err(Wait::Later);
    }
    let mut whole = Vec::with_capacity(shards.len());
    let mut lacking = Vec::new();
    for (mut wanted, seen) in shards.into_iter().zip(seen) {
        if seen == Seen::Whole {
            whole.push(shard_id(&wanted));
        } else if place == moving.to {
            if let Some(source) = wanted.places.get_mut(usize::from(wanted.shard)) {
                *source = moving.from;
            }
            // What is known to be lost was lost at the place that readers look at, not here.
            wanted.extent.missing &= !(1 << wanted.shard);
            lacking.push(wanted);
        }
    }
    if !lacking.is_empty() {
        let ids: Vec<ShardId> = lacking.iter().map(shard_id).collect();
        let held = work.restore((node, place), row, lacking).await?;
        whole.extend(
            ids.into_iter()
                .zip(held)
                .filter(|(_, h)| *h)
                .map(|(id, _)| id),
        );
    }
    Ok(whole)
}
