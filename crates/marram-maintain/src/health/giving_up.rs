//! Who is given up, who is taken back, and whose excuse has run out: pure, so that every situation is a
//! test.
//!
//! A node is given up when several peers have held it dead for the grace. Its votes go to others then, and
//! what it had is rebuilt elsewhere if the others can hold it. Nothing of it is for good: it is taken back
//! when it returns. Nothing happens while too many are away at once, because then the likeliest is that the
//! network or the leader itself is the trouble, and moving data would not help.

use std::collections::{BTreeMap, BTreeSet};

use marram_meta::{ClusterView, Lost, NodeDuty, NodeRecord, NodeState, Pause, RootCommand};
use marram_types::{DriveId, Health, NodeHealth, NodeId};

use super::verdict::DEAD_AFTER_MS;

/// How long a node may be away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// Before it is given up, in milliseconds.
    pub grace_ms: u64,
    /// Before its votes go to others where some placement group has lost as many shards as its profile can lose,
    /// and the others cannot hold what it had.
    pub urgent_ms: u64,
}

impl Patience {
    /// The longest time for which votes are left on a node when no other may be lost.
    const URGENT_MS_MAX: u64 = 30_000;

    /// With this grace, in milliseconds.
    #[must_use]
    pub fn new(grace_ms: u64) -> Self {
        Self {
            grace_ms,
            urgent_ms: grace_ms.min(Self::URGENT_MS_MAX),
        }
    }

    /// For how long a node must be away, in milliseconds, before what it had is rebuilt on the others where the
    /// survivors of some placement group are k: no longer than it takes to be sure (decisions/0062).
    #[must_use]
    pub fn at_the_limit_ms(self) -> u64 {
        self.grace_ms.min(DEAD_AFTER_MS)
    }
}

/// How the nodes that are left can hold what others had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holds {
    /// Every slot finds a place.
    Places,
    /// With fewer data shards, and all parity (rules.md 19).
    Narrower,
    /// Not at all.
    Nothing,
}

/// What is to be decided, and what is not and why.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Decisions {
    /// For the root group.
    pub commands: Vec<RootCommand>,
    /// For people: what would have to be done and is not.
    pub notes: Vec<String>,
}

/// Decides. `observers` are those whose word counts, this server included; `now_ms` is the leader's wall
/// clock; `holds` says how the others hold it when these nodes, beside those that are gone already, are rebuilt
/// elsewhere.
pub fn decide(
    view: &ClusterView,
    health: &BTreeMap<NodeId, NodeHealth>,
    observers: usize,
    now_ms: u64,
    patience: Patience,
    holds: &mut dyn FnMut(&BTreeSet<NodeId>) -> Holds,
) -> Decisions {
    let mut decisions = Decisions::default();
    for node in members(view) {
        decisions.commands.extend(ended_pauses(node, now_ms));
        let is_back = matches!(of(health, node), Health::Up | Health::Slow);
        if node.absence.lost.is_some() && is_back {
            let node = node.node;
            decisions.commands.push(RootCommand::TakeBack { node });
        }
    }
    let due = due(view, health, patience);
    if due.is_empty() {
        return decisions;
    }
    if let Some(note) = too_many(view, health, observers) {
        decisions.notes.push(note);
        return decisions;
    }
    let mut gone = BTreeSet::new();
    for node in due {
        if let Some(until_ms) = node.absence.maintenance_until_ms {
            let left = until_ms.saturating_sub(now_ms) / 1000;
            decisions.notes.push(format!(
                "{} does not answer; it is in maintenance for {left} s more, and nothing is rebuilt.",
                node.name
            ));
            continue;
        }
        gone.insert(node.node);
        let away_ms = health.get(&node.node).map_or(0, |seen| seen.for_ms);
        let is_over = away_ms >= patience.grace_ms;
        let found = holds(&gone);
        let rebuild = found == Holds::Places || (found == Holds::Narrower && is_over);
        if !rebuild {
            gone.remove(&node.node);
            decisions.notes.push(match found {
                Holds::Nothing => cannot_hold(view, node, &gone),
                _ => waited_for(node, patience.grace_ms.saturating_sub(away_ms)),
            });
        }
        let held = node.absence.lost;
        let votes = rebuild || away_ms >= patience.urgent_ms;
        if votes && held.is_none_or(|held| rebuild && !held.rebuild) {
            let node = node.node;
            decisions
                .commands
                .push(RootCommand::GiveUp { node, rebuild });
        }
    }
    decisions
}

fn of(health: &BTreeMap<NodeId, NodeHealth>, node: &NodeRecord) -> Health {
    health.get(&node.node).map_or(Health::Unknown, |h| h.health)
}

/// Members that may return.
fn members(view: &ClusterView) -> impl Iterator<Item = &NodeRecord> {
    let nodes = view.nodes.values();
    nodes.filter(|n| n.state == NodeState::Active && n.duty != NodeDuty::Fenced)
}

