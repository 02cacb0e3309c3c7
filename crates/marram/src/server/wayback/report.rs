//! Every server says at each start up to which version it knows commands (rules.md 9).

use std::sync::Arc;
use std::time::Duration;

use marram_maintain::Consensus;
use marram_meta::{COMMAND_VERSION, ClusterView, RootCommand, RootOutcome};
use marram_raft::MetaLogic;
use tokio::sync::watch;

use super::super::local::Local;

/// Pause before another try.
const PAUSE: Duration = Duration::from_secs(1);

/// Runs until the root group knows it.
pub(in super::super) async fn report_version(local: Arc<Local>) {
    loop {
        let known = |node| local.view.borrow().versions.get(&node).copied();
        match local.mesh.node() {
            Some(node) if known(node) == Some(COMMAND_VERSION) => return,
            Some(node) if local.view.borrow().nodes.contains_key(&node) => {
                let version = COMMAND_VERSION;
                let report = RootCommand::ReportVersion { node, version };
                match local.propose_root(report).await {
                    Ok(RootOutcome::Done) => return,
                    Ok(outcome) => tracing::warn!(?outcome, "this node's version was not noted"),
                    Err(error) => tracing::debug!(%error, "this node's version is told later"),
                }
            }
            Some(_) | None => {}
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Follows the cluster's version: this server's leaders propose nothing above it.
pub(in super::super) async fn follow_gate(
    logic: Arc<MetaLogic>,
    mut view: watch::Receiver<Arc<ClusterView>>,
) {
    loop {
        let version = view.borrow_and_update().cluster.as_ref().map(|c| c.version);
        logic.set_gate(version.unwrap_or(0));
        if view.changed().await.is_err() {
            return;
        }
    }
}
