//! What this node answers to its peers: each method of the mesh and who carries it out.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use marram_gateway::Reencoder;
use marram_maintain::{Foreground, Lane, Pace, fault_point};
use marram_mesh::{Method, Peer, RpcCode, RpcFailure, Service};
use marram_meta::{ClusterView, Pausable};
use marram_metrics::Verdict;
use marram_proto::mesh::v1 as wire;
use marram_raft::{CopyError, RaftHost, RaftMethod};
use marram_types::{DriveId, GroupId};
use prost::Message;
use tokio::sync::watch;

use super::gateways::HeardGateways;
use super::health;
use super::inspect::Inspector;
use super::issuer::Issuer;
use super::local::Local;
use super::observe::Requests;
use super::pace::turn;
use super::process;
use super::reencode;
use super::shards;
use super::storage::Drives;
use super::upkeep::{Upkeep, hash_at};
use super::wayback;
use super::work::Work;

/// Longest time that a peer may wait for a newer view.
const VIEW_WAIT_MAX: Duration = Duration::from_secs(10);

/// How long a peer's proposal may wait for its quorum here; the peer asks again elsewhere.
const PROPOSE_WITHIN: Duration = Duration::from_secs(3);
/// Longest time for which a peer that asks may wait for something to be applied.
const QUERY_WAIT_MAX: Duration = Duration::from_secs(30);

/// The services of a storage node.
pub(super) struct NodeService {
    pub host: Arc<RaftHost>,
    pub local: Arc<Local>,
    pub drives: Arc<Drives>,
    pub work: Arc<Work>,
    pub pace: Arc<Pace>,
    pub upkeep: Upkeep,
    pub issuer: Arc<Issuer>,
    pub reencoder: Reencoder,
    pub view: watch::Receiver<Arc<ClusterView>>,
    /// Where this node gives metrics.
    pub metrics_address: String,
    /// Gateways without drives, as they were heard.
    pub gateways: HeardGateways,
    /// Whether this process is ready, and why not.
    pub ready: watch::Receiver<Arc<Verdict>>,
    /// What can be asked of this node about itself.
    pub inspector: Inspector,
    /// Where requests are counted.
    pub requests: Arc<Requests>,
}

type Answer = Result<(Bytes, Bytes), RpcFailure>;

#[async_trait]
impl Service for NodeService {
    async fn call(&self, peer: Peer, method: Method, header: Bytes, payload: Bytes) -> Answer {
        let (began, received) = (Instant::now(), header.len() + payload.len());
        let answer = self.dispatch(peer, method, header, payload).await;
        let sent = match &answer {
            Ok((header, payload)) => Ok(header.len() + payload.len()),
            Err(failure) => Err(failure.code),
        };
        self.requests
            .answered(method, began.elapsed(), received, sent);
        answer
    }
}

impl NodeService {
    async fn dispatch(&self, peer: Peer, method: Method, header: Bytes, payload: Bytes) -> Answer {
        match method {
            Method::Unspecified => Err(unimplemented(method)),
            Method::Ping => Err(unimplemented(method)), // the mesh answers it itself
            Method::Join => answer(&self.issuer.join(parse(header)?).await?),
            Method::Renew => answer(&self.issuer.renew(peer, parse(header)?).await?),
            Method::RootView => answer(&self.root_view(&peer, parse(header)?).await?),
            Method::Propose => answer(&self.propose(parse(header)?).await?),
            Method::Query => answer(&self.query(parse(header)?).await?),
            Method::RaftAppend => self.raft(RaftMethod::Append, header, payload).await,
            Method::RaftVote => self.raft(RaftMethod::Vote, header, payload).await,
            Method::RaftPreVote => self.raft(RaftMethod::PreVote, header, payload).await,
            Method::RaftSnapshot => self.raft(RaftMethod::Snapshot, header, payload).await,
            Method::RaftTransfer => self.raft(RaftMethod::Transfer, header, payload).await,
            Method::WriteRun => answer(&self.write_run(peer, parse(header)?, payload).await?),
            Method::ReadShard => {
                let (response, bytes) = self.read_shard(peer, parse(header)?).await?;
                Ok((
                    Bytes::from(wire::ReadShardResponse::encode_to_vec(&response)),
                    bytes,
                ))
            }
            Method::DropShards => {
                self.refuse_while_paused()?;
                answer(&shards::drop_all(&self.drives, parse(header)?).await?)
            }
            Method::DriveStats => answer(&self.report(&parse(header)?)),
            Method::RestoreShards => answer(&self.work.restore(parse(header)?).await?),
            Method::LookShards => answer(&self.work.look(parse(header)?).await?),
            Method::Reencode => answer(&reencode::run(&self.reencoder, parse(header)?).await?),
            Method::RenewReplica => {
                let request = parse(header)?;
                answer(&wayback::renewed(&self.local, &self.view, peer, request).await?)
            }
            Method::DumpGroup => self.dump_group(parse(header)?).await,
            Method::CleanShards => {
                self.refuse_while_paused()?;
                answer(&self.work.clean(parse(header)?).await?)
            }
            Method::Upkeep => answer(&self.upkeep.answer(parse(header)?).await),
            Method::StateHash => answer(&hash_at(&self.host, parse(header)?).await?),
            Method::Witness => answer(&health::own_words(&self.local.mesh)),
            Method::ClusterHealth => answer(&health::answer(&self.local, &self.local.health)?),
            Method::HandOver => answer(&health::hand_over(&self.local).await),
            Method::Inspect => {
                let request: wire::InspectRequest = parse(header)?;
                let asked = request.asked.unwrap_or_default();
                let inspection = Some(self.inspector.answer(asked).await);
                answer(&wire::InspectResponse { inspection })
            }
            Method::LogLevel => answer(&process::log_level(parse(header)?)?),
            Method::Profile => answer(&process::profile(parse(header)?).await?),
            Method::ListShards => answer(&shards::list(&self.drives, parse(header)?).await?),
        }
    }

