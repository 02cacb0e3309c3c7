//! The way from one replica to another: given by the server, which knows where replicas live.

use std::time::Duration;

use bytes::Bytes;
use marram_types::ReplicaId;

/// Raft's requests between replicas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RaftMethod {
    /// Entries, or a heartbeat: `RaftAppendRequest`.
    Append,
    /// A candidate asks for a vote: `RaftVoteRequest`.
    Vote,
    /// A replica asks whether it would get votes: `RaftVoteRequest`.
    PreVote,
    /// A piece of a snapshot: `RaftSnapshotRequest`, the bytes are the payload.
    Snapshot,
    /// A leader hands leadership over: `RaftTransferRequest`.
    Transfer,
}

/// Why a request got no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TransportError {
    /// The replica cannot be reached now.
    #[error("the replica cannot be reached: {0}")]
    Unreachable(String),
    /// No answer came in time.
    #[error("no answer in time")]
    Timeout,
    /// The other side refused the request: it does not run this replica or this group.
    #[error("the replica refused: {0}")]
    Refused(String),
}

/// Sends Raft's requests.
#[async_trait::async_trait]
pub trait Transport: Send + Sync + 'static {
    /// Sends one request and waits for the answer's header and payload, at most `timeout`. The
    /// other side gives both to its [`crate::RaftHost::handle`].
    ///
    /// # Errors
    /// When there is no answer; whether the request was carried out is then unknown.
    async fn send(
        &self,
        target: ReplicaId,
        method: RaftMethod,
        header: Bytes,
        payload: Bytes,
        timeout: Duration,
    ) -> Result<(Bytes, Bytes), TransportError>;
}
