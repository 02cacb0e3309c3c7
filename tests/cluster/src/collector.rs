//! A collector of traces: a real receiver of OTLP, made of the definitions of OpenTelemetry itself.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;
use tonic::{Request, Response, Status};

/// A span that came.
#[derive(Debug, Clone)]
pub struct Collected {
    /// `service.name` and `service.instance.id` of the process.
    pub origin: (String, String),
    /// The span.
    pub span: Span,
}

impl Collected {
    /// The number in an attribute.
    #[must_use]
    pub fn number(&self, key: &str) -> Option<i64> {
        let mut attributes = self.span.attributes.iter();
        match value(attributes.find(|pair| pair.key == key)?)? {
            Value::IntValue(number) => Some(*number),
            _ => None,
        }
    }
}

/// Takes traces until the test's process ends.
#[derive(Debug, Clone)]
pub struct Collector {
    address: SocketAddr,
    spans: Arc<Mutex<Vec<Collected>>>,
}

fn value(pair: &KeyValue) -> Option<&Value> {
    pair.value.as_ref()?.value.as_ref()
}

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        for group in request.into_inner().resource_spans {
            let attributes = group.resource.map(|from| from.attributes);
            let text = |key: &str| {
                let mut pairs = attributes.iter().flatten();
                match pairs.find(|pair| pair.key == key).and_then(value) {
                    Some(Value::StringValue(text)) => text.clone(),
                    _ => String::new(),
                }
            };
            let origin = (text("service.name"), text("service.instance.id"));
            let spans = group.scope_spans.into_iter().flat_map(|scope| scope.spans);
            let spans = spans.map(|span| Collected {
                origin: origin.clone(),
                span,
            });
            let mut all = self.spans.lock().unwrap_or_else(PoisonError::into_inner);
            all.extend(spans);
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Collector {
    /// Starts one on a free port.
    ///
    /// # Panics
    /// When it cannot listen.
    #[must_use]
    pub fn start() -> Self {
        let (told, address) = mpsc::channel();
        let spans = Arc::default();
        let service = Arc::clone(&spans);
        // Threads of its own: the tests' runtimes come and go.
        std::thread::spawn(move || {
            let mut threads = tokio::runtime::Builder::new_current_thread();
            let runtime = threads.enable_all().build().expect("a runtime");
            runtime.block_on(async move {
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await;
                let listener = listener.expect("a free port");
                let address = listener.local_addr().expect("it has an address");
                let collector = Self {
                    address,
                    spans: service,
                };
                told.send(address).expect("somebody waits");
                let served = Server::builder()
                    .add_service(TraceServiceServer::new(collector))
                    .serve_with_incoming(TcpListenerStream::new(listener));
                served.await.expect("it is served");
            });
        });
        let address = address.recv_timeout(Duration::from_secs(10));
        Self {
            address: address.expect("it listens"),
            spans,
        }
    }

    /// What servers are told.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The spans of a trace that have come so far, by their ids.
    #[must_use]
    pub fn trace(&self, trace: u128) -> BTreeMap<Vec<u8>, Collected> {
        let all = self.spans.lock().unwrap_or_else(PoisonError::into_inner);
        let of_it = all
            .iter()
            .filter(|it| it.span.trace_id == trace.to_be_bytes());
        of_it
            .map(|it| (it.span.span_id.clone(), it.clone()))
            .collect()
    }
}
