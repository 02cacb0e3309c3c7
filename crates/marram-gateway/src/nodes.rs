//! What the gateway asks of nodes as such, as a trait: everything about their drives is in `drives`.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use marram_mesh::{CallError, HandOver, Inspect, LogLevel, Mesh, Profile, RpcCode};
use marram_proto::mesh::v1 as wire;
use marram_proto::v1;
use marram_types::{GroupId, NodeId};

/// A node did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the node did not hand its leaderships over: {0}")]
pub(crate) struct NodeError(pub(crate) String);

/// A node did not say how it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct InspectError(pub(crate) String);

/// A node does not log what it was told to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LogLevelError {
    /// The filter is none, for this reason.
    #[error("{0}")]
    Refused(String),
    /// The node does not answer.
    #[error("{0}")]
    Silent(String),
}

/// A node does not say what it spends time or memory with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProfileError {
    /// Another profile of it is being made.
    #[error("{0}")]
    Busy(String),
    /// It does not answer, or cannot make one.
    #[error("{0}")]
    Failed(String),
}

/// What became of the leaderships of a node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct HandedOver {
    /// Groups that others lead now.
    pub(crate) handed: Vec<GroupId>,
    /// Groups that no other voter could take.
    pub(crate) kept: Vec<GroupId>,
}

/// The nodes of the cluster.
#[async_trait]
pub(crate) trait Nodes: Send + Sync {
    /// Whether a node said that it is about to stop.
    fn is_leaving(&self, node: NodeId) -> bool;

    /// Has a node hand its leaderships to others.
    async fn hand_over(&self, node: NodeId, within: Duration) -> Result<HandedOver, NodeError>;

    /// Asks a node about itself and its machine.
    async fn inspect(
        &self,
        node: NodeId,
        asked: v1::InspectNodeRequest,
        within: Duration,
    ) -> Result<v1::NodeInspection, InspectError>;

    /// Asks what a node logs, after a change where there is one.
    async fn log_level(
        &self,
        node: NodeId,
        change: Option<v1::SetLogLevelRequest>,
        within: Duration,
    ) -> Result<v1::LogLevel, LogLevelError>;

    /// Has a node look for so long at what it spends time with, or, without a time, say what it uses its memory
    /// for.
    async fn profile(
        &self,
        node: NodeId,
        cpu: Option<Duration>,
    ) -> Result<wire::ProfileResponse, ProfileError>;
}

/// How much longer than asked for a profile may take: reading the program's symbols takes seconds.
const PROFILE_GRACE: Duration = Duration::from_secs(30);

/// The nodes through the mesh.
pub(crate) struct MeshNodes(pub(crate) Mesh);

#[async_trait]
impl Nodes for MeshNodes {
    fn is_leaving(&self, node: NodeId) -> bool {
        self.0.is_leaving(node)
    }

    async fn hand_over(&self, node: NodeId, within: Duration) -> Result<HandedOver, NodeError> {
        let request = wire::HandOverRequest {};
        let call = self.0.call::<HandOver>(node, request, Bytes::new(), within);
        let (answer, _) = call.await.map_err(|error| NodeError(error.to_string()))?;
        let groups = |numbers: &[u32]| {
            let groups = numbers.iter().filter_map(|n| u16::try_from(*n).ok());
            groups.map(GroupId).collect()
        };
        Ok(HandedOver {
            handed: groups(&answer.handed),
            kept: groups(&answer.kept),
        })
    }

    async fn inspect(
        &self,
        node: NodeId,
        asked: v1::InspectNodeRequest,
        within: Duration,
    ) -> Result<v1::NodeInspection, InspectError> {
        let request = wire::InspectRequest { asked: Some(asked) };
        let call = self.0.call::<Inspect>(node, request, Bytes::new(), within);
        let (answer, _) = call
            .await
            .map_err(|error| InspectError(error.to_string()))?;
        let empty = || InspectError("it answered nothing".to_owned());
        answer.inspection.ok_or_else(empty)
    }

    async fn log_level(
        &self,
        node: NodeId,
        change: Option<v1::SetLogLevelRequest>,
        within: Duration,
    ) -> Result<v1::LogLevel, LogLevelError> {
        let request = wire::LogLevelRequest { set: change };
        let call = self.0.call::<LogLevel>(node, request, Bytes::new(), within);
        let (answer, _) = call.await.map_err(|error| match error {
            CallError::Failed(failure) if failure.code == RpcCode::Refused => {
                LogLevelError::Refused(failure.message)
            }
            other => LogLevelError::Silent(other.to_string()),
        })?;
        let empty = || LogLevelError::Silent("it answered nothing".to_owned());
        answer.level.ok_or_else(empty)
    }

    async fn profile(
        &self,
        node: NodeId,
        cpu: Option<Duration>,
    ) -> Result<wire::ProfileResponse, ProfileError> {
        let seconds = cpu.unwrap_or_default().as_secs();
        let request = wire::ProfileRequest {
            cpu_seconds: u32::try_from(seconds).unwrap_or(u32::MAX),
        };
        let within = cpu.unwrap_or_default() + PROFILE_GRACE;
        let call = self.0.call::<Profile>(node, request, Bytes::new(), within);
        let (answer, _) = call.await.map_err(|error| match error {
            CallError::Failed(failure) if failure.code == RpcCode::Overloaded => {
                ProfileError::Busy(failure.message)
            }
            other => ProfileError::Failed(other.to_string()),
        })?;
        Ok(answer)
    }
}
