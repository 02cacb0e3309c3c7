//! The replicas of a server.

use super::labels::{GROUP, PROPOSAL_RESULT, ROLE, SNAPSHOT_EVENT, SNAPSHOT_WAY};
use super::{Family, From, Kind, Unit};

const fn gauge(name: &'static str, help: &'static str) -> Family {
    Family {
        name,
        kind: Kind::Gauge,
        unit: Unit::None,
        labels: &[GROUP],
        from: From::Servers,
        help,
    }
}

/// Its role.
pub const RAFT_ROLE: Family = Family {
    name: "marram_raft_role",
    kind: Kind::Gauge,
    unit: Unit::None,
    labels: &[GROUP, ROLE],
    from: From::Servers,
    help: "1 for the role of this server's replica in the group, else 0; a stopped one has failed",
};
/// Whether a leader is known.
pub const RAFT_HAS_LEADER: Family = gauge(
    "marram_raft_has_leader",
    "1 while this server's replica has a leader: one that answers this server or, where it leads itself, \
     while a majority has answered it within three seconds; else 0",
);
/// The term.
pub const RAFT_TERM: Family = gauge(
    "marram_raft_term",
    "Term of the group: it grows with every election",
);
/// The end of the log.
pub const RAFT_LAST: Family = gauge(
    "marram_raft_last_index",
    "Index of the last entry in this server's log of the group",
);
/// What is committed.
pub const RAFT_COMMITTED: Family = gauge(
    "marram_raft_committed_index",
    "Index of the last entry that this server knows to be committed",
);
/// What is applied.
pub const RAFT_APPLIED: Family = gauge(
    "marram_raft_applied_index",
    "Index of the last entry that this server has applied",
);
/// What is kept.
pub const RAFT_CHECKPOINT: Family = gauge(
    "marram_raft_checkpoint_index",
    "Index of the last entry that a restart of this server need not apply again",
);
/// Voters.
pub const RAFT_VOTERS: Family = gauge("marram_raft_voters", "Replicas of the group that vote");
/// How far the others are.
pub const RAFT_LAG: Family = Family {
    name: "marram_raft_slowest_voter_entries",
    kind: Kind::Gauge,
    unit: Unit::None,
    labels: &[GROUP],
    from: From::Leaders,
    help: "Entries that the slowest voter of the group is behind its leader",
};

/// From an entry on three quick drives to what a proposal waits at most.
pub(crate) const PROPOSAL_SECONDS: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 3.0, 10.0,
];
/// Other leaders.
pub const RAFT_LEADER_CHANGES: Family = Family {
    name: "marram_raft_leader_changes_total",
    kind: Kind::Counter,
    unit: Unit::None,
    labels: &[GROUP],
    from: From::Servers,
    help: "How often this server heard of another leader of the group than before",
};
/// Proposals.
pub const RAFT_PROPOSALS: Family = Family {
    name: "marram_raft_proposals_total",
    kind: Kind::Counter,
    unit: Unit::None,
    labels: &[GROUP, PROPOSAL_RESULT],
    from: From::Servers,
    help: "Commands that were proposed to this server's replica of the group, by what became of them",
};
/// How long they take.
pub const RAFT_PROPOSAL_DURATION: Family = Family {
    name: "marram_raft_proposal_seconds",
    kind: Kind::Histogram(PROPOSAL_SECONDS),
    unit: Unit::Seconds,
    labels: &[GROUP],
    from: From::Servers,
    help: "Time until a proposed command is durable on a majority and applied, or fails",
};
/// Snapshots.
pub const RAFT_SNAPSHOTS: Family = Family {
    name: "marram_raft_snapshots_total",
    kind: Kind::Counter,
    unit: Unit::None,
    labels: &[GROUP, SNAPSHOT_EVENT],
    from: From::Servers,
    help: "States of the group that replicas which are far behind are given as a whole",
};
/// Their bytes.
pub const RAFT_SNAPSHOT_SIZE: Family = Family {
    name: "marram_raft_snapshot_bytes_total",
    kind: Kind::Counter,
    unit: Unit::Bytes,
    labels: &[GROUP, SNAPSHOT_WAY],
    from: From::Servers,
    help: "Bytes of their pieces that arrived",
};

pub(super) const RAFT: &[&Family] = &[
    &RAFT_HAS_LEADER,
    &RAFT_ROLE,
    &RAFT_TERM,
    &RAFT_LAST,
    &RAFT_COMMITTED,
    &RAFT_APPLIED,
    &RAFT_CHECKPOINT,
    &RAFT_VOTERS,
    &RAFT_LAG,
    &RAFT_LEADER_CHANGES,
    &RAFT_PROPOSALS,
    &RAFT_PROPOSAL_DURATION,
    &RAFT_SNAPSHOTS,
    &RAFT_SNAPSHOT_SIZE,
];
