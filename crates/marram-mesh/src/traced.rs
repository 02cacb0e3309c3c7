//! Requests that belong to a recorded trace: the context of the span that sends one stands in front of
//! its header.
//!
//! A header is a protobuf message, so a field with a number that no message has may stand in front of
//! it: a peer of a release without traces skips it like any field that it does not know, and a
//! request without it costs its receiver a look at two bytes.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use marram_proto::mesh::v1::Method;
use marram_trace::{Context, Kind, Step, begin, begin_under, fail, is_on, record};
use marram_types::NodeId;
use prost::encoding::{WireType, decode_varint, encode_key, encode_varint};
use tracing::Span;

use crate::peers::Peer;
use crate::rpc::{CallError, RpcFailure};

/// Number of the field; see `TraceField` in mesh.proto.
const FIELD: u32 = 1999;
/// Its key as it stands on the wire: the number and that bytes follow.
const KEY: [u8; 2] = [0xfa, 0x7c];

/// The header with the context in front of it.
pub(crate) fn with_context(context: &Context, header: &[u8]) -> Bytes {
    let context = context.to_bytes();
    let mut out = BytesMut::with_capacity(KEY.len() + 2 + context.len() + header.len());
    encode_key(FIELD, WireType::LengthDelimited, &mut out);
    encode_varint(context.len() as u64, &mut out);
    out.put_slice(&context);
    out.put_slice(header);
    out.freeze()
}

/// Takes the context off a header, where there is one and this process records. Bytes that only begin like one
/// stay: whoever reads the header says what is wrong with them.
pub(crate) fn take_context(header: &mut Bytes) -> Option<Context> {
    if !is_on() || !header.starts_with(&KEY) {
        return None;
    }
    let mut rest = header.slice(KEY.len()..);
    let len = usize::try_from(decode_varint(&mut rest).ok()?).ok()?;
    if len > rest.remaining() {
        return None;
    }
    let context = Context::from_bytes(&rest.split_to(len));
    *header = rest;
    context
}

/// The span of a request that goes to a node; of nothing where what runs is not recorded.
pub(crate) fn asking(method: Method, to: NodeId) -> Span {
    begin(|| Step::of(Kind::Client, format!("mesh {method:?}")).with("node", to.0))
}

/// Says how a request went that was asked.
pub(crate) fn asked<T>(span: &Span, answer: &Result<T, CallError>) {
    if let Err(error) = answer
        && !span.is_none()
    {
        // In words of ours: what a peer says may hold names.
        let why = match error {
            CallError::UnknownNode(_) => "UNKNOWN_NODE".to_owned(),
            CallError::Unreachable { .. } => "UNREACHABLE".to_owned(),
            CallError::Lost { .. } => "LOST".to_owned(),
            CallError::Deadline { .. } => "LATE".to_owned(),
            CallError::Failed(failure) => failure.code.as_str_name().to_owned(),
            CallError::TooLarge { .. } => "TOO_LARGE".to_owned(),
            CallError::Malformed { .. } => "MALFORMED".to_owned(),
        };
        fail(span, why);
    }
}

/// The span of a request that came.
pub(crate) fn answering(
    context: Option<&Context>,
    method: Method,
    peer: &Peer,
    own: Option<NodeId>,
) -> Span {
    let Some(context) = context else {
        return Span::none();
    };
    let mut step = Step::of(Kind::Server, format!("mesh {method:?}"));
    if let Peer::Node(from) = peer {
        step = step.with("from", from.0);
    }
    if let Some(own) = own {
        step = step.with("node", own.0);
    }
    begin_under(context, step)
}

/// Says how a request went that came.
pub(crate) fn answered(span: &Span, result: &Result<(Bytes, Bytes), RpcFailure>) {
    if span.is_none() {
        return;
    }
    match result {
        Ok((_, payload)) => record(span, "answer_bytes", payload.len()),
        Err(failure) => fail(span, failure.code.as_str_name()),
    }
}

#[cfg(test)]
mod tests {
    use marram_proto::mesh::v1 as wire;
    use marram_trace::{Sampling, start};
    use prost::Message;

    use super::*;

    fn request() -> wire::ProposeRequest {
        wire::ProposeRequest {
            group: 3,
            command: Bytes::from_static(b"command"),
        }
    }

    #[test]
    fn a_context_stands_in_front_and_is_taken_off_again() {
        let context = Context::new_trace(true).with_state(Some(&"s".repeat(300)));
        let plain = Bytes::from(request().encode_to_vec());
        let sent = with_context(&context, &plain);
        assert!(sent.starts_with(&KEY));
        // As a peer reads it that knows of no traces, or records none.
        assert_eq!(wire::ProposeRequest::decode(sent.clone()), Ok(request()));
        let named = wire::TraceField::decode(sent.clone()).expect("a message");
        assert_eq!(named.context, context.to_bytes());

        let _spans = start(Sampling { per_million: 0 });
        let mut header = sent.clone();
        assert_eq!(take_context(&mut header), Some(context));
        assert_eq!(header, plain);
        assert_eq!(take_context(&mut header), None);
        assert_eq!(header, plain);

        // Damaged ones change nothing, or are no context.
        let mut cut = sent.slice(..10);
        assert_eq!(take_context(&mut cut), None);
        assert_eq!(cut, sent.slice(..10));
        let mut short = Bytes::from_static(&[KEY[0], KEY[1], 1, 7]);
        assert_eq!(take_context(&mut short), None);
        let mut endless = Bytes::from_static(&[KEY[0], KEY[1], 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]);
        assert_eq!(take_context(&mut endless), None);
    }
}
