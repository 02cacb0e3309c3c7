//! The typed methods, the service that answers them, and how a call fails.

use async_trait::async_trait;
use bytes::Bytes;
use marram_proto::mesh::v1 as wire;
use marram_proto::mesh::v1::{Method, RpcCode};
use marram_types::NodeId;

use crate::peers::Peer;

/// A method with the types of its header messages.
pub trait Rpc: Send + Sync + 'static {
    /// Its number.
    const METHOD: Method;
    /// Header of the request.
    type Request: prost::Message + Default;
    /// Header of the answer.
    type Response: prost::Message + Default;
}

macro_rules! rpc {
    ($(#[$doc:meta])* $name:ident, $request:ident, $response:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy)]
        pub struct $name;

        impl Rpc for $name {
            const METHOD: Method = Method::$name;
            type Request = wire::$request;
            type Response = wire::$response;
        }
    };
}

rpc!(
    /// Is the peer there? The mesh itself answers it.
    Ping, PingRequest, PingResponse
);
rpc!(
    /// Admits a node or gateway by its token.
    Join, JoinRequest, JoinResponse
);
rpc!(
    /// Says what certificate a member has, and gives it a new one.
    Renew, RenewRequest, RenewResponse
);
rpc!(
    /// The cluster as the root group sees it; waits for news.
    RootView, RootViewRequest, RootViewResponse
);
rpc!(
    /// Proposes a command to a group.
    Propose, ProposeRequest, ProposeResponse
);
rpc!(
    /// Asks a group.
    Query, QueryRequest, QueryResponse
);
rpc!(
    /// Writes a run of one shard: the payload.
    WriteRun, WriteRunRequest, WriteRunResponse
);
rpc!(
    /// Reads a part of a shard: the answer's payload.
    ReadShard, ReadShardRequest, ReadShardResponse
);
rpc!(
    /// Removes shards.
    DropShards, DropShardsRequest, DropShardsResponse
);
rpc!(
    /// How full the drives are.
    DriveStats, DriveStatsRequest, DriveStatsResponse
);
rpc!(
    /// Brings shards to a drive.
    RestoreShards, RestoreShardsRequest, RestoreShardsResponse
);
rpc!(
    /// Reads shards through.
    LookShards, LookShardsRequest, LookShardsResponse
);
rpc!(
    /// Removes single shards that the layout does not want on a drive.
    CleanShards, CleanShardsRequest, CleanShardsResponse
);
rpc!(
    /// Gives the caller, which has lost its Raft log, a fresh replica id.
    RenewReplica, RenewReplicaRequest, RenewReplicaResponse
);
rpc!(
    /// One piece of a copy of a group's state: the answer's payload.
    DumpGroup, DumpGroupRequest, DumpGroupResponse
);
rpc!(
    /// What a node does for its drives in the background.
    Upkeep, UpkeepRequest, UpkeepResponse
);
rpc!(
    /// The state of a replica as a hash.
    StateHash, StateHashRequest, StateHashResponse
);
rpc!(
    /// Encodes an extent anew.
    Reencode, ReencodeRequest, ReencodeResponse
);

rpc!(
    /// How a node sees its peers.
    Witness, WitnessRequest, WitnessResponse
);
rpc!(
    /// How the nodes are, by the word of several.
    ClusterHealth, ClusterHealthRequest, ClusterHealthResponse
);
rpc!(
    /// Hands the node's leaderships to others.
    HandOver, HandOverRequest, HandOverResponse
);
rpc!(
    /// What shards a drive holds.
    ListShards, ListShardsRequest, ListShardsResponse
);
rpc!(
    /// What a node says of itself and its machine.
    Inspect, InspectRequest, InspectResponse
);
rpc!(
    /// What a node logs, and what it shall log.
    LogLevel, LogLevelRequest, LogLevelResponse
);
rpc!(
    /// What a node spends time or memory with.
    Profile, ProfileRequest, ProfileResponse
);

/// What a peer answered instead of a response.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code:?}: {message}")]
pub struct RpcFailure {
    /// What kind of failure.
    pub code: RpcCode,
    /// For people.
    pub message: String,
    /// With [`RpcCode::NotLeader`]: the leader's replica id, when it is known.
    pub leader: Option<u64>,
}

impl RpcFailure {
    /// A failure of this kind.
    #[must_use]
    pub fn new(code: RpcCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            leader: None,
        }
    }

    /// The peer does not lead the group.
    #[must_use]
    pub fn not_leader(leader: Option<u64>) -> Self {
        Self {
            code: RpcCode::NotLeader,
            message: "this replica does not lead the group".to_owned(),
            leader,
        }
    }

    pub(crate) fn to_wire(&self) -> wire::RpcError {
        wire::RpcError {
            code: self.code.into(),
            message: self.message.clone(),
            leader: self.leader,
        }
    }

    pub(crate) fn from_wire(header: Bytes) -> Result<Self, prost::DecodeError> {
        let error = <wire::RpcError as prost::Message>::decode(header)?;
        Ok(Self {
            code: error.code(),
            message: error.message,
            leader: error.leader,
        })
    }
}

/// What a peer says to one whose key no row names any more.
pub(crate) const REMOVED: &str = "the holder of this key was removed from the cluster";

/// Why a call brought no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The node is not in the table, or it is tombstoned.
    #[error("node {0} is not a member of the cluster as this node knows it")]
    UnknownNode(NodeId),
    /// No connection to the peer. The request was not sent: it did not happen.
    #[error("{peer} cannot be reached: {reason}")]
    Unreachable {
        /// Who: a node or an address.
        peer: String,
        /// What stands against it.
        reason: String,
    },
    /// The connection broke after the request was sent: whether it happened is unknown.
    #[error("the connection to {peer} broke before the answer came")]
    Lost {
        /// Who.
        peer: String,
    },
    /// The deadline passed: whether it happened is unknown.
    #[error("{peer} did not answer in time")]
    Deadline {
        /// Who.
        peer: String,
    },
    /// The peer refused or failed.
    #[error("{0}")]
    Failed(RpcFailure),
    /// The request is larger than a frame may be.
    #[error("a request of {bytes} bytes is larger than a frame may be")]
    TooLarge {
        /// Its length.
        bytes: usize,
    },
    /// The answer is not what the method answers.
    #[error("{peer} sent an answer that cannot be read: {reason}")]
    Malformed {
        /// Who.
        peer: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl CallError {
    /// True when the request certainly did not reach the peer's service.
    #[must_use]
    pub fn not_sent(&self) -> bool {
        matches!(
            self,
            Self::UnknownNode(_) | Self::Unreachable { .. } | Self::TooLarge { .. }
        )
    }

    /// What the peer answered, when it did.
    #[must_use]
    pub fn code(&self) -> Option<RpcCode> {
        match self {
            Self::Failed(failure) => Some(failure.code),
            _ => None,
        }
    }
}

/// What answers the requests of peers. The mesh has checked the peer and that its role may call
/// the method.
#[async_trait]
pub trait Service: Send + Sync + 'static {
    /// Answers one request with a header and a payload. The future is dropped when the caller goes
    /// away or its deadline passes; requests of [`Class::Raft`](crate::Class) and
    /// [`Class::Bulk`](crate::Class) run inside their connection's task and must not block it.
    ///
    /// # Errors
    /// Sent to the caller as they are.
    async fn call(
        &self,
        peer: Peer,
        method: Method,
        header: Bytes,
        payload: Bytes,
    ) -> Result<(Bytes, Bytes), RpcFailure>;
}
