//! Moves of placement groups, as the root decides them (placement-protocol.md 3).
//!
//! ```text
//! StartMoves, NarrowRows:
//!             Stable -> Dual --CutMoves--> Cut --EndMoves--> Stable
//!                          \--CancelMoves--> Cut back to where it was
//! ```
//! A move to a vacant place takes a slot out of use: the layout has too few nodes, and what uses the slot
//! is encoded anew without it, narrower (rules.md 19).
//!
//! Each element of a command applies alone, if the row is still as its sender saw it: a plan that is
//! out of date, a repeated step, or one of a controller that was replaced meanwhile, does nothing.

use std::collections::BTreeSet;

use marram_placement::{MoveError, PgRow, PoolTable, SlotMove};
use marram_types::{DriveId, PoolId};

use super::apply::Ran;
use super::nodes::all_nodes;
use super::outcome::RootOutcome;
use crate::kinds::layout_state;
use crate::kinds::node::{self, NodeDuty, NodeRecord, NodeState};
use crate::kinds::pool;
use crate::kv::Table;
use crate::refusal::Refusal;
use crate::requests::Apply;
use crate::stored::{StateError, load, store};

/// Begins moves of stable rows to drives that take data.
pub(super) fn start(apply: &mut Apply<'_>, pool: PoolId, moves: &[SlotMove]) -> Ran {
    let nodes = all_nodes(apply.kv)?;
    let may_vacate = vacatable(apply, &nodes)?;
    change(apply, pool, |table, epoch| {
        let mut applied = 0;
        for planned in moves {
            let vacates = planned.to == DriveId::vacant(planned.slot)
                && !planned.from.is_vacant()
                && may_vacate(planned.from);
            if (vacates || takes_data(&nodes, planned.to))
                && let Some(row) = table.rows.get_mut(usize::from(planned.pg))
                && row.read_place(planned.slot) == Some(planned.from)
                && let Ok(next) = row.begin(planned.slot, planned.to, epoch)
            {
                *row = next;
                applied += 1;
            }
        }
        applied
    })
}

/// Begins to take slots out of use.
pub(super) fn narrow(apply: &mut Apply<'_>, pool: PoolId, moves: &[SlotMove]) -> Ran {
    let nodes = all_nodes(apply.kv)?;
    let may_vacate = vacatable(apply, &nodes)?;
    let home = |drive: DriveId| {
        let mut nodes = nodes.iter();
        nodes.find(|node| node.drives.iter().any(|held| held.drive == drive))
    };
    let given_up = |drive| home(drive).is_some_and(NodeRecord::is_gone);
    let shares = |row: &PgRow, planned: &SlotMove| {
        let node = home(planned.from).map(|node| node.node);
        let others = (0..).zip(&row.drives).filter(|(s, _)| *s != planned.slot);
        let mut others = others.filter_map(|(_, drive)| home(*drive));
        others.any(|other| Some(other.node) == node)
    };
    change(apply, pool, |table, epoch| {
        let mut applied = 0;
        for planned in moves {
            if planned.to == DriveId::vacant(planned.slot)
                && !planned.from.is_vacant()
                && let Some(row) = table.rows.get_mut(usize::from(planned.pg))
                && row.read_place(planned.slot) == Some(planned.from)
                && (may_vacate(planned.from) || given_up(planned.from) || shares(row, planned))
                && let Ok(next) = row.begin(planned.slot, planned.to, epoch)
            {
                *row = next;
                applied += 1;
            }
        }
        applied
    })
}

/// Which drives' slots may be left without a drive: those of drives and nodes that are given up or
/// removed, and of drained nodes whose data may become narrower (rules.md 19).
fn vacatable(
    apply: &Apply<'_>,
    nodes: &[NodeRecord],
) -> Result<impl Fn(DriveId) -> bool + use<>, StateError> {
    let mut stay: BTreeSet<DriveId> = BTreeSet::new();
    for node in nodes {
        let key = node::ser_key(node.node);
        let goes = node.state == NodeState::Tombstoned
            || node.duty == NodeDuty::Fenced
            || (node.duty == NodeDuty::Draining && apply.kv.get(Table::Narrower, &key)?.is_some());
        if !goes {
            let held = node.drives.iter().filter(|drive| !drive.duty.is_gone());
            stay.extend(held.map(|drive| drive.drive));
        }
    }
    Ok(move |drive| !stay.contains(&drive))
}

fn takes_data(nodes: &[NodeRecord], drive: DriveId) -> bool {
    nodes.iter().any(|node| node.drive_takes_data(drive))
}

/// Takes a step with each row that is still at the epoch given.
pub(super) fn step(
    apply: &mut Apply<'_>,
    pool: PoolId,
    pgs: &[(u16, u64)],
    step: impl Fn(&PgRow, u64) -> Result<PgRow, MoveError>,
) -> Ran {
    change(apply, pool, |table, epoch| {
        let mut applied = 0;
        for (index, seen) in pgs {
            if let Some(row) = table.rows.get_mut(usize::from(*index))
                && row.epoch == *seen
                && let Ok(next) = step(row, epoch)
            {
                *row = next;
                applied += 1;
            }
        }
        applied
    })
}

/// Begins or ends a rebalance. One under way goes on.
pub(super) fn rebalance(apply: &mut Apply<'_>, on: bool, if_epoch: Option<u64>) -> Ran {
    if let Some(refusal) = layout_state::moved_on(apply.kv, if_epoch)? {
        return Ok(Err(refusal));
    }
    let mut state = layout_state::of(apply.kv)?;
    state.rebalance = match (on, state.rebalance) {
        (false, _) => 0,
        (true, 0) => apply.index,
        (true, since) => since,
    };
    layout_state::put(apply, &state)?;
    Ok(Ok(RootOutcome::Done))
}

/// Makes one change of a table, with one epoch for all rows that it changes. `edit` says how many.
fn change(
    apply: &mut Apply<'_>,
    pool: PoolId,
    edit: impl FnOnce(&mut PoolTable, u64) -> u32,
) -> Ran {
    let key = pool::ser_key(pool);
    let Some(mut table) = load::<PoolTable>(apply.kv, Table::Pools, &key)? else {
        return Ok(Err(Refusal::PoolUnknown { pool }));
    };
    let epoch = next_epoch(&table);
    let applied = edit(&mut table, epoch);
    if applied > 0 {
        table.epoch = epoch;
        store(apply.kv, Table::Pools, &key, &table).map_err(StateError::from)?;
        layout_state::changed(apply)?;
    }
    Ok(Ok(RootOutcome::Moved {
        applied,
        epoch: table.epoch,
    }))
}

/// Higher than the table's and than those of its rows, whatever the table was made with.
fn next_epoch(table: &PoolTable) -> u64 {
    let rows = table.rows.iter().map(|row| row.epoch);
    rows.max().unwrap_or(0).max(table.epoch) + 1
}
