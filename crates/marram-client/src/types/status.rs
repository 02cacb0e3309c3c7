//! How a cluster is.

use marram_proto::v1;
use serde::Serialize;

use super::{BackupNote, DriveDuty, NodeCondition, NodeDuty, WorkStatus};

/// How the cluster is, as the server that answered sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ClusterStatus {
    /// The cluster's id, 32 hexadecimal digits.
    pub cluster_id: String,
    /// The cluster's name.
    pub cluster_name: String,
    /// The profile that new buckets get.
    pub default_profile: String,
    /// The name of the server that answered.
    pub answered_by: String,
    /// The nodes, by id.
    pub nodes: Vec<NodeStatus>,
    /// The metadata groups, the root group first.
    pub groups: Vec<GroupStatus>,
    /// What the state means for the data; none when the server did not say.
    pub redundancy: Option<Redundancy>,
    /// Placement groups with a move under way.
    pub moves_under_way: u64,
    /// Placement groups from which data has yet to move by a plan made now, those with a move under
    /// way included.
    pub placement_groups_to_move: u64,
    /// Moves and repairs under way; none when the server did not say.
    pub work: Option<WorkStatus>,
    /// The epoch of the layout, for changes that shall only be made as of this status.
    pub layout_epoch: u64,
    /// A rebalance was asked for and is not over.
    pub rebalancing: bool,
    /// Gateways without drives that nodes have heard within the last minute, by name.
    pub gateways: Vec<GatewayStatus>,
    /// The newest backup of the metadata that the cluster was told of.
    pub last_backup: Option<BackupNote>,
}

/// A gateway without drives, by its own word.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GatewayStatus {
    /// The name in its certificate.
    pub name: String,
    /// The release that runs.
    pub version: String,
    /// Where it listens for applications, which need not be where they reach it.
    pub api_address: String,
    /// Where it gives metrics.
    pub metrics_address: String,
    /// How long ago it was heard, in milliseconds.
    pub heard_ms_ago: u64,
    /// Why it should get no clients, a line for each reason; nothing where it is ready.
    pub not_ready: Vec<String>,
}

/// Whether a node takes part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeState {
    /// It answers.
    Up,
    /// It does not answer.
    Away,
    /// Not said, or said in a way this release does not know.
    Unknown,
}

/// A node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NodeStatus {
    /// Its id.
    pub node_id: u64,
    /// Its name.
    pub name: String,
    /// Its zone.
    pub zone: String,
    /// Whether it takes part.
    pub state: NodeState,
    /// Where it serves applications.
    pub api_address: String,
    /// Where it serves its peers.
    pub mesh_address: String,
    /// Its drives.
    pub drives: Vec<DriveStatus>,
    /// What it is there for.
    pub duty: NodeDuty,
    /// Slots of placement groups that are read from its drives.
    pub slots: u64,
    /// Where it gives metrics; empty where it gives none.
    pub metrics_address: String,
    /// Why it should get no clients, a line for each reason; nothing where it is ready, or is away.
    pub not_ready: Vec<String>,
    /// How it is by the word of several peers, and what was decided about its absence.
    pub condition: NodeCondition,
}

/// Whether a drive takes part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DriveState {
    /// It takes reads and writes.
    Active,
    /// It is too full for writes.
    Full,
    /// It failed and is not used any more.
    Retired,
    /// Its node answers and does not find it.
    Away,
    /// Not said, or its node is away.
    Unknown,
}

/// A drive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DriveStatus {
    /// Its id.
    pub drive_id: u64,
    /// Whether it takes part.
    pub state: DriveState,
    /// Its size in bytes.
    pub capacity_bytes: u64,
    /// Free bytes.
    pub free_bytes: u64,
    /// Bytes of live records.
    pub record_bytes: u64,
    /// What it is there for.
    pub duty: DriveDuty,
}

/// A metadata group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GroupStatus {
    /// Its number; 0 is the root group.
    pub group: u32,
    /// The node that leads it, where one is known.
    pub leader_node_id: Option<u64>,
    /// The nodes that vote in it.
    pub voter_node_ids: Vec<u64>,
    /// Voters that answer.
    pub voters_up: u32,
}

