//! Where placement groups are: drives and the nodes that have them, from one view of the cluster.

use std::collections::HashMap;
use std::sync::Arc;

use marram_meta::{ClusterView, Extent};
use marram_placement::PoolTable;
use marram_types::{DriveId, NodeId, PgId, PoolId};

use crate::drives::Place;

/// The placement of one view.
#[derive(Debug, Default)]
pub(crate) struct Places {
    index: u64,
    nodes: HashMap<DriveId, NodeId>,
    pools: HashMap<PoolId, Arc<PoolTable>>,
}

impl Places {
    pub(crate) fn of(view: &ClusterView) -> Self {
        let nodes = view
            .nodes
            .values()
            .flat_map(|node| node.drives.iter().map(|drive| (drive.drive, node.node)))
            .collect();
        let pools = view
            .pools
            .iter()
            .map(|(pool, table)| (*pool, Arc::new(table.clone())))
            .collect();
        Self {
            index: view.index,
            nodes,
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

    /// The place of a slot of a placement group.
    pub(crate) fn slot(&self, pg: PgId, slot: u8) -> Option<Place> {
        let row = self.pool(pg.pool)?.row(pg)?;
        self.place(*row.get(usize::from(slot))?)
    }

    /// The place of a drive.
    pub(crate) fn place(&self, drive: DriveId) -> Option<Place> {
        let node = *self.nodes.get(&drive)?;
        Some(Place { node, drive })
    }

    /// Where shard `i` of an extent is: the override first, else the layout
    /// (placement-protocol.md 5).
    pub(crate) fn shard(&self, extent: &Extent, shard: u8) -> Option<Place> {
        let moved = extent.overrides.iter().find(|(of, _)| *of == shard);
        match moved {
            Some((_, drive)) => self.place(*drive),
            None => self.slot(extent.pg, *extent.slots.get(usize::from(shard))?),
        }
    }
}
