//! Where the crates meet: Raft's transport over the mesh, calls to other nodes' replicas, and what
//! the controller needs of consensus.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use marram_maintain::{Consensus, ConsensusError, Members, Membership, Standing};
use marram_mesh::{CallError, Mesh, Method, RpcCode, RpcFailure};
use marram_meta::{
    ClusterView, Envelope, ObjectAnswer, ObjectCommand, ObjectOutcome, ObjectQuery, RootCommand,
    RootOutcome,
};
use marram_raft::{
    HandleError, ProposeError, QueryError, RaftHost, RaftMethod, ReadError, Role, RouteError,
    Router, Transport, TransportError,
};
use marram_types::{ClusterHealth, GroupId, Health, ReplicaId};
use tokio::sync::watch;

use super::view::node_of;

/// Raft's way to other replicas: the mesh's connections of the Raft class.
pub(super) struct MeshTransport {
    pub mesh: Mesh,
    pub view: watch::Receiver<Arc<ClusterView>>,
}

#[async_trait]
impl Transport for MeshTransport {
    async fn send(
        &self,
        target: ReplicaId,
        method: RaftMethod,
        header: Bytes,
        payload: Bytes,
        timeout: Duration,
    ) -> Result<(Bytes, Bytes), TransportError> {
        let node = node_of(&self.view.borrow(), target).ok_or_else(|| {
            TransportError::Unreachable(format!("no node runs replica {target} any more"))
        })?;
        let method = match method {
            RaftMethod::Append => Method::RaftAppend,
            RaftMethod::Vote => Method::RaftVote,
            RaftMethod::PreVote => Method::RaftPreVote,
            RaftMethod::Snapshot => Method::RaftSnapshot,
            RaftMethod::Transfer => Method::RaftTransfer,
        };
        let answer = self
            .mesh
            .call_raw(node, method, header, payload, timeout)
            .await;
        answer.map_err(|error| match error {
            CallError::Deadline { .. } => TransportError::Timeout,
            CallError::Failed(failure) => TransportError::Refused(failure.to_string()),
            other => TransportError::Unreachable(other.to_string()),
        })
    }
}

/// This server's replicas and the way to all others.
pub(super) struct Local {
    pub host: Arc<RaftHost>,
    pub router: Arc<Router>,
    pub mesh: Mesh,
    pub view: watch::Receiver<Arc<ClusterView>>,
    pub health: watch::Receiver<Arc<ClusterHealth>>,
}

/// How long the controller waits for one answer.
const QUERY_WITHIN: Duration = Duration::from_secs(5);
/// A replica is close to its leader when no more entries than this are missing: what comes while it
/// gets its vote is no more trouble than that.
const CLOSE_BY: u64 = 1_000;
/// How long the controller waits for one proposal.
const PROPOSE_WITHIN: Duration = Duration::from_secs(5);

impl Local {
    /// Proposes to a group, wherever its leader is.
    pub(super) async fn propose(
        &self,
        group: GroupId,
        command: Vec<u8>,
    ) -> Result<Bytes, RouteError> {
        self.router
            .propose(group, Bytes::from(command), PROPOSE_WITHIN)
            .await
    }

    /// How a proposal that this replica could not carry out is told to a peer.
    pub(super) fn failure(error: &ProposeError) -> RpcFailure {
        let code = match error {
            ProposeError::NotLeader { leader } => {
                return RpcFailure::not_leader(leader.map(|l| l.0));
            }
            ProposeError::NoReplica { .. } => return RpcFailure::not_leader(None),
            ProposeError::Unknown => RpcCode::OutcomeUnknown,
            ProposeError::Overloaded => RpcCode::Overloaded,
            ProposeError::Stopped => RpcCode::Unavailable,
            ProposeError::NoRoom { .. } => RpcCode::Full,
            ProposeError::NotACommand | ProposeError::TooLarge { .. } => RpcCode::Refused,
        };
        RpcFailure::new(code, error.to_string())
    }

    /// How a query that this replica could not answer is told to a peer.
    pub(super) fn read_failure(error: &QueryError) -> RpcFailure {
        let code = match error {
            QueryError::Read(ReadError::NotLeader { leader }) => {
                return RpcFailure::not_leader(leader.map(|l| l.0));
            }
            QueryError::Read(ReadError::NoReplica { .. }) => return RpcFailure::not_leader(None),
            QueryError::Read(ReadError::Overloaded) => RpcCode::Overloaded,
            QueryError::Read(ReadError::Unconfirmed | ReadError::Stopped(_)) => {
                RpcCode::Unavailable
            }
            QueryError::Logic(_) => RpcCode::Refused,
        };
        RpcFailure::new(code, error.to_string())
    }

    /// How a refused request of Raft is told to a peer.
    pub(super) fn raft_failure(error: &HandleError) -> RpcFailure {
        let code = match error {
            HandleError::Stopped(_) | HandleError::Snapshot(_) => RpcCode::Unavailable,
            HandleError::NoReplica(_) => RpcCode::NotFound,
            HandleError::NoRoom => RpcCode::Full,
            HandleError::Wire(_)
            | HandleError::OtherReplica { .. }
            | HandleError::Damaged
            | HandleError::DamagedWhole => RpcCode::Refused,
        };
        RpcFailure::new(code, error.to_string())
    }
}

