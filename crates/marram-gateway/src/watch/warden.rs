//! Looks after all watchers together: whether their keys and buckets are still there, and whether there
//! are any.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::join_all;
use marram_meta::{BucketState, ClusterView};
use marram_types::BucketId;

use super::feed::{How, Pulled, pull};
use crate::core::Core;

/// How long changes of the cluster gather before watchers look at them: they must within a second.
const GATHER: Duration = Duration::from_millis(250);
/// How often it is looked whether anybody watches.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// Feeds run so long for nobody: a watcher that comes back should not wait for them.
const UNWATCHED: Duration = Duration::from_secs(60);
/// Times that the last events of a removed bucket are asked for.
const TRIES_MAX: usize = 20;

/// Runs as long as the feeds of this run do.
pub(super) async fn keep(core: Arc<Core>, run: u64) {
    let stopping = core.stopping.clone();
    let mut changes = core.view.clone();
    let mut seen = Arc::clone(&changes.borrow_and_update());
    let mut watched = Instant::now();
    loop {
        tokio::select! {
            () = stopping.cancelled() => return,
            () = tokio::time::sleep(LOOK_EVERY) => {}
            changed = changes.changed() => {
                if changed.is_err() {
                    return;
                }
                tokio::time::sleep(GATHER).await;
            }
        }
        let now = Arc::clone(&changes.borrow_and_update());
        look(&core, &seen, &now).await;
        seen = now;
        let mut board = core.watch.board.lock();
        if board.watchers() > 0 {
            watched = Instant::now();
        } else if watched.elapsed() >= UNWATCHED {
            board.end_if_unwatched(run);
        }
        if board.run != run {
            return;
        }
    }
}

/// Has watchers look, where something of them may have changed. Most changes of a cluster are moves of
/// data, and 10,000 watchers need not wake for each.
async fn look(core: &Core, seen: &ClusterView, now: &ClusterView) {
    if seen.access_keys != now.access_keys || seen.cluster != now.cluster {
        core.watch.board.lock().ring_all();
    }
    if seen.buckets == now.buckets || now.cluster.is_none() {
        return;
    }
    let is_there = |bucket: &BucketId| {
        let mut all = now.buckets.values();
        all.any(|b| b.bucket == *bucket && b.state != BucketState::Deleted)
    };
    let mut gone = core.watch.board.lock().buckets();
    gone.retain(|bucket| !is_there(bucket));
    if gone.is_empty() {
        return;
    }
    hand_out_rest(core).await;
    let mut board = core.watch.board.lock();
    for bucket in gone {
        tracing::debug!(bucket = bucket.0, "a bucket that is watched was removed");
        board.bucket_gone(bucket);
    }
}

/// Hands out everything that ended before the call. A bucket's last deletions are told before its end.
async fn hand_out_rest(core: &Core) {
    let groups = core.watch.board.lock().heads().map_or(0, <[_]>::len);
    let rest = (0..groups).map(async |group| {
        for _ in 0..TRIES_MAX {
            match pull(core, group, How::Leader).await {
                Ok(Pulled::News | Pulled::Nothing) => return,
                Ok(Pulled::More) => {}
                Err(_) => tokio::time::sleep(GATHER).await,
            }
        }
    });
    join_all(rest).await;
}
