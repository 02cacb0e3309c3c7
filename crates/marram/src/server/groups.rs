//! Opens this node's replicas of the groups that the root group has decided on, starts each group
//! once, and stops replicas of groups that this node has left.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use marram_meta::{ClusterView, GroupRecord};
use marram_raft::{RaftHost, Role};
use marram_types::GroupId;
use tokio::sync::watch;
use tokio::time::Instant;

/// A voter that is not the first starts a group after this time, should the first not have.
const FIRST_VOTER_HEAD_START: Duration = Duration::from_secs(2);
/// How often unfinished work is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// A replica that the record does not name stops after this time: the record follows the group's
/// own log, and this node's view follows the record.
const LEAVE_AFTER: Duration = Duration::from_secs(3);

/// Runs until the view's sender is gone.
pub(super) async fn follow(host: Arc<RaftHost>, mut view: watch::Receiver<Arc<ClusterView>>) {
    let mut began = None;
    let mut left = HashMap::new();
    loop {
        let seen = view.borrow_and_update().clone();
        let since = *began.get_or_insert_with(Instant::now);
        if seen.groups.is_empty() {
            began = None;
        }
        let opened = open_and_start(&host, &seen, since.elapsed() >= FIRST_VOTER_HEAD_START).await;
        let settled = leave(&host, &seen, &mut left).await && opened;
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
    for record in view.groups.values().filter(|g| g.names(own)) {
        if let Err(error) = host.create_group(record.group).await {
            tracing::error!(group = %record.group, %error, "a group cannot be opened");
            settled = false;
            continue;
        }
        if begins_with(record, host) && !start(host, record, not_only_first).await {
            settled = false;
        }
    }
    settled
}

/// Whether this replica is one of those that begin the group. A newcomer never begins one: the
/// group's leader sends it everything, the members included.
fn begins_with(record: &GroupRecord, host: &RaftHost) -> bool {
    record.at == 0 && record.voters.contains(&host.replica())
}

/// True when the group has begun, as far as this replica knows.
async fn start(host: &RaftHost, record: &GroupRecord, not_only_first: bool) -> bool {
    // Every voter proposes the same first membership, so it is safe whoever comes first.
    match host.is_initialized(record.group).await {
        Ok(true) => return true,
        Ok(false) if not_only_first || record.voters.first() == Some(&host.replica()) => {}
        Ok(false) | Err(_) => return false,
    }
    match host.initialize(record.group, &record.voters).await {
        Ok(()) => true,
        Err(error) => {
            tracing::warn!(group = %record.group, %error, "a group could not be started yet");
            false
        }
    }
}

/// Stops replicas of groups whose record does not name this node any more. Nothing is deleted, so
/// one that was stopped by an old view is only away until the view is a new one. True when nothing
/// is left to stop.
async fn leave(host: &RaftHost, view: &ClusterView, left: &mut HashMap<GroupId, Instant>) -> bool {
    let own = host.replica();
    let not_ours = |group: &GroupId| {
        let record = view.groups.get(group);
        *group != GroupId::ROOT && record.is_some_and(|record| !record.names(own))
    };
    let mut found = host.groups();
    found.retain(not_ours);
    left.retain(|group, _| found.contains(group));
    for group in &found {
        let since = *left.entry(*group).or_insert_with(Instant::now);
        // A leader knows better than the record who belongs to its group, and sets it right.
        let leads = host.status(*group).is_some_and(|s| s.role == Role::Leader);
        if since.elapsed() >= LEAVE_AFTER && !leads {
            tracing::info!(%group, "this node has left the group");
            host.close_group(*group).await;
            left.remove(group);
        }
    }
    left.is_empty()
}
