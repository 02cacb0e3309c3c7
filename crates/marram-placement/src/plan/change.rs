//! What to move when the topology has changed.

use std::collections::BTreeMap;

use marram_types::DriveId;
use marram_types::caps::{PROFILE_K_MAX, PROFILE_M_MAX};

use super::apart::Apart;
use super::domains::Domains;
use super::draft::{Draft, NONE, RowInput};
use super::report::{Load, Plan, Unplaced, balance_of};
use super::{PlanError, place};
use crate::pool::{PoolTable, SlotMove};
use crate::row::PgRow;
use crate::topology::Topology;

/// Plans the moves that fit a table to a topology. A drive of weight 0, or that the topology does not
/// list, is emptied.
///
/// Every row is spread as well as the topology allows, and drives hold slots by weight as far as
/// that spread allows, with the fewest moves. A plan that empties drives makes no further move for
/// balance alone; when they are empty, the next plan may. Rows with a move under way are left alone and counted as
/// if it had ended. A plan may move several slots of a row; they go one after the other.
///
/// # Errors
/// When a drive is listed twice, or the table is damaged. Too few drives are no error: what has no
/// place is in [`Plan::unplaced`].
pub fn plan_change(current: &PoolTable, topology: &Topology) -> Result<Plan, PlanError> {
    plan_change_apart(current, topology, Apart::Drives)
}

/// The same where no two slots of a row may share a node, when `apart` says so: a row gets no more
/// drives than there are nodes, and the rest of its slots are [`Plan::unplaced`].
pub(super) fn plan_change_apart(
    current: &PoolTable,
    topology: &Topology,
    apart: Apart,
) -> Result<Plan, PlanError> {
    let width = usize::from(current.width);
    if width == 0 || width > usize::from(PROFILE_K_MAX + PROFILE_M_MAX) {
        return Err(PlanError::BadWidth { width });
    }
    if current.rows.len() > usize::from(u16::MAX) + 1 {
        return Err(PlanError::TooManyRows {
            rows: current.rows.len(),
        });
    }
    let bad = |row: &PgRow| row.drives.len() != width || !row.is_sound();
    if let Some(row) = current.rows.iter().position(bad) {
        return Err(PlanError::BadRow { row });
    }
    let domains = Domains::new(topology)?;
    let input: Vec<RowInput> = current
        .rows
        .iter()
        .map(|row| RowInput {
            drives: settled(row)
                .map(|d| domains.find(d).unwrap_or(NONE))
                .collect(),
            busy: row.moving.is_some(),
        })
        .collect();
    let draft = place(&domains, (width, apart), &input);
    Ok(report(current, topology, &draft))
}

/// The drives of a row once its move has ended.
pub(super) fn settled(row: &PgRow) -> impl Iterator<Item = DriveId> {
    (0..).zip(&row.drives).map(|(slot, drive)| {
        let moved = row.moving.filter(|m| usize::from(m.slot) == slot);
        moved.map_or(*drive, |m| m.to)
    })
}

/// Where there are fewer drives than empty slots, those come first that have data: a slot without a
/// drive has none.
fn prefer_held(held: &[DriveId], outcome: &mut [Option<usize>]) {
    for slot in 0..outcome.len() {
        let given =
            (0..outcome.len()).find(|other| held[*other].is_vacant() && outcome[*other].is_some());
        let Some(given) = given else {
            return;
        };
        if outcome[slot].is_none() && !held[slot].is_vacant() {
            outcome.swap(slot, given);
        }
    }
}

fn report(current: &PoolTable, topology: &Topology, draft: &Draft<'_>) -> Plan {
    let mut moves = Vec::new();
    let mut unplaced = Vec::new();
    let mut busy = Vec::new();
    let mut before = Vec::with_capacity(current.rows.len());
    let mut after = Vec::with_capacity(current.rows.len());
    for (pg, row) in (0..=u16::MAX).zip(&current.rows) {
        let held: Vec<DriveId> = settled(row).collect();
        let mut next = held.clone();
        if row.moving.is_some() {
            busy.push(pg);
        } else {
            let mut outcome = draft.outcome(usize::from(pg));
            prefer_held(&held, &mut outcome);
            for ((slot, from), to) in (0..).zip(&held).zip(outcome) {
                let from = *from;
                match to.map(|to| draft.drive_id(to)) {
                    None => unplaced.push(Unplaced {
                        pg,
                        slot,
                        drive: from,
                    }),
                    Some(to) if to != from => {
                        next[usize::from(slot)] = to;
                        moves.push(SlotMove { pg, slot, from, to });
                    }
                    Some(_) => {}
                }
            }
        }
        before.push(held);
        after.push(next);
    }
    let domains = draft.domains;
    let drives = (domains.drives.iter().zip(&draft.shares.drives)).map(|(d, s)| (d.id, *s));
    let nodes = (domains.nodes.iter().zip(&draft.shares.nodes)).map(|(n, s)| (n.id, *s));
    let (drives, nodes): (BTreeMap<_, _>, BTreeMap<_, _>) = (drives.collect(), nodes.collect());
    let before = balance_of(&before, topology, &drives, &nodes);
    let mut after = balance_of(&after, topology, &drives, &nodes);
    for (drive, load) in &before.drives {
        let emptied = Load { slots: 0, ..*load };
        after.drives.entry(*drive).or_insert(emptied);
    }
    Plan {
        moves,
        unplaced,
        busy,
        before,
        after,
    }
}

#[cfg(test)]
mod tests;
