//! A node that was away, or died just after it joined, may know none of the peers that would bring it
//! up to date, and a peer that it does not know may not speak to it. It asks the servers that it was
//! told of for their view until it follows a leader.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use marram_mesh::{Mesh, RootView};
use marram_meta::ClusterView;
use marram_proto::mesh::v1 as wire;
use marram_raft::RaftHost;
use marram_types::GroupId;
use tokio::sync::watch;

use super::{addresses, view};

/// How long to wait for the root group's leader before asking, and between rounds.
const PAUSE: Duration = Duration::from_secs(1);
/// Rounds between two lines in the log.
const ROUNDS_PER_LINE: u32 = 60;
/// How long one server may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// Runs until this server follows a leader of the root group.
pub(super) async fn catch_up(
    host: Arc<RaftHost>,
    mesh: Mesh,
    servers: Vec<String>,
    sender: watch::Sender<Arc<ClusterView>>,
) {
    for round in 0_u32.. {
        tokio::time::sleep(PAUSE).await;
        if host.leader(GroupId::ROOT).is_some() {
            return;
        }
        if round % ROUNDS_PER_LINE == 1 {
            warn_if_past(&host, &mesh, &sender.borrow());
        }
        let (addresses, _) = addresses::resolve(&servers).await;
        for server in &addresses {
            if let Err(error) = ask(&mesh, server, &sender).await {
                tracing::debug!(
                    server,
                    error = format!("{error:#}"),
                    "no view from this server"
                );
            }
        }
    }
}

/// A cluster that began anew while this server was away goes on without its replica.
fn warn_if_past(host: &RaftHost, mesh: &Mesh, view: &ClusterView) {
    let record = mesh.node().and_then(|node| view.nodes.get(&node));
    let replica = host.replica();
    if record.is_some_and(|record| record.replicas_past.contains(&replica)) {
        tracing::warn!(
            %replica,
            "the cluster goes on without this replica, which is past: it began anew from a backup, or \
             this drive is an old copy. Start this server with --give-up-metadata to let it come back"
        );
    }
}

async fn ask(mesh: &Mesh, server: &str, sender: &watch::Sender<Arc<ClusterView>>) -> Result<()> {
    let known_index = sender.borrow().index;
    let request = wire::RootViewRequest {
        known_index,
        wait_ms: 0,
        note: None,
    };
    let (answer, _) = mesh
        .call_addr::<RootView>(server, request, Bytes::new(), ANSWER_WITHIN)
        .await?;
    if answer.view.is_empty() {
        return Ok(());
    }
    let new = ClusterView::decode(&answer.view).context("the view cannot be read")?;
    if new.index > sender.borrow().index {
        view::publish(mesh, sender, new);
    }
    Ok(())
}
