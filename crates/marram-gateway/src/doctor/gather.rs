//! Asks everything and everybody.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::StreamExt;
use futures::stream;
use marram_proto::v1;
use marram_types::NodeId;

use super::facts::{Facts, Told};
use crate::cluster_status;
use crate::core::{BucketError, Core};
use crate::{upkeep, versioning};

/// How long a node may take to say what its machine is like.
const MACHINE_TIME: Duration = Duration::from_secs(4);
/// Nodes that are asked at once.
const NODES_AT_ONCE: usize = 32;
/// Buckets with a quota that are looked at.
const QUOTAS_MAX: usize = 200;
/// Those at once.
const QUOTAS_AT_ONCE: usize = 8;

/// Learns what there is to know. What does not answer in time is left out and told of.
pub(crate) async fn gather(core: &Core) -> Result<Facts, BucketError> {
    let nodes = inspect_all(core);
    let status = cluster_status::get(core);
    let (status, nodes, scrub, garbage, quotas) = tokio::join!(
        status,
        nodes,
        upkeep::scrub(core),
        upkeep::garbage(core),
        quotas(core)
    );
    Ok(Facts {
        now_ms: (core.now_ms)(),
        status: status?,
        view: core.view(),
        nodes,
        scrub: scrub.ok().and_then(|answer| answer.scrub),
        garbage: garbage.ok(),
        quotas,
    })
}

/// What buckets with a quota hold; those that groups do not answer for are left out.
async fn quotas(core: &Core) -> Vec<(String, v1::GetBucketUsageResponse)> {
    let view = core.view();
    let with_quota = view.buckets.values().filter(|b| b.quota.is_some());
    let names: Vec<String> = with_quota
        .take(QUOTAS_MAX)
        .map(|record| record.name.to_string())
        .collect();
    let asked: Vec<_> = names.into_iter().map(|name| used(core, name)).collect();
    let told: Vec<Option<_>> = stream::iter(asked).buffered(QUOTAS_AT_ONCE).collect().await;
    told.into_iter().flatten().collect()
}

async fn used(core: &Core, bucket: String) -> Option<(String, v1::GetBucketUsageResponse)> {
    let request = v1::GetBucketUsageRequest {
        bucket: bucket.clone(),
    };
    let usage = versioning::usage(core, request).await.ok()?;
    Some((bucket, usage))
}

async fn inspect_all(core: &Core) -> BTreeMap<NodeId, Told> {
    let view = core.view();
    let members: Vec<NodeId> = cluster_status::members(&view)
        .map(|node| node.node)
        .collect();
    let asked = members
        .into_iter()
        .map(|node| async move { (node, inspect(core, node).await) });
    stream::iter(asked)
        .buffer_unordered(NODES_AT_ONCE)
        .collect()
        .await
}

async fn inspect(core: &Core, node: NodeId) -> Told {
    let asked = v1::InspectNodeRequest::default();
    let said = core.nodes.inspect(node, asked, MACHINE_TIME).await;
    Told {
        said: said.map_err(|error| error.to_string()),
    }
}
