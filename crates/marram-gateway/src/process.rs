//! What an operator asks of one process: what it logs, and what it spends time and memory with.
//!
//! A node is asked through the mesh, whichever server is called. A gateway without drives has no address there:
//! it answers for itself, by its own name, to whoever calls it.

use std::time::Duration;

use async_trait::async_trait;
use marram_proto::mesh::v1 as wire;
use marram_proto::v1;
use marram_types::NodeId;

use crate::admin::{AdminError, member};
use crate::core::Core;
use crate::nodes::{InspectError, LogLevelError, ProfileError};
use crate::validate::InvalidField;

/// How long a node may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// Longest filter in bytes; a node is given no longer one.
pub(crate) const FILTER_BYTES_MAX: usize = 1024;
/// Longest time for which something else is logged.
pub(crate) const FOR_MS_MAX: u64 = 24 * 3_600_000;

/// Longest time for which a process is looked at, in seconds.
pub(crate) const PROFILE_S_MAX: u32 = 60;

/// This process, as an operator asks it.
#[async_trait]
pub trait OwnProcess: Send + Sync {
    /// What it logs, after a change where there is one. The name in the answer does not matter.
    ///
    /// # Errors
    /// Which part of the filter is wrong, and how it is written.
    fn log_level(
        &self,
        change: Option<v1::SetLogLevelRequest>,
    ) -> Result<v1::LogLevel, LogLevelError>;

    /// What it says of itself and its machine; none where peers are to be asked for that.
    async fn inspect(&self, asked: v1::InspectNodeRequest) -> Option<v1::NodeInspection>;

    /// Looks for so long at what it spends time with, or, without a time, says what it uses its memory for.
    ///
    /// # Errors
    /// When another profile is being made, or none can be.
    async fn profile(&self, cpu: Option<Duration>) -> Result<wire::ProfileResponse, ProfileError>;
}

/// Who is asked.
pub(crate) enum Whom {
    Node(NodeId, String),
    Own,
}

/// The node of a name or id, or this process.
pub(crate) fn whom(core: &Core, wanted: &str) -> Result<Whom, AdminError> {
    match member(&core.view(), wanted) {
        Ok(node) => Ok(Whom::Node(node.node, node.name.clone())),
        Err(AdminError::NoNode(_)) if wanted == core.name => Ok(Whom::Own),
        Err(error) => Err(error),
    }
}

/// Says what a process logs.
pub(crate) async fn log_level(
    core: &Core,
    request: v1::GetLogLevelRequest,
) -> Result<v1::GetLogLevelResponse, AdminError> {
    let level = ask(core, &request.node, None).await?;
    Ok(v1::GetLogLevelResponse { level: Some(level) })
}

/// Changes what a process logs.
pub(crate) async fn set_log_level(
    core: &Core,
    request: v1::SetLogLevelRequest,
) -> Result<v1::SetLogLevelResponse, AdminError> {
    refuse_wrong(&request)?;
    let node = request.node.clone();
    let level = ask(core, &node, Some(request)).await?;
    tracing::info!(target: "admin", name = %level.name, filter = %level.filter, "log level set");
    Ok(v1::SetLogLevelResponse { level: Some(level) })
}

fn refuse_wrong(request: &v1::SetLogLevelRequest) -> Result<(), InvalidField> {
    let bytes = request.filter.len();
    if bytes > FILTER_BYTES_MAX {
        return Err(InvalidField::TooLong {
            field: "filter",
            bytes,
            max: FILTER_BYTES_MAX,
        });
    }
    if request.for_ms > FOR_MS_MAX {
        return Err(InvalidField::Wrong {
            field: "for_ms",
            rule: "a day is the most",
        });
    }
    if request.reset && (bytes > 0 || request.for_ms > 0) {
        return Err(InvalidField::Wrong {
            field: "reset",
            rule: "it goes with neither filter nor for_ms",
        });
    }
    Ok(())
}

async fn ask(
    core: &Core,
    wanted: &str,
    change: Option<v1::SetLogLevelRequest>,
) -> Result<v1::LogLevel, AdminError> {
    let (name, said) = match whom(core, wanted)? {
        Whom::Own => (core.name.clone(), core.process.log_level(change)),
        Whom::Node(node, name) => {
            let asked = core.nodes.log_level(node, change, ANSWER_WITHIN);
            (name, asked.await)
        }
    };
    match said {
        Ok(level) => Ok(v1::LogLevel { name, ..level }),
        Err(LogLevelError::Refused(why)) => Err(AdminError::Filter(why)),
        Err(LogLevelError::Silent(why)) => Err(AdminError::NotInspected {
            name,
            error: InspectError(why),
        }),
    }
}

/// Says what a process spends processor time with.
pub(crate) async fn profile_cpu(
    core: &Core,
    request: v1::ProfileCpuRequest,
) -> Result<v1::ProfileCpuResponse, AdminError> {
    if !(1..=PROFILE_S_MAX).contains(&request.seconds) {
        return Err(AdminError::Invalid(InvalidField::Wrong {
            field: "seconds",
            rule: "1 to 60 are possible",
        }));
    }
    tracing::info!(target: "admin", node = %request.node, seconds = request.seconds, "processor time is profiled");
    let time = Duration::from_secs(u64::from(request.seconds));
    let (name, profile) = profile(core, &request.node, Some(time)).await?;
    Ok(v1::ProfileCpuResponse {
        name,
        profile: profile.cpu,
    })
}

/// Says what a process uses its memory for.
pub(crate) async fn memory(
    core: &Core,
    request: v1::GetMemoryRequest,
) -> Result<v1::GetMemoryResponse, AdminError> {
    let (name, profile) = profile(core, &request.node, None).await?;
    let memory = profile.memory;
    Ok(v1::GetMemoryResponse { name, memory })
}

async fn profile(
    core: &Core,
    wanted: &str,
    cpu: Option<Duration>,
) -> Result<(String, wire::ProfileResponse), AdminError> {
    let (name, said) = match whom(core, wanted)? {
        Whom::Own => (core.name.clone(), core.process.profile(cpu).await),
        Whom::Node(node, name) => (name, core.nodes.profile(node, cpu).await),
    };
    match said {
        Ok(profile) => Ok((name, profile)),
        Err(ProfileError::Busy(why)) => Err(AdminError::Profiled { name, why }),
        Err(ProfileError::Failed(why)) => Err(AdminError::NotInspected {
            name,
            error: InspectError(why),
        }),
    }
}
