//! Where the next extent of a put goes.

use std::collections::HashSet;

use marram_object::{ExtentPlan, NoPlace, WriteSession, choose_row, choose_row_at};
use marram_placement::{PoolTable, pool_of};
use marram_types::{DriveId, NodeId, Profile};

use super::PutError;
use crate::begin::Begin;
use crate::core::Core;
use crate::places::Places;

/// What the extents of a write should be.
#[derive(Clone, Copy)]
pub(crate) struct Wanted {
    /// The profile of its large objects: the bucket's, or the write's own.
    pub(crate) bucket: Profile,
    /// That of the object's class.
    pub(crate) object: Profile,
    /// Only rows will do in which it finds all of its places, each on a node of its own where there
    /// are several: nothing is written narrower than asked for.
    pub(crate) whole: bool,
}

/// Answers the session's wish for an extent: a row of the pool of the object's own width, or of the
/// bucket's where that one was never made, chosen at random among those whose drives live, and a
/// fresh data id.
pub(super) fn extent(
    core: &Core,
    session: &mut WriteSession,
    wanted: Wanted,
    begin: Begin,
) -> Result<(), PutError> {
    let places = core.places();
    let width = wanted.bucket.width();
    let table = places
        .pool(pool_of(wanted.object.width()))
        .or_else(|| places.pool(pool_of(width)))
        .ok_or(PutError::NoPool { width })?;
    if wanted.whole {
        return whole_row(core, session, table, wanted.object, begin);
    }
    let start: u64 = rand::random();
    let offer = |session: &mut WriteSession, lives: &dyn Fn(DriveId) -> bool| {
        offer(session, (table, start), begin, lives, |row, living| {
            let node_of = |drive: &DriveId| places.place(*drive).map(|place| place.node);
            let nodes: Vec<_> = row.iter().map(node_of).collect();
            spread(&nodes, living, wanted.object.width())
        })
    };
    let answers = |drive| answers(core, &places, drive);
    // Drives that failed a moment ago are used only where the write could not go on without them.
    let good = |drive| {
        answers(drive) && !core.conditions.is_full(drive) && !is_suspect(core, &places, drive)
    };
    // Slow nodes and such as come and go are spared where the object keeps its width without them: a
    // narrower one costs space, and somebody has to widen it later.
    let steady = |drive| {
        let node = places.place(drive).map(|place| place.node);
        good(drive) && node.is_some_and(|node| !core.prefers_others(node))
    };
    let avoided = session.avoided().clone();
    let reaches = |lives: &dyn Fn(DriveId) -> bool, count: usize| {
        let choice = choose_row(table, start, |drive| {
            lives(drive) && !avoided.contains(&drive)
        });
        choice.is_some_and(|choice| {
            let living = choice.living.iter().filter(|lives| **lives).count();
            living >= count
        })
    };
    if reaches(&steady, wanted.object.width()) && offer(session, &steady).is_ok() {
        return Ok(());
    }
    // A narrower stripe costs space; fewer parity shards cost safety, so those that failed a moment ago
    // are tried before that: they may well be back (rules.md 18).
    let keeps_m = reaches(&good, 1 + wanted.object.m());
    if keeps_m && offer(session, &good).is_ok() {
        return Ok(());
    }
    let any = |drive| answers(drive) && !core.conditions.is_full(drive);
    let Err(no_place) = offer(session, &any) else {
        return Ok(());
    };
    let NoPlace { living, need, .. } = no_place;
    let avoided = session.avoided().clone();
    let is_full = |drive| core.conditions.is_full(drive);
    let with_full = choose_row(table, 0, |drive| {
        answers(drive) && (is_full(drive) || !avoided.contains(&drive))
    });
    // A node may have come back since: what is not for want of room is tried again.
    let for_room = with_full.is_some_and(|choice| {
        let living = choice.row.iter().zip(&choice.living);
        let living: Vec<DriveId> = living.filter(|(_, l)| **l).map(|(d, _)| *d).collect();
        living.len() >= need && living.into_iter().any(is_full)
    });
    if for_room {
        Err(PutError::DrivesFull { living, need })
    } else {
        Err(PutError::NotEnoughNodes { living, need })
    }
}

