//! The first steps of a plan: every empty place gets a drive, then every row its best spread.
//!
//! A row whose spread is not the best has one drive whose exchange makes it better: the best spreads
//! are the cheapest bases of a matroid, where every local optimum is a global one. So exchanges, one
//! by one, reach it, and none of them is wasted.

use std::cmp::Reverse;

use super::domains::Cost;
use super::draft::{Draft, NONE, mix};
use super::ranking::{Ranking, RowView};

/// Every drive may be chosen; those in need come first.
fn any(_: &Draft<'_>, _: usize) -> bool {
    true
}

/// Fills the empty places, and spreads each row as well as the domains allow.
pub(super) fn fill_and_spread(draft: &mut Draft<'_>) {
    let mut ranking = draft.ranking(&any);
    let mut view = RowView::default();
    for row in draft.free_rows() {
        while draft.lacks_a_drive(row) {
            draft.view_without(row, NONE, &mut view);
            let Some((_, drive)) = ranking.best(draft.domains, &view) else {
                break;
            };
            draft.replace(row, NONE, drive);
            draft.rank(&mut ranking, &any, drive);
        }
    }
    for row in draft.free_rows() {
        while draft.cost(row, &mut view) > draft.best.cost {
            if !improve(draft, &mut ranking, row, &mut view) {
                break;
            }
        }
    }
}

/// A drive that may leave a row: the pairs that it adds, whether its leaving is a move, its surplus, a
/// tie, and itself, in the order of choice.
type Leaving = (Reverse<Cost>, bool, Reverse<i64>, u64, usize);

/// Exchanges one drive of the row for one that adds fewer pairs; `false` when there is none.
fn improve(draft: &mut Draft<'_>, ranking: &mut Ranking, row: usize, view: &mut RowView) -> bool {
    let mut leaving: Vec<Leaving> = Vec::new();
    for drive in draft.slots(row).iter().copied().filter(|d| *d != NONE) {
        draft.view_without(row, drive, view);
        let crowd = Reverse(view.added(draft.domains, drive));
        let tie = mix(row as u64, draft.drive_id(drive).0);
        let surplus = Reverse(draft.surplus(drive));
        leaving.push((crowd, draft.was_in(row, drive), surplus, tie, drive));
    }
    leaving.sort_unstable();
    for (Reverse(crowd), _, _, _, drive) in leaving {
        draft.view_without(row, drive, view);
        let Some((cost, to)) = ranking.best(draft.domains, view) else {
            continue;
        };
        if cost < crowd {
            draft.replace(row, drive, to);
            draft.rank(ranking, &any, drive);
            draft.rank(ranking, &any, to);
            return true;
        }
    }
    false
}
