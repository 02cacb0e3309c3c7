//! Buckets that keep versions: their versions listed, read and deleted. A version is named by its
//! generation.

use marram_proto::v1;

use crate::client::{Client, present};
use crate::error::ClientError;
use crate::types::{
    BucketInfo, BucketQuota, BucketUsage, Deletion, ObjectInfo, Preconditions, VersionPage,
    Versioning,
};

/// Which versions.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct VersionQuery {
    /// Only keys that begin so.
    pub prefix: String,
    /// Keys that hold this after the prefix are rolled up; nothing is rolled up where empty.
    pub delimiter: String,
    /// Only keys after this one; with a generation also the older versions of this key.
    pub key_marker: String,
    /// Goes with `key_marker`: only versions of that key that are older than this one.
    pub generation_marker: Option<u64>,
    /// Entries of a page, 1 to 1000; 0 means 1000.
    pub page_size: u16,
}

/// A listing of versions under way.
#[derive(Debug)]
pub struct VersionPages {
    client: Client,
    /// `None` after the last page.
    next: Option<v1::ListObjectVersionsRequest>,
}

impl Client {
    /// Has a bucket keep the versions that others replace, or not any more. Answers when every part of
    /// the cluster knows it. A bucket that kept some is suspended, never off again.
    ///
    /// # Errors
    /// `NotFound`, `Invalid` (off), `Precondition` (members run a release without versioning), and what
    /// any call can meet.
    pub async fn set_versioning(
        &self,
        bucket: &str,
        versioning: Versioning,
    ) -> Result<BucketInfo, ClientError> {
        let message = v1::SetVersioningRequest {
            bucket: bucket.to_owned(),
            versioning: versioning.to_wire().into(),
            request_id: Some(self.request_id()),
        };
        let answer = self
            .unary(message, |lane, request| async move {
                lane.buckets().set_versioning(request).await
            })
            .await?;
        present(answer.bucket, "bucket").map(BucketInfo::from_wire)
    }

    /// Says what a bucket may hold. Answers when every part of the cluster knows it.
    ///
    /// # Errors
    /// `NotFound`, `Precondition` (members run a release without quotas), and what any call can meet.
    pub async fn set_quota(
        &self,
        bucket: &str,
        quota: BucketQuota,
    ) -> Result<BucketInfo, ClientError> {
        let message = v1::SetQuotaRequest {
            bucket: bucket.to_owned(),
            quota: quota.to_wire(),
            request_id: Some(self.request_id()),
        };
        let answer = self
            .unary(message, |lane, request| async move {
                lane.buckets().set_quota(request).await
            })
            .await?;
        present(answer.bucket, "bucket").map(BucketInfo::from_wire)
    }

    /// Says what a bucket holds, from counters.
    ///
    /// # Errors
    /// `NotFound`, and what any call can meet.
    pub async fn bucket_usage(&self, bucket: &str) -> Result<BucketUsage, ClientError> {
        let message = v1::GetBucketUsageRequest {
            bucket: bucket.to_owned(),
        };
        let answer = self
            .unary(message, |lane, request| async move {
                lane.buckets().get_bucket_usage(request).await
            })
            .await?;
        Ok(BucketUsage::from_wire(&answer))
    }

    /// Says what a version of an object is.
    ///
    /// # Errors
    /// `NotFound` (bucket or version, the reason says which), `Precondition` (it is a delete marker), and
    /// what any call can meet.
    pub async fn head_version(
        &self,
        bucket: &str,
        key: &str,
        generation: u64,
    ) -> Result<ObjectInfo, ClientError> {
        let message = v1::HeadObjectRequest {
            bucket: bucket.to_owned(),
            key: key.to_owned(),
            conditions: None,
            generation: Some(generation),
        };
        let answer = self
            .unary(message, |lane, request| async move {
                lane.objects().head_object(request).await
            })
            .await?;
        present(answer.object, "object").map(ObjectInfo::from_wire)
    }

    /// Deletes an object, or with a generation that version or delete marker for good. Where the bucket
    /// keeps versions, an object is deleted by a marker that hides them.
    ///
    /// # Errors
    /// `NotFound` (the bucket), `Precondition`, and what any call can meet.
    pub async fn delete_version(
        &self,
        bucket: &str,
        key: &str,
        generation: Option<u64>,
        preconditions: &Preconditions,
    ) -> Result<Deletion, ClientError> {
        let message = v1::DeleteObjectRequest {
            bucket: bucket.to_owned(),
            key: key.to_owned(),
            preconditions: preconditions.to_wire(),
            request_id: Some(self.request_id()),
            generation,
        };
        let answer = self
            .unary(message, |lane, request| async move {
                lane.objects().delete_object(request).await
            })
            .await?;
        Ok(Deletion {
            existed: answer.existed,
            delete_marker: answer.delete_marker,
            generation: answer.generation,
        })
    }

    /// Lists versions and delete markers by key, the newest of each first. Nothing is asked before the
    /// first page is.
    #[must_use]
    pub fn list_versions(&self, bucket: &str, query: VersionQuery) -> VersionPages {
        VersionPages {
            client: self.clone(),
            next: Some(v1::ListObjectVersionsRequest {
                bucket: bucket.to_owned(),
                prefix: query.prefix,
                delimiter: query.delimiter,
                key_marker: query.key_marker,
                generation_marker: query.generation_marker,
                page_size: i32::from(query.page_size),
                page_token: String::new(),
            }),
        }
    }
}

impl VersionPages {
    /// The next page; `None` after the last one. A page may be empty and not the last.
    ///
    /// # Errors
    /// `NotFound` (the bucket), and what any call can meet. After an error the same page can be
    /// asked for again.
    pub async fn next(&mut self) -> Result<Option<VersionPage>, ClientError> {
        let Some(message) = self.next.clone() else {
            return Ok(None);
        };
        let answer = self
            .client
            .unary(message, |lane, request| async move {
                lane.objects().list_object_versions(request).await
            })
            .await?;
        if answer.next_page_token.is_empty() {
            self.next = None;
        } else if let Some(next) = &mut self.next {
            next.page_token.clone_from(&answer.next_page_token);
        }
        Ok(Some(VersionPage::from_wire(answer)))
    }
}