/// Plans an extent in the first row from a random one on in which a profile finds all of its places.
fn whole_row(
    core: &Core,
    session: &mut WriteSession,
    table: &PoolTable,
    profile: Profile,
    begin: Begin,
) -> Result<(), PutError> {
    let places = core.places();
    let good = |drive| {
        answers(core, &places, drive)
            && !core.conditions.is_full(drive)
            && !is_suspect(core, &places, drive)
            && !session.avoided().contains(&drive)
    };
    let need = profile.width();
    let spread_over = places.node_count().min(need);
    let (start, count) = (rand::random::<u64>(), table.rows.len() as u64);
    let mut living = 0;
    let mut found = None;
    for step in 0..count {
        let choice = choose_row_at(table, start.wrapping_add(step) % count, good);
        let node_of = |drive: &DriveId| places.place(*drive).map(|place| place.node);
        let nodes: Vec<_> = choice.row.iter().map(node_of).collect();
        let chosen = spread(&nodes, &choice.living, need);
        let used = nodes.iter().zip(&chosen).filter(|(_, chosen)| **chosen);
        let distinct: HashSet<_> = used.map(|(node, _)| node).collect();
        let count = chosen.iter().filter(|chosen| **chosen).count();
        living = living.max(count.min(distinct.len().max(1)));
        if count == need && distinct.len() >= spread_over {
            found = Some((choice, chosen));
            break;
        }
    }
    let Some((choice, living)) = found else {
        return Err(PutError::NotEnoughNodes { living, need });
    };
    let planned = session.extent_planned(ExtentPlan {
        data: begin.data_id(),
        pg: choice.pg,
        living,
        row: choice.row,
        also: choice.also,
    });
    planned.map_err(|error| PutError::NotEnoughNodes {
        living: error.living,
        need,
    })
}

/// Whether new data may go to a drive: its node answers, and both are there to take data (rules.md
/// 25).
fn answers(core: &Core, places: &Places, drive: DriveId) -> bool {
    places
        .place(drive)
        .is_some_and(|place| places.takes_data(drive) && core.drives.is_up(place.node))
}

/// Whether a drive failed a moment ago, and nothing speaks for it since.
fn is_suspect(core: &Core, places: &Places, drive: DriveId) -> bool {
    places
        .place(drive)
        .is_none_or(|place| core.is_suspect(place))
}

/// Leaves at most `width` of a row's living slots: one on each node first, and others only where
/// there are too few nodes. The session takes what it is offered in the order of the row.
fn spread(row: &[Option<NodeId>], living: &[bool], width: usize) -> Vec<bool> {
    let mut chosen = vec![false; row.len()];
    let mut count = 0;
    let mut nodes = HashSet::new();
    for first_of_node in [true, false] {
        for (slot, node) in row.iter().enumerate() {
            if count == width || !living[slot] || chosen[slot] {
                continue;
            }
            if !first_of_node || nodes.insert(node) {
                chosen[slot] = true;
                count += 1;
            }
        }
    }
    chosen
}

/// Offers the session a row of drives that `lives` admits, as far as `spread` leaves them.
fn offer(
    session: &mut WriteSession,
    (table, start): (&PoolTable, u64),
    begin: Begin,
    lives: &dyn Fn(DriveId) -> bool,
    spread: impl Fn(&[DriveId], &[bool]) -> Vec<bool>,
) -> Result<(), NoPlace> {
    let avoided = session.avoided();
    let choice = choose_row(table, start, |drive| {
        lives(drive) && !avoided.contains(&drive)
    });
    let choice = choice.expect("a pool's table has rows");
    session.extent_planned(ExtentPlan {
        data: begin.data_id(),
        pg: choice.pg,
        living: spread(&choice.row, &choice.living),
        row: choice.row,
        also: choice.also,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_slot_of_a_node_is_used_only_where_nodes_are_too_few() {
        let nodes = [1, 1, 2, 2, 3, 3].map(|node| Some(NodeId(node)));
        let chosen = |living: [u8; 6], width| {
            let left = spread(&nodes, &living.map(|lives| lives == 1), width);
            let slots = left.iter().enumerate().filter(|(_, chosen)| **chosen);
            slots.map(|(slot, _)| slot).collect::<Vec<_>>()
        };
        assert_eq!(chosen([1, 1, 1, 1, 1, 1], 3), [0, 2, 4]);
        assert_eq!(chosen([0, 1, 1, 1, 1, 1], 3), [1, 2, 4]);
        assert_eq!(chosen([1, 1, 0, 0, 1, 1], 3), [0, 1, 4]);
        assert_eq!(chosen([1, 1, 1, 1, 1, 1], 4), [0, 1, 2, 4]);
        assert_eq!(chosen([1, 1, 1, 1, 1, 1], 6), [0, 1, 2, 3, 4, 5]);
        assert_eq!(chosen([0, 1, 0, 0, 0, 1], 6), [1, 5]);
        assert_eq!(chosen([0; 6], 3), [0_usize; 0]);
    }
}
