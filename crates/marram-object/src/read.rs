//! One object's read.
//!
//! The plan cuts a range of the object into steps of at most 8 MiB within one extent; the driver
//! works on as many steps at once as it has memory for, and hands out their bytes in order.
//!
//! ```text
//! let mut plan = ReadPlan::new(extents, range)?;
//! while let Some(mut step) = plan.next_step(|extent, shard| health of its drive):
//!     fetch every step.start()?
//!     each end of a fetch:  step.arrived(fetch, bytes)  or  fetch every step.failed(shard)?
//!     after a while:        fetch every step.hedge()
//!     once step.is_ready(): step.finish()? gives the bytes; other fetches may be cancelled
//! ```

use std::ops::Range;
use std::sync::Arc;

use marram_erasure::{Geometry, GeometryError, STRIPE_BYTES_MAX};
use marram_meta::Extent;

mod step;

pub use step::{Fetch, NotReady, ReadStep, Unreadable};

/// How gladly a shard's drive is asked. Better ones come first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Health {
    /// In this process: no network between.
    Near,
    /// Living and quick.
    Good,
    /// Away or slow: asked only when the others do not suffice.
    Poor,
    /// Said not to have the shard whole, and asked last of all: that was so once, at one place. What a shard's
    /// name stands for never changes and every block of it is verified, so what it gives is right.
    Doubted,
    /// Has no drive that could be asked.
    Gone,
}

/// The steps of reading a range of an object.
#[derive(Debug, Clone)]
pub struct ReadPlan {
    /// Extents with their geometry and their offset in the object.
    extents: Vec<(u64, Geometry, Arc<Extent>)>,
    at: u64,
    end: u64,
    number: u64,
    step_bytes: u64,
}

impl ReadPlan {
    /// The plan to read `range` of the object that `extents` hold one behind the other. What lies
    /// beyond the object is left out.
    ///
    /// # Errors
    /// When an extent's cell is impossible: the row is damaged.
    pub fn new(extents: Vec<Extent>, range: Range<u64>) -> Result<Self, GeometryError> {
        Self::with_step(extents, range, STRIPE_BYTES_MAX as u64)
    }

    /// The same in steps of one stripe each, so that a fetch is one cell at most: for readers that
    /// fetch small messages.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn stripe_by_stripe(
        extents: Vec<Extent>,
        range: Range<u64>,
    ) -> Result<Self, GeometryError> {
        Self::with_step(extents, range, 1)
    }

    fn with_step(
        extents: Vec<Extent>,
        range: Range<u64>,
        step_bytes: u64,
    ) -> Result<Self, GeometryError> {
        let mut size = 0;
        let mut placed = Vec::with_capacity(extents.len());
        for extent in extents {
            let geometry = Geometry::with_cell(extent.profile, extent.cell, extent.length)?;
            placed.push((size, geometry, Arc::new(extent)));
            size += geometry.length();
        }
        Ok(Self {
            extents: placed,
            at: range.start,
            end: range.end.min(size),
            number: 0,
            step_bytes,
        })
    }

    /// Bytes that the steps not taken yet will give.
    #[must_use]
    pub fn remaining(&self) -> u64 {
        self.end.saturating_sub(self.at)
    }

    /// The next step; `None` at the end. `health` judges the drive of a shard at this moment;
    /// shards that the row marks missing are [`Health::Doubted`] at best.
    pub fn next_step(&mut self, mut health: impl FnMut(&Extent, u8) -> Health) -> Option<ReadStep> {
        if self.at >= self.end {
            return None;
        }
        let index = self
            .extents
            .partition_point(|(start, ..)| *start <= self.at)
            - 1;
        let (start, geometry, extent) = &self.extents[index];
        let local = self.at - start;
        let unit = (self.step_bytes / geometry.stripe_bytes()).max(1) * geometry.stripe_bytes();
        let until = (local / unit + 1) * unit;
        let until = until.min(geometry.length()).min(self.end - start);
        let width = u8::try_from(extent.profile.width()).expect("at most 40 shards");
        let healths = (0..width)
            .map(|shard| {
                let drive = health(extent, shard);
                if extent.is_missing(shard) {
                    drive.max(Health::Doubted)
                } else {
                    drive
                }
            })
            .collect();
        let step = ReadStep::new(
            Arc::clone(extent),
            *geometry,
            local..until,
            healths,
            self.number,
        );
        self.at = start + until;
        self.number += 1;
        Some(step)
    }
}

#[cfg(test)]
mod tests;
