//! Nodes in memory: they hand over what they are told to lead.

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;
use marram_proto::v1;
use marram_types::{GroupId, NodeId};
use parking_lot::Mutex;

use crate::nodes::{HandedOver, InspectError, NodeError, Nodes};

/// All nodes.
#[derive(Default)]
pub(crate) struct FakeNodes {
    pub(crate) leads: Mutex<HashMap<NodeId, Vec<GroupId>>>,
    /// What they say of themselves; those that are not here do not answer.
    pub(crate) said: Mutex<HashMap<NodeId, v1::NodeInspection>>,
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
}
