//! How nodes are by the word of their peers, and what operators are told before and while they stop one.

use marram_proto::v1;
use serde::Serialize;

/// How a node is, by the word of several peers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeHealth {
    /// It answers.
    Up,
    /// It answers, many times slower than the others.
    Slow,
    /// It comes and goes, or has not been silent for long.
    Suspect,
    /// Several peers have not reached it for some time.
    Dead,
    /// Not known now, or said in a way this release does not know.
    #[default]
    Unknown,
}

/// How a node is, and what was decided about its absence.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct NodeCondition {
    /// How it is.
    pub health: NodeHealth,
    /// For how long, in milliseconds.
    pub health_for_ms: u64,
    /// Peers whose word counts.
    pub peers_heard: u32,
    /// Those of them that do not reach it.
    pub peers_unreached: u32,
    /// How many times slower than the others it is, in thousandths; 0 where that is not known.
    pub slowness_permille: u32,
    /// When it was given up until it returns, in milliseconds since 1970; none when it was not.
    pub given_up_at_ms: Option<u64>,
    /// What it had is rebuilt elsewhere.
    pub rebuilt_elsewhere: bool,
    /// Until when it is in maintenance, in milliseconds since 1970; none when it is not.
    pub maintenance_until_ms: Option<u64>,
    /// Until when it leads nothing, in milliseconds since 1970; none when it may lead.
    pub leads_not_until_ms: Option<u64>,
    /// How far its clock is ahead of the middle of all nodes' clocks, in milliseconds, negative when it is
    /// behind; 0 where that is not known or not much.
    pub clock_ahead_ms: i64,
}

impl NodeCondition {
    pub(crate) fn from_wire(condition: v1::NodeCondition) -> Self {
        let time = |ms: u64| (ms != 0).then_some(ms);
        Self {
            health: match condition.health() {
                v1::NodeHealth::Up => NodeHealth::Up,
                v1::NodeHealth::Slow => NodeHealth::Slow,
                v1::NodeHealth::Suspect => NodeHealth::Suspect,
                v1::NodeHealth::Dead => NodeHealth::Dead,
                v1::NodeHealth::Unspecified => NodeHealth::Unknown,
            },
            health_for_ms: condition.health_for_ms,
            peers_heard: condition.peers_heard,
            peers_unreached: condition.peers_unreached,
            slowness_permille: condition.slowness_permille,
            given_up_at_ms: time(condition.given_up_at_ms),
            rebuilt_elsewhere: condition.rebuilt_elsewhere,
            maintenance_until_ms: time(condition.maintenance_until_ms),
            leads_not_until_ms: time(condition.leads_not_until_ms),
            clock_ahead_ms: condition.clock_ahead_ms,
        }
    }
}

/// How far moves and repairs are.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct WorkStatus {
    /// Placement groups with a move under way.
    pub moves_under_way: u64,
    /// Those of them that wait for a source or for room.
    pub moves_waiting: u64,
    /// Placement groups to be moved beside those.
    pub moves_to_go: u64,
    /// Slots that must leave their drive and have no other place.
    pub slots_without_place: u64,
    /// Bytes written since the leader of the root group began to lead.
    pub written_bytes: u64,
    /// For how long this work has been under way, in milliseconds; 0 when there is none.
    pub for_ms: u64,
    /// About how long it still takes, in milliseconds; none while that is not known.
    pub left_ms: Option<u64>,
    /// What the cluster does not do by itself and why, in sentences.
    pub notes: Vec<String>,
    /// Bytes written in a second, lately.
    pub bytes_per_s: u64,
}

impl WorkStatus {
    pub(crate) fn from_wire(work: v1::WorkStatus) -> Self {
        Self {
            moves_under_way: work.moves_under_way,
            moves_waiting: work.moves_waiting,
            moves_to_go: work.moves_to_go,
            slots_without_place: work.slots_without_place,
            written_bytes: work.written_bytes,
            for_ms: work.for_ms,
            left_ms: work.left_ms,
            notes: work.notes,
            bytes_per_s: work.bytes_per_s,
        }
    }
}

/// Whether nodes may stop now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StopAnswer {
    /// They may.
    pub ok: bool,
    /// Why not, or what is to be known, in sentences.
    pub reasons: Vec<String>,
    /// How many more nodes may be lost once they have stopped, with every object still readable.
    pub tolerated_losses: i32,
    /// New objects can be written once they have stopped.
    pub writable: bool,
    /// Their ids.
    pub node_ids: Vec<u64>,
}

impl StopAnswer {
    pub(crate) fn from_wire(answer: v1::OkToStopResponse) -> Self {
        Self {
            ok: answer.ok,
            reasons: answer.reasons,
            tolerated_losses: answer.tolerated_losses,
            writable: answer.writable,
            node_ids: answer.node_ids,
        }
    }
}

/// A node in maintenance, or out of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MaintenanceNode {
    /// Its id.
    pub node_id: u64,
    /// Its name.
    pub name: String,
    /// Until when, in milliseconds since 1970; none when it is in none.
    pub until_ms: Option<u64>,
}

impl MaintenanceNode {
    pub(crate) fn from_wire(node: v1::MaintenanceNode) -> Self {
        Self {
            node_id: node.node_id,
            name: node.name,
            until_ms: (node.until_ms != 0).then_some(node.until_ms),
        }
    }
}

/// What became of the leaderships of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HandedOver {
    /// The node's id.
    pub node_id: u64,
    /// The node's name.
    pub name: String,
    /// Metadata groups that others lead now.
    pub handed: Vec<u32>,
    /// Metadata groups that it still leads, because no other voter could take them.
    pub kept: Vec<u32>,
}

impl HandedOver {
    pub(crate) fn from_wire(answer: v1::TransferLeaderResponse) -> Self {
        Self {
            node_id: answer.node_id,
            name: answer.name,
            handed: answer.handed,
            kept: answer.kept,
        }
    }
}
