//! Nodes that are away: given up and taken back by the cluster, excused by operators for a while.

use marram_types::NodeId;
use marram_types::caps::PAUSE_MS_MAX;

use super::apply::Ran;
use super::nodes::member;
use super::outcome::RootOutcome;
use crate::kinds::absence::{Lost, Pause};
use crate::kinds::layout_state;
use crate::kinds::node::{self, NodeDuty};
use crate::kv::Table;
use crate::refusal::Refusal;
use crate::requests::Apply;
use crate::stored::store;

/// Gives a node up until it returns. One that is given up already keeps the time at which it was; its
/// data may come to be rebuilt later than its votes, and never the other way round.
pub(super) fn give_up(apply: &mut Apply<'_>, node: NodeId, rebuild: bool) -> Ran {
    let mut record = match member(apply.kv, node)? {
        Ok(record) => record,
        Err(refusal) => return Ok(Err(refusal)),
    };
    // Maintenance may have begun after the sender looked.
    if let Some(until_ms) = record.absence.maintenance_until_ms {
        return Ok(Err(Refusal::NodeExcused { node, until_ms }));
    }
    // A fenced node is given up for good.
    if record.duty != NodeDuty::Fenced {
        let held = record.absence.lost;
        record.absence.lost = Some(Lost {
            since_ms: held.map_or_else(|| apply.now_ms(), |lost| lost.since_ms),
            rebuild: rebuild || held.is_some_and(|lost| lost.rebuild),
        });
        store(apply.kv, Table::Nodes, &node::ser_key(node), &record)?;
        layout_state::changed(apply)?;
    }
    Ok(Ok(RootOutcome::Done))
}

/// A node that was given up has returned.
pub(super) fn take_back(apply: &mut Apply<'_>, node: NodeId) -> Ran {
    let mut record = match member(apply.kv, node)? {
        Ok(record) => record,
        Err(refusal) => return Ok(Err(refusal)),
    };
    if record.absence.lost.take().is_some() {
        store(apply.kv, Table::Nodes, &node::ser_key(node), &record)?;
        layout_state::changed(apply)?;
    }
    Ok(Ok(RootOutcome::Done))
}

/// Pauses nodes, all or none. What is paused already is paused from now on.
pub(super) fn pause(apply: &mut Apply<'_>, nodes: &[NodeId], pause: Pause, ttl_ms: u64) -> Ran {
    let until_ms = apply.now_ms().saturating_add(ttl_ms.min(PAUSE_MS_MAX));
    let mut records = Vec::with_capacity(nodes.len());
    for node in nodes {
        match member(apply.kv, *node)? {
            Ok(record) => records.push(record),
            Err(refusal) => return Ok(Err(refusal)),
        }
    }
    for mut record in records {
        record.absence.set(pause, Some(until_ms));
        let key = node::ser_key(record.node);
        store(apply.kv, Table::Nodes, &key, &record)?;
    }
    Ok(Ok(RootOutcome::Done))
}

/// Ends a pause. With `only`, what ends is the pause that lasts until then, once that time has come:
/// one that was prolonged meanwhile goes on.
pub(super) fn end_pause(
    apply: &mut Apply<'_>,
    node: NodeId,
    pause: Pause,
    only: Option<u64>,
) -> Ran {
    let mut record = match member(apply.kv, node)? {
        Ok(record) => record,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let ends = match (record.absence.until_ms(pause), only) {
        (None, _) => false,
        (Some(_), None) => true,
        (Some(until_ms), Some(only)) => until_ms == only && apply.now_ms() >= until_ms,
    };
    if ends {
        record.absence.set(pause, None);
        store(apply.kv, Table::Nodes, &node::ser_key(node), &record)?;
    }
    Ok(Ok(RootOutcome::Done))
}
