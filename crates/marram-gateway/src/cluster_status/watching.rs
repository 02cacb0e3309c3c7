//! The status again and again: a message now, and one whenever it has changed.

use std::sync::Arc;
use std::time::Duration;

use marram_proto::v1;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::get;
use crate::core::{Core, WATCHERS_MAX};
use crate::status::{self, Fault, Reason};

/// How often it is looked whether anything has changed: a status asks every node.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Messages that wait for a watcher that reads slowly; it misses what changed meanwhile.
const WAITING_MAX: usize = 2;

/// As many watch as may.
#[derive(Debug, thiserror::Error)]
#[error("this server has {WATCHERS_MAX} watches of the status already; ask another one")]
struct TooManyWatches;

impl Fault for TooManyWatches {
    fn reason(&self) -> Reason {
        Reason::Overloaded
    }
}

/// What a watcher reads.
pub(crate) type Watching = ReceiverStream<Result<v1::WatchClusterStatusResponse, Status>>;

/// Begins to watch. Ends when the watcher goes away, and with this server.
pub(crate) async fn watch(core: Arc<Core>) -> Result<Watching, Status> {
    let place = core.watchers.clone().try_acquire_owned();
    let place = place.map_err(|_| status::of(&TooManyWatches))?;
    let first = get(&core).await.map_err(|error| status::of(&error))?;
    let (sender, receiver) = mpsc::channel(WAITING_MAX);
    let mut view = core.view.clone();
    tokio::spawn(async move {
        let _place = place;
        let mut last = None;
        let mut next = Ok(first);
        loop {
            let answer = match next {
                Ok(status) if last.as_ref() == Some(&without_times(&status)) => None,
                Ok(status) => {
                    last = Some(without_times(&status));
                    let status = Some(status);
                    Some(Ok(v1::WatchClusterStatusResponse { status }))
                }
                Err(error) => Some(Err(status::of(&error))),
            };
            if let Some(answer) = answer {
                let failed = answer.is_err();
                if sender.send(answer).await.is_err() || failed {
                    return;
                }
            }
            tokio::select! {
                () = sender.closed() => return,
                () = core.stopping.cancelled() => return,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            if view.has_changed().is_err() {
                return;
            }
            view.mark_unchanged();
            next = get(&core).await;
        }
    });
    Ok(ReceiverStream::new(receiver))
}

/// Times run on though nothing changes.
fn without_times(status: &v1::GetClusterStatusResponse) -> v1::GetClusterStatusResponse {
    let mut status = status.clone();
    for node in &mut status.nodes {
        if let Some(condition) = &mut node.condition {
            condition.health_for_ms = 0;
            condition.slowness_permille = 0;
            // That it is off is news, by how much is not.
            condition.clock_ahead_ms = condition.clock_ahead_ms.signum();
        }
    }
    for gateway in &mut status.gateways {
        gateway.heard_ms_ago = 0;
    }
    if let Some(work) = &mut status.work {
        (work.for_ms, work.left_ms) = (0, None);
    }
    status
}
