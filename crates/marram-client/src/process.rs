//! What single processes are asked: what they log, and what they spend time and memory with.

use std::time::Duration;

use bytes::Bytes;
use marram_proto::v1;

use crate::client::Client;
use crate::error::ClientError;
use crate::types::{LogLevel, LogLevelChange, Memory};

/// Largest profile: twenty thousand stacks, compressed.
const PROFILE_BYTES_MAX: usize = 16 << 20;
/// Time for the names in a profile, beside that of any call.
const NAMES_WITHIN: Duration = Duration::from_secs(20);

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

    /// Has a node, given by name or id, looked at for so many seconds, 1 to 60: a profile of what it spends
    /// processor time with, as `go tool pprof` reads it.
    ///
    /// # Errors
    /// `Invalid`, `NotFound`, `Unavailable` (it is being profiled already, or does not answer), and what any call can
    /// meet.
    pub async fn profile_cpu(&self, node: &str, seconds: u32) -> Result<Bytes, ClientError> {
        let message = v1::ProfileCpuRequest {
            node: node.to_owned(),
            seconds,
        };
        let lasts = Duration::from_secs(u64::from(seconds)) + NAMES_WITHIN;
        let answer = self.unary_lasting(lasts, message, |lane, request| async move {
            let admin = lane.admin();
            let mut admin = admin.max_decoding_message_size(PROFILE_BYTES_MAX);
            admin.profile_cpu(request).await
        });
        Ok(answer.await?.profile)
    }

    /// Says what a node, given by name or id, uses its memory for.
    ///
    /// # Errors
    /// `NotFound`, `Unavailable` (the node does not answer), and what any call can meet.
    pub async fn memory(&self, node: &str) -> Result<Memory, ClientError> {
        let message = v1::GetMemoryRequest {
            node: node.to_owned(),
        };
        let answer = self.unary(message, |lane, request| async move {
            lane.admin().get_memory(request).await
        });
        Ok(Memory::from_wire(answer.await?))
    }
}
