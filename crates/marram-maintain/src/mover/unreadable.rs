//! Dual: a shard that is not to be had. The row is cut without it where it is lost for all that anybody
//! knows (decisions/0055): it is marked missing first, so that nothing claims it at the new place, and its
//! ticket stays. Should a drive return that has it, the scan there brings it to its place.

use marram_placement::Move;

use super::running::Task;
use super::{Wait, Work, shard_id, shard_len};
use crate::consensus::Consensus;
use crate::moves::Homes;
use crate::shards::{Seen, Shards, Wanted};

/// Whether the row may be cut without a shard of which its target said that there is no source. Nothing is
/// decided while a node that may have what is missing is only away.
pub(super) async fn lies_nowhere<C: Consensus, S: Shards>(
    work: &Work<C, S>,
    task: &Task,
    moving: Move,
    wanted: &Wanted,
) -> Result<bool, Wait> {
    // Nothing claims it: not at the old place, and not at the new one.
    if wanted.extent.is_missing(wanted.shard) {
        return Ok(true);
    }
    // Not those from which the task began: whoever was given up then may be back.
    let homes = Homes::of(&work.view.borrow());
    let is_gone = match (homes.node(moving.from), shard_len(&wanted.extent)) {
        // A row that says nothing sensible of its shards is read by nobody.
        (_, Err(_)) => true,
        (None, _) => others_are_known(work, &homes, wanted),
        (Some(node), Ok(length)) if work.is_up(node) => {
            let row = (task.pg, task.epoch());
            let asked = vec![(shard_id(wanted), length)];
            let seen = work.shards.look(node, moving.from, row, asked).await?;
            matches!(seen[..], [Seen::Missing | Seen::Damaged])
        }
        (Some(_), Ok(_)) => false,
    };
    if !is_gone {
        return Ok(false);
    }
    let named = (task.pg, wanted.extent.data, wanted.shard);
    let told = work.say_missing(named, moving.from).await?;
    // What was displaced meanwhile needs no carrying, and what readers look for elsewhere has a ticket.
    Ok(told.is_none_or(|now| now.missing || now.place != moving.from))
}

/// Whether every other shard of an extent lies on a drive that answers, or that nobody waits for.
fn others_are_known<C: Consensus, S: Shards>(
    work: &Work<C, S>,
    homes: &Homes,
    wanted: &Wanted,
) -> bool {
    let mut others = (0_u8..).zip(&wanted.places);
    others.all(|(shard, place)| {
        let is_away = homes.node(*place).is_some_and(|node| !work.is_up(node));
        shard == wanted.shard || wanted.extent.is_missing(shard) || !is_away
    })
}
