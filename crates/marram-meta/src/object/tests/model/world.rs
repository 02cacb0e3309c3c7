//! The drives, the root's layout and the nodes' own knowledge around one group.

use std::collections::{BTreeMap, BTreeSet};

use marram_placement::PgRow;
use marram_types::{DataId, DriveId, PgId};

use crate::testing::{PGS, first_row, pg};
use crate::{Extent, NewExtent};

/// A shard on a drive.
pub(super) type Shard = (PgId, DataId, u8);

/// A node's permission to delete a shard, asked for before and used later (rules.md 24).
#[derive(Debug, Clone, Copy)]
pub(super) struct Verdict {
    pub(super) drive: DriveId,
    pub(super) shard: Shard,
    /// The epoch that it is bound to; none when the data can never be committed.
    pub(super) epoch: Option<u64>,
}

pub(super) struct World {
    pub(super) drives: BTreeMap<DriveId, BTreeSet<Shard>>,
    /// Shards that drives lost and nobody reported.
    pub(super) lost: BTreeSet<(DataId, u8, DriveId)>,
    /// Every row that the root had, the present one last.
    pub(super) rows: Vec<Vec<PgRow>>,
    epoch: u64,
    /// Moves of which everything that the group held was copied.
    pub(super) copied: BTreeSet<u16>,
    pub(super) verdicts: Vec<Verdict>,
    /// Shards that workers wrote, and where.
    pub(super) mended: Vec<(Shard, DriveId)>,
    /// The highest epoch of a placement group that a drive's node has seen.
    seen: BTreeMap<(DriveId, PgId), u64>,
}

impl World {
    pub(super) fn new() -> Self {
        Self {
            drives: (1..=9).map(|n| (DriveId(n), BTreeSet::new())).collect(),
            lost: BTreeSet::new(),
            rows: (0..PGS).map(|index| vec![first_row(index)]).collect(),
            epoch: 1,
            copied: BTreeSet::new(),
            verdicts: Vec::new(),
            mended: Vec::new(),
            seen: BTreeMap::new(),
        }
    }

    /// The root's row.
    pub(super) fn row(&self, index: u16) -> &PgRow {
        self.rows[usize::from(index)].last().expect("never empty")
    }

    /// The row as of `back` changes ago: what a slow writer knows.
    pub(super) fn old_row(&self, index: u16, back: usize) -> &PgRow {
        let rows = &self.rows[usize::from(index)];
        &rows[rows.len() - 1 - back.min(rows.len() - 1)]
    }

    /// The root's next row, if there is one.
    pub(super) fn change<E>(
        &mut self,
        index: u16,
        next: impl FnOnce(&PgRow, u64) -> Result<PgRow, E>,
    ) {
        if let Ok(row) = next(self.row(index), self.epoch + 1) {
            self.epoch += 1;
            self.rows[usize::from(index)].push(row);
            self.copied.remove(&index);
        }
    }

    pub(super) fn holds(&self, drive: DriveId, extent: &Extent, shard: u8) -> bool {
        self.drives[&drive].contains(&(extent.pg, extent.data, shard))
    }

    /// The drives that hold a shard.
    pub(super) fn holders(&self, extent: &Extent, shard: u8) -> BTreeSet<DriveId> {
        let all = self.drives.keys().copied();
        all.filter(|d| self.holds(*d, extent, shard)).collect()
    }

    /// Whether enough shards are left to make any other.
    pub(super) fn can_rebuild(&self, extent: &Extent) -> bool {
        let shards = extent
            .shards()
            .filter(|(shard, _)| !self.holders(extent, *shard).is_empty());
        shards.count() >= extent.profile.k()
    }

    /// A write or verification under an epoch. A node drops what it may clean up of a placement
    /// group before it answers one of a newer epoch.
    pub(super) fn write(&mut self, drive: DriveId, (pg, data, shard): Shard, epoch: u64) {
        self.sees(drive, pg, epoch);
        self.lost.remove(&(data, shard, drive));
        self.drives
            .get_mut(&drive)
            .expect("one of nine")
            .insert((pg, data, shard));
    }

    pub(super) fn sees(&mut self, drive: DriveId, pg: PgId, epoch: u64) {
        let seen = self.seen.entry((drive, pg)).or_default();
        *seen = epoch.max(*seen);
    }

    pub(super) fn has_seen(&self, drive: DriveId, pg: PgId) -> u64 {
        self.seen.get(&(drive, pg)).copied().unwrap_or(0)
    }

    pub(super) fn write_all(&mut self, new: &NewExtent, epoch: u64) {
        for (shard, drive) in &new.wrote {
            self.write(*drive, (new.extent.pg, new.extent.data, *shard), epoch);
        }
    }

    pub(super) fn remove(&mut self, drive: DriveId, shard: &Shard) -> bool {
        let held = self.drives.get_mut(&drive).expect("one of nine");
        held.remove(shard)
    }

    /// Nodes use the permissions that are not void.
    pub(super) fn clean(&mut self) {
        for verdict in std::mem::take(&mut self.verdicts) {
            let seen = self.has_seen(verdict.drive, verdict.shard.0);
            if verdict.epoch.is_none_or(|epoch| seen <= epoch) {
                self.remove(verdict.drive, &verdict.shard);
            }
        }
    }

    /// What the root decided last of every placement group.
    pub(super) fn latest(&self) -> Vec<(u16, PgRow)> {
        (0..PGS)
            .map(|index| (index, self.row(index).clone()))
            .collect()
    }
}

/// A placement group of the test.
pub(super) fn some_pg(n: u16) -> PgId {
    pg(n % PGS)
}
