//! What operators see and change of the work in the background: scrubs, garbage, single drives.

mod drives;
mod garbage;
mod repair;
mod scrub;

use std::time::Duration;

use futures::future::join_all;
use marram_meta::{
    ClusterView, DriveCommand, NodeRecord, NodeState, Pausable, RootCommand, WORK_PAUSES_SINCE,
};
use marram_proto::mesh::v1 as mesh;
use marram_proto::v1;

use crate::admin::{AdminError, decide, until_seen};
use crate::core::Core;
use crate::validate::InvalidField;

pub(crate) use drives::{
    list as list_drives, remove as remove_drive, set_duty as set_drive_duty, to_wire as drive_duty,
};
pub(crate) use garbage::get as garbage;
pub(crate) use repair::{get as repair, start as start_repair};
pub(crate) use scrub::{get as scrub, start as start_scrub};

/// How long a node may take to say how far it is.
const UPKEEP_TIME: Duration = Duration::from_secs(3);
/// How long it may take to begin passes on all of its drives.
const START_TIME: Duration = Duration::from_secs(10);
/// How long an answer waits for nodes to take a decision over.
const TAKEN_WITHIN: Duration = Duration::from_secs(5);

/// The members, by id.
fn members(view: &ClusterView) -> impl Iterator<Item = &NodeRecord> {
    let nodes = view.nodes.values();
    nodes.filter(|node| node.state == NodeState::Active)
}

/// What a node said, if it did.
type Said<'v> = (&'v NodeRecord, Option<mesh::UpkeepResponse>);

/// Asks nodes how far they are, and to begin passes of the scrub where that is wished.
async fn ask<'v>(
    core: &Core,
    nodes: impl Iterator<Item = &'v NodeRecord>,
    start_scrub: bool,
) -> Vec<Said<'v>> {
    let within = if start_scrub { START_TIME } else { UPKEEP_TIME };
    let asked = nodes.map(|node| async move {
        if !core.drives.is_up(node.node) {
            return (node, None);
        }
        let said = core.drives.upkeep(node.node, start_scrub, within).await;
        (node, said.ok())
    });
    join_all(asked).await
}

/// Names of nodes that answer and act by an older decision about pausing than this view.
fn behind(view: &ClusterView, said: &[Said<'_>]) -> Vec<String> {
    let wanted = |work| view.upkeep.paused(work).is_some();
    let lags = |said: &mesh::UpkeepResponse| {
        said.garbage_paused != wanted(Pausable::Garbage)
            || said.scrub_paused != wanted(Pausable::Scrub)
            || said.repair_paused != wanted(Pausable::Repair)
            || said.moves_paused != wanted(Pausable::Moves)
    };
    let behind = said.iter().filter_map(|(node, said)| {
        let said = said.as_ref()?;
        lags(said).then(|| node.name.clone())
    });
    behind.collect()
}

/// Pauses work in the whole cluster, or lets it go on.
pub(crate) async fn set_paused(
    core: &Core,
    request: v1::SetPausedRequest,
) -> Result<v1::SetPausedResponse, AdminError> {
    let work = match request.work() {
        v1::PausableWork::Garbage => Pausable::Garbage,
        v1::PausableWork::Scrub => Pausable::Scrub,
        v1::PausableWork::Repair => Pausable::Repair,
        v1::PausableWork::Moves => Pausable::Moves,
        v1::PausableWork::Unspecified => {
            return Err(InvalidField::Wrong {
                field: "work",
                rule: "it must be garbage collection, the scrub, repairs or moves",
            }
            .into());
        }
    };
    let paused = request.paused;
    if work.is_newer() {
        core.pass_gate(WORK_PAUSES_SINCE)?;
    }
    let before = core.fresh_view().await?.upkeep.paused(work).is_some();
    let command = DriveCommand::SetPaused { work, paused };
    decide(core, "the cluster", &RootCommand::Drives(command)).await?;
    let is_so = |view: &ClusterView| view.upkeep.paused(work).is_some() == paused;
    until_seen(core, is_so).await;
    let deadline = tokio::time::Instant::now() + TAKEN_WITHIN;
    let (view, behind) = loop {
        let view = core.fresh_view().await?;
        let said = ask(core, members(&view), false).await;
        let behind = behind(&view, &said);
        if behind.is_empty() || tokio::time::Instant::now() >= deadline {
            break (view, behind);
        }
        core.wait_for_view().await;
    };
    tracing::info!(target: "admin", ?work, paused, "work in the background");
    Ok(v1::SetPausedResponse {
        paused_since_ms: view.upkeep.paused(work),
        unchanged: before == paused,
        behind,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use marram_meta::{NodeDuty, UpkeepRecord};
    use marram_types::NodeId;

    fn node(number: u64) -> NodeRecord {
        NodeRecord {
            node: NodeId(number),
            name: format!("node-{number}"),
            mesh_addr: String::new(),
            api_addr: String::new(),
            public_key: [0; 32],
            zone: String::new(),
            drives: Vec::new(),
            replica: None,
            replicas_past: Vec::new(),
            state: NodeState::Active,
            duty: NodeDuty::Serving,
            absence: marram_meta::Absence::default(),
        }
    }

    #[test]
    fn who_acts_by_an_older_decision_is_named() {
        let nodes = [node(1), node(2), node(3)];
        let says = |garbage_paused| {
            Some(mesh::UpkeepResponse {
                garbage_paused,
                ..mesh::UpkeepResponse::default()
            })
        };
        let said = [
            (&nodes[0], says(true)),
            (&nodes[1], says(false)),
            (&nodes[2], None),
        ];
        let mut view = ClusterView::default();
        assert_eq!(behind(&view, &said), ["node-1"]);
        view.upkeep = UpkeepRecord {
            garbage_paused_ms: Some(5),
            ..UpkeepRecord::default()
        };
        assert_eq!(
            behind(&view, &said),
            ["node-2"],
            "who is away does not count"
        );
    }
}
