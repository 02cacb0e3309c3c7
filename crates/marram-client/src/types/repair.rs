//! What lacks redundancy, and what is done about it.

use marram_proto::v1;
use serde::Serialize;

use super::DriveEntry;

/// What lacks redundancy, and what is done about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RepairStatus {
    /// Since when nothing is repaired or rebuilt, in milliseconds since 1970.
    pub paused_since_ms: Option<u64>,
    /// Since when nothing is moved for balance or a drain.
    pub moves_paused_since_ms: Option<u64>,
    /// What lacks shards, what survives fewest losses first.
    pub levels: Vec<RepairLevel>,
    /// Extents that have all shards, some of them elsewhere than the layout wants them.
    pub misplaced: u64,
    /// Extents that wait to be encoded anew; none where a group does not answer.
    pub reencodings: Option<u64>,
    /// About how many bytes the lost shards of the extents have.
    pub bytes: u64,
    /// There are more extents than were counted.
    pub more: bool,
    /// For how long extents have waited without a break, in milliseconds.
    pub waiting_for_ms: u64,
    /// Extents whose shards were repaired since the leader of the root group began to lead.
    pub repaired: u64,
    /// Bytes of shards that are written in a second, by repairs and moves together.
    pub bytes_per_s: u64,
    /// About how long the extents still take, in milliseconds.
    pub extents_left_ms: Option<u64>,
    /// The same of the placement groups.
    pub placement_groups_left_ms: Option<u64>,
    /// Nodes that do not answer, or were given up.
    pub nodes: Vec<AbsentNode>,
    /// Drives that failed or are not found by their node.
    pub drives: Vec<DriveEntry>,
    /// What the cluster does not do by itself and why, in sentences.
    pub notes: Vec<String>,
    /// Metadata groups that do not answer: their extents are not counted.
    pub silent_groups: Vec<u32>,
    /// Names of nodes that answer and act by an older decision about pausing.
    pub behind: Vec<String>,
}

impl RepairStatus {
    pub(crate) fn from_wire(status: Option<v1::RepairStatus>) -> Self {
        let status = status.unwrap_or_default();
        let level = |level: v1::RepairLevel| RepairLevel {
            spare: level.spare,
            extents: level.extents,
            placement_groups: level.placement_groups,
        };
        Self {
            paused_since_ms: status.paused_since_ms,
            moves_paused_since_ms: status.moves_paused_since_ms,
            levels: status.levels.into_iter().map(level).collect(),
            misplaced: status.misplaced,
            reencodings: status.reencodings,
            bytes: status.bytes,
            more: status.more,
            waiting_for_ms: status.waiting_for_ms,
            repaired: status.repaired,
            bytes_per_s: status.bytes_per_s,
            extents_left_ms: status.extents_left_ms,
            placement_groups_left_ms: status.placement_groups_left_ms,
            nodes: status.nodes.into_iter().map(absent).collect(),
            drives: status
                .drives
                .into_iter()
                .map(DriveEntry::from_wire)
                .collect(),
            notes: status.notes,
            silent_groups: status.silent_groups,
            behind: status.behind,
        }
    }
}

/// What lacks shards and survives the loss of equally many more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct RepairLevel {
    /// How many more may be lost, negative when there are too few to read it already.
    pub spare: i32,
    /// Extents whose lost shards are known one by one.
    pub extents: u64,
    /// Placement groups with slots on nodes and drives that are not there.
    pub placement_groups: u64,
}

/// A node that is not there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AbsentNode {
    /// Its id.
    pub node_id: u64,
    /// Its name.
    pub node: String,
    /// For how long a majority has not reached it, in milliseconds; 0 where that is not known.
    pub for_ms: u64,
    /// In how many milliseconds what it had is rebuilt; none when that is not known, was done, or does not
    /// come by itself.
    pub rebuild_in_ms: Option<u64>,
    /// What it had is being rebuilt elsewhere, or was.
    pub rebuilt_elsewhere: bool,
    /// Until when it is in maintenance, in milliseconds since 1970.
    pub maintenance_until_ms: Option<u64>,
    /// Slots of placement groups that have it and are not elsewhere yet.
    pub slots: u64,
}

fn absent(node: v1::AbsentNode) -> AbsentNode {
    AbsentNode {
        node_id: node.node_id,
        node: node.node,
        for_ms: node.for_ms,
        rebuild_in_ms: node.rebuild_in_ms,
        rebuilt_elsewhere: node.rebuilt_elsewhere,
        maintenance_until_ms: (node.maintenance_until_ms != 0).then_some(node.maintenance_until_ms),
        slots: node.slots,
    }
}

/// What an absent node or drive had is rebuilt at once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RepairStart {
    /// The node's id.
    pub node_id: u64,
    /// The node's name.
    pub node: String,
    /// The drive's id; none when all drives of the node are meant.
    pub drive_id: Option<u64>,
    /// It had been given up before.
    pub unchanged: bool,
    /// Slots of placement groups to rebuild.
    pub slots: u64,
}

impl RepairStart {
    pub(crate) fn from_wire(answer: v1::StartRepairResponse) -> Self {
        Self {
            node_id: answer.node_id,
            node: answer.node,
            drive_id: answer.drive_id,
            unchanged: answer.unchanged,
            slots: answer.slots,
        }
    }
}
