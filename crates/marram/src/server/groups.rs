//! Opens this node's replicas of the groups that the root group has decided on, and starts each
//! group once.

use std::sync::Arc;
use std::time::Duration;

use marram_meta::ClusterView;
use marram_raft::RaftHost;
use tokio::sync::watch;

/// A voter that is not the first starts a group after this time, should the first not have.
const FIRST_VOTER_HEAD_START: Duration = Duration::from_secs(2);
/// How often unfinished work is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Runs until the view's sender is gone.
pub(super) async fn follow(host: Arc<RaftHost>, mut view: watch::Receiver<Arc<ClusterView>>) {
    let mut began = None;
    loop {
        let seen = view.borrow_and_update().clone();
        let since = *began.get_or_insert_with(tokio::time::Instant::now);
        if seen.groups.is_empty() {
            began = None;
        }
        let settled = open_and_start(&host, &seen, since.elapsed() >= FIRST_VOTER_HEAD_START).await;
        let wait = if settled { Duration::MAX } else { LOOK_EVERY };
        if let Ok(Err(_)) = tokio::time::timeout(wait, view.changed()).await {
            return;
        }
    }
}

/// True when every group of this node is open and started.
async fn open_and_start(host: &RaftHost, view: &ClusterView, not_only_first: bool) -> bool {
    let own = host.replica();
    let mut settled = true;
    for record in view.groups.values().filter(|g| g.voters.contains(&own)) {
        if let Err(error) = host.create_group(record.group).await {
            tracing::error!(group = %record.group, %error, "a group cannot be opened");
            settled = false;
            continue;
        }
        // Every voter proposes the same first membership, so it is safe whoever comes first.
        match host.is_initialized(record.group).await {
            Ok(true) => continue,
            Ok(false) if not_only_first || record.voters.first() == Some(&own) => {}
            Ok(false) | Err(_) => {
                settled = false;
                continue;
            }
        }
        if let Err(error) = host.initialize(record.group, &record.voters).await {
            tracing::warn!(group = %record.group, %error, "a group could not be started yet");
            settled = false;
        }
    }
    settled
}
