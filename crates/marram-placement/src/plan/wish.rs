//! What is to move in a pool, by what may be asked of each drive: the one plan for those who say what
//! would move and for those who move it.
//!
//! Serving drives hold slots by their capacity, leaving ones none. A kept drive keeps what it has
//! and gets nothing: it is planned with the weight that asks for what it holds.

use std::collections::{BTreeMap, BTreeSet};

use marram_types::{DriveId, NodeId};

use super::PlanError;
use super::apart::Apart;
use super::change::plan_change_apart;
use super::report::{Load, Plan, PlanBytes, Unplaced};
use crate::pool::{PoolTable, SlotMove};
use crate::topology::{DriveInfo, Topology};

/// A plan only for balance is worth its copies when a node is off its share by more than this.
const DEVIATION_WORTH: f64 = 0.05;
/// How often the weights of kept drives are brought down, so that a plan gives them nothing.
const KEPT_TRIES: usize = 6;

/// What placement may ask of a drive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// It was given up, or there is no such drive: nothing comes from it any more.
    Gone,
    /// It is to be emptied.
    Leaving,
    /// It keeps what it has.
    Kept,
    /// It takes data.
    Serving,
}

/// A drive with its capacity as weight, and what may be asked of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seat {
    /// The drive.
    pub info: DriveInfo,
    /// What may be asked of it.
    pub standing: Standing,
}

/// What is to move in a pool.
#[derive(Debug, Clone, PartialEq)]
pub struct PoolPlan {
    /// The moves, without those that a kept drive would take part in.
    pub moves: Vec<SlotMove>,
    /// A drive must be emptied: this does not wait for a quiet moment.
    pub empties: bool,
    /// A drive must be emptied, rows get safer, or the deviation is worth the copies.
    pub worth: bool,
    /// Slots that must leave their drive and have nowhere to go.
    pub unplaced: Vec<Unplaced>,
    /// What has nowhere to go may become narrower with all of its parity (rules.md 19).
    pub may_narrow: bool,
    /// By node: slots held now, moves under way taken as ended, and when the moves have been made.
    pub nodes: BTreeMap<NodeId, (u64, u64)>,
    /// The largest deviation of a node from its fair share now.
    pub deviation_before: f64,
    /// The same when the moves have been made.
    pub deviation_after: f64,
    topology: Topology,
}

impl PoolPlan {
    /// Plans the moves of a pool whose profiles have `losses` parity shards at most. Drives that are
    /// not listed are emptied.
    ///
    /// # Errors
    /// When a drive is listed twice, or the table is damaged.
    pub fn of(table: &PoolTable, seats: &[Seat], losses: usize) -> Result<Self, PlanError> {
        let apart = Apart::of(table, seats, losses);
        let standings: BTreeMap<DriveId, Standing> =
            seats.iter().map(|s| (s.info.drive, s.standing)).collect();
        let standing = |drive: DriveId| standings.get(&drive).copied().unwrap_or(Standing::Gone);
        let mut lowered: BTreeMap<DriveId, u64> = BTreeMap::new();
        let mut topology = topology(seats, &lowered);
        let mut plan = plan_change_apart(table, &topology, apart)?;
        for _ in 0..KEPT_TRIES {
            let kept = |drive: &DriveId| standing(*drive) == Standing::Kept;
            if !lower_kept(&plan, &topology, kept, &mut lowered) {
                break;
            }
            topology = self::topology(seats, &lowered);
            plan = plan_change_apart(table, &topology, apart)?;
        }
        let worth = is_worth_it(&plan);
        plan.moves
            .retain(|m| standing(m.to) == Standing::Serving && standing(m.from) != Standing::Kept);
        let leaves = |m: &SlotMove| standing(m.from) <= Standing::Leaving;
        let empties = plan.moves.iter().any(leaves);
        let nodes = node_slots(&plan, &topology);
        Ok(Self {
            empties,
            worth: empties || (worth && !plan.moves.is_empty()),
            deviation_before: plan.before.node_deviation,
            deviation_after: deviation_after(&plan, &nodes),
            moves: plan.moves,
            may_narrow: apart.places(seats) > losses,
            unplaced: plan.unplaced,
            nodes,
            topology,
        })
    }

