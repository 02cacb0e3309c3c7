//! The layer that counts calls: how many run, how they ended, how long they took, how many bytes went
//! each way. It begins their spans, too. It is the outermost one, so what authentication refuses counts too.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use futures::future::{BoxFuture, FutureExt, TryFutureExt};
use http_body::{Body as HttpBody, Frame, SizeHint};
use marram_metrics::{Call, Calls, Method};
use marram_trace::{Context as TraceContext, Instrument, begin_call, fail, record, recorded};
use tonic::Code;
use tonic::body::Body;
use tonic::codegen::http::{HeaderMap, Request, Response};
use tower::{Layer, Service};
use tracing::Span;

/// Where a call's code is, in the headers or in the trailers of its answer.
const STATUS: &str = "grpc-status";
/// Where a caller says which trace a call belongs to (W3C trace context).
const TRACEPARENT: &str = "traceparent";
const TRACESTATE: &str = "tracestate";

/// Counts the calls of a service.
#[derive(Debug, Clone)]
pub(crate) struct MeasuredLayer(pub(crate) Arc<Calls>);

impl<S> Layer<S> for MeasuredLayer {
    type Service = Measured<S>;

    fn layer(&self, inner: S) -> Measured<S> {
        let calls = Arc::clone(&self.0);
        Measured { calls, inner }
    }
}

/// A service whose calls are counted.
#[derive(Debug, Clone)]
pub(crate) struct Measured<S> {
    calls: Arc<Calls>,
    inner: S,
}

impl<S> Service<Request<Body>> for Measured<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let mut call = self.calls.begin(request.uri().path());
        let method = Arc::clone(call.method());
        let span = begin_call(method.full_name(), trace_in(request.headers()).as_ref());
        call.traced(recorded(&span).map(|context| context.trace.0));
        let request = request.map(|body| Body::new(Received { body, method }));
        // A caller that goes away drops the future, and the call with it.
        let answered = span.in_scope(|| self.inner.call(request));
        let answered = answered.instrument(span.clone());
        answered
            .map_ok(|answer| measured(answer, call, span))
            .boxed()
    }
}

fn measured(answer: Response<Body>, mut call: Call, span: Span) -> Response<Body> {
    call.began();
    // An answer without a body has its code in the headers.
    if let Some(code) = code_in(answer.headers()) {
        ended(&mut call, &span, code);
    }
    answer.map(|body| Body::new(Sent { body, call, span }))
}

fn ended(call: &mut Call, span: &Span, code: i32) {
    call.code(code);
    record(span, "rpc.grpc.status_code", u64::from(code.unsigned_abs()));
    if code != 0 {
        fail(span, format!("{:?}", Code::from_i32(code)));
    }
}

/// Which trace the caller says that it belongs to.
fn trace_in(headers: &HeaderMap) -> Option<TraceContext> {
    let parent = headers.get(TRACEPARENT)?.to_str().ok()?;
    let state = headers
        .get(TRACESTATE)
        .and_then(|state| state.to_str().ok());
    TraceContext::parse(parent).map(|context| context.with_state(state))
}

fn code_in(headers: &HeaderMap) -> Option<i32> {
    let code = headers.get(STATUS)?;
    Some(Code::from_bytes(code.as_bytes()).into())
}

/// The body of a call, counted as it is read.
struct Received {
    body: Body,
    method: Arc<Method>,
}

impl HttpBody for Received {
    type Data = Bytes;
    type Error = tonic::Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, tonic::Status>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
        {
            self.method.received(data.remaining());
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The body of an answer, counted as it goes. The call ends with it.
struct Sent {
    body: Body,
    call: Call,
    span: Span,
}

impl HttpBody for Sent {
    type Data = Bytes;
    type Error = tonic::Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, tonic::Status>>> {
        let this = &mut *self;
        let polled = this
            .span
            .in_scope(|| Pin::new(&mut this.body).poll_frame(cx));
        let frame = ready!(polled);
        if let Some(Ok(frame)) = &frame {
            if let Some(data) = frame.data_ref() {
                this.call.sent(data.remaining());
            } else if let Some(code) = frame.trailers_ref().and_then(code_in) {
                ended(&mut this.call, &this.span, code);
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
