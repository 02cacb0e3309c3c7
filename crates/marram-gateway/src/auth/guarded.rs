//! Calls that last: cut as soon as the access key that they were admitted by may not do this any more.
//!
//! The key is looked at again with every frame when anything in the cluster's view has changed; a frame
//! without a change costs a look at a counter and at the clock.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::Frame;
use marram_meta::ClusterView;
use tokio::sync::watch;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::http::{HeaderMap, Response};

use super::Caller;
use super::access::Need;
use super::layer::lacking;
use crate::status;

/// What a call was admitted by. An extension of the request, for methods whose work goes on while
/// nobody reads the answer.
#[derive(Clone)]
pub(crate) struct Guard {
    pub(super) view: watch::Receiver<Arc<ClusterView>>,
    pub(super) now_ms: fn() -> u64,
    pub(super) caller: Caller,
    pub(super) needs: Arc<[Need]>,
    /// When the key ends by itself.
    pub(super) expires_ms: Option<u64>,
}

impl Guard {
    /// Why the call may not go on; `None` where it may.
    pub(crate) fn taken_back(&mut self) -> Option<Status> {
        let now_ms = (self.now_ms)();
        let ended = self.expires_ms.is_some_and(|end| now_ms >= end);
        if !ended && !self.view.has_changed().unwrap_or(false) {
            return None;
        }
        let view = Arc::clone(&self.view.borrow_and_update());
        self.expires_ms = view
            .access_keys
            .get(&self.caller.access_key)
            .and_then(|key| key.expires_ms);
        let error = lacking(&view, &self.caller, &self.needs, now_ms)?;
        tracing::info!(key = %self.caller.access_key, %error, "a call was cut");
        Some(status::of(&error))
    }

    /// How long until the key ends by itself, if it does.
    pub(crate) fn ends_within(&self) -> Option<Duration> {
        let left = self.expires_ms?.saturating_sub((self.now_ms)());
        Some(Duration::from_millis(left))
    }

    /// A request's body under guard: it fails where the call may not go on.
    pub(super) fn request(self, body: Body) -> Body {
        Body::new(Requested {
            guard: self,
            inner: body,
        })
    }

    /// A response under guard. What is answered in one piece is done, and told. What failed because
    /// its request was cut says so.
    pub(super) fn answer(mut self, response: Response<Body>) -> Response<Body> {
        if response.headers().contains_key(Status::GRPC_STATUS)
            && let Some(status) = self.taken_back()
        {
            return status.into_http();
        }
        response.map(|inner| {
            Body::new(Answered {
                guard: self,
                inner,
                begun: false,
                cut: false,
            })
        })
    }
}

struct Requested {
    guard: Guard,
    inner: Body,
}

impl http_body::Body for Requested {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let next = ready!(Pin::new(&mut self.inner).poll_frame(cx));
        Poll::Ready(match self.guard.taken_back() {
            Some(status) => Some(Err(status)),
            None => next,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }
}

struct Answered {
    guard: Guard,
    inner: Body,
    /// The first frame is out.
    begun: bool,
    cut: bool,
}

impl http_body::Body for Answered {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.cut {
            return Poll::Ready(None);
        }
        let next = ready!(Pin::new(&mut self.inner).poll_frame(cx));
        let data = matches!(&next, Some(Ok(frame)) if frame.is_data());
        if data
            && std::mem::replace(&mut self.begun, true)
            && let Some(status) = self.guard.taken_back()
        {
            self.cut = true;
            let mut trailers = HeaderMap::new();
            let told = status.add_header(&mut trailers);
            return Poll::Ready(Some(told.map(|()| Frame::trailers(trailers))));
        }
        Poll::Ready(next)
    }

    fn is_end_stream(&self) -> bool {
        self.cut || self.inner.is_end_stream()
    }
}
