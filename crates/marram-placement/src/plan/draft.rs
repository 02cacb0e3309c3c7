//! A table while it is planned: rows as sets of drives, beside what they were.
//!
//! A row's set is what counts; which slot goes where is decided at the end, when the drives that
//! leave a row are paired with those that come. So a drive that comes back costs nothing, and a
//! plan has as many moves as drives that really left.

use marram_types::DriveId;

use super::apart::Apart;
use super::domains::{BestSpread, Cost, Domains};
use super::quota::{Counts, Shares, fair_shares, quotas};
use super::ranking::{Key, Ranking, RowView};

/// A place of a row that has no drive yet.
pub(super) const NONE: usize = usize::MAX;

/// A row as the planner takes it.
pub(super) struct RowInput {
    /// The usable drives of its slots, [`NONE`] for a slot whose drive must be left.
    pub(super) drives: Vec<usize>,
    /// A move is under way: the row only counts.
    pub(super) busy: bool,
}

pub(super) struct Draft<'a> {
    pub(super) domains: &'a Domains,
    /// Slots of each row that get a drive: fewer than the row has where places lack.
    shards: usize,
    pub(super) best: BestSpread,
    pub(super) shares: Shares,
    /// Slots that each domain shall hold.
    pub(super) quotas: Counts,
    /// Slots that each domain holds.
    pub(super) held: Counts,
    /// Some places were empty: the drives of some slots must be left.
    pub(super) empties: bool,
    /// Slots held before anything was placed.
    start: Counts,
    /// Slots on usable drives in the end.
    total: i64,
    width: usize,
    rows: Vec<usize>,
    origin: Vec<usize>,
    busy: Vec<bool>,
    /// The rows that each drive is, or was, in.
    holders: Vec<Vec<u32>>,
}

impl<'a> Draft<'a> {
    pub(super) fn new(
        domains: &'a Domains,
        (width, apart): (usize, Apart),
        input: &[RowInput],
    ) -> Self {
        let shards = width.min(match apart {
            Apart::Nodes => domains.nodes.len(),
            Apart::Drives => domains.drives.len(),
        });
        let best = domains.best_spread(shards);
        let mut held = Counts::zero(domains);
        let mut start = Counts::zero(domains);
        let mut holders = vec![Vec::new(); domains.drives.len()];
        let mut rows = Vec::with_capacity(width * input.len());
        let mut total = 0;
        let mut empties = false;
        for (index, row) in (0..).zip(input) {
            let mut filled = 0;
            for drive in &row.drives {
                rows.push(*drive);
                if *drive == NONE {
                    continue;
                }
                filled += 1;
                held.add(domains, *drive, 1);
                start.add(domains, *drive, 1);
                if !row.busy {
                    holders[*drive].push(index);
                }
            }
            total += if row.busy { filled } else { shards as i64 };
            empties |= !row.busy && filled < shards as i64;
        }
        let shares = fair_shares(domains, &best, input.len(), total);
        let quotas = quotas(domains, &shares, &held, total);
        Self {
            domains,
            shards,
            best,
            shares,
            quotas,
            held,
            empties,
            start,
            total,
            width,
            origin: rows.clone(),
            rows,
            busy: input.iter().map(|row| row.busy).collect(),
            holders,
        }
    }

    /// Rounds the quotas again, by what is held now; whether that changes any.
    pub(super) fn round_quotas(&mut self) -> bool {
        let again = quotas(self.domains, &self.shares, &self.held, self.total);
        let changed = again.drives != self.quotas.drives;
        self.quotas = again;
        changed
    }

    /// The rows that may be changed.
    pub(super) fn free_rows(&self) -> impl Iterator<Item = usize> + use<> {
        let busy = self.busy.clone();
        (0..busy.len()).filter(move |row| !busy[*row])
    }

    pub(super) fn slots(&self, row: usize) -> &[usize] {
        &self.rows[row * self.width..][..self.width]
    }

    /// Whether a place of the row is empty that is to get a drive.
    pub(super) fn lacks_a_drive(&self, row: usize) -> bool {
        let slots = self.slots(row).iter();
        slots.filter(|drive| **drive != NONE).count() < self.shards
    }

    pub(super) fn origin(&self, row: usize) -> &[usize] {
        &self.origin[row * self.width..][..self.width]
    }

    /// Whether a drive was in the row before the plan, so that its leaving is a move.
    pub(super) fn was_in(&self, row: usize, drive: usize) -> bool {
        self.origin(row).contains(&drive)
    }

    /// The rows that hold the drive now.
    pub(super) fn rows_of(&self, drive: usize) -> Vec<usize> {
        let mut rows: Vec<usize> = self.holders[drive].iter().map(|r| *r as usize).collect();
        rows.retain(|row| self.slots(*row).contains(&drive));
        rows.sort_unstable();
        rows.dedup();
        rows
    }

    /// Fills `view` with the row but for one drive; [`NONE`] leaves out nothing.
    pub(super) fn view_without(&self, row: usize, drive: usize, view: &mut RowView) {
        let members = self.slots(row).iter().copied();
        view.fill(self.domains, members.filter(|d| *d != NONE && *d != drive));
    }

