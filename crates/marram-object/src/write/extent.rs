//! An extent while it is written.

use marram_erasure::{Geometry, cell_bytes, window_bytes};
use marram_meta::{Extent, NewExtent};
use marram_types::DriveId;
use marram_types::caps::EXTENT_BYTES_MAX;

use super::command::{Abandoned, ExtentId, ExtentPlan, Target, WindowId, WindowWrite};
use crate::shape::WriteShape;

/// Sizes by `k`; tests use small ones.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sizes {
    pub(super) cell: fn(usize) -> usize,
    pub(super) window: fn(usize) -> usize,
    pub(super) extent: u64,
}

impl Default for Sizes {
    fn default() -> Self {
        Self {
            cell: cell_bytes,
            window: window_bytes,
            extent: EXTENT_BYTES_MAX,
        }
    }
}

/// An extent: windows one behind the other, of which all but the last are whole stripes.
#[derive(Debug)]
pub(super) struct OpenExtent {
    pub(super) id: ExtentId,
    plan: ExtentPlan,
    pub(super) shape: WriteShape,
    /// By shard, the second place as long as every run went there too.
    also: Vec<Option<DriveId>>,
    cell: u32,
    /// Offset in the object of its first window.
    pub(super) start: u64,
    /// Bytes placed in it.
    pub(super) placed: u64,
    /// Bytes of it that are durable: the windows at its front. Its length at the end.
    pub(super) durable: u64,
    /// Whether it may still take windows.
    pub(super) open: bool,
}

impl OpenExtent {
    pub(super) fn new(id: ExtentId, plan: ExtentPlan, shape: WriteShape, sizes: &Sizes) -> Self {
        let cell = (sizes.cell)(shape.profile.k());
        let also = |slot: &u8| plan.also.get(usize::from(*slot)).copied().flatten();
        Self {
            also: shape.slots.iter().map(also).collect(),
            id,
            plan,
            shape,
            cell: u32::try_from(cell).expect("a cell has at most 1 MiB"),
            start: 0,
            placed: 0,
            durable: 0,
            open: true,
        }
    }

    /// Whether a window at object offset `at` can follow what is placed. Behind a short stripe
    /// nothing can: a window cut for another profile ends its extent.
    pub(super) fn takes(&self, at: u64, len: u64, extent_max: u64) -> bool {
        let stripe = self.geometry(0).stripe_bytes();
        let follows = self.placed == 0 || at == self.start + self.placed;
        self.open
            && follows
            && self.placed.is_multiple_of(stripe)
            && (self.placed == 0 || self.placed + len <= extent_max)
    }

    /// Places a window that [`Self::takes`] allowed.
    pub(super) fn place(&mut self, window: WindowId, at: u64, len: u64) -> WindowWrite {
        if self.placed == 0 {
            self.start = at;
        }
        let shard_offset = self.placed / self.shape.profile.k() as u64;
        self.placed += len;
        let targets = (0..=u8::MAX)
            .zip(&self.shape.slots)
            .map(|(shard, slot)| Target {
                shard,
                slot: *slot,
                drive: self.plan.row[usize::from(*slot)],
                also: self.also[usize::from(shard)],
            })
            .collect();
        WindowWrite {
            extent: self.id,
            window,
            data: self.plan.data,
            pg: self.plan.pg,
            geometry: self.geometry(len),
            shard_offset,
            targets,
        }
    }

    /// The drive of a shard, if there is such a shard.
    pub(super) fn drive(&self, shard: u8) -> Option<DriveId> {
        let slot = self.shape.slots.get(usize::from(shard))?;
        Some(self.plan.row[usize::from(*slot)])
    }

    /// A run of a shard did not reach its second place: that place does not have the shard.
    pub(super) fn forget_second_place(&mut self, shard: u8) {
        if let Some(also) = self.also.get_mut(usize::from(shard)) {
            *also = None;
        }
    }

    /// A bit for each shard.
    pub(super) fn all_shards(&self) -> u64 {
        (1 << self.shape.slots.len()) - 1
    }

    pub(super) fn committed(&self) -> NewExtent {
        let shards = (0..=u8::MAX).zip(&self.shape.slots);
        let first = shards.map(|(shard, slot)| (shard, self.plan.row[usize::from(*slot)]));
        let second = (0..=u8::MAX).zip(&self.also);
        let second = second.filter_map(|(shard, also)| Some((shard, (*also)?)));
        NewExtent {
            wrote: first.chain(second).collect(),
            extent: self.extent(),
        }
    }

    fn extent(&self) -> Extent {
        Extent {
            data: self.plan.data,
            pg: self.plan.pg,
            profile: self.shape.profile,
            cell: self.cell,
            length: self.durable,
            slots: self.shape.slots.clone(),
            missing: 0,
            overrides: Vec::new(),
        }
    }

    pub(super) fn abandoned(&self) -> Abandoned {
        let slots = self.shape.slots.iter();
        Abandoned {
            data: self.plan.data,
            drives: slots
                .map(|slot| self.plan.row[usize::from(*slot)])
                .chain(self.plan.also.iter().copied().flatten())
                .collect(),
        }
    }

    fn geometry(&self, length: u64) -> Geometry {
        Geometry::with_cell(self.shape.profile, self.cell, length)
            .expect("cells of new extents are possible")
    }
}
