//! Which drive is the best for a slot of a row, without looking at all of them.
//!
//! Drives are kept in order of need inside their node, nodes inside their zone, and zones. A row has
//! at most 40 shards, so the best drive is found by skipping at most 40 entries of each order.

use std::collections::BTreeSet;

use super::domains::{Cost, Domains};

/// Need, the least first, and a hash for ties.
pub(super) type Key = (u64, u64);

/// The domains that a row's shards are in, perhaps without one of them.
#[derive(Default)]
pub(super) struct RowView {
    pub(super) drives: Vec<usize>,
    nodes: Vec<(usize, u32)>,
    zones: Vec<(usize, u32)>,
}

impl RowView {
    pub(super) fn fill(&mut self, domains: &Domains, drives: impl Iterator<Item = usize>) {
        self.drives.clear();
        self.nodes.clear();
        self.zones.clear();
        for drive in drives {
            self.drives.push(drive);
            count(&mut self.nodes, domains.drives[drive].node);
            count(&mut self.zones, domains.zone_of(drive));
        }
    }

    fn in_node(&self, node: usize) -> u32 {
        find(&self.nodes, node)
    }

    fn in_zone(&self, zone: usize) -> u32 {
        find(&self.zones, zone)
    }

    /// Pairs that a further shard on the drive adds.
    pub(super) fn added(&self, domains: &Domains, drive: usize) -> Cost {
        let node = domains.drives[drive].node;
        (self.in_node(node), self.in_zone(domains.nodes[node].zone))
    }

    /// Pairs in the row.
    pub(super) fn cost(&self) -> Cost {
        let sum = |counts: &[(usize, u32)]| {
            let pairs = counts.iter().map(|(_, c)| super::domains::pairs(*c));
            pairs.sum::<u32>()
        };
        (sum(&self.nodes), sum(&self.zones))
    }
}

type Offer = (Cost, Key, usize);

fn offer(best: &mut Option<Offer>, offered: Offer) {
    if best.is_none_or(|held| offered < held) {
        *best = Some(offered);
    }
}

fn count(counts: &mut Vec<(usize, u32)>, domain: usize) {
    match counts.iter_mut().find(|(d, _)| *d == domain) {
        Some((_, count)) => *count += 1,
        None => counts.push((domain, 1)),
    }
}

fn find(counts: &[(usize, u32)], domain: usize) -> u32 {
    let found = counts.iter().find(|(d, _)| *d == domain);
    found.map_or(0, |(_, count)| *count)
}

/// An order of members whose keys change.
#[derive(Default)]
struct Order(BTreeSet<(Key, usize)>);

impl Order {
    fn change(&mut self, member: usize, old: Option<Key>, new: Option<Key>) {
        if let Some(key) = old {
            self.0.remove(&(key, member));
        }
        if let Some(key) = new {
            self.0.insert((key, member));
        }
    }

    fn first(&self) -> Option<Key> {
        self.0.first().map(|(key, _)| *key)
    }
}

/// The orders of drives, nodes and zones. A node is in its zone's order when one of its drives is in
/// the node's, and a zone in the order of zones, by its first node, when one of its nodes is in it.
pub(super) struct Ranking {
    drive_keys: Vec<Option<Key>>,
    node_keys: Vec<Option<Key>>,
    drives: Vec<Order>,
    nodes: Vec<Order>,
    zones: Order,
}

impl Ranking {
    pub(super) fn new(domains: &Domains) -> Self {
        let orders = |count: usize| (0..count).map(|_| Order::default()).collect();
        Self {
            drive_keys: vec![None; domains.drives.len()],
            node_keys: vec![None; domains.nodes.len()],
            drives: orders(domains.nodes.len()),
            nodes: orders(domains.zones.len()),
            zones: Order::default(),
        }
    }

    /// Ranks a drive, or takes it out, and its node with it.
    pub(super) fn set(&mut self, domains: &Domains, drive: usize, key: Option<Key>, of_node: Key) {
        let node = domains.drives[drive].node;
        self.drives[node].change(drive, self.drive_keys[drive], key);
        self.drive_keys[drive] = key;
        let node_key = self.drives[node].first().map(|_| of_node);
        let zone = domains.nodes[node].zone;
        let before = self.nodes[zone].first();
        self.nodes[zone].change(node, self.node_keys[node], node_key);
        self.node_keys[node] = node_key;
        let after = self.nodes[zone].first();
        if before != after {
            self.zones.change(zone, before, after);
        }
    }

    /// The drive that adds the fewest pairs to the row, of these in the node of the greatest need,
    /// of these the drive of the greatest need; with the pairs that it adds.
    pub(super) fn best(&self, domains: &Domains, row: &RowView) -> Option<(Cost, usize)> {
        let mut best: Option<Offer> = None;
        let new_zone = self.zones.0.iter().find(|(_, z)| row.in_zone(*z) == 0);
        if let Some((key, node)) = new_zone.and_then(|(_, z)| self.nodes[*z].0.first()) {
            best = Some(((0, 0), *key, *node));
        } else {
            for (zone, count) in &row.zones {
                let new_node = |(_, n): &&(Key, usize)| row.in_node(*n) == 0;
                if let Some((key, node)) = self.nodes[*zone].0.iter().find(new_node) {
                    offer(&mut best, ((0, *count), *key, *node));
                }
            }
        }
        if best.is_none() {
            for (node, count) in &row.nodes {
                let Some(key) = self.node_keys[*node] else {
                    continue;
                };
                if self.free_drive(*node, row).is_some() {
                    let cost = (*count, row.in_zone(domains.nodes[*node].zone));
                    offer(&mut best, (cost, key, *node));
                }
            }
        }
        let (cost, _, node) = best?;
        self.free_drive(node, row).map(|drive| (cost, drive))
    }

    fn free_drive(&self, node: usize, row: &RowView) -> Option<usize> {
        let mut drives = self.drives[node].0.iter().map(|(_, drive)| *drive);
        drives.find(|d| !row.drives.contains(d))
    }
}
