//! `Nodes`: node -> record; `NodeKeys`: fingerprint -> node; `Replicas`: replica -> node.

use marram_placement::Standing;
use marram_types::codec::{DecodeError, Reader, Writer};
use marram_types::{DriveId, NodeId, ReplicaId};

use super::absence::Absence;
use super::drive::{self, DriveDuty, DriveRecord};
use crate::refusal::unknown;
use crate::stored::{Stored, deser_u64_key, only_version};

/// Version 1 had no duty, version 2 none of drives and no absence.
const VERSION: u8 = 3;

/// Whether a node belongs to the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum NodeState {
    /// A member, whether it is reachable or not.
    Active = 1,
    /// Removed for ever: its key proves nothing any more (rules.md 5).
    Tombstoned = 2,
}

/// What a member is there for, as operators decide it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum NodeDuty {
    /// Takes new data.
    Serving = 1,
    /// Keeps what it has and takes nothing new (rules.md 25).
    Cordoned = 2,
    /// Gives up what it has.
    Draining = 3,
    /// Does not come back: what it had is rebuilt elsewhere. Only its removal follows.
    Fenced = 4,
}

impl NodeDuty {
    /// Whether an operator may change this duty to `next`: one step between serving, cordoned and
    /// draining, either way, and fenced from everywhere. A duty may always become itself.
    #[must_use]
    pub fn may_become(self, next: Self) -> bool {
        use NodeDuty::{Cordoned, Draining, Fenced, Serving};
        self == next
            || next == Fenced
            || matches!(
                (self, next),
                (Serving | Draining, Cordoned) | (Cordoned, Serving | Draining)
            )
    }

    pub(crate) fn from_byte(byte: u8) -> Result<Self, DecodeError> {
        Ok(match byte {
            1 => Self::Serving,
            2 => Self::Cordoned,
            3 => Self::Draining,
            4 => Self::Fenced,
            other => return Err(unknown("node duty", other)),
        })
    }
}

/// A storage node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeRecord {
    /// The root index that admitted it.
    pub node: NodeId,
    /// For people.
    pub name: String,
    /// `host:port` of the mesh listener.
    pub mesh_addr: String,
    /// `host:port` of the public API.
    pub api_addr: String,
    /// SHA-256 of the node's public key (SPKI): who it is on the mesh (rules.md 5).
    pub public_key: [u8; 32],
    /// The failure domain above the node; empty when none is configured.
    pub zone: String,
    /// Its drives by ordinal, removed ones included; see [`NodeRecord::present_drives`].
    pub drives: Vec<DriveRecord>,
    /// Its present Raft replica, none before it asked for one.
    pub replica: Option<ReplicaId>,
    /// Replica ids that it had before: they never return (rules.md 2).
    pub replicas_past: Vec<ReplicaId>,
    /// Whether it belongs to the cluster.
    pub state: NodeState,
    /// What it is there for; of a tombstoned node the last one.
    pub duty: NodeDuty,
    /// Whether it is away with the cluster's knowledge.
    pub absence: Absence,
}

impl NodeRecord {
    /// What placement may ask of one of its drives: by what the node is there for, and the drive.
    #[must_use]
    pub fn standing_of(&self, drive: &DriveRecord) -> Standing {
        let own = match drive.duty {
            DriveDuty::Serving => Standing::Serving,
            DriveDuty::Draining => Standing::Leaving,
            DriveDuty::Away | DriveDuty::AwayDraining | DriveDuty::Failed | DriveDuty::Removed => {
                Standing::Gone
            }
        };
        self.standing().min(own)
    }

    /// What placement may ask of its drives, as far as they serve. Of a node that was given up for its
    /// votes only nothing is moved, and nothing is moved to it.
    #[must_use]
    pub fn standing(&self) -> Standing {
        match self.duty {
            _ if self.is_gone() => Standing::Gone,
            NodeDuty::Draining => Standing::Leaving,
            NodeDuty::Serving if self.takes_data() => Standing::Serving,
            NodeDuty::Serving | NodeDuty::Cordoned | NodeDuty::Fenced => Standing::Kept,
        }
    }

    /// Whether it keeps what it has, whether it takes more or not.
    #[must_use]
    pub fn keeps_data(&self) -> bool {
        let stays = matches!(self.duty, NodeDuty::Serving | NodeDuty::Cordoned);
        self.state == NodeState::Active && stays
    }

