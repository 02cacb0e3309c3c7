//! Cut: the old place is cleaned of what the place that stays was just seen to hold.

use std::collections::BTreeMap;

use marram_placement::Move;
use marram_types::{DriveId, GroupId, ShardId};

use super::running::Task;
use super::{Pages, Wait, Work, requests, shard_id, shard_in, shard_len, whole_rows};
use crate::consensus::Consensus;
use crate::fault::fault_point;
use crate::shards::{Restored, Seen, Shards, Wanted};

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
            // At neither end, on a drive that is given up: what the old place may still have is left to its
            // own node's scan.
            if place != moving.to && task.homes.node(place).is_none() {
                continue;
            }
            // Of a row that says nothing sensible of its shards nothing is removed.
            let (shards, _) = whole_rows(shards);
            for request in requests(shards)? {
                let asked = request.len();
                let looked = look_at(work, task, moving, place, request).await?;
                all_clean &= looked.whole.len() + looked.lost == asked;
                if !looked.whole.is_empty() {
                    let row = (task.pg, task.epoch());
                    let whole = looked.whole.into_iter();
                    let whole = whole.map(|shard| (shard, moving.slot)).collect();
                    fault_point("move.looked");
                    work.shards.clean(node, old, row, whole).await?;
                }
            }
        }
    }
    if all_clean { Ok(()) } else { Err(Wait::Later) }
}

/// What was found at the place that readers look at.
#[derive(Debug, Default)]
struct Looked {
    /// Whole there: the old place may be cleaned of them.
    whole: Vec<ShardId>,
    /// Known to be lost, and still not to be had. Nothing of them is removed anywhere.
    lost: usize,
}

/// Looks which shards are whole at their place now (placement-protocol.md 8): after a cancelled move
/// nothing has verified the place that stays. A shard that it lacks is brought there, from the old
/// place if need be; what cannot be is told to be lost.
async fn look_at<C: Consensus, S: Shards>(
    work: &Work<C, S>,
    task: &Task,
    moving: Move,
    place: DriveId,
    shards: Vec<Wanted>,
) -> Result<Looked, Wait> {
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
    let mut looked = Looked::default();
    let mut lacking = Vec::new();
    for (wanted, seen) in shards.into_iter().zip(seen) {
        match seen {
            Seen::Whole => looked.whole.push(shard_id(&wanted)),
            Seen::Missing | Seen::Damaged => lacking.push(wanted),
        }
    }
    let restored = if lacking.is_empty() || place != moving.to {
        vec![Restored::NoSource; lacking.len()]
    } else {
        let from_old = lacking.iter().map(|wanted| also_from(wanted, moving.from));
        work.restore((node, place), row, from_old.collect()).await?
    };
    for (wanted, restored) in lacking.iter().zip(restored) {
        match restored {
            Restored::Held { .. } => looked.whole.push(shard_id(wanted)),
            Restored::NoSource if wanted.extent.is_missing(wanted.shard) => looked.lost += 1,
            Restored::NoSource => {
                let named = (task.pg, wanted.extent.data, wanted.shard);
                work.say_missing(named, place).await?;
            }
            Restored::Failed => {}
        }
    }
    Ok(looked)
}

/// The same shard, wanted from the old place. What is known to be lost was lost at the place that readers
/// look at, not there.
fn also_from(wanted: &Wanted, old: DriveId) -> Wanted {
    let mut wanted = wanted.clone();
    if let Some(source) = wanted.places.get_mut(usize::from(wanted.shard)) {
        *source = old;
    }
    wanted.extent.missing &= !(1 << wanted.shard);
    wanted
}
