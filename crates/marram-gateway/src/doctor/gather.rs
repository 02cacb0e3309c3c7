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
use crate::upkeep;

/// How long a node may take to say what its machine is like.
const MACHINE_TIME: Duration = Duration::from_secs(4);
/// Nodes that are asked at once.
const NODES_AT_ONCE: usize = 32;

/// Learns what there is to know. What does not answer in time is left out and told of.
pub(crate) async fn gather(core: &Core) -> Result<Facts, BucketError> {
    let nodes = inspect_all(core);
    let status = cluster_status::get(core);
    let (status, nodes, scrub, garbage) =
        tokio::join!(status, nodes, upkeep::scrub(core), upkeep::garbage(core));
    Ok(Facts {
        now_ms: (core.now_ms)(),
        status: status?,
        view: core.view(),
        nodes,
        scrub: scrub.ok().and_then(|answer| answer.scrub),
        garbage: garbage.ok(),
    })
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
