//! What operators are told.

use marram_proto::v1;
use serde::Serialize;

/// What a node is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeDuty {
    /// It takes data.
    Serving,
    /// It keeps what it has and takes nothing new.
    Cordoned,
    /// It gives up what it has.
    Draining,
    /// It does not come back: what it had is rebuilt elsewhere.
    Fenced,
    /// Not said, or said in a way this release does not know.
    Unknown,
}

impl NodeDuty {
    pub(crate) fn from_wire(duty: v1::NodeDuty) -> Self {
        match duty {
            v1::NodeDuty::Serving => Self::Serving,
            v1::NodeDuty::Cordoned => Self::Cordoned,
            v1::NodeDuty::Draining => Self::Draining,
            v1::NodeDuty::Fenced => Self::Fenced,
            v1::NodeDuty::Unspecified => Self::Unknown,
        }
    }

    pub(crate) fn to_wire(self) -> v1::NodeDuty {
        match self {
            Self::Serving => v1::NodeDuty::Serving,
            Self::Cordoned => v1::NodeDuty::Cordoned,
            Self::Draining => v1::NodeDuty::Draining,
            Self::Fenced => v1::NodeDuty::Fenced,
            Self::Unknown => v1::NodeDuty::Unspecified,
        }
    }
}

/// What an operator agrees to beyond the ordinary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Consent {
    /// A node that answers is given up, or what a node has finds no room elsewhere.
    pub force: bool,
    /// Stripes get narrower than the buckets ask for, with as many parity shards: too few nodes are
    /// left.
    pub narrower: bool,
}

impl Consent {
    /// Nothing.
    pub const NONE: Self = Self {
        force: false,
        narrower: false,
    };
    /// To a node given up, or to no room.
    pub const FORCE: Self = Self {
        force: true,
        narrower: false,
    };
    /// To narrower stripes.
    pub const NARROWER: Self = Self {
        force: false,
        narrower: true,
    };
}

/// How far a bucket's objects follow its profile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BucketProfile {
    /// The bucket.
    pub bucket: String,
    /// Its profile, k+m.
    pub profile: String,
    /// Its objects.
    pub versions: u64,
    /// Those of them that have a part with another profile, as far as they have been looked at.
    pub versions_to_go: u64,
    /// Metadata groups that have yet to look at all of them.
    pub groups_looking: u32,
    /// Further profiles that a write may ask for.
    pub allowed_profiles: Vec<String>,
}

impl BucketProfile {
    pub(crate) fn from_wire(profile: v1::BucketProfile) -> Self {
        Self {
            bucket: profile.bucket,
            profile: profile.profile,
            versions: profile.versions,
            versions_to_go: profile.versions_to_go,
            groups_looking: profile.groups_looking,
            allowed_profiles: profile.allowed_profiles,
        }
    }

    /// Whether every object has the profile.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.versions_to_go == 0 && self.groups_looking == 0
    }
}

/// A change of a node's duty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DutyChange {
    /// The node's id.
    pub node_id: u64,
    /// The node's name.
    pub name: String,
    /// What it is there for now.
    pub duty: NodeDuty,
    /// What it was there for before.
    pub before: NodeDuty,
}

impl DutyChange {
    pub(crate) fn from_wire(answer: v1::SetNodeDutyResponse) -> Self {
        Self {
            duty: NodeDuty::from_wire(answer.duty()),
            before: NodeDuty::from_wire(answer.before()),
            node_id: answer.node_id,
            name: answer.name,
        }
    }
}

/// A node that is gone for ever.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RemovedNode {
    /// Its id.
    pub node_id: u64,
    /// Its name.
    pub name: String,
}

impl RemovedNode {
    pub(crate) fn from_wire(answer: v1::RemoveNodeResponse) -> Self {
        Self {
            node_id: answer.node_id,
            name: answer.name,
        }
    }
}

/// A node that is not there yet.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PlannedNode {
    /// Its zone.
    pub zone: String,
    /// The size of each of its drives in bytes.
    pub drive_capacity_bytes: Vec<u64>,
}

impl PlannedNode {
    pub(crate) fn to_wire(&self) -> v1::PlannedNode {
        v1::PlannedNode {
            zone: self.zone.clone(),
            drive_capacity_bytes: self.drive_capacity_bytes.clone(),
        }
    }
}

/// What data would be moved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LayoutPlan {
    /// Placement groups from which anything would move.
    pub placement_groups: u64,
    /// Slots that would move.
    pub slots: u64,
    /// About how many bytes would move.
    pub bytes: u64,
    /// Whether the cluster begins these moves by itself.
    pub worth_it: bool,
    /// By pool.
    pub pools: Vec<PoolPlan>,
    /// By node; planned ones last.
    pub nodes: Vec<NodePlan>,
    /// What the plan was made from, for a rebalance; none for a plan of what is not there.
    pub plan_id: Option<String>,
}

