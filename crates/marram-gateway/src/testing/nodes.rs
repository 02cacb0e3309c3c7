//! Nodes in memory: they hand over what they are told to lead.

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use marram_proto::mesh::v1 as wire;
use marram_proto::v1;
use marram_types::{GroupId, NodeId};
use parking_lot::Mutex;

use crate::nodes::{HandedOver, InspectError, LogLevelError, NodeError, Nodes, ProfileError};
use crate::process::OwnProcess;

/// All nodes.
#[derive(Default)]
pub(crate) struct FakeNodes {
    pub(crate) leads: Mutex<HashMap<NodeId, Vec<GroupId>>>,
    /// What they say of themselves; those that are not here do not answer.
    pub(crate) said: Mutex<HashMap<NodeId, v1::NodeInspection>>,
    /// What they log; those that are not here do not answer, and `wrong` is no filter to any of them.
    pub(crate) logs: Mutex<HashMap<NodeId, v1::LogLevel>>,
}

#[async_trait]
impl Nodes for FakeNodes {
    fn is_leaving(&self, _node: NodeId) -> bool {
        false
    }

    async fn hand_over(&self, node: NodeId, _within: Duration) -> Result<HandedOver, NodeError> {
        let handed = self.leads.lock().remove(&node).unwrap_or_default();
        let kept = Vec::new();
        Ok(HandedOver { handed, kept })
    }

    async fn inspect(
        &self,
        node: NodeId,
        _asked: v1::InspectNodeRequest,
        _within: Duration,
    ) -> Result<v1::NodeInspection, InspectError> {
        let said = self.said.lock().get(&node).cloned();
        said.ok_or_else(|| InspectError("it does not answer".to_owned()))
    }

    async fn log_level(
        &self,
        node: NodeId,
        change: Option<v1::SetLogLevelRequest>,
        _within: Duration,
    ) -> Result<v1::LogLevel, LogLevelError> {
        let mut logs = self.logs.lock();
        let silent = || LogLevelError::Silent("it does not answer".to_owned());
        let level = logs.get_mut(&node).ok_or_else(silent)?;
        if let Some(change) = change {
            if change.filter == "wrong" {
                return Err(LogLevelError::Refused("part \"wrong\"".to_owned()));
            }
            level.filter = change.filter;
            level.ends_in_ms = change.for_ms;
        }
        Ok(level.clone())
    }

    async fn profile(
        &self,
        node: NodeId,
        cpu: Option<Duration>,
    ) -> Result<wire::ProfileResponse, ProfileError> {
        if !self.logs.lock().contains_key(&node) {
            return Err(ProfileError::Busy("one is being made".to_owned()));
        }
        profile(cpu)
    }
}

/// A profile that says for how many seconds it was asked.
fn profile(cpu: Option<Duration>) -> Result<wire::ProfileResponse, ProfileError> {
    let memory = v1::MemoryStatistics {
        resident_bytes: 7,
        ..v1::MemoryStatistics::default()
    };
    Ok(wire::ProfileResponse {
        cpu: cpu.map_or_else(Bytes::new, |time| format!("{} s", time.as_secs()).into()),
        memory: cpu.is_none().then_some(memory),
    })
}

/// The process of the gateway under test: it logs `info`, whatever it is told.
pub(crate) struct FakeProcess;

#[async_trait]
impl OwnProcess for FakeProcess {
    fn log_level(
        &self,
        _change: Option<v1::SetLogLevelRequest>,
    ) -> Result<v1::LogLevel, LogLevelError> {
        Ok(v1::LogLevel {
            filter: "info".to_owned(),
            ..v1::LogLevel::default()
        })
    }

    async fn inspect(&self, _asked: v1::InspectNodeRequest) -> Option<v1::NodeInspection> {
        Some(v1::NodeInspection {
            version: "gateway".to_owned(),
            ..v1::NodeInspection::default()
        })
    }

    async fn profile(&self, cpu: Option<Duration>) -> Result<wire::ProfileResponse, ProfileError> {
        profile(cpu)
    }
}
