//! The scrubs of all drives.

use marram_meta::{ClusterView, NodeRecord, Pausable};
use marram_proto::mesh::v1 as mesh;
use marram_proto::v1;

use super::{Said, ask, members};
use crate::admin::{AdminError, member};
use crate::core::Core;

/// Says how far they are.
pub(crate) async fn get(core: &Core) -> Result<v1::GetScrubResponse, AdminError> {
    let view = core.fresh_view().await?;
    let said = ask(core, members(&view), false).await;
    Ok(v1::GetScrubResponse {
        scrub: Some(status(&view, said)),
    })
}

/// Has a pass begin on every drive that has none under way: of one node, or of all that answer.
pub(crate) async fn start(
    core: &Core,
    request: v1::StartScrubRequest,
) -> Result<v1::StartScrubResponse, AdminError> {
    let view = core.fresh_view().await?;
    let said = if request.node.is_empty() {
        ask(core, members(&view), true).await
    } else {
        let record = member(&view, &request.node)?;
        let said = ask(core, std::iter::once(record), true).await;
        if said.iter().any(|(_, said)| said.is_none()) {
            let name = record.name.clone();
            return Err(AdminError::Silent(name));
        }
        said
    };
    tracing::info!(target: "admin", node = request.node, "a pass of the scrub was asked for");
    Ok(v1::StartScrubResponse {
        scrub: Some(status(&view, said)),
    })
}

fn status(view: &ClusterView, said: Vec<Said<'_>>) -> v1::ScrubStatus {
    let mut status = v1::ScrubStatus {
        paused_since_ms: view.upkeep.paused(Pausable::Scrub),
        ..v1::ScrubStatus::default()
    };
    for (node, said) in said {
        let Some(said) = said else {
            status.away.push(node.name.clone());
            continue;
        };
        if let Some(scan) = said.scan {
            status.scans.push(v1::NodeScan {
                node_id: node.node.0,
                node: node.name.clone(),
                scans: scan.scans,
                shards: scan.shards,
                removed: scan.removed,
                cleaned: scan.cleaned,
                waiting: scan.waiting,
            });
        }
        let drives = said.drives.into_iter();
        status.drives.extend(drives.map(|scrub| v1::DriveScrub {
            every_s: said.scrub_every_s,
            ..drive(node, scrub)
        }));
        let compared = said.comparisons.into_iter().map(comparison);
        status.comparisons.extend(compared);
    }
    // Two nodes may think to have led a group; the later comparison counts.
    status.comparisons.sort_by_key(|c| (c.group, c.at_ms));
    status.comparisons.reverse();
    status.comparisons.dedup_by_key(|c| c.group);
    status.comparisons.reverse();
    status
}

fn findings(found: mesh::ScrubFindings) -> v1::ScrubFindings {
    v1::ScrubFindings {
        runs: found.runs,
        bytes: found.bytes,
        compared: found.compared,
        damaged: found.damaged,
        unreadable: found.unreadable,
        gone: found.gone,
        missing: found.missing,
        tickets: found.tickets,
        mended: found.mended,
    }
}

fn drive(node: &NodeRecord, scrub: mesh::DriveScrub) -> v1::DriveScrub {
    let read = scrub.found.as_ref().map_or(0, |found| found.bytes);
    let stage = match scrub.stage() {
        mesh::ScrubStage::Unspecified => v1::ScrubStage::Unspecified,
        mesh::ScrubStage::Resting => v1::ScrubStage::Resting,
        mesh::ScrubStage::Reading => v1::ScrubStage::Reading,
        mesh::ScrubStage::Comparing => v1::ScrubStage::Comparing,
    };
    let left = scrub.total_bytes.saturating_sub(read);
    let known = stage == v1::ScrubStage::Reading && scrub.bytes_per_s > 0;
    v1::DriveScrub {
        node_id: node.node.0,
        node: node.name.clone(),
        drive_id: scrub.drive,
        stage: stage.into(),
        since_ms: scrub.since_ms,
        found: scrub.found.map(findings),
        last: scrub.last.map(|pass| v1::FullScrub {
            began_ms: pass.began_ms,
            ended_ms: pass.ended_ms,
            found: pass.found.map(findings),
        }),
        total_bytes: scrub.total_bytes,
        bytes_per_s: scrub.bytes_per_s,
        seconds_left: known.then(|| left / scrub.bytes_per_s),
        stuck: scrub.stuck,
        ..v1::DriveScrub::default()
    }
}

fn comparison(compared: mesh::ReplicaComparison) -> v1::ReplicaComparison {
    v1::ReplicaComparison {
        group: compared.group,
        at_ms: compared.at_ms,
        index: compared.index,
        equal: compared.equal,
        different_node_ids: compared.different,
    }
}
