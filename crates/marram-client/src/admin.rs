//! What operators change: duties of nodes, and their removal; and plans of the layout.

use marram_proto::v1;

use crate::client::Client;
use crate::error::ClientError;
use crate::types::{DutyChange, LayoutPlan, NodeDuty, PlannedNode, RemovedNode};

impl Client {
    /// Changes what a node, given by name or id, is there for. What it is already, it becomes again.
    /// A node that answers is fenced only with `force`.
    ///
    /// # Errors
    /// `NotFound`, `Precondition` (a fenced node, or one that answers is to be fenced), `Invalid`,
    /// and what any call can meet.
    pub async fn set_node_duty(
        &self,
        node: &str,
        duty: NodeDuty,
        force: bool,
    ) -> Result<DutyChange, ClientError> {
        let message = v1::SetNodeDutyRequest {
            node: node.to_owned(),
            duty: duty.to_wire().into(),
            force,
        };
        self.unary(message, |lane, request| async move {
            lane.admin().set_node_duty(request).await
        })
        .await
        .map(DutyChange::from_wire)
    }

    /// Removes a node, given by name or id, for ever. One that is removed already is removed again.
    ///
    /// # Errors
    /// `NotFound`, `Precondition` (something is still on it: the message says what), and what any
    /// call can meet.
    pub async fn remove_node(&self, node: &str) -> Result<RemovedNode, ClientError> {
        let message = v1::RemoveNodeRequest {
            node: node.to_owned(),
        };
        self.unary(message, |lane, request| async move {
            lane.admin().remove_node(request).await
        })
        .await
        .map(RemovedNode::from_wire)
    }

    /// Says what data would be moved: by the present duties of the nodes, without those of
    /// `without` (names or ids), and with further ones. Changes nothing.
    ///
    /// # Errors
    /// `NotFound`, `Invalid`, and what any call can meet.
    pub async fn plan_layout(
        &self,
        without: &[String],
        with: &[PlannedNode],
    ) -> Result<LayoutPlan, ClientError> {
        let message = v1::PlanLayoutRequest {
            without: without.to_vec(),
            with: with.iter().map(PlannedNode::to_wire).collect(),
        };
        self.unary(message, |lane, request| async move {
            lane.admin().plan_layout(request).await
        })
        .await
        .map(LayoutPlan::from_wire)
    }
}