    pub(super) fn cost(&self, row: usize, view: &mut RowView) -> Cost {
        self.view_without(row, NONE, view);
        view.cost()
    }

    /// Puts `to` in the place of `from` in a row; [`NONE`] as `from` fills an empty place.
    pub(super) fn replace(&mut self, row: usize, from: usize, to: usize) {
        let slots = &mut self.rows[row * self.width..][..self.width];
        let Some(slot) = slots.iter_mut().find(|d| **d == from) else {
            return;
        };
        *slot = to;
        if from != NONE {
            self.held.add(self.domains, from, -1);
        }
        self.held.add(self.domains, to, 1);
        self.holders[to].push(u32::try_from(row).unwrap_or(u32::MAX));
    }

    /// How much more than its quota a drive holds.
    pub(super) fn surplus(&self, drive: usize) -> i64 {
        self.held.drives[drive] - self.quotas.drives[drive]
    }

    /// Whether the drive, its node or its zone holds too much (`sign` 1) or too little (-1) by a
    /// whole slot: less is rounding, and not worth a move.
    pub(super) fn off_by_a_slot(&self, drive: usize, sign: f64) -> bool {
        let node = self.domains.drives[drive].node;
        let zone = self.domains.nodes[node].zone;
        let off = |held: i64, share: f64| (held as f64 - share) * sign > 1.0 - 1e-3;
        off(self.held.drives[drive], self.shares.drives[drive])
            || off(self.held.nodes[node], self.shares.nodes[node])
            || off(self.held.zones[zone], self.shares.zones[zone])
    }

    /// Ranks the drives that `want` allows.
    pub(super) fn ranking(&self, want: &dyn Fn(&Self, usize) -> bool) -> Ranking {
        let mut ranking = Ranking::new(self.domains);
        for drive in 0..self.domains.drives.len() {
            self.rank(&mut ranking, want, drive);
        }
        ranking
    }

    /// Takes note that a drive's slots have changed.
    pub(super) fn rank(
        &self,
        ranking: &mut Ranking,
        want: &dyn Fn(&Self, usize) -> bool,
        drive: usize,
    ) {
        let node = self.domains.drives[drive].node;
        let need = |counts: [&[i64]; 3], index: usize, id: u64| {
            let [start, held, quota] = counts.map(|c| c[index]);
            key(start, held, quota, id)
        };
        let drives = [
            &self.start.drives[..],
            &self.held.drives,
            &self.quotas.drives,
        ];
        let nodes = [&self.start.nodes[..], &self.held.nodes, &self.quotas.nodes];
        let of_drive = need(drives, drive, self.domains.drives[drive].id.0);
        let of_node = need(nodes, node, self.domains.nodes[node].id.0);
        let of_drive = want(self, drive).then_some(of_drive);
        ranking.set(self.domains, drive, of_drive, of_node);
    }

    /// The drives of a row after the plan, the slots kept as they are where the drive stays; `None`
    /// where no drive was found.
    pub(super) fn outcome(&self, row: usize) -> Vec<Option<usize>> {
        let (before, after) = (self.origin(row), self.slots(row));
        let mut coming: Vec<usize> = after
            .iter()
            .copied()
            .filter(|d| *d != NONE && !before.contains(d))
            .collect();
        // Any order would do; a hash gives each drive its share of the data slots, read most.
        coming.sort_by_key(|d| {
            let id = self.domains.drives[*d].id;
            (mix(!(row as u64), id.0), id)
        });
        let mut coming = coming.into_iter();
        let place = |drive: &usize| {
            if *drive != NONE && after.contains(drive) {
                Some(*drive)
            } else {
                coming.next()
            }
        };
        before.iter().map(place).collect()
    }

    pub(super) fn drive_id(&self, drive: usize) -> DriveId {
        self.domains.drives[drive].id
    }
}

/// Orders by the part of what was needed that was given, as if each took its slots at even
/// intervals; who needs nothing comes after all others.
fn key(start: i64, held: i64, quota: i64, id: u64) -> Key {
    let base = start.min(held);
    let next = u128::from((held + 1 - base).unsigned_abs());
    let tie = mix(held.unsigned_abs(), id);
    let part = |of: i64| u64::try_from((next << 40) / u128::from(of.unsigned_abs().max(1)));
    if held < quota {
        (part(quota - base).unwrap_or(u64::MAX), tie)
    } else {
        let over = u128::from((held + 1 - quota).unsigned_abs()) << 20;
        let over = over / u128::from(quota.unsigned_abs().max(1));
        (1 << 62 | u64::try_from(over).unwrap_or(u64::MAX), tie)
    }
}

/// A hash of two numbers (the `SplitMix64` mixer), for ties only.
pub(super) fn mix(a: u64, b: u64) -> u64 {
    let mut x = a.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ b.wrapping_mul(0xd1b5_4a32_d192_ed03);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}
