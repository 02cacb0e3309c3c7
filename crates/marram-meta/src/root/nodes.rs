//! Nodes, their drives and their Raft replicas.

use std::ops::{Bound, ControlFlow};

use marram_types::{DriveId, NodeId, ReplicaId};

use super::apply::{FOUNDER, Ran};
use super::buckets;
use super::command::{DriveJoin, NodeJoin};
use super::outcome::RootOutcome;
use super::removal;
use crate::kinds::absence::Absence;
use crate::kinds::drive::DriveRecord;
use crate::kinds::layout_state;
use crate::kinds::node::{self, NodeDuty, NodeRecord, NodeState};
use crate::kv::{KvRead, Table};
use crate::refusal::{IdentityRefusal, Malformed, Refusal};
use crate::requests::Apply;
use crate::stored::{StateError, Stored, load, store};

/// Which ids a node gets when it is admitted.
pub(super) enum NodeIds {
    /// Ids that nobody had.
    Fresh,
    /// Those that it brings, its drives' in the order of the description: checked by the caller.
    Kept(NodeId, Vec<DriveId>),
}

/// Admits a node. Its key is who it is: the same key again is the same node (a retry, or a node
/// that lost the answer), with new addresses perhaps.
pub(super) fn add(apply: &mut Apply<'_>, join: NodeJoin) -> Ran {
    admit(apply, join, NodeIds::Fresh)
}

/// Admits a node under these ids; a member keeps its own.
pub(super) fn admit(apply: &mut Apply<'_>, mut join: NodeJoin, ids: NodeIds) -> Ran {
    if !drives_fit(&join.drives) {
        return Ok(Err(Malformed::Drives.into()));
    }
    let nodes = all_nodes(apply.kv)?;
    if let Some(refusal) = taken(&nodes, &join) {
        return Ok(Err(Refusal::Identity(refusal)));
    }
    if join.name.is_empty() {
        join.name = free_name(&nodes, &join.public_key);
    }
    if let Some(known) = apply.kv.get(Table::NodeKeys, &join.public_key)? {
        let node = node::deser_id(&known).map_err(StateError::corrupt(Table::NodeKeys))?;
        return readmit(apply, node, join);
    }
    let (node, drives) = match ids {
        NodeIds::Fresh => (NodeId(apply.index), fresh_drives(apply.index, &join.drives)),
        NodeIds::Kept(node, drives) => (node, drives),
    };
    let record = NodeRecord {
        node,
        name: join.name,
        mesh_addr: join.mesh_addr,
        api_addr: join.api_addr,
        public_key: join.public_key,
        zone: join.zone,
        drives: drive_records(&drives, &join.drives),
        replica: None,
        replicas_past: Vec::new(),
        state: NodeState::Active,
        duty: NodeDuty::Serving,
        absence: Absence::default(),
    };
    let key = node::ser_key(record.node);
    apply.kv.put(Table::NodeKeys, &record.public_key, &key)?;
    store(apply.kv, Table::Nodes, &key, &record)?;
    layout_state::changed(apply)?;
    Ok(Ok(added(&record)))
}

/// A living member other than this one that has its name or its address. A node that was given up
/// makes room for one that takes its place.
fn taken(nodes: &[NodeRecord], join: &NodeJoin) -> Option<IdentityRefusal> {
    let mut others = nodes.iter().filter(|node| {
        node.state == NodeState::Active
            && node.duty != NodeDuty::Fenced
            && node.public_key != join.public_key
    });
    others.find_map(|other| {
        let node = other.node;
        if !join.name.is_empty() && other.name == join.name {
            let name = join.name.clone();
            return Some(IdentityRefusal::NameTaken { name, node });
        }
        let address = join.mesh_addr.clone();
        (other.mesh_addr == address).then_some(IdentityRefusal::AddressTaken { address, node })
    })
}

/// The name of a node that brings none: the one that it has, else `node-N` of the lowest number that
/// no node ever had.
fn free_name(nodes: &[NodeRecord], key: &[u8; 32]) -> String {
    if let Some(own) = nodes.iter().find(|node| node.public_key == *key) {
        return own.name.clone();
    }
    let mut names = (1_u64..).map(|number| format!("node-{number}"));
    names
        .find(|name| nodes.iter().all(|node| node.name != *name))
        .expect("there are more numbers than nodes")
}

