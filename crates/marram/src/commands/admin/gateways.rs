//! Gateways without drives: no server knows an address of theirs, so they are asked where they were named.

use std::collections::BTreeSet;

use futures::StreamExt;
use futures::stream;
use marram_client::{Client, ClusterStatus};

use crate::commands::Context;
use crate::failure::Failure;

/// Endpoints that are asked at once.
const ENDPOINTS_AT_ONCE: usize = 8;

/// A gateway, and a way to nobody but it.
pub(super) struct Gateway {
    pub(super) name: String,
    pub(super) client: Client,
}

/// Those among the endpoints of this command that are gateways. What does not answer is none.
pub(super) async fn named(
    context: &Context<'_>,
    status: &ClusterStatus,
) -> Result<Vec<Gateway>, Failure> {
    let config = context.config()?;
    let mut clients = Vec::new();
    // Several may be in one text, separated by commas.
    let endpoints = config.endpoints.iter().flat_map(|text| text.split(','));
    for endpoint in endpoints.map(str::trim).filter(|one| !one.is_empty()) {
        let mut one = config.clone();
        one.endpoints = vec![endpoint.to_owned()];
        one.direct_reads = false;
        clients.push(Client::connect(one)?);
    }
    let asked = clients.into_iter().map(|client| async move {
        let said = client.cluster_status().await.ok()?;
        let name = said.answered_by;
        Some(Gateway { name, client })
    });
    let answered = stream::iter(asked).buffered(ENDPOINTS_AT_ONCE);
    let answered = answered.filter_map(async |one: Option<Gateway>| one);
    let mut gateways: Vec<Gateway> = answered.collect().await;
    let mut known: BTreeSet<String> = status.nodes.iter().map(|node| node.name.clone()).collect();
    gateways.retain(|gateway| known.insert(gateway.name.clone()));
    Ok(gateways)
}
