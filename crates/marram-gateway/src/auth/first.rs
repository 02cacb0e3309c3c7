//! The first message of a call, looked at before the method sees it.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use http_body::{Body as _, Frame};
use marram_types::caps::API_MESSAGE_BYTES_MAX;
use tonic::Status;
use tonic::body::Body;

/// How long a call may wait with its first message.
pub(crate) const FIRST_MESSAGE_WITHIN: Duration = Duration::from_secs(30);
/// Flag and length before a message.
const PREFIX_BYTES: usize = 5;

/// Why a call's first message could not be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FirstError {
    #[error("the first message has {0} bytes; a message has at most {API_MESSAGE_BYTES_MAX}")]
    TooLarge(usize),
    #[error("the call has no message, or only a part of one")]
    Cut,
    #[error("the first message is compressed; compression is not offered")]
    Compressed,
    #[error("no message came within {} s", FIRST_MESSAGE_WITHIN.as_secs())]
    Late,
    #[error("the first message cannot be read: {0}")]
    Damaged(#[from] prost::DecodeError),
}

/// A body that gives again what was taken of it, as one frame, then the rest.
pub(crate) struct Replayed {
    taken: Option<Bytes>,
    rest: Body,
}

impl http_body::Body for Replayed {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        match self.taken.take() {
            Some(bytes) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
            None => Pin::new(&mut self.rest).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.taken.is_none() && self.rest.is_end_stream()
    }
}

/// Takes the first message. The body that comes back gives all of it again.
pub(crate) async fn take(body: Body) -> Result<(Bytes, Body), FirstError> {
    take_within(FIRST_MESSAGE_WITHIN, body).await
}

async fn take_within(limit: Duration, body: Body) -> Result<(Bytes, Body), FirstError> {
    let taken = tokio::time::timeout(limit, read(body)).await;
    taken.map_err(|_| FirstError::Late)?
}

/// Nothing is kept but the bytes: a caller whose grants are not known yet may cost no more than it
/// sends, however small the frames are in which it does.
async fn read(mut rest: Body) -> Result<(Bytes, Body), FirstError> {
    let mut seen = Bytes::new();
    loop {
        if let Some(message) = whole(&seen)? {
            let taken = Some(seen);
            return Ok((message, Body::new(Replayed { taken, rest })));
        }
        let next = std::future::poll_fn(|cx| Pin::new(&mut rest).poll_frame(cx)).await;
        let frame = next.and_then(Result::ok).ok_or(FirstError::Cut)?;
        let data = frame.into_data().map_err(|_| FirstError::Cut)?;
        // In most cases the first frame has it all, and nothing is copied.
        seen = match seen.is_empty() {
            true => data,
            false => {
                let mut joined = BytesMut::from(seen);
                joined.extend_from_slice(&data);
                joined.freeze()
            }
        };
    }
}

/// The message in the bytes so far, if all of it is there.
fn whole(seen: &Bytes) -> Result<Option<Bytes>, FirstError> {
    let Some((mut prefix, _)) = seen.split_at_checked(PREFIX_BYTES) else {
        return Ok(None);
    };
    if prefix.get_u8() != 0 {
        return Err(FirstError::Compressed);
    }
    let len = prefix.get_u32() as usize;
    if len > API_MESSAGE_BYTES_MAX {
        return Err(FirstError::TooLarge(len));
    }
    let message = PREFIX_BYTES..PREFIX_BYTES + len;
    Ok((message.end <= seen.len()).then(|| seen.slice(message)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A caller who sends nothing.
    struct Silent;

    impl http_body::Body for Silent {
        type Data = Bytes;
        type Error = Status;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
            Poll::Pending
        }
    }

    #[tokio::test]
    async fn a_call_without_a_message_is_given_up() {
        let taken = take_within(Duration::from_millis(10), Body::new(Silent)).await;
        assert!(matches!(taken, Err(FirstError::Late)));
    }
}
