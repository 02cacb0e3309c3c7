//! Who belongs to a group.

use std::collections::{BTreeMap, BTreeSet};

use marram_types::{GroupId, ReplicaId};
use openraft::EmptyNode;
use openraft::errors::{ClientWriteError, RaftError};

use super::RaftHost;
use super::group::Group;
use crate::types::TypeConfig;

/// Why a group was not initialized.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InitializeError {
    /// This node has no replica of the group.
    #[error("this node has no replica of group {group}")]
    NoReplica {
        /// The group.
        group: GroupId,
    },
    /// This node's replica is not among the voters.
    #[error("this node's replica is not among the voters")]
    NotAVoter,
    /// The replica has stopped.
    #[error("the replica has stopped: {0}")]
    Stopped(String),
}

/// Why members were not changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// This replica does not lead the group.
    #[error("this replica does not lead the group")]
    NotLeader {
        /// Who leads it, when that is known.
        leader: Option<ReplicaId>,
    },
    /// This node has no replica of the group.
    #[error("this node has no replica of group {group}")]
    NoReplica {
        /// The group.
        group: GroupId,
    },
    /// Another change is under way, or the leader has not yet committed in its term: try later.
    #[error("the group cannot be changed now: {0}")]
    Busy(String),
    /// A change that cannot be: no voters, or one that is not a learner.
    #[error("the change is not possible: {0}")]
    Refused(String),
    /// Whether the change was made is not known; asking for it again is safe.
    #[error("the outcome of the change is not known")]
    Unknown,
    /// The replica has stopped.
    #[error("the replica has stopped: {0}")]
    Stopped(String),
}

impl RaftHost {
    /// Starts a group with these voters. Every voter may call it with the same set; nothing
    /// happens when the group has been started.
    ///
    /// # Errors
    /// See [`InitializeError`].
    pub async fn initialize(
        &self,
        group: GroupId,
        voters: &[ReplicaId],
    ) -> Result<(), InitializeError> {
        let replica = self
            .group(group)
            .ok_or(InitializeError::NoReplica { group })?;
        let voters: BTreeMap<u64, EmptyNode> =
            voters.iter().map(|voter| (voter.0, EmptyNode {})).collect();
        match replica.raft.initialize(voters).await {
            Ok(()) => Ok(()),
            Err(RaftError::APIError(openraft::errors::InitializeError::NotAllowed(_))) => Ok(()),
            Err(RaftError::APIError(openraft::errors::InitializeError::NotInMembers(_))) => {
                Err(InitializeError::NotAVoter)
            }
            Err(RaftError::Fatal(fatal)) => Err(InitializeError::Stopped(fatal.to_string())),
        }
    }

    /// Whether the group was ever started, as far as this replica knows.
    ///
    /// # Errors
    /// `NoReplica` or `Stopped`.
    pub async fn is_initialized(&self, group: GroupId) -> Result<bool, InitializeError> {
        let replica = self
            .group(group)
            .ok_or(InitializeError::NoReplica { group })?;
        let known = replica.raft.is_initialized().await;
        known.map_err(|fatal| InitializeError::Stopped(fatal.to_string()))
    }

    /// Lets a replica follow the group without a vote and, with `caught_up`, waits until it has
    /// (nearly) all of the log. Asking again does no harm.
    ///
    /// # Errors
    /// See [`ChangeError`].
    pub async fn add_learner(
        &self,
        group: GroupId,
        learner: ReplicaId,
        caught_up: bool,
    ) -> Result<(), ChangeError> {
        let replica = self.group(group).ok_or(ChangeError::NoReplica { group })?;
        let _one_at_a_time = replica.changes.lock().await;
        let added = replica
            .raft
            .add_learner(learner.0, EmptyNode {}, caught_up)
            .await;
        added
            .map(drop)
            .map_err(|error| change_error(&replica, error))
    }

    /// Makes these the voters, each of which must be a learner or a voter. Voters that are left
    /// out leave the group. Returns when the new voters alone decide: an unfinished joint change
    /// is finished first.
    ///
    /// # Errors
    /// See [`ChangeError`].
    pub async fn change_voters(
        &self,
        group: GroupId,
        voters: &[ReplicaId],
    ) -> Result<(), ChangeError> {
        let replica = self.group(group).ok_or(ChangeError::NoReplica { group })?;
        let _one_at_a_time = replica.changes.lock().await;
        let voters: BTreeSet<u64> = voters.iter().map(|voter| voter.0).collect();
        let status = replica.status();
        let present: BTreeSet<u64> = status.voters.iter().map(|voter| voter.0).collect();
        if present == voters && !status.changing {
            return Ok(());
        }
        let changed = replica.raft.change_membership(voters, false).await;
        changed
            .map(drop)
            .map_err(|error| change_error(&replica, error))
    }

    /// Takes a learner out of the group.
    ///
    /// # Errors
    /// See [`ChangeError`].
    pub async fn remove_learner(
        &self,
        group: GroupId,
        learner: ReplicaId,
    ) -> Result<(), ChangeError> {
        let replica = self.group(group).ok_or(ChangeError::NoReplica { group })?;
        let _one_at_a_time = replica.changes.lock().await;
        if !replica.status().learners.contains(&learner) {
            return Ok(());
        }
        let gone = openraft::ChangeMembers::RemoveNodes(BTreeSet::from([learner.0]));
        let changed = replica.raft.change_membership(gone, false).await;
        changed
            .map(drop)
            .map_err(|error| change_error(&replica, error))
    }

    /// Hands leadership to a voter, if this replica leads. The answer says only that it was asked
    /// to: [`Self::leader`] shows what came of it.
    ///
    /// # Errors
    /// `NoReplica`, `NotLeader` or `Stopped`.
    pub async fn transfer_leader(&self, group: GroupId, to: ReplicaId) -> Result<(), ChangeError> {
        let replica = self.group(group).ok_or(ChangeError::NoReplica { group })?;
        if !replica.raft.is_leader() {
            let leader = replica.leader();
            return Err(ChangeError::NotLeader { leader });
        }
        let asked = replica.raft.trigger().transfer_leader(to.0).await;
        asked.map_err(|fatal| ChangeError::Stopped(fatal.to_string()))
    }
}

fn change_error(
    group: &Group,
    error: RaftError<TypeConfig, ClientWriteError<TypeConfig>>,
) -> ChangeError {
    use openraft::errors::ChangeMembershipError as Kind;
    match error {
        RaftError::Fatal(fatal) => ChangeError::Stopped(fatal.to_string()),
        RaftError::APIError(ClientWriteError::ForwardToLeader(forward)) => ChangeError::NotLeader {
            leader: group.leader_of(&forward),
        },
        RaftError::APIError(ClientWriteError::LogEntryDiscarded(_)) => ChangeError::Unknown,
        RaftError::APIError(ClientWriteError::PreconditionFailed(failed)) => {
            ChangeError::Refused(failed.to_string())
        }
        RaftError::APIError(ClientWriteError::ChangeMembershipError(error)) => match error {
            Kind::InProgress(_) | Kind::UncommittedLeaderLog(_) => {
                ChangeError::Busy(error.to_string())
            }
            Kind::EmptyMembership(_)
            | Kind::LearnerNotFound(_)
            | Kind::UnsupportedMembershipTransition(_)
            | Kind::NodeMetadataChanged(_) => ChangeError::Refused(error.to_string()),
        },
    }
}
