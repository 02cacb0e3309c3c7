//! What an operator may ask of this process and have it do: what it logs, and what it spends time and memory with.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use marram_gateway::{LogLevelError, OwnProcess, ProfileError};
use marram_mesh::{RpcCode, RpcFailure};
use marram_proto::mesh::v1 as wire;
use marram_proto::v1;

use crate::logging::{self, Change, LevelError};

/// Longest time for which a peer has this process looked at; the API allows no more.
const PROFILE_S_MAX: u64 = 60;

/// This process.
#[derive(Debug, Clone, Copy)]
pub(super) struct Process;

#[async_trait]
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

    async fn inspect(&self, _asked: v1::InspectNodeRequest) -> Option<v1::NodeInspection> {
        // A node is asked through the mesh, like its peers.
        None
    }

    async fn profile(&self, cpu: Option<Duration>) -> Result<wire::ProfileResponse, ProfileError> {
        let Some(time) = cpu else {
            // Each arena's lock is waited for.
            let read = tokio::task::spawn_blocking(crate::profile::memory).await;
            let failed = |error: String| ProfileError::Failed(error);
            let memory = read.map_err(|error| failed(error.to_string()))?;
            return Ok(wire::ProfileResponse {
                memory: Some(memory.map_err(failed)?),
                ..wire::ProfileResponse::default()
            });
        };
        let made = crate::profile::cpu(time)
            .await
            .map_err(|error| match error {
                crate::profile::ProfileError::Busy => ProfileError::Busy(error.to_string()),
                crate::profile::ProfileError::Failed(why) => ProfileError::Failed(why),
            })?;
        Ok(wire::ProfileResponse {
            cpu: made.into(),
            ..wire::ProfileResponse::default()
        })
    }
}

/// The same for a peer, which was asked by an operator.
pub(super) fn log_level(
    request: wire::LogLevelRequest,
) -> Result<wire::LogLevelResponse, RpcFailure> {
    let level = Process
        .log_level(request.set)
        .map_err(|error| match error {
            LogLevelError::Refused(why) => RpcFailure::new(RpcCode::Refused, why),
            LogLevelError::Silent(why) => RpcFailure::new(RpcCode::Internal, why),
        })?;
    Ok(wire::LogLevelResponse { level: Some(level) })
}

/// What this process spends time or memory with, for a peer.
pub(super) async fn profile(
    request: wire::ProfileRequest,
) -> Result<wire::ProfileResponse, RpcFailure> {
    let seconds = u64::from(request.cpu_seconds);
    let time = (seconds > 0).then(|| Duration::from_secs(seconds.min(PROFILE_S_MAX)));
    Process.profile(time).await.map_err(|error| match error {
        ProfileError::Busy(why) => RpcFailure::new(RpcCode::Overloaded, why),
        ProfileError::Failed(why) => RpcFailure::new(RpcCode::Internal, why),
    })
}
