//! Rows of placement groups: which one takes a new extent.

use marram_placement::{PgRow, Phase, PoolTable};
use marram_types::{DriveId, PgId};

/// Rows that are looked at before the best of them is taken. With two of twelve nodes away, 32
/// random rows miss a whole one once in four thousand writes.
const ROWS_TRIED_MAX: usize = 32;

/// A row for a new extent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowChoice {
    /// The placement group.
    pub pg: PgId,
    /// Its drives; where a slot moves away from a drive that cannot take data, the one it moves to.
    pub row: Vec<DriveId>,
    /// By slot, the second place of one that moves (placement-protocol.md 2).
    pub also: Vec<Option<DriveId>>,
    /// Which of the drives can take data.
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
        let pg = table.pg(u16::try_from(index).expect("rows are numbered with 16 bits"));
        let choice = choice_of(pg, &table.rows[index], &mut lives);
        let alive = choice.living.iter().filter(|lives| **lives).count();
        if alive == choice.row.len() {
            return Some(choice);
        }
        if best.as_ref().is_none_or(|(most, _)| alive > *most) {
            best = Some((alive, choice));
        }
    }
    best.map(|(_, choice)| choice)
}

/// One row as a choice, whatever lives of it. `index` is below the number of rows.
///
/// # Panics
/// When there is no such row.
#[must_use]
pub fn choose_row_at(
    table: &PoolTable,
    index: u64,
    mut lives: impl FnMut(DriveId) -> bool,
) -> RowChoice {
    let index = u16::try_from(index).expect("rows are numbered with 16 bits");
    let row = &table.rows[usize::from(index)];
    choice_of(table.pg(index), row, &mut lives)
}

fn choice_of(pg: PgId, row: &PgRow, lives: &mut impl FnMut(DriveId) -> bool) -> RowChoice {
    let mut choice = RowChoice {
        pg,
        row: row.drives.clone(),
        also: vec![None; row.drives.len()],
        living: row.drives.iter().map(|drive| lives(*drive)).collect(),
    };
    if let Some(moving) = row.moving.filter(|m| m.phase == Phase::Dual) {
        let slot = usize::from(moving.slot);
        if moving.to.is_vacant() {
            // The slot is taken out of use, though its drive may serve on: what is written there would only
            // have to be encoded anew, and the slot never be empty while anybody writes.
            choice.living[slot] = false;
        } else if lives(moving.to) {
            if choice.living[slot] {
                choice.also[slot] = Some(moving.to);
            } else {
                // What is written there only is named by the object's row.
                choice.row[slot] = moving.to;
                choice.living[slot] = true;
            }
        }
    }
    choice
}

#[cfg(test)]
mod tests {
    use super::*;
    use marram_placement::Spread;

    fn table() -> PoolTable {
        PoolTable {
            width: 2,
            epoch: 1,
            rows: vec![
                PgRow::stable(1, vec![DriveId(1), DriveId(2)]),
                PgRow::stable(1, vec![DriveId(2), DriveId(3)]),
                PgRow::stable(1, vec![DriveId(3), DriveId(1)]),
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
    fn a_moving_slot_is_written_at_both_places_or_where_one_can() {
        let mut table = table();
        table.rows[0] = table.rows[0].begin(1, DriveId(9), 2).expect("it is stable");
        let chosen = |dead: &[u64]| {
            let choice = choose_row(&table, 0, |d| !dead.contains(&d.0)).expect("rows");
            assert_eq!(choice.pg.index, 0);
            (choice.row, choice.also)
        };
        let both = [DriveId(1), DriveId(2)];
        assert_eq!(chosen(&[]), (both.to_vec(), vec![None, Some(DriveId(9))]));
        let new = [DriveId(1), DriveId(9)];
        assert_eq!(chosen(&[2]), (new.to_vec(), vec![None, None]));
        assert_eq!(chosen(&[9]), (both.to_vec(), vec![None, None]));
    }

    /// A drive that serves may have a slot that is on its way to no drive: two slots of a row on one node.
    #[test]
    fn a_slot_that_is_taken_out_of_use_is_not_written_to_though_its_drive_serves() {
        let mut table = table();
        let vacated = table.rows[0].begin(1, DriveId::vacant(1), 2);
        table.rows[0] = vacated.expect("it is stable");
        let lives = |drive: DriveId| !drive.is_vacant();
        let choice = choose_row_at(&table, 0, lives);
        assert_eq!(choice.row, [DriveId(1), DriveId(2)]);
        assert_eq!(choice.also, [None, None]);
        assert_eq!(choice.living, [true, false]);
        // Another row is whole, and taken before it.
        let other = choose_row(&table, 0, lives).expect("rows");
        assert_eq!((other.pg.index, other.living), (1, vec![true, true]));
        // Taken back, it is written to again.
        table.rows[0] = table.rows[0].cancel(3).expect("it moves");
        assert_eq!(choose_row_at(&table, 0, lives).living, [true, true]);
        let done = table.rows[1].begin(0, DriveId::vacant(0), 2);
        table.rows[1] = done.and_then(|row| row.cut(3)).expect("it moves");
        assert_eq!(choose_row_at(&table, 1, lives).living, [false, true]);
    }
}
