//! What moves next, by the root group's view alone: pure, so that every situation is a test.
//!
//! Serving nodes hold slots by their capacity, draining and fenced ones none. A cordoned node keeps
//! what it has and gets nothing: it is planned with the weight that asks for what it holds.

use std::collections::{BTreeMap, BTreeSet};

use marram_meta::{ClusterView, NodeDuty, NodeState};
use marram_placement::{
    DriveInfo, Load, Move, Phase, Plan, PlanError, PoolTable, SlotMove, Topology, plan_change,
};
use marram_types::{DriveId, NodeId};

/// Moves of one pool that are worked on at once.
pub(crate) const MOVES_AT_ONCE: usize = 24;
/// Rows of one pool that may have a move, those included whose move waits for something: they must
/// not keep others from being rebuilt.
pub(crate) const MOVES_MAX: usize = 128;
/// A plan only for balance is worth its copies when a node is off its share by more than this.
const DEVIATION_WORTH: f64 = 0.05;
/// How often the weights of cordoned drives are brought down, so that a plan gives them nothing.
const CORDON_TRIES: usize = 6;

/// What placement may ask of a drive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Standing {
    /// Its node was fenced or removed, or there is no such drive: nothing comes from it any more.
    Gone,
    /// Its node is to be emptied.
    Leaving,
    /// Its node keeps what it has.
    Kept,
    /// It takes data.
    Serving,
}

/// The drives of all nodes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Homes {
    drives: BTreeMap<DriveId, (NodeId, Standing)>,
}

impl Homes {
    pub(crate) fn of(view: &ClusterView) -> Self {
        let drives = view.nodes.values().flat_map(|node| {
            let standing = match (node.state, node.duty) {
                (NodeState::Tombstoned, _) | (_, NodeDuty::Fenced) => Standing::Gone,
                (_, NodeDuty::Draining) => Standing::Leaving,
                (_, NodeDuty::Cordoned) => Standing::Kept,
                (_, NodeDuty::Serving) => Standing::Serving,
            };
            let home = (node.node, standing);
            node.drives.iter().map(move |drive| (drive.drive, home))
        });
        Self {
            drives: drives.collect(),
        }
    }

    pub(crate) fn standing(&self, drive: DriveId) -> Standing {
        let home = self.drives.get(&drive);
        home.map_or(Standing::Gone, |(_, standing)| *standing)
    }

    /// The node that has the drive, if anything can be asked of it.
    pub(crate) fn node(&self, drive: DriveId) -> Option<NodeId> {
        let home = self.drives.get(&drive)?;
        (home.1 != Standing::Gone).then_some(home.0)
    }

    /// All there is, to tell whether it changed.
    pub(crate) fn all(&self) -> &BTreeMap<DriveId, (NodeId, Standing)> {
        &self.drives
    }
}

/// What is to move in a pool.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct PoolPlan {
    /// The moves, without those that a cordoned node would take part in.
    pub(crate) moves: Vec<SlotMove>,
    /// A drive must be emptied: this does not wait for a quiet moment.
    pub(crate) empties: bool,
    /// Rows get safer, or the deviation is worth the copies.
    pub(crate) worth: bool,
    /// Slots that must leave their drive and have nowhere to go.
    pub(crate) unplaced: usize,
}

impl PoolPlan {
    /// Placement groups that have something to move.
    pub(crate) fn pgs(&self) -> usize {
        let pgs: BTreeSet<u16> = self.moves.iter().map(|m| m.pg).collect();
        pgs.len()
    }
}

fn topology(view: &ClusterView, weights: &BTreeMap<DriveId, u64>) -> Topology {
    let active = view.nodes.values().filter(|n| n.state == NodeState::Active);
    let drives = active.flat_map(|node| {
        let stays = matches!(node.duty, NodeDuty::Serving | NodeDuty::Cordoned);
        node.drives.iter().map(move |drive| DriveInfo {
            drive: drive.drive,
            node: node.node,
            zone: node.zone.clone(),
            weight: match weights.get(&drive.drive) {
                Some(weight) => *weight,
                None if stays => drive.capacity,
                None => 0,
            },
        })
    });
    Topology {
        drives: drives.collect(),
    }
}

