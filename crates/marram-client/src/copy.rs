//! Copying an object inside the cluster.

use std::collections::BTreeMap;

use marram_proto::v1;
use marram_proto::v1::copy_object_response::Message;
use tonic::Status;

use crate::client::{Client, Lane, present, repeatable, within};
use crate::error::{ClientError, ErrorKind};
use crate::put::Watcher;
use crate::types::{ObjectInfo, Preconditions, ReadConditions};

/// How an object is copied.
#[derive(Debug, Clone, Default)]
pub struct CopyOptions {
    /// The version of the source; the current one where absent.
    pub source_generation: Option<u64>,
    /// What must hold of the source where no version is named.
    pub source_conditions: ReadConditions,
    /// What must hold of the present version of the target.
    pub preconditions: Preconditions,
    /// Media type and metadata that the target gets in place of the source's.
    pub replace: Option<(String, BTreeMap<String, String>)>,
    /// Tags that the target gets in place of the source's.
    pub replace_tags: Option<BTreeMap<String, String>>,
    /// The erasure profile, k+m, that the target shall have in place of its bucket's, which must allow it.
    pub profile: Option<String>,
    /// Is told of the progress.
    pub watcher: Option<Watcher>,
}

/// A copy that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copied {
    /// The version that was copied. Deleting it on condition of its generation makes a move.
    pub source: ObjectInfo,
    /// The new object.
    pub target: ObjectInfo,
}

impl Client {
    /// Copies an object to another key or bucket; its bytes do not come here. Whole or not at all. `from`
    /// and `to` are a bucket and a key each.
    ///
    /// # Errors
    /// As [`Client::head`] for the source and [`Client::put`] for the target; `Precondition` also when the
    /// source was replaced while it was read.
    pub async fn copy(
        &self,
        from: (&str, &str),
        to: (&str, &str),
        options: CopyOptions,
    ) -> Result<Copied, ClientError> {
        let source = match options.source_generation {
            None => {
                let wanted = &options.source_conditions;
                self.head_if(from.0, from.1, wanted).await?
            }
            Some(generation) => self.head_version(from.0, from.1, generation).await?,
        };
        // Every attempt copies the same version: else a second one would not be the first again.
        let conditions = ReadConditions {
            if_generation_match: Some(source.generation),
            ..options.source_conditions
        };
        let replace = options.replace.map(|(content_type, metadata)| {
            let metadata = metadata.into_iter().collect();
            v1::ObjectAttributes {
                content_type,
                metadata,
            }
        });
        let message = v1::CopyObjectRequest {
            source_bucket: from.0.to_owned(),
            source_key: from.1.to_owned(),
            source_conditions: conditions.to_wire(),
            bucket: to.0.to_owned(),
            key: to.1.to_owned(),
            preconditions: options.preconditions.to_wire(),
            replace,
            request_id: Some(self.request_id()),
            source_generation: options.source_generation,
            replace_tags: options.replace_tags.map(|tags| v1::ObjectTags {
                tags: tags.into_iter().collect(),
            }),
            profile: options.profile.unwrap_or_default(),
        };
        let watcher = options.watcher;
        let target = self.attempts(repeatable, |lane| {
            self.copy_once(lane, message.clone(), watcher.clone())
        });
        let target = target.await?;
        Ok(Copied { source, target })
    }

    async fn copy_once(
        &self,
        lane: Lane,
        message: v1::CopyObjectRequest,
        watcher: Option<Watcher>,
    ) -> Result<ObjectInfo, ClientError> {
        let mut told = 0;
        let copied = self.follow(lane, message, &watcher, &mut told).await;
        if let Some(watcher) = &watcher {
            match &copied {
                Ok(object) => watcher.moved(object.size.saturating_sub(told)),
                Err(_) => watcher.lost(told),
            }
        }
        copied
    }

    async fn follow(
        &self,
        lane: Lane,
        message: v1::CopyObjectRequest,
        watcher: &Option<Watcher>,
        told: &mut u64,
    ) -> Result<ObjectInfo, ClientError> {
        let failed = |status: Status| ClientError::from_status(&status);
        let mut objects = lane.objects();
        let answer = objects.copy_object(lane.request(message));
        let limit = self.stall_timeout();
        let mut stream = within(limit, answer).await?.map_err(failed)?.into_inner();
        loop {
            let next = within(limit, stream.message()).await?.map_err(failed)?;
            match next.map(|next| next.message) {
                Some(Some(Message::Progress(progress))) => {
                    if let Some(watcher) = watcher {
                        watcher.moved(progress.copied.saturating_sub(*told));
                    }
                    *told = progress.copied.max(*told);
                }
                Some(Some(Message::Object(object))) => return Ok(ObjectInfo::from_wire(object)),
                Some(None) => {
                    present(None::<()>, "progress or object")?;
                }
                None => {
                    let message = "the server ended the stream before the copy was made";
                    return Err(ClientError::new(ErrorKind::Unavailable, message));
                }
            }
        }
    }
}
