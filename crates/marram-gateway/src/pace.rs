//! Waits between tries, in one place.

use std::time::Duration;

/// Between two looks at a bucket that is changing.
const BUCKET_POLL: Duration = Duration::from_millis(50);
/// Between two tries of a command that met a seal.
const SEAL_POLL: Duration = Duration::from_millis(100);

/// Waits before the next look at a bucket.
pub(crate) async fn bucket_poll() {
    sleep(BUCKET_POLL).await;
}

/// Waits before the next try of a command that met a seal.
pub(crate) async fn seal_poll() {
    sleep(SEAL_POLL).await;
}

/// Half of `about` to one and a half of it, so that callers who were refused together do not come
/// back together.
async fn sleep(about: Duration) {
    let factor = rand::random_range(0.5..1.5);
    tokio::time::sleep(about.mul_f64(factor)).await;
}
