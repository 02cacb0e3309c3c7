//! Deleting many objects with one call.

use std::sync::Mutex;

use marram_proto::v1;
use marram_types::caps::DELETES_PER_CALL_MAX;

use crate::client::{Client, Lane, repeatable, within};
use crate::error::{ClientError, ErrorKind};
use crate::types::{Deletion, Preconditions};

/// What came of one object.
type Deleted = Result<Deletion, ClientError>;

/// Bytes of one call's keys and entity tags together: what a message takes, with room for its frame.
const BATCH_BYTES_MAX: usize = 1 << 20;

impl Client {
    /// Deletes up to [`DELETES_PER_CALL_MAX`] objects, each with its own condition, and says of each
    /// what came of it, or why it is not deleted, in the order asked. Each is a change of its own:
    /// nothing is promised of all together.
    ///
    /// # Errors
    /// `Invalid` (no objects, too many, or one twice), `NotFound` (the bucket), and what any call can
    /// meet.
    pub async fn delete_many(
        &self,
        bucket: &str,
        objects: &[(String, Preconditions)],
    ) -> Result<Vec<Deleted>, ClientError> {
        let bytes: usize = objects.iter().map(size).sum();
        let named = objects.iter().map(to_wire).collect();
        self.delete_batch(bucket, named, bytes).await
    }

    /// Deletes up to [`DELETES_PER_CALL_MAX`] versions or delete markers for good, each named by key and
    /// generation, and says of each what came of it.
    ///
    /// # Errors
    /// As [`Self::delete_many`].
    pub async fn delete_versions(
        &self,
        bucket: &str,
        versions: &[(String, u64)],
    ) -> Result<Vec<Deleted>, ClientError> {
        let bytes: usize = versions.iter().map(|(key, _)| key.len()).sum();
        let named = versions.iter().map(|(key, generation)| v1::ObjectToDelete {
            key: key.clone(),
            preconditions: None,
            generation: Some(*generation),
        });
        self.delete_batch(bucket, named.collect(), bytes).await
    }

    async fn delete_batch(
        &self,
        bucket: &str,
        objects: Vec<v1::ObjectToDelete>,
        bytes: usize,
    ) -> Result<Vec<Deleted>, ClientError> {
        let count = objects.len();
        if count > DELETES_PER_CALL_MAX || bytes > BATCH_BYTES_MAX {
            let message = format!("{count} objects are too many for one call");
            return Err(ClientError::new(ErrorKind::Invalid, message));
        }
        let message = v1::DeleteObjectsRequest {
            bucket: bucket.to_owned(),
            objects,
            request_id: Some(self.request_ids(count)),
        };
        // A call that some objects did not fare well in is repeated as a whole: what was done is
        // answered again as it was.
        let last = Mutex::new(None);
        let limit = self.call_timeout();
        let done = self
            .attempts(repeatable, |lane| {
                let call = delete_once(lane, message.clone());
                let last = &last;
                async move {
                    let results = within(limit, call).await??;
                    let mut failed = results.iter().filter_map(|one| one.as_ref().err());
                    let again = failed.find(|error| repeatable(error)).cloned();
                    let mut kept = last.lock().expect("no holder panics");
                    *kept = Some(results);
                    again.map_or(Ok(()), Err)
                }
            })
            .await;
        let last = last.into_inner().expect("no holder panics");
        match (last, done) {
            (Some(results), _) if results.len() == count => Ok(results),
            (None, Err(error)) => Err(error),
            _ => Err(ClientError::new(
                ErrorKind::Protocol,
                "the server did not answer for each object",
            )),
        }
    }
}

fn size((key, wanted): &(String, Preconditions)) -> usize {
    let tag = |tag: &Option<String>| tag.as_ref().map_or(0, String::len);
    key.len() + tag(&wanted.if_etag_match) + tag(&wanted.if_etag_none_match)
}

fn to_wire((key, wanted): &(String, Preconditions)) -> v1::ObjectToDelete {
    v1::ObjectToDelete {
        key: key.clone(),
        preconditions: wanted.to_wire(),
        generation: None,
    }
}

async fn delete_once(
    lane: Lane,
    message: v1::DeleteObjectsRequest,
) -> Result<Vec<Deleted>, ClientError> {
    let answer = lane.objects().delete_objects(lane.request(message)).await;
    let answer = answer.map_err(|status| ClientError::from_status(&status))?;
    let results = answer.into_inner().results.into_iter();
    let one = |result: v1::DeleteResult| match result.failure {
        None => Ok(Deletion {
            existed: result.existed,
            delete_marker: result.delete_marker,
            generation: result.generation,
        }),
        Some(failure) => Err(ClientError::from_failure(failure)),
    };
    Ok(results.map(one).collect())
}
