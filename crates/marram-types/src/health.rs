//! How the nodes of a cluster are, by the word of several peers: what the root group's leader makes of
//! it and tells everybody. Nothing of it is stored.

use std::collections::BTreeMap;

use crate::ids::NodeId;

/// How a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, PartialOrd, Ord)]
pub enum Health {
    /// Nobody said anything about it.
    #[default]
    Unknown,
    /// It answers.
    Up,
    /// It answers, many times slower than the others: reads hedge around it, writes prefer others.
    Slow,
    /// It comes and goes, or has not been silent for long: others are preferred, nothing is given up.
    Suspect,
    /// Several peers have not reached it for some time.
    Dead,
}

/// How a node is, and whose word that is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NodeHealth {
    /// How it is.
    pub health: Health,
    /// For how long a majority has seen it so, in milliseconds.
    pub for_ms: u64,
    /// Peers whose word counted.
    pub words: u32,
    /// Those of them that do not reach it.
    pub unreached: u32,
    /// How many times slower than the others it is, in thousandths; 0 where that is not known.
    pub slowness_permille: u32,
    /// How far its clock is ahead of the middle of all, negative when it is behind, in milliseconds; 0 where
    /// that is not known or not much.
    pub clock_ahead_ms: i64,
}

/// How far moves and repairs are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MaintainWork {
    /// Placement groups with a move under way.
    pub under_way: u64,
    /// Those of them that wait for a source or for room.
    pub waiting: u64,
    /// Placement groups to be moved beside those.
    pub to_go: u64,
    /// Slots that must leave their drive and have no other place.
    pub unplaced: u64,
    /// Repair tickets at the last look.
    pub tickets: u64,
    /// Bytes written since the leader began to lead.
    pub written_bytes: u64,
    /// For how long moves have been under way, in milliseconds; 0 where none are.
    pub for_ms: u64,
    /// The most placement groups that were to be moved since then.
    pub most: u64,
    /// Bytes written in a second, lately.
    pub written_per_s: u64,
    /// Extents whose shards were repaired since the leader began to lead.
    pub repaired: u64,
    /// For how long there have been tickets without a break, in milliseconds.
    pub tickets_for_ms: u64,
    /// The most tickets that there were since then.
    pub tickets_most: u64,
}

impl MaintainWork {
    /// Milliseconds until the moves under way and to go are done, when they go on as they did.
    /// None where nothing is to be done or nothing was done yet.
    #[must_use]
    pub fn left_ms(&self) -> Option<u64> {
        let left = self.under_way + self.to_go;
        let done = self.most.checked_sub(left).filter(|done| *done > 0)?;
        (left > 0).then(|| self.for_ms.saturating_mul(left) / done)
    }

    /// The same for tickets.
    #[must_use]
    pub fn tickets_left_ms(&self) -> Option<u64> {
        let done = self.tickets_most.checked_sub(self.tickets);
        let done = done.filter(|done| *done > 0 && self.tickets > 0)?;
        Some(self.tickets_for_ms.saturating_mul(self.tickets) / done)
    }
}

/// How the cluster is, as the leader of the root group tells it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClusterHealth {
    /// Its members; empty where nothing is known, as while the root group has no leader.
    pub nodes: BTreeMap<NodeId, NodeHealth>,
    /// What the leader does not do, and why; for people.
    pub notes: Vec<String>,
    /// Moves and repairs.
    pub work: MaintainWork,
    /// For how long a node may be away before what it had is rebuilt, in milliseconds; 0 where that is not
    /// known.
    pub grace_ms: u64,
    /// The same where nothing more may be lost.
    pub urgent_ms: u64,
}

impl ClusterHealth {
    /// How a node is.
    #[must_use]
    pub fn of(&self, node: NodeId) -> Health {
        self.nodes.get(&node).map_or(Health::Unknown, |h| h.health)
    }

    /// Whether several peers hold a node to be dead.
    #[must_use]
    pub fn is_dead(&self, node: NodeId) -> bool {
        self.of(node) == Health::Dead
    }

    /// Whether others should be asked before this node, where there are others.
    #[must_use]
    pub fn prefers_others(&self, node: NodeId) -> bool {
        matches!(self.of(node), Health::Slow | Health::Suspect | Health::Dead)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_left_follows_the_pace_so_far() {
        let work = |under_way, to_go, most| MaintainWork {
            under_way,
            to_go,
            most,
            for_ms: 1_000,
            ..MaintainWork::default()
        };
        assert_eq!(work(0, 0, 10).left_ms(), None, "nothing to do");
        assert_eq!(work(5, 5, 10).left_ms(), None, "nothing was done yet");
        assert_eq!(work(2, 3, 10).left_ms(), Some(1_000));
        assert_eq!(work(0, 1, 11).left_ms(), Some(100));
        let tickets = |tickets, tickets_most| MaintainWork {
            tickets,
            tickets_most,
            tickets_for_ms: 600,
            ..MaintainWork::default()
        };
        assert_eq!(tickets(0, 9).tickets_left_ms(), None, "nothing to do");
        assert_eq!(tickets(9, 9).tickets_left_ms(), None, "nothing was done");
        assert_eq!(tickets(3, 9).tickets_left_ms(), Some(300));
    }

    #[test]
    fn who_is_not_known_is_treated_as_well() {
        let mut health = ClusterHealth::default();
        let node = NodeId(3);
        assert!(!health.prefers_others(node) && !health.is_dead(node));
        health.nodes.entry(node).or_default().health = Health::Dead;
        assert!(health.prefers_others(node) && health.is_dead(node));
    }
}
