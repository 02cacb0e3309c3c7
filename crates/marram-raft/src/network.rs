//! openraft's network over a [`Transport`].
//!
//! One append request is in flight to each follower of a group; the next one carries whatever
//! gathered meanwhile. That is the batching that the budget of small objects counts on.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use marram_proto::mesh::v1;
use marram_trace::{Instrument, Step};
use marram_types::{GroupId, ReplicaId};
use openraft::alias::SnapshotOf;
use openraft::errors::{
    NetworkError, RPCError, ReplicationClosed, StreamingError, Timeout, Unreachable,
};
use openraft::network::{RPCOption, RPCTypes};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::{EmptyNode, RaftNetworkFactory, RaftNetworkV2};
use tracing::Span;

use crate::figures::Counted;
use crate::log::stored_form;
use crate::machine::SnapshotData;
use crate::traced::Traced;
use crate::transport::{RaftMethod, Transport, TransportError};
use crate::types::{TypeConfig, Vote};
use crate::wire::{self, Address, WireError};

mod send_snapshot;

pub(crate) use send_snapshot::PIECE_BYTES;

/// How long entries may take: above a heartbeat, because a loaded disk may need it and sending
/// the same entries again would load it more.
const APPEND_TIMEOUT: Duration = Duration::from_secs(2);

/// Makes the clients of one group.
#[derive(Clone)]
pub(crate) struct Network {
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) group: GroupId,
    pub(crate) me: ReplicaId,
    pub(crate) traced: Arc<Traced>,
    pub(crate) counted: Arc<Counted>,
}

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = Peer;

    async fn new_client(&mut self, target: u64, _node: &EmptyNode) -> Peer {
        Peer {
            network: self.clone(),
            target,
        }
    }
}

/// A client of one group to one replica.
pub(crate) struct Peer {
    network: Network,
    target: u64,
}

impl Peer {
    fn address(&self) -> Address {
        Address {
            group: u32::from(self.network.group.0),
            target: self.target,
        }
    }

    async fn send(
        &self,
        method: RaftMethod,
        header: Bytes,
        payload: Bytes,
        timeout: Duration,
    ) -> Result<Bytes, TransportError> {
        let target = ReplicaId(self.target);
        let sent = self
            .network
            .transport
            .send(target, method, header, payload, timeout);
        sent.await.map(|(header, _)| header)
    }

    async fn call<M: prost::Message + Default>(
        &self,
        method: RaftMethod,
        request: &impl prost::Message,
        timeout: Duration,
    ) -> Result<M, RPCError<TypeConfig>> {
        let answer = self
            .send(method, wire::encode(request), Bytes::new(), timeout)
            .await;
        let answer = answer.map_err(|error| self.rpc_error(method, timeout, &error))?;
        wire::decode(answer).map_err(|error| bad_answer(&error))
    }

    /// Everything but a timeout backs off: openraft repeats at once what it takes for a mere
    /// hiccup of the network.
    fn rpc_error(
        &self,
        method: RaftMethod,
        timeout: Duration,
        error: &TransportError,
    ) -> RPCError<TypeConfig> {
        match error {
            TransportError::Timeout => RPCError::Timeout(Timeout {
                action: match method {
                    RaftMethod::Append => RPCTypes::AppendEntries,
                    RaftMethod::Vote | RaftMethod::PreVote => RPCTypes::Vote,
                    RaftMethod::Snapshot => RPCTypes::InstallSnapshot,
                    RaftMethod::Transfer => RPCTypes::TransferLeader,
                },
                id: self.network.me.0,
                target: self.target,
                timeout,
            }),
            TransportError::Unreachable(_) | TransportError::Refused(_) => {
                RPCError::Unreachable(Unreachable::new(error))
            }
        }
    }
}

fn bad_answer(error: &WireError) -> RPCError<TypeConfig> {
    RPCError::Network(NetworkError::new(error))
}

impl RaftNetworkV2<TypeConfig> for Peer {
    type SnapshotData = SnapshotData;

    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<TypeConfig>, RPCError<TypeConfig>> {
        let timeout = if rpc.entries.is_empty() {
            option.hard_ttl()
        } else {
            option.hard_ttl().max(APPEND_TIMEOUT)
        };
        let stored = rpc.entries.iter().map(stored_form);
        let spans = self.network.traced.begin(stored, || {
            Step::new("raft append").with("to_replica", self.target)
        });
        // One message carries what gathered: it is sent for the first of the proposals in it.
        let first = spans.first().cloned().unwrap_or_else(Span::none);
        let request = wire::append_to_wire(self.address(), &rpc);
        let call = self.call(RaftMethod::Append, &request, timeout);
        let answer: v1::RaftAppendResponse = call.instrument(first).await?;
        wire::appended_from_wire(answer).map_err(|error| bad_answer(&error))
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        let request = wire::vote_request_to_wire(self.address(), &rpc);
        let answer = self
            .call(RaftMethod::Vote, &request, option.hard_ttl())
            .await?;
        wire::voted_from_wire(answer).map_err(|error| bad_answer(&error))
    }

    async fn pre_vote(
        &mut self,
        rpc: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        let request = wire::vote_request_to_wire(self.address(), &rpc);
        let answer = self
            .call(RaftMethod::PreVote, &request, option.hard_ttl())
            .await?;
        wire::voted_from_wire(answer).map_err(|error| bad_answer(&error))
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: SnapshotOf<TypeConfig, SnapshotData>,
        cancel: impl Future<Output = ReplicationClosed> + Send + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        tokio::select! {
            closed = cancel => Err(closed.into()),
            sent = self.send_snapshot(vote, snapshot) => sent,
        }
    }

    async fn transfer_leader(
        &mut self,
        req: TransferLeaderRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<TypeConfig>, RPCError<TypeConfig>> {
        let request = wire::transfer_to_wire(self.address(), &req);
        let answer = self
            .call(RaftMethod::Transfer, &request, option.hard_ttl())
            .await?;
        wire::transferred_from_wire(&req, answer).map_err(|error| bad_answer(&error))
    }
}
