//! Which role may call which method. A method without a row does not compile.

use marram_proto::mesh::v1::Method;

/// What a peer is, as far as permissions go.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum PeerRole {
    /// A node whose key is in the table.
    Node,
    /// A certificate of a node whose key is not in the table: it may join.
    Joiner,
    /// A gateway without drives.
    Gateway,
}

/// Whether `role` may call `method`.
#[must_use]
pub fn allowed(role: PeerRole, method: Method) -> bool {
    match method {
        Method::Unspecified => false,
        Method::Ping => true,
        Method::Join => matches!(role, PeerRole::Node | PeerRole::Joiner),
        Method::RootView
        | Method::Propose
        | Method::Query
        | Method::WriteRun
        | Method::ReadShard
        | Method::DropShards
        | Method::DriveStats
        | Method::DumpGroup
        | Method::ListShards => matches!(role, PeerRole::Node | PeerRole::Gateway),
        Method::RaftAppend
        | Method::RaftVote
        | Method::RaftPreVote
        | Method::RaftSnapshot
        | Method::RaftTransfer
        | Method::RestoreShards
        | Method::LookShards
        | Method::CleanShards
        | Method::RenewReplica => role == PeerRole::Node,
    }
}

/// Whether a peer whose certificate has expired may call `method`: a cluster that was off for
/// longer than a lifetime must come up, so Raft goes on (rules.md 5).
pub(crate) fn allowed_expired(role: PeerRole, method: Method) -> bool {
    role == PeerRole::Node
        && matches!(
            method,
            Method::RaftAppend
                | Method::RaftVote
                | Method::RaftPreVote
                | Method::RaftSnapshot
                | Method::RaftTransfer
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The whole table, written out a second time: (method, node, joiner, gateway).
    const CELLS: [(Method, bool, bool, bool); 21] = [
        (Method::Unspecified, false, false, false),
        (Method::Ping, true, true, true),
        (Method::Join, true, true, false),
        (Method::RootView, true, false, true),
        (Method::Propose, true, false, true),
        (Method::Query, true, false, true),
        (Method::RaftAppend, true, false, false),
        (Method::RaftVote, true, false, false),
        (Method::RaftPreVote, true, false, false),
        (Method::RaftSnapshot, true, false, false),
        (Method::RaftTransfer, true, false, false),
        (Method::WriteRun, true, false, true),
        (Method::ReadShard, true, false, true),
        (Method::DropShards, true, false, true),
        (Method::DriveStats, true, false, true),
        (Method::RestoreShards, true, false, false),
        (Method::LookShards, true, false, false),
        (Method::CleanShards, true, false, false),
        (Method::RenewReplica, true, false, false),
        (Method::DumpGroup, true, false, true),
        (Method::ListShards, true, false, true),
    ];

    #[test]
    fn every_cell_of_the_table() {
        let known = (0..=u16::MAX)
            .filter(|n| Method::try_from(i32::from(*n)).is_ok())
            .count();
        assert_eq!(known, CELLS.len(), "a method has no row in this test");
        for (method, node, joiner, gateway) in CELLS {
            assert_eq!(allowed(PeerRole::Node, method), node, "{method:?} node");
            assert_eq!(
                allowed(PeerRole::Joiner, method),
                joiner,
                "{method:?} joiner"
            );
            assert_eq!(
                allowed(PeerRole::Gateway, method),
                gateway,
                "{method:?} gateway"
            );
        }
    }

    #[test]
    fn an_expired_certificate_is_good_for_raft_only() {
        for (method, ..) in CELLS {
            let raft = method.as_str_name().starts_with("METHOD_RAFT_");
            assert_eq!(allowed_expired(PeerRole::Node, method), raft);
            assert!(!allowed_expired(PeerRole::Joiner, method));
            assert!(!allowed_expired(PeerRole::Gateway, method));
        }
    }
}
