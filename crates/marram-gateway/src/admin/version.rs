//! The version gate (rules.md 9).

use marram_meta::{
    COMMAND_VERSION, ClusterView, NodeDuty, NodeState, Refusal, RootCommand, RootOutcome,
};
use marram_proto::v1;
use marram_types::GroupId;

use crate::admin::AdminError;
use crate::core::Core;
use crate::groups::GroupError;

/// Lets the cluster use what this release knows, when all members do.
pub(crate) async fn finalize(core: &Core) -> Result<v1::FinalizeVersionResponse, AdminError> {
    let view = core.fresh_view().await?;
    let before = view.cluster.as_ref().ok_or(AdminError::NotReady)?.version;
    let version = COMMAND_VERSION;
    let answer = v1::FinalizeVersionResponse {
        version: u32::from(version.max(before)),
        before: u32::from(before),
    };
    let behind = behind(&view, version);
    if !behind.is_empty() {
        return Err(AdminError::TooOld { version, behind });
    }
    match core
        .root_decision(&RootCommand::FinalizeVersion { version })
        .await?
    {
        RootOutcome::Done => {
            tracing::info!(target: "admin", before, version, "the cluster's version was raised");
            Ok(answer)
        }
        RootOutcome::Refused(Refusal::VersionNotHigher { .. }) => Ok(answer),
        RootOutcome::Refused(refusal) => Err(AdminError::Refused {
            name: "the cluster".to_owned(),
            refusal,
        }),
        _ => Err(GroupError::Kind(GroupId::ROOT).into()),
    }
}

/// Members that do not know a version, with what they know, for people.
fn behind(view: &ClusterView, version: u8) -> Vec<String> {
    let members = view.nodes.values();
    members
        .filter(|node| node.state == NodeState::Active && node.duty != NodeDuty::Fenced)
        .filter_map(|node| {
            let name = &node.name;
            match view.versions.get(&node.node) {
                Some(known) if *known >= version => None,
                Some(known) => Some(format!("{name} knows {known}")),
                None => Some(format!("{name} has not said what it knows")),
            }
        })
        .collect()
}
