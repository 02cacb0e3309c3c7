//! The rules by which what a bucket holds goes by itself.

use marram_proto::v1;

use crate::client::{Client, repeatable, within};
use crate::error::ClientError;
use crate::types::{LifecycleItem, LifecyclePage, LifecycleRule, LifecycleTotal};

/// What would go, under way.
#[derive(Debug)]
pub struct LifecyclePreview {
    answers: tonic::Streaming<v1::PreviewLifecycleResponse>,
}

fn to_wire(rules: Vec<LifecycleRule>) -> v1::Lifecycle {
    v1::Lifecycle {
        rules: rules.into_iter().map(LifecycleRule::into_wire).collect(),
    }
}

impl Client {
    /// Gives a bucket these rules and no others. Answers when every part of the cluster knows them.
    ///
    /// # Errors
    /// `NotFound`, `Invalid` (the message says which rule and field), `Precondition` (members run a release
    /// without lifecycles), and what any call can meet.
    pub async fn set_lifecycle(
        &self,
        bucket: &str,
        rules: Vec<LifecycleRule>,
    ) -> Result<(), ClientError> {
        let message = v1::SetLifecycleRequest {
            bucket: bucket.to_owned(),
            lifecycle: Some(to_wire(rules)),
            request_id: Some(self.request_id()),
        };
        self.unary(message, |lane, request| async move {
            lane.buckets().set_lifecycle(request).await
        })
        .await?;
        Ok(())
    }

    /// The rules of a bucket, in their order; none: nothing goes by itself.
    ///
    /// # Errors
    /// `NotFound`, and what any call can meet.
    pub async fn lifecycle(&self, bucket: &str) -> Result<Vec<LifecycleRule>, ClientError> {
        let message = v1::GetLifecycleRequest {
            bucket: bucket.to_owned(),
        };
        let answer = self
            .unary(message, |lane, request| async move {
                lane.buckets().get_lifecycle(request).await
            })
            .await?;
        let rules = answer.lifecycle.unwrap_or_default().rules.into_iter();
        Ok(rules.map(LifecycleRule::from_wire).collect())
    }

    /// Says what would go by these rules, or by those that the bucket has, at a time, or now.
    ///
    /// # Errors
    /// `NotFound`, `Invalid`, and what any call can meet.
    pub async fn preview_lifecycle(
        &self,
        bucket: &str,
        rules: Option<Vec<LifecycleRule>>,
        at_ms: Option<i64>,
    ) -> Result<LifecyclePreview, ClientError> {
        let limit = self.call_timeout();
        let message = v1::PreviewLifecycleRequest {
            bucket: bucket.to_owned(),
            lifecycle: rules.map(to_wire),
            at_ms: at_ms.unwrap_or(0),
        };
        let answers = self.attempts(repeatable, |lane| {
            let request = lane.request(message.clone());
            async move {
                let mut buckets = lane.buckets();
                match within(limit, buckets.preview_lifecycle(request)).await? {
                    Ok(answer) => Ok(answer.into_inner()),
                    Err(status) => Err(ClientError::from_status(&status)),
                }
            }
        });
        Ok(LifecyclePreview {
            answers: answers.await?,
        })
    }
}

impl LifecyclePreview {
    /// The next part; `None` after the last one, which has the totals.
    ///
    /// # Errors
    /// What any call can meet; nothing comes after it.
    pub async fn next(&mut self) -> Result<Option<LifecyclePage>, ClientError> {
        let next = self.answers.message().await;
        let next = next.map_err(|status| ClientError::from_status(&status))?;
        Ok(next.map(|told| LifecyclePage {
            items: told
                .items
                .into_iter()
                .map(LifecycleItem::from_wire)
                .collect(),
            totals: told
                .totals
                .into_iter()
                .map(LifecycleTotal::from_wire)
                .collect(),
        }))
    }
}
