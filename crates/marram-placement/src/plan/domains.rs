//! The failure domains of a topology by index, and how far a row can spread over them.

use std::collections::{BTreeMap, BTreeSet};

use marram_types::{DriveId, NodeId};

use super::PlanError;
use crate::topology::{DriveInfo, Topology};

/// A drive that can hold data.
pub(super) struct Drive {
    pub(super) id: DriveId,
    pub(super) node: usize,
    pub(super) weight: u64,
}

/// A node with at least one such drive.
pub(super) struct Node {
    pub(super) id: NodeId,
    pub(super) zone: usize,
    pub(super) drives: Vec<usize>,
}

/// The drives of positive weight with their nodes and zones. Each list is in the order of ids or
/// names, so that indices do not depend on the order of the topology's listing.
pub(super) struct Domains {
    pub(super) drives: Vec<Drive>,
    pub(super) nodes: Vec<Node>,
    /// The nodes of each zone.
    pub(super) zones: Vec<Vec<usize>>,
}

/// Pairs of shards that share a node, then pairs that share a zone: less is better, and the sum of
/// pairs is least when the shards are spread evenly.
pub(super) type Cost = (u32, u32);

/// How many shards of one row a domain holds at least and at most when the row is spread as well
/// as the domains allow. The two differ by one at most.
#[derive(Clone, Copy)]
pub(super) struct Bounds {
    pub(super) low: u32,
    pub(super) high: u32,
}

/// What the best spread of a row looks like.
pub(super) struct BestSpread {
    pub(super) nodes: Vec<Bounds>,
    pub(super) zones: Vec<Bounds>,
    pub(super) cost: Cost,
}

impl Domains {
    /// A node whose drives name several zones counts for the zone of the drive with the least id.
    pub(super) fn new(topology: &Topology) -> Result<Self, PlanError> {
        let mut listed: Vec<&DriveInfo> = topology.drives.iter().collect();
        listed.sort_unstable_by_key(|d| d.drive);
        if let Some(twice) = listed.windows(2).find(|w| w[0].drive == w[1].drive) {
            return Err(PlanError::DuplicateDrive {
                drive: twice[0].drive,
            });
        }
        listed.retain(|d| d.weight > 0);
        let mut zone_of: BTreeMap<NodeId, &str> = BTreeMap::new();
        for drive in &listed {
            zone_of.entry(drive.node).or_insert(&drive.zone);
        }
        let names: BTreeSet<&str> = zone_of.values().copied().collect();
        let zone_index: BTreeMap<&str, usize> = names.into_iter().zip(0..).collect();
        let mut zones = vec![Vec::new(); zone_index.len()];
        let mut nodes = Vec::with_capacity(zone_of.len());
        let mut node_index = BTreeMap::new();
        for (id, name) in zone_of {
            let zone = zone_index[name];
            zones[zone].push(nodes.len());
            node_index.insert(id, nodes.len());
            nodes.push(Node {
                id,
                zone,
                drives: Vec::new(),
            });
        }
        let mut drives = Vec::with_capacity(listed.len());
        for info in listed {
            let node = node_index[&info.node];
            nodes[node].drives.push(drives.len());
            drives.push(Drive {
                id: info.drive,
                node,
                weight: info.weight,
            });
        }
        Ok(Self {
            drives,
            nodes,
            zones,
        })
    }

    pub(super) fn zone_of(&self, drive: usize) -> usize {
        self.nodes[self.drives[drive].node].zone
    }

    /// The index of a drive; `None` when it must not hold data.
    pub(super) fn find(&self, drive: DriveId) -> Option<usize> {
        self.drives.binary_search_by_key(&drive, |d| d.id).ok()
    }

