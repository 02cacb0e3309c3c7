//! The span of a call of the API.

use std::time::Instant;

use tracing::Span;
use tracing_subscriber::Registry;
use tracing_subscriber::registry::LookupSpan;

use crate::context::{Context, SpanId, TraceId};
use crate::sink;
use crate::step::{Kind, Step, hang_on};

/// What log lines of a call say of it. It hangs on the span of every call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallInfo {
    /// Its trace: that of the caller where it sent one. Recorded or not, it is what the lines of one call have
    /// in common.
    pub trace: TraceId,
    /// The call itself: a caller that tries again has the same trace.
    pub call: SpanId,
    /// What was called, such as `/marram.v1.ObjectService/PutObject`.
    pub method: Box<str>,
}

/// Begins a call of `method`, and records it where the caller or the dice say so. `asked` is what the caller
/// sent.
#[must_use]
pub fn begin_call(method: &str, asked: Option<&Context>) -> Span {
    let span = tracing::info_span!(target: "marram_trace", "call");
    let trace = asked.map_or_else(TraceId::random, |asked| asked.trace);
    let context = Context {
        trace,
        span: SpanId::random(),
        sampled: true,
        state: asked.and_then(|asked| asked.state.clone()),
    };
    let info = CallInfo {
        trace,
        call: context.span,
        method: method.into(),
    };
    span.with_subscriber(|(id, dispatch)| {
        let registry = dispatch.downcast_ref::<Registry>();
        if let Some(span) = registry.and_then(|registry| registry.span(id)) {
            span.extensions_mut().insert(info);
        }
    });
    let taken = sink::sampler().is_some_and(|it| it.takes(asked, trace, Instant::now()));
    if taken {
        let step = Step::of(Kind::Server, method.trim_start_matches('/').to_owned());
        hang_on(&span, context, asked.map(|asked| asked.span), step);
    }
    span
}
