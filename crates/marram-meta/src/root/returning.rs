//! What was admitted after the state was taken that the cluster began anew from returns, with the ids
//! that it has: they name its shards (decision 0078).
//!
//! Nobody else can have these ids: the log jumped over the entries that gave them out. So an id that
//! the cluster did give out, or one of another life of it, is never taken on another's word (rules.md 1).

use marram_types::{DriveId, NodeId};

use super::apply::Ran;
use super::command::NodeJoin;
use super::nodes::{NodeIds, admit, all_nodes};
use crate::kinds::lost_ids::LostIds;
use crate::refusal::{IdentityRefusal, Malformed, Refusal};
use crate::requests::Apply;

/// Admits a node that says who it was. The same key again is the same node.
pub(super) fn take_in(
    apply: &mut Apply<'_>,
    join: NodeJoin,
    node: NodeId,
    drives: Vec<DriveId>,
) -> Ran {
    let mut distinct = drives.clone();
    distinct.sort_unstable();
    distinct.dedup();
    let has_metadata = join.drives.iter().any(|drive| drive.ordinal == 0);
    if distinct.len() != join.drives.len() || drives.len() != join.drives.len() || !has_metadata {
        return Ok(Err(Malformed::Drives.into()));
    }
    let nodes = all_nodes(apply.kv)?;
    if let Some(known) = nodes.iter().find(|held| held.public_key == join.public_key) {
        if known.node != node {
            let refusal = IdentityRefusal::OtherNode { node: known.node };
            return Ok(Err(Refusal::Identity(refusal)));
        }
        let has = |drive: &DriveId| known.present_drives().any(|held| held.drive == *drive);
        if let Some(drive) = drives.iter().find(|drive| !has(drive)).copied() {
            return Ok(Err(Refusal::Identity(IdentityRefusal::DriveNotLost {
                drive,
            })));
        }
        return admit(apply, join, NodeIds::Fresh);
    }
    let lost = LostIds::load(apply.kv)?;
    let known = |drive: &DriveId| {
        let mut held = nodes.iter().flat_map(|record| &record.drives);
        held.any(|held| held.drive == *drive)
    };
    let strange = |drive: &&DriveId| !lost.has_drive(**drive) || known(drive);
    if !lost.has_node(node) || nodes.iter().any(|held| held.node == node) {
        return Ok(Err(Refusal::Identity(IdentityRefusal::NodeNotLost {
            node,
        })));
    }
    if let Some(drive) = drives.iter().find(strange).copied() {
        return Ok(Err(Refusal::Identity(IdentityRefusal::DriveNotLost {
            drive,
        })));
    }
    admit(apply, join, NodeIds::Kept(node, drives))
}
