//! What an operator may ask of this process and have it do: what it logs.

use std::time::{Duration, Instant};

use marram_gateway::{LogLevelError, OwnProcess};
use marram_mesh::{RpcCode, RpcFailure};
use marram_proto::mesh::v1 as wire;
use marram_proto::v1;

use crate::logging::{self, Change, LevelError};

/// This process.
#[derive(Debug, Clone, Copy)]
pub(super) struct Process;

impl OwnProcess for Process {
    fn log_level(
        &self,
        change: Option<v1::SetLogLevelRequest>,
    ) -> Result<v1::LogLevel, LogLevelError> {
        let change = change.map(|change| match (change.reset, change.for_ms) {
            (true, _) => Change::Reset,
            (false, 0) => Change::Lasting(change.filter),
            (false, ms) => Change::For(change.filter, Duration::from_millis(ms)),
        });
        let level = logging::level(change).map_err(|error| match error {
            LevelError::Filter(error) => LogLevelError::Refused(error.to_string()),
            LevelError::NoLog => LogLevelError::Silent(error.to_string()),
        })?;
        let left = level.ends_in(Instant::now());
        Ok(v1::LogLevel {
            name: String::new(),
            filter: level.now().to_owned(),
            // What has not ended yet does not look as if it stayed.
            ends_in_ms: left.map_or(0, |left| {
                u64::try_from(left.as_millis()).unwrap_or(u64::MAX).max(1)
            }),
            then: level.then().to_owned(),
        })
    }
}

/// The same for a peer, which was asked by an operator.
pub(super) fn log_level(
    change: Option<v1::SetLogLevelRequest>,
) -> Result<wire::LogLevelResponse, RpcFailure> {
    let level = Process.log_level(change).map_err(|error| match error {
        LogLevelError::Refused(why) => RpcFailure::new(RpcCode::Refused, why),
        LogLevelError::Silent(why) => RpcFailure::new(RpcCode::Internal, why),
    })?;
    Ok(wire::LogLevelResponse { level: Some(level) })
}