/// At least one drive, each with an ordinal of its own.
fn drives_fit(drives: &[DriveJoin]) -> bool {
    let mut ordinals: Vec<u8> = drives.iter().map(|d| d.ordinal).collect();
    ordinals.sort_unstable();
    !ordinals.is_empty() && ordinals.windows(2).all(|pair| pair[0] != pair[1])
}

/// One entry admits several drives, so a drive's id is the entry's index with the ordinal in the
/// low byte: as unique as the index, and never reused (rules.md 1).
fn fresh_drives(index: u64, drives: &[DriveJoin]) -> Vec<DriveId> {
    let id = |join: &DriveJoin| DriveId(index << 8 | u64::from(join.ordinal));
    drives.iter().map(id).collect()
}

fn drive_records(ids: &[DriveId], drives: &[DriveJoin]) -> Vec<DriveRecord> {
    let record = |(drive, join): (&DriveId, &DriveJoin)| {
        DriveRecord::new(*drive, join.ordinal, join.capacity)
    };
    let mut records: Vec<_> = ids.iter().zip(drives).map(record).collect();
    records.sort_unstable_by_key(|drive| drive.ordinal);
    records
}

fn added(record: &NodeRecord) -> RootOutcome {
    let mut present: Vec<&DriveRecord> = record.present_drives().collect();
    present.sort_by_key(|held| held.ordinal);
    RootOutcome::NodeAdded {
        node: record.node,
        drives: present.into_iter().map(|held| held.drive).collect(),
    }
}

fn readmit(apply: &mut Apply<'_>, node: NodeId, join: NodeJoin) -> Ran {
    match member(apply.kv, node)? {
        Ok(mut record) => {
            record.name = join.name;
            record.mesh_addr = join.mesh_addr;
            record.api_addr = join.api_addr;
            store(apply.kv, Table::Nodes, &node::ser_key(node), &record)?;
            Ok(Ok(added(&record)))
        }
        Err(_) => Ok(Err(Refusal::NodeTombstoned { node })),
    }
}

/// The member whose public key has this fingerprint.
pub(super) fn member_of_key(
    kv: &dyn KvRead,
    key: &[u8; 32],
) -> Result<Option<NodeRecord>, StateError> {
    let Some(known) = kv.get(Table::NodeKeys, key)? else {
        return Ok(None);
    };
    let node = node::deser_id(&known).map_err(StateError::corrupt(Table::NodeKeys))?;
    Ok(member(kv, node)?.ok())
}

/// A node that belongs to the cluster, or why there is none.
pub(super) fn member(
    kv: &dyn KvRead,
    node: NodeId,
) -> Result<Result<NodeRecord, Refusal>, StateError> {
    let record: Option<NodeRecord> = load(kv, Table::Nodes, &node::ser_key(node))?;
    Ok(record
        .filter(|record| record.state == NodeState::Active)
        .ok_or(Refusal::NodeUnknown { node }))
}

