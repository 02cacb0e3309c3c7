//! Connection classes: heartbeats must not wait behind bulk bytes.

use marram_proto::mesh::v1::Method;
use marram_types::caps::{KIB, MESH_IN_FLIGHT_MAX, MIB};

/// What kind of traffic a connection carries. Each class has its own TCP connections to a peer.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Class {
    /// Raft's messages, on Raft's threads.
    Raft,
    /// Everything else that is small: proposals, queries, views, pings.
    Control,
    /// Shards.
    Bulk,
}

impl Class {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Raft, Self::Control, Self::Bulk];

    /// The connection class of a method; `None` for one that is none.
    #[must_use]
    pub fn of(method: Method) -> Option<Self> {
        match method {
            Method::Unspecified => None,
            Method::RaftAppend
            | Method::RaftVote
            | Method::RaftPreVote
            | Method::RaftSnapshot
            | Method::RaftTransfer => Some(Self::Raft),
            Method::Ping
            | Method::Join
            | Method::Renew
            | Method::RootView
            | Method::Propose
            | Method::Query
            | Method::DropShards
            | Method::DriveStats
            | Method::RestoreShards
            | Method::LookShards
            | Method::CleanShards
            | Method::RenewReplica
            | Method::Witness
            | Method::ClusterHealth
            | Method::HandOver
            | Method::Upkeep
            | Method::StateHash
            | Method::ListShards
            | Method::Inspect
            | Method::LogLevel
            | Method::Profile
            | Method::Reencode => Some(Self::Control),
            Method::WriteRun | Method::ReadShard | Method::DumpGroup => Some(Self::Bulk),
        }
    }

    /// The protocol name that the TLS handshake agrees on.
    pub(crate) fn alpn(self) -> &'static [u8] {
        match self {
            Self::Raft => b"marram-raft/1",
            Self::Control => b"marram-control/1",
            Self::Bulk => b"marram-bulk/1",
        }
    }

    /// The class that a handshake agreed on.
    pub(crate) fn from_alpn(protocol: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|c| c.alpn() == protocol)
    }

    /// Connections to one peer.
    pub(crate) fn lanes(self) -> usize {
        match self {
            Self::Raft | Self::Control => 1,
            Self::Bulk => 2,
        }
    }

    /// Requests in flight on one connection. Each bulk request may hold a shard run in memory.
    pub(crate) fn in_flight_max(self) -> usize {
        match self {
            Self::Raft | Self::Control => MESH_IN_FLIGHT_MAX,
            Self::Bulk => 64,
        }
    }

    /// Bytes taken from the socket by one read.
    pub(crate) fn read_ahead(self) -> usize {
        match self {
            Self::Raft | Self::Control => 16 * KIB,
            Self::Bulk => 256 * KIB,
        }
    }

    /// Bytes encrypted before they are handed to the socket.
    pub(crate) fn write_ahead(self) -> usize {
        match self {
            Self::Raft | Self::Control => 64 * KIB,
            Self::Bulk => 256 * KIB,
        }
    }
}

/// Bytes of answers that wait on one connection before it reads no further requests.
pub(crate) const QUEUED_BYTES_MAX: usize = 32 * MIB;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protocol_names_tell_the_classes_apart() {
        for class in Class::ALL {
            assert_eq!(Class::from_alpn(class.alpn()), Some(class));
        }
        assert_eq!(Class::from_alpn(b"h2"), None);
    }
}
