//! An extent on its way into a row: with the places where its shards were written.

use marram_placement::PgRow;
use marram_types::DriveId;
use marram_types::codec::{DecodeError, Reader, Writer};

use crate::kinds::extent::Extent;
use crate::stored::Stored;

/// Places of one shard: two while its slot moves (placement-protocol.md 2).
const PLACES_MAX: usize = 2;

/// An extent and where its shards are durable. The row that it becomes part of names only the
/// places that the layout does not tell (placement-protocol.md 5); which these are is decided when
/// the entry is applied, by the layout that the group knows then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewExtent {
    /// The extent, without overrides and missing shards.
    pub extent: Extent,
    /// Shard and drive: every shard at least once, and twice when it was written to both places of
    /// a move.
    pub wrote: Vec<(u8, DriveId)>,
}

impl NewExtent {
    /// The drives that a shard was written to.
    pub(super) fn written(&self, shard: u8) -> Vec<DriveId> {
        let of = self.wrote.iter().filter(|(of, _)| *of == shard);
        of.map(|(_, drive)| *drive).collect()
    }

    /// The drives that each shard was written to.
    pub(super) fn places(&self) -> Vec<Vec<DriveId>> {
        let shards = self.extent.shards();
        shards.map(|(shard, _)| self.written(shard)).collect()
    }

    /// Whether every shard was written, and no drive holds two of them: then one loss is one shard.
    pub(super) fn is_whole(&self) -> bool {
        let mut drives: Vec<DriveId> = self.wrote.iter().map(|(_, drive)| *drive).collect();
        drives.sort_unstable();
        let width = self.extent.slots.len();
        drives.windows(2).all(|pair| pair[0] != pair[1])
            && self
                .wrote
                .iter()
                .all(|(shard, _)| usize::from(*shard) < width)
            && self
                .places()
                .iter()
                .all(|places| (1..=PLACES_MAX).contains(&places.len()))
    }

    /// The extent as the row will hold it: a shard that was not written everywhere where the layout
    /// wants it gets an override to one of its places, if possible to one that the layout wants.
    /// `None` when the row has no such slots, or a shard was written nowhere.
    pub(super) fn settle(&self, row: &PgRow) -> Option<Extent> {
        let mut extent = self.extent.clone();
        for (shard, slot) in self.extent.shards() {
            let wanted = row.must_hold(slot)?;
            let written = self.written(shard);
            if !wanted.covered_by(&written) {
                let best = written.iter().find(|drive| wanted.contains(**drive));
                let place = best.or_else(|| written.first())?;
                extent.set_override(shard, Some(*place));
            }
        }
        Some(extent)
    }
}

impl Stored for NewExtent {
    fn encode(&self, out: &mut Writer) {
        self.extent.encode(out);
        out.list(&self.wrote, |out, (shard, drive)| {
            out.u8(*shard).varint(drive.0);
        });
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            extent: Extent::decode(from)?,
            wrote: from.list(|from| Ok((from.u8()?, DriveId(from.varint()?))))?,
        })
    }
}

/// Appends a list of new extents.
pub(super) fn put_new_extents(out: &mut Writer, extents: &[NewExtent]) {
    out.list(extents, |out, extent| extent.encode(out));
}

/// Reads a list of new extents.
pub(super) fn get_new_extents(from: &mut Reader<'_>) -> Result<Vec<NewExtent>, DecodeError> {
    from.list(NewExtent::decode)
}
