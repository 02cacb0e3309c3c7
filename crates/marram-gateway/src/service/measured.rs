//! The layer that counts calls: how many run, how they ended, how long they took, how many bytes went
//! each way. It begins their spans, too, and logs those that fail. It is the outermost one, so what
//! authentication refuses counts too.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use futures::future::{BoxFuture, FutureExt, TryFutureExt};
use http_body::{Body as HttpBody, Frame, SizeHint};
use marram_metrics::{Call, Calls, Method};
use marram_trace::{Context as TraceContext, Instrument, begin_call, fail, record, recorded};
use marram_types::RequestId;
use tonic::body::Body;
use tonic::codegen::http::{HeaderMap, Request, Response};
use tonic::{Code, Status};
use tonic_types::StatusExt;
use tower::{Layer, Service};
use tracing::Span;

use crate::change::Change;

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
        let change = Change::default();
        let answered = span.in_scope(|| self.inner.call(request));
        let answered = change.clone().of(answered).instrument(span.clone());
        let running = Running { call, change, span };
        answered.map_ok(|answer| measured(answer, running)).boxed()
    }
}

/// A call that has not ended.
struct Running {
    call: Call,
    change: Change,
    span: Span,
}

fn measured(answer: Response<Body>, mut running: Running) -> Response<Body> {
    running.call.began();
    // An answer without a body has its code in the headers.
    running.look_at(answer.headers());
    answer.map(|body| Body::new(Sent { body, running }))
}

impl Running {
    /// The call has ended, if these headers or trailers have a code.
    fn look_at(&mut self, headers: &HeaderMap) {
        let Some(code) = code_in(headers) else {
            return;
        };
        self.call.code(code);
        record(
            &self.span,
            "rpc.grpc.status_code",
            u64::from(code.unsigned_abs()),
        );
        if code != 0 {
            fail(&self.span, format!("{:?}", Code::from_i32(code)));
            self.span.in_scope(|| tell(headers, self.change.request()));
        }
    }
}

/// Logs a call that failed, as part of its span: which method and trace, the line says anyway. The message is left
/// out: it has names of buckets and keys.
fn tell(headers: &HeaderMap, change: Option<RequestId>) {
    let Some(status) = Status::from_header_map(headers) else {
        return;
    };
    let info = status.get_details_error_info();
    let reason = info.as_ref().map(|info| info.reason.as_str());
    let request_id = change.map(|id| id.to_string());
    let (code, request_id) = (status.code(), request_id.as_deref());
    if is_the_callers(code) {
        tracing::debug!(target: "calls", ?code, reason, request_id, "a call was refused");
    } else {
        tracing::info!(target: "calls", ?code, reason, request_id, "a call failed");
    }
}

/// Whether the caller can mend what is wrong, or wanted to know.
fn is_the_callers(code: Code) -> bool {
    matches!(
        code,
        Code::Cancelled
            | Code::InvalidArgument
            | Code::NotFound
            | Code::AlreadyExists
            | Code::PermissionDenied
            | Code::FailedPrecondition
            | Code::OutOfRange
            | Code::Unimplemented
            | Code::Unauthenticated
    )
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
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
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
    running: Running,
}

impl HttpBody for Sent {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        let polled = this
            .running
            .span
            .in_scope(|| Pin::new(&mut this.body).poll_frame(cx));
        let frame = ready!(polled);
        if let Some(Ok(frame)) = &frame {
            if let Some(data) = frame.data_ref() {
                this.running.call.sent(data.remaining());
            } else if let Some(trailers) = frame.trailers_ref() {
                this.running.look_at(trailers);
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
