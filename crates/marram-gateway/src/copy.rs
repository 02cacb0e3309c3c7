//! Copying an object inside the cluster: a read whose bytes are a put.
//!
//! ```text
//! source -> k shards of each stripe, verified -> chunks -> new stripes -> drives -> one commit
//! ```
//! The bytes are encoded anew, by the profile of the target's bucket or the one that is asked for, and the checksum of the whole
//! source is that of the target before anything is committed.
//!
//! A second attempt is answered with what the first one committed, whatever became of the source meanwhile
//! (rules.md 14): what ties them together is what was asked, not what was copied.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::{Stream, StreamExt, stream};
use marram_meta::{COPIES_SINCE, ObjectAnswer, ObjectOutcome, ObjectQuery, Refusal};
use marram_proto::v1;
use marram_proto::v1::copy_object_response::Message as Told;
use marram_proto::v1::get_object_response::Message as Got;
use marram_proto::v1::put_object_request::Message as Put;
use marram_trace::Instrument;
use marram_types::codec::Writer;
use marram_types::{BucketName, Crc64Nvme, ObjectKey};
use parking_lot::Mutex;
use prost::Message as _;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::codegen::BoxStream;

use crate::auth::{Caller, Guard};
use crate::core::Core;
use crate::groups::GroupError;
use crate::objects::ObjectName;
use crate::put::PutError;
use crate::validate::InvalidField;
use crate::{convert, get, put, status, validate};

/// How often a copy tells how far it is.
const TELL_EVERY: Duration = Duration::from_secs(1);
/// How long the last message waits for a caller who does not read.
const TOLD_WITHIN: Duration = Duration::from_secs(30);
/// Messages that wait for the caller.
const MESSAGES_WAITING_MAX: usize = 2;

/// Begins a copy. What is wrong with source or request is told at once, the rest by the stream.
pub(crate) async fn run(
    core: Arc<Core>,
    (caller, guard): (&Caller, Guard),
    request: v1::CopyObjectRequest,
) -> Result<BoxStream<v1::CopyObjectResponse>, Status> {
    let mut header = target(&request)?;
    source(&request).map_err(|error| status::of(&error))?;
    // Members of an older release do not know puts that say what was asked.
    let asked = core.pass_gate(COPIES_SINCE).is_ok();
    let asked = asked.then(|| asked_of(&request));
    let earlier = earlier(&core, &request, asked).await;
    if let Some(object) = earlier.map_err(|error| status::of(&error))? {
        let done = v1::CopyObjectResponse {
            message: Some(Told::Object(object)),
        };
        return Ok(stream::iter([Ok(done)]).boxed());
    }
    let read = v1::GetObjectRequest {
        bucket: request.source_bucket,
        key: request.source_key,
        conditions: request.source_conditions,
        generation: request.source_generation,
        ..v1::GetObjectRequest::default()
    };
    let read = get::run(core.clone(), caller, read).await;
    let mut bytes = read.map_err(|error| status::of(&error))?;
    let Some(Got::Header(v1::GetObjectHeader {
        object: Some(source),
        ..
    })) = bytes.next().await.transpose()?.and_then(|m| m.message)
    else {
        return Err(Status::internal("a read began without a header"));
    };
    header.size = Some(source.size);
    if request.replace.is_none() {
        header.content_type = source.content_type;
        header.metadata = source.metadata;
    }
    if request.replace_tags.is_none() {
        header.tags = source.tags;
    }
    if is_md5(&source.etag) {
        header.compute = vec![v1::ChecksumKind::Md5.into()];
    }
    let (send, receive) = mpsc::channel(MESSAGES_WAITING_MAX);
    let copy = Copy {
        guard,
        size: source.size,
        crc64nvme: source.crc64nvme,
        asked,
        copied: Arc::default(),
        failed: Arc::default(),
    };
    let tasks = core.tasks.clone();
    tasks.spawn(copy.carry_out(core, header, bytes, send).in_current_span());
    Ok(ReceiverStream::new(receive).boxed())
}

