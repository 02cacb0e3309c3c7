//! One object without its bytes: look at it, delete it.

use marram_proto::v1;

use crate::client::{Client, present};
use crate::error::ClientError;
use crate::types::{ObjectInfo, Preconditions, ReadConditions};

impl Client {
    /// Says what an object is.
    ///
    /// # Errors
    /// `NotFound` (object or bucket, the reason says which), and what any call can meet.
    pub async fn head(&self, bucket: &str, key: &str) -> Result<ObjectInfo, ClientError> {
        self.head_if(bucket, key, &ReadConditions::default()).await
    }

    /// The same of a version of which conditions hold.
    ///
    /// # Errors
    /// `Precondition` when they do not, and those of [`Self::head`].
    pub async fn head_if(
        &self,
        bucket: &str,
        key: &str,
        conditions: &ReadConditions,
    ) -> Result<ObjectInfo, ClientError> {
        let message = v1::HeadObjectRequest {
            bucket: bucket.to_owned(),
            key: key.to_owned(),
            conditions: conditions.to_wire(),
            generation: None,
        };
        let answer = self
            .unary(message, |lane, request| async move {
                lane.objects().head_object(request).await
            })
            .await?;
        present(answer.object, "object").map(ObjectInfo::from_wire)
    }

    /// Deletes an object; false when there was none, which is no error, as in S3. Where the bucket keeps
    /// versions, see [`Self::delete_version`].
    ///
    /// # Errors
    /// `NotFound` (the bucket), `Precondition`, and what any call can meet.
    pub async fn delete(
        &self,
        bucket: &str,
        key: &str,
        preconditions: &Preconditions,
    ) -> Result<bool, ClientError> {
        let done = self
            .delete_version(bucket, key, None, preconditions)
            .await?;
        Ok(done.existed)
    }
}
