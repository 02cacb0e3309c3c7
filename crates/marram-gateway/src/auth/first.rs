//! The first message of a call, looked at before the method sees it.
//!
//! In most cases one frame has all of it and nothing is kept. Pieces of messages whose rest has yet to come are
//! counted for the whole process: callers whose grants are not known yet may cost so much together and no more.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use http_body::{Body as _, Frame};
use marram_types::caps::{API_MESSAGE_BYTES_MAX, FIRST_MESSAGES_BYTES_MAX, KIB};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::Status;
use tonic::body::Body;

/// How long a call may wait with its first message.
pub(crate) const FIRST_MESSAGE_WITHIN: Duration = Duration::from_secs(30);
/// Flag and length before a message.
const PREFIX_BYTES: usize = 5;

/// In such units the pieces are counted.
const UNIT_BYTES: usize = KIB;

/// Room for pieces of first messages, of a whole process.
pub(crate) struct FirstMemory(Arc<Semaphore>);

impl Default for FirstMemory {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(
            FIRST_MESSAGES_BYTES_MAX / UNIT_BYTES,
        )))
    }
}

impl FirstMemory {
    /// Makes what is held enough for so many bytes.
    fn hold(
        &self,
        held: &mut Option<OwnedSemaphorePermit>,
        bytes: usize,
    ) -> Result<(), FirstError> {
        let has = held.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let more = bytes.div_ceil(UNIT_BYTES).saturating_sub(has);
        if more == 0 {
            return Ok(());
        }
        let more = u32::try_from(more).map_err(|_| FirstError::Busy)?;
        let more = Arc::clone(&self.0).try_acquire_many_owned(more);
        let more = more.map_err(|_| FirstError::Busy)?;
        match held {
            Some(held) => held.merge(more),
            None => *held = Some(more),
        }
        Ok(())
    }
}

/// Why a call's first message could not be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FirstError {
    #[error(
        "this server waits for the rest of as many first messages as it has memory for; make the call again later, or at another server"
    )]
    Busy,
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
pub(crate) async fn take(memory: &FirstMemory, body: Body) -> Result<(Bytes, Body), FirstError> {
    take_within(FIRST_MESSAGE_WITHIN, memory, body).await
}

async fn take_within(
    limit: Duration,
    memory: &FirstMemory,
    body: Body,
) -> Result<(Bytes, Body), FirstError> {
    let taken = tokio::time::timeout(limit, read(memory, body)).await;
    taken.map_err(|_| FirstError::Late)?
}

/// Nothing is kept but the bytes: a caller whose grants are not known yet may cost no more than it
/// sends, however small the frames are in which it does.
async fn read(memory: &FirstMemory, mut rest: Body) -> Result<(Bytes, Body), FirstError> {
    let mut seen = Bytes::new();
    let mut held = None;
    loop {
        if let Some(message) = whole(&seen)? {
            let taken = Some(seen);
            return Ok((message, Body::new(Replayed { taken, rest })));
        }
        memory.hold(&mut held, seen.len())?;
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
        let memory = FirstMemory::default();
        let taken = take_within(Duration::from_millis(10), &memory, Body::new(Silent)).await;
        assert!(matches!(taken, Err(FirstError::Late)));
    }

    /// A caller who sends these frames, and then nothing.
    struct Pieces(std::collections::VecDeque<Bytes>);

    impl http_body::Body for Pieces {
        type Data = Bytes;
        type Error = Status;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
            match self.0.pop_front() {
                Some(piece) => Poll::Ready(Some(Ok(Frame::data(piece)))),
                None => Poll::Pending,
            }
        }
    }

    /// A message of a MiB, as the frames in which it comes.
    fn message(frames: &[usize]) -> Body {
        let len = u32::try_from(MESSAGE).unwrap();
        let mut whole = BytesMut::from(&[0_u8][..]);
        whole.extend_from_slice(&len.to_be_bytes());
        whole.resize(PREFIX_BYTES + MESSAGE, 7);
        let mut whole = whole.freeze();
        let cut = |bytes: &usize| whole.split_to(*bytes);
        Body::new(Pieces(frames.iter().map(cut).collect()))
    }

    const MESSAGE: usize = 1 << 20;

    #[tokio::test]
    async fn pieces_of_first_messages_cost_a_process_so_much_and_no_more() {
        let memory = FirstMemory::default();
        let all = FIRST_MESSAGES_BYTES_MAX / UNIT_BYTES;
        let left = || memory.0.available_permits();
        let piece = 1 << 19;
        let mut waiting: Vec<_> = (0..FIRST_MESSAGES_BYTES_MAX / piece)
            .map(|_| Box::pin(read(&memory, message(&[piece]))))
            .collect();
        for one in &mut waiting {
            assert!(futures::poll!(one).is_pending());
        }
        assert_eq!(left(), 0);
        let one_more = read(&memory, message(&[1])).await.map(|_| ());
        assert!(matches!(one_more, Err(FirstError::Busy)), "{one_more:?}");
        // Whoever sends the message in one frame costs nothing.
        let (whole, _) = read(&memory, message(&[PREFIX_BYTES + MESSAGE]))
            .await
            .unwrap();
        assert_eq!(whole.len(), MESSAGE);
        waiting.pop();
        assert_eq!(left(), piece / UNIT_BYTES);
        let frames = [1, piece / 4, PREFIX_BYTES + MESSAGE - 1 - piece / 4];
        let (whole, _) = read(&memory, message(&frames)).await.unwrap();
        assert_eq!(whole.len(), MESSAGE);
        assert_eq!(left(), piece / UNIT_BYTES, "it is given back");
        waiting.clear();
        assert_eq!(left(), all);
    }
}
