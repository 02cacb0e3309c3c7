//! Receives the bytes of a write: while a run of them is recorded, the next one goes to the drives. So two
//! runs at most have come and are not recorded, and a client need not keep more (rules.md 33).

use std::sync::Arc;

use bytes::BytesMut;
use futures::Stream;
use marram_meta::{NewRun, ObjectCommand, ObjectOutcome, Refusal, UploadCommand, UploadRefusal};
use marram_proto::v1;
use marram_proto::v1::write_object_request::Message;
use marram_trace::Instrument;
use marram_types::Profile;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::source::{Runs, record_after};
use super::{look, run, stream_of};
use crate::begin::Begin;
use crate::core::Core;
use crate::groups::GroupError;
use crate::objects::mutate;
use crate::put::{self, BrokenUpload, PutError, STALL_MAX, Wanted};
use crate::status;
use crate::uploads::{Named, Placed};
use crate::validate;

/// Answers of a call that its caller has not taken yet.
const ANSWERS_MAX: usize = 4;

/// What a WriteObject call answers.
pub(crate) type Answers = ReceiverStream<Result<v1::WriteObjectResponse, Status>>;

type Teller = mpsc::Sender<Result<v1::WriteObjectResponse, Status>>;

/// A writer that is heard.
struct Writer {
    core: Arc<Core>,
    placed: Placed,
    /// The upload's own profile.
    own: Option<Profile>,
    epoch: u64,
    to: Teller,
}

/// Begins to receive. What is wrong with the header ends the call before it has begun.
pub(crate) async fn receive<S>(core: Arc<Core>, mut stream: S) -> Result<Answers, PutError>
where
    S: Stream<Item = Result<v1::WriteObjectRequest, Status>> + Unpin + Send + 'static,
{
    let first: v1::WriteObjectRequest = put::first_message(&mut stream).await?;
    let Some(Message::Header(header)) = first.message else {
        return Err(put::header_missing().into());
    };
    let offset = header.offset;
    let named = Named::new(header.bucket, header.key, &header.upload_id)?;
    let placed = named.place(&core).await?;
    let (row, state) = found(&core, &placed).await?;
    if row.totals.bytes != offset {
        let persisted = row.totals.bytes;
        return Err(PutError::Refused(
            UploadRefusal::WrongOffset { persisted }.into(),
        ));
    }
    let place = core.memory.transfer()?;
    let epoch = open(&core, &placed, offset).await?;
    let (to, answers) = mpsc::channel(ANSWERS_MAX);
    let writer = Writer {
        core,
        placed,
        own: row.own,
        epoch,
        to,
    };
    writer.tell(offset, state.crc64).await?;
    let tasks = writer.core.tasks.clone();
    // A task of its own: when the caller goes away, what came is recorded.
    let writing = async move {
        if let Err(error) = writer
            .receive(stream, (offset, row.totals.extents), place)
            .await
        {
            // Nobody hears it where the caller is gone.
            let _ = writer.to.send(Err(status::of(&error))).await;
        }
    };
    tasks.spawn(writing.in_current_span());
    Ok(ReceiverStream::new(answers))
}

async fn found(
    core: &Core,
    placed: &Placed,
) -> Result<(marram_meta::UploadRow, marram_meta::StreamState), PutError> {
    let found = look(core, placed.group, &placed.name, (0, 0)).await?;
    stream_of(found).map_err(PutError::Refused)
}

/// Begins a writer's epoch.
async fn open(core: &Core, placed: &Placed, offset: u64) -> Result<u64, PutError> {
    let command = ObjectCommand::Upload(UploadCommand::Open {
        name: placed.name.clone(),
        offset,
    });
    // Each call is a writer of its own.
    let id = validate::request_id(None)?;
    match mutate(core, placed.group, id, &command).await? {
        ObjectOutcome::WriteOpened { epoch } => Ok(epoch),
        ObjectOutcome::Refused(refusal) => Err(PutError::Refused(refusal)),
        _ => Err(GroupError::Kind(placed.group).into()),
    }
}

