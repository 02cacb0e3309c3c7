//! Room on the machine for a cluster.

use tokio::sync::{Semaphore, SemaphorePermit};

/// How many tests of a binary may have a cluster at the same time. One alone leaves much of two cores
/// idle while it waits for timers and graces; two with a load fill them.
const CLUSTERS: u32 = 2;

static ROOM: Semaphore = Semaphore::const_new(CLUSTERS as usize);

/// Room for a test with a cluster of its own. Held until the cluster has gone.
pub async fn room() -> SemaphorePermit<'static> {
    ROOM.acquire().await.expect("it is never closed")
}

/// The whole machine, for a test that measures time or memory.
pub async fn alone() -> SemaphorePermit<'static> {
    let all = ROOM.acquire_many(CLUSTERS).await;
    all.expect("it is never closed")
}
