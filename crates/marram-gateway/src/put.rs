//! Writing an object (rules.md D and E).
//!
//! ```text
//! header -> bucket -> size class -> inline:  one command
//!                                -> others:  begin, windows to drives, one command
//! ```
//! The answer comes after the command's apply; before it nothing of the object can be seen. A put
//! that breaks off before its command was sent has its data dropped at once; one that sent its
//! command never (rules.md 27): the command may still be applied.

mod cleanup;
mod commit;
mod error;
mod plan;
mod sums;
mod upload;
mod window;
mod writer;

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures::Stream;
use marram_meta::{BucketRecord, OWN_PROFILES_SINCE, ObjectAnswer, ObjectQuery, TAGS_SINCE};
use marram_object::StorageClass;
use marram_proto::v1;
use marram_trace::Instrument;
use marram_types::caps::{COPIES_BYTES_MAX, INLINE_BYTES_MAX};
use marram_types::{GroupId, Profile, RequestId};
use tonic::Status;

use crate::core::Core;
use crate::groups::GroupError;
use crate::validate::{self, PutHeader};
use commit::Content;
pub(crate) use upload::STALL_MAX;

pub(crate) use cleanup::abandon;
pub(crate) use error::{NotAllowed, PutError};
pub(crate) use plan::Wanted;
pub(crate) use sums::{Checks, Known, Totals};
pub(crate) use upload::{Upload, UploadError as BrokenUpload, first_message, header_missing};
pub(crate) use writer::{Source, write};

/// A put whose header was accepted.
struct Put {
    core: Arc<Core>,
    header: PutHeader,
    bucket: BucketRecord,
    /// The profile that it asks for beside the bucket's.
    own: Option<Profile>,
    group: GroupId,
    /// A digest of what the client asked, where its bytes are not from it.
    asked: Option<u64>,
}

/// Runs one put to its end.
pub(crate) async fn run<S>(core: Arc<Core>, stream: S) -> Result<v1::ObjectInfo, PutError>
where
    S: Stream<Item = Result<v1::PutObjectRequest, Status>> + Unpin + Send + 'static,
{
    run_asked(core, None, stream).await
}

/// The same where the bytes are not the client's: `asked` is a digest of what it asked.
pub(crate) async fn run_asked<S>(
    core: Arc<Core>,
    asked: Option<u64>,
    mut stream: S,
) -> Result<v1::ObjectInfo, PutError>
where
    S: Stream<Item = Result<v1::PutObjectRequest, Status>> + Unpin + Send + 'static,
{
    let header = validate::put_header(upload::header(&mut stream).await?)?;
    if !header.tags.is_empty() {
        core.pass_gate(TAGS_SINCE)?;
    }
    if header.profile.is_some() {
        core.pass_gate(OWN_PROFILES_SINCE)?;
    }
    let mut bucket = core.bucket(&header.bucket).await?;
    let group = core.group_of(&bucket, &header.key)?;
    let asked_for = (header.profile, group, header.request);
    let own = own_profile::<PutError>(&core, &mut bucket, asked_for).await?;
    let mut upload = Upload::new(stream, header.size, &header.checks, STALL_MAX);
    let put = Put {
        core,
        header,
        bucket,
        own,
        group,
        asked,
    };
    let place = match put.header.size {
        Some(size) if size <= INLINE_BYTES_MAX as u64 => None,
        _ => Some(put.core.memory.transfer()?),
    };
    let first = first_bytes(&mut upload, put.header.size).await?;
    match StorageClass::choose(first.size, put.profile()).profile() {
        None => put.inline(first.bytes.freeze(), upload.totals()).await,
        Some(profile) => {
            // A task of its own: when the caller goes away, it sees the stream break and cleans
            // up, instead of being dropped at whatever point it is.
            let tasks = put.core.tasks.clone();
            let writing = writer::run(put, profile, first.bytes, upload, place);
            let writing = tasks.spawn(writing.in_current_span());
            writing.await.map_err(|_| PutError::Aborted)?
        }
    }
}

/// The beginning of an object, long enough to know its class.
pub(crate) struct First {
    pub(crate) bytes: BytesMut,
    /// The object's size; where it is not known, a size of the same class.
    pub(crate) size: u64,
}

/// Reads until the class of the object is known. An object that may be inline is read to its end.
pub(crate) async fn first_bytes<S>(
    upload: &mut Upload<S>,
    declared: Option<u64>,
) -> Result<First, PutError>
where
    S: Stream<Item = Result<v1::PutObjectRequest, Status>> + Unpin,
{
    let mut bytes = BytesMut::new();
    if let Some(size) = declared.filter(|size| *size > INLINE_BYTES_MAX as u64) {
        return Ok(First { bytes, size });
    }
    while bytes.len() <= COPIES_BYTES_MAX {
        match upload.next().await? {
            Some(chunk) => bytes.extend_from_slice(&chunk),
            None => break,
        }
    }
    let size = declared.unwrap_or(bytes.len() as u64);
    Ok(First { bytes, size })
}

/// What a write has as its own profile, when the bucket allows what it asks for. The group looks again when it
/// commits; this is before gigabytes come for nothing. What is not allowed as far as this server knows, another
/// one may have allowed a moment ago; and what the group has answered already it answers again, whatever is
/// allowed now.
pub(crate) async fn own_profile<E: From<NotAllowed> + From<GroupError>>(
    core: &Core,
    bucket: &mut BucketRecord,
    (asked, group, request): (Option<Profile>, GroupId, RequestId),
) -> Result<Option<Profile>, E> {
    if let Ok(own) = bucket.own_profile(asked) {
        return Ok(own);
    }
    if let Some(now) = core.fresh_view().await?.buckets.get(&bucket.name) {
        *bucket = now.clone();
    }
    let profile = match bucket.own_profile(asked) {
        Ok(own) => return Ok(own),
        Err(profile) => profile,
    };
    match core
        .ask(group, &ObjectQuery::Request(request), true)
        .await?
    {
        ObjectAnswer::Request(Some(_)) => Ok(None),
        ObjectAnswer::Request(None) => {
            let bucket = bucket.name.clone();
            Err(NotAllowed { bucket, profile }.into())
        }
        _ => Err(GroupError::Kind(group).into()),
    }
}

impl Put {
    /// What a large object is kept as.
    fn profile(&self) -> Profile {
        self.own.unwrap_or(self.bucket.profile)
    }

    /// Writes an object whose bytes go into its row.
    async fn inline(self, bytes: Bytes, totals: Totals) -> Result<v1::ObjectInfo, PutError> {
        let content = Content::Inline(bytes);
        commit::run(&self, content, totals).await
    }
}