impl Writer {
    async fn receive<S>(
        &self,
        stream: S,
        (mut offset, mut extents): (u64, u32),
        place: OwnedSemaphorePermit,
    ) -> Result<(), PutError>
    where
        S: Stream<Item = Result<v1::WriteObjectRequest, Status>> + Unpin + Send,
    {
        let place = Arc::new(Some(place));
        let halted = CancellationToken::new();
        let stopping = self.core.stopping.clone();
        let mut runs = Runs::new(stream, offset, stopping, halted.clone());
        let mut durable: Option<NewRun> = None;
        loop {
            let after = record_after(extents);
            let recorded = async {
                let recorded = match durable.take() {
                    Some(run) => self.record(run).await,
                    None => Ok(()),
                };
                if recorded.is_err() {
                    // What comes after it will never be recorded: the write of it ends, and cleans up.
                    halted.cancel();
                }
                recorded
            };
            let (written, recorded) = tokio::join!(
                Box::pin(self.write(&mut runs, offset, after, &place)),
                recorded
            );
            if let (Ok(Some(run)), Err(_)) = (&written, &recorded) {
                put::abandon(&self.core, &run.extents);
            }
            recorded?;
            let Some(run) = written? else {
                return runs.end();
            };
            offset += run.size;
            extents += u32::try_from(run.extents.len()).expect("a few");
            durable = Some(run);
        }
    }

    /// Writes the next run; none where no more bytes come.
    async fn write<S>(
        &self,
        runs: &mut Runs<S>,
        offset: u64,
        after: std::time::Duration,
        place: &Arc<Option<OwnedSemaphorePermit>>,
    ) -> Result<Option<NewRun>, PutError>
    where
        S: Stream<Item = Result<v1::WriteObjectRequest, Status>> + Unpin + Send,
    {
        if !runs.begin(after).await {
            return Ok(None);
        }
        let (group, bucket) = (self.placed.group, self.placed.name.bucket);
        let begin = Begin::at(&self.core, group, bucket).await?;
        // The bucket may have another profile than when the call began.
        let bucket = self.core.bucket(&self.placed.bucket.name).await?;
        let profile = bucket.profile_for(self.own);
        let wanted = Wanted {
            bucket: profile,
            // However short the run: the next one will lie in the same part.
            object: profile,
            whole: false,
        };
        let bytes = BytesMut::new();
        let completed = put::write(&self.core, wanted, begin, bytes, runs, place).await?;
        let sums = runs.sums();
        Ok(Some(NewRun {
            epoch: self.epoch,
            offset,
            size: sums.size,
            crc64: sums.crc64,
            crc32c: sums.crc32c,
            extents: completed.extents,
        }))
    }

    /// Has the group record a run, and tells the caller.
    async fn record(&self, content: NewRun) -> Result<(), PutError> {
        let (group, size) = (self.placed.group, content.size);
        let command = run(&self.placed.name, content);
        let id = validate::request_id(None)?;
        let (persisted, crc64) = match mutate(&self.core, group, id, &command).await? {
            ObjectOutcome::RunRecorded { persisted, crc64 } => (persisted, crc64),
            // An earlier apply of this very entry recorded it, and its answer was lost.
            ObjectOutcome::AlreadyCommitted => {
                let (row, state) = found(&self.core, &self.placed).await?;
                (row.totals.bytes, state.crc64)
            }
            ObjectOutcome::Refused(refusal) => {
                if matches!(refusal, Refusal::BelowFloor { .. }) {
                    self.core.begins.forget(group);
                }
                return Err(PutError::Refused(refusal));
            }
            _ => return Err(GroupError::Kind(group).into()),
        };
        self.core.calls.put(size);
        self.tell(persisted, crc64).await
    }

    /// Tells what is recorded. A caller that is gone hears nothing; one that takes no answers is slower than
    /// any may be.
    async fn tell(&self, persisted_size: u64, crc64nvme: u64) -> Result<(), PutError> {
        let answer = v1::WriteObjectResponse {
            persisted_size,
            crc64nvme,
        };
        match tokio::time::timeout(STALL_MAX, self.to.send(Ok(answer))).await {
            Ok(_) => Ok(()),
            Err(_) => Err(BrokenUpload::Stalled.into()),
        }
    }
}