    /// Whether all that must leave its drive has a place, or gets narrower with all of its parity.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.unplaced.is_empty() || self.may_narrow
    }

    /// Placement groups that have something to move.
    #[must_use]
    pub fn pgs(&self) -> BTreeSet<u16> {
        self.moves.iter().map(|m| m.pg).collect()
    }

    /// The bytes that the moves carry, when a slot of a drive holds so many.
    #[must_use]
    pub fn bytes(&self, per_slot: &BTreeMap<DriveId, u64>) -> PlanBytes {
        PlanBytes::of(&self.moves, &self.topology, |planned| {
            per_slot.get(&planned.from).copied().unwrap_or(0)
        })
    }
}

fn topology(seats: &[Seat], lowered: &BTreeMap<DriveId, u64>) -> Topology {
    let drives = seats.iter().map(|seat| {
        let weight = match lowered.get(&seat.info.drive) {
            Some(weight) => *weight,
            None if seat.standing >= Standing::Kept => seat.info.weight,
            None => 0,
        };
        DriveInfo {
            weight,
            ..seat.info.clone()
        }
    });
    Topology {
        drives: drives.collect(),
    }
}

/// Brings down the weights of kept drives that the plan gives slots to. Says whether it did.
fn lower_kept(
    plan: &Plan,
    planned: &Topology,
    is_kept: impl Fn(&DriveId) -> bool,
    lowered: &mut BTreeMap<DriveId, u64>,
) -> bool {
    let filled: BTreeSet<DriveId> = plan.moves.iter().map(|m| m.to).filter(is_kept).collect();
    let mut any = false;
    for info in planned.drives.iter().filter(|d| filled.contains(&d.drive)) {
        let slots = |loads: &BTreeMap<DriveId, Load>| loads.get(&info.drive).map_or(0, |l| l.slots);
        let (held, would) = (slots(&plan.before.drives), slots(&plan.after.drives));
        // A drive that only exchanges slots holds as many as before: a little less ends that too.
        let scaled = u128::from(info.weight) * u128::from(held) / u128::from(would.max(held + 1));
        let weight = u64::try_from(scaled).unwrap_or(u64::MAX).max(1);
        any |= weight < info.weight;
        lowered.insert(info.drive, weight);
    }
    any
}

fn is_worth_it(plan: &Plan) -> bool {
    let is_bare = |load: &Load| load.fair >= 1.0 && load.slots == 0;
    plan.before.spread != plan.after.spread
        || plan.before.node_deviation > DEVIATION_WORTH
        || plan.before.nodes.values().any(is_bare)
        || plan.before.drives.values().any(is_bare)
}

fn node_slots(plan: &Plan, topology: &Topology) -> BTreeMap<NodeId, (u64, u64)> {
    let homes: BTreeMap<DriveId, NodeId> =
        topology.drives.iter().map(|d| (d.drive, d.node)).collect();
    let held = plan.before.nodes.iter();
    let mut nodes: BTreeMap<NodeId, (u64, u64)> = held
        .map(|(node, load)| (*node, (load.slots, load.slots)))
        .collect();
    for planned in &plan.moves {
        let home = |drive| homes.get(&drive);
        if let Some((_, after)) = home(planned.from).and_then(|node| nodes.get_mut(node)) {
            *after = after.saturating_sub(1);
        }
        if let Some((_, after)) = home(planned.to).and_then(|node| nodes.get_mut(node)) {
            *after += 1;
        }
    }
    nodes
}

fn deviation_after(plan: &Plan, nodes: &BTreeMap<NodeId, (u64, u64)>) -> f64 {
    let fair = |node: &NodeId| plan.after.nodes.get(node).map_or(0.0, |load| load.fair);
    nodes
        .iter()
        .filter(|(node, _)| fair(node) > 0.0)
        .map(|(node, (_, after))| (*after as f64 - fair(node)).abs() / fair(node))
        .fold(0.0, f64::max)
}

#[cfg(test)]
mod tests;
