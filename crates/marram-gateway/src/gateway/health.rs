//! gRPC health (`grpc.health.v1`): the readiness of the process, for each service and as a whole, with the
//! reasons.
//!
//! The protocol has a field for the verdict only. The reasons are metadata of the answer (`marram-not-ready`, one
//! value for each condition that does not hold), where `grpcurl -v` shows them and a load balancer does not mind them.
//! A watch has metadata at its begin only: who watches and is told NOT_SERVING asks `Check` for the reasons.

use std::sync::Arc;

use futures::Stream;
use futures::stream::{self, BoxStream, StreamExt};
use marram_metrics::{Condition, Verdict};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use crate::status::{self, Fault, Reason};

/// Where the reasons are.
const NOT_READY: &str = "marram-not-ready";
/// Characters of a reason; the rest is cut off. There are as many reasons as conditions, which are few.
const REASON_CHARS_MAX: usize = 256;
/// Who may watch health at once: nobody has to say who he is for that.
pub(crate) const HEALTH_WATCHERS_MAX: usize = 1024;

/// Why health is not told.
#[derive(Debug, thiserror::Error)]
enum HealthError {
    #[error(
        "service is not valid: there is no service {0:?} here; the empty name asks for all of them"
    )]
    NoService(String),
    #[error("{HEALTH_WATCHERS_MAX} calls watch the health of this server already: ask with Check")]
    TooManyWatch,
}

impl Fault for HealthError {
    fn reason(&self) -> Reason {
        match self {
            Self::NoService(_) => Reason::ServiceNotFound,
            Self::TooManyWatch => Reason::Overloaded,
        }
    }
}

/// The health of the services of a process.
pub(crate) struct Healthy {
    services: &'static [&'static str],
    ready: watch::Receiver<Arc<Verdict>>,
    stop: CancellationToken,
    places: Arc<Semaphore>,
}

/// Says of these services, and of the server as a whole (the empty name), whether they serve: when the process is
/// ready and was not told to `stop`. From then on those who watch are told so and let go: they would keep
/// their connections open.
pub(crate) fn server(
    services: &'static [&'static str],
    ready: watch::Receiver<Arc<Verdict>>,
    stop: CancellationToken,
) -> HealthServer<Healthy> {
    HealthServer::new(Healthy {
        services,
        ready,
        stop,
        places: Arc::new(Semaphore::new(HEALTH_WATCHERS_MAX)),
    })
}

impl Healthy {
    fn knows(&self, service: &str) -> bool {
        service.is_empty() || self.services.contains(&service)
    }
}

#[tonic::async_trait]
impl Health for Healthy {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        let service = request.into_inner().service;
        if !self.knows(&service) {
            return Err(status::of(&HealthError::NoService(service)));
        }
        let now = judged(&self.ready.borrow(), self.stop.is_cancelled());
        Ok(told(answer(now.0), &now.1))
    }

    type WatchStream = BoxStream<'static, Result<HealthCheckResponse, Status>>;

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let place = Arc::clone(&self.places).try_acquire_owned();
        let place = place.map_err(|_| status::of(&HealthError::TooManyWatch))?;
        // The protocol wants one that asks for an unknown service to be told so, and kept: it may come.
        let known = self.knows(&request.into_inner().service);
        let reasons = match known {
            true => judged(&self.ready.borrow(), self.stop.is_cancelled()).1,
            false => Vec::new(),
        };
        let (ready, stop) = (self.ready.clone(), self.stop.clone());
        Ok(told(changes(known, ready, stop, place).boxed(), &reasons))
    }
}

/// Whether all is well, and what is not.
fn judged(verdict: &Verdict, stops: bool) -> (ServingStatus, Vec<String>) {
    let mut reasons: Vec<String> = verdict.failing().map(reason).collect();
    if stops && verdict.is_ready() {
        reasons.push("api: this server stops".to_owned());
    }
    let serves = verdict.is_ready() && !stops;
    if !serves && reasons.is_empty() {
        reasons.push("member: nothing is known yet".to_owned());
    }
    let status = match serves {
        true => ServingStatus::Serving,
        false => ServingStatus::NotServing,
    };
    (status, reasons)
}

/// Why a condition does not hold, as anybody may know it who reaches the API.
fn reason(condition: &Condition) -> String {
    let says = match condition.names_places {
        true => "/readyz on the port of metrics says why",
        false => &condition.says,
    };
    let line = format!("{}: {says}", condition.name);
    // Metadata is printable ASCII.
    let plain = |c: char| if (' '..='~').contains(&c) { c } else { '?' };
    line.chars().take(REASON_CHARS_MAX).map(plain).collect()
}

fn answer(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse {
        status: status.into(),
    }
}

/// An answer with the reasons beside it.
fn told<T>(answer: T, reasons: &[String]) -> Response<T> {
    let mut response = Response::new(answer);
    let metadata: &mut MetadataMap = response.metadata_mut();
    for reason in reasons {
        let value = MetadataValue::try_from(reason.as_str());
        metadata.append(NOT_READY, value.expect("it is printable ASCII"));
    }
    response
}

/// Who watches.
struct Watching {
    known: bool,
    ready: watch::Receiver<Arc<Verdict>>,
    stop: CancellationToken,
    told: Option<ServingStatus>,
    /// Held as long as the call.
    _place: OwnedSemaphorePermit,
}

/// How it is now, and whenever that changes, until the server stops.
fn changes(
    known: bool,
    ready: watch::Receiver<Arc<Verdict>>,
    stop: CancellationToken,
    place: OwnedSemaphorePermit,
) -> impl Stream<Item = Result<HealthCheckResponse, Status>> + Send + 'static {
    let watching = Watching {
        known,
        ready,
        stop,
        told: None,
        _place: place,
    };
    stream::unfold(watching, |mut watching| async move {
        let status = watching.next().await?;
        Some((Ok(answer(status)), watching))
    })
}

impl Watching {
    async fn next(&mut self) -> Option<ServingStatus> {
        loop {
            let stops = self.stop.is_cancelled();
            let now = match self.known {
                true => judged(&self.ready.borrow_and_update(), stops).0,
                false => ServingStatus::ServiceUnknown,
            };
            if self.told != Some(now) {
                self.told = Some(now);
                return Some(now);
            }
            if stops {
                return None;
            }
            tokio::select! {
                changed = self.ready.changed() => if changed.is_err() {
                    // Nobody judges any more: it stays as it is.
                    self.stop.cancelled().await;
                },
                () = self.stop.cancelled() => {}
            }
        }
    }
}

#[cfg(test)]
mod tests;
