//! Receives one part: like a put, but for a row of its own.

use std::sync::Arc;

use bytes::BytesMut;
use futures::{Stream, StreamExt};
use marram_meta::{
    NewPart, ObjectCommand, ObjectOutcome, PartItem, Refusal, UploadCommand, UploadFound,
    UploadRefusal,
};
use marram_object::StorageClass;
use marram_proto::v1;
use marram_proto::v1::put_object_request::Message as Put;
use marram_proto::v1::upload_part_request::Message;
use marram_trace::Instrument;
use marram_types::caps::{PART_BYTES_MAX, UPLOAD_PARTS_MAX};
use marram_types::{Profile, RequestId};
use tokio::sync::OwnedSemaphorePermit;
use tonic::Status;

use super::{Named, Placed, look};
use crate::begin::Begin;
use crate::convert;
use crate::core::Core;
use crate::groups::GroupError;
use crate::objects::mutate;
use crate::put::{self, Checks, PutError, Totals, Upload, Wanted};
use crate::validate::{self, InvalidField};

/// The header of a part, checked.
struct PartHeader {
    named: Named,
    part: u16,
    size: Option<u64>,
    checks: Checks,
    request: RequestId,
}

/// A part on its way.
struct NewBytes {
    core: Arc<Core>,
    placed: Placed,
    /// Of large objects.
    profile: Profile,
    part: u16,
    request: RequestId,
}

/// Checks the number of a part.
pub(super) fn number(given: u32) -> Result<u16, InvalidField> {
    let number = u16::try_from(given).ok();
    number
        .filter(|number| (1..=UPLOAD_PARTS_MAX).contains(number))
        .ok_or(InvalidField::PartNumber { number: given })
}

fn checked(header: v1::UploadPartHeader) -> Result<PartHeader, InvalidField> {
    if let Some(size) = header.size.filter(|size| *size > PART_BYTES_MAX) {
        return Err(InvalidField::PartTooLarge { size });
    }
    Ok(PartHeader {
        named: Named::new(header.bucket, header.key, &header.upload_id)?,
        part: number(header.part_number)?,
        size: header.size,
        checks: Checks::new(header.checksums.as_ref(), &header.compute)?,
        request: validate::request_id(header.request_id.as_ref())?,
    })
}

/// A message behind the header, as a put would have it.
fn as_put(request: v1::UploadPartRequest) -> v1::PutObjectRequest {
    let message = request.message.map(|message| match message {
        // Refused there: a header may only be the first message.
        Message::Header(_) => Put::Header(v1::PutObjectHeader::default()),
        Message::Chunk(chunk) => Put::Chunk(chunk),
        Message::Trailer(trailer) => Put::Trailer(trailer),
    });
    v1::PutObjectRequest { message }
}

/// Runs one call to its end.
pub(crate) async fn run<S>(
    core: Arc<Core>,
    mut stream: S,
) -> Result<v1::UploadPartResponse, PutError>
where
    S: Stream<Item = Result<v1::UploadPartRequest, Status>> + Unpin + Send + 'static,
{
    let first = put::first_message(&mut stream).await?;
    let header = match first.message {
        Some(Message::Header(header)) => checked(header)?,
        _ => return Err(put::header_missing().into()),
    };
    let placed = header.named.place(&core).await?;
    // Before gigabytes come for nothing.
    let own = match look(&core, placed.group, &placed.name, (0, 0)).await? {
        UploadFound::Open(found) if found.row.stream.is_some() => {
            return Err(PutError::Refused(UploadRefusal::IsStream.into()));
        }
        UploadFound::Open(found) => found.row.own,
        UploadFound::Completed(generation) => {
            let completed = UploadRefusal::Completed { generation };
            return Err(PutError::Refused(completed.into()));
        }
        UploadFound::Unknown => return Err(PutError::Refused(UploadRefusal::Unknown.into())),
    };
    let stream = stream.map(|message| message.map(as_put));
    let mut upload = Upload::of_part(stream, header.size, &header.checks);
    let place = core.memory.transfer()?;
    let first = put::first_bytes(&mut upload, header.size).await?;
    let new = NewBytes {
        core,
        profile: placed.bucket.profile_for(own),
        placed,
        part: header.part,
        request: header.request,
    };
    // A task of its own: when the caller goes away, it sees the stream break and cleans up, instead
    // of being dropped at whatever point it is.
    let tasks = new.core.tasks.clone();
    let writing = new.write(first.size, first.bytes, upload, place);
    let writing = tasks.spawn(writing.in_current_span());
    writing.await.map_err(|_| PutError::Aborted)?
}

impl NewBytes {
    async fn write<S>(
        self,
        size: u64,
        first: BytesMut,
        mut upload: Upload<S>,
        place: OwnedSemaphorePermit,
    ) -> Result<v1::UploadPartResponse, PutError>
    where
        S: Stream<Item = Result<v1::PutObjectRequest, Status>> + Unpin + Send,
    {
        let profile = self.profile;
        let class = StorageClass::choose(size, profile).profile();
        let extents = if size == 0 {
            Vec::new()
        } else {
            let begin = Begin::at(&self.core, self.placed.group, self.placed.name.bucket).await?;
            let wanted = Wanted {
                bucket: profile,
                // Parts have no bytes in their rows: the last one may be small.
                object: class.unwrap_or_else(|| profile.as_copies()),
                whole: false,
            };
            let place = Arc::new(Some(place));
            let core = &self.core;
            let completed = put::write(core, wanted, begin, first, &mut upload, &place).await?;
            completed.extents
        };
        let totals = upload.totals();
        let size = extents.iter().map(|new| new.extent.length).sum();
        let content = NewPart {
            part: self.part,
            size,
            crc64: totals.crc64,
            etag: totals.etag(size),
            sums: totals.sums,
            extents,
        };
        self.commit(content, totals).await
    }

    async fn commit(
        &self,
        content: NewPart,
        totals: Totals,
    ) -> Result<v1::UploadPartResponse, PutError> {
        let item = |modified_ms| PartItem {
            part: content.part,
            size: content.size,
            crc64: content.crc64,
            etag: content.etag.clone(),
            sums: totals.sums,
            modified_ms,
        };
        let command = ObjectCommand::Upload(UploadCommand::Part {
            name: self.placed.name.clone(),
            content: content.clone(),
        });
        let group = self.placed.group;
        match mutate(&self.core, group, self.request, &command).await? {
            ObjectOutcome::PartStored {
                modified_ms,
                under_protected,
            } => {
                self.core.calls.put(content.size);
                Ok(v1::UploadPartResponse {
                    part: Some(convert::part(&item(modified_ms))),
                    under_protected,
                })
            }
            // An earlier apply of this very entry stored it, and its answer was lost.
            ObjectOutcome::AlreadyCommitted => Ok(v1::UploadPartResponse {
                part: Some(convert::part(&item((self.core.now_ms)()))),
                under_protected: false,
            }),
            ObjectOutcome::Refused(refusal) => {
                if matches!(refusal, Refusal::BelowFloor { .. }) {
                    self.core.begins.forget(group);
                }
                Err(PutError::Refused(refusal))
            }
            _ => Err(GroupError::Kind(group).into()),
        }
    }
}