    /// Background work reads when the pace lets it, and does not wait for that here, where each
    /// request takes one of the places that readers need.
    async fn read_shard(
        &self,
        peer: Peer,
        request: wire::ReadShardRequest,
    ) -> Result<(wire::ReadShardResponse, Bytes), RpcFailure> {
        let bytes = u64::from(request.length);
        if request.background {
            let link = (!self.is_own(&peer)).then_some(Lane::Sent);
            turn(&self.pace, (DriveId(request.drive), link), bytes)?;
            return shards::read(&self.drives, request).await;
        }
        let began = Instant::now();
        let read = shards::read(&self.drives, request).await?;
        self.pace.served(Foreground::Read, bytes, began.elapsed());
        Ok(read)
    }

    /// Background work asks for its turn before it sends a run, so that no bytes come in vain, and says
    /// nothing of how long the foreground's take.
    async fn write_run(
        &self,
        peer: Peer,
        request: wire::WriteRunRequest,
        payload: Bytes,
    ) -> Result<wire::WriteRunResponse, RpcFailure> {
        let in_background = request.turn_bytes > 0;
        if in_background && payload.is_empty() {
            let link = (!self.is_own(&peer)).then_some(Lane::Received);
            let drive = DriveId(request.drive);
            turn(&self.pace, (drive, link), request.turn_bytes)?;
            return Ok(wire::WriteRunResponse {});
        }
        self.refuse_new_shards(&request)?;
        let (began, bytes) = (Instant::now(), payload.len() as u64);
        let written = shards::write(&self.drives, request, payload).await?;
        if !in_background {
            self.pace.served(Foreground::Write, bytes, began.elapsed());
        }
        Ok(written)
    }

    /// Whether a request came by the loopback: it takes nothing of the link.
    fn is_own(&self, peer: &Peer) -> bool {
        matches!(peer, Peer::Node(node) if self.local.mesh.node() == Some(*node))
    }

    /// A drive that is not there to take data takes no new shard, whatever a gateway's view says
    /// (rules.md 25). What began before goes on, and shards of moves and repairs come another way.
    fn refuse_new_shards(&self, request: &wire::WriteRunRequest) -> Result<(), RpcFailure> {
        let view = self.view.borrow();
        let own = self
            .local
            .mesh
            .node()
            .and_then(|node| view.nodes.get(&node));
        let drive = DriveId(request.drive);
        if request.offset == 0 && own.is_some_and(|node| !node.drive_takes_data(drive)) {
            let message = "this drive takes no new data: it or its node is cordoned, drained or \
                           given up";
            return Err(RpcFailure::new(RpcCode::Unavailable, message));
        }
        Ok(())
    }

    /// While garbage collection is paused no shard is removed, whoever asks for it.
    fn refuse_while_paused(&self) -> Result<(), RpcFailure> {
        match self.view.borrow().upkeep.paused(Pausable::Garbage) {
            None => Ok(()),
            Some(_) => Err(RpcFailure::new(
                RpcCode::Unavailable,
                "garbage collection is paused in the whole cluster: nothing is removed",
            )),
        }
    }

