//! Joining a cluster: ask until admitted, write down who one is, begin to follow.

use anyhow::{Context, Result};
use marram_gateway::Kek;
use marram_types::ClusterId;
use marram_types::config::ServerConfig;
use tokio::runtime::Handle;

use super::super::invitation::Invitation;
use super::super::newcomer::{self, Admitted, AskError, Asks};
use super::super::observe::Readiness;
use super::super::own::Own;
use super::super::storage::Storage;
use super::{Node, check_key, describe, open, open_log, settle};

pub(super) async fn join(
    config: &ServerConfig,
    kek: &Kek,
    storage: &mut Storage,
    raft: &Handle,
    readiness: &Readiness,
) -> Result<(Node, Own)> {
    let mut invitation = Invitation::of(config)?;
    // The key is durable before anybody hears of it: a start that is interrupted goes on as the same.
    let mut own = Own::load_or_make(storage.own_file())?;
    let description = describe(config, storage, own.key())?.to_bytes();
    let asks = (description, storage.cluster());
    let admitted = admitted(config, kek, &mut own, &mut invitation, asks, readiness).await?;
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

/// Asks until admitted; a refusal ends it only where no other token can come.
async fn admitted(
    config: &ServerConfig,
    kek: &Kek,
    own: &mut Own,
    invitation: &mut Invitation,
    (description, cluster): (Vec<u8>, Option<ClusterId>),
    readiness: &Readiness,
) -> Result<Admitted> {
    loop {
        let token = invitation.token(readiness).await?;
        let asks = Asks::Node(description.clone(), cluster);
        match newcomer::ask(&config.join, &token, kek, own, asks, readiness).await {
            Ok(admitted) => return Ok(admitted),
            Err(error @ (AskError::Refused { .. } | AskError::OtherAuthority(_)))
                if invitation.may_change() =>
            {
                tracing::warn!(%error, "not admitted; waiting for another token, or for the reason to go");
                readiness.joining(format!(
                    "{error}; waiting for another token, or for the reason to go"
                ));
                invitation.refused();
            }
            Err(error) => return Err(error.into()),
        }
    }
}
