//! Writing an object.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use marram_proto::v1;

use crate::client::{Client, Lane, present, repeatable};
use crate::error::{ClientError, ErrorKind};
use crate::source::{Pieces, PutBody};
use crate::types::{Checksums, ObjectInfo, Preconditions};
use crate::upload::{Progress, Upload};

/// Is told of the bytes of an upload as they move.
#[derive(Clone)]
pub struct Watcher(Arc<dyn Fn(i64) + Send + Sync>);

impl Watcher {
    /// `told` gets the number of bytes that moved since it was called last; a negative number when
    /// an attempt failed and its bytes will be sent again.
    pub fn new(told: impl Fn(i64) + Send + Sync + 'static) -> Self {
        Self(Arc::new(told))
    }

    pub(crate) fn moved(&self, bytes: u64) {
        (self.0)(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    pub(crate) fn lost(&self, bytes: u64) {
        (self.0)(i64::try_from(bytes).map_or(i64::MIN, |bytes| -bytes));
    }
}

impl fmt::Debug for Watcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watcher")
    }
}

/// What is written beside the bytes.
#[derive(Debug, Clone, Default)]
pub struct PutOptions {
    /// The media type; `application/octet-stream` where empty.
    pub content_type: String,
    /// The user's own metadata, at most 2 KiB of names and values.
    pub metadata: BTreeMap<String, String>,
    /// Tags, at most 10.
    pub tags: BTreeMap<String, String>,
    /// The erasure profile, k+m, that it shall have in place of its bucket's; the bucket must allow it. An
    /// upload that is gone on with keeps the one that it began with.
    pub profile: Option<String>,
    /// What must hold of the present version.
    pub preconditions: Preconditions,
    /// What is known of the bytes; compared before anything is visible.
    pub checksums: Checksums,
    /// Go on with the youngest multipart upload of this key, where there is one and the body is a large
    /// file: parts that are there with the same bytes are not sent again. An upload that fails stays,
    /// to be gone on with.
    pub resume: bool,
    /// Is told of the progress.
    pub watcher: Option<Watcher>,
}

/// The cluster, or its server, is of a release that has no resumable writes.
fn is_unknown_there(error: &ClientError) -> bool {
    match error.reason() {
        Some(reason) => reason == "VERSION_GATE_CLOSED",
        None => error.kind() == ErrorKind::Invalid,
    }
}

impl Client {
    /// Writes an object; files from [`MULTIPART_BYTES_MIN`](crate::MULTIPART_BYTES_MIN) on in parts, some
    /// at once, unless a SHA-256 or MD5 of all bytes is to be compared. When it returns, every shard is durable and the version is committed;
    /// when it fails nothing is visible, except after `OutcomeUnknown`, `Timeout` and
    /// `Unavailable`, where the last attempt may have been carried out.
    ///
    /// # Errors
    /// `NotFound` (the bucket), `Invalid`, `Precondition`, `Exhausted`, `Local` and `Changed` (the
    /// source), and what any call can meet.
    pub async fn put(
        &self,
        bucket: &str,
        key: &str,
        body: PutBody,
        options: PutOptions,
    ) -> Result<ObjectInfo, ClientError> {
        let mut source = body.prepare().await?;
        if let Some((path, size)) = source.large_file(&options) {
            let name = (bucket, key);
            return Box::pin(self.put_in_parts(name, path, size, options)).await;
        }
        if source.is_stream(&options) {
            match self.start_write(bucket, key, &options).await {
                Ok(write) => {
                    return Box::pin(self.put_stream(write, source.open(), options)).await;
                }
                Err(error) if is_unknown_there(&error) => {}
                Err(error) => return Err(error),
            }
        }
        let once = source.is_once();
        if once {
            // There is only one attempt: find a server that answers, and the bucket, before it.
            self.head_bucket(bucket).await?;
        }
        let header = v1::PutObjectHeader {
            bucket: bucket.to_owned(),
            key: key.to_owned(),
            size: source.size(),
            content_type: options.content_type,
            metadata: options.metadata.into_iter().collect(),
            preconditions: options.preconditions.to_wire(),
            request_id: Some(self.request_id()),
            checksums: options.checksums.to_wire(),
            compute: Vec::new(),
            tags: options.tags.into_iter().collect(),
            profile: options.profile.unwrap_or_default(),
        };
        let watcher = options.watcher;
        let may_repeat = |error: &ClientError| {
            !once && (repeatable(error) || error.kind() == ErrorKind::Corrupt)
        };
        self.attempts(may_repeat, |lane| {
            self.put_once(lane, header.clone(), source.open(), watcher.clone())
        })
        .await
    }

    pub(crate) async fn put_once(
        &self,
        lane: Lane,
        header: v1::PutObjectHeader,
        pieces: Pieces,
        watcher: Option<Watcher>,
    ) -> Result<ObjectInfo, ClientError> {
        let progress = Arc::new(Progress::default());
        let (upload, mut failed) =
            Upload::new(header, pieces, Arc::clone(&progress), watcher.clone());
        let mut objects = lane.objects();
        let result = tokio::select! {
            Ok(error) = &mut failed => Err(error),
            answer = objects.put_object(lane.request(upload)) => match answer {
                Ok(answer) => present(answer.into_inner().object, "object"),
                Err(status) => Err(ClientError::from_status(&status)),
            },
            () = progress.stalled(self.stall_timeout()) => Err(ClientError::new(
                ErrorKind::Timeout,
                format!("the upload stood still for {} s", self.stall_timeout().as_secs_f32()),
            )),
        };
        if let (Err(_), Some(watcher)) = (&result, &watcher) {
            watcher.lost(progress.sent());
        }
        result.map(ObjectInfo::from_wire)
    }
}
