//! Room on the machine for a cluster.

use tokio::sync::{Semaphore, SemaphorePermit};

/// How many tests of a binary may have a cluster at the same time. A cluster waits more than it
/// works, so that two of them take hardly longer than one.
const CLUSTERS: u32 = 2;

static ROOM: Semaphore = Semaphore::const_new(CLUSTERS as usize);

/// Room for a test with a cluster of its own. Held until the cluster has gone.
///
/// # Panics
/// Never: the semaphore is not closed.
pub async fn room() -> SemaphorePermit<'static> {
    ROOM.acquire().await.expect("it is never closed")
}

/// The whole machine, for a test that measures time or memory.
///
/// # Panics
/// Never: the semaphore is not closed.
pub async fn alone() -> SemaphorePermit<'static> {
    let all = ROOM.acquire_many(CLUSTERS).await;
    all.expect("it is never closed")
}
