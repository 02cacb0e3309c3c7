//! Joining a cluster: ask until admitted, write down who one is, begin to follow.

use anyhow::{Context, Result};
use marram_gateway::Kek;
use marram_maintain::fault_point;
use marram_types::config::ServerConfig;
use tokio::runtime::Handle;

use super::super::founder::{Asked, Asking};
use super::super::invitation::Invitation;
use super::super::newcomer::{Answer, Asks, ask_until_admitted};
use super::super::observe::Readiness;
use super::super::own::Own;
use super::super::storage::Storage;
use super::{Node, check_key, describe, open, open_log, settle};

/// What a newcomer found when it asked, or was asked meanwhile.
pub(super) enum Came {
    /// It is a member.
    Member(Box<(Node, Own)>),
    /// It is to found a cluster.
    Asked(Asked),
}

pub(super) async fn join(
    config: &ServerConfig,
    kek: &Kek,
    storage: &mut Storage,
    raft: &Handle,
    (readiness, asked): (&Readiness, &mut Asking),
) -> Result<Came> {
    let (token, file) = (config.token.as_ref(), config.token_file.as_ref());
    let invitation = Invitation::of(token, file, config.await_token)?;
    // The key is durable before anybody hears of it: a start that is interrupted goes on as the same.
    let mut own = Own::load_or_make(storage.own_file())?;
    fault_point("join.keyed");
    let description = describe(config, storage, own.key())?.to_bytes();
    let asks = Asks::Node(description, storage.cluster());
    let servers = &config.join;
    let asking = ask_until_admitted(servers, kek, &mut own, invitation, asks, (readiness, asked));
    let admitted = match asking.await? {
        Answer::Admitted(admitted) => admitted,
        Answer::Asked(asked) => return Ok(Came::Asked(asked)),
    };
    fault_point("join.certified");
    let node = admitted.node.context("the answer names no node")?;
    let cluster = admitted.view.cluster.as_ref();
    let cluster = cluster.context("the answer names no cluster")?.cluster;
    check_key(kek, &admitted.view)?;
    if storage.cluster().is_none() {
        storage.belong_to(cluster, None)?;
    }
    fault_point("join.marked");
    // The log comes before the name: a named node without a log has lost it.
    drop(open_log(storage)?);
    fault_point("join.logged");
    storage.identify(Some(node.node), &node.drives, Some(node.replica))?;
    fault_point("join.named");
    let mesh = own.mesh(Some(raft.clone()))?;
    let running = open(storage, &mesh, node.replica, raft, Some(admitted.view)).await?;
    settle(&mesh, node.node);
    fault_point("join.opened");
    Ok(Came::Member(Box::new((running, own))))
}
