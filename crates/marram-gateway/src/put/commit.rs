//! The one entry that makes an object visible.

use std::time::Instant;

use bytes::Bytes;
use marram_meta::{Body, NewBody, NewVersion, ObjectCommand, ObjectOutcome, Refusal, VersionRow};
use marram_metrics::Phase;
use marram_object::Completed;
use marram_proto::v1;
use marram_types::{Generation, VersionId};

use super::sums::Totals;
use super::{Put, PutError};
use crate::begin::Begin;
use crate::convert;
use crate::groups::GroupError;
use crate::objects::{ObjectName, lookup, mutate};

/// Where a new version's bytes are.
pub(super) enum Content {
    /// In the command.
    Inline(Bytes),
    /// On drives, durable.
    Extents(Completed),
}

/// Commits the version and says what it became.
pub(super) async fn run(
    put: &Put,
    content: Content,
    totals: Totals,
) -> Result<v1::ObjectInfo, PutError> {
    let (size, body) = match content {
        Content::Inline(bytes) => {
            let begin = Begin::at(&put.core, put.group, put.bucket.bucket).await?;
            let data = begin.data_id();
            (bytes.len() as u64, NewBody::Inline { data, bytes })
        }
        Content::Extents(completed) => {
            let size = completed.extents.iter().map(|new| new.extent.length).sum();
            (size, NewBody::Extents(completed.extents))
        }
    };
    let version = NewVersion {
        version: VersionId(rand::random()),
        size,
        crc64: totals.crc64,
        etag: totals.etag(size),
        content_type: put.header.content_type.clone(),
        metadata: put.header.metadata.clone(),
        tags: put.header.tags.clone(),
        body,
        asked: put.asked,
        // What was asked for, not what this server makes of it: the group looks itself, and the same request is
        // the same whatever the bucket allows by then.
        own: put.header.profile,
    };
    let command = ObjectCommand::Put {
        bucket: put.bucket.bucket,
        key: put.header.key.clone(),
        content: version.clone(),
        precondition: put.header.precondition.clone(),
    };
    let began = Instant::now();
    let outcome = mutate(&put.core, put.group, put.header.request, &command).await?;
    put.core.calls.phase(Phase::Commit, began.elapsed());
    match outcome {
        // Of this attempt, or of one before it whose bytes may have been others.
        ObjectOutcome::Copied(copied) => {
            put.core.calls.put(copied.size);
            let object = convert::copied(put.header.key.as_str(), *copied, put.own);
            Ok(object)
        }
        ObjectOutcome::Committed {
            version: committed,
            generation,
            modified_ms,
            narrowed,
            under_protected,
        } => {
            put.core.calls.put(size);
            let row = row(put, version, generation, modified_ms);
            let row = VersionRow {
                version: committed,
                narrowed,
                under_protected,
                ..row
            };
            Ok(convert::object(put.header.key.as_str(), &row))
        }
        ObjectOutcome::AlreadyCommitted => read_back(put).await,
        ObjectOutcome::Refused(refusal) => {
            if matches!(refusal, Refusal::BelowFloor { .. }) {
                put.core.begins.forget(put.group);
            }
            Err(PutError::Refused(refusal))
        }
        _ => Err(GroupError::Kind(put.group).into()),
    }
}

/// The row as the group made it.
fn row(put: &Put, version: NewVersion, generation: Generation, modified_ms: u64) -> VersionRow {
    VersionRow {
        version: version.version,
        generation,
        modified_ms,
        placed_ms: None,
        size: version.size,
        crc64: version.crc64,
        etag: version.etag,
        content_type: version.content_type,
        metadata: version.metadata,
        tags: version.tags,
        body: match version.body {
            NewBody::Inline { data, .. } => Body::Inline { data },
            NewBody::Extents(extents) => {
                Body::Extents(extents.into_iter().map(|new| new.extent).collect())
            }
        },
        nominal: put.profile(),
        own: put.own,
        narrowed: false,
        under_protected: false,
        off_profile: false,
        numbered: false,
    }
}

/// An earlier apply of this very command committed it, and its answer was lost.
async fn read_back(put: &Put) -> Result<v1::ObjectInfo, PutError> {
    let name = ObjectName {
        bucket: put.header.bucket.clone(),
        key: put.header.key.clone(),
    };
    let request = put.header.request;
    let found = lookup(&put.core, &name).await;
    let found = found.map_err(|error| PutError::ReadBack { request, error })?;
    Ok(convert::object(name.key.as_str(), &found.row))
}
