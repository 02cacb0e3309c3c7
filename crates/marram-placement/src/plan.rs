//! The planner: a topology gives a pool's first table, and later what to move in it.
//!
//! Both are one computation, [`place`]: the first table is a change of a table whose places are all
//! empty.
//!
//! 1. **Shares** (`quota`). The best spread of a row fixes how many of its shards a zone and a node
//!    hold at least and at most. Inside these bounds slots follow the weights. Rounded to whole
//!    slots, towards what is held already, that is the quota of each drive.
//! 2. **Fill and spread** (`fill`). Empty places, of new rows and of drives that must be left, get
//!    the drive that spreads the row best, of these the one that lacks most of its quota. Then rows
//!    that could be spread better are, exchange by exchange.
//! 3. **Balance** (`balance`). Drives above their quota give slots to drives below it, each exchange
//!    keeping its row's spread, by chains of exchanges where no direct one is possible.
//!
//! Why so. A hash (CRUSH, rendezvous) needs no table, but balances by luck and moves more than it
//! must; the tables are small and in the root group anyway. A minimum-cost flow over rows and
//! drives gives the same number of moves, and is too slow for 65,536 rows. Here spread is a hard
//! rule that every row meets by itself (a cheapest basis of a matroid), so balance is only a matter of
//! counts: the fewest moves are what drives hold above their quota, and any row that may be changed
//! will do for each. That leaves a choice by ordered sets, of logarithmic cost for a slot.
//!
//! Priorities, where they are at odds: emptying drives, spread, balance, few moves. So a node in a new
//! zone may draw more than its share by weight, because rows reach for the zone.

use std::collections::BTreeMap;

use marram_types::DriveId;
use marram_types::caps::{POOL_PGS, PROFILE_K_MAX, PROFILE_M_MAX};

use self::domains::Domains;
use self::draft::{Draft, NONE, RowInput, mix};
use crate::pool::PoolTable;
use crate::row::PgRow;
use crate::topology::Topology;

mod apart;
mod balance;
mod change;
mod domains;
mod draft;
mod fill;
mod quota;
mod ranking;
mod report;
mod wish;

pub use apart::Apart;
pub use change::plan_change;
pub use report::{Balance, Load, NodeBytes, Plan, PlanBytes, Unplaced};
pub use wish::{PoolPlan, Seat, Standing};

/// Why no table could be planned.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// The width is not of a profile.
    #[error("a placement group cannot have {width} drives: 1 to 40 are possible")]
    BadWidth {
        /// What was asked for.
        width: usize,
    },
    /// There are not enough drives for one shard on each.
    #[error(
        "{width} shards need {width} drives, and {drives} can hold data: add drives or nodes, or choose a narrower profile"
    )]
    TooFewDrives {
        /// What was asked for.
        width: usize,
        /// Drives of positive weight.
        drives: usize,
    },
    /// A drive is listed twice.
    #[error("drive {drive} is listed twice")]
    DuplicateDrive {
        /// Which.
        drive: DriveId,
    },
    /// A row of the table is not one of its width, or not sound.
    #[error("row {row} of the table is damaged")]
    BadRow {
        /// Its index.
        row: usize,
    },
    /// The table has more rows than placement groups can be numbered.
    #[error("a table cannot have {rows} rows")]
    TooManyRows {
        /// How many it has.
        rows: usize,
    },
}

/// Plans the first table (epoch 1) of the pool of `width`.
///
/// Spread comes first: shards of a row are on distinct nodes as far as there are nodes, then in as
/// many zones as possible, and always on distinct drives. Nodes, and drives in each, hold slots by
/// their weight. Rows mix all nodes, so that a repair reads from many. The same topology gives the
/// same table, in whatever order its drives are listed.
///
/// # Errors
/// When the width is not of a profile, there are fewer drives than it, or a drive is listed twice.
pub fn plan_pool(topology: &Topology, width: usize) -> Result<PoolTable, PlanError> {
    plan_rows(topology, width, usize::from(POOL_PGS))
}

fn plan_rows(topology: &Topology, width: usize, rows: usize) -> Result<PoolTable, PlanError> {
    let width_byte = u8::try_from(width)
        .ok()
        .filter(|w| (1..=PROFILE_K_MAX + PROFILE_M_MAX).contains(w))
        .ok_or(PlanError::BadWidth { width })?;
    let domains = Domains::new(topology)?;
    if domains.drives.len() < width {
        return Err(PlanError::TooFewDrives {
            width,
            drives: domains.drives.len(),
        });
    }
    let empty = |_| RowInput {
        drives: vec![NONE; width],
        busy: false,
    };
    let input: Vec<RowInput> = (0..rows).map(empty).collect();
    let draft = place(&domains, (width, Apart::Drives), &input);
    let mut order = SlotOrder::default();
    let rows = (0..rows).map(|row| {
        let drives = draft.slots(row).iter().map(|d| draft.drive_id(*d));
        PgRow::stable(1, order.order(row, drives.collect()))
    });
    let mut table = PoolTable {
        width: width_byte,
        epoch: 1,
        rows: rows.collect(),
        domains: Default::default(),
    };
    table.domains = table.spread_in(topology);
    Ok(table)
}

/// Gives every place a drive, spreads the rows, balances the drives.
fn place<'a>(
    domains: &'a Domains,
    (width, apart): (usize, Apart),
    input: &[RowInput],
) -> Draft<'a> {
    let mut draft = Draft::new(domains, (width, apart), input);
    fill::fill_and_spread(&mut draft);
    balance::balance(&mut draft);
    draft
}

/// Orders the drives of new rows so that every drive gets its share of the early slots: they are the
/// data shards, read most.
#[derive(Default)]
struct SlotOrder {
    /// For each drive its slots so far, and the sum of how early they are.
    given: BTreeMap<DriveId, (u64, u64)>,
}

impl SlotOrder {
    fn order(&mut self, row: usize, mut drives: Vec<DriveId>) -> Vec<DriveId> {
        let row = !(row as u64);
        for drive in &drives {
            self.given.entry(*drive).or_default().0 += 1;
        }
        drives.sort_by(|a, b| {
            let ((slots_a, early_a), (slots_b, early_b)) = (self.given[a], self.given[b]);
            let by_earliness = (early_a * slots_b).cmp(&(early_b * slots_a));
            by_earliness
                .then_with(|| mix(row, a.0).cmp(&mix(row, b.0)))
                .then(a.cmp(b))
        });
        for (drive, early) in drives.iter().rev().zip(1..) {
            self.given.entry(*drive).or_default().1 += early;
        }
        drives
    }
}

#[cfg(test)]
mod tests;
