//! Where placement groups are: drives and the nodes that have them, from one view of the cluster.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use marram_meta::{ClusterView, Extent};
use marram_placement::PoolTable;
use marram_types::{DriveId, NodeId, PoolId};

use crate::drives::Place;

/// The placement of one view.
#[derive(Debug, Default)]
pub(crate) struct Places {
    index: u64,
    nodes: HashMap<DriveId, NodeId>,
    /// Drives that new data may go to.
    takers: HashSet<DriveId>,
    pools: HashMap<PoolId, Arc<PoolTable>>,
}

impl Places {
    pub(crate) fn of(view: &ClusterView) -> Self {
        let nodes = view
            .nodes
            .values()
            .flat_map(|node| node.drives.iter().map(|drive| (drive.drive, node.node)))
            .collect();
        let takers = view.nodes.values().flat_map(|node| {
            let drives = node.drives.iter().map(|drive| drive.drive);
            drives.filter(|drive| node.drive_takes_data(*drive))
        });
        let takers = takers.collect();
        let pools = view
            .pools
            .iter()
            .map(|(pool, table)| (*pool, Arc::new(table.clone())))
            .collect();
        Self {
            index: view.index,
            nodes,
            takers,
            pools,
        }
    }

    /// The index of the view.
    pub(crate) fn index(&self) -> u64 {
        self.index
    }

    /// The table of a pool.
    pub(crate) fn pool(&self, pool: PoolId) -> Option<&PoolTable> {
        self.pools.get(&pool).map(Arc::as_ref)
    }

    /// The place of a drive.
    pub(crate) fn place(&self, drive: DriveId) -> Option<Place> {
        let node = *self.nodes.get(&drive)?;
        Some(Place { node, drive })
    }

    /// How many nodes new data may go to.
    pub(crate) fn node_count(&self) -> usize {
        let nodes = self.takers.iter().filter_map(|drive| self.nodes.get(drive));
        nodes.collect::<HashSet<_>>().len()
    }

    /// Whether new data may go to a drive.
    pub(crate) fn takes_data(&self, drive: DriveId) -> bool {
        self.takers.contains(&drive)
    }

    /// Where shard `i` of an extent that was looked up is. The group said it for every shard
    /// (placement-protocol.md 5): this view of the layout may be older or newer than the row.
    pub(crate) fn shard(&self, extent: &Extent, shard: u8) -> Option<Place> {
        let place = extent.overrides.iter().find(|(of, _)| *of == shard);
        self.place(place?.1)
    }
}