/// A plan of the pool of one width.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PoolPlan {
    /// Data and parity shards.
    pub width: u32,
    /// Slots that would move.
    pub slots: u64,
    /// Slots that should move and have no other place.
    pub unplaced: u64,
    /// The largest deviation of a node from its fair share, in thousandths, before.
    pub deviation_before_permille: u64,
    /// The same afterwards.
    pub deviation_after_permille: u64,
}

/// What a plan means for one node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NodePlan {
    /// Its id; none for a planned one.
    pub node_id: Option<u64>,
    /// Its name.
    pub name: String,
    /// Slots that it holds.
    pub slots_before: u64,
    /// Slots that it would hold.
    pub slots_after: u64,
    /// About how many bytes would come from other nodes.
    pub bytes_in: u64,
    /// About how many bytes would go to other nodes.
    pub bytes_out: u64,
}

impl LayoutPlan {
    pub(crate) fn from_wire(answer: v1::PlanLayoutResponse) -> Self {
        let pool = |pool: v1::PoolPlan| PoolPlan {
            width: pool.width,
            slots: pool.slots,
            unplaced: pool.unplaced,
            deviation_before_permille: pool.deviation_before_permille,
            deviation_after_permille: pool.deviation_after_permille,
        };
        let node = |node: v1::NodePlan| NodePlan {
            node_id: (node.node_id != 0).then_some(node.node_id),
            name: node.name,
            slots_before: node.slots_before,
            slots_after: node.slots_after,
            bytes_in: node.bytes_in,
            bytes_out: node.bytes_out,
        };
        Self {
            placement_groups: answer.placement_groups,
            slots: answer.slots,
            bytes: answer.bytes,
            worth_it: answer.worth_it,
            plan_id: (!answer.plan_id.is_empty()).then_some(answer.plan_id),
            pools: answer.pools.into_iter().map(pool).collect(),
            nodes: answer.nodes.into_iter().map(node).collect(),
        }
    }
}

/// What a rebalance will do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rebalance {
    /// It was under way already, or was not when it was to be stopped.
    pub already: bool,
    /// Placement groups that will move.
    pub placement_groups: u64,
    /// Slots that will move.
    pub slots: u64,
    /// About how many bytes.
    pub bytes: u64,
}

impl Rebalance {
    pub(crate) fn from_wire(answer: v1::RebalanceResponse) -> Self {
        Self {
            already: answer.already,
            placement_groups: answer.placement_groups,
            slots: answer.slots,
            bytes: answer.bytes,
        }
    }
}

/// What is on the drives beside what the metadata wants there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ShardComparison {
    /// Shards that the metadata wants on drives.
    pub wanted: u64,
    /// Shards that drives hold.
    pub held: u64,
    /// Wanted and not held.
    pub lacking: u64,
    /// Held, and neither wanted nor waiting for their time.
    pub extra: u64,
    /// Held and waiting for their time: garbage, writes in flight.
    pub waiting: u64,
    /// The first that lack or are too much.
    pub differences: Vec<ShardDifference>,
    /// Nodes that did not say what they hold; their shards count nowhere.
    pub silent_node_ids: Vec<u64>,
}

/// A shard that is not where it should be, or is where it should not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ShardDifference {
    /// It lacks, else it is too much.
    pub lacks: bool,
    /// The drive.
    pub drive_id: u64,
    /// Its node.
    pub node_id: u64,
    /// The pool of its placement group.
    pub pool: u32,
    /// Its placement group.
    pub placement_group: u32,
    /// The shard.
    pub shard: String,
}

impl ShardComparison {
    /// Whether both sides are equal, and every node was heard.
    #[must_use]
    pub fn is_equal(&self) -> bool {
        self.lacking == 0 && self.extra == 0 && self.silent_node_ids.is_empty()
    }

    pub(crate) fn from_wire(answer: v1::CompareShardsResponse) -> Self {
        let difference = |d: v1::ShardDifference| ShardDifference {
            lacks: d.lacks,
            drive_id: d.drive_id,
            node_id: d.node_id,
            pool: d.pool,
            placement_group: d.placement_group,
            shard: d.shard,
        };
        Self {
            wanted: answer.wanted,
            held: answer.held,
            lacking: answer.lacking,
            extra: answer.extra,
            waiting: answer.waiting,
            differences: answer.differences.into_iter().map(difference).collect(),
            silent_node_ids: answer.silent_node_ids,
        }
    }
}
