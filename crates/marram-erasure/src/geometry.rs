//! Which byte of an extent is where.
//!
//! An extent is cut into stripes of `k * cell` bytes, the last one shorter. Shard `i < k` holds the
//! bytes `[i * cell, (i + 1) * cell)` of every stripe, so a range read touches only the shards it
//! needs; its cells stand one behind the other. A last stripe of `T` bytes has cells of
//! `ceil(T / k)` bytes, zero-padded. All shards have one length.

use std::ops::Range;

use marram_types::Profile;
use marram_types::caps::{BLOCK_BYTES, CELL_BYTES_MAX, MIB};

/// Largest stripe, and largest window that is coded at once: two of them are the 16 MiB that a
/// gateway may keep for a write (rules.md 18).
pub const STRIPE_BYTES_MAX: usize = 8 * MIB;

/// The cell of new extents with `k` data shards, in bytes: 1 MiB, or less so that a stripe has at
/// most 8 MiB, in whole 64 KiB blocks.
///
/// ```
/// assert_eq!(marram_erasure::cell_bytes(4), 1 << 20);
/// assert_eq!(marram_erasure::cell_bytes(10), 12 << 16);
/// ```
#[must_use]
pub fn cell_bytes(k: usize) -> usize {
    let fitting = STRIPE_BYTES_MAX / k.max(1) / BLOCK_BYTES * BLOCK_BYTES;
    fitting.clamp(BLOCK_BYTES, CELL_BYTES_MAX)
}

/// Object bytes of one window of new extents with `k` data shards: as many whole stripes as fit
/// into 8 MiB. All windows of an extent but its last have this length.
#[must_use]
pub fn window_bytes(k: usize) -> usize {
    let stripe = k.max(1) * cell_bytes(k);
    STRIPE_BYTES_MAX / stripe * stripe
}

/// A stored cell length that no release writes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a cell of {cell} bytes is not possible: 1 byte to 1 MiB")]
pub struct GeometryError {
    /// What was found.
    pub cell: u32,
}

/// The layout of one extent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Geometry {
    profile: Profile,
    cell: u32,
    length: u64,
}

/// A run of extent bytes within one cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Located {
    /// The stripe, counted from 0.
    pub stripe: u64,
    /// The data shard, `0..k`.
    pub shard: u8,
    /// Where the run begins in the shard.
    pub shard_offset: u64,
    /// Its length in bytes, at most a cell.
    pub len: u32,
    /// Where it begins in the extent.
    pub extent_offset: u64,
}

impl Geometry {
    /// The layout of a new extent of `length` bytes.
    #[must_use]
    pub fn new(profile: Profile, length: u64) -> Self {
        let cell = u32::try_from(cell_bytes(profile.k())).expect("a cell has at most 1 MiB");
        Self {
            profile,
            cell,
            length,
        }
    }

    /// The layout of a stored extent, whose cell was recorded.
    ///
    /// # Errors
    /// When the cell is 0 or above 1 MiB.
    pub fn with_cell(profile: Profile, cell: u32, length: u64) -> Result<Self, GeometryError> {
        if cell == 0 || cell as usize > CELL_BYTES_MAX {
            return Err(GeometryError { cell });
        }
        Ok(Self {
            profile,
            cell,
            length,
        })
    }

    /// The extent's profile.
    #[must_use]
    pub fn profile(&self) -> Profile {
        self.profile
    }

    /// Bytes of a full stripe's cell.
    #[must_use]
    pub fn cell(&self) -> u32 {
        self.cell
    }

    /// Bytes of the extent.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Extent bytes of a full stripe.
    #[must_use]
    pub fn stripe_bytes(&self) -> u64 {
        self.k() * u64::from(self.cell)
    }

    /// Stripes, the last short one included. An empty extent has none.
    #[must_use]
    pub fn stripes(&self) -> u64 {
        self.length.div_ceil(self.stripe_bytes())
    }

    /// The extent bytes of stripe `n`; empty when there is no such stripe.
    #[must_use]
    pub fn stripe_range(&self, n: u64) -> Range<u64> {
        let start = n.saturating_mul(self.stripe_bytes()).min(self.length);
        let end = start.saturating_add(self.stripe_bytes()).min(self.length);
        start..end
    }

    /// Bytes of each cell of stripe `n`, padding included; 0 when there is no such stripe.
    #[must_use]
    pub fn cell_of(&self, n: u64) -> u32 {
        let range = self.stripe_range(n);
        let cell = (range.end - range.start).div_ceil(self.k());
        u32::try_from(cell).expect("not above the full cell")
    }

    /// Where every shard keeps its cell of stripe `n`.
    #[must_use]
    pub fn shard_range(&self, n: u64) -> Range<u64> {
        let start = n * u64::from(self.cell);
        start..start + u64::from(self.cell_of(n))
    }

    /// Bytes of every shard.
    #[must_use]
    pub fn shard_len(&self) -> u64 {
        match self.stripes().checked_sub(1) {
            None => 0,
            Some(last) => self.shard_range(last).end,
        }
    }

    /// Bytes of the `k` data shards together: the length and the padding of the last stripe.
    #[must_use]
    pub fn padded_len(&self) -> u64 {
        self.k() * self.shard_len()
    }

    /// Cuts a range of extent bytes into runs within cells, in order. What lies beyond the extent
    /// is left out.
    #[must_use]
    pub fn locate(&self, range: Range<u64>) -> Locations {
        Locations {
            geometry: *self,
            at: range.start,
            end: range.end.min(self.length),
        }
    }

    fn k(&self) -> u64 {
        self.profile.k() as u64
    }
}

/// The runs of a range, see [`Geometry::locate`].
#[derive(Debug, Clone)]
pub struct Locations {
    geometry: Geometry,
    at: u64,
    end: u64,
}

impl Iterator for Locations {
    type Item = Located;

    fn next(&mut self) -> Option<Located> {
        if self.at >= self.end {
            return None;
        }
        let stripe = self.at / self.geometry.stripe_bytes();
        let cell = u64::from(self.geometry.cell_of(stripe));
        let in_stripe = self.at % self.geometry.stripe_bytes();
        let in_cell = in_stripe % cell;
        let len = (cell - in_cell).min(self.end - self.at);
        let located = Located {
            stripe,
            shard: u8::try_from(in_stripe / cell).expect("below k"),
            shard_offset: stripe * u64::from(self.geometry.cell) + in_cell,
            len: u32::try_from(len).expect("within a cell"),
            extent_offset: self.at,
        };
        self.at += len;
        Some(located)
    }
}

#[cfg(test)]
mod tests;
