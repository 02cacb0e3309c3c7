//! The drives of a cluster and the failure domains they are in.

use std::collections::BTreeSet;

use marram_types::{DriveId, NodeId};

/// A drive as the planner sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DriveInfo {
    /// The drive.
    pub drive: DriveId,
    /// The node it is in; its failure takes all of the node's drives.
    pub node: NodeId,
    /// The node's zone; an empty name is a zone like any other.
    pub zone: String,
    /// Its share of the data, usually its capacity in bytes. 0 keeps data off the drive.
    pub weight: u64,
}

/// All drives that may hold data.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Topology {
    /// The drives, in any order: plans do not depend on it.
    pub drives: Vec<DriveInfo>,
}

impl Topology {
    /// Nodes with at least one drive of positive weight.
    #[must_use]
    pub fn node_count(&self) -> usize {
        self.usable().map(|d| d.node).collect::<BTreeSet<_>>().len()
    }

    /// Zones with at least one drive of positive weight.
    #[must_use]
    pub fn zone_count(&self) -> usize {
        self.usable()
            .map(|d| d.zone.as_str())
            .collect::<BTreeSet<_>>()
            .len()
    }

    /// Drives of the node that has the fewest, 0 without drives: what the default profile of a
    /// single node is chosen by.
    #[must_use]
    pub fn fewest_drives_of_a_node(&self) -> usize {
        let nodes: BTreeSet<NodeId> = self.usable().map(|d| d.node).collect();
        nodes
            .iter()
            .map(|n| self.usable().filter(|d| d.node == *n).count())
            .min()
            .unwrap_or(0)
    }

    /// The drives of positive weight.
    pub(crate) fn usable(&self) -> impl Iterator<Item = &DriveInfo> {
        self.drives.iter().filter(|d| d.weight > 0)
    }
}
