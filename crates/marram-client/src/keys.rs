//! Access keys and what they may do.

use std::time::Duration;

use marram_proto::v1;
use marram_types::Grant;

use crate::client::{Client, present};
use crate::error::ClientError;
use crate::types::{AccessKeyChange, AccessKeyInfo, AccessKeySecret};

impl Client {
    /// Makes an access key that may do what `grants` say and nothing else, and ends at `expires_ms`,
    /// in milliseconds since 1970, where that is given. `note` says what it is for.
    ///
    /// # Errors
    /// `Invalid`, `Exhausted` (too many keys), and what any call can meet. A call that fails as
    /// `OutcomeUnknown`, `Timeout` or `Unavailable` may leave a key whose secret nobody knows: delete it.
    pub async fn create_access_key(
        &self,
        grants: &[Grant],
        note: &str,
        expires_ms: Option<i64>,
    ) -> Result<AccessKeySecret, ClientError> {
        let message = v1::CreateAccessKeyRequest {
            note: note.to_owned(),
            grants: wire(grants),
            expires_ms: expires_ms.unwrap_or(0),
            request_id: Some(self.request_id()),
        };
        let answer = self.unary(message, |lane, request| async move {
            lane.iam().create_access_key(request).await
        });
        let answer = answer.await?;
        AccessKeySecret::from_wire(answer.key, answer.secret)
    }

    /// The access keys by id, without their secrets.
    ///
    /// # Errors
    /// What any call can meet.
    pub async fn access_keys(&self) -> Result<Vec<AccessKeyInfo>, ClientError> {
        let message = v1::ListAccessKeysRequest {};
        let answer = self.unary(message, |lane, request| async move {
            lane.iam().list_access_keys(request).await
        });
        let keys = answer.await?.keys.into_iter();
        keys.map(AccessKeyInfo::from_wire).collect()
    }

    /// Gives an access key another secret. Those before hold for `overlap`, up to 30 days.
    ///
    /// # Errors
    /// `NotFound`, `Invalid`, `Exhausted` (too many old secrets still hold), and what any call can
    /// meet. A call that fails as `OutcomeUnknown`, `Timeout` or `Unavailable` may have made a secret that
    /// nobody knows: rotate again.
    pub async fn rotate_access_key(
        &self,
        id: &str,
        overlap: Duration,
    ) -> Result<AccessKeySecret, ClientError> {
        let message = v1::RotateAccessKeyRequest {
            id: id.to_owned(),
            overlap_ms: u64::try_from(overlap.as_millis()).unwrap_or(u64::MAX),
            request_id: Some(self.request_id()),
        };
        let answer = self.unary(message, |lane, request| async move {
            lane.iam().rotate_access_key(request).await
        });
        let answer = answer.await?;
        AccessKeySecret::from_wire(answer.key, answer.secret)
    }

    /// Changes an access key, and says how it is then.
    ///
    /// # Errors
    /// `NotFound`, `Invalid`, `Precondition` (it is the last one that can operate the cluster for
    /// ever), and what any call can meet.
    pub async fn update_access_key(
        &self,
        id: &str,
        change: AccessKeyChange,
    ) -> Result<AccessKeyInfo, ClientError> {
        let message = v1::UpdateAccessKeyRequest {
            id: id.to_owned(),
            disabled: change.disabled,
            expires_ms: change.expires_ms,
            add_grants: wire(&change.add_grants),
            remove_grants: wire(&change.remove_grants),
            request_id: Some(self.request_id()),
        };
        let answer = self.unary(message, |lane, request| async move {
            lane.iam().update_access_key(request).await
        });
        AccessKeyInfo::from_wire(present(answer.await?.key, "access key")?)
    }

    /// Removes an access key for ever. True when there was one.
    ///
    /// # Errors
    /// `Precondition` (it is the last one that can operate the cluster for ever), and what any call
    /// can meet.
    pub async fn delete_access_key(&self, id: &str) -> Result<bool, ClientError> {
        let message = v1::DeleteAccessKeyRequest {
            id: id.to_owned(),
            request_id: Some(self.request_id()),
        };
        let answer = self.unary(message, |lane, request| async move {
            lane.iam().delete_access_key(request).await
        });
        Ok(answer.await?.existed)
    }
}

fn wire(grants: &[Grant]) -> Vec<v1::Grant> {
    grants.iter().map(v1::Grant::from).collect()
}
