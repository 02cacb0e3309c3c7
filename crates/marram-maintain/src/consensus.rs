//! The seam to consensus: what the controller needs of it, and nothing more.

use marram_meta::{
    ObjectAnswer, ObjectCommand, ObjectOutcome, ObjectQuery, RootCommand, RootOutcome,
};
use marram_types::{GroupId, ReplicaId};

/// The members of a Raft group.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Members {
    /// Who votes.
    pub voters: Vec<ReplicaId>,
    /// Who follows without a vote.
    pub learners: Vec<ReplicaId>,
    /// Whose log is known to agree with the leader's, the leader's own included. A replica that was
    /// only given an id, and perhaps never started, is not among them.
    pub following: Vec<ReplicaId>,
    /// No change is under way: one change at a time.
    pub settled: bool,
}

/// Why a step could not be carried out now. The controller tries again; nothing is half done.
#[derive(Debug, thiserror::Error)]
pub enum ConsensusError {
    /// The group has no leader or could not be reached in time.
    #[error("group {group} did not answer: {reason}")]
    Unavailable {
        /// Which group.
        group: GroupId,
        /// What happened.
        reason: String,
    },
    /// The group's answer could not be read.
    #[error("group {group} answered something that cannot be read: {source}")]
    Answer {
        /// Which group.
        group: GroupId,
        /// Why.
        source: marram_types::codec::DecodeError,
    },
}

/// Proposals and membership changes.
#[async_trait::async_trait]
pub trait Consensus: Send + Sync {
    /// The root group's members when this server leads it, else none.
    fn root_if_leading(&self) -> Option<Members>;

    /// Proposes to the root group.
    async fn propose_root(&self, command: RootCommand) -> Result<RootOutcome, ConsensusError>;

    /// Proposes to an object group, wherever its leader is.
    async fn propose_object(
        &self,
        group: GroupId,
        command: ObjectCommand,
    ) -> Result<ObjectOutcome, ConsensusError>;

    /// Asks an object group, linearizably.
    async fn ask_object(
        &self,
        group: GroupId,
        query: ObjectQuery,
    ) -> Result<ObjectAnswer, ConsensusError>;

    /// Lets a replica follow the root group.
    async fn add_root_learner(&self, replica: ReplicaId) -> Result<(), ConsensusError>;

    /// Makes these, and only these, the root group's voters.
    async fn set_root_voters(&self, voters: Vec<ReplicaId>) -> Result<(), ConsensusError>;

    /// The groups that this server leads.
    fn led_groups(&self) -> Vec<GroupId>;

    /// This server's replica.
    fn own_replica(&self) -> ReplicaId;

    /// Whether a replica's node answers, and is not held dead by several peers.
    fn is_up(&self, replica: ReplicaId) -> bool;

    /// Whether a replica's node may be given leaderships: it is up, well and not about to stop.
    fn may_lead(&self, replica: ReplicaId) -> bool {
        self.is_up(replica)
    }

    /// Whether several peers find a replica's node many times slower than the others.
    fn is_slow(&self, _replica: ReplicaId) -> bool {
        false
    }

    /// Hands a group's leadership to another voter.
    async fn hand_over(&self, group: GroupId, to: ReplicaId) -> Result<(), ConsensusError>;
}
