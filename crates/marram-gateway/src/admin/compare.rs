//! What the metadata wants on the drives beside what is on them, both ways.
//!
//! A picture of a cluster at rest: what is written or moved meanwhile is seen by one side and not by the
//! other. Everything is held in memory, so it has a limit.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};
use marram_meta::{
    ClusterView, LiveExtent, NodeState, ObjectAnswer, ObjectQuery, Reference, RowsAnswer,
};
use marram_placement::PgRow;
use marram_proto::v1;
use marram_types::caps::LIST_PAGE_MAX;
use marram_types::{DataId, DriveId, GroupId, NodeId, PgId, ShardId};

use super::AdminError;
use crate::core::Core;
use crate::drives::Place;
use crate::groups::GroupError;

/// Shards that are compared at most, of each side.
const SHARDS_MAX: usize = 4_000_000;
/// Differences that an answer lists.
const DIFFERENCES_MAX: usize = 1000;
/// Placement groups that are asked for at once.
const ASKED_AT_ONCE: usize = 32;
/// Data ids in one question to a group.
const REFERENCES_MAX: usize = 256;
/// Shards in one page of a drive.
const PAGE: u32 = 1000;
/// How long a node may take for one page.
const PAGE_TIME: Duration = Duration::from_secs(10);

/// A shard at a place.
type At = (DriveId, PgId, ShardId);

/// Compares both sides.
pub(crate) async fn compare(core: &Core) -> Result<v1::CompareShardsResponse, AdminError> {
    let view = core.fresh_view().await?;
    // The drives first: what is written after that is wanted and not seen, which is told; the other
    // way round a shard that is deleted meanwhile would be.
    let (held, silent) = held(core, &view).await?;
    let wanted = wanted(core, &view, &silent).await?;
    let lacking: Vec<At> = wanted.difference(&held).copied().collect();
    let over: Vec<At> = held.difference(&wanted).copied().collect();
    let extra = unexplained(core, &over).await?;
    let nodes = homes(&view);
    let differences = lacking.iter().map(|at| (true, at));
    let differences = differences.chain(extra.iter().map(|at| (false, at)));
    let told = |(lacks, at): (bool, &At)| {
        let (drive, pg, shard) = *at;
        v1::ShardDifference {
            lacks,
            drive_id: drive.0,
            node_id: nodes.get(&drive).map_or(0, |node| node.0),
            pool: u32::from(pg.pool.0),
            placement_group: u32::from(pg.index),
            shard: shard.to_string(),
        }
    };
    Ok(v1::CompareShardsResponse {
        wanted: wanted.len() as u64,
        held: held.len() as u64,
        lacking: lacking.len() as u64,
        extra: extra.len() as u64,
        waiting: (over.len() - extra.len()) as u64,
        differences: differences.take(DIFFERENCES_MAX).map(told).collect(),
        silent_node_ids: silent.iter().map(|node| node.0).collect(),
    })
}

fn homes(view: &ClusterView) -> BTreeMap<DriveId, NodeId> {
    let nodes = view.nodes.values();
    let drives = nodes.flat_map(|node| node.drives.iter().map(|d| (d.drive, node.node)));
    drives.collect()
}

/// What the drives hold, and the nodes that did not say.
async fn held(
    core: &Core,
    view: &ClusterView,
) -> Result<(BTreeSet<At>, BTreeSet<NodeId>), AdminError> {
    let mut held = BTreeSet::new();
    let mut silent = BTreeSet::new();
    let members = view
        .nodes
        .values()
        .filter(|node| node.state == NodeState::Active);
    for node in members {
        let kept = node.present_drives().filter(|own| !own.duty.is_gone());
        for own in kept {
            let place = Place {
                node: node.node,
                drive: own.drive,
            };
            let mut after = None;
            loop {
                let Ok(page) = core.drives.list(place, after, PAGE, PAGE_TIME).await else {
                    silent.insert(node.node);
                    break;
                };
                after = page.last().map(|(shard, _)| *shard);
                let full = page.len() >= PAGE as usize;
                held.extend(page.into_iter().map(|(shard, pg)| (own.drive, pg, shard)));
                within_limit(held.len())?;
                if !full {
                    break;
                }
            }
        }
    }
    let nodes = homes(view);
    held.retain(|(drive, ..)| nodes.get(drive).is_none_or(|node| !silent.contains(node)));
    Ok((held, silent))
}

