//! The version gate (rules.md 9): who knows which commands, and what the cluster may use.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};

use marram_types::NodeId;

use super::apply::Ran;
use super::nodes::{all_nodes, member};
use super::outcome::RootOutcome;
use crate::kinds::cluster::{self, ClusterRecord};
use crate::kinds::node::{self, NodeDuty, NodeRecord, NodeState};
use crate::kv::{KvRead, Table};
use crate::refusal::Refusal;
use crate::requests::Apply;
use crate::stored::{StateError, deser_u64_key, store};

/// Notes what a node knows; a node that went back to an older release says so, too.
pub(super) fn report(apply: &mut Apply<'_>, node: NodeId, version: u8) -> Ran {
    if let Err(refusal) = member(apply.kv, node)? {
        return Ok(Err(refusal));
    }
    let key = node::ser_key(node);
    apply.kv.put(Table::Versions, &key, &[version])?;
    Ok(Ok(RootOutcome::Done))
}

/// Raises the gate when every member that is not given up knows the version.
pub(super) fn finalize(apply: &mut Apply<'_>, mut cluster: ClusterRecord, version: u8) -> Ran {
    if version <= cluster.version {
        return Ok(Err(Refusal::VersionNotHigher {
            current: cluster.version,
        }));
    }
    let known = all(apply.kv)?;
    let nodes = all_nodes(apply.kv)?;
    let behind = nodes
        .iter()
        .filter(|node| must_know(node))
        .find_map(|node| {
            let knows = known.get(&node.node).copied().unwrap_or(0);
            (knows < version).then_some((node.node, knows))
        });
    if let Some((node, version)) = behind {
        return Ok(Err(Refusal::NodeTooOld { node, version }));
    }
    cluster.version = version;
    store(apply.kv, Table::Meta, cluster::KEY, &cluster)?;
    Ok(Ok(RootOutcome::Done))
}

/// Whether the gate waits for a node: a member that may come back.
fn must_know(node: &NodeRecord) -> bool {
    node.state == NodeState::Active && node.duty != NodeDuty::Fenced
}

/// What the nodes have said.
pub(crate) fn all(kv: &dyn KvRead) -> Result<BTreeMap<NodeId, u8>, StateError> {
    let mut found = Vec::new();
    let (from, to) = (Bound::Unbounded, Bound::Unbounded);
    kv.scan(Table::Versions, from, to, &mut |key, value| {
        found.push((deser_u64_key(key), value.first().copied().unwrap_or(0)));
        ControlFlow::Continue(())
    })?;
    let found = found
        .into_iter()
        .map(|(key, version)| Ok((NodeId(key?), version)));
    found
        .collect::<Result<_, _>>()
        .map_err(StateError::corrupt(Table::Versions))
}
