//! Where shards are, by a group's own copies of the rows of the layout.
//!
//! ```text
//! a reader looks at      the override, else the row's drive of the slot
//! a shard is wanted at   the override, and where the row says that the slot must be
//! a shard may be at      all of these, and both ends of the slot's move
//! ```

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use marram_placement::PgRow;
use marram_types::codec::DecodeError;
use marram_types::{DriveId, PgId};

use crate::kinds::extent::Extent;
use crate::kinds::layout_row::{LayoutRow, ser_key};
use crate::kv::{KvRead, Table};
use crate::stored::{StateError, load};

/// Rows of the layout as one view of the state has them, each read once.
#[derive(Default)]
pub(crate) struct Layout {
    rows: BTreeMap<PgId, LayoutRow>,
}

impl Layout {
    /// The group's copy of a row; `None` when it was not told of it.
    pub(crate) fn row(
        &mut self,
        kv: &dyn KvRead,
        pg: PgId,
    ) -> Result<Option<&LayoutRow>, StateError> {
        Ok(match self.rows.entry(pg) {
            Entry::Occupied(held) => Some(held.into_mut()),
            Entry::Vacant(free) => match load(kv, Table::LayoutRows, &ser_key(pg))? {
                Some(row) => Some(free.insert(row)),
                None => None,
            },
        })
    }

    /// The row of a placement group that a committed extent names: such rows are known, because the
    /// commit was judged by them, and rows never go.
    pub(crate) fn held(&mut self, kv: &dyn KvRead, pg: PgId) -> Result<&LayoutRow, StateError> {
        self.row(kv, pg)?.ok_or_else(unknown_row)
    }

    /// Where a reader looks for each shard.
    pub(crate) fn read_places(
        &mut self,
        kv: &dyn KvRead,
        extent: &Extent,
    ) -> Result<Vec<DriveId>, StateError> {
        let row = &self.held(kv, extent.pg)?.row;
        let place = |(shard, _)| read_place(extent, row, shard).ok_or_else(unknown_row);
        extent.shards().map(place).collect()
    }

    /// By shard, the drives that it must not be taken from: where readers look for it, and where
    /// the layout wants it.
    pub(crate) fn wanted_places(
        &mut self,
        kv: &dyn KvRead,
        extent: &Extent,
    ) -> Result<Vec<Vec<DriveId>>, StateError> {
        let row = &self.held(kv, extent.pg)?.row;
        let wanted = |(shard, slot)| wanted(extent, row, shard, slot).ok_or_else(unknown_row);
        extent.shards().map(wanted).collect()
    }

    /// By shard, every drive that it may be on: what moves is looked for at both ends.
    pub(crate) fn all_places(
        &mut self,
        kv: &dyn KvRead,
        extent: &Extent,
    ) -> Result<Vec<Vec<DriveId>>, StateError> {
        let mut places = self.wanted_places(kv, extent)?;
        let row = &self.held(kv, extent.pg)?.row;
        for (places, slot) in places.iter_mut().zip(&extent.slots) {
            if let Some(moving) = row.moving.filter(|moving| moving.slot == *slot) {
                add(places, moving.from);
                add(places, moving.to);
            }
        }
        Ok(places)
    }
}

/// Where a reader looks for a shard (placement-protocol.md 5).
pub(crate) fn read_place(extent: &Extent, row: &PgRow, shard: u8) -> Option<DriveId> {
    let slot = *extent.slots.get(usize::from(shard))?;
    extent.override_of(shard).or_else(|| row.read_place(slot))
}

fn wanted(extent: &Extent, row: &PgRow, shard: u8, slot: u8) -> Option<Vec<DriveId>> {
    let mut places: Vec<_> = extent.override_of(shard).into_iter().collect();
    for place in row.must_hold(slot)?.iter() {
        add(&mut places, place);
    }
    Some(places)
}

/// A slot without a drive has no place.
fn add(places: &mut Vec<DriveId>, place: DriveId) {
    if !place.is_vacant() && !places.contains(&place) {
        places.push(place);
    }
}

fn unknown_row() -> StateError {
    StateError::Corrupt {
        table: Table::LayoutRows,
        source: DecodeError::Invalid("row of a committed extent"),
    }
}
