//! The planner: a topology and a width give a pool's table.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use marram_types::DriveId;
use marram_types::caps::{POOL_PGS, PROFILE_K_MAX, PROFILE_M_MAX};

use crate::pool::{PoolTable, Spread};
use crate::topology::{DriveInfo, Topology};

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
}

/// A drive with what the planner has given it so far.
struct Candidate<'a> {
    info: &'a DriveInfo,
    /// Index into [`Planner::nodes`].
    node: usize,
    /// Index of the zone.
    zone: usize,
    /// Slots given.
    slots: u64,
    /// Sum over its slots of how early they are; early slots are the data shards, read most.
    earliness: u64,
}

/// A node's share: nodes are balanced first, then the drives inside each.
#[derive(Default)]
struct Share {
    weight: u128,
    slots: u64,
}

struct Planner<'a> {
    width: usize,
    drives: Vec<Candidate<'a>>,
    nodes: Vec<Share>,
    zones: usize,
}

/// Plans the first table (epoch 1) of the pool of `width`.
///
/// Spread comes first: shards of a row are on distinct nodes as far as there are nodes, then in as
/// many zones as possible, and always on distinct drives. Among equal choices the node, then the
/// drive, with the smallest share of its weight is taken, ties by a hash of row and drive, so that
/// rows mix all nodes and a repair reads from many. The same topology gives the same table, in
/// whatever order its drives are listed.
///
/// # Errors
/// When the width is not of a profile, there are fewer drives than it, or a drive is listed twice.
pub fn plan_pool(topology: &Topology, width: usize) -> Result<PoolTable, PlanError> {
    let width_byte = u8::try_from(width)
        .ok()
        .filter(|w| (1..=PROFILE_K_MAX + PROFILE_M_MAX).contains(w))
        .ok_or(PlanError::BadWidth { width })?;
    let mut planner = Planner::new(topology, width)?;
    let mut domains = Spread {
        zones: u8::MAX,
        nodes: u8::MAX,
        most_in_zone: 0,
        most_in_node: 0,
    };
    let rows = (0..POOL_PGS)
        .map(|row| planner.row(u64::from(row), &mut domains))
        .collect();
    Ok(PoolTable {
        width: width_byte,
        epoch: 1,
        rows,
        domains,
    })
}

impl<'a> Planner<'a> {
    fn new(topology: &'a Topology, width: usize) -> Result<Self, PlanError> {
        let mut drives: Vec<&DriveInfo> = topology.usable().collect();
        drives.sort_unstable_by_key(|d| d.drive);
        if let Some(twice) = drives.windows(2).find(|w| w[0].drive == w[1].drive) {
            return Err(PlanError::DuplicateDrive {
                drive: twice[0].drive,
            });
        }
        if drives.len() < width {
            return Err(PlanError::TooFewDrives {
                width,
                drives: drives.len(),
            });
        }
        let index_of = |set: BTreeSet<_>| set.into_iter().zip(0..).collect::<BTreeMap<_, usize>>();
        let nodes = index_of(drives.iter().map(|d| d.node).collect());
        let zones: BTreeSet<&str> = drives.iter().map(|d| d.zone.as_str()).collect();
        let zones: BTreeMap<&str, usize> = zones.into_iter().zip(0..).collect();
        let mut shares: Vec<Share> = nodes.iter().map(|_| Share::default()).collect();
        for drive in &drives {
            shares[nodes[&drive.node]].weight += u128::from(drive.weight);
        }
        let drives = drives
            .into_iter()
            .map(|info| Candidate {
                info,
                node: nodes[&info.node],
                zone: zones[info.zone.as_str()],
                slots: 0,
                earliness: 0,
            })
            .collect();
        Ok(Self {
            width,
            drives,
            nodes: shares,
            zones: zones.len(),
        })
    }

    /// Chooses the drives of one row and takes note of them.
    fn row(&mut self, row: u64, domains: &mut Spread) -> Vec<DriveId> {
        let mut in_node = vec![0_u8; self.nodes.len()];
        let mut in_zone = vec![0_u8; self.zones];
        let mut chosen: Vec<usize> = Vec::with_capacity(self.width);
        for _ in 0..self.width {
            let best = (0..self.drives.len())
                .filter(|i| !chosen.contains(i))
                .min_by(|a, b| self.compare(*a, *b, row, &in_node, &in_zone))
                .expect("there are at least as many drives as the width");
            let drive = &mut self.drives[best];
            drive.slots += 1;
            in_node[drive.node] += 1;
            in_zone[drive.zone] += 1;
            self.nodes[drive.node].slots += 1;
            chosen.push(best);
        }
        note_spread(domains, &in_node, &in_zone);
        self.order(&mut chosen, row);
        chosen.iter().map(|i| self.drives[*i].info.drive).collect()
    }

    /// Which drive is the better next choice for a row.
    fn compare(&self, a: usize, b: usize, row: u64, in_node: &[u8], in_zone: &[u8]) -> Ordering {
        let (x, y) = (&self.drives[a], &self.drives[b]);
        let (nx, ny) = (&self.nodes[x.node], &self.nodes[y.node]);
        in_node[x.node]
            .cmp(&in_node[y.node])
            .then_with(|| in_zone[x.zone].cmp(&in_zone[y.zone]))
            .then_with(|| fuller(nx.slots, nx.weight, ny.slots, ny.weight))
            .then_with(|| {
                let (wx, wy) = (u128::from(x.info.weight), u128::from(y.info.weight));
                fuller(x.slots, wx, y.slots, wy)
            })
            .then_with(|| mix(row, x.info.drive).cmp(&mix(row, y.info.drive)))
            .then_with(|| a.cmp(&b))
    }

    /// Orders a row so that every drive gets its share of the early slots.
    fn order(&mut self, chosen: &mut [usize], row: u64) {
        chosen.sort_by(|a, b| {
            let (x, y) = (&self.drives[*a], &self.drives[*b]);
            (x.earliness * y.slots)
                .cmp(&(y.earliness * x.slots))
                .then_with(|| mix(!row, x.info.drive).cmp(&mix(!row, y.info.drive)))
                .then_with(|| a.cmp(b))
        });
        for (place, drive) in chosen.iter().enumerate() {
            self.drives[*drive].earliness += (self.width - place) as u64;
        }
    }
}

/// Compares `(a + 1) / weight_a` with `(b + 1) / weight_b` without rounding.
fn fuller(a: u64, weight_a: u128, b: u64, weight_b: u128) -> Ordering {
    (u128::from(a + 1) * weight_b).cmp(&(u128::from(b + 1) * weight_a))
}

/// Keeps the worst row's spread.
fn note_spread(domains: &mut Spread, in_node: &[u8], in_zone: &[u8]) {
    let reached = |counts: &[u8]| {
        let count = counts.iter().filter(|c| **c > 0).count();
        u8::try_from(count).expect("a row has at most 40 drives")
    };
    let most = |counts: &[u8]| counts.iter().copied().max().unwrap_or(0);
    domains.nodes = domains.nodes.min(reached(in_node));
    domains.zones = domains.zones.min(reached(in_zone));
    domains.most_in_node = domains.most_in_node.max(most(in_node));
    domains.most_in_zone = domains.most_in_zone.max(most(in_zone));
}

/// A hash of row and drive (the `SplitMix64` mixer), for ties only.
fn mix(row: u64, drive: DriveId) -> u64 {
    let mut x =
        row.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ drive.0.wrapping_mul(0xd1b5_4a32_d192_ed03);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests;