/// What the state of the cluster means for the data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Redundancy {
    /// How many more nodes may be lost now with every object still readable; negative when some
    /// objects may not be readable.
    pub tolerated_losses: i32,
    /// True when new objects can be written.
    pub writable: bool,
    /// The same in sentences.
    pub sentences: Vec<String>,
    /// Versions written with fewer data shards than their bucket's profile has.
    pub narrowed_versions: u64,
    /// Versions that survive fewer losses than their bucket's profile promises.
    pub under_protected_versions: u64,
    /// True when every object has all of its shards where they belong.
    pub fully_redundant: bool,
    /// Why it is not, and what is being done, in sentences.
    pub under_way: Vec<String>,
    /// Extents that wait for repair or for their place; none where a group does not answer.
    pub repairs_waiting: Option<u64>,
    /// Extents that wait to be encoded anew, because they have another profile than their bucket;
    /// none where a group does not answer.
    pub reencodings_waiting: Option<u64>,
}

impl ClusterStatus {
    pub(crate) fn from_wire(status: v1::GetClusterStatusResponse) -> Self {
        Self {
            cluster_id: status.cluster_id,
            cluster_name: status.cluster_name,
            default_profile: status.default_profile,
            answered_by: status.answered_by,
            nodes: status.nodes.into_iter().map(node).collect(),
            groups: status.groups.into_iter().map(group).collect(),
            redundancy: status.redundancy.map(redundancy),
            moves_under_way: status.moves_under_way,
            placement_groups_to_move: status.placement_groups_to_move,
            work: status.work.map(WorkStatus::from_wire),
            layout_epoch: status.layout_epoch,
            rebalancing: status.rebalancing,
            gateways: status.gateways.into_iter().map(gateway).collect(),
            last_backup: status.last_backup.map(BackupNote::from_wire),
        }
    }
}

fn gateway(gateway: v1::GatewayStatus) -> GatewayStatus {
    GatewayStatus {
        name: gateway.name,
        version: gateway.version,
        api_address: gateway.api_address,
        metrics_address: gateway.metrics_address,
        heard_ms_ago: gateway.heard_ms_ago,
        not_ready: gateway.not_ready,
    }
}

fn node(node: v1::NodeStatus) -> NodeStatus {
    NodeStatus {
        state: match node.state() {
            v1::NodeState::Up => NodeState::Up,
            v1::NodeState::Away => NodeState::Away,
            v1::NodeState::Unspecified => NodeState::Unknown,
        },
        duty: NodeDuty::from_wire(node.duty()),
        slots: node.slots,
        condition: node
            .condition
            .map(NodeCondition::from_wire)
            .unwrap_or_default(),
        metrics_address: node.metrics_address,
        not_ready: node.not_ready,
        node_id: node.node_id,
        name: node.name,
        zone: node.zone,
        api_address: node.api_address,
        mesh_address: node.mesh_address,
        drives: node.drives.iter().map(drive).collect(),
    }
}

fn drive(drive: &v1::DriveStatus) -> DriveStatus {
    DriveStatus {
        state: match drive.state() {
            v1::DriveState::Active => DriveState::Active,
            v1::DriveState::Full => DriveState::Full,
            v1::DriveState::Retired => DriveState::Retired,
            v1::DriveState::Away => DriveState::Away,
            v1::DriveState::Unspecified => DriveState::Unknown,
        },
        duty: DriveDuty::from_wire(drive.duty()),
        drive_id: drive.drive_id,
        capacity_bytes: drive.capacity_bytes,
        free_bytes: drive.free_bytes,
        record_bytes: drive.record_bytes,
    }
}

fn group(group: v1::GroupStatus) -> GroupStatus {
    GroupStatus {
        group: group.group,
        leader_node_id: (group.leader_node_id != 0).then_some(group.leader_node_id),
        voter_node_ids: group.voter_node_ids,
        voters_up: group.voters_up,
    }
}

fn redundancy(redundancy: v1::Redundancy) -> Redundancy {
    Redundancy {
        tolerated_losses: redundancy.tolerated_losses,
        writable: redundancy.writable,
        sentences: redundancy.sentences,
        narrowed_versions: redundancy.narrowed_versions,
        under_protected_versions: redundancy.under_protected_versions,
        fully_redundant: redundancy.fully_redundant,
        under_way: redundancy.under_way,
        repairs_waiting: redundancy.repairs_waiting,
        reencodings_waiting: redundancy.reencodings_waiting,
    }
}
