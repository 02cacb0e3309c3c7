//! Whose drives are whose, as of one view.

use std::collections::BTreeMap;

use marram_meta::{ClusterView, DriveDuty, DriveRecord};
use marram_types::{DriveId, NodeId};

/// Who has a drive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owner {
    /// A node that is there, or comes back.
    Node(NodeId),
    /// Nobody now: the node or the drive was removed, fenced, failed, or given up until it returns.
    /// Should it come back, its own scan finds what lies there.
    Gone,
}

/// The owners of all drives. A drive that is not among them is one that this view does not know yet.
#[derive(Debug, Default)]
pub(crate) struct Owners(BTreeMap<DriveId, Owner>);

impl Owners {
    pub(crate) fn of(view: &ClusterView) -> Self {
        let mut owners = BTreeMap::new();
        for node in view.nodes.values() {
            let gone = node.is_gone();
            let owner = |drive: &DriveRecord| {
                // A drive that is only away comes back, and then drops what it has to.
                if gone || matches!(drive.duty, DriveDuty::Failed | DriveDuty::Removed) {
                    Owner::Gone
                } else {
                    Owner::Node(node.node)
                }
            };
            owners.extend(node.drives.iter().map(|drive| (drive.drive, owner(drive))));
        }
        Self(owners)
    }

    pub(crate) fn get(&self, drive: DriveId) -> Option<Owner> {
        self.0.get(&drive).copied()
    }

    /// The node to be asked about a drive.
    pub(crate) fn node(&self, drive: DriveId) -> Option<NodeId> {
        match self.get(drive)? {
            Owner::Node(node) => Some(node),
            Owner::Gone => None,
        }
    }
}
