//! Resumable writes: an object's bytes in one stream, recorded piece by piece (rules.md 33, decision 0049).
//!
//! ```text
//! start -> receive: open an epoch -> runs of bytes (source) -> drives -> record -> ... -> finish
//! ```

mod finish;
mod receive;
mod source;

use marram_meta::{
    Refusal, StreamState, UploadCommand, UploadFound, UploadRefusal, UploadRow, WRITES_SINCE,
};
use marram_proto::v1;

use super::{NewUpload, UploadError, begin, look};
use crate::convert;
use crate::core::Core;

pub(crate) use finish::finish;
pub(crate) use receive::{Answers, receive};
pub(crate) use source::{LATER_FROM, LATEST_FROM, RECORD_AFTER};

/// Begins a write.
pub(crate) async fn start(
    core: &Core,
    request: v1::StartWriteRequest,
) -> Result<v1::StartWriteResponse, UploadError> {
    core.pass_gate(WRITES_SINCE)?;
    let new = NewUpload {
        bucket: request.bucket,
        key: request.key,
        content_type: request.content_type,
        metadata: request.metadata,
        tags: request.tags,
        profile: request.profile,
        request_id: request.request_id,
    };
    let (upload, created_ms) = begin(core, new, true).await?;
    Ok(v1::StartWriteResponse {
        upload_id: upload.to_string(),
        created_ms: convert::ms(created_ms),
    })
}

/// The stream that was found, or why there is none to go on with.
fn stream_of(found: UploadFound) -> Result<(UploadRow, StreamState), Refusal> {
    let refusal = match found {
        UploadFound::Open(answer) => match answer.row.stream {
            Some(stream) => return Ok((answer.row, stream)),
            None => UploadRefusal::NotStream,
        },
        UploadFound::Completed(generation) => UploadRefusal::Completed { generation },
        UploadFound::Unknown => UploadRefusal::Unknown,
    };
    Err(refusal.into())
}

/// Tells how much of a write is recorded.
pub(crate) async fn query(
    core: &Core,
    request: v1::QueryWriteRequest,
) -> Result<v1::QueryWriteResponse, UploadError> {
    let named = super::Named::new(request.bucket, request.key, &request.upload_id)?;
    let placed = named.place(core).await?;
    let found = look(core, placed.group, &placed.name, (0, 0)).await?;
    if let UploadFound::Completed(generation) = found {
        return Ok(v1::QueryWriteResponse {
            finished_generation: Some(generation.0),
            ..v1::QueryWriteResponse::default()
        });
    }
    let (row, stream) = stream_of(found).map_err(UploadError::Refused)?;
    Ok(v1::QueryWriteResponse {
        persisted_size: row.totals.bytes,
        crc64nvme: stream.crc64,
        crc32c: stream.crc32c,
        created_ms: convert::ms(row.created_ms),
        finished_generation: None,
    })
}

/// A command that has the next bytes recorded.
fn run(name: &marram_meta::UploadName, content: marram_meta::NewRun) -> marram_meta::ObjectCommand {
    marram_meta::ObjectCommand::Upload(UploadCommand::Run {
        name: name.clone(),
        content,
    })
}
