//! Makes what is recorded of a write the object, as the completion of an upload of parts does.

use marram_meta::{
    Completion, NewRun, ObjectCommand, ObjectOutcome, PartRanges, Precondition, Refusal,
    StreamState, UploadCommand, UploadRefusal, UploadRow,
};
use marram_object::etag;
use marram_proto::v1;
use marram_types::codec::Writer;
use marram_types::{Crc64Nvme, RequestId, VersionId, crc32c};

use super::{look, run, stream_of};
use crate::core::Core;
use crate::groups::GroupError;
use crate::objects::mutate;
use crate::put::Known;
use crate::uploads::complete::{CompleteError, answer, while_it_changes};
use crate::uploads::whole::WholeError;
use crate::uploads::{Named, Placed};
use crate::validate::{self, InvalidField};

/// What is asked, checked.
struct Asked {
    size: u64,
    known: Known,
    precondition: Precondition,
    request: RequestId,
}

fn checked(request: v1::FinishWriteRequest) -> Result<Asked, InvalidField> {
    let size = request.size.ok_or(InvalidField::Wrong {
        field: "size",
        rule: "it must be told: what is recorded may be less than was sent",
    })?;
    let known = Known::new(request.checksums.as_ref())?;
    if known.sha256.is_some() || known.md5.is_some() {
        return Err(InvalidField::Wrong {
            field: "checksums",
            rule: "SHA-256 and MD5 of a resumable write are not known: tell CRC64/NVME or CRC32C",
        });
    }
    Ok(Asked {
        size,
        known,
        precondition: validate::precondition(request.preconditions)?,
        request: validate::request_id(request.request_id.as_ref())?,
    })
}

/// Finishes a write.
pub(crate) async fn finish(
    core: &Core,
    request: v1::FinishWriteRequest,
) -> Result<v1::FinishWriteResponse, CompleteError> {
    let named = Named::new(
        request.bucket.clone(),
        request.key.clone(),
        &request.upload_id,
    )?;
    let asked = checked(request)?;
    let placed = named.place(core).await?;
    while_it_changes(|| attempt(core, &placed, &asked)).await
}

async fn attempt(
    core: &Core,
    placed: &Placed,
    asked: &Asked,
) -> Result<v1::FinishWriteResponse, CompleteError> {
    let found = look(core, placed.group, &placed.name, (0, 0)).await?;
    let seen = match stream_of(found) {
        Ok(seen) => Some(seen),
        Err(refusal @ Refusal::Upload(UploadRefusal::NotStream)) => {
            return Err(CompleteError::Refused(refusal));
        }
        // The request may have been carried out already: the group knows, and answers it again.
        Err(_) => None,
    };
    if let Some((row, stream)) = &seen {
        judge(row, stream, asked)?;
        if row.totals.parts == 0 {
            return Err(make_empty(core, placed, stream.epoch).await?);
        }
    }
    let command = ObjectCommand::Upload(UploadCommand::Complete {
        name: placed.name.clone(),
        content: completion(asked, seen.as_ref()),
        precondition: asked.precondition.clone(),
    });
    match mutate(core, placed.group, asked.request, &command).await? {
        ObjectOutcome::UploadCompleted(done) => Ok(v1::FinishWriteResponse {
            object: answer(core, placed, &done, None).await.object,
        }),
        ObjectOutcome::Refused(refusal) => Err(CompleteError::Refused(refusal)),
        _ => Err(GroupError::Kind(placed.group).into()),
    }
}

/// Whether what is recorded is what the caller means.
fn judge(row: &UploadRow, stream: &StreamState, asked: &Asked) -> Result<(), CompleteError> {
    let persisted = row.totals.bytes;
    if persisted != asked.size {
        return Err(CompleteError::StreamSize {
            size: asked.size,
            persisted,
        });
    }
    let wrong = |kind| {
        let wrong = WholeError::WholeChecksum(kind);
        Err(CompleteError::Parts(Box::new(wrong)))
    };
    if asked.known.crc64nvme.is_some_and(|crc| crc != stream.crc64) {
        return wrong("CRC64NVME");
    }
    if asked.known.crc32c.is_some_and(|crc| crc != stream.crc32c) {
        return wrong("CRC32C");
    }
    Ok(())
}

/// A write of nothing has one part, of no bytes, from its end on. Then it is looked at again.
async fn make_empty(
    core: &Core,
    placed: &Placed,
    epoch: u64,
) -> Result<CompleteError, CompleteError> {
    let nothing = NewRun {
        epoch,
        offset: 0,
        size: 0,
        crc64: Crc64Nvme::default().value(),
        crc32c: crc32c(b""),
        extents: Vec::new(),
    };
    let id = validate::request_id(None)?;
    let command = run(&placed.name, nothing);
    let changed = CompleteError::Refused(UploadRefusal::Changed.into());
    match mutate(core, placed.group, id, &command).await? {
        ObjectOutcome::RunRecorded { .. }
        // A writer began, or has recorded something.
        | ObjectOutcome::Refused(Refusal::Upload(
            UploadRefusal::StaleWriter { .. } | UploadRefusal::WrongOffset { .. },
        )) => Ok(changed),
        ObjectOutcome::Refused(refusal) => Ok(CompleteError::Refused(refusal)),
        _ => Err(GroupError::Kind(placed.group).into()),
    }
}

/// What is proposed; where the write is not there to be seen, only what the group knows the request by.
fn completion(asked: &Asked, seen: Option<&(UploadRow, StreamState)>) -> Completion {
    let parts = seen.map_or(1, |(row, _)| row.totals.parts);
    let parts = u16::try_from(parts).expect("an upload has at most 10,000 parts");
    let crc64 = seen.map_or(0, |(_, stream)| stream.crc64);
    Completion {
        version: VersionId(rand::random()),
        revision: seen.map_or(0, |(row, _)| row.revision),
        parts: PartRanges::new(1..=parts).expect("ascending"),
        size: asked.size,
        crc64,
        etag: etag(crc64, asked.size),
        asked: digest(asked),
    }
}

/// A digest of what the caller asked, the same on all attempts (rules.md 14).
fn digest(asked: &Asked) -> u64 {
    let mut out = Writer::with_capacity(32);
    out.varint(asked.size)
        .option(asked.known.crc64nvme.as_ref(), |out, crc| {
            out.u64_be(*crc);
        })
        .option(asked.known.crc32c.as_ref(), |out, crc| {
            out.u32_be(*crc);
        });
    Crc64Nvme::of(&out.finish())
}
