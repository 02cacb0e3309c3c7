//! Reading an object or a range of it.
//!
//! ```text
//! lookup -> range -> steps: k shards each, in parallel, verified by the drives
//!                      -> pieces in order -> chunks with CRC32C -> client
//! ```
//! Steps are fetched ahead of the client, as many as memory allows. A full read's last chunk is
//! held back until the checksum of the whole object is known to be right.

mod emit;
mod error;
pub(crate) mod fetch;
pub(crate) mod held;
mod plan;
mod range;
mod ranges;
mod reader;
mod report;

use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, stream};
use marram_erasure::STRIPE_BYTES_MAX;
use marram_meta::Body;
use marram_proto::v1;
use marram_trace::Instrument;
use marram_types::Generation;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use tonic::codegen::BoxStream;

use crate::auth::Caller;
use crate::core::Core;
use crate::objects::{Conditions, LookupError, ObjectName, lookup_to_read, lookup_version_to_read};
use crate::status;
use emit::Messages;
use reader::{Reader, Which};

pub(crate) use error::GetError;
pub(crate) use held::LongReads;
pub(crate) use ranges::run as ranges;
pub(crate) use report::Reports;

/// Messages that wait for a client beside those in the transport's own windows.
const MESSAGES_WAITING_MAX: usize = 2;
/// Reads up to this size are done before the answer begins: they need no task of their own.
const AT_ONCE_BYTES_MAX: u64 = STRIPE_BYTES_MAX as u64 / 8;

/// Begins a read; the stream gives the header and the chunks, or the header and a plan.
pub(crate) async fn run(
    core: Arc<Core>,
    caller: &Caller,
    request: v1::GetObjectRequest,
) -> Result<BoxStream<v1::GetObjectResponse>, GetError> {
    let name = ObjectName::new(request.bucket, request.key)?;
    let conditions = Conditions::new(request.conditions)?;
    let generation = request.generation.map(Generation);
    let (found, seen) = match generation {
        None => lookup_to_read(&core, &name).await?,
        Some(_) => lookup_version_to_read(&core, &name, generation).await?,
    };
    conditions.check(&found.row).map_err(LookupError::from)?;
    let asked = range::resolve(request.range, found.row.size)?;
    core.calls.got(asked.end - asked.start);
    if let Body::Inline { .. } = found.row.body {
        let bytes = found.inline.clone().ok_or(GetError::InlineMissing)?;
        return inline(&name, &found.row, asked, &bytes);
    }
    if request.accept_plan && plan::pays(&found.row, &asked) {
        let plan = plan::make(&core, caller, &found.row, &asked)?;
        let header = Messages::new(&name, &found.row, asked).header();
        let plan = v1::GetObjectResponse {
            message: Some(v1::get_object_response::Message::Plan(plan)),
        };
        return Ok(stream::iter([Ok(header), Ok(plan)]).boxed());
    }
    let place = core.memory.transfer()?;
    let len = asked.end - asked.start;
    let which = Which {
        name,
        generation,
        conditions,
    };
    let held = core.long_reads.begin(seen);
    let mut reader = Reader::new(core.clone(), which, found.row, asked)?.holding(held);
    // The first step is read before the header is sent: an object that was overwritten meanwhile
    // can still be answered with its new version.
    let first = reader.first().await?;
    let mut messages = Messages::new(reader.name(), reader.row(), reader.range());
    if len <= AT_ONCE_BYTES_MAX {
        let mut all = vec![messages.header()];
        messages.add(first, &mut all);
        while let Some(pieces) = reader.next().await? {
            messages.add(pieces, &mut all);
        }
        messages.finish(&mut all)?;
        // The body is in memory until the client has taken it.
        let messages = all.into_iter().map(move |message| {
            let _held = &place;
            Ok(message)
        });
        return Ok(stream::iter(messages).boxed());
    }
    let (send, receive) = mpsc::channel(MESSAGES_WAITING_MAX);
    let tasks = core.tasks.clone();
    let pumping = async move {
        let _place = place;
        if let Err(error) = pump(&mut reader, messages, first, &send).await {
            tracing::debug!(%error, "a read broke off");
            let status: Status = status::of(&error);
            // A client that has gone away needs no error.
            let _gone = send.send(Err(status)).await;
        }
    };
    tasks.spawn(pumping.in_current_span());
    Ok(ReceiverStream::new(receive).boxed())
}

type Sender = mpsc::Sender<Result<v1::GetObjectResponse, Status>>;

/// Sends everything, at the client's pace.
async fn pump(
    reader: &mut Reader,
    mut messages: Messages,
    first: Vec<Bytes>,
    send: &Sender,
) -> Result<(), GetError> {
    let mut ready = vec![messages.header()];
    messages.add(first, &mut ready);
    loop {
        for message in ready.drain(..) {
            if send.send(Ok(message)).await.is_err() {
                return Ok(());
            }
        }
        match reader.next().await? {
            Some(pieces) => messages.add(pieces, &mut ready),
            None => break,
        }
    }
    messages.finish(&mut ready)?;
    for message in ready {
        if send.send(Ok(message)).await.is_err() {
            return Ok(());
        }
    }
    Ok(())
}

/// The answer to a read of bytes that came with the row.
fn inline(
    name: &ObjectName,
    row: &marram_meta::VersionRow,
    asked: std::ops::Range<u64>,
    bytes: &Bytes,
) -> Result<BoxStream<v1::GetObjectResponse>, GetError> {
    if bytes.len() as u64 != row.size {
        return Err(GetError::InlineMissing);
    }
    let at = |offset: u64| usize::try_from(offset).expect("within bytes in memory");
    let mut messages = Messages::new(name, row, asked.clone());
    let mut all = vec![messages.header()];
    messages.add(vec![bytes.slice(at(asked.start)..at(asked.end))], &mut all);
    messages.finish(&mut all)?;
    Ok(stream::iter(all.into_iter().map(Ok)).boxed())
}
