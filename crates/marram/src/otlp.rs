//! Finished spans on their way to an OpenTelemetry collector, by OTLP over gRPC.
//!
//! Nothing waits for it: spans wait in a bounded queue, batches that the collector does not take are given
//! up, and both are counted. The messages are this crate's own (docs/decisions/0060).

use std::time::Duration;

use anyhow::{Context, Result};
use marram_trace::{Finished, Sampling, Spans};
use marram_types::config::TracingConfig;
use tokio::time::{sleep, timeout};
use tonic::Request;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, ClientTlsConfig, Endpoint};
use tonic_prost::ProstCodec;

mod messages;

use messages::{ExportAnswer, ExportRequest};

/// Spans in one message at most.
const BATCH_SPANS_MAX: usize = 512;
/// How long the first span of a batch waits for others.
const GATHER: Duration = Duration::from_millis(500);
/// How long a connection to the collector may take to come up.
const CONNECT_WITHIN: Duration = Duration::from_secs(2);
/// How long the collector may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// Pause after a batch that was not taken: a collector that is down is not asked all the time.
const PAUSE: Duration = Duration::from_secs(1);
/// The one method.
const EXPORT: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

/// Which process the spans are of.
#[derive(Debug, Clone)]
pub(crate) struct Origin {
    /// `server` or `gateway`.
    pub kind: &'static str,
    /// What it is called.
    pub name: String,
}

/// Records and exports from now on, where the settings name a collector. Needs the main runtime.
///
/// # Errors
/// When the collector's address cannot be used.
pub(crate) fn start(config: &TracingConfig, origin: Origin) -> Result<()> {
    let Some(endpoint) = &config.otlp_endpoint else {
        return Ok(());
    };
    let channel = channel(endpoint)
        .with_context(|| format!("tracing.otlp_endpoint {endpoint:?} cannot be used"))?;
    let sampling = Sampling {
        per_million: config.sample_per_million,
    };
    if let Some(spans) = marram_trace::start(sampling) {
        tracing::info!(%endpoint, per_million = config.sample_per_million, "traces go to a collector");
        tokio::spawn(export(spans, channel, origin));
    }
    Ok(())
}

fn channel(endpoint: &str) -> Result<Channel> {
    let mut to = Endpoint::from_shared(endpoint.to_owned())?
        .connect_timeout(CONNECT_WITHIN)
        .timeout(ANSWER_WITHIN);
    if endpoint.starts_with("https://") {
        to = to.tls_config(ClientTlsConfig::new().with_native_roots())?;
    }
    Ok(to.connect_lazy())
}

async fn export(mut spans: Spans, channel: Channel, origin: Origin) {
    let mut works = true;
    loop {
        let mut batch = spans.next(BATCH_SPANS_MAX).await;
        if batch.is_empty() {
            return;
        }
        if batch.len() < BATCH_SPANS_MAX {
            sleep(GATHER).await;
            spans.more(&mut batch, BATCH_SPANS_MAX);
        }
        let count = batch.len();
        match timeout(
            CONNECT_WITHIN + ANSWER_WITHIN,
            send(&channel, batch, &origin),
        )
        .await
        {
            Ok(Ok(rejected)) => {
                if !works {
                    tracing::info!("the collector takes traces again");
                }
                works = true;
                spans.failed(rejected.min(count));
                spans.exported(count.saturating_sub(rejected));
            }
            failed => {
                spans.failed(count);
                // Once, not for each batch: the metric counts them.
                if works {
                    let error = match failed {
                        Ok(Err(status)) => status.to_string(),
                        _ => "it did not answer in time".to_owned(),
                    };
                    tracing::warn!(
                        error,
                        "the collector takes no traces; they are dropped and counted"
                    );
                }
                works = false;
                sleep(PAUSE).await;
            }
        }
    }
}

/// Sends a batch; how many spans of it the collector did not want.
async fn send(
    channel: &Channel,
    batch: Vec<Finished>,
    origin: &Origin,
) -> Result<usize, tonic::Status> {
    let mut grpc = Grpc::new(channel.clone());
    let not_ready = |error: tonic::transport::Error| {
        // The reason stands in the sources.
        let sources = std::iter::successors(std::error::Error::source(&error), |e| e.source());
        let reason = sources
            .last()
            .map_or_else(|| error.to_string(), ToString::to_string);
        tonic::Status::unavailable(reason)
    };
    grpc.ready().await.map_err(not_ready)?;
    let request = Request::new(ExportRequest::of(batch, origin));
    let codec: ProstCodec<ExportRequest, ExportAnswer> = ProstCodec::default();
    let path = PathAndQuery::from_static(EXPORT);
    let answer: ExportAnswer = grpc.unary(request, path, codec).await?.into_inner();
    let rejected = answer.partial_success.map_or(0, |part| part.rejected_spans);
    Ok(usize::try_from(rejected).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use marram_trace::{Context as TraceContext, OwnSpans, Recorder, Step, begin_under, counts};
    use tracing_subscriber::Layer;
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[tokio::test]
    async fn a_collector_that_is_not_there_costs_a_count_and_no_time() {
        let spans = marram_trace::start(Sampling { per_million: 0 });
        let spans = spans.expect("no other test of this process starts it");
        // A port that was free a moment ago.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("it has one");
        drop(listener);
        let channel = channel(&format!("http://{address}")).expect("an address");
        let origin = Origin {
            kind: "server",
            name: "node-1".to_owned(),
        };
        let exporting = tokio::spawn(export(spans, channel, origin));
        let subscriber = tracing_subscriber::registry().with(Recorder.with_filter(OwnSpans));
        let asked = TraceContext::new_trace(true);
        let began = Instant::now();
        tracing::subscriber::with_default(subscriber, || {
            for _ in 0..10 {
                drop(begin_under(&asked, Step::new("x")));
            }
        });
        assert!(began.elapsed() < Duration::from_secs(1));
        while counts().failed < 10 {
            assert!(began.elapsed() < Duration::from_secs(60), "{:?}", counts());
            sleep(Duration::from_millis(20)).await;
        }
        assert_eq!((counts().failed, counts().exported), (10, 0));
        exporting.abort();
    }
}
