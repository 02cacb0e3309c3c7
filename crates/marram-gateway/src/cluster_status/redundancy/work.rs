//! What lacks until every object has all of its shards where they belong, and what is being done.

use std::collections::BTreeMap;

use marram_meta::{DriveDuty, NodeDuty, NodeRecord, NodeState, Pausable};
use marram_placement::{Apart, PgRow, PoolTable};
use marram_types::NodeId;

use super::Facts;
use super::sentences::plural;
use crate::layout::Standing;

impl Facts<'_> {
    /// Why not every object has all of its shards on drives that answer, one sentence each. Empty:
    /// the cluster is fully redundant (rules.md 19). What is only narrower than asked for survives
    /// as many losses and does not count.
    pub(super) fn lacks(&self) -> Vec<String> {
        let slots = Standing::slots(self.view);
        let of_layout = |node: &&NodeRecord| {
            slots.contains_key(&node.node) || (node.state == NodeState::Active && !node.is_gone())
        };
        let mut all = Vec::new();
        for node in self.view.nodes.values().filter(of_layout) {
            let name = &node.name;
            if node.duty == NodeDuty::Fenced {
                all.push(format!(
                    "{name} is fenced; what it had is rebuilt elsewhere."
                ));
            } else if node.is_gone() {
                all.push(format!(
                    "{name} was given up until it returns; what it had is rebuilt elsewhere."
                ));
            } else if self.away.contains(&node.node) {
                all.push(format!("{name} does not answer; its shards are missing."));
            }
        }
        if self.work.moving > 0 {
            let what = plural(self.work.moving, "placement group", "placement groups");
            all.push(format!("Data of {what} is being moved."));
        }
        match self.work.tickets {
            Some(0) => {}
            Some(tickets) => {
                let what = plural(tickets, "extent waits", "extents wait");
                all.push(format!("{what} for repair or for their place."));
            }
            None => all.push("Not every metadata group says what waits for repair.".to_owned()),
        }
        let sharing = self.sharing_a_node();
        if sharing > 0 {
            let what = plural(sharing, "placement group has", "placement groups have");
            all.push(format!(
                "{what} several shards on one node, because nodes are gone: they survive fewer losses until \
                 those return or others come."
            ));
        }
        if self.usage.is_some_and(|usage| usage.under_protected > 0) {
            all.push("Some versions survive fewer losses than asked for.".to_owned());
        }
        let missed = self
            .retired
            .iter()
            .filter(|drive| self.slots_on(**drive) > 0);
        let missed = missed.count() as u64;
        if missed > 0 {
            let what = plural(missed, "drive has", "drives have");
            all.push(format!(
                "{what} failed or went away, with shards that are missing."
            ));
        }
        all
    }

    /// Placement groups with more shards on a node than belong there: more than one where the pool is kept apart
    /// by nodes, and else more than the members would have to take if all of them did (rules.md 19). Smaller
    /// clusters have it so by their size.
    fn sharing_a_node(&self) -> u64 {
        let members = self.view.nodes.values();
        let members = members.filter(|node| node.state == NodeState::Active);
        let members = members.count().max(1);
        let seats = self.view.seats();
        let in_table = |table: &PoolTable| {
            let most = match self.view.apart_in(table, &seats) {
                Apart::Nodes => 1,
                Apart::Drives => usize::from(table.width).div_ceil(members),
            };
            let shares = |row: &&PgRow| self.most_on_a_node(row) > most;
            table.rows.iter().filter(shares).count() as u64
        };
        self.view.pools.values().map(in_table).sum()
    }

    /// The most shards of a placement group that are on one node.
    pub(super) fn most_on_a_node(&self, row: &PgRow) -> usize {
        let mut held: BTreeMap<NodeId, usize> = BTreeMap::new();
        let homes = row.drives.iter().filter_map(|drive| self.nodes.get(drive));
        homes.for_each(|node| *held.entry(*node).or_default() += 1);
        held.into_values().max().unwrap_or(0)
    }

    /// What lacks, and what is being done beside it.
    pub(super) fn under_way(&self) -> Vec<String> {
        let mut all = self.lacks();
        let paused = [
            (
                Pausable::Repair,
                "Repairs are paused: `marram admin repair resume`.",
            ),
            (
                Pausable::Moves,
                "Moves are paused: `marram admin rebalance resume`.",
            ),
        ];
        let paused = paused
            .iter()
            .filter(|(work, _)| self.view.upkeep.paused(*work).is_some());
        all.extend(paused.map(|(_, sentence)| (*sentence).to_owned()));
        let waiting = self.work.to_move.saturating_sub(self.work.moving);
        if waiting > 0 {
            let what = plural(waiting, "placement group has", "placement groups have");
            all.push(format!("{what} data that is yet to be moved."));
        }
        if let Some(waiting) = self.work.reencodings.filter(|waiting| *waiting > 0) {
            let what = plural(waiting, "extent is", "extents are");
            all.push(format!(
                "{what} to be encoded anew, to follow the profile of the bucket."
            ));
        }
        let vacant = self.view.pools.values().flat_map(|table| &table.rows);
        let vacant = vacant.flat_map(|row| &row.drives);
        let vacant = vacant.filter(|drive| drive.is_vacant()).count() as u64;
        if vacant > 0 {
            let what = plural(vacant, "slot has", "slots have");
            all.push(format!(
                "{what} no node: stripes are narrower until there are nodes enough."
            ));
        }
        let slots = Standing::slots(self.view);
        for node in self.view.nodes.values() {
            if node.state != NodeState::Active {
                continue;
            }
            let (name, slots) = (&node.name, slots.get(&node.node).copied().unwrap_or(0));
            if node.is_gone() && node.duty != NodeDuty::Fenced && slots == 0 {
                all.push(format!(
                    "{name} was given up until it returns; all that it had is elsewhere."
                ));
            }
            for held in node.present_drives() {
                if held.duty == DriveDuty::Draining {
                    let (drive, left) = (held.drive, self.slots_on(held.drive) as u64);
                    let left = plural(left, "slot", "slots");
                    all.push(format!(
                        "Drive {drive} of {name} is being drained: {left} to go."
                    ));
                }
            }
            match (node.duty, slots) {
                (NodeDuty::Draining, 0) => {
                    all.push(format!("{name} is drained of all placement groups."));
                }
                (NodeDuty::Draining, _) => {
                    let left = plural(slots, "slot", "slots");
                    all.push(format!("{name} is being drained: {left} to go."));
                }
                (NodeDuty::Cordoned, _) => {
                    all.push(format!("{name} is cordoned: it takes no new data."));
                }
                (NodeDuty::Serving | NodeDuty::Fenced, _) => {}
            }
        }
        all
    }
}
