//! Which role may call which method. A method without a row does not compile.

use marram_proto::mesh::v1::Method;

/// What a peer is, as far as permissions go.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum PeerRole {
    /// A node whose key is in the table.
    Node,
    /// A gateway without drives, whose key is in the table.
    Gateway,
    /// A certificate of this cluster whose key is not in the table, as far as this node knows.
    Unknown,
    /// A connection without a certificate: it may ask to join.
    Stranger,
}

/// Whether `role` may call `method`.
#[must_use]
pub fn allowed(role: PeerRole, method: Method) -> bool {
    match method {
        Method::Unspecified => false,
        Method::Ping => role != PeerRole::Stranger,
        Method::Join => role == PeerRole::Stranger,
        Method::RootView
        | Method::Propose
        | Method::Query
        | Method::Renew
        | Method::WriteRun
        | Method::ReadShard
        | Method::DropShards
        | Method::DriveStats
        | Method::DumpGroup
        | Method::Upkeep
        | Method::ClusterHealth
        | Method::HandOver
        | Method::ListShards
        | Method::Inspect
        | Method::LogLevel
        | Method::Profile => matches!(role, PeerRole::Node | PeerRole::Gateway),
        Method::RaftAppend
        | Method::RaftVote
        | Method::RaftPreVote
        | Method::RaftSnapshot
        | Method::RaftTransfer
        | Method::RestoreShards
        | Method::LookShards
        | Method::CleanShards
        | Method::RenewReplica
        | Method::StateHash
        | Method::Reencode
        | Method::Witness => role == PeerRole::Node,
    }
}

/// Whether a peer whose certificate has expired may call `method`, or be asked for it: a cluster that
/// was off for longer than a lifetime must come up and renew itself, so Raft and renewals go on
/// (rules.md 5).
pub(crate) fn allowed_expired(role: PeerRole, method: Method) -> bool {
    match method {
        Method::RaftAppend
        | Method::RaftVote
        | Method::RaftPreVote
        | Method::RaftSnapshot
        | Method::RaftTransfer
        // Without a replica a node has no Raft to go on with.
        | Method::RenewReplica => role == PeerRole::Node,
        Method::Renew => matches!(role, PeerRole::Node | PeerRole::Gateway),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The whole table, written out a second time: (method, node, gateway, unknown, stranger).
    const CELLS: [(Method, bool, bool, bool, bool); 31] = [
        (Method::Unspecified, false, false, false, false),
        (Method::Ping, true, true, true, false),
        (Method::Join, false, false, false, true),
        (Method::RootView, true, true, false, false),
        (Method::Propose, true, true, false, false),
        (Method::Query, true, true, false, false),
        (Method::Renew, true, true, false, false),
        (Method::RaftAppend, true, false, false, false),
        (Method::RaftVote, true, false, false, false),
        (Method::RaftPreVote, true, false, false, false),
        (Method::RaftSnapshot, true, false, false, false),
        (Method::RaftTransfer, true, false, false, false),
        (Method::WriteRun, true, true, false, false),
        (Method::ReadShard, true, true, false, false),
        (Method::DropShards, true, true, false, false),
        (Method::DriveStats, true, true, false, false),
        (Method::RestoreShards, true, false, false, false),
        (Method::LookShards, true, false, false, false),
        (Method::CleanShards, true, false, false, false),
        (Method::RenewReplica, true, false, false, false),
        (Method::DumpGroup, true, true, false, false),
        (Method::Upkeep, true, true, false, false),
        (Method::StateHash, true, false, false, false),
        (Method::ListShards, true, true, false, false),
        (Method::Reencode, true, false, false, false),
        (Method::Witness, true, false, false, false),
        (Method::ClusterHealth, true, true, false, false),
        (Method::HandOver, true, true, false, false),
        (Method::Inspect, true, true, false, false),
        (Method::LogLevel, true, true, false, false),
        (Method::Profile, true, true, false, false),
    ];

    #[test]
    fn every_cell_of_the_table() {
        let known = (0..=u16::MAX)
            .filter(|n| Method::try_from(i32::from(*n)).is_ok())
            .count();
        assert_eq!(known, CELLS.len(), "a method has no row in this test");
        for (method, node, gateway, unknown, stranger) in CELLS {
            for (role, may) in [
                (PeerRole::Node, node),
                (PeerRole::Gateway, gateway),
                (PeerRole::Unknown, unknown),
                (PeerRole::Stranger, stranger),
            ] {
                assert_eq!(allowed(role, method), may, "{method:?} {role:?}");
            }
        }
    }

    #[test]
    fn an_expired_certificate_is_good_for_raft_and_renewal_only() {
        for (method, ..) in CELLS {
            let raft =
                method.as_str_name().starts_with("METHOD_RAFT_") || method == Method::RenewReplica;
            let renew = method == Method::Renew;
            assert_eq!(allowed_expired(PeerRole::Node, method), raft || renew);
            assert_eq!(allowed_expired(PeerRole::Gateway, method), renew);
            assert!(!allowed_expired(PeerRole::Unknown, method));
            assert!(!allowed_expired(PeerRole::Stranger, method));
        }
    }
}
