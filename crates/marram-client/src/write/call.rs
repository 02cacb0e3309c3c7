//! One WriteObject call.

use std::time::Duration;

use bytes::Bytes;
use futures::stream::unfold;
use marram_proto::v1;
use marram_proto::v1::write_object_request::Message;
use marram_types::crc32c;
use tokio::sync::mpsc::{self, Permit, Receiver, Sender};
use tonic::{Status, Streaming};

use crate::client::{Lane, within};
use crate::error::{ClientError, ErrorKind};

/// Messages that are handed over before the connection takes them.
const AHEAD: usize = 4;

/// A server records what it has at least this often, and then says so.
pub(super) const RECORDED_WITHIN: Duration = Duration::from_secs(25);

/// A call that takes bytes.
pub(super) struct Call {
    /// Until the last byte was sent.
    pub(super) to: Option<Sender<v1::WriteObjectRequest>>,
    pub(super) answers: Streaming<v1::WriteObjectResponse>,
    /// Which server it goes to.
    pub(super) server: usize,
}

fn failed(status: &Status) -> ClientError {
    ClientError::from_status(status)
}

fn broken() -> ClientError {
    ClientError::new(ErrorKind::Unavailable, "the server ended the call")
}

impl Call {
    /// Begins a call, and waits until the server says that it takes bytes.
    pub(super) async fn open(
        lane: Lane,
        header: v1::WriteObjectHeader,
        limit: Duration,
    ) -> Result<Self, ClientError> {
        let (to, from) = mpsc::channel(AHEAD);
        let message = Some(Message::Header(header));
        let first = to.try_send(v1::WriteObjectRequest { message });
        first.expect("the channel is empty, and its other end is here");
        let mut writes = lane.writes();
        let begun = async {
            let messages = unfold(from, |mut from: Receiver<_>| async {
                from.recv().await.map(|message| (message, from))
            });
            let request = lane.request(messages);
            let answers = writes.write_object(request).await;
            let mut answers = answers.map_err(|s| failed(&s))?.into_inner();
            match answers.message().await.map_err(|s| failed(&s))? {
                Some(_) => Ok(answers),
                None => Err(broken()),
            }
        };
        Ok(Self {
            answers: within(limit, begun).await??,
            to: Some(to),
            server: lane.server(),
        })
    }

    /// Says that no more bytes come.
    pub(super) fn no_more(&mut self) {
        self.to = None;
    }
}

/// How much is recorded, when that has changed.
pub(super) async fn answer(
    answers: &mut Streaming<v1::WriteObjectResponse>,
) -> Result<u64, ClientError> {
    match answers.message().await {
        Ok(Some(answer)) => Ok(answer.persisted_size),
        Ok(None) => Err(broken()),
        Err(status) => Err(failed(&status)),
    }
}

/// A place for the next message of a call.
pub(super) async fn place(
    to: Option<&Sender<v1::WriteObjectRequest>>,
) -> Result<Permit<'_, v1::WriteObjectRequest>, ClientError> {
    match to.ok_or_else(broken)?.reserve().await {
        Ok(place) => Ok(place),
        // The answers will say why.
        Err(_) => std::future::pending().await,
    }
}

/// Sends a piece.
pub(super) fn send(place: Permit<'_, v1::WriteObjectRequest>, data: Bytes) {
    let crc32c = crc32c(&data);
    let message = Some(Message::Chunk(v1::Chunk { data, crc32c }));
    place.send(v1::WriteObjectRequest { message });
}
