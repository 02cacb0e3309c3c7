//! What peers ask of this server, how well they answer, and until when certificates are good.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use marram_gateway::ApiTls;
use marram_mesh::{Class, Failed, Figures, Mesh, Method, RpcCode, Side};
use marram_metrics::catalogue::{
    API_CERTIFICATE, MESH_CERTIFICATE, MESH_CLOCK_AHEAD, MESH_CONNECTIONS, MESH_HANDSHAKES_FAILED,
    MESH_PEER_ANSWERS, MESH_PEER_LAPSES, MESH_PING, MESH_RECEIVED, MESH_REQUEST_DURATION,
    MESH_REQUESTS, MESH_SENT,
};
use marram_metrics::{Histogram, Sheet, Source};

/// Numbers of methods and of results end below these.
const METHODS_MAX: usize = 128;
const RESULTS_MAX: usize = 16;

/// The requests that were answered here.
#[derive(Debug)]
pub(in crate::server) struct Requests {
    methods: Vec<Asked>,
}

#[derive(Debug)]
struct Asked {
    took: Histogram,
    /// By the number of the code; what was answered well is counted under that of none.
    results: [AtomicU64; RESULTS_MAX],
    received: AtomicU64,
    sent: AtomicU64,
}

impl Default for Requests {
    fn default() -> Self {
        let asked = |_| Asked {
            took: Histogram::of(&MESH_REQUEST_DURATION),
            results: std::array::from_fn(|_| AtomicU64::new(0)),
            received: AtomicU64::new(0),
            sent: AtomicU64::new(0),
        };
        let methods = (0..METHODS_MAX).map(asked).collect();
        Self { methods }
    }
}

impl Requests {
    /// A request with so many bytes was answered with so many, or refused.
    pub(in crate::server) fn answered(
        &self,
        method: Method,
        took: Duration,
        received: usize,
        sent: Result<usize, RpcCode>,
    ) {
        let number = usize::try_from(i32::from(method)).unwrap_or(0);
        let Some(asked) = self.methods.get(number) else {
            return;
        };
        let (result, sent) = match sent {
            Ok(sent) => (RpcCode::Unspecified, sent),
            Err(code) => (code, 0),
        };
        let result = usize::try_from(i32::from(result)).unwrap_or(0);
        if let Some(count) = asked.results.get(result) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        asked.took.observe_time(took);
        asked.received.fetch_add(received as u64, Ordering::Relaxed);
        asked.sent.fetch_add(sent as u64, Ordering::Relaxed);
    }
}

fn class_name(class: Class) -> &'static str {
    match class {
        Class::Raft => "raft",
        Class::Control => "control",
        Class::Bulk => "bulk",
    }
}

/// `METHOD_WRITE_RUN` is `write_run` to operators.
fn method_name(method: Method) -> String {
    let name = method.as_str_name();
    let name = name.strip_prefix("METHOD_").unwrap_or(name);
    name.to_ascii_lowercase()
}

fn result_name(code: RpcCode) -> String {
    if code == RpcCode::Unspecified {
        return "ok".to_owned();
    }
    let name = code.as_str_name();
    let name = name.strip_prefix("RPC_CODE_").unwrap_or(name);
    name.to_ascii_lowercase()
}

#[async_trait]
impl Source for Requests {
    async fn collect(&self, sheet: &mut Sheet) {
        let count = |number: &AtomicU64| number.load(Ordering::Relaxed);
        let mut bytes = Class::ALL.map(|class| (class, 0, 0));
        for (number, asked) in (0_i32..).zip(&self.methods) {
            let Ok(method) = Method::try_from(number) else {
                continue;
            };
            if asked.took.snapshot().count() == 0 {
                continue;
            }
            let name = method_name(method);
            sheet.set_histogram(&MESH_REQUEST_DURATION, &[&name], &asked.took);
            for (number, result) in (0_i32..).zip(&asked.results) {
                if let Ok(code) = RpcCode::try_from(number)
                    && (count(result) > 0 || code == RpcCode::Unspecified)
                {
                    let labels = [name.as_str(), &result_name(code)];
                    sheet.set(&MESH_REQUESTS, &labels, count(result));
                }
            }
            let of = Class::of(method);
            for (_, received, sent) in bytes.iter_mut().filter(|(class, ..)| Some(*class) == of) {
                *received += count(&asked.received);
                *sent += count(&asked.sent);
            }
        }
        for (class, received, sent) in bytes {
            sheet.set(&MESH_RECEIVED, &[class_name(class)], received);
            sheet.set(&MESH_SENT, &[class_name(class)], sent);
        }
    }
}

