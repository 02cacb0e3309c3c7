//! Drains of nodes and drives, decided by what leaves already: of two operators who drain at once, the
//! second one is judged with the first one's drain, in whichever order they come.
//!
//! How many nodes stay is counted here. How much room they have only they know, so a caller that asked
//! them says which drives left as it asked, and is refused when others do by now.

use marram_types::codec::{DecodeError, Reader, Writer};
use marram_types::{DriveId, NodeId, crc32c};

use super::apply::Ran;
use super::buckets::all_buckets;
use super::drives;
use super::nodes::{self, all_nodes, member};
use crate::kinds::drive::{DriveDuty, DriveRecord};
use crate::kinds::layout_state;
use crate::kinds::node::{NodeDuty, NodeRecord};
use crate::refusal::{DriveRefusal, Refusal, unknown};
use crate::requests::Apply;
use crate::stored::StateError;
use crate::view::too_few_without;

/// A drain of a node or a drive that serves. Tags 98 and 99.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DrainCommand {
    /// Of a node. Drains with narrower stripes have a command of their own.
    Node {
        /// The node.
        node: NodeId,
        /// What it is there for as the operator saw it.
        from: NodeDuty,
        /// Only while the layout's epoch is this one.
        if_epoch: Option<u64>,
        /// Only while these drives leave: see [`leaving`].
        leaving: Option<u32>,
    },
    /// Of one drive.
    Drive {
        /// The drive.
        drive: DriveId,
        /// As of a node.
        leaving: Option<u32>,
    },
}

/// Tags of these commands among those of the root group.
pub(super) const TAGS: std::ops::RangeInclusive<u8> = 98..=99;

impl DrainCommand {
    pub(super) fn encode(&self, out: &mut Writer) {
        match self {
            Self::Node {
                node,
                from,
                if_epoch,
                leaving,
            } => {
                out.u8(98).varint(node.0).u8(*from as u8);
                out.option(if_epoch.as_ref(), |out, epoch| {
                    out.varint(*epoch);
                });
                put_leaving(out, *leaving);
            }
            Self::Drive { drive, leaving } => put_leaving(out.u8(99).varint(drive.0), *leaving),
        }
    }

    pub(super) fn decode(tag: u8, from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match tag {
            98 => Self::Node {
                node: NodeId(from.varint()?),
                from: NodeDuty::from_byte(from.u8()?)?,
                if_epoch: from.option(Reader::varint)?,
                leaving: from.option(Reader::u32_be)?,
            },
            99 => Self::Drive {
                drive: DriveId(from.varint()?),
                leaving: from.option(Reader::u32_be)?,
            },
            other => return Err(unknown("root command", other)),
        })
    }
}

fn put_leaving(out: &mut Writer, leaving: Option<u32>) {
    out.option(leaving.as_ref(), |out, leaving| {
        out.u32_be(*leaving);
    });
}

/// Which drives hold nothing in the end, as a sum: those of nodes that leave or are gone, and those that do
/// so alone.
#[must_use]
pub fn leaving<'a>(nodes: impl Iterator<Item = &'a NodeRecord>) -> u32 {
    let leaves = |node: &NodeRecord, held: &DriveRecord| {
        !node.keeps_data() || held.duty != DriveDuty::Serving
    };
    let drives = nodes.flat_map(|node| {
        let held = node.drives.iter().filter(move |held| leaves(node, held));
        held.map(|held| held.drive)
    });
    let mut drives: Vec<DriveId> = drives.collect();
    drives.sort_unstable();
    let bytes: Vec<u8> = drives
        .iter()
        .flat_map(|drive| drive.0.to_be_bytes())
        .collect();
    crc32c(&bytes)
}

pub(super) fn run(apply: &mut Apply<'_>, command: &DrainCommand) -> Ran {
    match *command {
        DrainCommand::Node {
            node,
            from,
            if_epoch,
            leaving,
        } => drain_node(apply, (node, from), if_epoch, leaving),
        DrainCommand::Drive { drive, leaving } => drain_drive(apply, drive, leaving),
    }
}

/// Whether other drives leave now than those that the caller saw.
fn others_leave(nodes: &[NodeRecord], seen: Option<u32>) -> Option<Refusal> {
    let changed = seen.is_some_and(|seen| seen != leaving(nodes.iter()));
    changed.then_some(Refusal::Drive(DriveRefusal::OthersLeave))
}

/// Why too few nodes are left without this one. One whose drives all leave is none that stays.
fn leaves_too_few(
    apply: &Apply<'_>,
    nodes: &[NodeRecord],
    without: NodeId,
) -> Result<Option<Refusal>, StateError> {
    let buckets = all_buckets(apply.kv)?;
    let nodes = nodes.iter().filter(|node| node.has_serving_drive());
    Ok(too_few_without(nodes, buckets.iter(), without, false))
}

fn drain_node(
    apply: &mut Apply<'_>,
    (node, from): (NodeId, NodeDuty),
    if_epoch: Option<u64>,
    seen: Option<u32>,
) -> Ran {
    let record = match member(apply.kv, node)? {
        Ok(record) => record,
        Err(refusal) => return Ok(Err(refusal)),
    };
    if record.duty != NodeDuty::Draining {
        let nodes = all_nodes(apply.kv)?;
        if let Some(refusal) = others_leave(&nodes, seen) {
            return Ok(Err(refusal));
        }
        if let Some(refusal) = leaves_too_few(apply, &nodes, node)? {
            return Ok(Err(refusal));
        }
    }
    nodes::change_duty(apply, node, (from, NodeDuty::Draining), if_epoch, false)
}

fn drain_drive(apply: &mut Apply<'_>, drive: DriveId, seen: Option<u32>) -> Ran {
    let nodes = all_nodes(apply.kv)?;
    let owner = nodes.iter().find(|node| node.drive(drive).is_some());
    if let Some((node, held)) = owner.and_then(|node| Some((node, node.drive(drive)?)))
        && held.duty == DriveDuty::Serving
    {
        if let Some(refusal) = others_leave(&nodes, seen) {
            return Ok(Err(refusal));
        }
        let stays = |other: &DriveRecord| other.drive != drive && other.duty == DriveDuty::Serving;
        let serves_on = node.present_drives().any(stays);
        if !serves_on && let Some(refusal) = leaves_too_few(apply, &nodes, node.node)? {
            return Ok(Err(refusal));
        }
    }
    let ran = drives::drain(apply, drive)?;
    if ran.is_ok() {
        layout_state::changed(apply)?;
    }
    Ok(ran)
}