fn ended_pauses(node: &NodeRecord, now_ms: u64) -> impl Iterator<Item = RootCommand> {
    let ended = move |pause| {
        let until_ms = node
            .absence
            .until_ms(pause)
            .filter(|until| *until <= now_ms);
        until_ms.map(|until_ms| RootCommand::EndPause {
            node: node.node,
            pause,
            only: Some(until_ms),
        })
    };
    [Pause::Maintenance, Pause::Leading]
        .into_iter()
        .filter_map(ended)
}

/// Those that have been away for too long and whose data is not yet rebuilt, the longest away first.
/// One that comes and goes for as long is no better than one that is gone.
fn due<'v>(
    view: &'v ClusterView,
    health: &BTreeMap<NodeId, NodeHealth>,
    patience: Patience,
) -> Vec<&'v NodeRecord> {
    let away = |node: &NodeRecord, for_ms: u64| {
        health.get(&node.node).is_some_and(|seen| {
            matches!(seen.health, Health::Dead | Health::Suspect)
                && seen.words > 1
                && seen.for_ms >= for_ms
        })
    };
    let dead = |node: &NodeRecord| of(health, node) == Health::Dead;
    let urgent = at_the_limit(view, &|node| {
        view.nodes.get(&node).is_none_or(|n| n.is_gone() || dead(n))
    });
    let is_due = |node: &&NodeRecord| {
        let urgent = urgent.contains(&node.node) && dead(node) && away(node, 0);
        let rebuilt = node.absence.lost.is_some_and(|lost: Lost| lost.rebuild);
        !rebuilt && (urgent || away(node, patience.grace_ms))
    };
    let mut due: Vec<_> = members(view).filter(is_due).collect();
    due.sort_by_key(|n| std::cmp::Reverse(health.get(&n.node).map_or(0, |seen| seen.for_ms)));
    due
}

/// Nodes with a shard in a placement group that has lost all that it can lose, single drives counted: the
/// survivors are k.
fn at_the_limit(view: &ClusterView, is_lost: &dyn Fn(NodeId) -> bool) -> BTreeSet<NodeId> {
    let nodes = view.nodes.values();
    let homes: BTreeMap<DriveId, (NodeId, bool)> = nodes
        .flat_map(|node| {
            let lost = is_lost(node.node);
            let drives = node.drives.iter();
            drives.map(move |held| (held.drive, (node.node, lost || held.duty.is_gone())))
        })
        .collect();
    let mut found = BTreeSet::new();
    for (pool, table) in &view.pools {
        let Some(spare) = view.pool_parity(*pool) else {
            continue;
        };
        for row in &table.rows {
            let lost = row.drives.iter().filter_map(|drive| homes.get(drive));
            let lost = lost.filter(|(_, is_lost)| *is_lost);
            let lost: Vec<NodeId> = lost.map(|(node, _)| *node).collect();
            if lost.len() >= spare {
                found.extend(lost);
            }
        }
    }
    found
}

/// Why nothing is given up at all, when too few say anything or too many are away at once. Those that
/// were given up before do not count: they are dealt with.
fn too_many(
    view: &ClusterView,
    health: &BTreeMap<NodeId, NodeHealth>,
    observers: usize,
) -> Option<String> {
    let present: Vec<_> = members(view).filter(|n| n.absence.lost.is_none()).collect();
    let all = present.len();
    let away = |n: &&&NodeRecord| matches!(of(health, n), Health::Dead | Health::Suspect);
    let away = present.iter().filter(away).count();
    if observers * 2 <= all {
        return Some(format!(
            "Only {observers} of {all} nodes say whom they reach: nothing is given up, because more than \
             half would have to."
        ));
    }
    (away * 2 >= all).then(|| {
        format!(
            "{away} of {all} nodes are away at once: nothing is given up, because that looks like the \
             network and not like the nodes. Fence nodes that will not come back."
        )
    })
}

fn waited_for(node: &NodeRecord, left_ms: u64) -> String {
    format!(
        "{} does not answer, and no further node may be lost; the others have no place for what it had, which \
         gets narrower in {} s. Add a node.",
        node.name,
        left_ms.div_ceil(1000)
    )
}

fn cannot_hold(view: &ClusterView, node: &NodeRecord, gone: &BTreeSet<NodeId>) -> String {
    let left = members(view)
        .filter(|n| n.node != node.node && n.keeps_slots() && !gone.contains(&n.node))
        .count();
    let losses = view.pools.keys().map(|pool| view.pool_losses(*pool)).max();
    format!(
        "{} does not come back, and what it had cannot be rebuilt: {left} nodes are left, and the narrowest \
         stripes need {}. Add a node.",
        node.name,
        losses.unwrap_or(1) + 1
    )
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
