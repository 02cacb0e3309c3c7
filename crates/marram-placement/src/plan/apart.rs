//! What the shards of a placement group are kept apart by: nodes, or only drives.
//!
//! A pool whose rows have, or had, every slot on a node of its own keeps that when nodes are gone: its rows get
//! fewer slots, and the data narrower stripes (rules.md 19). Two shards on one node would be lost with it,
//! and are not what the profile promises. A pool that never had nodes enough is spread over nodes
//! as far as they go, and over drives beyond: there narrower stripes would promise less, or nothing.

use std::collections::{BTreeMap, BTreeSet};

use marram_types::{DriveId, NodeId};

use super::change::settled;
use super::wish::{Seat, Standing};
use crate::pool::PoolTable;

/// What no two shards of a placement group share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Apart {
    /// A node.
    Nodes,
    /// A drive, because there never were nodes enough, or too few are left for the parity.
    Drives,
}

impl Apart {
    /// What the rows of a pool are kept apart by, when `losses` is the most parity that its profiles have.
    #[must_use]
    pub fn of(table: &PoolTable, seats: &[Seat], losses: usize) -> Self {
        let nodes = Self::Nodes.places(seats);
        let width = usize::from(table.width);
        // Without a data shard beside the parity there are no narrower stripes.
        if nodes > losses && (nodes >= width || has_been_apart(table, seats)) {
            Self::Nodes
        } else {
            Self::Drives
        }
    }

    /// How many places for the slots of one row there are: nodes or drives that keep data.
    #[must_use]
    pub fn places(self, seats: &[Seat]) -> usize {
        let keep = seats
            .iter()
            .filter(|seat| seat.standing >= Standing::Kept && seat.info.weight > 0);
        match self {
            Self::Nodes => keep
                .map(|seat| seat.info.node)
                .collect::<BTreeSet<NodeId>>()
                .len(),
            Self::Drives => keep.count(),
        }
    }
}

/// Whether every row had each slot on a node of its own, by the first table or by the present one. What
/// has no drive any more had a node once, and so had drives of nodes that are gone.
fn has_been_apart(table: &PoolTable, seats: &[Seat]) -> bool {
    let homes: BTreeMap<DriveId, NodeId> =
        seats.iter().map(|s| (s.info.drive, s.info.node)).collect();
    table.domains.most_in_node == 1
        || table.rows.iter().all(|row| {
            let mut nodes = BTreeSet::new();
            settled(row)
                .filter_map(|drive| homes.get(&drive))
                .all(|node| nodes.insert(*node))
        })
}

#[cfg(test)]
mod tests;