/// Gives a node a fresh replica id, or the founder its own. A founder that asks again is answered
/// again.
pub(super) fn add_replica(apply: &mut Apply<'_>, node: NodeId, founder: bool) -> Ran {
    let mut record = match member(apply.kv, node)? {
        Ok(record) => record,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let replica = if founder {
        FOUNDER
    } else {
        ReplicaId(apply.index)
    };
    let answer = Ok(Ok(RootOutcome::ReplicaAdded { replica }));
    let key = node::ser_replica_key(replica);
    if founder && record.replica == Some(FOUNDER) {
        return answer;
    }
    if apply.kv.get(Table::Replicas, &key)?.is_some() {
        return Ok(Err(Refusal::ReplicaExists { replica }));
    }
    record.replicas_past.extend(record.replica.take());
    record.replica = Some(replica);
    apply.kv.put(Table::Replicas, &key, &node::ser_key(node))?;
    store(apply.kv, Table::Nodes, &node::ser_key(node), &record)?;
    answer
}

/// Gives a node that has lost the log of a replica a fresh id; whatever it was before never returns.
pub(super) fn renew_replica(apply: &mut Apply<'_>, node: NodeId, lost: ReplicaId) -> Ran {
    let mut record = match member(apply.kv, node)? {
        Ok(record) => record,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let replica = ReplicaId(apply.index);
    for past in record.replica.take().into_iter().chain([lost]) {
        if !record.replicas_past.contains(&past) {
            record.replicas_past.push(past);
        }
    }
    record.replica = Some(replica);
    let key = node::ser_replica_key(replica);
    apply.kv.put(Table::Replicas, &key, &node::ser_key(node))?;
    store(apply.kv, Table::Nodes, &node::ser_key(node), &record)?;
    Ok(Ok(RootOutcome::ReplicaAdded { replica }))
}

/// Changes a node's addresses.
pub(super) fn update(
    apply: &mut Apply<'_>,
    node: NodeId,
    mesh_addr: String,
    api_addr: String,
) -> Ran {
    let mut record = match member(apply.kv, node)? {
        Ok(record) => record,
        Err(refusal) => return Ok(Err(refusal)),
    };
    record.mesh_addr = mesh_addr;
    record.api_addr = api_addr;
    store(apply.kv, Table::Nodes, &node::ser_key(node), &record)?;
    Ok(Ok(RootOutcome::Done))
}

/// Changes what a node is there for; what it is already, it becomes again. `narrower` says that narrower
/// stripes are accepted with it: noted only where the duty is changed.
pub(super) fn set_duty(apply: &mut Apply<'_>, node: NodeId, duty: NodeDuty, narrower: bool) -> Ran {
    let mut record = match member(apply.kv, node)? {
        Ok(record) => record,
        Err(refusal) => return Ok(Err(refusal)),
    };
    if !record.duty.may_become(duty) {
        return Ok(Err(Refusal::DutyChange {
            node,
            from: record.duty,
            to: duty,
        }));
    }
    let key = node::ser_key(node);
    if record.duty == duty {
        if narrower {
            apply.kv.put(Table::Narrower, &key, &[])?;
        }
        return Ok(Ok(RootOutcome::Done));
    }
    if duty == NodeDuty::Draining {
        let before = apply.kv.get(Table::Narrower, &key)?.is_some();
        let narrower = narrower || before;
        if let Some(refusal) = buckets::leaves_too_few(apply.kv, node, narrower)? {
            return Ok(Err(refusal));
        }
    }
    if duty == NodeDuty::Serving {
        apply.kv.delete(Table::Narrower, &key)?;
    } else if narrower {
        apply.kv.put(Table::Narrower, &key, &[])?;
    }
    record.duty = duty;
    store(apply.kv, Table::Nodes, &node::ser_key(node), &record)?;
    removal::take_back(apply, node)?;
    layout_state::changed(apply)?;
    Ok(Ok(RootOutcome::Done))
}

/// The same, if the node is still what the caller saw: of two operators who act at once, the second
/// one is told.
pub(super) fn change_duty(
    apply: &mut Apply<'_>,
    node: NodeId,
    (from, to): (NodeDuty, NodeDuty),
    if_epoch: Option<u64>,
    narrower: bool,
) -> Ran {
    let record = match member(apply.kv, node)? {
        Ok(record) => record,
        Err(refusal) => return Ok(Err(refusal)),
    };
    // What it shall be it may have become by an earlier attempt whose answer was lost.
    if record.duty != to {
        if let Some(refusal) = layout_state::moved_on(apply.kv, if_epoch)? {
            return Ok(Err(refusal));
        }
        if record.duty != from {
            return Ok(Err(Refusal::DutyChanged {
                node,
                now: record.duty,
                expected: from,
            }));
        }
    }
    set_duty(apply, node, to, narrower)
}

/// Notes that narrower stripes are accepted for what a node holds.
pub(super) fn accept_narrower(apply: &mut Apply<'_>, node: NodeId) -> Ran {
    if let Err(refusal) = member(apply.kv, node)? {
        return Ok(Err(refusal));
    }
    apply.kv.put(Table::Narrower, &node::ser_key(node), &[])?;
    Ok(Ok(RootOutcome::Done))
}

/// All nodes, tombstoned ones included.
pub(crate) fn all_nodes(kv: &dyn KvRead) -> Result<Vec<NodeRecord>, StateError> {
    let mut nodes = Vec::new();
    let all = (Bound::Unbounded, Bound::Unbounded);
    kv.scan(Table::Nodes, all.0, all.1, &mut |_, bytes| {
        nodes.push(NodeRecord::deser_value(bytes));
        ControlFlow::Continue(())
    })?;
    let nodes = nodes.into_iter().collect::<Result<_, _>>();
    nodes.map_err(StateError::corrupt(Table::Nodes))
}