/// Plans the moves of a pool.
pub(crate) fn plan(
    table: &PoolTable,
    view: &ClusterView,
    homes: &Homes,
) -> Result<PoolPlan, PlanError> {
    let mut weights: BTreeMap<DriveId, u64> = BTreeMap::new();
    let mut planned = topology(view, &weights);
    let mut plan = plan_change(table, &planned)?;
    for _ in 0..CORDON_TRIES {
        let lowered = lower_cordoned(&plan, &planned, homes, &mut weights);
        if !lowered {
            break;
        }
        planned = topology(view, &weights);
        plan = plan_change(table, &planned)?;
    }
    let may = |m: &&SlotMove| {
        homes.standing(m.to) == Standing::Serving && homes.standing(m.from) != Standing::Kept
    };
    let moves: Vec<SlotMove> = plan.moves.iter().filter(may).copied().collect();
    let leaves = |m: &SlotMove| homes.standing(m.from) <= Standing::Leaving;
    Ok(PoolPlan {
        empties: moves.iter().any(leaves),
        worth: is_worth_it(&plan),
        unplaced: plan.unplaced.len(),
        moves,
    })
}

/// Brings down the weights of cordoned drives that the plan gives slots to. Says whether it did.
fn lower_cordoned(
    plan: &Plan,
    planned: &Topology,
    homes: &Homes,
    weights: &mut BTreeMap<DriveId, u64>,
) -> bool {
    let kept = |drive: &DriveId| homes.standing(*drive) == Standing::Kept;
    let filled: BTreeSet<DriveId> = plan.moves.iter().map(|m| m.to).filter(kept).collect();
    let mut lowered = false;
    for info in planned.drives.iter().filter(|d| filled.contains(&d.drive)) {
        let slots = |loads: &BTreeMap<DriveId, Load>| loads.get(&info.drive).map_or(0, |l| l.slots);
        let (held, would) = (slots(&plan.before.drives), slots(&plan.after.drives));
        // A drive that only exchanges slots holds as many as before: a little less ends that too.
        let scaled = u128::from(info.weight) * u128::from(held) / u128::from(would.max(held + 1));
        let weight = u64::try_from(scaled).unwrap_or(u64::MAX).max(1);
        lowered |= weight < info.weight;
        weights.insert(info.drive, weight);
    }
    lowered
}

fn is_worth_it(plan: &Plan) -> bool {
    let is_bare = |load: &Load| load.fair >= 1.0 && load.slots == 0;
    plan.before.spread != plan.after.spread
        || plan.before.node_deviation > DEVIATION_WORTH
        || plan.before.nodes.values().any(is_bare)
        || plan.before.drives.values().any(is_bare)
}

/// The moves of a plan to begin now, at most one of a placement group: first what is away from
/// fenced nodes, because it lacks redundancy, then what leaves draining ones.
pub(crate) fn choose(
    plan: &PoolPlan,
    table: &PoolTable,
    homes: &Homes,
    is_up: impl Fn(NodeId) -> bool,
    most: usize,
) -> Vec<SlotMove> {
    let mut ordered = plan.moves.clone();
    ordered.sort_by_key(|m| (homes.standing(m.from), m.pg, m.slot));
    let mut chosen: BTreeMap<u16, SlotMove> = BTreeMap::new();
    for planned in ordered {
        if chosen.len() >= most {
            break;
        }
        let fits = table.rows.get(usize::from(planned.pg)).is_some_and(|row| {
            row.moving.is_none()
                && row.read_place(planned.slot) == Some(planned.from)
                && !row.drives.contains(&planned.to)
        });
        if fits && homes.node(planned.to).is_some_and(&is_up) {
            chosen.entry(planned.pg).or_insert(planned);
        }
    }
    chosen.into_values().collect()
}

/// What a move under way needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// Bring the shards to the new place, then cut.
    Carry,
    /// The new place is not to be had: stay.
    Cancel,
    /// Clean the old place, then end.
    Clean,
    /// Nothing can be cleaned: end.
    End,
}

/// What a move needs. `is_lost` says that a node was away for so long that nobody waits for it.
pub(crate) fn next(
    moving: Move,
    homes: &Homes,
    is_up: impl Fn(NodeId) -> bool,
    is_lost: impl Fn(NodeId) -> bool,
) -> Next {
    let (from, to) = (homes.standing(moving.from), homes.standing(moving.to));
    match moving.phase {
        Phase::Dual => {
            // What leaves a fenced node goes on to a draining one: nothing else has it.
            let unwanted = to == Standing::Leaving && from != Standing::Gone;
            let lost = homes.node(moving.to).is_none_or(is_lost);
            if lost || unwanted {
                Next::Cancel
            } else {
                Next::Carry
            }
        }
        // Never clean what the place that stays cannot vouch for (placement-protocol.md 8). What is left over
        // is judged by its own node's scan.
        Phase::Cut if to == Standing::Gone => Next::End,
        Phase::Cut if homes.node(moving.from).is_some_and(is_up) => Next::Clean,
        Phase::Cut => Next::End,
    }
}

#[cfg(test)]
mod tests;