/// The peers of this process, and what it shows of itself.
pub(in crate::server) struct Peers {
    /// The mesh.
    pub mesh: Mesh,
    /// What applications see, where the API speaks TLS.
    pub tls: Option<Arc<ApiTls>>,
}

#[async_trait]
impl Source for Peers {
    async fn collect(&self, sheet: &mut Sheet) {
        for word in self.mesh.words() {
            let node = word.node.0.to_string();
            let labels = [node.as_str()];
            sheet.set(&MESH_PEER_ANSWERS, &labels, u64::from(word.answers));
            sheet.set(&MESH_PEER_LAPSES, &labels, u64::from(word.lapses));
            if let Some(ping) = word.ping {
                sheet.set_time(&MESH_PING, &labels, ping);
            }
            if let Some(ahead_ms) = word.clock_ahead_ms {
                let ahead = ahead_ms as f64 / 1000.0;
                sheet.set_real(&MESH_CLOCK_AHEAD, &labels, ahead);
            }
        }
        write_connections(sheet, self.mesh.figures());
        let not_after = self.mesh.certificate().not_after;
        let seconds = |since: i64| u64::try_from(since).unwrap_or(0);
        sheet.set(&MESH_CERTIFICATE, &[], seconds(not_after));
        if let Some(not_after) = self.tls.as_ref().and_then(|tls| tls.not_after()) {
            sheet.set(&API_CERTIFICATE, &[], seconds(not_after));
        }
    }
}

fn write_connections(sheet: &mut Sheet, figures: &Figures) {
    for side in Side::ALL {
        let name = match side {
            Side::Accepted => "accepted",
            Side::Dialed => "dialed",
        };
        for class in Class::ALL {
            let open = figures.open(side, class);
            sheet.set(&MESH_CONNECTIONS, &[name, class_name(class)], open);
        }
        for why in Failed::ALL {
            let failed = figures.failed(side, why);
            sheet.set(&MESH_HANDSHAKES_FAILED, &[name, failure_name(why)], failed);
        }
    }
}

fn failure_name(why: Failed) -> &'static str {
    match why {
        Failed::Io => "io",
        Failed::Slow => "slow",
        Failed::Tls => "tls",
        Failed::Protocol => "protocol",
        Failed::Certificate => "certificate",
        Failed::Stranger => "stranger",
    }
}

#[cfg(test)]
mod tests {
    use marram_metrics::{Format, Sources};

    use super::*;

    #[tokio::test]
    async fn requests_are_counted_by_method_result_and_class() {
        let requests = Arc::new(Requests::default());
        let took = Duration::from_millis(2);
        requests.answered(Method::WriteRun, took, 1000, Ok(10));
        requests.answered(Method::WriteRun, took, 1000, Err(RpcCode::Full));
        requests.answered(Method::RaftAppend, took, 50, Ok(5));
        let sources = Sources::default();
        sources.add(requests);
        let page = sources.scrape(Format::Prometheus).await.expect("written");
        for line in [
            "marram_mesh_requests_total{method=\"write_run\",result=\"ok\"} 1",
            "marram_mesh_requests_total{method=\"write_run\",result=\"full\"} 1",
            "marram_mesh_requests_total{method=\"raft_append\",result=\"ok\"} 1",
            "marram_mesh_request_seconds_count{method=\"write_run\"} 2",
            "marram_mesh_received_bytes_total{class=\"bulk\"} 2000",
            "marram_mesh_sent_bytes_total{class=\"bulk\"} 10",
            "marram_mesh_received_bytes_total{class=\"raft\"} 50",
            "marram_mesh_received_bytes_total{class=\"control\"} 0",
        ] {
            assert!(page.lines().any(|l| l == line), "{line}\n{page}");
        }
    }

    #[test]
    fn every_method_and_result_has_a_place() {
        for number in 0..1000_usize {
            let known = i32::try_from(number).expect("small");
            assert!(
                number < METHODS_MAX || Method::try_from(known).is_err(),
                "{number}"
            );
            assert!(
                number < RESULTS_MAX || RpcCode::try_from(known).is_err(),
                "{number}"
            );
        }
    }
}
