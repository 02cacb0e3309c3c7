//! What single processes are asked: what they log.

use marram_proto::v1;

use crate::client::Client;
use crate::error::ClientError;
use crate::types::{LogLevel, LogLevelChange};

impl Client {
    /// Says what a node, given by name or id, logs; or the gateway that is called, by its name.
    ///
    /// # Errors
    /// `NotFound`, `Unavailable` (the node does not answer), and what any call can meet.
    pub async fn log_level(&self, node: &str) -> Result<LogLevel, ClientError> {
        let message = v1::GetLogLevelRequest {
            node: node.to_owned(),
        };
        let answer = self.unary(message, |lane, request| async move {
            lane.admin().get_log_level(request).await
        });
        Ok(LogLevel::from_wire(answer.await?.level))
    }

    /// Changes that while the process runs.
    ///
    /// # Errors
    /// `Invalid` (with the part of the filter that is wrong), `NotFound`, `Unavailable`, and what any call can meet.
    pub async fn set_log_level(
        &self,
        node: &str,
        change: LogLevelChange,
    ) -> Result<LogLevel, ClientError> {
        let (filter, for_ms, reset) = match change {
            LogLevelChange::Lasting(filter) => (filter, 0, false),
            LogLevelChange::ForMs(filter, ms) => (filter, ms, false),
            LogLevelChange::Reset => (String::new(), 0, true),
        };
        let message = v1::SetLogLevelRequest {
            node: node.to_owned(),
            filter,
            for_ms,
            reset,
        };
        let answer = self.unary(message, |lane, request| async move {
            lane.admin().set_log_level(request).await
        });
        Ok(LogLevel::from_wire(answer.await?.level))
    }
}
