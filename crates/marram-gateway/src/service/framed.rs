//! The answer of a get, framed by hand: object bytes leave as they are, in data frames of their
//! own, instead of being copied into an encoder's buffer (docs/decisions/0007: half the CPU per byte).
//! On the wire it is the same gRPC that any client reads.
//!
//! The method hands its stream over in the response's extensions; [`FramedLayer`] makes it the
//! response's body.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{BufMut, Bytes, BytesMut};
use futures::future::{MapOk, TryFutureExt};
use futures::stream;
use http_body::{Body as HttpBody, Frame};
use marram_proto::v1;
use marram_proto::v1::get_object_response::Message as Got;
use marram_types::caps::KIB;
use parking_lot::Mutex;
use prost::Message;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::BoxStream;
use tonic::codegen::http::{HeaderMap, Request, Response};
use tower::{Layer, Service};

/// Chunks below this size are copied behind their header: two frames would cost more.
const COPIED_BYTES_MAX: usize = 16 * KIB;
/// Room for a message's framing: five bytes of gRPC, three tags, two lengths, a checksum.
const FRAMING_BYTES: usize = 32;

type Answers = BoxStream<v1::GetObjectResponse>;

/// A stream on its way from the method to the layer.
#[derive(Clone)]
struct Handed(Arc<Mutex<Option<Answers>>>);

/// A response whose body the layer makes of `stream`.
pub(super) fn hand_over(stream: Answers) -> tonic::Response<Answers> {
    with_body(Box::pin(stream::empty()), stream)
}

/// A response with one chunk, whose body the layer makes. A message with a chunk is the same bytes
/// in a `ReadShardResponse` and in a `GetObjectResponse`.
pub(super) fn hand_over_chunk(chunk: v1::Chunk) -> tonic::Response<v1::ReadShardResponse> {
    let message = v1::GetObjectResponse {
        message: Some(Got::Chunk(chunk)),
    };
    let stream = stream::iter([Ok(message)]);
    with_body(v1::ReadShardResponse::default(), Box::pin(stream))
}

fn with_body<T>(instead: T, stream: Answers) -> tonic::Response<T> {
    let mut response = tonic::Response::new(instead);
    let handed = Handed(Arc::new(Mutex::new(Some(stream))));
    response.extensions_mut().insert(handed);
    response
}

/// Frames the streams that were handed over.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FramedLayer;

impl<S> Layer<S> for FramedLayer {
    type Service = Framed<S>;

    fn layer(&self, inner: S) -> Framed<S> {
        Framed(inner)
    }
}

/// A service behind the layer.
#[derive(Debug, Clone)]
pub(crate) struct Framed<S>(S);

impl<S, B> Service<Request<B>> for Framed<S>
where
    S: Service<Request<B>, Response = Response<Body>, Error = Infallible>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = MapOk<S::Future, fn(Response<Body>) -> Response<Body>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        self.0.call(request).map_ok(framed)
    }
}

fn framed(mut response: Response<Body>) -> Response<Body> {
    let handed = response.extensions_mut().remove::<Handed>();
    if let Some(stream) = handed.and_then(|handed| handed.0.lock().take()) {
        *response.body_mut() = Body::new(Answer {
            stream: Some(stream),
            ready: VecDeque::new(),
        });
    }
    response
}

/// A body of length-prefixed messages.
struct Answer {
    /// Gone after the end.
    stream: Option<Answers>,
    ready: VecDeque<Bytes>,
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        loop {
            if let Some(bytes) = self.ready.pop_front() {
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
            let Some(stream) = self.stream.as_mut() else {
                return Poll::Ready(None);
            };
            let end = match ready!(stream.as_mut().poll_next(cx)) {
                Some(Ok(answer)) => {
                    frame(answer, &mut self.ready);
                    continue;
                }
                Some(Err(status)) => status,
                None => Status::ok(""),
            };
            self.stream = None;
            return Poll::Ready(Some(Ok(Frame::trailers(trailers(&end)))));
        }
    }

    fn is_end_stream(&self) -> bool {
        self.stream.is_none() && self.ready.is_empty()
    }
}

fn trailers(status: &Status) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    if status.add_header(&mut trailers).is_err() {
        let plain = Status::new(status.code(), "the error's text cannot be sent");
        plain
            .add_header(&mut trailers)
            .expect("plain ASCII can be sent");
    }
    trailers
}

/// Bytes of a length or tag as protobuf writes it.
fn varint_len(value: usize) -> usize {
    prost::encoding::encoded_len_varint(value as u64)
}

fn start(message_len: usize, room: usize) -> BytesMut {
    let mut out = BytesMut::with_capacity(FRAMING_BYTES + room);
    out.put_u8(0);
    out.put_u32(u32::try_from(message_len).expect("a message is far below 4 GiB"));
    out
}

/// Appends the frames of a message.
fn frame(answer: v1::GetObjectResponse, out: &mut VecDeque<Bytes>) {
    let Some(Got::Chunk(chunk)) = answer.message else {
        let mut whole = start(answer.encoded_len(), answer.encoded_len());
        answer
            .encode(&mut whole)
            .expect("the buffer grows as needed");
        out.push_back(whole.freeze());
        return;
    };
    // GetObjectResponse { chunk = 2: Chunk { crc32c = 2, data = 1 } }, the data last.
    let data_len = chunk.data.len();
    let inner = 1 + 4 + 1 + varint_len(data_len) + data_len;
    let outer = 1 + varint_len(inner) + inner;
    let copied = data_len < COPIED_BYTES_MAX;
    let mut head = start(outer, if copied { data_len } else { 0 });
    head.put_u8(2 << 3 | 2);
    prost::encoding::encode_varint(inner as u64, &mut head);
    head.put_u8(2 << 3 | 5);
    head.put_u32_le(chunk.crc32c);
    head.put_u8(1 << 3 | 2);
    prost::encoding::encode_varint(data_len as u64, &mut head);
    if copied {
        head.put_slice(&chunk.data);
        out.push_back(head.freeze());
    } else {
        out.push_back(head.freeze());
        out.push_back(chunk.data);
    }
}

#[cfg(test)]
mod tests;
