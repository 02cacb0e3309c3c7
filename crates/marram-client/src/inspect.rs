//! What is wrong, and what nodes say of themselves.

use marram_proto::v1;

use crate::client::Client;
use crate::error::ClientError;
use crate::types::{Diagnosis, InspectOptions, NodeInspection};

/// Largest answer of a node about itself: 2 MiB of metrics at most, half a MiB of log lines, and what it
/// knows of its machine.
const INSPECTION_BYTES_MAX: usize = 4 << 20;

impl Client {
    /// Looks at everything that may be wrong with the cluster.
    ///
    /// # Errors
    /// What any call can meet.
    pub async fn diagnose(&self) -> Result<Diagnosis, ClientError> {
        self.unary(v1::DiagnoseRequest {}, |lane, request| async move {
            lane.admin().diagnose(request).await
        })
        .await
        .map(Diagnosis::from_wire)
    }

    /// Says what a node, given by name or id, knows of itself and its machine.
    ///
    /// # Errors
    /// `NotFound`, `Unavailable` (the node does not answer), and what any call can meet.
    pub async fn inspect_node(
        &self,
        node: &str,
        options: InspectOptions,
    ) -> Result<NodeInspection, ClientError> {
        let message = v1::InspectNodeRequest {
            node: node.to_owned(),
            settings: options.settings,
            log_lines: options.log_lines,
            metrics: options.metrics,
            all_metrics: options.all_metrics,
            names: options.names,
        };
        let answer = self.unary(message, |lane, request| async move {
            let admin = lane.admin();
            let mut admin = admin.max_decoding_message_size(INSPECTION_BYTES_MAX);
            admin.inspect_node(request).await
        });
        let said = answer.await?.inspection.unwrap_or_default();
        Ok(NodeInspection::from_wire(said))
    }
}
