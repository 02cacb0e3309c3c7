//! The removal of a node: a tombstone that every group is told of, then the proof that nothing names
//! the node and nothing is on it, then the end (rules.md 25).
//!
//! Asked in this order the answers stay true: a group that has applied the tombstone takes no commit
//! that rests on the node, and a node that is not there to take data takes no new shard. A removal
//! that is refused leaves the tombstone, which harms nobody while the node takes no data; a change
//! of its duty takes it back.

use std::time::{Duration, Instant};

use futures::future::try_join_all;
use marram_meta::{
    ClusterView, NamedAnswer, NodeDuty, NodeRecord, NodeState, ObjectAnswer, ObjectQuery,
    RootCommand,
};
use marram_proto::v1;
use marram_types::caps::LIST_PAGE_MAX;
use marram_types::{DriveId, GroupId};

use super::{AdminError, decide, find, until_seen};
use crate::core::Core;
use crate::groups::GroupError;
use crate::layout::Standing;

/// How long a node may take to say what its drives hold.
const REPORT_TIME: Duration = Duration::from_secs(5);
/// How long the groups may take to be told of a tombstone.
const TOLD_WITHIN: Duration = Duration::from_secs(10);
/// How often a group that was not told yet is asked again.
const ASK_EVERY: Duration = Duration::from_millis(100);
/// Pages of one group that are gone through for one removal: with more garbage and repair than
/// that waiting, nobody should remove a node.
const PAGES_MAX: usize = 10_000;

/// Removes a node for ever, when nothing is known to be on it.
pub(crate) async fn remove(
    core: &Core,
    request: v1::RemoveNodeRequest,
) -> Result<v1::RemoveNodeResponse, AdminError> {
    let view = core.fresh_view().await?;
    let record = find(&view, &request.node)?;
    let (node, name) = (record.node, record.name.clone());
    let answer = v1::RemoveNodeResponse {
        node_id: node.0,
        name: name.clone(),
    };
    if record.state == NodeState::Tombstoned {
        return Ok(answer);
    }
    let held = |why| AdminError::Held {
        name: name.clone(),
        why,
    };
    let accepted = request.allow_narrower || view.narrower.contains(&node);
    let too_few = || view.leaves_too_few(node, accepted);
    let refused = |refusal| AdminError::Refused {
        name: name.clone(),
        refusal,
    };
    // Of what stands against it, what the operator has to decide comes first.
    if record.duty == NodeDuty::Serving
        && let Some(refusal) = too_few()
    {
        return Err(refused(refusal));
    }
    if let Some(why) = held_by_root(&view, record) {
        return Err(held(why));
    }
    if record.keeps_data()
        && let Some(refusal) = too_few()
    {
        return Err(refused(refusal));
    }
    let if_epoch = request.if_epoch;
    decide(core, &name, &RootCommand::BuryNode { node, if_epoch }).await?;
    let view = core.fresh_view().await?;
    let tombstone = view.tombstones.get(&node).filter(|stone| stone.stands);
    let Some(tombstone) = tombstone.map(|stone| stone.epoch) else {
        return Err(held("somebody changed its duty meanwhile".to_owned()));
    };
    let drives: Vec<DriveId> = record.drives.iter().map(|drive| drive.drive).collect();
    let given_up = record.duty == NodeDuty::Fenced;
    if let Some(why) = held_by_groups(core, &view, &drives, (tombstone, given_up)).await? {
        return Err(held(why));
    }
    // What a fenced node has is given up.
    if record.duty != NodeDuty::Fenced
        && let Some(why) = held_by_drives(core, record).await
    {
        return Err(held(why));
    }
    decide(core, &name, &RootCommand::RemoveNode { node, tombstone }).await?;
    until_seen(core, |view| {
        let record = view.nodes.get(&node);
        record.is_none_or(|record| record.state == NodeState::Tombstoned)
    })
    .await;
    tracing::info!(target: "admin", node = node.0, %name, "node removed");
    Ok(answer)
}

