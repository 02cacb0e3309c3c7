//! The end of a node, in two steps, when the root knows of nothing that the node still holds.
//!
//! *Bury* sets a tombstone, which the object groups are told of: from then on none of them takes a
//! commit that rests on the node. Only then does it prove anything to ask them what names the node
//! (overrides, garbage), and the node what is on its drives. When nothing does, it is removed; a
//! change of its duty meanwhile takes the tombstone back (rules.md 25).

use std::ops::{Bound, ControlFlow};

use marram_placement::PoolTable;
use marram_types::NodeId;

use super::apply::Ran;
use super::outcome::RootOutcome;
use crate::kinds::group::GroupRecord;
use crate::kinds::layout_state;
use crate::kinds::node::{self, NodeDuty, NodeRecord, NodeState};
use crate::kinds::tombstone::Tombstone;
use crate::kv::{KvRead, Table};
use crate::refusal::Refusal;
use crate::requests::Apply;
use crate::stored::{StateError, Stored, load, store};

/// Sets a tombstone. One that stands is answered again.
pub(super) fn bury(apply: &mut Apply<'_>, node: NodeId, if_epoch: Option<u64>) -> Ran {
    let key = node::ser_key(node);
    let Some(record) = load::<NodeRecord>(apply.kv, Table::Nodes, &key)? else {
        return Ok(Err(Refusal::NodeUnknown { node }));
    };
    let held: Option<Tombstone> = load(apply.kv, Table::Tombstones, &key)?;
    if held.is_some_and(|held| held.stands) {
        return Ok(Ok(RootOutcome::Done));
    }
    if let Some(refusal) = layout_state::moved_on(apply.kv, if_epoch)? {
        return Ok(Err(refusal));
    }
    if let Some(refusal) = held_by_root(apply, &record)? {
        return Ok(Err(refusal));
    }
    let tombstone = Tombstone {
        node,
        epoch: apply.index,
        stands: true,
        drives: record.drives.iter().map(|drive| drive.drive).collect(),
    };
    store(apply.kv, Table::Tombstones, &key, &tombstone)?;
    Ok(Ok(RootOutcome::Done))
}

/// Takes a tombstone back that stands on a node: the node stays after all.
pub(super) fn take_back(apply: &mut Apply<'_>, node: NodeId) -> Result<(), StateError> {
    let key = node::ser_key(node);
    let held: Option<Tombstone> = load(apply.kv, Table::Tombstones, &key)?;
    if let Some(held) = held.filter(|held| held.stands) {
        let taken_back = Tombstone {
            epoch: apply.index,
            stands: false,
            ..held
        };
        store(apply.kv, Table::Tombstones, &key, &taken_back)?;
    }
    Ok(())
}

/// Removes a node for ever. One that is removed already is removed again.
pub(super) fn remove(apply: &mut Apply<'_>, node: NodeId, tombstone: u64) -> Ran {
    let key = node::ser_key(node);
    let Some(mut record) = load::<NodeRecord>(apply.kv, Table::Nodes, &key)? else {
        return Ok(Err(Refusal::NodeUnknown { node }));
    };
    if record.state == NodeState::Tombstoned {
        return Ok(Ok(RootOutcome::Done));
    }
    if let Some(refusal) = held_by_root(apply, &record)? {
        return Ok(Err(refusal));
    }
    let held: Option<Tombstone> = load(apply.kv, Table::Tombstones, &key)?;
    if !held.is_some_and(|held| held.stands && held.epoch == tombstone) {
        let epoch = tombstone;
        return Ok(Err(Refusal::NotBuried { node, epoch }));
    }
    apply.kv.delete(Table::Narrower, &key)?;
    record.state = NodeState::Tombstoned;
    store(apply.kv, Table::Nodes, &key, &record)?;
    layout_state::changed(apply)?;
    Ok(Ok(RootOutcome::Done))
}

/// What the root itself has against the removal.
fn held_by_root(apply: &Apply<'_>, record: &NodeRecord) -> Result<Option<Refusal>, StateError> {
    let node = record.node;
    if record.duty == NodeDuty::Serving {
        return Ok(Some(Refusal::NodeServes { node }));
    }
    let table = |table: &PoolTable| in_table(record, table);
    if let Some(refusal) = first(apply.kv, Table::Pools, table)? {
        return Ok(Some(refusal));
    }
    let group = |group: &GroupRecord| votes_in(record, group);
    first(apply.kv, Table::Groups, group)
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