    /// Whether any of its drives is to hold data.
    #[must_use]
    pub fn has_serving_drive(&self) -> bool {
        self.drives
            .iter()
            .any(|held| held.duty == DriveDuty::Serving)
    }

    /// Whether new data may go to it: a member that serves and was not given up.
    #[must_use]
    pub fn takes_data(&self) -> bool {
        self.state == NodeState::Active
            && self.duty == NodeDuty::Serving
            && self.absence.lost.is_none()
    }

    /// Whether what it had is computed from other nodes: it was fenced or removed, or given up until it
    /// returns.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.state == NodeState::Tombstoned
            || self.duty == NodeDuty::Fenced
            || self.absence.lost.is_some_and(|lost| lost.rebuild)
    }

    /// Whether it keeps the slots that it has: a member that serves or is cordoned, and is not gone.
    #[must_use]
    pub fn keeps_slots(&self) -> bool {
        !self.is_gone() && self.duty != NodeDuty::Draining
    }

    /// Whether it keeps the votes that it has. A node that was given up loses them even where its
    /// shards have no other place.
    #[must_use]
    pub fn keeps_votes(&self) -> bool {
        self.keeps_slots() && self.absence.lost.is_none()
    }

    /// Its drives without those that were removed for ever.
    pub fn present_drives(&self) -> impl Iterator<Item = &DriveRecord> {
        let drives = self.drives.iter();
        drives.filter(|drive| drive.duty != DriveDuty::Removed)
    }

    /// The record of one of its drives.
    #[must_use]
    pub fn drive(&self, drive: DriveId) -> Option<&DriveRecord> {
        self.drives.iter().find(|held| held.drive == drive)
    }

    /// Whether new data may go to one of its drives.
    #[must_use]
    pub fn drive_takes_data(&self, drive: DriveId) -> bool {
        let serves = |held: &DriveRecord| held.duty == DriveDuty::Serving;
        self.takes_data() && self.drive(drive).is_some_and(serves)
    }
}

pub(crate) fn ser_key(node: NodeId) -> [u8; 8] {
    node.0.to_be_bytes()
}

/// The value of `NodeKeys` and `Replicas`.
pub(crate) fn deser_id(bytes: &[u8]) -> Result<NodeId, DecodeError> {
    deser_u64_key(bytes).map(NodeId)
}

pub(crate) fn ser_replica_key(replica: ReplicaId) -> [u8; 8] {
    replica.0.to_be_bytes()
}

/// Reads a key fingerprint.
pub(crate) fn get_fingerprint(from: &mut Reader<'_>) -> Result<[u8; 32], DecodeError> {
    from.raw(32)?.try_into().map_err(|_| DecodeError::Short)
}

impl Stored for NodeRecord {
    fn encode(&self, out: &mut Writer) {
        out.u8(VERSION)
            .u64_be(self.node.0)
            .str(&self.name)
            .str(&self.mesh_addr)
            .str(&self.api_addr)
            .raw(&self.public_key)
            .str(&self.zone)
            .list(&self.drives, drive::encode)
            .option(self.replica.as_ref(), |out, r| {
                out.varint(r.0);
            })
            .list(&self.replicas_past, |out, r| {
                out.varint(r.0);
            })
            .u8(self.state as u8)
            .u8(self.duty as u8);
        self.absence.encode(out);
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        only_version(from, "node record version", VERSION)?;
        Ok(Self {
            node: NodeId(from.u64_be()?),
            name: from.str()?.to_owned(),
            mesh_addr: from.str()?.to_owned(),
            api_addr: from.str()?.to_owned(),
            public_key: get_fingerprint(from)?,
            zone: from.str()?.to_owned(),
            drives: from.list(drive::decode)?,
            replica: from.option(Reader::varint)?.map(ReplicaId),
            replicas_past: from.list(|from| from.varint().map(ReplicaId))?,
            state: match from.u8()? {
                1 => NodeState::Active,
                2 => NodeState::Tombstoned,
                _ => return Err(DecodeError::Invalid("node state")),
            },
            duty: NodeDuty::from_byte(from.u8()?)?,
            absence: Absence::decode(from)?,
        })
    }
}
