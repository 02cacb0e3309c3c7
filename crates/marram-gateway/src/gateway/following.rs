//! gRPC health follows the readiness of the process.

use std::sync::Arc;

use marram_metrics::Verdict;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

/// Says of these services, and of the server as a whole (the empty name), whether they serve, for as
/// long as the future is polled. From `stop` on nothing is said any more, and those who watch are let go:
/// they would keep their connections open.
pub(crate) async fn follow(
    mut health: HealthReporter,
    services: &[&str],
    mut ready: watch::Receiver<Arc<Verdict>>,
    stop: &CancellationToken,
) {
    let all = || services.iter().chain([&""]);
    loop {
        let status = match ready.borrow_and_update().is_ready() {
            true => ServingStatus::Serving,
            false => ServingStatus::NotServing,
        };
        for service in all() {
            health.set_service_status(*service, status).await;
        }
        let changed = tokio::select! {
            changed = ready.changed() => changed,
            () = stop.cancelled() => break,
        };
        if changed.is_err() {
            // Nobody judges any more: it stays as it is.
            stop.cancelled().await;
            break;
        }
    }
    for service in all() {
        health.clear_service_status(service).await;
    }
    std::future::pending::<()>().await;
}
