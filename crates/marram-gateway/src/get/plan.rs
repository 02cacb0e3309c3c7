//! Where the bytes of a range are, for a client that fetches them from the nodes itself
//! (rules.md 31).

use std::collections::HashMap;
use std::ops::Range;

use marram_erasure::Geometry;
use marram_meta::{Body, Extent, VersionRow};
use marram_object::Health;
use marram_proto::v1;
use marram_types::caps::MIB;
use marram_types::{NodeId, ShardId};

use super::{GetError, fetch};
use crate::auth::Caller;
use crate::core::Core;
use crate::places::Places;
use crate::ticket::{self, Issuer};

/// Reads from this size on are worth a plan: below it the detour costs more than the bytes.
const PLAN_BYTES_MIN: u64 = 8 * MIB as u64;
/// Extents in one plan; the client asks for the rest when it is there.
const PLAN_EXTENTS_MAX: usize = 16;

/// Whether a client that can read from the nodes should.
pub(super) fn pays(row: &VersionRow, range: &Range<u64>) -> bool {
    matches!(row.body, Body::Extents(_)) && range.end - range.start >= PLAN_BYTES_MIN
}

/// The nodes of a plan, each once.
#[derive(Default)]
struct Nodes {
    index: HashMap<NodeId, u32>,
    list: Vec<v1::PlanNode>,
}

/// The plan of a range, or of its first part.
pub(super) fn make(
    core: &Core,
    caller: &Caller,
    row: &VersionRow,
    range: &Range<u64>,
) -> Result<v1::ReadPlan, GetError> {
    let Body::Extents(extents) = &row.body else {
        return Err(GetError::InlineMissing);
    };
    let places = core.places();
    let issuer = Issuer::new(&core.kek, caller, (core.now_ms)());
    let mut nodes = Nodes::default();
    let mut planned = Vec::new();
    let mut start = 0;
    for extent in extents {
        let end = start + extent.length;
        if end > range.start && start < range.end && planned.len() < PLAN_EXTENTS_MAX {
            let wanted = range.start.max(start) - start..range.end.min(end) - start;
            let bytes = shard_bytes(extent, &wanted)?;
            let shards = (0..u8::try_from(extent.profile.width()).expect("at most 40 shards"))
                .map(|shard| plan_shard(core, &places, extent, shard, &bytes, &issuer, &mut nodes))
                .collect();
            planned.push(v1::PlanExtent {
                offset: start,
                length: extent.length,
                k: u32::try_from(extent.profile.k()).expect("at most 32"),
                m: u32::try_from(extent.profile.m()).expect("at most 8"),
                cell: extent.cell,
                shards,
            });
        }
        start = end;
    }
    Ok(v1::ReadPlan {
        nodes: nodes.list,
        extents: planned,
        valid_ms: u32::try_from(ticket::LIFETIME_MS).expect("half a minute"),
    })
}

/// The bytes of every shard that a range of the extent may need: those of its stripes.
fn shard_bytes(extent: &Extent, wanted: &Range<u64>) -> Result<Range<u64>, GetError> {
    let geometry = Geometry::with_cell(extent.profile, extent.cell, extent.length)?;
    let first = wanted.start / geometry.stripe_bytes();
    let last = wanted.end.saturating_sub(1) / geometry.stripe_bytes();
    Ok(geometry.shard_range(first).start..geometry.shard_range(last).end)
}

fn plan_shard(
    core: &Core,
    places: &Places,
    extent: &Extent,
    shard: u8,
    bytes: &Range<u64>,
    issuer: &Issuer<'_>,
    nodes: &mut Nodes,
) -> v1::PlanShard {
    let lost = extent.missing >> shard & 1 == 1;
    let place = places.shard(extent, shard).filter(|_| !lost);
    let view = core.view();
    let Some((place, node)) = place.and_then(|p| Some((p, view.nodes.get(&p.node)?))) else {
        return v1::PlanShard::default();
    };
    let index = *nodes.index.entry(place.node).or_insert_with(|| {
        nodes.list.push(v1::PlanNode {
            api_address: node.api_addr.clone(),
            away: fetch::health(core, places, extent, shard) >= Health::Poor,
        });
        u32::try_from(nodes.list.len() - 1).expect("some hundreds at most")
    });
    let shard = ShardId {
        data: extent.data,
        slot: shard,
        repair: 0,
    };
    v1::PlanShard {
        node: Some(index),
        ticket: issuer.issue(place.drive, shard, bytes.clone()).into(),
    }
}
