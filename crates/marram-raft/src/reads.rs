//! Linearizable reads: one confirmation of leadership for all that wait (rules.md 8).
//!
//! A read joins only a confirmation that starts after it arrived: the task takes everything that
//! waits, confirms, answers, and what arrived meanwhile is the next batch.

use std::sync::Arc;
use std::time::Duration;

use marram_types::ReplicaId;
use openraft::ReadPolicy;
use openraft::errors::{LinearizableReadError, RaftError};
use tokio::sync::{mpsc, oneshot};

use crate::host::ReadError;
use crate::machine::Store;
use crate::types::Raft;

/// Reads that one confirmation serves at most.
const BATCH_MAX: usize = 4096;
/// How long applying may take to come up to the confirmed index.
const APPLY_TIMEOUT: Duration = Duration::from_secs(5);

/// What a confirmation found: the state shows everything that it must.
pub(crate) type Confirmed = Result<(), ReadError>;

/// Serves the reads of one group until its handle is gone.
pub(crate) async fn run(
    raft: Raft,
    store: Arc<Store>,
    mut waiting: mpsc::Receiver<oneshot::Sender<Confirmed>>,
) {
    let mut batch = Vec::new();
    while waiting.recv_many(&mut batch, BATCH_MAX).await > 0 {
        let confirmed = confirm(&raft, &store).await;
        for read in batch.drain(..) {
            // A reader that has gone away needs no answer.
            let _ = read.send(confirmed.clone());
        }
    }
}

async fn confirm(raft: &Raft, store: &Store) -> Confirmed {
    let confirmed = raft.get_read_linearizer(ReadPolicy::ReadIndex).await;
    let linearizer = confirmed.map_err(|error| match error {
        RaftError::APIError(LinearizableReadError::ForwardToLeader(forward)) => {
            let me = *raft.node_id();
            ReadError::NotLeader {
                leader: forward
                    .leader_id
                    .filter(|leader| *leader != me)
                    .map(ReplicaId),
            }
        }
        RaftError::APIError(LinearizableReadError::QuorumNotEnough(_)) => ReadError::Unconfirmed,
        RaftError::Fatal(fatal) => ReadError::Stopped(fatal.to_string()),
    })?;
    let index = linearizer.read_log_id().index();
    let mut applied = store.applied();
    if *applied.borrow() >= index {
        return Ok(());
    }
    // A new leader may still have entries that it put off as a follower.
    store.flush().await?;
    let caught_up = applied.wait_for(|applied| *applied >= index);
    match tokio::time::timeout(APPLY_TIMEOUT, caught_up).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(_)) | Err(_) => Err(ReadError::Unconfirmed),
    }
}
