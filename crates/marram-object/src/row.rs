//! Rows of placement groups: which takes a new extent, and where a shard of an old one is.

use marram_meta::Extent;
use marram_placement::PoolTable;
use marram_types::{DriveId, PgId};

/// Rows that are looked at before the best of them is taken. With two of twelve nodes away, 32
/// random rows miss a whole one once in four thousand writes.
const ROWS_TRIED_MAX: usize = 32;

/// A row for a new extent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowChoice {
    /// The placement group.
    pub pg: PgId,
    /// Its drives.
    pub row: Vec<DriveId>,
    /// Which of them can take data.
    pub living: Vec<bool>,
}

/// Chooses a row for a new extent: from row `start` (a random number, any size) on, the first whose
/// drives all live, else the one with most living drives among the rows tried. `None` only for a
/// table without rows.
///
/// A failed drive is thus first replaced by another row where there are drives enough, and only
/// then is an extent narrowed (rules.md 18).
#[must_use]
pub fn choose_row(
    table: &PoolTable,
    start: u64,
    mut lives: impl FnMut(DriveId) -> bool,
) -> Option<RowChoice> {
    let count = table.rows.len();
    let mut best: Option<(usize, RowChoice)> = None;
    for step in 0..count.min(ROWS_TRIED_MAX) {
        let index = usize::try_from(start % count as u64).expect("below the count of rows");
        let index = (index + step) % count;
        let row = &table.rows[index];
        let living: Vec<bool> = row.iter().map(|drive| lives(*drive)).collect();
        let alive = living.iter().filter(|lives| **lives).count();
        if best.as_ref().is_none_or(|(most, _)| alive > *most) {
            let index = u16::try_from(index).expect("a table has at most 512 rows");
            let choice = RowChoice {
                pg: table.pg(index),
                row: row.clone(),
                living,
            };
            if alive == row.len() {
                return Some(choice);
            }
            best = Some((alive, choice));
        }
    }
    best.map(|(_, choice)| choice)
}

/// The drive that holds `shard` of `extent`: the row's override, else what the placement group's
/// row says (placement-protocol.md 5). `None` when the table does not know the placement group.
#[must_use]
pub fn drive_of(extent: &Extent, shard: u8, table: &PoolTable) -> Option<DriveId> {
    let moved = extent.overrides.iter().find(|(of, _)| *of == shard);
    if let Some((_, drive)) = moved {
        return Some(*drive);
    }
    let slot = *extent.slots.get(usize::from(shard))?;
    table.row(extent.pg)?.get(usize::from(slot)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use marram_placement::Spread;
    use marram_types::DataId;

    fn table() -> PoolTable {
        PoolTable {
            width: 2,
            epoch: 1,
            rows: vec![
                vec![DriveId(1), DriveId(2)],
                vec![DriveId(2), DriveId(3)],
                vec![DriveId(3), DriveId(1)],
            ],
            domains: Spread::default(),
        }
    }

    fn chosen(start: u64, dead: &[u64]) -> (u16, Vec<bool>) {
        let choice = choose_row(&table(), start, |d| !dead.contains(&d.0)).expect("rows");
        (choice.pg.index, choice.living)
    }

    #[test]
    fn a_whole_row_is_preferred_then_the_fullest() {
        assert_eq!(chosen(4, &[]), (1, vec![true, true]));
        assert_eq!(chosen(0, &[2]), (2, vec![true, true]));
        assert_eq!(chosen(1, &[2, 3]), (2, vec![false, true]));
        assert_eq!(chosen(u64::MAX, &[1, 2, 3]).1, [false, false]);
        let mut empty = table();
        empty.rows.clear();
        assert_eq!(choose_row(&empty, 7, |_| true), None);
    }

    #[test]
    fn overrides_come_before_the_row() {
        let mut extent = Extent {
            data: DataId {
                group: marram_types::GroupId(1),
                begin: 1,
                random: 1,
            },
            pg: table().pg(1),
            profile: "1+1".parse().expect("valid"),
            cell: 1,
            length: 1,
            slots: vec![1, 0],
            missing: 0,
            overrides: vec![],
        };
        let drive = |e: &Extent, shard| drive_of(e, shard, &table());
        assert_eq!(drive(&extent, 0), Some(DriveId(3)));
        assert_eq!(drive(&extent, 1), Some(DriveId(2)));
        assert_eq!(drive(&extent, 2), None);
        extent.overrides.push((1, DriveId(9)));
        assert_eq!(drive(&extent, 1), Some(DriveId(9)));
        extent.pg.index = 3;
        assert_eq!(drive(&extent, 0), None);
    }
}
