//! A node that joined after the state was taken from which the cluster began anew: it joins once more by
//! a token, as the node that it was. Its drives keep their ids, which name the shards on them, and the
//! scans bring home what the restored metadata wants elsewhere (decision 0078).
//!
//! Its replica is past like every other one: what it had is set aside, and the fresh one is named last, so
//! a start that was interrupted is begun again with the same command.

use anyhow::{Context, Result, bail, ensure};
use marram_gateway::Kek;
use marram_types::config::ServerConfig;
use marram_types::{NodeId, ReplicaId};
use tokio::runtime::Handle;

use super::super::founder::Asking;
use super::super::invitation::Invitation;
use super::super::newcomer::{Answer, Asks, Returning, ask_until_admitted};
use super::super::node::{Node, check_key, describe, open, open_log, settle};
use super::super::observe::Readiness;
use super::super::own::Own;
use super::super::storage::Storage;

/// Asks to be admitted as `node` with its drives, and goes on with a fresh replica.
pub(in super::super) async fn adopt(
    config: &ServerConfig,
    kek: &Kek,
    storage: &mut Storage,
    raft: &Handle,
    ((node, replica), readiness): ((NodeId, ReplicaId), &Readiness),
) -> Result<(Node, Own)> {
    ensure!(
        !config.join.is_empty(),
        "a node that returns joins a cluster: name servers of it with --join"
    );
    let invitation = Invitation::of(
        config.token.as_ref(),
        config.token_file.as_ref(),
        config.await_token,
    )?;
    let mut own = Own::load_or_make(storage.own_file())?;
    let (drives, offered) = storage.returning(config.drive_capacity)?;
    let mut join = describe(config, storage, own.key())?;
    join.drives = offered;
    if let Ok(known) = own.identity()
        && join.name.is_empty()
    {
        join.name = known.certificate().name.to_string();
    }
    let returning = Returning {
        cluster: storage.cluster().context("the drives have no cluster")?,
        node,
        drives: drives.clone(),
    };
    let asks = Asks::Returning(join.to_bytes(), returning);
    // Nobody asks a node with drives to found a cluster.
    let mut nobody = Asking::never();
    let reporting = (readiness, &mut nobody);
    let asking = ask_until_admitted(&config.join, kek, &mut own, invitation, asks, reporting);
    let Answer::Admitted(admitted) = asking.await? else {
        bail!("a node that returns was asked to found a cluster");
    };
    let given = admitted.node.context("the answer names no node")?;
    // The folders may be named in another order than that of the drives' ordinals.
    let are_known = drives.iter().all(|drive| given.drives.contains(drive));
    ensure!(
        given.node == node && are_known,
        "the cluster knows this node as {} with other drives: nothing on them was changed",
        given.node
    );
    check_key(kek, &admitted.view)?;
    let aside = storage.set_metadata_aside(replica)?;
    storage.give_replica(given.replica)?;
    drop(open_log(storage)?);
    tracing::warn!(
        %node, past = %replica, fresh = %given.replica,
        aside = aside.map(|path| path.display().to_string()),
        "this node returns with its drives; what its replica had is set aside and may be deleted once \
         the cluster is healthy"
    );
    let mesh = own.mesh(Some(raft.clone()))?;
    let running = open(storage, &mesh, given.replica, raft, Some(admitted.view)).await?;
    settle(&mesh, node);
    Ok((running, own))
}
