//! As much of OTLP's trace messages as is sent. Fields and numbers are those of
//! opentelemetry.proto.collector.trace.v1 and what it refers to; a test sends them to a receiver
//! that was generated from the definitions themselves (tests/cluster, `tracing`).

use std::time::{SystemTime, UNIX_EPOCH};

use marram_trace::{Finished, Kind, Value};

use super::Origin;

/// `ExportTraceServiceRequest`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ExportRequest {
    #[prost(message, repeated, tag = "1")]
    resource_spans: Vec<ResourceSpans>,
}

/// `ExportTraceServiceResponse`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ExportAnswer {
    #[prost(message, optional, tag = "1")]
    pub(super) partial_success: Option<PartialSuccess>,
}

/// `ExportTracePartialSuccess`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct PartialSuccess {
    #[prost(int64, tag = "1")]
    pub(super) rejected_spans: i64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ResourceSpans {
    #[prost(message, optional, tag = "1")]
    resource: Option<Resource>,
    #[prost(message, repeated, tag = "2")]
    scope_spans: Vec<ScopeSpans>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Resource {
    #[prost(message, repeated, tag = "1")]
    attributes: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ScopeSpans {
    #[prost(message, optional, tag = "1")]
    scope: Option<Scope>,
    #[prost(message, repeated, tag = "2")]
    spans: Vec<Span>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Scope {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    version: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Span {
    #[prost(bytes = "vec", tag = "1")]
    trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    span_id: Vec<u8>,
    #[prost(string, tag = "3")]
    trace_state: String,
    #[prost(bytes = "vec", tag = "4")]
    parent_span_id: Vec<u8>,
    #[prost(string, tag = "5")]
    name: String,
    #[prost(int32, tag = "6")]
    kind: i32,
    #[prost(fixed64, tag = "7")]
    start_ns: u64,
    #[prost(fixed64, tag = "8")]
    end_ns: u64,
    #[prost(message, repeated, tag = "9")]
    attributes: Vec<KeyValue>,
    #[prost(message, optional, tag = "15")]
    status: Option<Status>,
    #[prost(fixed32, tag = "16")]
    flags: u32,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Status {
    #[prost(string, tag = "2")]
    message: String,
    #[prost(int32, tag = "3")]
    code: i32,
}

#[derive(Clone, PartialEq, prost::Message)]
struct KeyValue {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(message, optional, tag = "2")]
    value: Option<AnyValue>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct AnyValue {
    #[prost(oneof = "One", tags = "1, 3")]
    value: Option<One>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum One {
    #[prost(string, tag = "1")]
    Text(String),
    #[prost(int64, tag = "3")]
    Number(i64),
}

/// Of the flags: the trace is sampled.
const SAMPLED: u32 = 1;
/// `STATUS_CODE_ERROR`.
const ERROR: i32 = 2;

fn text(key: &str, value: impl Into<String>) -> KeyValue {
    pair(key, One::Text(value.into()))
}

fn pair(key: &str, value: One) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
    }
}

fn nanoseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

fn span(span: Finished) -> Span {
    let attributes = span.attributes.into_iter().map(|(key, value)| {
        let value = match value {
            Value::Number(number) => One::Number(number),
            Value::Word(word) => One::Text(word.into_owned()),
        };
        pair(key, value)
    });
    Span {
        trace_id: span.context.trace.0.to_be_bytes().to_vec(),
        span_id: span.context.span.0.to_be_bytes().to_vec(),
        trace_state: span.context.state.as_deref().unwrap_or_default().to_owned(),
        parent_span_id: span
            .parent
            .map_or_else(Vec::new, |parent| parent.0.to_be_bytes().to_vec()),
        name: span.name.into_owned(),
        kind: match span.kind {
            Kind::Internal => 1,
            Kind::Server => 2,
            Kind::Client => 3,
        },
        start_ns: nanoseconds(span.began),
        end_ns: nanoseconds(span.ended),
        attributes: attributes.collect(),
        status: span.failed.map(|why| Status {
            message: why.into_owned(),
            code: ERROR,
        }),
        flags: SAMPLED,
    }
}

impl ExportRequest {
    /// The message for these spans of this process.
    pub(super) fn of(spans: Vec<Finished>, origin: &Origin) -> Self {
        let version = env!("CARGO_PKG_VERSION");
        let attributes = vec![
            text("service.name", format!("marram-{}", origin.kind)),
            text("service.version", version),
            text("service.instance.id", origin.name.clone()),
        ];
        let scope = Scope {
            name: "marram".to_owned(),
            version: version.to_owned(),
        };
        Self {
            resource_spans: vec![ResourceSpans {
                resource: Some(Resource { attributes }),
                scope_spans: vec![ScopeSpans {
                    scope: Some(scope),
                    spans: spans.into_iter().map(span).collect(),
                }],
            }],
        }
    }
}