    /// The best spread of `shards`, of which there are no more than drives. Nodes come first: they
    /// are filled like vessels, each up to its drives, to the same level. The nodes that reach the
    /// last level are a choice, and it is made so that zones are filled to the same level.
    pub(super) fn best_spread(&self, shards: usize) -> BestSpread {
        let shards = as_u32(shards);
        let sizes: Vec<u32> = self.nodes.iter().map(|n| as_u32(n.drives.len())).collect();
        let filled = |level: u32| sizes.iter().map(|s| (*s).min(level)).sum::<u32>();
        let level = (0..=shards).find(|l| filled(*l) >= shards).unwrap_or(0);
        let below = level.saturating_sub(1);
        let rest = shards - filled(below);
        let base: Vec<u32> = self
            .zones
            .iter()
            .map(|nodes| nodes.iter().map(|n| sizes[*n].min(below)).sum())
            .collect();
        let room: Vec<u32> = self
            .zones
            .iter()
            .map(|nodes| as_u32(nodes.iter().filter(|n| sizes[**n] > below).count()))
            .collect();
        let taken = |zone: usize, height: u32| height.saturating_sub(base[zone]).min(room[zone]);
        let all_taken =
            |height: u32| -> u32 { (0..base.len()).map(|zone| taken(zone, height)).sum() };
        let height = (0..=shards).find(|h| all_taken(*h) >= rest).unwrap_or(0);
        let lower = height.saturating_sub(1);
        let rest_of_zones = rest - all_taken(lower);
        // Where the rest fills the last height of every zone, there is no choice.
        let zones_full = rest == all_taken(height);
        let zones: Vec<Bounds> = (0..base.len())
            .map(|zone| Bounds {
                low: base[zone] + taken(zone, if zones_full { height } else { lower }),
                high: base[zone] + taken(zone, height),
            })
            .collect();
        let all_full = rest == room.iter().sum::<u32>();
        let nodes: Vec<Bounds> = sizes
            .iter()
            .map(|size| Bounds {
                low: (*size).min(if all_full { level } else { below }),
                high: (*size).min(level),
            })
            .collect();
        let node_pairs = sizes.iter().map(|s| pairs((*s).min(below))).sum::<u32>() + rest * below;
        let zone_pairs = (0..base.len())
            .map(|zone| pairs(base[zone] + taken(zone, lower)))
            .sum::<u32>()
            + rest_of_zones * lower;
        BestSpread {
            nodes,
            zones,
            cost: (node_pairs, zone_pairs),
        }
    }
}

/// Pairs among `count` shards.
pub(super) fn pairs(count: u32) -> u32 {
    count * count.saturating_sub(1) / 2
}

fn as_u32(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn domains(nodes: &[(u8, usize)]) -> Domains {
        let mut drives = Vec::new();
        for (node, (zone, count)) in (1..).zip(nodes) {
            for _ in 0..*count {
                drives.push(DriveInfo {
                    drive: DriveId(drives.len() as u64),
                    node: NodeId(node),
                    zone: format!("z{zone}"),
                    weight: 1,
                });
            }
        }
        Domains::new(&Topology { drives }).expect("no drive twice")
    }

    fn counts(domains: &Domains, chosen: usize) -> (Vec<u32>, Vec<u32>) {
        let mut nodes = vec![0; domains.nodes.len()];
        let mut zones = vec![0; domains.zones.len()];
        for drive in (0..domains.drives.len()).filter(|d| chosen & (1 << d) != 0) {
            nodes[domains.drives[drive].node] += 1;
            zones[domains.zone_of(drive)] += 1;
        }
        (nodes, zones)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]

        /// Of all choices of drives, the cheapest cost what is said, and fill the bounds.
        #[test]
        fn the_best_spread_is_the_best_of_all(
            nodes in prop::collection::vec((0_u8..3, 1_usize..4), 1..6),
            shards in 1_usize..9,
        ) {
            let domains = domains(&nodes);
            prop_assume!(shards <= domains.drives.len() && domains.drives.len() <= 12);
            let best = domains.best_spread(shards);
            let choices = (0..1_usize << domains.drives.len())
                .filter(|c| c.count_ones() as usize == shards)
                .map(|c| counts(&domains, c));
            let sum = |counts: &[u32]| counts.iter().map(|c| pairs(*c)).sum::<u32>();
            let costs = choices.clone().map(|(nodes, zones)| (sum(&nodes), sum(&zones)));
            prop_assert_eq!(costs.min(), Some(best.cost));
            let cheapest: Vec<_> = choices
                .filter(|(nodes, zones)| (sum(nodes), sum(zones)) == best.cost)
                .collect();
            for (node, bounds) in best.nodes.iter().enumerate() {
                let mut held = cheapest.iter().map(|(nodes, _)| nodes[node]);
                prop_assert!(held.all(|h| (bounds.low..=bounds.high).contains(&h)));
            }
            for (zone, bounds) in best.zones.iter().enumerate() {
                let held = cheapest.iter().map(|(_, zones)| zones[zone]);
                prop_assert_eq!(held.clone().min(), Some(bounds.low));
                prop_assert_eq!(held.max(), Some(bounds.high));
            }
        }
    }
}
