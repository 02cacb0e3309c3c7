//! What moves next of what is planned, by the root group's view alone: pure, so that every situation
//! is a test.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Duration;

use marram_meta::{ClusterView, DriveRecord, Pausable};
use marram_placement::{Move, PgRow, Phase, PoolPlan, PoolTable, SlotMove, Standing};
use marram_types::{DriveId, NodeId};

/// Moves of one pool that are begun at once, where nothing is known of how long they take.
pub(crate) const MOVES_AT_ONCE: usize = 24;
/// The most that are, of small ones: each step costs a few entries in the root group and in every other,
/// however many placement groups it is about.
pub(crate) const SMALL_MOVES_AT_ONCE: usize = 64;
/// Moves that were followed by the next ones so soon were small.
const SMALL_WITHIN: Duration = Duration::from_secs(3);
/// After this time nothing is known any more.
const KNOWN_FOR: Duration = Duration::from_secs(30);
/// Rows of one pool that may have a move, beside those whose move waits for something.
pub(crate) const MOVES_MAX: usize = 128;
/// Rows of one pool whose move waits, for a source or a drive, beyond which no other move is begun. They are
/// counted apart: what cannot be read must not keep the rest of its pool from being rebuilt. Together with
/// those above they are as many rows as a pool has by default.
pub(crate) const WAITING_MAX: usize = 384;

/// The rows of one pool that have a move.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct RowsMoving {
    /// What brings redundancy back is being carried.
    pub(crate) rebuild: usize,
    /// Other moves that are being carried.
    pub(crate) carry: usize,
    /// In another phase, or paused.
    pub(crate) other: usize,
    /// What the move needs was not to be had the last time.
    pub(crate) wait: usize,
}

impl RowsMoving {
    /// How many more may have one, whatever they move for.
    pub(crate) fn free(self) -> usize {
        let goes_on = self.rebuild + self.carry + self.other;
        let all = goes_on + self.wait;
        let free = MOVES_MAX.saturating_sub(goes_on);
        free.min((MOVES_MAX + WAITING_MAX).saturating_sub(all))
    }

    /// How many moves to begin now, when so many are begun at once, and whether only such as bring
    /// redundancy back: those wait for nothing but for half of the like before them, the others until
    /// nothing is carried.
    pub(crate) fn room(self, at_once: usize) -> (usize, bool) {
        let is_calm = self.rebuild + self.carry == 0;
        let most = match self.rebuild {
            some if some <= at_once / 2 => at_once - some,
            _ => 0,
        };
        (most.min(self.free()), !is_calm)
    }
}

/// The drives of all nodes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Homes {
    drives: BTreeMap<DriveId, (NodeId, Standing)>,
}

impl Homes {
    pub(crate) fn of(view: &ClusterView) -> Self {
        let drives = view.nodes.values().flat_map(|node| {
            let home = |drive: &DriveRecord| (node.node, node.standing_of(drive));
            node.drives
                .iter()
                .map(move |drive| (drive.drive, home(drive)))
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

/// How many slots of a row lie on drives that nothing comes from any more. A slot without a drive is none of
/// them: what uses the row does without it.
pub(crate) fn lost_slots(row: &PgRow, homes: &Homes) -> usize {
    let gone = |drive: &&DriveId| !drive.is_vacant() && homes.standing(**drive) == Standing::Gone;
    row.drives.iter().filter(gone).count()
}

/// The moves of a plan to begin now, at most one of a placement group: first what is away from
/// fenced nodes, because it lacks redundancy, those rows first that lost most; then what leaves draining ones.
pub(crate) fn choose(
    plan: &PoolPlan,
    table: &PoolTable,
    homes: &Homes,
    is_up: impl Fn(NodeId) -> bool,
    (is_wanted, most): (impl Fn(&SlotMove) -> bool, usize),
) -> Vec<SlotMove> {
    let mut ordered = plan.moves.clone();
    ordered.retain(is_wanted);
    ordered.sort_by_cached_key(|m| {
        let row = table.rows.get(usize::from(m.pg));
        let lost = row.map_or(0, |row| lost_slots(row, homes));
        (homes.standing(m.from), Reverse(lost), m.pg, m.slot)
    });
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

/// How many moves to begin, when so many could be the last time, and that is so long ago. Large ones stay
/// few: as long as they last, writers write to both places.
pub(crate) fn at_once(last: Option<(usize, Duration)>) -> usize {
    match last {
        Some((most, ago)) if ago < SMALL_WITHIN => (most * 2).min(SMALL_MOVES_AT_ONCE),
        Some((most, ago)) if ago < KNOWN_FOR => most,
        _ => MOVES_AT_ONCE,
    }
}

/// What a move is made for: it is paused with that.
pub(crate) fn work_of(from: DriveId, to: DriveId, homes: &Homes) -> Pausable {
    // What is on a drive that is gone, or on too few, lacks redundancy.
    match homes.standing(from) == Standing::Gone || to.is_vacant() {
        true => Pausable::Repair,
        false => Pausable::Moves,
    }
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
    /// The slot is to have no drive: wait until nothing uses it, then cut.
    Vacate,
}

/// What speaks against a move under way, by the experience of who carries it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Doubt {
    /// A drive has not done what the move needs for so long that nobody waits for it.
    pub(crate) is_stuck: bool,
    /// The target is full or failing.
    pub(crate) to_unfit: bool,
}

/// What a move needs. `is_lost` says that a node was away for so long that nobody waits for it.
pub(crate) fn next(
    moving: Move,
    homes: &Homes,
    (is_up, is_lost): (impl Fn(NodeId) -> bool, impl Fn(NodeId) -> bool),
    doubt: Doubt,
) -> Next {
    let (from, to) = (homes.standing(moving.from), homes.standing(moving.to));
    match moving.phase {
        Phase::Dual => {
            // What leaves a fenced node goes on to a draining one: nothing else has it.
            let unwanted = to == Standing::Leaving && from != Standing::Gone;
            let lost = homes.node(moving.to).is_none_or(is_lost);
            // Planned anew, it goes elsewhere.
            if lost || unwanted || doubt.is_stuck || doubt.to_unfit {
                Next::Cancel
            } else {
                Next::Carry
            }
        }
        // Never clean what the place that stays cannot vouch for (placement-protocol.md 8). What is left over
        // is judged by its own node's scan.
        Phase::Cut if to == Standing::Gone => Next::End,
        // A drive that fails must not keep the others of its pool from being emptied or rebuilt.
        Phase::Cut if doubt.is_stuck => Next::End,
        Phase::Cut if homes.node(moving.from).is_some_and(is_up) => Next::Clean,
        Phase::Cut => Next::End,
    }
}

#[cfg(test)]
mod tests;