/// The header of the put, as far as the request says it; what is wrong is found before the source is
/// read.
fn target(request: &v1::CopyObjectRequest) -> Result<v1::PutObjectHeader, Status> {
    let replace = request.replace.clone().unwrap_or_default();
    let tags = request.replace_tags.clone().unwrap_or_default();
    // Drawn here where there is none, so that the put of another task is known by the name that the call has.
    let request_id = validate::request_id(request.request_id.as_ref());
    let request_id = request_id.map_err(|error| status::of(&error))?;
    let header = v1::PutObjectHeader {
        bucket: request.bucket.clone(),
        key: request.key.clone(),
        content_type: replace.content_type,
        metadata: replace.metadata,
        tags: tags.tags,
        preconditions: request.preconditions.clone(),
        profile: request.profile.clone(),
        request_id: Some(v1::RequestId {
            client: request_id.client.to_be_bytes().to_vec().into(),
            sequence: request_id.sequence,
        }),
        ..v1::PutObjectHeader::default()
    };
    validate::put_header(header.clone()).map_err(|error| status::of(&error))?;
    Ok(header)
}

/// Checks the names of the source, which have other names here than in a read.
fn source(request: &v1::CopyObjectRequest) -> Result<(), InvalidField> {
    let bucket = BucketName::new(request.source_bucket.as_str()).map_err(InvalidField::from);
    bucket.map_err(|error| error.named("source_bucket"))?;
    let key = ObjectKey::new(request.source_key.as_str()).map_err(InvalidField::from);
    key.map_err(|error| error.named("source_key"))?;
    Ok(())
}

/// A digest of what is asked: the same on all attempts, and of no other copy.
fn asked_of(request: &v1::CopyObjectRequest) -> u64 {
    // Maps have no order of their own.
    let sorted = |out: &mut Writer, pairs: &HashMap<String, String>| {
        let pairs: Vec<_> = pairs
            .iter()
            .collect::<BTreeMap<_, _>>()
            .into_iter()
            .collect();
        out.list(&pairs, |out, (name, value)| {
            out.str(name).str(value);
        });
    };
    let mut out = Writer::new();
    out.str("CopyObject")
        .str(&request.source_bucket)
        .str(&request.source_key)
        .str(&request.bucket)
        .str(&request.key)
        .option(request.source_generation.as_ref(), |out, generation| {
            out.u64_be(*generation);
        })
        .option(request.source_conditions.as_ref(), |out, conditions| {
            out.bytes(&conditions.encode_to_vec());
        })
        .option(request.preconditions.as_ref(), |out, conditions| {
            out.bytes(&conditions.encode_to_vec());
        })
        .option(request.replace.as_ref(), |out, replace| {
            sorted(out.str(&replace.content_type), &replace.metadata);
        })
        .option(request.replace_tags.as_ref(), |out, replace| {
            sorted(out, &replace.tags);
        });
    // Digests of attempts that asked for none are those of the release before.
    if !request.profile.is_empty() {
        out.str("profile").str(&request.profile);
    }
    Crc64Nvme::of(&out.finish())
}

/// What an earlier attempt at this copy committed, if there was one: then nothing is read.
async fn earlier(
    core: &Core,
    request: &v1::CopyObjectRequest,
    asked: Option<u64>,
) -> Result<Option<v1::ObjectInfo>, PutError> {
    let (Some(asked), Some(_)) = (asked, &request.request_id) else {
        return Ok(None);
    };
    let id = validate::request_id(request.request_id.as_ref())?;
    let name = ObjectName::new(request.bucket.clone(), request.key.clone())?;
    let bucket = core.bucket(&name.bucket).await?;
    let group = core.group_of(&bucket, &name.key)?;
    let found = core.ask(group, &ObjectQuery::Request(id), true).await?;
    let ObjectAnswer::Request(found) = found else {
        return Err(GroupError::Kind(group).into());
    };
    let Some(found) = found else {
        return Ok(None);
    };
    if found.asked.is_none_or(|known| known != asked) {
        return Err(PutError::Refused(Refusal::RequestIdReused));
    }
    match ObjectOutcome::decode(&found.outcome).map_err(GroupError::from)? {
        ObjectOutcome::Copied(copied) => {
            let own = bucket.own_profile(validate::profile(&request.profile)?);
            let own = own.unwrap_or_default();
            Ok(Some(convert::copied(name.key.as_str(), *copied, own)))
        }
        ObjectOutcome::Refused(refusal) => Err(PutError::Refused(refusal)),
        _ => Ok(None),
    }
}