    /// How this node's drives are, and what else a status says of it.
    fn report(&self, request: &wire::DriveStatsRequest) -> wire::DriveStatsResponse {
        wire::DriveStatsResponse {
            drives: shards::stats(&self.drives, request),
            metrics_address: self.metrics_address.clone(),
            not_ready: self.ready.borrow().reasons(),
            gateways: self.gateways.all(Instant::now()),
        }
    }

    async fn root_view(
        &self,
        peer: &Peer,
        mut request: wire::RootViewRequest,
    ) -> Result<wire::RootViewResponse, RpcFailure> {
        self.gateways
            .hear(peer, request.note.take(), Instant::now());
        let wait = Duration::from_millis(u64::from(request.wait_ms)).min(VIEW_WAIT_MAX);
        let mut view = self.view.clone();
        let newer = view.wait_for(|v| v.index > request.known_index);
        match tokio::time::timeout(wait, newer).await {
            Ok(Ok(view)) => Ok(wire::RootViewResponse {
                index: view.index,
                view: Bytes::from(view.encode()),
            }),
            Ok(Err(_)) => Err(RpcFailure::new(
                RpcCode::Unavailable,
                "this node is stopping",
            )),
            Err(_) => Ok(wire::RootViewResponse {
                index: request.known_index,
                view: Bytes::new(),
            }),
        }
    }

    async fn propose(
        &self,
        request: wire::ProposeRequest,
    ) -> Result<wire::ProposeResponse, RpcFailure> {
        let group = group(request.group)?;
        let outcome = self
            .host
            .propose(group, &request.command, PROPOSE_WITHIN)
            .await
            .map_err(|error| Local::failure(&error))?;
        Ok(wire::ProposeResponse { outcome })
    }

    async fn query(&self, request: wire::QueryRequest) -> Result<wire::QueryResponse, RpcFailure> {
        let group = group(request.group)?;
        let answer = if request.wait_ms == 0 {
            self.host
                .query(group, &request.query, request.linearizable)
                .await
        } else {
            let wait = Duration::from_millis(request.wait_ms.into()).min(QUERY_WAIT_MAX);
            let query = self
                .host
                .query_at(group, &request.query, request.at_least, wait);
            query.await
        };
        let (answer, applied) = answer.map_err(|error| Local::read_failure(&error))?;
        Ok(wire::QueryResponse { answer, applied })
    }

    /// A piece of a copy of a group's state, for a backup.
    async fn dump_group(&self, request: wire::DumpGroupRequest) -> Answer {
        let piece = self.host.copy_piece(
            group(request.group)?,
            &request.id,
            request.offset,
            request.at_least,
        );
        let piece = piece.await.map_err(|error| {
            let code = match error {
                CopyError::NoReplica(_) | CopyError::Behind { .. } => RpcCode::Unavailable,
                CopyError::Gone(_) => RpcCode::Aborted,
                CopyError::Machine(_) | CopyError::Io(_) => RpcCode::Internal,
            };
            RpcFailure::new(code, error.to_string())
        })?;
        let header = wire::DumpGroupResponse {
            id: piece.id,
            total_bytes: piece.total_bytes,
            index: piece.last.1,
            term: piece.last.0,
        };
        Ok((Bytes::from(header.encode_to_vec()), piece.bytes))
    }

    async fn raft(&self, method: RaftMethod, header: Bytes, payload: Bytes) -> Answer {
        let handled = self.host.handle(method, header, payload).await;
        if method == RaftMethod::Append && handled.is_ok() {
            fault_point("raft.appended");
        }
        handled.map_err(|error| Local::raft_failure(&error))
    }
}

fn unimplemented(method: Method) -> RpcFailure {
    RpcFailure::new(
        RpcCode::Unimplemented,
        format!("{} is not served here", method.as_str_name()),
    )
}

pub(super) fn parse<M: Message + Default>(header: Bytes) -> Result<M, RpcFailure> {
    M::decode(header).map_err(|error| {
        RpcFailure::new(
            RpcCode::Refused,
            format!("the request cannot be read: {error}"),
        )
    })
}

fn answer(message: &impl Message) -> Answer {
    Ok((Bytes::from(message.encode_to_vec()), Bytes::new()))
}

fn group(number: u32) -> Result<GroupId, RpcFailure> {
    u16::try_from(number)
        .map(GroupId)
        .map_err(|_| RpcFailure::new(RpcCode::Refused, format!("there is no group {number}")))
}