/// The replicas whose log agrees with the leader's in at least its first entry, and the leader.
fn following(own: ReplicaId, matched: &[(ReplicaId, u64)]) -> Vec<ReplicaId> {
    let others = matched
        .iter()
        .filter(|(_, index)| *index > 0)
        .map(|(replica, _)| *replica);
    others.chain([own]).collect()
}

fn unavailable(group: GroupId, reason: impl std::fmt::Display) -> ConsensusError {
    ConsensusError::Unavailable {
        group,
        reason: reason.to_string(),
    }
}

#[async_trait]
impl Consensus for Local {
    fn root_if_leading(&self) -> Option<Members> {
        let status = self.host.status(GroupId::ROOT)?;
        (status.role == Role::Leader).then_some(Members {
            // Of a change under way its end: asking for that finishes it.
            voters: status.target,
            learners: status.learners,
            following: following(self.host.replica(), &status.matched),
            settled: !status.changing,
        })
    }

    async fn propose_root(&self, command: RootCommand) -> Result<RootOutcome, ConsensusError> {
        let group = GroupId::ROOT;
        let outcome = self
            .propose(group, Envelope::seal_internal(&command))
            .await
            .map_err(|e| unavailable(group, e))?;
        RootOutcome::decode(&outcome).map_err(|source| ConsensusError::Answer { group, source })
    }

    async fn propose_object(
        &self,
        group: GroupId,
        command: ObjectCommand,
    ) -> Result<ObjectOutcome, ConsensusError> {
        let outcome = self
            .propose(group, Envelope::seal_internal(&command))
            .await
            .map_err(|e| unavailable(group, e))?;
        ObjectOutcome::decode(&outcome).map_err(|source| ConsensusError::Answer { group, source })
    }

    async fn ask_object(
        &self,
        group: GroupId,
        query: ObjectQuery,
    ) -> Result<ObjectAnswer, ConsensusError> {
        let (answer, _) = self
            .router
            .query(group, Bytes::from(query.encode()), true, QUERY_WITHIN)
            .await
            .map_err(|e| unavailable(group, e))?;
        ObjectAnswer::decode(&answer).map_err(|source| ConsensusError::Answer { group, source })
    }

    async fn add_root_learner(&self, replica: ReplicaId) -> Result<(), ConsensusError> {
        let added = self.host.add_learner(GroupId::ROOT, replica, false).await;
        added.map_err(|e| unavailable(GroupId::ROOT, e))
    }

    async fn set_root_voters(&self, voters: Vec<ReplicaId>) -> Result<(), ConsensusError> {
        let changed = self.host.change_voters(GroupId::ROOT, &voters).await;
        changed.map_err(|e| unavailable(GroupId::ROOT, e))
    }

    fn led_groups(&self) -> Vec<GroupId> {
        let leads = |group: &GroupId| {
            self.host
                .status(*group)
                .is_some_and(|s| s.role == Role::Leader)
        };
        self.host.groups().into_iter().filter(leads).collect()
    }

    fn own_replica(&self) -> ReplicaId {
        self.host.replica()
    }

    fn is_up(&self, replica: ReplicaId) -> bool {
        let node = node_of(&self.view.borrow(), replica);
        node.is_some_and(|node| self.mesh.is_up(node) && !self.health.borrow().is_dead(node))
    }

    fn may_lead(&self, replica: ReplicaId) -> bool {
        let Some(node) = node_of(&self.view.borrow(), replica) else {
            return false;
        };
        self.mesh.is_up(node)
            && !self.mesh.is_leaving(node)
            && !self.health.borrow().prefers_others(node)
    }

    fn is_slow(&self, replica: ReplicaId) -> bool {
        let node = node_of(&self.view.borrow(), replica);
        node.is_some_and(|node| self.health.borrow().of(node) == Health::Slow)
    }

    async fn hand_over(&self, group: GroupId, to: ReplicaId) -> Result<(), ConsensusError> {
        self.host
            .transfer_leader(group, to)
            .await
            .map_err(|e| unavailable(group, e))
    }
}

#[async_trait]
impl Membership for Local {
    fn standing(&self, group: GroupId) -> Option<Standing> {
        let status = self.host.status(group)?;
        let near = |(_, index): &&(ReplicaId, u64)| index.saturating_add(CLOSE_BY) >= status.last;
        let close = status.matched.iter().filter(near);
        let close = close.map(|(replica, _)| *replica).collect();
        let (at, committed) = status.members_at;
        (status.role == Role::Leader).then_some(Standing {
            voters: status.voters,
            target: status.target,
            learners: status.learners,
            changing: status.changing,
            committed,
            at,
            close,
        })
    }

    async fn add_learner(&self, group: GroupId, replica: ReplicaId) -> Result<(), ConsensusError> {
        let added = self.host.add_learner(group, replica, false).await;
        added.map_err(|e| unavailable(group, e))
    }

    async fn remove_learner(
        &self,
        group: GroupId,
        replica: ReplicaId,
    ) -> Result<(), ConsensusError> {
        let removed = self.host.remove_learner(group, replica).await;
        removed.map_err(|e| unavailable(group, e))
    }

    async fn set_voters(
        &self,
        group: GroupId,
        voters: Vec<ReplicaId>,
    ) -> Result<(), ConsensusError> {
        let changed = self.host.change_voters(group, &voters).await;
        changed.map_err(|e| unavailable(group, e))
    }
}