/// Whether an entity tag is the MD5 of the bytes, which a copy keeps.
fn is_md5(etag: &str) -> bool {
    let digits = etag.trim_matches('"');
    digits.len() == 32 && digits.bytes().all(|digit| digit.is_ascii_hexdigit())
}

struct Copy {
    /// The copy goes on while nobody reads what it tells, so it looks itself whether it may.
    guard: Guard,
    size: u64,
    crc64nvme: u64,
    /// A digest of what the client asked.
    asked: Option<u64>,
    copied: Arc<AtomicU64>,
    /// Why the source could not be read to its end.
    failed: Arc<Mutex<Option<Status>>>,
}

impl Copy {
    /// Writes the target and tells the caller. One who has gone away ends it: without its last bytes
    /// the put leaves nothing.
    async fn carry_out(
        self,
        core: Arc<Core>,
        header: v1::PutObjectHeader,
        bytes: BoxStream<v1::GetObjectResponse>,
        tell: mpsc::Sender<Result<v1::CopyObjectResponse, Status>>,
    ) {
        let stop = CancellationToken::new();
        let _stop = stop.clone().drop_guard();
        let asked = self.asked;
        let messages = self
            .messages(header, bytes)
            .take_until(stop.cancelled_owned());
        let mut writing = Box::pin(put::run_asked(core, asked, Box::pin(messages)));
        let mut ticks = tokio::time::interval(TELL_EVERY);
        let done = loop {
            tokio::select! {
                done = &mut writing => break done,
                () = tell.closed() => return,
                _ = ticks.tick() => {
                    // A caller that reads slowly hears less often.
                    let _full = tell.try_send(Ok(self.progress()));
                }
            }
        };
        let told = match (done, self.failed.lock().take()) {
            (Ok(object), _) => Ok(v1::CopyObjectResponse {
                message: Some(Told::Object(object)),
            }),
            (Err(_), Some(failed)) => Err(failed),
            (Err(error), None) => Err(status::of(&error)),
        };
        // It is done, whether it is heard or not.
        let _gone = tokio::time::timeout(TOLD_WITHIN, tell.send(told)).await;
    }

    fn progress(&self) -> v1::CopyObjectResponse {
        let progress = v1::CopyProgress {
            copied: self.copied.load(Ordering::Relaxed),
            size: self.size,
        };
        v1::CopyObjectResponse {
            message: Some(Told::Progress(progress)),
        }
    }

    /// The read as a client would send it. Chunks keep the checksums that they were read with.
    fn messages(
        &self,
        header: v1::PutObjectHeader,
        bytes: BoxStream<v1::GetObjectResponse>,
    ) -> impl Stream<Item = Result<v1::PutObjectRequest, Status>> + Send + use<> {
        let (copied, failed) = (Arc::clone(&self.copied), Arc::clone(&self.failed));
        let mut guard = self.guard.clone();
        let chunks = bytes.filter_map(move |message| {
            let put = match message {
                Ok(v1::GetObjectResponse {
                    message: Some(Got::Chunk(chunk)),
                }) => {
                    copied.fetch_add(chunk.data.len() as u64, Ordering::Relaxed);
                    match guard.taken_back() {
                        None => Some(Ok(Put::Chunk(chunk))),
                        Some(status) => {
                            *failed.lock() = Some(status.clone());
                            Some(Err(status))
                        }
                    }
                }
                Ok(_) => None,
                Err(status) => {
                    *failed.lock() = Some(status.clone());
                    Some(Err(status))
                }
            };
            std::future::ready(put)
        });
        let trailer = Put::Trailer(v1::PutObjectTrailer {
            crc64nvme: Some(self.crc64nvme),
            checksums: None,
        });
        stream::iter([Ok(Put::Header(header))])
            .chain(chunks)
            .chain(stream::iter([Ok(trailer)]))
            .map(|part| {
                part.map(|message| v1::PutObjectRequest {
                    message: Some(message),
                })
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_md5_is_taken_for_one() {
        assert!(is_md5("\"d41d8cd98f00b204e9800998ecf8427e\""));
        for other in [
            "\"d41d8cd98f00b204e9800998ecf8427\"",
            "\"0123456789abcdef-5\"",
            "",
        ] {
            assert!(!is_md5(other), "{other}");
        }
    }
}
