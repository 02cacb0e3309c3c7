//! A node that was away, or died just after it joined, may know none of the peers that would bring it
//! up to date, and a peer that it does not know may not speak to it. While it hears of no leader, it asks
//! the servers that it was told of, and those that it knows, for their view.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use marram_mesh::{Mesh, RootView};
use marram_meta::{ClusterView, NodeState};
use marram_proto::mesh::v1 as wire;
use marram_raft::RaftHost;
use marram_types::GroupId;
use tokio::sync::watch;

use super::{addresses, view};

/// How long to wait for the root group's leader before asking, and between rounds.
const PAUSE: Duration = Duration::from_secs(1);
/// A leader that was not heard for so long may be kept from speaking to this node.
const LEADERLESS_AFTER: Duration = Duration::from_secs(10);
/// Servers that are asked in a round, at most: when a large cluster has no leader, all of it asks.
const ASKED_MAX: usize = 8;
/// Rounds between two lines in the log.
const ROUNDS_PER_LINE: u32 = 60;
/// How long one server may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// Runs until the process stops.
pub(super) async fn catch_up(
    host: Arc<RaftHost>,
    mesh: Mesh,
    servers: Vec<String>,
    sender: watch::Sender<Arc<ClusterView>>,
) {
    let mut round = 0_u32;
    loop {
        tokio::time::sleep(PAUSE).await;
        // Not the leader that the replica knows: that may be one of a former life, and the vote for it is
        // there before anything that it said.
        if host
            .heard_ago(GroupId::ROOT)
            .is_some_and(|ago| ago < LEADERLESS_AFTER)
        {
            round = 0;
            continue;
        }
        if round % ROUNDS_PER_LINE == 1 {
            warn_if_past(&host, &mesh, &sender.borrow());
        }
        let (told, _) = addresses::resolve(&servers).await;
        let known = members(&sender.borrow(), &mesh);
        for server in turn(&told, &known, round) {
            if let Err(error) = ask(&mesh, &server, &sender).await {
                tracing::debug!(
                    server,
                    error = format!("{error:#}"),
                    "no view from this server"
                );
            }
        }
        round = round.wrapping_add(1);
    }
}

/// The addresses of the other members, as far as they are known.
fn members(view: &ClusterView, mesh: &Mesh) -> Vec<String> {
    let others = view
        .nodes
        .values()
        .filter(|node| node.state == NodeState::Active && Some(node.node) != mesh.node());
    others.map(|node| node.mesh_addr.clone()).collect()
}

/// Who is asked in a round: of all that there are, each in its turn.
fn turn(told: &[String], known: &[String], round: u32) -> Vec<String> {
    let seen: BTreeSet<_> = told.iter().collect();
    let others = known.iter().filter(|address| !seen.contains(address));
    let all: Vec<_> = told.iter().chain(others).collect();
    let asked = all.len().min(ASKED_MAX);
    let first = round as usize * asked;
    (first..first + asked)
        .map(|at| all[at % all.len()].clone())
        .collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_is_asked_in_turn_and_no_more_than_a_few_at_once() {
        let told: Vec<_> = (0..3).map(|n| format!("told-{n}")).collect();
        let known: Vec<_> = (0..20).map(|n| format!("known-{n}")).collect();
        let known = [&told[1..2], &known].concat();
        let mut asked = BTreeSet::new();
        for round in 0..3 {
            let turn = turn(&told, &known, round);
            assert_eq!(turn.len(), ASKED_MAX);
            asked.extend(turn);
        }
        assert_eq!(asked.len(), 23);
        assert_eq!(turn(&told, &[], 7).len(), 3);
        assert!(turn(&[], &[], 7).is_empty());
        assert_eq!(turn(&told, &known, u32::MAX).len(), ASKED_MAX);
    }
}
