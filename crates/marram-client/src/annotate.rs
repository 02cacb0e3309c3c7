//! What is said of objects beside their bytes: tags, and other metadata for objects that are there.

use std::collections::BTreeMap;

use marram_proto::v1;

use crate::client::Client;
use crate::error::ClientError;
use crate::types::Preconditions;

/// What an object is to be described as from now on. What is absent stays as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Description {
    /// The media type.
    pub content_type: Option<String>,
    /// All of the user's own metadata, at most 2 KiB of names and values.
    pub metadata: Option<BTreeMap<String, String>>,
}

impl Client {
    /// The tags of an object; of the current version unless a generation is given.
    ///
    /// # Errors
    /// `NotFound` (bucket, object or version, the reason says which), and what any call can meet.
    pub async fn tags(
        &self,
        bucket: &str,
        key: &str,
        generation: Option<u64>,
    ) -> Result<BTreeMap<String, String>, ClientError> {
        let message = v1::GetObjectTagsRequest {
            bucket: bucket.to_owned(),
            key: key.to_owned(),
            generation,
        };
        let answer = self
            .unary(message, |lane, request| async move {
                lane.objects().get_object_tags(request).await
            })
            .await?;
        Ok(answer.tags.into_iter().collect())
    }

    /// Gives an object, or a version of it, these tags in place of all that it had. It stays the version
    /// that it is. Returns its generation.
    ///
    /// # Errors
    /// `NotFound`, `Invalid` (the tags), `Precondition`, and what any call can meet.
    pub async fn set_tags(
        &self,
        (bucket, key): (&str, &str),
        generation: Option<u64>,
        tags: BTreeMap<String, String>,
        preconditions: &Preconditions,
    ) -> Result<u64, ClientError> {
        let message = v1::SetObjectTagsRequest {
            bucket: bucket.to_owned(),
            key: key.to_owned(),
            generation,
            tags: tags.into_iter().collect(),
            preconditions: preconditions.to_wire(),
            request_id: Some(self.request_id()),
        };
        let answer = self
            .unary(message, |lane, request| async move {
                lane.objects().set_object_tags(request).await
            })
            .await?;
        Ok(answer.generation)
    }

    /// Takes all tags from an object, or from a version of it. Returns its generation.
    ///
    /// # Errors
    /// `NotFound`, `Precondition`, and what any call can meet.
    pub async fn delete_tags(
        &self,
        (bucket, key): (&str, &str),
        generation: Option<u64>,
        preconditions: &Preconditions,
    ) -> Result<u64, ClientError> {
        let message = v1::DeleteObjectTagsRequest {
            bucket: bucket.to_owned(),
            key: key.to_owned(),
            generation,
            preconditions: preconditions.to_wire(),
            request_id: Some(self.request_id()),
        };
        let answer = self
            .unary(message, |lane, request| async move {
                lane.objects().delete_object_tags(request).await
            })
            .await?;
        Ok(answer.generation)
    }

    /// Describes the current version of an object anew, under a new generation; its bytes stay where they
    /// are. Returns the generation: the former one names nothing any more.
    ///
    /// # Errors
    /// `NotFound`, `Invalid` (the description), `Precondition`, and what any call can meet.
    pub async fn describe(
        &self,
        (bucket, key): (&str, &str),
        description: Description,
        preconditions: &Preconditions,
    ) -> Result<u64, ClientError> {
        let metadata = description.metadata.map(|metadata| v1::ObjectMetadata {
            metadata: metadata.into_iter().collect(),
        });
        let message = v1::UpdateObjectMetadataRequest {
            bucket: bucket.to_owned(),
            key: key.to_owned(),
            content_type: description.content_type,
            metadata,
            preconditions: preconditions.to_wire(),
            request_id: Some(self.request_id()),
        };
        let answer = self
            .unary(message, |lane, request| async move {
                lane.objects().update_object_metadata(request).await
            })
            .await?;
        Ok(answer.generation)
    }
}