/// What the root group's own records have against it, all of it: slots and votes.
fn held_by_root(view: &ClusterView, record: &NodeRecord) -> Option<String> {
    if record.duty == NodeDuty::Serving {
        return Some("it serves; drain it first, or fence it if it does not come back".to_owned());
    }
    let mut holds = Vec::new();
    let slots = Standing::slots(view).remove(&record.node).unwrap_or(0);
    if slots > 0 {
        holds.push(format!("holds {slots} slots of placement groups"));
    }
    let replicas: Vec<_> = record.replica.iter().chain(&record.replicas_past).collect();
    let votes = view
        .groups
        .values()
        .filter(|group| replicas.iter().any(|replica| group.names(**replica)));
    let votes = votes.count();
    if votes > 0 {
        holds.push(format!("votes in {votes} metadata groups"));
    }
    if holds.is_empty() {
        return None;
    }
    let then = match record.duty {
        NodeDuty::Cordoned => "drain it first",
        NodeDuty::Serving | NodeDuty::Draining | NodeDuty::Fenced => "they are being moved away",
    };
    Some(format!("it still {}; {then}", holds.join(" and ")))
}

/// What the groups know of drives, each asked after it has applied the tombstone of this epoch, if
/// there is one: before, a commit that names the node could follow the answer.
pub(crate) async fn held_by_groups(
    core: &Core,
    view: &ClusterView,
    drives: &[DriveId],
    (tombstone, given_up): (u64, bool),
) -> Result<Option<String>, AdminError> {
    let groups = view.cluster.as_ref().map_or(0, |c| c.object_groups);
    let until = Instant::now() + TOLD_WITHIN;
    let asked = (1..=groups).map(|group| ask(core, GroupId(group), drives, (tombstone, until)));
    let mut all = NamedAnswer::default();
    for (group, answer) in (1..=groups).zip(try_join_all(asked).await?) {
        let Some(named) = answer else {
            return Ok(Some(format!(
                "metadata group {group} was not told of it within {} s, or has more garbage and \
                 repairs than can be gone through; try again",
                TOLD_WITHIN.as_secs()
            )));
        };
        all.rows += named.rows;
        all.overrides += named.overrides;
        all.queued += named.queued;
    }
    if given_up {
        // Garbage on what was given up is nobody's any more.
        all.queued = 0;
    }
    let NamedAnswer {
        rows,
        overrides,
        queued,
        ..
    } = all;
    if rows + overrides + queued == 0 {
        return Ok(None);
    }
    Ok(Some(format!(
        "the metadata groups still name it: {rows} rows of the layout, {overrides} shards that lie \
         there against the layout, {queued} shards of replaced or deleted data; they are being \
         moved or cleaned away"
    )))
}

/// What one group knows of drives; none when it was not told in time.
async fn ask(
    core: &Core,
    group: GroupId,
    drives: &[DriveId],
    (tombstone, until): (u64, Instant),
) -> Result<Option<NamedAnswer>, AdminError> {
    let mut all = NamedAnswer::default();
    let mut pages = 0;
    while pages < PAGES_MAX {
        let query = ObjectQuery::Named {
            drives: drives.to_vec(),
            after: all.next.take(),
            limit: LIST_PAGE_MAX,
        };
        let ObjectAnswer::Named(page) = core.ask(group, &query, true).await? else {
            return Err(GroupError::Kind(group).into());
        };
        if page.tombstone < tombstone {
            if Instant::now() >= until {
                return Ok(None);
            }
            tokio::time::sleep(ASK_EVERY).await;
            // What was counted before may have changed.
            all = NamedAnswer::default();
            continue;
        }
        pages += 1;
        all.rows += page.rows;
        all.overrides += page.overrides;
        all.queued += page.queued;
        all.next = page.next;
        if all.next.is_none() {
            return Ok(Some(all));
        }
    }
    Ok(None)
}

/// What the node's drives say themselves: no record at all must be left. That counts the writes in
/// flight too: what they wrote are records that nobody refers to.
async fn held_by_drives(core: &Core, record: &NodeRecord) -> Option<String> {
    let away = "it does not answer, so nobody can say that its drives are empty; fence it if it \
                does not come back";
    let Ok(report) = core.drives.report(record.node, REPORT_TIME).await else {
        return Some(away.to_owned());
    };
    let mut bytes = 0;
    let held = record.present_drives();
    for own in held.filter(|drive| !drive.duty.is_gone()) {
        let drive = own.drive;
        match report.drives.iter().find(|report| report.drive == drive) {
            None => return Some(format!("its drive {drive} does not say what it holds")),
            Some(report) => bytes += report.record_bytes,
        }
    }
    (bytes > 0).then(|| {
        format!(
            "its drives still hold {bytes} bytes of records: shards that are being moved, data \
             that was replaced and still may have readers, or writes in flight"
        )
    })
}
