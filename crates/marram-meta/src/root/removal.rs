//! The end of a node: a tombstone, when the root knows of nothing that the node still holds.
//!
//! What the object groups know (overrides, garbage) and what is on its drives is for the caller to
//! prove before (rules.md 25).

use std::ops::{Bound, ControlFlow};

use marram_placement::PoolTable;
use marram_types::NodeId;

use super::apply::Ran;
use super::outcome::RootOutcome;
use crate::kinds::group::GroupRecord;
use crate::kinds::node::{self, NodeDuty, NodeRecord, NodeState};
use crate::kv::{KvRead, Table};
use crate::refusal::Refusal;
use crate::requests::Apply;
use crate::stored::{StateError, Stored, load, store};

/// Removes a node for ever. One that is removed already is removed again.
pub(super) fn remove(apply: &mut Apply<'_>, node: NodeId) -> Ran {
    let key = node::ser_key(node);
    let Some(mut record) = load::<NodeRecord>(apply.kv, Table::Nodes, &key)? else {
        return Ok(Err(Refusal::NodeUnknown { node }));
    };
    if record.state == NodeState::Tombstoned {
        return Ok(Ok(RootOutcome::Done));
    }
    if record.duty == NodeDuty::Serving {
        return Ok(Err(Refusal::NodeServes { node }));
    }
    let table = |table: &PoolTable| in_table(&record, table);
    if let Some(refusal) = first(apply.kv, Table::Pools, table)? {
        return Ok(Err(refusal));
    }
    let group = |group: &GroupRecord| votes_in(&record, group);
    if let Some(refusal) = first(apply.kv, Table::Groups, group)? {
        return Ok(Err(refusal));
    }
    record.state = NodeState::Tombstoned;
    store(apply.kv, Table::Nodes, &key, &record)?;
    Ok(Ok(RootOutcome::Done))
}

/// The first placement group that a drive of the node is in, or moves into or out of.
fn in_table(record: &NodeRecord, table: &PoolTable) -> Option<Refusal> {
    let node = record.node;
    (0..=u16::MAX).zip(&table.rows).find_map(|(index, row)| {
        let pg = table.pg(index);
        record.drives.iter().find_map(|held| {
            let drive = held.drive;
            if row.drives.contains(&drive) {
                Some(Refusal::NodeInLayout { node, pg, drive })
            } else {
                row.names(drive)
                    .then_some(Refusal::NodeInMove { node, pg, drive })
            }
        })
    })
}

/// A replica of the node that votes or joins, past ones included: only a change of membership ends
/// that.
fn votes_in(record: &NodeRecord, group: &GroupRecord) -> Option<Refusal> {
    let mut replicas = record.replica.iter().chain(&record.replicas_past);
    let replica = *replicas.find(|replica| group.names(**replica))?;
    Some(Refusal::NodeVotes {
        node: record.node,
        group: group.group,
        replica,
    })
}

/// What `each` finds first in a table.
fn first<T: Stored>(
    kv: &dyn KvRead,
    table: Table,
    each: impl Fn(&T) -> Option<Refusal>,
) -> Result<Option<Refusal>, StateError> {
    let mut found = Ok(None);
    let all = (Bound::Unbounded, Bound::Unbounded);
    kv.scan(table, all.0, all.1, &mut |_, bytes| {
        found = T::deser_value(bytes).map(|value| each(&value));
        match found {
            Ok(None) => ControlFlow::Continue(()),
            _ => ControlFlow::Break(()),
        }
    })?;
    found.map_err(StateError::corrupt(table))
}
