//! Joining a cluster: ask until admitted, write down who one is, begin to follow.

use anyhow::{Context, Result};
use marram_gateway::Kek;
use marram_types::config::ServerConfig;
use tokio::runtime::Handle;

use super::super::newcomer::{self, Asks};
use super::super::own::{Own, token};
use super::super::storage::Storage;
use super::{Node, check_key, describe, open, open_log, settle};

pub(super) async fn join(
    config: &ServerConfig,
    kek: &Kek,
    storage: &mut Storage,
    raft: &Handle,
) -> Result<(Node, Own)> {
    let token = token(config.token.as_ref(), config.token_file.as_ref())?;
    // The key is durable before anybody hears of it: a start that is interrupted goes on as the same.
    let mut own = Own::load_or_make(storage.own_file())?;
    let description = describe(config, storage, own.key())?.to_bytes();
    let asks = Asks::Node(description, storage.cluster());
    let admitted = newcomer::ask(&config.join, &token, kek, &mut own, asks).await?;
    let node = admitted.node.context("the answer names no node")?;
    let cluster = admitted.view.cluster.as_ref();
    let cluster = cluster.context("the answer names no cluster")?.cluster;
    check_key(kek, &admitted.view)?;
    if storage.cluster().is_none() {
        storage.belong_to(cluster, None)?;
    }
    // The log comes before the name: a named node without a log has lost it.
    drop(open_log(storage)?);
    storage.identify(Some(node.node), &node.drives, Some(node.replica))?;
    let mesh = own.mesh(Some(raft.clone()))?;
    let running = open(storage, &mesh, node.replica, raft, Some(admitted.view)).await?;
    settle(&mesh, node.node);
    Ok((running, own))
}
