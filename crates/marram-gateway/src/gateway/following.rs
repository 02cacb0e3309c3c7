//! gRPC health follows the readiness of the process.

use std::sync::Arc;

use marram_metrics::Verdict;
use tokio::sync::watch;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

/// Says of these services, and of the server as a whole (the empty name), whether they serve, for as
/// long as the future is polled.
pub(crate) async fn follow(
    health: HealthReporter,
    services: &[&str],
    mut ready: watch::Receiver<Arc<Verdict>>,
) {
    loop {
        let status = match ready.borrow_and_update().is_ready() {
            true => ServingStatus::Serving,
            false => ServingStatus::NotServing,
        };
        for service in services.iter().chain([&""]) {
            health.set_service_status(*service, status).await;
        }
        if ready.changed().await.is_err() {
            // Nobody judges any more: it stays as it is.
            return std::future::pending().await;
        }
    }
}