fn within_limit(shards: usize) -> Result<(), AdminError> {
    if shards > SHARDS_MAX {
        return Err(AdminError::TooManyShards(SHARDS_MAX));
    }
    Ok(())
}

/// What the groups want on the drives of the nodes that are not silent.
async fn wanted(
    core: &Core,
    view: &ClusterView,
    silent: &BTreeSet<NodeId>,
) -> Result<BTreeSet<At>, AdminError> {
    let nodes = homes(view);
    let counts = |drive: &DriveId| nodes.get(drive).is_some_and(|node| !silent.contains(node));
    let groups = view.groups.keys().copied().filter(|g| *g != GroupId::ROOT);
    let pgs: Vec<PgId> = view
        .pools
        .values()
        .flat_map(|table| {
            (0..=u16::MAX)
                .zip(&table.rows)
                .map(|(index, _)| table.pg(index))
        })
        .collect();
    let asked: Vec<(GroupId, PgId)> = groups
        .flat_map(|group| pgs.iter().map(move |pg| (group, *pg)))
        .collect();
    let mut pages = stream::iter(asked)
        .map(|(group, pg)| rows_of(core, group, pg))
        .buffer_unordered(ASKED_AT_ONCE);
    let mut wanted = BTreeSet::new();
    while let Some(of_pg) = pages.try_next().await? {
        wanted.extend(of_pg.into_iter().filter(|(drive, ..)| counts(drive)));
        within_limit(wanted.len())?;
    }
    Ok(wanted)
}

/// What one group wants of one placement group.
async fn rows_of(core: &Core, group: GroupId, pg: PgId) -> Result<Vec<At>, AdminError> {
    let mut wanted = Vec::new();
    let mut after: Option<DataId> = None;
    loop {
        let query = ObjectQuery::Rows {
            pg,
            after,
            limit: LIST_PAGE_MAX,
        };
        let ObjectAnswer::Rows(page) = core.ask(group, &query, true).await? else {
            return Err(GroupError::Kind(group).into());
        };
        let RowsAnswer {
            row, extents, more, ..
        } = page;
        after = extents.last().map(|live| live.extent.data);
        if let Some(row) = &row {
            extents.iter().for_each(|live| add(&mut wanted, row, live));
        }
        if !more || after.is_none() {
            return Ok(wanted);
        }
    }
}

/// Each shard where readers look for it, and where the layout wants it unless a ticket names its place.
fn add(wanted: &mut Vec<At>, row: &PgRow, live: &LiveExtent) {
    let extent = &live.extent;
    for (shard, slot) in extent.shards() {
        let id = ShardId {
            data: extent.data,
            slot: shard,
            repair: 0,
        };
        let places: Vec<DriveId> = match extent.override_of(shard) {
            Some(place) => vec![place],
            None => row
                .must_hold(slot)
                .map_or_else(Vec::new, |p| p.iter().collect()),
        };
        wanted.extend(places.into_iter().map(|drive| (drive, extent.pg, id)));
    }
}

/// Those that nothing explains: neither the garbage queue nor a write that may still be committed.
async fn unexplained(core: &Core, over: &[At]) -> Result<Vec<At>, AdminError> {
    let mut by_group: BTreeMap<GroupId, BTreeSet<(PgId, DataId)>> = BTreeMap::new();
    for (_, pg, shard) in over {
        let of_group = by_group.entry(shard.data.group).or_default();
        of_group.insert((*pg, shard.data));
    }
    let mut explained: BTreeSet<(PgId, DataId)> = BTreeSet::new();
    for (group, pairs) in by_group {
        let ObjectAnswer::Status(counters) = core.ask(group, &ObjectQuery::Status, true).await?
        else {
            return Err(GroupError::Kind(group).into());
        };
        let pairs: Vec<_> = pairs.into_iter().collect();
        for some in pairs.chunks(REFERENCES_MAX) {
            let query = ObjectQuery::References(some.to_vec());
            let ObjectAnswer::References(found) = core.ask(group, &query, true).await? else {
                return Err(GroupError::Kind(group).into());
            };
            let waits = |(pair, found): &(&(PgId, DataId), Reference)| match found {
                Reference::Displaced => true,
                Reference::Unreferenced => pair.1.begin >= counters.gc_floor,
                Reference::Live { .. } => false,
            };
            explained.extend(some.iter().zip(found).filter(waits).map(|(pair, _)| *pair));
        }
    }
    let extra = over.iter().copied();
    let extra = extra.filter(|(_, pg, shard)| !explained.contains(&(*pg, shard.data)));
    Ok(extra.collect())
}
