//! What the router needs of other nodes, and what can go wrong.

use std::time::Duration;

use bytes::Bytes;
use marram_types::{GroupId, ReplicaId};

#[cfg(doc)]
use crate::RaftHost;
use crate::host::{ProposeError, QueryError, ReadError};

/// Why a replica gave no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The replica does not lead the group. Nothing was done.
    #[error("the replica does not lead the group")]
    NotLeader {
        /// Who leads it, when that is known.
        leader: Option<ReplicaId>,
    },
    /// The replica cannot be reached or cannot serve now. Nothing was done.
    #[error("the replica cannot serve now: {0}")]
    Unavailable(String),
    /// Whether a command was or will be carried out is not known.
    #[error("the outcome is not known")]
    Unknown,
    /// Too much waits there. Nothing was done.
    #[error("too much waits for the group")]
    Overloaded,
    /// The leader's metadata drive has no room for more. Nothing was done.
    #[error("the leader's metadata drive has no room for more")]
    NoRoom,
    /// The request is wrong: no replica will take it.
    #[error("the request was refused: {0}")]
    Refused(String),
}

/// Calls to replicas on other nodes: given by the server, which knows where they live. Their
/// methods are Propose and Query; the other side gives them to its [`RaftHost`] and returns its
/// errors through [`CallError::from`].
#[async_trait::async_trait]
pub trait RemoteCall: Send + Sync + 'static {
    /// Proposes on another node.
    ///
    /// # Errors
    /// See [`CallError`]; a call whose answer is lost is `Unknown`.
    async fn propose(
        &self,
        target: ReplicaId,
        group: GroupId,
        command: Bytes,
        timeout: Duration,
    ) -> Result<Bytes, CallError>;

    /// Asks on another node, whose replica answers when it has applied `at_least`, or when `wait` is
    /// over.
    ///
    /// # Errors
    /// See [`CallError`].
    async fn query_at(
        &self,
        target: ReplicaId,
        group: GroupId,
        query: Bytes,
        at_least: u64,
        wait: Duration,
    ) -> Result<(Bytes, u64), CallError>;

    /// Asks on another node; the answer and the index of its view.
    ///
    /// # Errors
    /// See [`CallError`].
    async fn query(
        &self,
        target: ReplicaId,
        group: GroupId,
        query: Bytes,
        linearizable: bool,
        timeout: Duration,
    ) -> Result<(Bytes, u64), CallError>;
}

/// Why a request was given up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    /// A command's outcome is not known: an attempt was sent and nobody could say what came of it.
    #[error("the outcome of the command is not known")]
    OutcomeUnknown,
    /// No replica of the group could serve in time; nothing was done.
    #[error("group {group} cannot serve: {last}")]
    Unavailable {
        /// The group.
        group: GroupId,
        /// What the last replica said.
        last: String,
    },
    /// Too much waits for the group; nothing was done.
    #[error("too much waits for group {0}")]
    Overloaded(GroupId),
    /// The metadata drive of the group's leader has no room for more; nothing was done.
    #[error("the metadata drive of the leader of group {0} has no room for more")]
    NoRoom(GroupId),
    /// No replicas of the group are known here; nothing was done.
    #[error("the replicas of group {0} are not known here")]
    NoRoute(GroupId),
    /// The request is wrong; nothing was done.
    #[error("the request was refused: {0}")]
    Refused(String),
}

impl From<ProposeError> for CallError {
    fn from(error: ProposeError) -> Self {
        match error {
            ProposeError::NotLeader { leader } => Self::NotLeader { leader },
            ProposeError::Unknown => Self::Unknown,
            ProposeError::Overloaded => Self::Overloaded,
            ProposeError::NoRoom { .. } => Self::NoRoom,
            ProposeError::Stopped | ProposeError::NoReplica { .. } => {
                Self::Unavailable(error.to_string())
            }
            ProposeError::NotACommand | ProposeError::TooLarge { .. } => {
                Self::Refused(error.to_string())
            }
        }
    }
}

impl From<ReadError> for CallError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::NotLeader { leader } => Self::NotLeader { leader },
            ReadError::Overloaded => Self::Overloaded,
            ReadError::Unconfirmed | ReadError::Stopped(_) | ReadError::NoReplica { .. } => {
                Self::Unavailable(error.to_string())
            }
        }
    }
}

impl From<QueryError> for CallError {
    fn from(error: QueryError) -> Self {
        match error {
            QueryError::Read(error) => error.into(),
            QueryError::Logic(error) => Self::Refused(error.to_string()),
        }
    }
}
