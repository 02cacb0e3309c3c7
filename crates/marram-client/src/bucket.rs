//! Buckets: create, look at, list, delete.

use marram_proto::v1;

use crate::client::{Client, present};
use crate::error::ClientError;
use crate::types::BucketInfo;

impl Client {
    /// Makes a bucket; `profile` is k+m, the cluster's default where `None`. Answers when every
    /// part of the cluster knows the bucket.
    ///
    /// # Errors
    /// `AlreadyExists`, `Invalid` (name or profile), and what any call can meet.
    pub async fn create_bucket(
        &self,
        bucket: &str,
        profile: Option<&str>,
    ) -> Result<BucketInfo, ClientError> {
        let message = v1::CreateBucketRequest {
            bucket: bucket.to_owned(),
            profile: profile.unwrap_or_default().to_owned(),
            request_id: Some(self.request_id()),
        };
        let answer = self
            .unary(message, |lane, request| async move {
                lane.buckets().create_bucket(request).await
            })
            .await?;
        present(answer.bucket, "bucket").map(BucketInfo::from_wire)
    }

    /// Removes an empty bucket.
    ///
    /// # Errors
    /// `NotFound`, `Precondition` (it holds objects), and what any call can meet.
    pub async fn delete_bucket(&self, bucket: &str) -> Result<(), ClientError> {
        let message = v1::DeleteBucketRequest {
            bucket: bucket.to_owned(),
            request_id: Some(self.request_id()),
        };
        self.unary(message, |lane, request| async move {
            lane.buckets().delete_bucket(request).await
        })
        .await
        .map(|_| ())
    }

    /// Says what a bucket is.
    ///
    /// # Errors
    /// `NotFound`, and what any call can meet.
    pub async fn head_bucket(&self, bucket: &str) -> Result<BucketInfo, ClientError> {
        let message = v1::HeadBucketRequest {
            bucket: bucket.to_owned(),
        };
        let answer = self
            .unary(message, |lane, request| async move {
                lane.buckets().head_bucket(request).await
            })
            .await?;
        present(answer.bucket, "bucket").map(BucketInfo::from_wire)
    }

    /// All buckets whose names begin with `prefix`, by name. A cluster has at most 10,000.
    ///
    /// # Errors
    /// What any call can meet.
    pub async fn list_buckets(&self, prefix: &str) -> Result<Vec<BucketInfo>, ClientError> {
        let mut message = v1::ListBucketsRequest {
            page_size: 0,
            page_token: String::new(),
            prefix: prefix.to_owned(),
        };
        let mut buckets = Vec::new();
        loop {
            let page = self
                .unary(message.clone(), |lane, request| async move {
                    lane.buckets().list_buckets(request).await
                })
                .await?;
            buckets.extend(page.buckets.into_iter().map(BucketInfo::from_wire));
            if page.next_page_token.is_empty() {
                return Ok(buckets);
            }
            message.page_token = page.next_page_token;
        }
    }
}
