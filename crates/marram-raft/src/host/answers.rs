//! What a host says of its groups, and why it does not.

use marram_types::{GroupId, ReplicaId};

use crate::logic::LogicError;
use crate::machine::MachineError;

/// Why a proposal has no outcome.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// This replica does not lead the group. The command was not appended.
    #[error("this replica does not lead the group")]
    NotLeader {
        /// Who leads it, when that is known.
        leader: Option<ReplicaId>,
    },
    /// The command was appended and its fate is not known: it may be carried out later. Only a
    /// retry with the same request id is safe.
    #[error("the outcome of the command is not known")]
    Unknown,
    /// Too many proposals wait; this one was not appended.
    #[error("too many proposals wait for the group")]
    Overloaded,
    /// The replica has stopped; the command was not appended.
    #[error("the replica has stopped")]
    Stopped,
    /// This node has no replica of the group.
    #[error("this node has no replica of group {group}")]
    NoReplica {
        /// The group.
        group: GroupId,
    },
    /// The bytes are not a command.
    #[error("the bytes are not a command")]
    NotACommand,
    /// The metadata drive of this leader has no room for more; the command was not appended.
    #[error("the metadata drive of the leader of group {group} has no room for more")]
    NoRoom {
        /// The group.
        group: GroupId,
    },
    /// The command is larger than an entry may be.
    #[error("a command of {bytes} bytes is too large for an entry")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
}

/// Why there is no view.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// This replica does not lead the group.
    #[error("this replica does not lead the group")]
    NotLeader {
        /// Who leads it, when that is known.
        leader: Option<ReplicaId>,
    },
    /// The leadership could not be confirmed, or the state did not come up to it, in time.
    #[error("no quorum confirmed the leadership in time")]
    Unconfirmed,
    /// Too many reads wait.
    #[error("too many reads wait for the group")]
    Overloaded,
    /// The replica has stopped.
    #[error("the replica has stopped: {0}")]
    Stopped(String),
    /// This node has no replica of the group.
    #[error("this node has no replica of group {group}")]
    NoReplica {
        /// The group.
        group: GroupId,
    },
}

/// Why a query has no answer.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// There is no view.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The view could not be read, or the query is not one.
    #[error("the query failed: {0}")]
    Logic(#[from] LogicError),
}

/// What a replica is in its group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It replicates and does not vote.
    Learner,
    /// It follows a leader.
    Follower,
    /// It asks for votes.
    Candidate,
    /// It leads.
    Leader,
    /// It has stopped.
    Stopped,
}

/// A group as one replica sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupStatus {
    /// What this replica is.
    pub role: Role,
    /// The newest term it knows.
    pub term: u64,
    /// The leader it knows.
    pub leader: Option<ReplicaId>,
    /// Its last log index.
    pub last: u64,
    /// Its last committed index.
    pub committed: u64,
    /// Its last applied index.
    pub applied: u64,
    /// The last index that a restart does not apply again.
    pub checkpoint: u64,
    /// Who votes, in order.
    pub voters: Vec<ReplicaId>,
    /// Who replicates without a vote, in order.
    pub learners: Vec<ReplicaId>,
    /// A membership change is under way.
    pub changing: bool,
    /// Who votes once the change under way has ended; the voters when none is.
    pub target: Vec<ReplicaId>,
    /// Index of the entry that made these the members, and whether it is known to be committed.
    pub members_at: (u64, bool),
    /// On the leader: how far the other replicas' logs are known to agree, in order of their ids.
    pub matched: Vec<(ReplicaId, u64)>,
    /// On the leader: how long ago the last message was sent that a majority has answered, in
    /// milliseconds; none before the first, and none where it is the only voter.
    pub quorum_ms: Option<u64>,
    /// Why the replica has stopped.
    pub failed: Option<String>,
}

impl From<MachineError> for ReadError {
    fn from(error: MachineError) -> Self {
        Self::Stopped(error.to_string())
    }
}
